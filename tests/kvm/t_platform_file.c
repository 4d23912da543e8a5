/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest_memfd as a file: how it is made, what it says of itself, what fallocate does to it.
 * Facts of __kvm_gmem_create and kvm_gmem_fallocate, virt/kvm/guest_memfd.c, Linux 6.18.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "file_range.h"
#include "kvm_probe.h"

#define PAGE ((off_t)GM_PAGE_4K)

/* So whoever makes one must set the flag before anything can exec. VM fds are close-on-exec. */
static void it_is_born_without_close_on_exec_and_a_vm_is_not(void **state)
{
	int vm = probe_create_vm();
	int fd = probe_create_gmem(vm, GM_PAGE_4K, MAPPED_SHARED);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), 0);
	assert_int_equal(fcntl(vm, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	assert_int_equal(close(fd), 0);
	assert_int_equal(close(vm), 0);
}

static void each_flag_is_accepted_exactly_if_the_capability_has_it(void **state)
{
	int vm = probe_create_vm();
	int known = ioctl(vm, KVM_CHECK_EXTENSION, GM_KVM_CAP_GUEST_MEMFD_FLAGS);

	(void)state;
	assert_true(known > 0);
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t flag = UINT64_C(1) << bit;
		int fd = probe_create_gmem(vm, GM_PAGE_4K, flag);

		if ((uint64_t)known & flag) {
			assert_true(fd >= 0);
			assert_int_equal(close(fd), 0);
		} else {
			assert_int_equal(fd, -EINVAL);
		}
	}
	assert_int_equal(close(vm), 0);
}

static void a_size_that_is_no_page_multiple_is_einval(void **state)
{
	static const uint64_t sizes[] = {
		0, 1, GM_PAGE_4K - 1, GM_PAGE_4K + 1, UINT64_MAX, UINT64_C(1) << 63
	};
	int vm = probe_create_vm();

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(sizes); i++)
		assert_int_equal(probe_create_gmem(vm, sizes[i], MAPPED_SHARED), -EINVAL);
	assert_int_equal(close(vm), 0);
}

/* So limits are for the daemon to check: KVM makes one of 4 EiB. */
static void the_kernel_sets_no_upper_limit_of_size(void **state)
{
	int vm = probe_create_vm();
	int fd = probe_create_gmem(vm, UINT64_C(1) << 62, MAPPED_SHARED);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(close(vm), 0);
}

/* st_blocks stays 0: what is allocated cannot be read back from stat. */
static void stat_tells_size_and_inode_but_not_what_is_allocated(void **state)
{
	int fds[2] = { probe_gmem(2), probe_gmem(5) };
	struct stat one, two;

	(void)state;
	assert_int_equal(fallocate(fds[0], FALLOC_FL_KEEP_SIZE, 0, 2 * PAGE), 0);
	assert_int_equal(fstat(fds[0], &one), 0);
	assert_int_equal(fstat(fds[1], &two), 0);
	assert_int_equal(one.st_size, 2 * PAGE);
	assert_int_equal(two.st_size, 5 * PAGE);
	assert_int_equal(one.st_blksize, GM_PAGE_4K);
	assert_int_equal(one.st_blocks, 0);
	assert_int_equal(one.st_dev, two.st_dev);
	assert_int_not_equal(one.st_ino, two.st_ino);
	assert_true(S_ISREG(one.st_mode));
	assert_int_equal(close(fds[0]), 0);
	assert_int_equal(close(fds[1]), 0);
}

