/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest_memfd as memory: what maps, what faults, what a hole leaves.
 * Facts of kvm_gmem_mmap and kvm_gmem_fault_user_mapping, Linux 6.18.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kvm_probe.h"

#define PAGE GM_PAGE_4K
#define ADVICE_COLLAPSE 25 /* MADV_COLLAPSE, Linux 6.1 */

static unsigned char *map_gmem(int fd, uint64_t n_pages)
{
	void *map = mmap(NULL, n_pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(map, MAP_FAILED);
	return map;
}

static void assert_no_map(int fd, int prot, int flags, int error)
{
	assert_ptr_equal(mmap(NULL, PAGE, prot, flags, fd, 0), MAP_FAILED);
	assert_int_equal(errno, error);
}

static void only_shared_mappings_exist(void **state)
{
	int fd = probe_gmem(1);

	(void)state;
	assert_no_map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, EINVAL);
	assert_no_map(fd, PROT_READ, MAP_PRIVATE, EINVAL);
	assert_int_equal(munmap(map_gmem(fd, 1), PAGE), 0);
	assert_int_equal(close(fd), 0);
}

static void no_mapping_can_be_executed(void **state)
{
	int fd = probe_gmem(1);

	(void)state;
	assert_no_map(fd, PROT_READ | PROT_EXEC, MAP_SHARED, EPERM);
	assert_int_equal(close(fd), 0);
}

static void without_the_mmap_flag_there_is_no_mapping(void **state)
{
	int vm = probe_create_vm();
	int fd = probe_create_gmem(vm, PAGE, 0);

	(void)state;
	assert_true(fd >= 0);
	assert_no_map(fd, PROT_READ | PROT_WRITE, MAP_SHARED, ENODEV);
	assert_int_equal(close(fd), 0);
	assert_int_equal(close(vm), 0);
}

struct touch {
	int fd;
	uint64_t n_pages, page;
};

static int touches(void *arg)
{
	const struct touch *touch = arg;
	volatile unsigned char *map =
		mmap(NULL, touch->n_pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, touch->fd, 0);

	if (map == MAP_FAILED)
		return 1;
	/* A sanitizer would turn the signal into a report. */
	(void)signal(SIGBUS, SIG_DFL);
	map[touch->page * PAGE] = 1;
	return 0;
}

static void a_touch_past_the_end_is_a_sigbus_and_the_last_page_is_not(void **state)
{
	struct touch touch = { .fd = probe_gmem(2), .n_pages = 4, .page = 1 };

	(void)state;
	assert_int_equal(probe_child(0, touches, &touch), 0);
	touch.page = 2;
	assert_int_equal(probe_child(0, touches, &touch), -SIGBUS);
	assert_int_equal(close(touch.fd), 0);
}

static void not_shared_from_the_start_means_every_touch_is_a_sigbus(void **state)
{
	int vm = probe_create_vm();
	struct touch touch = { .n_pages = 1, .page = 0 };

	(void)state;
	touch.fd = probe_create_gmem(vm, PAGE, GM_KVM_GUEST_MEMFD_MMAP);
	assert_true(touch.fd >= 0);
	assert_int_equal(probe_child(0, touches, &touch), -SIGBUS);
	assert_int_equal(close(touch.fd), 0);
	assert_int_equal(close(vm), 0);
}

/* How a probe can try memory without dying of it. */
static void where_a_touch_is_a_sigbus_a_system_call_is_efault(void **state)
{
	int fd = probe_gmem(1);
	unsigned char *map = map_gmem(fd, 2);

	(void)state;
	assert_int_equal(getrandom(map, 16, 0), 16);
	assert_int_equal(getrandom(map + PAGE, 16, 0), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(munmap(map, 2 * PAGE), 0);
	assert_int_equal(close(fd), 0);
}

static void a_hole_reads_as_zero_and_leaves_its_neighbours(void **state)
{
	static const unsigned char zero[GM_PAGE_4K];
	int fd = probe_gmem(3);
	unsigned char *map = map_gmem(fd, 3);

	(void)state;
	memset(map, 0xaa, 3 * PAGE);
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE), 0);
	assert_memory_equal(map + PAGE, zero, PAGE);
	assert_int_equal(map[PAGE - 1], 0xaa);
	assert_int_equal(map[2 * PAGE], 0xaa);
	map[PAGE] = 0xbb;
	assert_int_equal(map[PAGE], 0xbb);
	assert_int_equal(munmap(map, 3 * PAGE), 0);
	assert_int_equal(close(fd), 0);
}

