/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper is made of: the stored fds, the messages, the waits. */
#include "gm_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gm_fd.h"
#include "keep_backoff.h"
#include "keep_fds.h"
#include "keep_notify.h"

#define ROOM 8

static int memory(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static bool is_open(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0;
}

static struct gm_keep_fds store_new(void)
{
	struct gm_keep_fds fds;

	assert_int_equal(gm_keep_fds_init(&fds, ROOM, 1000), 0);
	return fds;
}

static void a_name_holds_several_files_but_none_twice(void **state)
{
	struct gm_keep_fds fds = store_new();
	int first = memory(), second = memory(), copy = dup(first);

	(void)state;
	assert_int_equal(gm_keep_fds_add(&fds, "+r1", first, false), 0);
	assert_int_equal(gm_keep_fds_add(&fds, "+r1", second, false), 0);
	assert_int_equal(gm_keep_fds_add(&fds, "+r1", copy, false), 0);
	assert_int_equal(fds.n_kept, 2);
	assert_false(is_open(copy));
	gm_keep_fds_done(&fds);
	assert_false(is_open(first) || is_open(second));
}

static void removing_a_name_closes_all_of_it_and_nothing_else(void **state)
{
	struct gm_keep_fds fds = store_new();
	int gone = memory(), other = memory(), gone_too = memory();

	(void)state;
	assert_int_equal(gm_keep_fds_add(&fds, "+r1", gone, false), 0);
	assert_int_equal(gm_keep_fds_add(&fds, "+r10", other, false), 0);
	assert_int_equal(gm_keep_fds_add(&fds, "+r1", gone_too, false), 0);
	assert_int_equal(gm_keep_fds_remove(&fds, "+r1"), 2);
	assert_false(is_open(gone) || is_open(gone_too));
	assert_true(is_open(other));
	assert_int_equal(fds.n_kept, 1);
	assert_int_equal(gm_keep_fds_remove(&fds, "+r1"), 0);
	assert_int_equal(fds.names_length, sizeof("+r10"));
	gm_keep_fds_done(&fds);
}

static void a_full_store_takes_nothing_and_leaves_the_fd_to_its_owner(void **state)
{
	struct gm_keep_fds fds = store_new();
	int extra = memory();

	(void)state;
	for (int i = 0; i < ROOM; i++)
		assert_int_equal(gm_keep_fds_add(&fds, "+r1", memory(), false), 0);
	assert_int_equal(gm_keep_fds_add(&fds, "+r2", extra, false), -ENOSPC);
	assert_true(is_open(extra));
	close(extra);
	gm_keep_fds_done(&fds);
}

static void names_take_no_more_than_an_environment_has(void **state)
{
	char name[GM_KEEP_NAME_MAX + 1];
	struct gm_keep_fds fds = store_new();
	int extra = memory();

	(void)state;
	memset(name, 'n', GM_KEEP_NAME_MAX);
	name[GM_KEEP_NAME_MAX] = '\0';
	for (int i = 0; i < 3; i++)
		assert_int_equal(gm_keep_fds_add(&fds, name, memory(), false), 0);
	assert_int_equal(gm_keep_fds_add(&fds, name, extra, false), -ENOSPC);
	close(extra);
	assert_int_equal(gm_keep_fds_remove(&fds, name), 3);
	assert_int_equal(fds.names_length, 0);
	gm_keep_fds_done(&fds);
}

static void without_memory_nothing_is_taken(void **state)
{
	struct gm_keep_fds fds = store_new();
	int fd = memory();

	(void)state;
	for (long nth = 1; nth <= 2; nth++) {
		gm_test_fail_allocation(nth);
		assert_int_equal(gm_keep_fds_add(&fds, "+r1", fd, false), -ENOMEM);
		gm_test_fail_allocation(0);
		assert_true(is_open(fd));
		assert_int_equal(fds.n_kept, 0);
	}
	assert_int_equal(gm_keep_fds_add(&fds, "+r1", fd, false), 0);
	gm_keep_fds_done(&fds);
}

static void what_hangs_up_goes_only_if_it_is_watched(void **state)
{
	struct gm_keep_fds fds = store_new();
	int watched[2], left_alone[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, watched), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, left_alone), 0);
	assert_int_equal(gm_keep_fds_add(&fds, "a", watched[0], true), 0);
	assert_int_equal(gm_keep_fds_add(&fds, "b", left_alone[0], false), 0);
	assert_int_equal(gm_keep_fds_add(&fds, "c", memory(), true), 0);
	gm_keep_fds_drop_hangups(&fds);
	assert_int_equal(fds.n_kept, 3);
	close(watched[1]);
	close(left_alone[1]);
	gm_keep_fds_drop_hangups(&fds);
	assert_int_equal(fds.n_kept, 2);
	assert_false(is_open(watched[0]));
	assert_true(is_open(left_alone[0]));
	gm_keep_fds_done(&fds);
}

static void a_name_is_printable_and_separates_nothing(void **state)
{
	char name[GM_KEEP_NAME_MAX + 2];

	(void)state;
	assert_true(gm_keep_name_is_valid("+r1f"));
	assert_true(gm_keep_name_is_valid("any thing~"));
	assert_false(gm_keep_name_is_valid(""));
	assert_false(gm_keep_name_is_valid("a:b"));
	assert_false(gm_keep_name_is_valid("a\tb"));
	assert_false(gm_keep_name_is_valid("\xc3\xa4"));
	memset(name, 'n', sizeof(name) - 1);
	name[GM_KEEP_NAME_MAX + 1] = '\0';
	assert_false(gm_keep_name_is_valid(name));
	assert_true(gm_keep_name_is_valid(name + 1));
}

