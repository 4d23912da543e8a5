/* SPDX-License-Identifier: Apache-2.0 */
/* Packets from peers, over real sockets: what reaches the service, and what cuts a peer off. */
#include "listener_rig.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- packets ---- */

static void a_packet_goes_to_the_service_and_its_answer_comes_back(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	fixture_init(&f);
	fd = dial_in(&f);
	for (uint32_t serial = 1; serial <= 100; serial++) {
		send_ping(fd, serial);
		settle(&f);
		expect_answer(fd, serial);
	}
	close(fd);
	settle(&f);
	assert_int_equal(f.n_closed, 1);
	assert_int_equal(f.n_violations, 0);
	fixture_done(&f);
}

static void pipelined_packets_are_answered_in_order(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	fixture_init(&f);
	fd = dial_in(&f);
	for (uint32_t serial = 1; serial <= 100; serial++)
		send_ping(fd, serial);
	settle(&f);
	for (uint32_t serial = 1; serial <= 100; serial++)
		expect_answer(fd, serial);
	close(fd);
	fixture_done(&f);
}

static void more_connections_are_no_more_of_a_turn(void **state)
{
	enum {
		GREEDY = USERS_MAX - 1,
		QUEUED = 16
	};
	struct gm_listener *other;
	struct sockaddr_un first;
	int fds[USERS_MAX], fd;
	unsigned position = 0;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	for (unsigned i = 0; i < GREEDY; i++)
		fds[i] = dial_in(&f);
	/* A neighbour: another listener of the same loop. */
	first = f.address;
	snprintf(f.address.sun_path, sizeof(f.address.sun_path), "%s/other", f.folder);
	assert_int_equal(gm_listen_at(f.address.sun_path, 0600, &fd), 0);
	assert_int_equal(gm_listener_new(f.loop, fd, &fixture_ops, &f, &other), 0);
	fds[GREEDY] = dial_in(&f);
	for (unsigned i = 0; i < GREEDY; i++)
		for (uint32_t serial = 1; serial <= QUEUED; serial++)
			send_ping(fds[i], serial);
	send_ping(fds[GREEDY], 1);
	settle(&f);
	while (f.order[position] != GREEDY)
		position++;
	print_message("%u packets of the neighbour's came first\n", position);
	assert_in_range(position, 0, QUEUED + GREEDY);
	/* And nobody is left out. */
	assert_int_equal(f.n_order, GREEDY * QUEUED + 1);
	for (unsigned i = 0; i < USERS_MAX; i++)
		close(fds[i]);
	settle(&f);
	gm_listener_free(other);
	unlink(f.address.sun_path);
	f.address = first;
	fixture_done(&f);
}

static void fds_ride_with_their_packet_both_ways(void **state)
{
	struct request request = ping(1);
	struct fixture f;
	struct gm_frame frame;
	size_t n_fds;
	int fd;

	(void)state;
	fixture_init(&f);
	f.n_answer_fds = GM_FDSET_MAX;
	fd = dial_in(&f);
	request.frame.n_fds = request.n_fds = GM_FDSET_MAX;
	assert_int_equal(try_send(fd, &request), 0);
	settle(&f);
	assert_int_equal(f.users[0].n_fds, GM_FDSET_MAX);
	assert_int_equal(receive(fd, &frame, &n_fds), 0);
	assert_int_equal(n_fds, GM_FDSET_MAX);
	close(fd);
	fixture_done(&f);
}

/* ---- violations ---- */

static void expect_cut_off(struct fixture *f, int fd, const char *why)
{
	settle(f);
	assert_int_equal(f->n_violations, 1);
	assert_non_null(strstr(f->fault, why));
	assert_int_equal(f->n_closed, 1);
	expect_end(fd);
	close(fd);
}

