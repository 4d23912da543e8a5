/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a process is charged, and how much room is there: on trees of files as hosts with version
 * 1, version 2 and both show them.
 */
#include "gm_test.h"

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "gm_fd.h"

static char top[64];
static struct gm_cgroups cgroups;
static int myself = -1; /* a pidfd */

static void put(const char *path, const char *text)
{
	char whole[GM_CGROUP_PATH_MAX * 3];
	FILE *file;

	snprintf(whole, sizeof(whole), "%s%s", top, path);
	for (char *slash = strchr(whole + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(whole, 0755);
		*slash = '/';
	}
	file = fopen(whole, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	(void)stat;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int set_up(void **state)
{
	int r = gm_test_setup(state);

	strcpy(top, "/tmp/t_cgroup.XXXXXX");
	assert_non_null(mkdtemp(top));
	myself = pidfd_open(getpid(), 0);
	assert_true(myself >= 0);
	return r;
}

static int tear_down(void **state)
{
	gm_fd_close(myself);
	(void)nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return gm_test_teardown(state);
}

#define cgroup_test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

#define V2 "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MEMORY "35 31 0:31 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
#define V1_CPU "32 31 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
#define V1_NAMED "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
#define UNIFIED "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
#define OTHERS                                                                                     \
	"22 1 254:1 / / rw,relatime - ext4 /dev/root rw\n"                                         \
	"23 22 0:20 / /proc rw - proc proc rw\nnonsense\n36 35 98:0 / /with\\040blank rw - tmpfs " \
	"none rw\n"

static void find(const char *mountinfo)
{
	put("/proc/self/mountinfo", mountinfo);
	assert_int_equal(gm_cgroups_find(top, /* at= */ NULL, &cgroups), 0);
}

static void find_v2(void)
{
	put("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids\n");
	find(OTHERS V2);
}

static void find_v1(void)
{
	find(OTHERS V1_CPU V1_MEMORY V1_NAMED);
}

static int place(const char *text, struct gm_cgroup_place **ret_place)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)getpid());
	put(path, text);
	return gm_cgroup_place_of(&cgroups, getpid(), myself, ret_place);
}

static void assert_path(const struct gm_cgroup_place *at, unsigned root, const char *expected)
{
	const char *path = gm_cgroup_place_path(at->text, at->length, root);

	assert_non_null(path);
	assert_string_equal(path, expected);
}

static void version_2_is_one_hierarchy(void **state)
{
	struct gm_cgroup_place *at;

	(void)state;
	find_v2();
	assert_int_equal(cgroups.n_roots, 1);
	assert_true(cgroups.roots[0].unified);
	assert_int_equal(cgroups.memory, 0);
	assert_int_equal(place("0::/machine.slice/vm\\x2d1.scope/a:b\n", &at), 0);
	assert_path(at, 0, "/machine.slice/vm\\x2d1.scope/a:b");
	assert_null(gm_cgroup_place_path(at->text, at->length, 1));
	gm_cgroup_place_drop(at);
}

static void what_is_mounted_elsewhere_is_not_used_where_a_folder_is_named(void **state)
{
	(void)state;
	find_v2();
	assert_int_equal(gm_cgroups_find(top, "/sys/fs/", &cgroups), 0);
	assert_int_equal(cgroups.n_roots, 1);
	assert_int_equal(gm_cgroups_find(top, "/sys/fs/cgroup", &cgroups), 0);
	assert_int_equal(cgroups.n_roots, 1);
	assert_int_equal(gm_cgroups_find(top, "/sys/fs/cgrou", &cgroups), 0);
	assert_int_equal(cgroups.n_roots, 0);
	assert_int_equal(cgroups.memory, -1);
}

static void version_1_has_a_hierarchy_for_each_controller(void **state)
{
	struct gm_cgroup_place *at;

	(void)state;
	find_v1();
	assert_int_equal(cgroups.n_roots, 2);
	assert_int_equal(cgroups.memory, 1);
	assert_int_equal(place("9:name=systemd:/n\n4:memory:/m/x\n2:cpu,cpuacct:/c\n0::/\n", &at),
			 0);
	assert_path(at, 0, "/c");
	assert_path(at, 1, "/m/x");
	gm_cgroup_place_drop(at);
}

