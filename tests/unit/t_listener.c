/* SPDX-License-Identifier: Apache-2.0 */
/* Listener and connections, over real sockets: what peers can do, and what it costs them. */
#include "gm_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gm_scm.h"
#include "gm_verdict.h"
#include "listener.h"

#define USERS_MAX 8
#define SERIALS_MAX 4096

struct fixture;

/* What the service sees of one connection. */
struct user {
	struct fixture *f;
	struct gm_conn *conn;
	unsigned n_packets;
	size_t n_fds;
	bool closed;
};

/* The service's side: echoes every packet, or keeps what it is told to keep. */
struct fixture {
	char folder[64];
	struct sockaddr_un address;
	struct gm_event_loop *loop;
	struct gm_loop_ref ref;
	struct gm_watch *end;
	struct gm_listener *listener;

	unsigned n_users;
	struct user users[USERS_MAX];
	unsigned n_closed;
	unsigned n_violations;
	unsigned n_shortages;
	bool from_packet;
	unsigned n_asked; /* is_full */
	int shortage;
	char fault[128];

	bool refuse;   /* open */
	bool greeting; /* HELLO not seen */
	bool silent;   /* packets are not answered */
	bool full;     /* is_full */
	size_t answer_length;
	unsigned n_answer_fds;
	unsigned n_order;
	unsigned order[SERIALS_MAX]; /* user of each packet, in order of arrival */
};

static void send_to(struct user *user, uint16_t flags, uint32_t serial)
{
	static char body[GM_BODY_MAX];
	struct fixture *f = user->f;
	int fds[GM_FDSET_MAX];
	const struct gm_frame frame = {
		.version = GM_PROTOCOL_VERSION,
		.n_fds = (uint8_t)f->n_answer_fds,
		.type = GM_MSG_PING,
		.flags = flags,
		.serial = serial,
		.body_length = (uint32_t)f->answer_length,
	};

	for (unsigned i = 0; i < f->n_answer_fds; i++)
		fds[i] = STDERR_FILENO;
	gm_conn_send(user->conn, &frame, body, fds);
}

static int on_open(void *arg, struct gm_conn *conn, const struct gm_conn_peer *peer,
		   void **ret_user)
{
	struct fixture *f = arg;
	struct user *user = &f->users[f->n_users];

	assert_true(peer->pid > 0);
	assert_int_equal(peer->uid, getuid());
	assert_int_equal(peer->gid, getgid());
	assert_true(f->n_users < USERS_MAX);
	user->f = f;
	user->conn = conn;
	if (f->refuse) {
		send_to(user, GM_FRAME_ANSWER | GM_FRAME_REFUSED, 0);
		return GM_OVER_LIMIT;
	}
	f->n_users++;
	*ret_user = user;
	return 0;
}

static int on_packet(void *arg, const struct gm_frame *frame, const void *body,
		     struct gm_fdset *fds, const char **ret_fault)
{
	struct user *user = arg;
	struct fixture *f = user->f;

	(void)body;
	assert_false(user->closed);
	user->n_packets++;
	user->n_fds += fds->n_fds;
	assert_true(f->n_order < SERIALS_MAX);
	f->order[f->n_order++] = (unsigned)(user - f->users);
	gm_fdset_done(fds);
	if (frame->type == GM_MSG_EVICT) {
		*ret_fault = "the service says so";
		return -EPROTO;
	}
	if (!f->silent)
		send_to(user, GM_FRAME_ANSWER, frame->serial);
	return 0;
}

static bool on_is_full(void *arg)
{
	const struct user *user = arg;

	user->f->n_asked++;
	return user->f->full;
}

static bool on_is_open(void *arg)
{
	const struct user *user = arg;

	return !user->f->greeting;
}

static void on_closed(void *arg)
{
	struct user *user = arg;

	assert_false(user->closed);
	user->closed = true;
	user->f->n_closed++;
}

static void on_violation(void *arg, void *user, const struct gm_conn_peer *peer, const char *fault,
			 bool from_packet)
{
	struct fixture *f = arg;

	assert_non_null(user);
	assert_true(peer->pid > 0);
	f->n_violations++;
	f->from_packet = from_packet;
	snprintf(f->fault, sizeof(f->fault), "%s", fault);
}

