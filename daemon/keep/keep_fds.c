/* SPDX-License-Identifier: Apache-2.0 */
#include "keep_fds.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gm_cleanup.h"

#define HANGUPS_AT_ONCE 16

int gm_keep_fds_init(struct gm_keep_fds *fds, size_t max, size_t names_max)
{
	*fds = (struct gm_keep_fds){ .max = max, .names_max = names_max };
	fds->hangups = epoll_create1(EPOLL_CLOEXEC);
	return fds->hangups < 0 ? -errno : 0;
}

void gm_keep_fds_done(struct gm_keep_fds *fds)
{
	for (size_t i = 0; i < fds->n_kept; i++) {
		gm_fd_close(fds->kept[i].fd);
		free(fds->kept[i].name);
	}
	free(fds->kept);
	gm_fd_close(fds->hangups);
	*fds = (struct gm_keep_fds){ .hangups = -1 };
}

bool gm_keep_name_is_valid(const char *name)
{
	size_t length = 0;

	for (; name[length]; length++)
		if (name[length] < ' ' || name[length] > '~' || name[length] == ':')
			return false;
	return length > 0 && length <= GM_KEEP_NAME_MAX;
}

static uint32_t hash_of(const char *name)
{
	uint32_t hash = 2166136261U;

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 16777619U;
	return hash;
}

static bool is_named(const struct gm_kept *kept, uint32_t hash, const char *name)
{
	return kept->hash == hash && strcmp(kept->name, name) == 0;
}

/* A kernel without kcmp(2) has them all different: a file is then kept twice, and lost never. */
static bool is_same_file(int a, int b)
{
	pid_t self = getpid();

	return syscall(SYS_kcmp, self, self, KCMP_FILE, (unsigned long)a, (unsigned long)b) == 0;
}

static bool has(const struct gm_keep_fds *fds, uint32_t hash, const char *name, int fd)
{
	for (size_t i = 0; i < fds->n_kept; i++)
		if (is_named(&fds->kept[i], hash, name) && is_same_file(fds->kept[i].fd, fd))
			return true;
	return false;
}

static int grow(struct gm_keep_fds *fds)
{
	size_t n_room = fds->n_room ? fds->n_room * 2 : 16;
	struct gm_kept *kept;

	if (fds->n_kept < fds->n_room)
		return 0;
	kept = reallocarray(fds->kept, n_room, sizeof(*kept));
	if (!kept)
		return -ENOMEM;
	fds->kept = kept;
	fds->n_room = n_room;
	return 0;
}

/* EPERM: memory and other files cannot hang up. */
static int watch_hangup(const struct gm_keep_fds *fds, int fd)
{
	struct epoll_event event = { .data.fd = fd };

	if (epoll_ctl(fds->hangups, EPOLL_CTL_ADD, fd, &event) < 0 && errno != EPERM)
		return -errno;
	return 0;
}

int gm_keep_fds_add(struct gm_keep_fds *fds, const char *name, int fd, bool watch)
{
	_gm_free_ char *copy = NULL;
	uint32_t hash = hash_of(name);
	size_t length = strlen(name) + 1;
	int error;

	if (has(fds, hash, name, fd)) {
		gm_fd_close(fd);
		return 0;
	}
	if (fds->n_kept >= fds->max || fds->names_length + length > fds->names_max)
		return -ENOSPC;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	error = grow(fds);
	if (!error && watch)
		error = watch_hangup(fds, fd);
	if (error)
		return error;
	fds->kept[fds->n_kept++] =
		(struct gm_kept){ .hash = hash, .fd = fd, .name = gm_take_ptr(&copy) };
	fds->names_length += length;
	return 0;
}

/* The last one takes its place. */
static void drop(struct gm_keep_fds *fds, size_t i)
{
	struct gm_kept *kept = &fds->kept[i];

	/* Others may have the open file too: closing our fd would not end the watch. */
	(void)epoll_ctl(fds->hangups, EPOLL_CTL_DEL, kept->fd, NULL);
	if (fds->janitor)
		gm_keep_janitor_close(fds->janitor, kept->fd);
	else
		gm_fd_close(kept->fd);
	fds->names_length -= strlen(kept->name) + 1;
	free(kept->name);
	*kept = fds->kept[--fds->n_kept];
}

size_t gm_keep_fds_remove(struct gm_keep_fds *fds, const char *name)
{
	uint32_t hash = hash_of(name);
	size_t n_before = fds->n_kept;

	for (size_t i = fds->n_kept; i-- > 0;)
		if (is_named(&fds->kept[i], hash, name))
			drop(fds, i);
	return n_before - fds->n_kept;
}

static void drop_fd(struct gm_keep_fds *fds, int fd)
{
	for (size_t i = 0; i < fds->n_kept; i++) {
		if (fds->kept[i].fd == fd) {
			drop(fds, i);
			return;
		}
	}
}

void gm_keep_fds_drop_hangups(struct gm_keep_fds *fds)
{
	struct epoll_event events[HANGUPS_AT_ONCE];
	int n = epoll_wait(fds->hangups, events, HANGUPS_AT_ONCE, 0);

	for (int i = 0; i < n; i++)
		drop_fd(fds, events[i].data.fd);
}
