/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One control group while its files are read, and those above it.
 */
#ifndef GM_CGROUP_GROUP_H
#define GM_CGROUP_GROUP_H

#include "cgroup.h"
#include "cgroup_file.h"

struct gm_cgroup_group {
	const struct gm_cgroup_root *root;
	const char *path;
	size_t length; /* of the path that counts */
};

void gm_cgroup_group_file(const struct gm_cgroup_group *group, const char *name,
			  char path[GM_CGROUP_FILE_PATH_MAX]);
GM_WARN_UNUSED int gm_cgroup_group_number(const struct gm_cgroup_group *group, const char *name,
					  uint64_t *ret_number);

/* GM_UNLIMITED where there is no such file: the root of version 2 has none. */
uint64_t gm_cgroup_group_limit(const struct gm_cgroup_group *group, const char *name);

/* The next group above; false where there is none. */
bool gm_cgroup_group_go_up(struct gm_cgroup_group *group);

/* Is what @group has charged to the group whose path has @length bytes? */
bool gm_cgroup_group_is_own(struct gm_cgroup_group group, size_t length);

#endif