static void a_unified_hierarchy_beside_version_1_counts_where_it_has_controllers(void **state)
{
	struct gm_cgroup_place *at;

	(void)state;
	put("/sys/fs/cgroup/unified/cgroup.controllers", "");
	find(V1_MEMORY UNIFIED);
	assert_int_equal(cgroups.n_roots, 1);
	put("/sys/fs/cgroup/unified/cgroup.controllers", "hugetlb\n");
	find(V1_MEMORY UNIFIED);
	assert_int_equal(cgroups.n_roots, 2);
	assert_int_equal(cgroups.memory, 0);
	assert_int_equal(place("4:memory:/m\n0::/u\n", &at), 0);
	assert_path(at, 0, "/m");
	assert_path(at, 1, "/u");
	gm_cgroup_place_drop(at);
}

static void a_host_without_groups_has_no_memory_controller(void **state)
{
	struct gm_cgroup_headroom headroom;
	struct gm_cgroup_place *at;

	(void)state;
	find(OTHERS);
	assert_int_equal(cgroups.n_roots, 0);
	assert_int_equal(cgroups.memory, -1);
	assert_int_equal(place("", &at), 0);
	gm_cgroup_place_drop(at);
	assert_int_equal(gm_cgroup_memory_headroom(&cgroups, "", 1, GM_CGROUP_READS_MAX, &headroom),
			 -ENODATA);
}

