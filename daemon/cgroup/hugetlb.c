/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of the hugetlb controller. Only what is allocated is charged to who allocates: pages
 * are reserved by the daemon when it makes a region, and the kernel charges a reservation (rsvd.)
 * to who reserves.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "group.h"

#define NAME_MAX_ 64

/* As the kernel names sizes: 2MB, 1GB (hugetlb_cgroup.c, mem_fmt). */
static void name_of(const struct gm_cgroup_root *root, uint64_t page_size, bool is_limit,
		    char name[NAME_MAX_])
{
	const char *v2 = is_limit ? "max" : "current";
	const char *v1 = is_limit ? "limit_in_bytes" : "usage_in_bytes";
	bool is_gib = page_size >= GM_GIB;

	snprintf(name, NAME_MAX_, "hugetlb.%" PRIu64 "%s.%s",
		 page_size / (is_gib ? GM_GIB : GM_MIB), is_gib ? "GB" : "MB",
		 root->unified ? v2 : v1);
}

static void look_at(const struct gm_cgroup_group *group, uint64_t page_size,
		    struct gm_cgroup_headroom *headroom)
{
	char name[NAME_MAX_];
	uint64_t limit, usage;

	name_of(group->root, page_size, true, name);
	headroom->n_reads++;
	limit = gm_cgroup_group_limit(group, name);
	if (limit == GM_UNLIMITED)
		return;
	name_of(group->root, page_size, false, name);
	headroom->n_reads++;
	if (gm_cgroup_group_number(group, name, &usage) < 0 ||
	    limit - gm_min_u64(limit, usage) >= headroom->bytes)
		return;
	headroom->bytes = limit - gm_min_u64(limit, usage);
	headroom->limit = limit;
	headroom->usage = usage;
	snprintf(headroom->path, sizeof(headroom->path), "%.*s", (int)group->length, group->path);
}

int gm_cgroup_hugetlb_headroom(const struct gm_cgroups *cgroups, const char *path,
			       uint64_t page_size, unsigned reads_max,
			       struct gm_cgroup_headroom *ret_headroom)
{
	struct gm_cgroup_headroom headroom = { .bytes = GM_UNLIMITED, .limit = GM_UNLIMITED };
	struct gm_cgroup_group group, asked_for;

	if (cgroups->hugetlb < 0)
		return -ENODATA;
	group = (struct gm_cgroup_group){ .root = &cgroups->roots[cgroups->hugetlb],
					  .path = path,
					  .length = strlen(path) };
	asked_for = group;
	do
		look_at(&group, page_size, &headroom);
	while (headroom.n_reads < reads_max && gm_cgroup_group_go_up(&group));
	headroom.is_own = headroom.bytes != GM_UNLIMITED &&
			  gm_cgroup_group_is_own(asked_for, strlen(headroom.path));
	*ret_headroom = headroom;
	return 0;
}
