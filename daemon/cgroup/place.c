/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cgroup.h"
#include "cgroup_file.h"

/* All hierarchies of one process, those that nobody wants among them. */
#define TEXT_MAX 16384

/* What the kernel puts after the path of a group that has been removed (cgroup_path_ns). */
#define DELETED " (deleted)"

/* Is the list of controllers in [@list, @end), separated by commas, that of @root? */
static bool is_of(const struct gm_cgroup_root *root, const char *list, const char *end)
{
	size_t length = strlen(root->controller);

	if (root->unified)
		return list == end;
	while (list < end) {
		const char *comma = memchr(list, ',', (size_t)(end - list));
		const char *next = comma != NULL ? comma : end;

		if ((size_t)(next - list) == length && memcmp(list, root->controller, length) == 0)
			return true;
		list = next + 1;
	}
	return false;
}

/* The path of @line ("ID:CONTROLLERS:PATH") if it is about @root, or NULL. */
static char *path_in(char *line, const struct gm_cgroup_root *root)
{
	char *controllers = strchr(line, ':');
	char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

	if (path == NULL || !is_of(root, controllers + 1, path))
		return NULL;
	return path + 1;
}

static bool ends_in(const char *text, const char *end)
{
	size_t length = strlen(text), n = strlen(end);

	return length >= n && strcmp(text + length - n, end) == 0;
}

/* Seen from another cgroup namespace a group above ours has a path that starts so. */
static bool leads_out(const char *path)
{
	return strncmp(path, "/..", 3) == 0 && (path[3] == '/' || path[3] == '\0');
}

static unsigned depth(const char *path)
{
	unsigned n = 0;

	for (; *path != '\0'; path++)
		n += *path == '/';
	return n;
}

/* Below the mount point: "" or "/a/b". */
static int below(const struct gm_cgroup_root *root, const char *path, const char **ret_below)
{
	size_t from = strlen(root->from);

	if (leads_out(path) || path[0] != '/')
		return -EXDEV;
	if (ends_in(path, DELETED))
		return -ENOENT;
	if (strncmp(path, root->from, from) != 0 || (path[from] != '/' && path[from] != '\0'))
		return -EXDEV;
	path += from;
	if (strcmp(path, "/") == 0)
		path++;
	if (strlen(path) >= GM_CGROUP_PATH_MAX || depth(path) > GM_CGROUP_DEPTH_MAX)
		return -ENAMETOOLONG;
	*ret_below = path;
	return 0;
}

static const char *find_path(char *text, const struct gm_cgroup_root *root, int *ret_error)
{
	const char *found;

	for (char *line = text; line != NULL && *line != '\0';) {
		char *end = strchr(line, '\n');
		char *path = path_in(line, root);

		if (path != NULL) {
			if (end != NULL)
				*end = '\0';
			*ret_error = below(root, path, &found);
			if (end != NULL)
				*end = '\n';
			return *ret_error == 0 ? found : NULL;
		}
		line = end != NULL ? end + 1 : NULL;
	}
	*ret_error = -EXDEV;
	return NULL;
}

static int place_from(const struct gm_cgroups *cgroups, char *text,
		      struct gm_cgroup_place **ret_place)
{
	char paths[GM_CGROUP_PLACE_MAX];
	struct gm_cgroup_place *place;
	size_t length = 0;

	for (unsigned i = 0; i < cgroups->n_roots; i++) {
		int error;
		const char *path = find_path(text, &cgroups->roots[i], &error);
		size_t n = path != NULL ? strcspn(path, "\n") : 0;

		if (path == NULL)
			return error;
		if (n >= sizeof(paths) - length)
			return -ENAMETOOLONG;
		memcpy(paths + length, path, n);
		paths[length + n] = '\0';
		length += n + 1;
	}
	place = malloc(sizeof(*place) + length);
	if (place == NULL)
		return -ENOMEM;
	*place = (struct gm_cgroup_place){ .n_users = 1, .length = (uint32_t)length };
	memcpy(place->text, paths, length);
	*ret_place = place;
	return 0;
}

static int read_place(const struct gm_cgroups *cgroups, const char *process, int pidfd,
		      struct gm_cgroup_place **ret_place)
{
	char path[GM_CGROUP_FILE_PATH_MAX], text[TEXT_MAX];
	struct pollfd polled = { .fd = pidfd, .events = POLLIN };
	int r;

	snprintf(path, sizeof(path), "%s/%s/cgroup", cgroups->proc, process);
	r = gm_cgroup_file_read(path, text, sizeof(text));
	/* Not reaped until after this, so that its number was its own while the file was read. */
	if (r == -ENOENT || (pidfd >= 0 && poll(&polled, 1, 0) != 0))
		return -ESRCH;
	return r < 0 ? r : place_from(cgroups, text, ret_place);
}

int gm_cgroup_place_of(const struct gm_cgroups *cgroups, pid_t pid, int pidfd,
		       struct gm_cgroup_place **ret_place)
{
	char process[16];

	if (pidfd < 0 || pid <= 0)
		return -EOPNOTSUPP;
	snprintf(process, sizeof(process), "%d", (int)pid);
	return read_place(cgroups, process, pidfd, ret_place);
}

int gm_cgroup_place_of_self(const struct gm_cgroups *cgroups, struct gm_cgroup_place **ret_place)
{
	return read_place(cgroups, "self", -1, ret_place);
}

struct gm_cgroup_place *gm_cgroup_place_use(struct gm_cgroup_place *place)
{
	if (place != NULL)
		place->n_users++;
	return place;
}

void gm_cgroup_place_drop(struct gm_cgroup_place *place)
{
	if (place != NULL && --place->n_users == 0)
		free(place);
}

bool gm_cgroup_place_is_same(const struct gm_cgroup_place *a, const struct gm_cgroup_place *b)
{
	if (a == b)
		return true;
	return a != NULL && b != NULL && a->length == b->length &&
	       memcmp(a->text, b->text, a->length) == 0;
}

const char *gm_cgroup_place_path(const char *text, size_t length, unsigned root)
{
	for (; length > 0; root--) {
		const char *end = memchr(text, '\0', length);

		if (end == NULL)
			return NULL;
		if (root == 0)
			return text;
		length -= (size_t)(end - text) + 1;
		text = end + 1;
	}
	return NULL;
}