static void cut_off_for(const struct request *request, const char *why)
{
	struct fixture f;
	int fd, neighbour;

	fixture_init(&f);
	fd = dial_in(&f);
	neighbour = dial_in(&f);
	assert_int_equal(try_send(fd, request), 0);
	expect_cut_off(&f, fd, why);
	assert_false(f.from_packet);
	assert_int_equal(f.users[0].n_packets, 0);

	send_ping(neighbour, 7);
	settle(&f);
	expect_answer(neighbour, 7);
	close(neighbour);
	fixture_done(&f);
}

static void a_body_of_another_length_than_the_header_says_cuts_the_peer_off(void **state)
{
	struct request request = ping(1);

	(void)state;
	request.frame.body_length = 4;
	cut_off_for(&request, "length");
}

static void an_unknown_version_cuts_the_peer_off(void **state)
{
	struct request request = ping(1);

	(void)state;
	request.frame.version = GM_PROTOCOL_VERSION + 1;
	cut_off_for(&request, "version");
}

static void more_fds_than_the_header_says_cut_the_peer_off(void **state)
{
	struct request request = ping(1);

	(void)state;
	request.n_fds = 2;
	request.frame.n_fds = 1;
	cut_off_for(&request, "fds");
}

static void fewer_fds_than_the_header_says_cut_the_peer_off(void **state)
{
	struct request request = ping(1);

	(void)state;
	request.n_fds = 1;
	request.frame.n_fds = 2;
	cut_off_for(&request, "fds");
}

static void a_packet_longer_than_any_message_cuts_the_peer_off(void **state)
{
	struct request request = ping(1);

	(void)state;
	request.frame.body_length = GM_BODY_MAX;
	request.body_length = GM_BODY_MAX + 1;
	cut_off_for(&request, "longer");
}

static void garbage_cuts_the_peer_off(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
	} garbage[] = {
		{ "x", 1 },
		{ "GET / HTTP/1.1\r\n\r\n", 18 },
		{ "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16 },
		{ "gm\1\0\2\0\0\0\1\0\0\0\0\0\0", 15 },
	};

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(garbage); i++) {
		struct fixture f;
		int fd;

		fixture_init(&f);
		fd = dial_in(&f);
		assert_int_equal(send(fd, garbage[i].bytes, garbage[i].length, 0),
				 garbage[i].length);
		expect_cut_off(&f, fd, "");
		fixture_done(&f);
	}
}

static void a_fault_that_the_service_finds_cuts_the_peer_off(void **state)
{
	struct request request = ping(1);
	struct fixture f;
	int fd;

	(void)state;
	fixture_init(&f);
	fd = dial_in(&f);
	request.frame.type = GM_MSG_EVICT;
	assert_int_equal(try_send(fd, &request), 0);
	send_ping(fd, 2);
	expect_cut_off(&f, fd, "the service says so");
	assert_true(f.from_packet);
	assert_int_equal(f.users[0].n_packets, 1);
	fixture_done(&f);
}

static void a_good_packet_before_a_bad_one_does_not_make_the_fault_the_services(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	fixture_init(&f);
	fd = dial_in(&f);
	send_ping(fd, 1);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	settle(&f);
	assert_int_equal(f.users[0].n_packets, 1);
	assert_int_equal(f.n_violations, 1);
	assert_false(f.from_packet);
	close(fd);
	fixture_done(&f);
}

static void more_fds_than_a_message_can_carry_cut_the_peer_off_and_none_stays(void **state)
{
	union {
		struct cmsghdr align;
		unsigned char bytes[CMSG_SPACE(sizeof(int) * 200)];
	} control = { .bytes = { 0 } };
	unsigned char header[GM_FRAME_HEADER_SIZE];
	const struct request request = ping(1);
	struct iovec iov = { .iov_base = header, .iov_len = sizeof(header) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	struct fixture f;
	int fd;

	(void)state;
	fixture_init(&f);
	fd = dial_in(&f);
	gm_frame_encode(&request.frame, header);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * 200);
	for (size_t i = 0; i < 200; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &(int){ STDERR_FILENO }, sizeof(int));
	assert_int_equal(sendmsg(fd, &msg, 0), sizeof(header));
	expect_cut_off(&f, fd, "cut off");
	fixture_done(&f);
}

