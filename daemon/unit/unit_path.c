/* SPDX-License-Identifier: Apache-2.0 */
#include "unit_path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gm_cleanup.h"
#include "gm_fd.h"

/* What the kernel follows, MAXSYMLINKS of Linux. */
#define LINKS_MAX 40

static int under_root(const char *root, const char *path, char ret_path[PATH_MAX])
{
	int n = snprintf(ret_path, PATH_MAX, "%s%s", root, path);

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int gm_unit_read_link(const char *root, const char *path, char ret_target[PATH_MAX])
{
	char real[PATH_MAX];
	int r = under_root(root, path, real);
	ssize_t n;

	if (r)
		return r;
	n = readlink(real, ret_target, PATH_MAX);
	if (n < 0)
		return -errno;
	if (n == PATH_MAX)
		return -ENAMETOOLONG;
	ret_target[n] = '\0';
	return 0;
}

enum gm_unit_entry_kind gm_unit_entry_at(const char *root, const char *path)
{
	char real[PATH_MAX];
	struct stat st;

	if (under_root(root, path, real) || lstat(real, &st) < 0)
		return GM_UNIT_ENTRY_OTHER;
	if (S_ISREG(st.st_mode))
		return GM_UNIT_ENTRY_FILE;
	if (S_ISDIR(st.st_mode))
		return GM_UNIT_ENTRY_FOLDER;
	return S_ISLNK(st.st_mode) ? GM_UNIT_ENTRY_LINK : GM_UNIT_ENTRY_OTHER;
}

/* ---- links ---- */

struct chase {
	const char *root;
	unsigned n_links;
	size_t length;	       /* of @done */
	char done[PATH_MAX];   /* without a slash at the end; "" is the root */
	char rest[PATH_MAX];   /* still to be looked at */
	char target[PATH_MAX]; /* of a link */
	char joined[PATH_MAX]; /* @target and the rest */
};

/* Cuts the first component off the rest: its length, 0 at the end. */
static size_t next_component(struct chase *chase, const char **ret_component, bool *ret_is_last)
{
	char *start = chase->rest + strspn(chase->rest, "/");
	size_t length = strcspn(start, "/");

	*ret_component = start;
	*ret_is_last = start[length + strspn(start + length, "/")] == '\0';
	return length;
}

static void go_up(struct chase *chase)
{
	char *slash = strrchr(chase->done, '/');

	chase->length = slash ? (size_t)(slash - chase->done) : 0;
	chase->done[chase->length] = '\0';
}

static int go_down(struct chase *chase, const char *component, size_t length)
{
	if (chase->length + 1 + length >= sizeof(chase->done))
		return -ENAMETOOLONG;
	chase->done[chase->length++] = '/';
	memcpy(chase->done + chase->length, component, length);
	chase->length += length;
	chase->done[chase->length] = '\0';
	return 0;
}

/* The component that was just gone down to is a link: its target comes before the rest. */
static int follow(struct chase *chase, const char *rest)
{
	int n;
	int r = gm_unit_read_link(chase->root, chase->done, chase->target);

	if (r)
		return r;
	if (++chase->n_links > LINKS_MAX)
		return -ELOOP;
	n = snprintf(chase->joined, sizeof(chase->joined), "%s/%s", chase->target, rest);
	if (n >= (int)sizeof(chase->joined))
		return -ENAMETOOLONG;
	if (chase->target[0] == '/') {
		chase->length = 0;
		chase->done[0] = '\0';
	} else {
		go_up(chase);
	}
	memcpy(chase->rest, chase->joined, sizeof(chase->rest));
	return 0;
}

static int step(struct chase *chase, bool whole, bool *ret_is_over)
{
	const char *component;
	bool is_last;
	size_t length = next_component(chase, &component, &is_last);
	int r;

	*ret_is_over = length == 0;
	if (length == 0)
		return 0;
	if (length == 2 && memcmp(component, "..", 2) == 0) {
		go_up(chase);
	} else if (length != 1 || *component != '.') {
		r = go_down(chase, component, length);
		if (r)
			return r;
		if ((whole || !is_last) &&
		    gm_unit_entry_at(chase->root, chase->done) == GM_UNIT_ENTRY_LINK)
			return follow(chase, component + length);
	}
	memmove(chase->rest, component + length, strlen(component + length) + 1);
	return 0;
}

int gm_unit_chase(const char *root, const char *path, bool whole, char ret_path[PATH_MAX])
{
	_gm_free_ struct chase *chase = calloc(1, sizeof(*chase));
	bool is_over = false;
	int r = 0;

	if (!chase)
		return -ENOMEM;
	if (strlen(path) >= sizeof(chase->rest))
		return -ENAMETOOLONG;
	chase->root = root;
	memcpy(chase->rest, path, strlen(path) + 1);
	while (!is_over && r == 0)
		r = step(chase, whole, &is_over);
	if (r)
		return r;
	snprintf(ret_path, PATH_MAX, "%s", chase->length ? chase->done : "/");
	return 0;
}

/* ---- files ---- */

/* Non-blocking, so that a FIFO in its place cannot hold the daemon up. */
static int open_under(const char *root, const char *path, int flags)
{
	char real[PATH_MAX];
	int fd;
	int r = under_root(root, path, real);

	if (r)
		return r;
	fd = open(real, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags);
	return fd < 0 ? -errno : fd;
}

static int read_text(int fd, size_t size, size_t max, char **ret_text, size_t *ret_length)
{
	_gm_free_ char *text = NULL;
	size_t length = 0;
	int r;

	if (size > max)
		return -EFBIG;
	/* One more: it may have grown since. */
	text = malloc(size + 1);
	if (!text)
		return -ENOMEM;
	r = gm_fd_read_all(fd, text, size + 1, &length);
	if (r)
		return r;
	if (length > size)
		return -EAGAIN;
	*ret_text = gm_take_ptr(&text);
	*ret_length = length;
	return 0;
}

int gm_unit_read_file(const char *root, const char *path, size_t max,
		      enum gm_unit_file_kind *ret_kind, char **ret_text, size_t *ret_length)
{
	char chased[PATH_MAX];
	_gm_close_ int fd = -1;
	struct stat st;
	int r;

	r = gm_unit_chase(root, path, /* whole= */ true, chased);
	if (r)
		return r;
	/* The usual mask is there under a root without devices, too. */
	*ret_kind = GM_UNIT_FILE_EMPTY;
	if (strcmp(chased, "/dev/null") == 0)
		return 0;
	*ret_kind = GM_UNIT_FILE_NONE;
	fd = open_under(root, chased, 0);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_kind = GM_UNIT_FILE_EMPTY;
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode) || (S_ISREG(st.st_mode) && st.st_size == 0))
		return 0;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -ENOTSUP;
	*ret_kind = GM_UNIT_FILE_TEXT;
	return read_text(fd, (size_t)st.st_size, max, ret_text, ret_length);
}

int gm_unit_list(const char *root, const char *path, gm_unit_entry_fn fn, void *arg)
{
	const struct dirent *entry;
	char chased[PATH_MAX];
	DIR *dir;
	int fd, r;

	r = gm_unit_chase(root, path, /* whole= */ true, chased);
	if (r)
		return r;
	fd = open_under(root, chased, O_DIRECTORY);
	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? 0 : fd;
	dir = fdopendir(fd);
	if (!dir) {
		r = -errno;
		gm_fd_close(fd);
		return r;
	}
	while (r == 0) {
		errno = 0;
		entry = readdir(dir);
		if (!entry) {
			r = -errno;
			break;
		}
		if (entry->d_name[0] != '.')
			r = fn(arg, entry->d_name);
	}
	closedir(dir);
	return r;
}
