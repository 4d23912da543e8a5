/* SPDX-License-Identifier: Apache-2.0 */
#include "listener_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gm_scm.h"
#include "gm_verdict.h"

void send_to(struct user *user, uint16_t flags, uint32_t serial)
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

static uint32_t on_wait_ms(void *arg)
{
	const struct user *user = arg;

	return !user->f->waits || user->f->waits == user ? user->f->wait_ms : 0;
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

const struct gm_listener_ops fixture_ops = {
	.takes_fds = true,
	.open = on_open,
	.packet = on_packet,
	.is_full = on_is_full,
	.wait_ms = on_wait_ms,
	.is_open = on_is_open,
	.closed = on_closed,
	.violation = on_violation,
	.shortage = on_shortage,
};

static void on_end(void *arg)
{
	gm_event_loop_stop(arg);
}

void fixture_init_with(struct fixture *f, const struct gm_listener_ops *with)
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

void fixture_init(struct fixture *f)
{
	fixture_init_with(f, &fixture_ops);
}

void fixture_done(struct fixture *f)
{
	gm_listener_free(f->listener);
	assert_int_equal(f->n_closed, f->n_users);
	f->ref.ops->watch_free(f->end);
	gm_event_loop_free(f->loop);
	unlink(f->address.sun_path);
	assert_int_equal(rmdir(f->folder), 0);
}

void run_for(struct fixture *f, uint64_t ms)
{
	f->ref.ops->timer_set(f->end, ms);
	assert_int_equal(gm_event_loop_run(f->loop), 0);
}

void settle(struct fixture *f)
{
	run_for(f, 15);
}

int dial(const struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&f->address, sizeof(f->address)), 0);
	return fd;
}

int dial_in(struct fixture *f)
{
	int fd = dial(f);

	settle(f);
	return fd;
}

int try_send(int fd, const struct request *request)
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

struct request ping(uint32_t serial)
{
	return (struct request){
		.frame = { .version = GM_PROTOCOL_VERSION, .type = GM_MSG_PING, .serial = serial }
	};
}

void send_ping(int fd, uint32_t serial)
{
	struct request request = ping(serial);

	assert_int_equal(try_send(fd, &request), 0);
}

int receive(int fd, struct gm_frame *ret_frame, size_t *ret_n_fds)
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

void expect_answer(int fd, uint32_t serial)
{
	struct gm_frame frame;
	size_t n_fds;

	assert_int_equal(receive(fd, &frame, &n_fds), 0);
	assert_int_equal(frame.serial, serial);
	assert_int_equal(frame.n_fds, n_fds);
}

void expect_end(int fd)
{
	struct gm_frame frame;
	size_t n_fds;
	int error = receive(fd, &frame, &n_fds);

	/* What was still on its way to the daemon is lost: the kernel tells that by a reset. */
	if (error == -ECONNRESET)
		error = receive(fd, &frame, &n_fds);
	assert_int_equal(error, -EPIPE);
}

void expect_nothing(int fd)
{
	struct gm_frame frame;
	size_t n_fds;

	assert_int_equal(receive(fd, &frame, &n_fds), -EAGAIN);
}
