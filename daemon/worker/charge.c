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

int gm_charge_move(const struct gm_cgroups *cgroups, const char *place, size_t length, pid_t pid)
{
	struct gm_cgroup_place *self = NULL;
	int r = gm_cgroup_place_of_self(cgroups, &self);

	for (unsigned i = 0; i < cgroups->n_roots; i++) {
		const char *to = gm_cgroup_place_path(place, length, i);
		const char *from =
			r == 0 ? gm_cgroup_place_path(self->text, self->length, i) : NULL;
		int error;

		if (to == NULL)
			error = -EINVAL;
		else if (from != NULL && strcmp(from, to) == 0)
			error = 0;
		else
			error = move(&cgroups->roots[i], to, pid);
		if (error) {
			gm_cgroup_place_drop(self);
			return error;
		}
	}
	gm_cgroup_place_drop(self);
	return 0;
}