/* Unlike private anonymous memory: a VMM cannot drop what others see. */
static void dontneed_keeps_the_data(void **state)
{
	int fd = probe_gmem(1);
	unsigned char *map = map_gmem(fd, 1);

	(void)state;
	map[0] = 0xcc;
	assert_int_equal(madvise(map, PAGE, MADV_DONTNEED), 0);
	assert_int_equal(map[0], 0xcc);
	assert_int_equal(munmap(map, PAGE), 0);
	assert_int_equal(close(fd), 0);
}

/* KVM maps it in pages of 4 KiB all the same. */
static void advice_about_hugepages_is_taken_and_collapsing_is_refused(void **state)
{
	int fd = probe_gmem(4);
	unsigned char *map = map_gmem(fd, 4);

	(void)state;
	map[0] = 0xcc;
	assert_int_equal(madvise(map, 4 * PAGE, MADV_HUGEPAGE), 0);
	assert_int_equal(madvise(map, 4 * PAGE, ADVICE_COLLAPSE), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(map[0], 0xcc);
	assert_int_equal(munmap(map, 4 * PAGE), 0);
	assert_int_equal(close(fd), 0);
}

static int policy_at(const unsigned char *address)
{
	int mode = -1;

	assert_int_equal(syscall(SYS_get_mempolicy, &mode, NULL, 0, address, MPOL_F_ADDR), 0);
	return mode;
}

/* Which node a page comes from by it needs two: what ALLOCATE does about that is in the contract.
 */
static void policies_of_memory_nodes_are_kept(void **state)
{
	static const int modes[] = { MPOL_INTERLEAVE, MPOL_BIND, MPOL_DEFAULT };
	unsigned long nodes = 1;
	int fd = probe_gmem(4);
	unsigned char *map = map_gmem(fd, 4);

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(modes); i++) {
		bool plain = modes[i] == MPOL_DEFAULT;

		assert_int_equal(syscall(SYS_mbind, map, 4 * PAGE, modes[i], plain ? NULL : &nodes,
					 plain ? 0 : 8 * sizeof(nodes), 0),
				 0);
		assert_int_equal(policy_at(map), modes[i]);
		assert_int_equal(policy_at(map + 3 * PAGE), modes[i]);
	}
	assert_int_equal(syscall(SYS_mbind, map, 4 * PAGE, 999, &nodes, 8 * sizeof(nodes), 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(munmap(map, 4 * PAGE), 0);
	assert_int_equal(close(fd), 0);
}

static int finds_the_mark(void *arg)
{
	int fd = *(int *)arg;
	unsigned char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED || map[0] != 0x5a)
		return 1;
	map[1] = 0xa5;
	return 0;
}

static void another_process_of_another_user_maps_the_same_memory(void **state)
{
	int fd = probe_gmem(1);
	unsigned char *map = map_gmem(fd, 1);

	(void)state;
	map[0] = 0x5a;
	assert_int_equal(probe_child(65534, finds_the_mark, &fd), 0);
	assert_int_equal(map[1], 0xa5);
	assert_int_equal(munmap(map, PAGE), 0);
	assert_int_equal(close(fd), 0);
}

static void a_mapping_outlives_the_fd(void **state)
{
	int fd = probe_gmem(1);
	unsigned char *map = map_gmem(fd, 1);

	(void)state;
	assert_int_equal(close(fd), 0);
	map[0] = 0x77;
	assert_int_equal(map[0], 0x77);
	assert_int_equal(munmap(map, PAGE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(only_shared_mappings_exist),
		gm_test(no_mapping_can_be_executed),
		gm_test(without_the_mmap_flag_there_is_no_mapping),
		gm_test(a_touch_past_the_end_is_a_sigbus_and_the_last_page_is_not),
		gm_test(not_shared_from_the_start_means_every_touch_is_a_sigbus),
		gm_test(where_a_touch_is_a_sigbus_a_system_call_is_efault),
		gm_test(a_hole_reads_as_zero_and_leaves_its_neighbours),
		gm_test(dontneed_keeps_the_data),
		gm_test(advice_about_hugepages_is_taken_and_collapsing_is_refused),
		gm_test(policies_of_memory_nodes_are_kept),
		gm_test(another_process_of_another_user_maps_the_same_memory),
		gm_test(a_mapping_outlives_the_fd),
	};

	probe_needs_guest_memfd();
	return gm_test_run("guest_memfd as memory", tests, GM_ARRAY_SIZE(tests));
}
