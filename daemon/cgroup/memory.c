/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of the memory controller. A group where the controller is not on, or that shares that
 * of a group above it (a threaded one), has none of them and says nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "group.h"

/* Some 60 lines. */
#define STAT_MAX 8192

/* The kernel sums memory.stat up over all CPUs and groups below: that is many reads in one. */
#define STAT_READS 8
#define STATS_MAX 4

struct names {
	const char *limit, *usage, *peak, *events;
	/* Keys of memory.stat, of the group with all below it. */
	const char *active, *inactive, *dirty, *writeback;
};

static const struct names names_v2 = {
	.limit = "memory.max",
	.usage = "memory.current",
	.peak = "memory.peak", /* since 5.19 */
	.events = "memory.events",
	.active = "active_file",
	.inactive = "inactive_file",
	.dirty = "file_dirty",
	.writeback = "file_writeback",
};

static const struct names names_v1 = {
	.limit = "memory.limit_in_bytes",
	.usage = "memory.usage_in_bytes",
	.peak = "memory.max_usage_in_bytes",
	.events = "memory.oom_control",
	.active = "total_active_file",
	.inactive = "total_inactive_file",
	.dirty = "total_dirty",
	.writeback = "total_writeback",
};

static const struct names *names_of(const struct gm_cgroup_group *group)
{
	return group->root->unified ? &names_v2 : &names_v1;
}

/* Only for who needs it. */
static uint64_t read_reclaimable(const struct gm_cgroup_group *group)
{
	const struct names *names = names_of(group);
	char path[GM_CGROUP_FILE_PATH_MAX], text[STAT_MAX];
	uint64_t clean, busy;

	gm_cgroup_group_file(group, "memory.stat", path);
	if (gm_cgroup_file_read(path, text, sizeof(text)) < 0)
		return 0;
	clean = gm_cgroup_text_key(text, names->active) + gm_cgroup_text_key(text, names->inactive);
	busy = gm_cgroup_text_key(text, names->dirty) + gm_cgroup_text_key(text, names->writeback);
	return clean - gm_min_u64(clean, busy);
}

static int group_of(const struct gm_cgroups *cgroups, const char *path,
		    struct gm_cgroup_group *ret_group)
{
	if (cgroups->memory < 0)
		return -ENODATA;
	*ret_group = (struct gm_cgroup_group){ .root = &cgroups->roots[cgroups->memory],
					       .path = path,
					       .length = strlen(path) };
	return 0;
}

int gm_cgroup_memory_read(const struct gm_cgroups *cgroups, const char *path,
			  struct gm_cgroup_memory *ret_memory)
{
	char file[GM_CGROUP_FILE_PATH_MAX], text[STAT_MAX];
	struct gm_cgroup_memory memory = { 0 };
	struct gm_cgroup_group group, asked_for;
	int r = group_of(cgroups, path, &group);

	if (r < 0)
		return r;
	asked_for = group;
	/* A threaded group's memory is that of the group above. */
	while ((r = gm_cgroup_group_number(&group, names_of(&group)->usage, &memory.usage)) ==
	       -ENOENT)
		if (!gm_cgroup_group_go_up(&group))
			return r;
	if (r < 0)
		return r;
	memory.is_own = gm_cgroup_group_is_own(asked_for, group.length);
	memory.limit = gm_cgroup_group_limit(&group, names_of(&group)->limit);
	if (gm_cgroup_group_number(&group, names_of(&group)->peak, &memory.peak) < 0)
		memory.peak = 0;
	gm_cgroup_group_file(&group, names_of(&group)->events, file);
	if (gm_cgroup_file_read(file, text, sizeof(text)) == 0)
		memory.oom_kills = gm_cgroup_text_key(text, "oom_kill");
	*ret_memory = memory;
	return 0;
}

/* What can be dropped of the group; 0 where that would cost too much to know. */
static uint64_t find_reclaimable(const struct gm_cgroup_group *group, uint64_t usage,
				 unsigned *stats_left, struct gm_cgroup_headroom *headroom)
{
	if (*stats_left == 0)
		return 0;
	--*stats_left;
	headroom->n_reads += STAT_READS;
	/* More than the usage can never be dropped, however the figures are out of step. */
	return gm_min_u64(usage, read_reclaimable(group));
}

static void look_at(const struct gm_cgroup_group *group, uint64_t wanted, unsigned *stats_left,
		    struct gm_cgroup_headroom *headroom)
{
	uint64_t limit = gm_cgroup_group_limit(group, names_of(group)->limit);
	uint64_t usage = 0, bytes;

	headroom->n_reads++;
	if (limit == GM_UNLIMITED)
		return;
	headroom->n_reads++;
	if (gm_cgroup_group_number(group, names_of(group)->usage, &usage) < 0)
		return;
	bytes = limit - gm_min_u64(limit, usage);
	if (bytes < wanted)
		bytes = gm_min_u64(limit,
				   bytes + find_reclaimable(group, usage, stats_left, headroom));
	if (bytes >= headroom->bytes)
		return;
	headroom->bytes = bytes;
	headroom->limit = limit;
	headroom->usage = usage;
	snprintf(headroom->path, sizeof(headroom->path), "%.*s", (int)group->length, group->path);
}

int gm_cgroup_memory_headroom(const struct gm_cgroups *cgroups, const char *path, uint64_t wanted,
			      unsigned reads_max, struct gm_cgroup_headroom *ret_headroom)
{
	struct gm_cgroup_headroom headroom = { .bytes = GM_UNLIMITED,
					       .limit = GM_UNLIMITED,
					       .usage = 0 };
	struct gm_cgroup_group group, asked_for;
	unsigned stats_left = STATS_MAX;
	int r = group_of(cgroups, path, &group);

	if (r < 0)
		return r;
	asked_for = group;
	do
		look_at(&group, wanted, &stats_left, &headroom);
	while (headroom.n_reads < reads_max && gm_cgroup_group_go_up(&group));
	headroom.is_own = headroom.bytes != GM_UNLIMITED &&
			  gm_cgroup_group_is_own(asked_for, strlen(headroom.path));
	*ret_headroom = headroom;
	return 0;
}