/* Pages that were only allocated are not up to date: mincore and SEEK_DATA would miss them. */
static void cachestat_counts_pages_that_were_never_touched(void **state)
{
	int fd = probe_gmem(4);
	uint64_t bytes;

	(void)state;
	assert_int_equal(fallocate(fd, FALLOC_FL_KEEP_SIZE, PAGE, 2 * PAGE), 0);
	assert_int_equal(gm_file_cached(fd, 0, 4 * GM_PAGE_4K, &bytes), 0);
	assert_int_equal(bytes, 2 * GM_PAGE_4K);
	assert_int_equal(gm_file_cached(fd, 0, GM_PAGE_4K, &bytes), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(close(fd), 0);
}

static void file_system_and_link_text_together_tell_what_it_is(void **state)
{
	char path[32], text[64] = "";
	int fd = probe_gmem(1);
	struct statfs fs;

	(void)state;
	assert_int_equal(fstatfs(fd, &fs), 0);
	assert_true(fs.f_type == GM_ANON_INODE_FS_MAGIC || fs.f_type == GM_GUEST_MEMFD_MAGIC);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_true(readlink(path, text, sizeof(text) - 1) > 0);
	assert_non_null(strstr(text, GM_GUEST_MEMFD_LINK));
	assert_int_equal(close(fd), 0);
}

static void the_size_is_fixed_for_life(void **state)
{
	int fd = probe_gmem(2);

	(void)state;
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(ftruncate(fd, PAGE), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(ftruncate(fd, 3 * PAGE), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(close(fd), 0);
}

/* A fd cannot be weakened either: it does not open anew. */
static void it_has_no_seals_and_no_second_open(void **state)
{
	int fd = probe_gmem(1);
	char path[32];

	(void)state;
	assert_int_equal(fcntl(fd, F_GET_SEALS), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), -1);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(open(path, O_RDONLY | O_CLOEXEC), -1);
	assert_int_equal(open(path, O_RDWR | O_CLOEXEC), -1);
	assert_int_equal(close(fd), 0);
}

static void it_is_not_read_written_or_sought(void **state)
{
	int fd = probe_gmem(1);
	char byte = 0;

	(void)state;
	assert_int_equal(read(fd, &byte, 1), -1);
	assert_int_equal(write(fd, &byte, 1), -1);
	assert_int_equal(pread(fd, &byte, 1, 0), -1);
	assert_int_equal(pwrite(fd, &byte, 1, 0), -1);
	assert_int_equal(lseek(fd, 0, SEEK_DATA), -1);
	assert_int_equal(close(fd), 0);
}

static void fallocate_answers_by_the_rules(void **state)
{
	static const struct {
		int mode, error;
		off_t offset, length;
	} rules[] = {
		{ FALLOC_FL_KEEP_SIZE, 0, 0, 4 * PAGE },
		{ FALLOC_FL_KEEP_SIZE, 0, PAGE, PAGE },
		/* Without KEEP_SIZE, or with anything else, it is not understood. */
		{ 0, EOPNOTSUPP, 0, PAGE },
		{ FALLOC_FL_PUNCH_HOLE, EOPNOTSUPP, 0, PAGE },
		{ FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE, EOPNOTSUPP, 0, PAGE },
		{ FALLOC_FL_COLLAPSE_RANGE, EOPNOTSUPP, 0, PAGE },
		/* Pages, whole ones. */
		{ FALLOC_FL_KEEP_SIZE, EINVAL, 1, PAGE },
		{ FALLOC_FL_KEEP_SIZE, EINVAL, 0, PAGE - 1 },
		{ FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, EINVAL, 1, PAGE },
		{ FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, EINVAL, 0, PAGE + 1 },
		{ FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, EINVAL, 0, 1 },
		{ FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, EINVAL, 0, PAGE - 1 },
		{ FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, EINVAL, 1, 1 },
		{ FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, EINVAL, 1, PAGE - 1 },
		{ FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, EINVAL, 1, PAGE + 1 },
		{ FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, EINVAL, PAGE, 1 },
		{ FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, EINVAL, PAGE, PAGE - 1 },
		{ FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, EINVAL, PAGE, PAGE + 1 },
		{ FALLOC_FL_KEEP_SIZE, EINVAL, 0, 0 },
		{ FALLOC_FL_KEEP_SIZE, EINVAL, -PAGE, PAGE },
		/* Allocation ends at the end; a hole may go beyond. */
		{ FALLOC_FL_KEEP_SIZE, EINVAL, 0, 5 * PAGE },
		{ FALLOC_FL_KEEP_SIZE, EINVAL, 4 * PAGE, PAGE },
		{ FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 4 * PAGE, PAGE },
		{ FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 0, (off_t)1 << 50 },
	};
	int fd = probe_gmem(4);

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(rules); i++) {
		int r = fallocate(fd, rules[i].mode, rules[i].offset, rules[i].length);

		if ((r < 0 ? errno : 0) != rules[i].error)
			fail_msg("rule %zu: %s", i, r < 0 ? strerror(errno) : "done");
	}
	assert_int_equal(close(fd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(it_is_born_without_close_on_exec_and_a_vm_is_not),
		gm_test(each_flag_is_accepted_exactly_if_the_capability_has_it),
		gm_test(a_size_that_is_no_page_multiple_is_einval),
		gm_test(the_kernel_sets_no_upper_limit_of_size),
		gm_test(stat_tells_size_and_inode_but_not_what_is_allocated),
		gm_test(cachestat_counts_pages_that_were_never_touched),
		gm_test(file_system_and_link_text_together_tell_what_it_is),
		gm_test(the_size_is_fixed_for_life),
		gm_test(it_has_no_seals_and_no_second_open),
		gm_test(it_is_not_read_written_or_sought),
		gm_test(fallocate_answers_by_the_rules),
	};

	probe_needs_guest_memfd();
	return gm_test_run("guest_memfd as a file", tests, GM_ARRAY_SIZE(tests));
}
