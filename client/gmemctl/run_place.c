/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run.h"

#define DEFAULT_FOLDER "/run/gmemctl"
#define NAME_LENGTH_MAX 64

/* What gmemd takes for a domain's name, but no name that a folder could misread. */
static bool name_is_safe(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._:-";
	size_t length = strlen(name);

	return length > 0 && length <= NAME_LENGTH_MAX && strspn(name, allowed) == length &&
	       name[0] != '.' && name[0] != '-';
}

static int default_folder(char folder[PATH_MAX])
{
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
	int n;

	if (runtime && runtime[0] == '/')
		n = snprintf(folder, PATH_MAX, "%s/gmemctl", runtime);
	else
		n = snprintf(folder, PATH_MAX, "%s", DEFAULT_FOLDER);
	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Whoever may write to the folder could give us another's token. */
static int check_folder(const struct ctl *ctl, const char *folder)
{
	struct stat st;

	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		return ctl_complain(ctl, CTL_FAILED, "%s: %s: name another with --token-dir",
				    folder, strerror(errno));
	if (stat(folder, &st) < 0)
		return ctl_complain(ctl, CTL_FAILED, "%s: %s", folder, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return ctl_complain(ctl, CTL_FAILED, "%s is not a folder", folder);
	if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
		return ctl_complain(ctl, CTL_FAILED,
				    "%s (owner %u, mode %04o) is no place for tokens: it must be "
				    "owned by user %u, and nobody else may write to it",
				    folder, st.st_uid, st.st_mode & 07777, geteuid());
	return CTL_OK;
}

int run_place_open(const struct ctl *ctl, const char *folder, const char *name,
		   struct run_place *place)
{
	char usual[PATH_MAX];
	int r;

	if (!name_is_safe(name))
		return ctl_complain(ctl, CTL_USAGE,
				    "\"%s\" is no name: 1 to %d of A-Z a-z 0-9 . _ : -, the first "
				    "neither . nor -",
				    name, NAME_LENGTH_MAX);
	if (!folder) {
		if (default_folder(usual) < 0)
			return ctl_complain(ctl, CTL_FAILED, "XDG_RUNTIME_DIR is too long");
		folder = usual;
	}
	if (snprintf(place->token, PATH_MAX, "%s/%s.token", folder, name) >= PATH_MAX ||
	    snprintf(place->lock, PATH_MAX, "%s/%s.lock", folder, name) >= PATH_MAX)
		return ctl_complain(ctl, CTL_USAGE, "%s: the path is too long", folder);
	r = check_folder(ctl, folder);
	if (r != CTL_OK)
		return r;
	place->lock_fd = open(place->lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (place->lock_fd < 0)
		return ctl_complain(ctl, CTL_FAILED, "%s: %s", place->lock, strerror(errno));
	return CTL_OK;
}

void run_place_close(struct run_place *place)
{
	if (place->lock_fd >= 0)
		(void)close(place->lock_fd);
	place->lock_fd = -1;
}

int run_place_lock(const struct run_place *place)
{
	return flock(place->lock_fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

/* For people who ask who it is; nothing depends on it. */
void run_place_note_pid(const struct run_place *place, pid_t pid)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%d\n", (int)pid);

	if (ftruncate(place->lock_fd, 0) == 0)
		(void)!pwrite(place->lock_fd, text, (size_t)n, 0);
}

pid_t run_place_pid(const struct run_place *place)
{
	char text[24];
	ssize_t n = pread(place->lock_fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	return (pid_t)strtol(text, NULL, 10);
}