static void a_container_sees_its_part_of_a_hierarchy(void **state)
{
	struct gm_cgroup_place *at;

	(void)state;
	find("35 31 0:31 /box/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
	assert_int_equal(place("4:memory:/box/1/vm\n", &at), 0);
	assert_path(at, 0, "/vm");
	gm_cgroup_place_drop(at);
	assert_int_equal(place("4:memory:/box/1\n", &at), 0);
	assert_path(at, 0, "");
	gm_cgroup_place_drop(at);
	assert_int_equal(place("4:memory:/box/11\n", &at), -EXDEV);
	assert_int_equal(place("4:memory:/\n", &at), -EXDEV);
}

static void groups_that_cannot_be_reached_are_errors(void **state)
{
	char deep[3 * GM_CGROUP_PATH_MAX] = "0::", *end = deep + 3;
	struct gm_cgroup_place *at;

	(void)state;
	find_v2();
	assert_int_equal(place("0::/../sibling\n", &at), -EXDEV);
	assert_int_equal(place("0::/gone (deleted)\n", &at), -ENOENT);
	assert_int_equal(place("4:memory:/m\n", &at), -EXDEV);
	assert_int_equal(place("", &at), -EXDEV);
	for (int i = 0; i <= GM_CGROUP_DEPTH_MAX; i++)
		end = stpcpy(end, "/a");
	assert_int_equal(place(deep, &at), -ENAMETOOLONG);
	end = deep + 3;
	*end++ = '/';
	memset(end, 'x', GM_CGROUP_PATH_MAX);
	end[GM_CGROUP_PATH_MAX] = '\0';
	assert_int_equal(place(deep, &at), -ENAMETOOLONG);
}

static void a_process_that_has_ended_is_in_no_place(void **state)
{
	struct gm_cgroup_place *at;
	char path[64];
	int pidfd;
	pid_t pid;

	(void)state;
	find_v2();
	pid = fork();
	if (pid == 0)
		_exit(0);
	pidfd = pidfd_open(pid, 0);
	assert_true(pidfd >= 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(gm_cgroup_place_of(&cgroups, pid, pidfd, &at), -ESRCH);
	/* Somebody else has its number now. */
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	put(path, "0::/stranger\n");
	assert_int_equal(gm_cgroup_place_of(&cgroups, pid, pidfd, &at), -ESRCH);
	gm_fd_close(pidfd);
	assert_int_equal(gm_cgroup_place_of(&cgroups, pid, -1, &at), -EOPNOTSUPP);
	assert_int_equal(gm_cgroup_place_of(&cgroups, 0, myself, &at), -EOPNOTSUPP);
}

static void places_are_the_same_when_all_paths_are(void **state)
{
	struct gm_cgroup_place *a, *b, *c;

	(void)state;
	find_v1();
	assert_int_equal(place("4:memory:/m\n2:cpu,cpuacct:/c\n", &a), 0);
	assert_int_equal(place("4:memory:/m\n2:cpu,cpuacct:/c\n", &b), 0);
	assert_int_equal(place("4:memory:/m\n2:cpu,cpuacct:/d\n", &c), 0);
	assert_true(gm_cgroup_place_is_same(a, b));
	assert_false(gm_cgroup_place_is_same(a, c));
	assert_false(gm_cgroup_place_is_same(a, NULL));
	assert_true(gm_cgroup_place_is_same(NULL, NULL));
	gm_cgroup_place_drop(gm_cgroup_place_use(a));
	gm_cgroup_place_drop(a);
	gm_cgroup_place_drop(b);
	gm_cgroup_place_drop(c);
}

static void a_path_of_another_process_stays_below_its_root(void **state)
{
	char path[GM_CGROUP_PATH_MAX + 512], expected[128];
	const struct gm_cgroup_root *root = &cgroups.roots[0];

	(void)state;
	find_v2();
	assert_int_equal(gm_cgroup_procs_path(root, "/a..b/c", path, sizeof(path)), 0);
	snprintf(expected, sizeof(expected), "%s/sys/fs/cgroup/a..b/c/cgroup.procs", top);
	assert_string_equal(path, expected);
	assert_int_equal(gm_cgroup_procs_path(root, "/a/../../b", path, sizeof(path)), -EINVAL);
	assert_int_equal(gm_cgroup_procs_path(root, "/..", path, sizeof(path)), -EINVAL);
	assert_int_equal(gm_cgroup_procs_path(root, "a", path, sizeof(path)), -EINVAL);
	assert_int_equal(gm_cgroup_procs_path(root, "/a", path, 8), -ENAMETOOLONG);
	/* Text without an end is none. */
	assert_null(gm_cgroup_place_path("abc", 3, 0));
	assert_null(gm_cgroup_place_path("", 0, 0));
}

#define G "/sys/fs/cgroup/top/vm"

static void put_v2(const char *group, const char *max, const char *current, const char *stat)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/memory.max", group);
	put(path, max);
	snprintf(path, sizeof(path), "%s/memory.current", group);
	put(path, current);
	snprintf(path, sizeof(path), "%s/memory.stat", group);
	put(path, stat);
}

static struct gm_cgroup_headroom headroom_of(const char *path, uint64_t wanted)
{
	struct gm_cgroup_headroom headroom;

	assert_int_equal(
		gm_cgroup_memory_headroom(&cgroups, path, wanted, GM_CGROUP_READS_MAX, &headroom),
		0);
	return headroom;
}

static void the_least_room_of_all_groups_above_counts(void **state)
{
	struct gm_cgroup_headroom headroom;

	(void)state;
	find_v2();
	put_v2(G, "1000\n", "100\n", "");
	put_v2("/sys/fs/cgroup/top", "2000\n", "1600\n", "");
	headroom = headroom_of("/top/vm", 1);
	assert_int_equal(headroom.bytes, 400);
	assert_int_equal(headroom.limit, 2000);
	assert_int_equal(headroom.usage, 1600);
	assert_string_equal(headroom.path, "/top");
	assert_false(headroom.is_own);
	put(G "/memory.current", "990\n");
	headroom = headroom_of("/top/vm", 1);
	assert_int_equal(headroom.bytes, 10);
	assert_string_equal(headroom.path, "/top/vm");
	assert_true(headroom.is_own);
	/* A usage over the limit, as after a limit was lowered. */
	put(G "/memory.current", "1001\n");
	assert_int_equal(headroom_of("/top/vm", 0).bytes, 0);
	put(G "/memory.max", "max\n");
	put("/sys/fs/cgroup/top/memory.max", "max\n");
	assert_true(headroom_of("/top/vm", 1).bytes == GM_UNLIMITED);
}

static void clean_pages_of_files_are_room_for_who_needs_it(void **state)
{
	const char *stat = "anon 5\nfile 900\nshmem 500\nfile_dirty 30\nfile_writeback 20\n"
			   "inactive_anon 500\nactive_file 100\ninactive_file 250\nslab 77\n";

	(void)state;
	find_v2();
	put_v2(G, "1000\n", "900\n", stat);
	assert_int_equal(headroom_of("/top/vm", 100).bytes, 100);
	assert_int_equal(headroom_of("/top/vm", 101).bytes, 400);
	/* Nonsense figures give neither more than the limit nor less than nothing. */
	put(G "/memory.stat", "active_file 5000\n");
	assert_int_equal(headroom_of("/top/vm", 101).bytes, 1000);
	put(G "/memory.stat", "file_dirty 5000\n");
	assert_int_equal(headroom_of("/top/vm", 101).bytes, 100);
}

static void version_1_has_other_names_for_the_same(void **state)
{
	struct gm_cgroup_memory memory;

	(void)state;
	find_v1();
#define M "/sys/fs/cgroup/memory/vm/memory."
	put(M "limit_in_bytes", "1000\n");
	put(M "usage_in_bytes", "900\n");
	put(M "max_usage_in_bytes", "950\n");
	put(M "stat",
	    "active_file 9\ntotal_active_file 50\ntotal_inactive_file 5\ntotal_dirty 5\n");
	put(M "oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "4000000\n");
	assert_int_equal(headroom_of("/vm", 500).bytes, 150);
	assert_int_equal(gm_cgroup_memory_read(&cgroups, "/vm", &memory), 0);
	assert_int_equal(memory.limit, 1000);
	assert_int_equal(memory.usage, 900);
	assert_int_equal(memory.peak, 950);
	assert_int_equal(memory.oom_kills, 3);
	assert_int_equal(gm_cgroup_memory_read(&cgroups, "", &memory), 0);
	assert_true(memory.limit == GM_UNLIMITED);
	assert_true(headroom_of("", 500).bytes == GM_UNLIMITED);
}

static void a_threaded_group_has_the_memory_of_the_group_above(void **state)
{
	struct gm_cgroup_memory memory;

	(void)state;
	find_v2();
	put_v2(G, "1000\n", "900\n", "");
	put(G "/memory.peak", "990\n");
	put(G "/memory.events", "low 0\noom 2\noom_kill 1\noom_group_kill 0\n");
	put(G "/emulator/cgroup.type", "threaded\n");
	assert_int_equal(headroom_of("/top/vm/emulator", 1).bytes, 100);
	assert_true(headroom_of("/top/vm/emulator", 1).is_own);
	assert_int_equal(gm_cgroup_memory_read(&cgroups, "/top/vm/emulator", &memory), 0);
	assert_int_equal(memory.usage, 900);
	assert_int_equal(memory.peak, 990);
	assert_int_equal(memory.oom_kills, 1);
	assert_true(memory.is_own);
	assert_int_equal(gm_cgroup_memory_read(&cgroups, "", &memory), -ENOENT);
}

static void figures_of_a_group_above_are_not_its_own(void **state)
{
	struct gm_cgroup_memory memory;

	(void)state;
	find_v2();
	put_v2(G, "1000\n", "900\n", "");
	put(G "/plain/cgroup.type", "domain\n");
	put(G "/plain/threaded/cgroup.type", "threaded\n");
	assert_int_equal(gm_cgroup_memory_read(&cgroups, "/top/vm", &memory), 0);
	assert_true(memory.is_own);
	assert_int_equal(gm_cgroup_memory_read(&cgroups, "/top/vm/plain", &memory), 0);
	assert_false(memory.is_own);
	assert_int_equal(memory.usage, 900);
	assert_false(headroom_of("/top/vm/plain", 1).is_own);
	assert_false(headroom_of("/top/vm/plain/threaded", 1).is_own);
}

static struct gm_cgroup_headroom huge_headroom_of(const char *path, uint64_t page_size)
{
	struct gm_cgroup_headroom headroom;

	assert_int_equal(gm_cgroup_hugetlb_headroom(&cgroups, path, page_size, GM_CGROUP_READS_MAX,
						    &headroom),
			 0);
	return headroom;
}

static void hugepages_have_a_limit_for_each_size(void **state)
{
	struct gm_cgroup_headroom headroom;

	(void)state;
	find_v2();
	assert_int_equal(cgroups.hugetlb, 0);
	put(G "/hugetlb.2MB.max", "4194304\n");
	put(G "/hugetlb.2MB.current", "0\n");
	put(G "/hugetlb.1GB.max", "max\n");
	put("/sys/fs/cgroup/top/hugetlb.2MB.max", "8388608\n");
	put("/sys/fs/cgroup/top/hugetlb.2MB.current", "6291456\n");
	put("/sys/fs/cgroup/top/hugetlb.1GB.max", "1073741824\n");
	put("/sys/fs/cgroup/top/hugetlb.1GB.current", "1073741824\n");
	headroom = huge_headroom_of("/top/vm", GM_PAGE_2M);
	assert_int_equal(headroom.bytes, GM_PAGE_2M);
	assert_int_equal(headroom.limit, 4 * GM_PAGE_2M);
	assert_int_equal(headroom.usage, 3 * GM_PAGE_2M);
	assert_string_equal(headroom.path, "/top");
	assert_false(headroom.is_own);
	assert_int_equal(huge_headroom_of("/top/vm", GM_PAGE_1G).bytes, 0);
	put(G "/hugetlb.2MB.current", "4194304\n");
	headroom = huge_headroom_of("/top/vm", GM_PAGE_2M);
	assert_int_equal(headroom.bytes, 0);
	assert_true(headroom.is_own);
}

static void version_1_has_the_limits_of_hugepages_in_a_hierarchy_of_their_own(void **state)
{
	struct gm_cgroup_headroom headroom;

	(void)state;
	find_v1();
	assert_int_equal(cgroups.hugetlb, -1);
	assert_int_equal(gm_cgroup_hugetlb_headroom(&cgroups, "", GM_PAGE_2M, GM_CGROUP_READS_MAX,
						    &headroom),
			 -ENODATA);
	find(V1_MEMORY "36 31 0:39 / /sys/fs/cgroup/hugetlb rw - cgroup cgroup rw,hugetlb\n");
	assert_int_equal(cgroups.memory, 0);
	assert_int_equal(cgroups.hugetlb, 1);
#define H "/sys/fs/cgroup/hugetlb/"
	put(H "vm/hugetlb.1GB.limit_in_bytes", "2147483648\n");
	put(H "vm/hugetlb.1GB.usage_in_bytes", "1073741824\n");
	put(H "hugetlb.1GB.limit_in_bytes", "9223372036854771712\n");
	assert_int_equal(huge_headroom_of("/vm", GM_PAGE_1G).bytes, GM_GIB);
	assert_true(huge_headroom_of("", GM_PAGE_1G).bytes == GM_UNLIMITED);
	/* Both may be in one. */
	find("35 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,hugetlb,memory\n");
	assert_int_equal(cgroups.memory, 0);
	assert_int_equal(cgroups.hugetlb, 0);
}

/* "/g/g/g...", each with @limit. */
static const char *make_deep(const char *limit)
{
	static char path[GM_CGROUP_DEPTH_MAX * 2 + 1];
	char file[sizeof(path) + 64];

	for (int i = 0; i < GM_CGROUP_DEPTH_MAX; i++) {
		strcpy(path + (size_t)2 * i, "/g");
		snprintf(file, sizeof(file), "/sys/fs/cgroup%s", path);
		put_v2(file, limit, "900\n", "active_file 50\n");
	}
	return path;
}

static void the_deepest_path_costs_no_more_than_a_look_may(void **state)
{
	struct gm_cgroup_headroom headroom;
	const char *deep;

	(void)state;
	find_v2();
	deep = make_deep("1000\n");
	headroom = headroom_of(deep, 1);
	assert_true(headroom.n_reads <= GM_CGROUP_READS_MAX);
	assert_int_equal(headroom.bytes, 100);
	/* Clean pages are looked for at some levels only: the rest errs on the safe side. */
	headroom = headroom_of(deep, 101);
	assert_true(headroom.n_reads <= GM_CGROUP_READS_MAX);
	assert_int_equal(headroom.bytes, 100);
	assert_int_equal(
		gm_cgroup_memory_headroom(&cgroups, deep, 1, GM_CGROUP_READS_MIN, &headroom), 0);
	assert_int_equal(headroom.n_reads, GM_CGROUP_READS_MIN);
	assert_string_equal(headroom.path, deep);
}

static void who_may_not_look_further_sees_the_nearest_limit(void **state)
{
	struct gm_cgroup_headroom headroom;

	(void)state;
	find_v2();
	put_v2(G, "1000\n", "100\n", "");
	put_v2("/sys/fs/cgroup/top", "2000\n", "1600\n", "");
	assert_int_equal(
		gm_cgroup_memory_headroom(&cgroups, "/top/vm", 1, GM_CGROUP_READS_MIN, &headroom),
		0);
	assert_int_equal(headroom.bytes, 900);
	assert_string_equal(headroom.path, "/top/vm");
}

static void a_printed_path_has_no_control_characters(void **state)
{
	char text[16];

	(void)state;
	gm_cgroup_print("", text, sizeof(text));
	assert_string_equal(text, "/");
	gm_cgroup_print("/a\033[2J\r\x7f", text, sizeof(text));
	assert_string_equal(text, "/a?[2J??");
	gm_cgroup_print("/0123456789abcdefgh", text, sizeof(text));
	assert_int_equal(strlen(text), sizeof(text) - 1);
}

static void this_process_has_a_place_on_this_host(void **state)
{
	struct gm_cgroup_place *self, *again;

	(void)state;
	assert_int_equal(gm_cgroups_find("", /* at= */ NULL, &cgroups), 0);
	if (gm_cgroup_place_of_self(&cgroups, &self) < 0 || cgroups.n_roots == 0) {
		printf("no control groups here\n");
		skip();
	}
	assert_int_equal(gm_cgroup_place_of(&cgroups, getpid(), myself, &again), 0);
	assert_true(gm_cgroup_place_is_same(self, again));
	gm_cgroup_place_drop(self);
	gm_cgroup_place_drop(again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cgroup_test(version_2_is_one_hierarchy),
		cgroup_test(what_is_mounted_elsewhere_is_not_used_where_a_folder_is_named),
		cgroup_test(version_1_has_a_hierarchy_for_each_controller),
		cgroup_test(a_unified_hierarchy_beside_version_1_counts_where_it_has_controllers),
		cgroup_test(a_host_without_groups_has_no_memory_controller),
		cgroup_test(a_container_sees_its_part_of_a_hierarchy),
		cgroup_test(groups_that_cannot_be_reached_are_errors),
		cgroup_test(a_process_that_has_ended_is_in_no_place),
		cgroup_test(places_are_the_same_when_all_paths_are),
		cgroup_test(a_path_of_another_process_stays_below_its_root),
		cgroup_test(the_least_room_of_all_groups_above_counts),
		cgroup_test(clean_pages_of_files_are_room_for_who_needs_it),
		cgroup_test(version_1_has_other_names_for_the_same),
		cgroup_test(a_threaded_group_has_the_memory_of_the_group_above),
		cgroup_test(figures_of_a_group_above_are_not_its_own),
		cgroup_test(the_deepest_path_costs_no_more_than_a_look_may),
		cgroup_test(who_may_not_look_further_sees_the_nearest_limit),
		cgroup_test(hugepages_have_a_limit_for_each_size),
		cgroup_test(version_1_has_the_limits_of_hugepages_in_a_hierarchy_of_their_own),
		cgroup_test(a_printed_path_has_no_control_characters),
		cgroup_test(this_process_has_a_place_on_this_host),
	};

	return gm_test_run("cgroup", tests, GM_ARRAY_SIZE(tests));
}
