/* SPDX-License-Identifier: Apache-2.0 */
#include "charge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gm_cleanup.h"

#define PATH_MAX_ (GM_CGROUP_MOUNT_MAX + GM_CGROUP_PATH_MAX + 32)

static int move(const struct gm_cgroup_root *root, const char *path, pid_t pid)
{
	char file[PATH_MAX_], text[16];
	_gm_close_ int fd = -1;
	int length;
	int r;

	r = gm_cgroup_procs_path(root, path, file, sizeof(file));
	if (r < 0)
		return r;
	/* Whoever opens the file must have the right to it, not who writes (cgroup_procs_write). */
	fd = open(file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	length = snprintf(text, sizeof(text), "%d\n", (int)pid);
	/* ENODEV: the group was removed after it had been opened. */
	if (write(fd, text, (size_t)length) < 0)
		return errno == ENODEV ? -ENOENT : -errno;
	return 0;
}

static int move_in(const struct gm_cgroups *cgroups, unsigned root, const char *place,
		   size_t length, const struct gm_cgroup_place *self, pid_t pid)
{
	const char *to = gm_cgroup_place_path(place, length, root);
	const char *from =
		self != NULL ? gm_cgroup_place_path(self->text, self->length, root) : NULL;

	if (to == NULL)
		return -EINVAL;
	if (from != NULL && strcmp(from, to) == 0)
		return 0;
	return move(&cgroups->roots[root], to, pid);
}

/* What can keep a process from running, be it only to its end. */
static bool rations_time(const struct gm_cgroup_root *root)
{
	return strcmp(root->controller, "cpu") == 0;
}

int gm_charge_move(const struct gm_cgroups *cgroups, const char *place, size_t length, pid_t pid)
{
	struct gm_cgroup_place *self = NULL;
	int r = gm_cgroup_place_of_self(cgroups, &self);

	if (r < 0)
		self = NULL;
	r = 0;
	/* CPU time is rationed last: who is not settled elsewhere dies where there is some. */
	for (unsigned last = 0; last < 2; last++)
		for (unsigned i = 0; r == 0 && i < cgroups->n_roots; i++)
			if (rations_time(&cgroups->roots[i]) == (last == 1))
				r = move_in(cgroups, i, place, length, self, pid);
	gm_cgroup_place_drop(self);
	return r;
}