static void on_shortage(void *arg, int error)
{
	struct fixture *f = arg;

	f->n_shortages++;
	f->shortage = error;
}

static const struct gm_listener_ops ops = {
	.takes_fds = true,
	.open = on_open,
	.packet = on_packet,
	.is_full = on_is_full,
	.is_open = on_is_open,
	.closed = on_closed,
	.violation = on_violation,
	.shortage = on_shortage,
};

static void on_end(void *arg)
{
	gm_event_loop_stop(arg);
}

static void fixture_init_with(struct fixture *f, const struct gm_listener_ops *with)
{
	int fd;

	memset(f, 0, sizeof(*f));
	snprintf(f->folder, sizeof(f->folder), "/tmp/gm-listener-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	f->address.sun_family = AF_UNIX;
	snprintf(f->address.sun_path, sizeof(f->address.sun_path), "%s/socket", f->folder);
	assert_int_equal(gm_listen_at(f->address.sun_path, 0600, &fd), 0);
	assert_int_equal(gm_event_loop_new(&f->loop), 0);
	f->ref = gm_event_loop_ref(f->loop);
	assert_int_equal(f->ref.ops->timer_new(f->ref.loop, on_end, f->loop, &f->end), 0);
	assert_int_equal(gm_listener_new(f->loop, fd, with, f, &f->listener), 0);
}

static void fixture_init(struct fixture *f)
{
	fixture_init_with(f, &ops);
}

static void fixture_done(struct fixture *f)
{
	gm_listener_free(f->listener);
	assert_int_equal(f->n_closed, f->n_users);
	f->ref.ops->watch_free(f->end);
	gm_event_loop_free(f->loop);
	unlink(f->address.sun_path);
	assert_int_equal(rmdir(f->folder), 0);
}

static void run_for(struct fixture *f, uint64_t ms)
{
	f->ref.ops->timer_set(f->end, ms);
	assert_int_equal(gm_event_loop_run(f->loop), 0);
}

/* Long enough for everything that is ready. */
static void settle(struct fixture *f)
{
	run_for(f, 15);
}

static int dial(const struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&f->address, sizeof(f->address)), 0);
	return fd;
}

static int dial_in(struct fixture *f)
{
	int fd = dial(f);

	settle(f);
	return fd;
}

struct request {
	struct gm_frame frame;
	size_t body_length; /* what is really sent */
	unsigned n_fds;	    /* what is really sent */
};

static int try_send(int fd, const struct request *request)
{
	static char body[GM_BODY_MAX + 1];
	unsigned char header[GM_FRAME_HEADER_SIZE];
	int fds[GM_FDSET_MAX];

	for (unsigned i = 0; i < request->n_fds; i++)
		fds[i] = STDERR_FILENO;
	gm_frame_encode(&request->frame, header);
	return gm_scm_send(fd, header, sizeof(header), body, request->body_length, fds,
			   request->n_fds, MSG_DONTWAIT);
}

static struct request ping(uint32_t serial)
{
	return (struct request){
		.frame = { .version = GM_PROTOCOL_VERSION, .type = GM_MSG_PING, .serial = serial }
	};
}

static void send_ping(int fd, uint32_t serial)
{
	struct request request = ping(serial);

	assert_int_equal(try_send(fd, &request), 0);
}

/* 0 and the frame of the next packet, -EAGAIN, or -EPIPE at the end. */
static int receive(int fd, struct gm_frame *ret_frame, size_t *ret_n_fds)
{
	static unsigned char packet[GM_PACKET_MAX];
	enum gm_scm_fault fault;
	struct gm_fdset fds;
	size_t length;
	int error = gm_scm_receive(fd, packet, sizeof(packet), MSG_DONTWAIT, true, &length, &fds,
				   &fault);

	if (error)
		return error;
	if (fault == GM_SCM_CLOSED)
		return -EPIPE;
	assert_int_equal(fault, GM_SCM_GOOD);
	assert_int_equal(gm_frame_decode(packet, length, ret_frame), GM_FRAME_GOOD);
	*ret_n_fds = fds.n_fds;
	gm_fdset_done(&fds);
	return 0;
}