static struct gm_keep_message message;

static void parse(const char *text)
{
	message = (struct gm_keep_message){ 0 };
	snprintf(message.text, sizeof(message.text), "%s", text);
	gm_keep_message_parse(&message);
}

static void a_message_is_taken_apart_by_lines(void **state)
{
	(void)state;
	parse("FDSTORE=1\nFDNAME=+r1\nFDPOLL=0");
	assert_true(message.store && message.no_poll && !message.remove && !message.ready);
	assert_string_equal(message.name, "+r1");
	parse("FDSTOREREMOVE=1\nFDNAME=+r1\n");
	assert_true(message.remove && !message.store);
	parse("READY=1\nSTATUS=all is well\nWATCHDOG=1\nSTOPPING=1");
	assert_true(message.ready && message.watchdog && message.stopping);
	assert_string_equal(message.status, "all is well");
}

static void what_is_not_known_says_nothing(void **state)
{
	static const char *const texts[] = { "",	  "\n\n\n",    "READY=0",
					     "READY=11",  "ready=1",   "XREADY=1",
					     "READY = 1", "FDPOLL=1",  "BARRIER=1",
					     "=",	  "MAINPID=1", "WATCHDOG=trigger",
					     "FDNAME",	  "STATUS",    "RELOADING=1" };

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(texts); i++) {
		parse(texts[i]);
		assert_false(message.ready || message.stopping || message.watchdog ||
			     message.store || message.remove || message.no_poll);
		assert_null(message.name);
		assert_null(message.status);
	}
	parse("FDNAME=a:b");
	assert_null(message.name);
	parse("FDNAME=");
	assert_null(message.name);
}

static void the_first_death_costs_no_wait_and_each_early_one_doubles_it(void **state)
{
	static const uint32_t waits[] = { 0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000 };
	struct gm_keep_backoff backoff = { .max_ms = GM_KEEP_BACKOFF_MAX_MS };

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(waits); i++)
		assert_int_equal(gm_keep_backoff_next(&backoff, GM_KEEP_BACKOFF_RESET_MS - 1),
				 waits[i]);
	assert_int_equal(gm_keep_backoff_next(&backoff, GM_KEEP_BACKOFF_RESET_MS), 0);
	assert_int_equal(gm_keep_backoff_next(&backoff, 0), 10);
}

static void what_the_janitor_is_given_is_closed_when_it_has_stopped(void **state)
{
	struct gm_keep_janitor janitor;
	struct gm_keep_fds fds;
	int ends[2], own[2];
	char byte;

	(void)state;
	assert_int_equal(gm_keep_janitor_start(&janitor), 0);
	assert_int_equal(gm_keep_fds_init(&fds, ROOM, 1000), 0);
	fds.janitor = &janitor;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(pipe2(own, O_CLOEXEC), 0);
	assert_int_equal(gm_keep_fds_add(&fds, "slow", ends[1], false), 0);
	gm_keep_janitor_close(&janitor, own[1]);
	assert_int_equal(gm_keep_fds_remove(&fds, "slow"), 1);
	/* The end of the pipe comes with the close. */
	assert_int_equal(read(ends[0], &byte, 1), 0);
	assert_int_equal(read(own[0], &byte, 1), 0);
	gm_keep_fds_done(&fds);
	gm_keep_janitor_stop(&janitor);
	gm_keep_janitor_stop(&janitor);
	gm_fd_close(ends[0]);
	gm_fd_close(own[0]);
}

static void no_wait_is_longer_than_was_allowed(void **state)
{
	static const uint32_t waits[] = { 0, 10, 15, 15 };
	struct gm_keep_backoff backoff = { .max_ms = 15 };

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(waits); i++)
		assert_int_equal(gm_keep_backoff_next(&backoff, 0), waits[i]);
	backoff = (struct gm_keep_backoff){ .max_ms = 0 };
	assert_int_equal(gm_keep_backoff_next(&backoff, 0), 0);
	assert_int_equal(gm_keep_backoff_next(&backoff, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_name_holds_several_files_but_none_twice),
		gm_test(removing_a_name_closes_all_of_it_and_nothing_else),
		gm_test(a_full_store_takes_nothing_and_leaves_the_fd_to_its_owner),
		gm_test(names_take_no_more_than_an_environment_has),
		gm_test(without_memory_nothing_is_taken),
		gm_test(what_hangs_up_goes_only_if_it_is_watched),
		gm_test(a_name_is_printable_and_separates_nothing),
		gm_test(a_message_is_taken_apart_by_lines),
		gm_test(what_is_not_known_says_nothing),
		gm_test(the_first_death_costs_no_wait_and_each_early_one_doubles_it),
		gm_test(what_the_janitor_is_given_is_closed_when_it_has_stopped),
		gm_test(no_wait_is_longer_than_was_allowed),
	};

	return gm_test_run("keep_parts", tests, GM_ARRAY_SIZE(tests));
}
