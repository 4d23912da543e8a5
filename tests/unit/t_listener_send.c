/* SPDX-License-Identifier: Apache-2.0 */
/* Answers to slow peers, and a full service, over real sockets: what waits, and what it costs. */
#include "listener_rig.h"

#include <errno.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* ---- slow peers ---- */

static unsigned flood(int fd, uint32_t first_serial, unsigned n_max)
{
	unsigned n;

	for (n = 0; n < n_max; n++) {
		struct request request = ping(first_serial + n);

		if (try_send(fd, &request) == -EAGAIN)
			break;
	}
	return n;
}

static void nothing_is_read_from_a_peer_that_does_not_take_its_answers(void **state)
{
	struct fixture f;
	unsigned n_sent = 0, n_taken;
	int fd;

	(void)state;
	fixture_init(&f);
	f.answer_length = GM_BODY_MAX;
	f.n_answer_fds = 1;
	fd = dial_in(&f);
	for (unsigned i = 0; i < 20; i++) {
		n_sent += flood(fd, n_sent + 1, 1000);
		settle(&f);
	}
	n_taken = f.users[0].n_packets;
	assert_true(n_taken < 10);
	assert_true(n_sent < 1000);

	/* All of it comes when the peer reads on, in order, each answer with its fd. */
	for (uint32_t serial = 1; serial <= n_sent; serial++) {
		struct gm_frame frame;
		size_t n_fds;

		while (receive(fd, &frame, &n_fds) == -EAGAIN)
			run_for(&f, 1);
		assert_int_equal(frame.serial, serial);
		assert_int_equal(n_fds, 1);
	}
	assert_int_equal(f.users[0].n_packets, n_sent);
	close(fd);
	fixture_done(&f);
}

static void an_answer_does_not_overtake_one_that_waits(void **state)
{
	struct gm_frame frame;
	struct fixture f;
	size_t n_fds;
	int fd;

	(void)state;
	fixture_init(&f);
	fd = dial_in(&f);
	f.answer_length = GM_BODY_MAX;
	for (uint32_t serial = 1; serial <= 10; serial++)
		send_to(&f.users[0], GM_FRAME_ANSWER, serial);
	/* The peer makes room, and the loop has not yet seen it. */
	expect_answer(fd, 1);
	expect_answer(fd, 2);
	f.answer_length = 0;
	send_to(&f.users[0], GM_FRAME_ANSWER, 11);
	for (uint32_t serial = 3; serial <= 11; serial++) {
		while (receive(fd, &frame, &n_fds) == -EAGAIN)
			run_for(&f, 1);
		assert_int_equal(frame.serial, serial);
	}
	close(fd);
	fixture_done(&f);
}

static void a_peer_that_goes_frees_the_answers_that_wait_for_it_and_their_fds(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	fixture_init(&f);
	f.answer_length = GM_BODY_MAX;
	f.n_answer_fds = GM_FDSET_MAX;
	fd = dial_in(&f);
	flood(fd, 1, 100);
	settle(&f);
	for (uint32_t serial = 1; serial <= 20; serial++)
		send_to(&f.users[0], GM_FRAME_ANSWER, serial);
	close(fd);
	settle(&f);
	assert_int_equal(f.n_closed, 1);
	assert_int_equal(f.n_violations, 0);
	fixture_done(&f);
}

static void events_for_a_slow_peer_are_dropped_and_answers_are_not(void **state)
{
	struct fixture f;
	unsigned n_events = 0, n_answers = 0;
	struct gm_frame frame;
	size_t n_fds;
	int fd, error;

	(void)state;
	fixture_init(&f);
	f.answer_length = 1024;
	fd = dial_in(&f);
	for (uint32_t i = 0; i < 2000; i++)
		send_to(&f.users[0], GM_FRAME_EVENT, 0);
	for (uint32_t i = 0; i < 200; i++)
		send_to(&f.users[0], GM_FRAME_ANSWER, i + 1);
	while ((error = receive(fd, &frame, &n_fds)) == 0) {
		n_events += frame.serial == 0;
		n_answers += frame.serial != 0;
		run_for(&f, 0);
	}
	assert_int_equal(error, -EAGAIN);
	assert_int_equal(n_answers, 200);
	assert_true(n_events > 64);
	assert_true(n_events < 500);
	close(fd);
	fixture_done(&f);
}

static void one_peers_flood_does_not_hold_up_anothers_packet(void **state)
{
	struct fixture f;
	int loud, quiet;
	unsigned position = 0;

	(void)state;
	fixture_init(&f);
	f.silent = true;
	loud = dial_in(&f);
	quiet = dial_in(&f);
	assert_true(flood(loud, 1, 200) >= 100);
	send_ping(quiet, 1);
	settle(&f);
	while (f.order[position] != 1)
		position++;
	assert_true(position <= 16);
	close(loud);
	close(quiet);
	fixture_done(&f);
}

