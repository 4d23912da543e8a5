/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors, sets of them, and tokens. */
#include "gm_test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gm_cleanup.h"
#include "gm_fd.h"
#include "gm_fdset.h"
#include "gm_token.h"

static int make_fd(void)
{
	int fd = memfd_create("t_fd", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void assert_closed(int fd)
{
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(errno, EBADF);
}

static void closing_keeps_errno_and_takes_no_fd(void **state)
{
	int fd = make_fd();

	(void)state;
	errno = ENOENT;
	gm_fd_close(fd);
	assert_int_equal(errno, ENOENT);
	assert_closed(fd);
	errno = ENOENT;
	gm_fd_close(-1);
	gm_fd_close(fd);
	assert_int_equal(errno, ENOENT);
}

static void a_copy_is_close_on_exec_and_not_a_standard_stream(void **state)
{
	int copy;

	(void)state;
	copy = gm_fd_dup(STDERR_FILENO);
	assert_true(copy >= 3);
	assert_true(fcntl(copy, F_GETFD) & FD_CLOEXEC);
	gm_fd_close(copy);
	assert_int_equal(gm_fd_dup(-1), -EBADF);
}

static void identity_tells_two_files_apart_and_a_copy_not(void **state)
{
	_gm_close_ int one = make_fd();
	_gm_close_ int two = make_fd();
	_gm_close_ int copy = gm_fd_dup(one);
	struct gm_fd_identity a, b, c;

	(void)state;
	assert_int_equal(ftruncate(one, 12345), 0);
	assert_int_equal(gm_fd_identify(one, &a), 0);
	assert_int_equal(gm_fd_identify(two, &b), 0);
	assert_int_equal(gm_fd_identify(copy, &c), 0);
	assert_int_equal(a.size, 12345);
	assert_memory_equal(&a, &c, sizeof(a));
	assert_int_not_equal(a.inode, b.inode);
	assert_int_equal(gm_fd_identify(-1, &a), -EBADF);
}

static void a_set_closes_what_nobody_stole(void **state)
{
	struct gm_fdset set = GM_FDSET_NULL;
	int kept = make_fd(), closed = make_fd();

	(void)state;
	assert_int_equal(gm_fdset_add(&set, kept), 0);
	assert_int_equal(gm_fdset_add(&set, closed), 0);
	assert_int_equal(gm_fdset_peek(&set, 0), kept);
	assert_int_equal(gm_fdset_steal(&set, 0), kept);
	assert_int_equal(gm_fdset_steal(&set, 0), -1);
	gm_fdset_done(&set);
	gm_fdset_done(&set);
	assert_true(fcntl(kept, F_GETFD) >= 0);
	assert_closed(closed);
	gm_fd_close(kept);
}

static void a_full_set_leaves_the_fd_to_its_owner(void **state)
{
	struct gm_fdset set = GM_FDSET_NULL;
	int surplus = make_fd();

	(void)state;
	for (int i = 0; i < GM_FDSET_MAX; i++)
		assert_int_equal(gm_fdset_add(&set, make_fd()), 0);
	assert_int_equal(gm_fdset_add(&set, surplus), -ENOSPC);
	gm_fdset_done(&set);
	assert_true(fcntl(surplus, F_GETFD) >= 0);
	gm_fd_close(surplus);
}

static void an_index_outside_a_set_is_no_fd(void **state)
{
	struct gm_fdset set = GM_FDSET_NULL;

	(void)state;
	assert_int_equal(gm_fdset_peek(&set, 0), -1);
	assert_int_equal(gm_fdset_steal(&set, GM_FDSET_MAX), -1);
	assert_int_equal(gm_fdset_steal(&set, SIZE_MAX), -1);
}

static void a_move_empties_one_set_and_replaces_the_other(void **state)
{
	struct gm_fdset from = GM_FDSET_NULL, to = GM_FDSET_NULL;
	int moved = make_fd(), replaced = make_fd();

	(void)state;
	assert_int_equal(gm_fdset_add(&from, moved), 0);
	assert_int_equal(gm_fdset_add(&to, replaced), 0);
	gm_fdset_move(&to, &from);
	assert_closed(replaced);
	assert_int_equal(from.n_fds, 0);
	assert_int_equal(gm_fdset_peek(&to, 0), moved);
	gm_fdset_done(&to);
}

static void what_is_taken_is_not_cleaned_up(void **state)
{
	int taken;

	(void)state;
	{
		_gm_close_ int fd = make_fd();
		_gm_close_ int other = make_fd();

		taken = gm_take_fd(&fd);
		assert_int_equal(fd, -1);
		assert_true(other >= 0);
	}
	assert_true(fcntl(taken, F_GETFD) >= 0);
	gm_fd_close(taken);
}

static void tokens_differ_when_any_one_bit_does(void **state)
{
	struct gm_token a = { { 1, 2, 3 } };

	(void)state;
	assert_true(gm_token_equal(&a, &a));
	for (unsigned bit = 0; bit < 8 * GM_TOKEN_SIZE; bit++) {
		struct gm_token b = a;

		b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(gm_token_equal(&a, &b));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(closing_keeps_errno_and_takes_no_fd),
		gm_test(a_copy_is_close_on_exec_and_not_a_standard_stream),
		gm_test(identity_tells_two_files_apart_and_a_copy_not),
		gm_test(a_set_closes_what_nobody_stole),
		gm_test(a_full_set_leaves_the_fd_to_its_owner),
		gm_test(an_index_outside_a_set_is_no_fd),
		gm_test(a_move_empties_one_set_and_replaces_the_other),
		gm_test(what_is_taken_is_not_cleaned_up),
		gm_test(tokens_differ_when_any_one_bit_does),
	};

	return gm_test_run("fd", tests, GM_ARRAY_SIZE(tests));
}