static void expect_answer(int fd, uint32_t serial)
{
	struct gm_frame frame;
	size_t n_fds;

	assert_int_equal(receive(fd, &frame, &n_fds), 0);
	assert_int_equal(frame.serial, serial);
	assert_int_equal(frame.n_fds, n_fds);
}

static void expect_end(int fd)
{
	struct gm_frame frame;
	size_t n_fds;
	int error = receive(fd, &frame, &n_fds);

	/* What was still on its way to the daemon is lost: the kernel tells that by a reset. */
	if (error == -ECONNRESET)
		error = receive(fd, &frame, &n_fds);
	assert_int_equal(error, -EPIPE);
}

static void expect_nothing(int fd)
{
	struct gm_frame frame;
	size_t n_fds;

	assert_int_equal(receive(fd, &frame, &n_fds), -EAGAIN);
}

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
	struct gm_listener_ops fdless = ops;
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

/* ---- the peer's process ---- */

static void pass_socket(int channel, int fd)
{
	if (gm_scm_send(channel, "x", 1, NULL, 0, &fd, 1, 0) != 0)
		_exit(1);
}

static int take_socket(int channel)
{
	enum gm_scm_fault fault;
	struct gm_fdset fds;
	size_t length;
	char byte;
	int fd;

	assert_int_equal(gm_scm_receive(channel, &byte, 1, 0, true, &length, &fds, &fault), 0);
	assert_int_equal(fault, GM_SCM_GOOD);
	fd = gm_fdset_steal(&fds, 0);
	assert_true(fd >= 0);
	return fd;
}