/* ---- a full service ---- */

static void nothing_is_read_while_the_service_is_full_and_on_after_an_answer(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	fixture_init(&f);
	f.silent = true;
	fd = dial_in(&f);
	f.full = true;
	for (uint32_t serial = 1; serial <= 5; serial++)
		send_ping(fd, serial);
	settle(&f);
	assert_int_equal(f.users[0].n_packets, 0);

	/* An answer alone is not room: the service is asked again. */
	send_to(&f.users[0], GM_FRAME_ANSWER, 99);
	settle(&f);
	assert_int_equal(f.users[0].n_packets, 0);
	send_to(&f.users[0], GM_FRAME_ANSWER, 98);
	f.full = false;
	settle(&f);
	assert_int_equal(f.users[0].n_packets, 5);
	close(fd);
	fixture_done(&f);
}

static void a_peer_that_has_to_wait_is_read_later_and_no_other_waits(void **state)
{
	struct fixture f;
	int fd, neighbour;

	(void)state;
	fixture_init(&f);
	fd = dial_in(&f);
	neighbour = dial_in(&f);
	f.waits = &f.users[0];
	f.wait_ms = 50;
	for (uint32_t serial = 1; serial <= 5; serial++) {
		send_ping(fd, serial);
		send_ping(neighbour, serial);
	}
	settle(&f);
	run_for(&f, 20);
	assert_int_equal(f.users[0].n_packets, 0);
	assert_int_equal(f.users[1].n_packets, 5);
	/* Asked again, it has to wait once more. */
	run_for(&f, 50);
	assert_int_equal(f.users[0].n_packets, 0);
	f.wait_ms = 0;
	run_for(&f, 100);
	assert_int_equal(f.users[0].n_packets, 5);
	/* One that hangs up while it waits is noticed at once. */
	f.wait_ms = 60000;
	send_ping(fd, 6);
	settle(&f);
	close(fd);
	run_for(&f, 20);
	assert_true(f.users[0].closed);
	close(neighbour);
	fixture_done(&f);
}

static void a_peer_that_hangs_up_is_noticed_while_the_service_is_full(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	fixture_init(&f);
	f.silent = true;
	fd = dial_in(&f);
	f.full = true;
	send_ping(fd, 1);
	settle(&f);
	/* With an answer unread at its end the kernel reports an error instead of a hang-up. */
	send_to(&f.users[0], GM_FRAME_ANSWER, 1);
	settle(&f);
	f.n_asked = 0;
	close(fd);
	settle(&f);
	assert_int_equal(f.n_closed, 1);
	assert_true(f.n_asked < 3);
	fixture_done(&f);
}

static void a_full_service_costs_no_processor_time(void **state)
{
	struct timespec before, after;
	struct fixture f;
	int fd;

	(void)state;
	fixture_init(&f);
	f.silent = true;
	fd = dial_in(&f);
	f.full = true;
	flood(fd, 1, 50);
	settle(&f);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	run_for(&f, 200);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	assert_true((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec <
		    50000000);
	close(fd);
	fixture_done(&f);
}

/* ---- a shortage of fds ---- */

static void an_answer_whose_fd_cannot_be_kept_ends_the_connection(void **state)
{
	struct rlimit before, low;
	struct fixture f;
	int fd, unused;

	(void)state;
	fixture_init(&f);
	f.answer_length = GM_BODY_MAX;
	f.n_answer_fds = 1;
	fd = dial_in(&f);
	unused = dup(fd);
	close(unused);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = before;
	low.rlim_cur = (rlim_t)unused;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	flood(fd, 1, 100);
	settle(&f);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(f.n_closed, 1);
	assert_int_equal(f.shortage, EMFILE);
	assert_int_equal(f.n_violations, 0);
	close(fd);
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(nothing_is_read_from_a_peer_that_does_not_take_its_answers),
		gm_test(an_answer_does_not_overtake_one_that_waits),
		gm_test(a_peer_that_goes_frees_the_answers_that_wait_for_it_and_their_fds),
		gm_test(events_for_a_slow_peer_are_dropped_and_answers_are_not),
		gm_test(one_peers_flood_does_not_hold_up_anothers_packet),
		gm_test(nothing_is_read_while_the_service_is_full_and_on_after_an_answer),
		gm_test(a_peer_that_has_to_wait_is_read_later_and_no_other_waits),
		gm_test(a_peer_that_hangs_up_is_noticed_while_the_service_is_full),
		gm_test(a_full_service_costs_no_processor_time),
		gm_test(an_answer_whose_fd_cannot_be_kept_ends_the_connection),
	};

	return gm_test_run("listener send", tests, GM_ARRAY_SIZE(tests));
}