static void a_listener_that_takes_no_fds_has_the_kernel_refuse_them(void **state)
{
	struct gm_listener_ops fdless = fixture_ops;
	struct request request = ping(1);
	struct fixture f;
	int fd, error;

	(void)state;
	fdless.takes_fds = false;
	fixture_init_with(&f, &fdless);
	fd = dial_in(&f);
	request.frame.n_fds = request.n_fds = 1;
	error = try_send(fd, &request);
	if (error == 0)
		print_message("this kernel cannot refuse fds: it is older than 6.16\n");
	else
		assert_int_equal(error, -EPERM);
	if (error) {
		/* Nothing has been sent, and nothing is amiss. */
		send_ping(fd, 2);
		settle(&f);
		expect_answer(fd, 2);
	}
	close(fd);
	settle(&f);
	fixture_done(&f);
	if (error == 0)
		skip();
}

/* ---- fds that nobody wants ---- */

static unsigned n_sunk;

static void count_and_close(void *arg, int fd)
{
	assert_non_null(arg);
	n_sunk++;
	assert_int_equal(close(fd), 0);
}

static void fixture_init_sinking(struct fixture *f)
{
	static struct gm_listener_ops sinking;

	sinking = fixture_ops;
	sinking.close_fd = count_and_close;
	n_sunk = 0;
	fixture_init_with(f, &sinking);
}

static void fds_of_a_faulty_packet_are_closed_by_the_owner(void **state)
{
	struct request request = ping(1);
	struct fixture f;
	int fd;

	(void)state;
	fixture_init_sinking(&f);
	fd = dial_in(&f);
	request.frame.n_fds = 1;
	request.n_fds = 3;
	assert_int_equal(try_send(fd, &request), 0);
	expect_cut_off(&f, fd, "as many fds");
	assert_int_equal(n_sunk, 3);
	fixture_done(&f);
}

static void fds_before_hello_are_closed_by_the_owner(void **state)
{
	struct request request = ping(1);
	struct fixture f;
	int fd;

	(void)state;
	fixture_init_sinking(&f);
	f.greeting = true;
	fd = dial_in(&f);
	request.frame.n_fds = request.n_fds = 2;
	assert_int_equal(try_send(fd, &request), 0);
	expect_cut_off(&f, fd, "not allowed");
	assert_int_equal(n_sunk, 2);
	fixture_done(&f);
}

static void fds_of_a_peer_that_is_turned_away_are_closed_by_the_owner(void **state)
{
	struct request request = ping(1);
	struct fixture f;
	int fd;

	(void)state;
	fixture_init_sinking(&f);
	f.refuse = true;
	fd = dial(&f);
	request.frame.n_fds = request.n_fds = 1;
	assert_int_equal(try_send(fd, &request), 0);
	settle(&f);
	assert_int_equal(n_sunk, 1);
	close(fd);
	fixture_done(&f);
}

/* What the service does not come to is closed with the socket, and that is the last close. */
static void a_socket_with_unread_packets_is_closed_by_the_owner(void **state)
{
	struct request request = ping(1);
	struct fixture f;
	int fd;

	(void)state;
	fixture_init_sinking(&f);
	fd = dial_in(&f);
	f.full = true;
	request.frame.n_fds = request.n_fds = 1;
	assert_int_equal(try_send(fd, &request), 0);
	settle(&f);
	close(fd);
	settle(&f);
	assert_int_equal(f.n_closed, 1);
	assert_int_equal(n_sunk, 1);
	fixture_done(&f);
}

