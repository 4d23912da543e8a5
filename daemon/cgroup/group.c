/* SPDX-License-Identifier: Apache-2.0 */
#include "group.h"

#include <stdio.h>
#include <string.h>

/* Version 1 has no word for "none": it rounds the greatest number down to a page. */
#define V1_UNLIMITED (UINT64_C(1) << 62)

void gm_cgroup_group_file(const struct gm_cgroup_group *group, const char *name,
			  char path[GM_CGROUP_FILE_PATH_MAX])
{
	snprintf(path, GM_CGROUP_FILE_PATH_MAX, "%s%.*s/%s", group->root->at, (int)group->length,
		 group->path, name);
}

int gm_cgroup_group_number(const struct gm_cgroup_group *group, const char *name,
			   uint64_t *ret_number)
{
	char path[GM_CGROUP_FILE_PATH_MAX];

	gm_cgroup_group_file(group, name, path);
	return gm_cgroup_file_number(path, ret_number);
}

uint64_t gm_cgroup_group_limit(const struct gm_cgroup_group *group, const char *name)
{
	uint64_t limit;

	if (gm_cgroup_group_number(group, name, &limit) < 0 || limit >= V1_UNLIMITED)
		return GM_UNLIMITED;
	return limit;
}

bool gm_cgroup_group_go_up(struct gm_cgroup_group *group)
{
	if (group->length == 0)
		return false;
	while (group->length > 0 && group->path[--group->length] != '/')
		;
	return true;
}

/* Has it nothing of its own, and is part of the group above, with all that are? */
static bool is_threaded(const struct gm_cgroup_group *group)
{
	char path[GM_CGROUP_FILE_PATH_MAX], text[64];

	gm_cgroup_group_file(group, "cgroup.type", path);
	return gm_cgroup_file_read(path, text, sizeof(text)) == 0 &&
	       strcmp(text, "threaded\n") == 0;
}

bool gm_cgroup_group_is_own(struct gm_cgroup_group group, size_t length)
{
	while (group.length > length)
		if (!is_threaded(&group) || !gm_cgroup_group_go_up(&group))
			return false;
	return true;
}
