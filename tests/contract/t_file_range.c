/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges of a memory file: signals do not show, and what is present is told without guessing.
 * fallocate is wrapped at link time, so that it is interrupted when a case wants it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file_range.h"
#include "gm_test.h"

#define PAGES(n) ((n)*GM_PAGE_4K)

int __real_fallocate(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length);

static unsigned n_interrupts;
static unsigned n_calls;

int __wrap_fallocate(int fd, int mode, off_t offset, off_t length)
{
	n_calls++;
	if (n_interrupts > 0) {
		n_interrupts--;
		errno = EINTR;
		return -1;
	}
	return __real_fallocate(fd, mode, offset, length);
}

static int make_file(uint64_t n_pages)
{
	int fd = memfd_create("range", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)PAGES(n_pages)), 0);
	return fd;
}

static void an_interrupted_call_is_repeated_until_it_is_done(void **state)
{
	int fd = make_file(4);
	uint64_t bytes;

	(void)state;
	n_calls = 0;
	n_interrupts = 3;
	assert_int_equal(gm_file_allocate(fd, 0, 0, PAGES(4)), 0);
	assert_int_equal(n_calls, 4);
	assert_int_equal(gm_file_blocks(fd, 0, PAGES(4), &bytes), 0);
	assert_int_equal(bytes, PAGES(4));
	n_interrupts = 2;
	assert_int_equal(gm_file_punch(fd, 0, PAGES(4)), 0);
	assert_int_equal(n_calls, 7);
	assert_int_equal(gm_file_blocks(fd, 0, PAGES(4), &bytes), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(close(fd), 0);
}

static void any_other_error_is_passed_on(void **state)
{
	int fd = make_file(1);

	(void)state;
	assert_int_equal(gm_file_allocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, PAGES(1)), -EOPNOTSUPP);
	assert_int_equal(gm_file_allocate(-1, 0, 0, PAGES(1)), -EBADF);
	assert_int_equal(gm_file_punch(-1, 0, PAGES(1)), -EBADF);
	assert_int_equal(close(fd), 0);
}

static void an_empty_range_is_no_call(void **state)
{
	(void)state;
	n_calls = 0;
	assert_int_equal(gm_file_allocate(-1, 0, 0, 0), 0);
	assert_int_equal(gm_file_punch(-1, 0, 0), 0);
	assert_int_equal(n_calls, 0);
}

/* Where the kernel has no cachestat: the whole file, and nothing that must be guessed. */
static void blocks_settle_all_nothing_and_the_whole_file_only(void **state)
{
	int fd = make_file(4);
	uint64_t bytes;

	(void)state;
	assert_int_equal(gm_file_blocks(fd, PAGES(1), PAGES(1), &bytes), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(gm_file_allocate(fd, 0, 0, PAGES(1)), 0);
	assert_int_equal(gm_file_blocks(fd, 0, PAGES(4), &bytes), 0);
	assert_int_equal(bytes, PAGES(1));
	assert_int_equal(gm_file_blocks(fd, 0, PAGES(1), &bytes), -EOPNOTSUPP);
	assert_int_equal(gm_file_blocks(fd, PAGES(3), PAGES(1), &bytes), -EOPNOTSUPP);
	assert_int_equal(gm_file_allocate(fd, 0, 0, PAGES(4)), 0);
	assert_int_equal(gm_file_blocks(fd, PAGES(3), PAGES(1), &bytes), 0);
	assert_int_equal(bytes, PAGES(1));
	assert_int_equal(close(fd), 0);
}

/* To the kernel a length of 0 is "up to the end". */
static void an_empty_range_holds_nothing(void **state)
{
	int fd = make_file(2);
	uint64_t bytes = 1;

	(void)state;
	assert_int_equal(gm_file_allocate(fd, 0, 0, PAGES(2)), 0);
	assert_int_equal(gm_file_cached(fd, 0, 0, &bytes), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(close(fd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(an_interrupted_call_is_repeated_until_it_is_done),
		gm_test(any_other_error_is_passed_on),
		gm_test(an_empty_range_is_no_call),
		gm_test(blocks_settle_all_nothing_and_the_whole_file_only),
		gm_test(an_empty_range_holds_nothing),
	};

	return gm_test_run("file range", tests, sizeof(tests) / sizeof(tests[0]));
}