static void a_packet_of_no_bytes_hides_none_behind_it(void **state)
{
	struct request request = ping(1);
	struct fixture f;
	int fd;

	(void)state;
	fixture_init_sinking(&f);
	fd = dial_in(&f);
	request.frame.n_fds = request.n_fds = 1;
	assert_int_equal(send(fd, "", 0, 0), 0);
	assert_int_equal(send(fd, "", 0, 0), 0);
	assert_int_equal(try_send(fd, &request), 0);
	settle(&f);
	assert_int_equal(f.n_closed, 1);
	assert_int_equal(n_sunk, 1);
	close(fd);
	fixture_done(&f);
}

static void a_socket_without_unread_packets_is_simply_closed(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	fixture_init_sinking(&f);
	fd = dial_in(&f);
	send_ping(fd, 1);
	settle(&f);
	expect_answer(fd, 1);
	close(fd);
	settle(&f);
	assert_int_equal(f.n_closed, 1);
	assert_int_equal(n_sunk, 0);
	fixture_done(&f);
}

static void an_fd_before_hello_cuts_the_peer_off(void **state)
{
	struct request request = ping(1);
	struct fixture f;
	int fd;

	(void)state;
	fixture_init(&f);
	f.greeting = true;
	fd = dial_in(&f);
	request.frame.n_fds = request.n_fds = 1;
	assert_int_equal(try_send(fd, &request), 0);
	expect_cut_off(&f, fd, "not allowed");
	fixture_done(&f);
}

static void a_peer_that_says_no_hello_in_time_is_cut_off(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	fixture_init(&f);
	f.greeting = true;
	fd = dial_in(&f);
	run_for(&f, GM_HELLO_TIMEOUT_MS - 500);
	assert_int_equal(f.n_violations, 0);
	run_for(&f, 700);
	expect_cut_off(&f, fd, "HELLO");
	fixture_done(&f);
}

static void a_packet_of_no_bytes_is_the_end_and_no_violation(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	fixture_init(&f);
	fd = dial_in(&f);
	assert_int_equal(send(fd, "", 0, 0), 0);
	settle(&f);
	assert_int_equal(f.n_closed, 1);
	assert_int_equal(f.n_violations, 0);
	expect_end(fd);
	close(fd);
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_packet_goes_to_the_service_and_its_answer_comes_back),
		gm_test(pipelined_packets_are_answered_in_order),
		gm_test(more_connections_are_no_more_of_a_turn),
		gm_test(fds_ride_with_their_packet_both_ways),
		gm_test(a_body_of_another_length_than_the_header_says_cuts_the_peer_off),
		gm_test(an_unknown_version_cuts_the_peer_off),
		gm_test(more_fds_than_the_header_says_cut_the_peer_off),
		gm_test(fewer_fds_than_the_header_says_cut_the_peer_off),
		gm_test(a_packet_longer_than_any_message_cuts_the_peer_off),
		gm_test(garbage_cuts_the_peer_off),
		gm_test(a_fault_that_the_service_finds_cuts_the_peer_off),
		gm_test(a_good_packet_before_a_bad_one_does_not_make_the_fault_the_services),
		gm_test(more_fds_than_a_message_can_carry_cut_the_peer_off_and_none_stays),
		gm_test(a_listener_that_takes_no_fds_has_the_kernel_refuse_them),
		gm_test(fds_of_a_faulty_packet_are_closed_by_the_owner),
		gm_test(fds_before_hello_are_closed_by_the_owner),
		gm_test(fds_of_a_peer_that_is_turned_away_are_closed_by_the_owner),
		gm_test(a_socket_with_unread_packets_is_closed_by_the_owner),
		gm_test(a_packet_of_no_bytes_hides_none_behind_it),
		gm_test(a_socket_without_unread_packets_is_simply_closed),
		gm_test(an_fd_before_hello_cuts_the_peer_off),
		gm_test(a_peer_that_says_no_hello_in_time_is_cut_off),
		gm_test(a_packet_of_no_bytes_is_the_end_and_no_violation),
	};

	return gm_test_run("listener receive", tests, GM_ARRAY_SIZE(tests));
}
