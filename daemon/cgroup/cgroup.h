/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who pays: the control groups of a process, and what the memory controller says of one.
 *
 * Version 1, version 2 and both at once. The hierarchies are found once; after that files are read
 * and nothing is kept open. Names of groups come from whoever may make groups, a tenant perhaps:
 * they are taken as the kernel gives them, and printed with what is no plain character replaced.
 */
#ifndef GM_CGROUP_H
#define GM_CGROUP_H

#include <sys/types.h>

#include "gm_num.h"

#define GM_CGROUP_ROOTS_MAX 8
#define GM_CGROUP_MOUNT_MAX 256

/* A group's path below its hierarchy, with its NUL: longer or deeper ones are not charged. */
#define GM_CGROUP_PATH_MAX 1024
#define GM_CGROUP_DEPTH_MAX 32

/* Who is to pay for the work of workers: memory and CPU time. */
enum gm_charge_mode {
	GM_CHARGE_GMEMD, /* the daemon's own control groups */
	GM_CHARGE_AUTO,	 /* those of who asks, where that can be; else the daemon's */
	GM_CHARGE_VMM,	 /* those of who asks, or the work is refused */
};

/* Where one hierarchy with a controller that charges for memory or CPU is mounted. */
struct gm_cgroup_root {
	bool unified;			/* version 2 */
	char at[GM_CGROUP_MOUNT_MAX];	/* the mount point */
	char from[GM_CGROUP_MOUNT_MAX]; /* what of the hierarchy is mounted there: "" is all */
	/* The first of its controllers that is wanted, memory before all others. */
	const char *controller;
	bool has_hugetlb; /* the hugetlb controller is there, too */
};

struct gm_cgroups {
	char proc[GM_CGROUP_MOUNT_MAX]; /* "/proc", but in tests */
	unsigned n_roots;
	struct gm_cgroup_root roots[GM_CGROUP_ROOTS_MAX];
	int memory;  /* the root that charges for memory; -1: none does */
	int hugetlb; /* the root that charges for hugepages; -1: none does */
};

/*
 * Reads @prefix/proc/self/mountinfo; mount points are below @prefix ("" but in tests). @at: only
 * what is mounted there or below; NULL: anywhere. A host without control groups has no roots. 0 or
 * -errno.
 */
GM_WARN_UNUSED int gm_cgroups_find(const char *prefix, const char *at,
				   struct gm_cgroups *ret_cgroups);

/* The groups of one process, one for each root. Immutable and counted. */
struct gm_cgroup_place {
	unsigned n_users;
	bool may_stay;	 /* a worker that cannot be put there may run where it was born */
	uint32_t length; /* of @text */
	/* For each root in its order the path of the group, with a NUL; "" is the root's own. */
	char text[];
};

#define GM_CGROUP_PLACE_MAX 4096

/*
 * Where the process is now. @pidfd says, after the files have been read, that @pid still was that
 * process. 0; -ESRCH: it has ended; -EOPNOTSUPP: there is no pidfd, or the pid cannot be seen;
 * -ENOENT: its group has been removed; -EXDEV: it is in a group outside of what is mounted;
 * -ENAMETOOLONG; -ENOMEM; or another errno of reading.
 */
GM_WARN_UNUSED int gm_cgroup_place_of(const struct gm_cgroups *cgroups, pid_t pid, int pidfd,
				      struct gm_cgroup_place **ret_place);
/* This process. */
GM_WARN_UNUSED int gm_cgroup_place_of_self(const struct gm_cgroups *cgroups,
					   struct gm_cgroup_place **ret_place);

struct gm_cgroup_place *gm_cgroup_place_use(struct gm_cgroup_place *place);
/* Both accept NULL, which is a place like no other. */
void gm_cgroup_place_drop(struct gm_cgroup_place *place);
bool gm_cgroup_place_is_same(const struct gm_cgroup_place *a, const struct gm_cgroup_place *b);

/* The path for this root, or NULL. @text of @length bytes may come from another process. */
const char *gm_cgroup_place_path(const char *text, size_t length, unsigned root);

/* The group's file "cgroup.procs" in @root. -ENAMETOOLONG; -EINVAL for a path that leads out. */
GM_WARN_UNUSED int gm_cgroup_procs_path(const struct gm_cgroup_root *root, const char *path,
					char *buffer, size_t size);

/* ---- memory ---- */

/* Of one group with all below it. A figure that the kernel does not give is 0; no limit is
 * GM_UNLIMITED. */
struct gm_cgroup_memory {
	/* Of the group that was asked for; else it has none, and these are those of one above it,
	 * where others are, too. */
	bool is_own;
	uint64_t limit;
	uint64_t usage;
	uint64_t peak;
	uint64_t oom_kills; /* processes that its OOM killer has ended */
};

/* @path as in a place, "" too. 0, -ENODATA where no memory controller is, or -errno. */
GM_WARN_UNUSED int gm_cgroup_memory_read(const struct gm_cgroups *cgroups, const char *path,
					 struct gm_cgroup_memory *ret_memory);

struct gm_cgroup_headroom {
	uint64_t bytes; /* that may be charged; GM_UNLIMITED where there is no limit at all */
	/* Of the group among those above it, or it itself, that has the least. */
	uint64_t limit;
	uint64_t usage;
	bool is_own;	  /* that group is it itself, and none above it */
	unsigned n_reads; /* what the look has cost */
	char path[GM_CGROUP_PATH_MAX];
};

/*
 * A look costs two reads of files for each level with a limit, and 8 for each look for clean pages,
 * of which there are 4 at most. The least is the nearest level with a limit of its own.
 */
#define GM_CGROUP_READS_MAX 128
#define GM_CGROUP_READS_MIN 2

/*
 * What may be charged to the group before it or one above it is over its limit: the least of
 * limit - usage over all of them. Where that is less than @wanted, what the kernel would drop for
 * it counts too: clean pages of files (on the LRU lists of files, without those that are dirty or
 * under writeback). Not what would have to be swapped, and no slab: this errs on the side of too
 * little, since the kernel's answer to too much is a kill. memory.high slows down and is no limit.
 * @reads_max: when so much has been spent the levels above are left out.
 */
GM_WARN_UNUSED int gm_cgroup_memory_headroom(const struct gm_cgroups *cgroups, const char *path,
					     uint64_t wanted, unsigned reads_max,
					     struct gm_cgroup_headroom *ret_headroom);

/* The same for hugepages of @page_size: nothing can be dropped for those. */
GM_WARN_UNUSED int gm_cgroup_hugetlb_headroom(const struct gm_cgroups *cgroups, const char *path,
					      uint64_t page_size, unsigned reads_max,
					      struct gm_cgroup_headroom *ret_headroom);

/* For texts: "/" for "", and no control characters. */
void gm_cgroup_print(const char *path, char *buffer, size_t size);

#endif