static void a_connection_ends_with_its_process_even_if_another_holds_the_socket(void **state)
{
	int pair[2], gate[2], fd, status;
	struct fixture f;
	pid_t pid;

	(void)state;
	fixture_init(&f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char byte;

		fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		if (connect(fd, (const struct sockaddr *)&f.address, sizeof(f.address)) != 0)
			_exit(1);
		pass_socket(pair[1], fd);
		close(gate[1]);
		if (read(gate[0], &byte, 1) != 0)
			_exit(1);
		_exit(0);
	}
	fd = take_socket(pair[0]);
	settle(&f);
	assert_int_equal(f.n_users, 1);
	assert_int_equal(f.n_closed, 0);

	close(gate[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	settle(&f);
	assert_int_equal(f.n_closed, 1);
	assert_int_equal(f.n_violations, 0);
	close(fd);
	close(gate[0]);
	close(pair[0]);
	close(pair[1]);
	fixture_done(&f);
}

static void a_peer_whose_process_is_gone_before_it_is_accepted_is_not_kept(void **state)
{
	int pair[2], fd, status;
	struct fixture f;
	pid_t pid;

	(void)state;
	fixture_init(&f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		if (connect(fd, (const struct sockaddr *)&f.address, sizeof(f.address)) != 0)
			_exit(1);
		pass_socket(pair[1], fd);
		_exit(0);
	}
	fd = take_socket(pair[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	settle(&f);
	assert_int_equal(f.n_closed, f.n_users);
	expect_end(fd);
	close(fd);
	close(pair[0]);
	close(pair[1]);
	fixture_done(&f);
}

/* ---- accepting ---- */

static void a_peer_that_is_turned_away_can_read_why_though_it_said_hello_already(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	fixture_init(&f);
	f.refuse = true;
	fd = dial(&f);
	send_ping(fd, 1);
	settle(&f);
	assert_int_equal(f.n_users, 0);
	expect_answer(fd, 0);
	expect_end(fd);
	close(fd);
	fixture_done(&f);
}

static void accepting_rests_while_the_host_is_short_of_fds_and_goes_on_after_it(void **state)
{
	struct rlimit before, low;
	struct fixture f;
	int fd, unused;

	(void)state;
	fixture_init(&f);
	fd = dial(&f);
	unused = dup(fd);
	close(unused);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = before;
	low.rlim_cur = (rlim_t)unused;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	run_for(&f, 500);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(f.shortage, EMFILE);
	assert_true(f.n_shortages >= 2);
	assert_true(f.n_shortages <= 4);
	assert_int_equal(f.n_users, 0);

	run_for(&f, 300);
	assert_int_equal(f.n_users, 1);
	send_ping(fd, 1);
	settle(&f);
	expect_answer(fd, 1);
	close(fd);
	fixture_done(&f);
}

static void a_peer_that_there_is_no_fd_to_watch_is_let_go_and_the_shortage_told(void **state)
{
	struct rlimit before, low;
	struct fixture f;
	int fd, unused;

	(void)state;
	fixture_init(&f);
	fd = dial(&f);
	unused = dup(fd);
	close(unused);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = before;
	low.rlim_cur = (rlim_t)unused + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	settle(&f);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(f.n_users, 0);
	assert_int_equal(f.shortage, EMFILE);
	expect_end(fd);
	close(fd);
	fixture_done(&f);
}

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

static void a_connection_that_memory_is_short_for_leaves_nothing_behind(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	fixture_init(&f);
	gm_test_fail_allocation(1);
	fd = dial(&f);
	settle(&f);
	gm_test_fail_allocation(0);
	assert_int_equal(f.n_users, 0);
	assert_int_equal(f.shortage, ENOMEM);
	expect_end(fd);
	close(fd);

	run_for(&f, 250);
	fd = dial_in(&f);
	assert_int_equal(f.n_users, 1);
	close(fd);
	fixture_done(&f);
}

static void a_paused_listener_keeps_its_connections_and_takes_no_more(void **state)
{
	struct fixture f;
	int before, after;

	(void)state;
	fixture_init(&f);
	before = dial_in(&f);
	gm_listener_pause(f.listener);
	after = dial_in(&f);
	assert_int_equal(f.n_users, 1);
	send_ping(before, 1);
	settle(&f);
	expect_answer(before, 1);
	expect_nothing(after);
	close(before);
	close(after);
	fixture_done(&f);
}

static void freeing_a_listener_ends_its_connections(void **state)
{
	struct fixture f;
	int a, b;

	(void)state;
	fixture_init(&f);
	a = dial_in(&f);
	b = dial_in(&f);
	fixture_done(&f);
	assert_int_equal(f.n_closed, 2);
	expect_end(a);
	expect_end(b);
	close(a);
	close(b);
}

/* ---- making sockets ---- */

struct place {
	char folder[64];
	char path[80];
};

static void place_init(struct place *place)
{
	snprintf(place->folder, sizeof(place->folder), "/tmp/gm-place-XXXXXX");
	assert_non_null(mkdtemp(place->folder));
	snprintf(place->path, sizeof(place->path), "%s/socket", place->folder);
}

static void place_done(const struct place *place)
{
	unlink(place->path);
	assert_int_equal(rmdir(place->folder), 0);
}

static void a_new_socket_has_its_mode_whatever_the_umask(void **state)
{
	struct place place;
	struct stat st;
	mode_t before;
	int fd;

	(void)state;
	place_init(&place);
	before = umask(0077);
	assert_int_equal(gm_listen_at(place.path, 0660, &fd), 0);
	assert_int_equal(umask(before), 0077);
	assert_int_equal(stat(place.path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0660);
	assert_int_equal(gm_check_listening(fd), 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	place_done(&place);
}

static void a_socket_that_nobody_listens_on_is_replaced(void **state)
{
	struct place place;
	int fd;

	(void)state;
	place_init(&place);
	assert_int_equal(gm_listen_at(place.path, 0600, &fd), 0);
	close(fd);
	assert_int_equal(gm_listen_at(place.path, 0600, &fd), 0);
	close(fd);
	place_done(&place);
}

static void a_socket_in_use_is_left_alone(void **state)
{
	struct place place;
	int fd, second = -1;

	(void)state;
	place_init(&place);
	assert_int_equal(gm_listen_at(place.path, 0600, &fd), 0);
	assert_int_equal(gm_listen_at(place.path, 0600, &second), -EADDRINUSE);
	assert_int_equal(second, -1);
	close(fd);
	place_done(&place);
}

static void a_socket_of_another_type_in_use_is_left_alone(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = -1;
	struct place place;

	(void)state;
	place_init(&place);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", place.path);
	assert_int_equal(bind(other, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(other, 1), 0);
	assert_int_equal(gm_listen_at(place.path, 0600, &fd), -EADDRINUSE);
	close(other);
	place_done(&place);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
	struct place place;
	struct stat st;
	int fd = -1;

	(void)state;
	place_init(&place);
	fd = open(place.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(gm_listen_at(place.path, 0600, &fd), -EADDRINUSE);
	assert_int_equal(stat(place.path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	place_done(&place);
}

static void a_path_that_cannot_be_is_refused(void **state)
{
	char longest[200];
	int fd;

	(void)state;
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(gm_listen_at(longest, 0600, &fd), -ENAMETOOLONG);
	assert_int_equal(gm_listen_at("", 0600, &fd), -EINVAL);
	assert_int_equal(gm_listen_at("/nowhere/at/all", 0600, &fd), -ENOENT);
}

static void only_a_listening_seqpacket_unix_socket_will_do(void **state)
{
	int not_listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int stream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int inet = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(gm_check_listening(not_listening), -EINVAL);
	assert_int_equal(gm_check_listening(stream), -EPROTOTYPE);
	assert_int_equal(gm_check_listening(inet), -EAFNOSUPPORT);
	assert_int_equal(gm_check_listening(STDERR_FILENO), -ENOTSOCK);
	close(not_listening);
	close(stream);
	close(inet);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_packet_goes_to_the_service_and_its_answer_comes_back),
		gm_test(pipelined_packets_are_answered_in_order),
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
		gm_test(an_fd_before_hello_cuts_the_peer_off),
		gm_test(a_peer_that_says_no_hello_in_time_is_cut_off),
		gm_test(a_packet_of_no_bytes_is_the_end_and_no_violation),
		gm_test(nothing_is_read_from_a_peer_that_does_not_take_its_answers),
		gm_test(an_answer_does_not_overtake_one_that_waits),
		gm_test(a_peer_that_goes_frees_the_answers_that_wait_for_it_and_their_fds),
		gm_test(events_for_a_slow_peer_are_dropped_and_answers_are_not),
		gm_test(one_peers_flood_does_not_hold_up_anothers_packet),
		gm_test(nothing_is_read_while_the_service_is_full_and_on_after_an_answer),
		gm_test(a_peer_that_hangs_up_is_noticed_while_the_service_is_full),
		gm_test(a_full_service_costs_no_processor_time),
		gm_test(a_connection_ends_with_its_process_even_if_another_holds_the_socket),
		gm_test(a_peer_whose_process_is_gone_before_it_is_accepted_is_not_kept),
		gm_test(a_peer_that_is_turned_away_can_read_why_though_it_said_hello_already),
		gm_test(accepting_rests_while_the_host_is_short_of_fds_and_goes_on_after_it),
		gm_test(a_peer_that_there_is_no_fd_to_watch_is_let_go_and_the_shortage_told),
		gm_test(an_answer_whose_fd_cannot_be_kept_ends_the_connection),
		gm_test(a_connection_that_memory_is_short_for_leaves_nothing_behind),
		gm_test(a_paused_listener_keeps_its_connections_and_takes_no_more),
		gm_test(freeing_a_listener_ends_its_connections),
		gm_test(a_new_socket_has_its_mode_whatever_the_umask),
		gm_test(a_socket_that_nobody_listens_on_is_replaced),
		gm_test(a_socket_in_use_is_left_alone),
		gm_test(a_socket_of_another_type_in_use_is_left_alone),
		gm_test(a_file_that_is_no_socket_is_left_alone),
		gm_test(a_path_that_cannot_be_is_refused),
		gm_test(only_a_listening_seqpacket_unix_socket_will_do),
	};

	return gm_test_run("listener", tests, GM_ARRAY_SIZE(tests));
}
