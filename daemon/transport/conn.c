/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "gm_fd.h"
#include "gm_scm.h"
#include "peer.h"

/* Linux 6.16. */
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

/*
 * Packets taken in one turn of the loop from the peers of one listener, who are a tenant's: more
 * connections are no more of the daemon's time. One from each who has one, though.
 */
#define GM_PACKETS_MAX 16

/*
 * A client that waits for each answer never has a second packet in its socket, and looking for
 * one costs a system call. After a turn that found only one, only every eighth looks again.
 */
#define GM_LONE_TURNS 8

struct fault {
	const char *text; /* NULL: none */
	bool from_packet;
};

static const struct fault no_fault = { .text = NULL, .from_packet = false };

static void conn_end(struct gm_conn *conn, const struct fault *fault)
{
	const struct gm_conn_context *context = conn->context;

	if (fault->text)
		context->ops->violation(context->arg, conn->user, &conn->peer, fault->text,
					fault->from_packet);
	if (conn->error)
		context->ops->shortage(context->arg, conn->error);
	gm_conn_free(conn);
}

static bool conn_has_said_hello(struct gm_conn *conn)
{
	if (conn->open)
		return true;
	conn->open = conn->context->ops->is_open(conn->user);
	if (conn->open)
		(void)event_del(conn->greeting_over);
	return conn->open;
}

static int packet_fault(const struct gm_conn *conn, size_t length, const struct gm_fdset *fds,
			struct gm_frame *ret_frame, struct fault *ret_fault)
{
	enum gm_frame_fault fault;

	fault = gm_frame_decode(conn->context->loop->packet, length, ret_frame);
	if (fault != GM_FRAME_GOOD) {
		ret_fault->text = gm_frame_fault_text(fault);
		return -EPROTO;
	}
	if (ret_frame->n_fds != fds->n_fds) {
		ret_fault->text = "the packet has not as many fds as its header says";
		return -EPROTO;
	}
	return 0;
}

static int deliver(struct gm_conn *conn, size_t length, struct gm_fdset *fds,
		   struct fault *ret_fault)
{
	struct gm_frame frame;
	int error = packet_fault(conn, length, fds, &frame, ret_fault);

	if (error) {
		gm_fdset_sink(fds, &conn->context->sink);
		return error;
	}
	ret_fault->from_packet = true;
	return conn->context->ops->packet(conn->user, &frame,
					  conn->context->loop->packet + GM_FRAME_HEADER_SIZE, fds,
					  &ret_fault->text);
}

/*
 * One packet. 0; -EAGAIN: there is none; -EPROTO: *ret_fault is the peer's; -EPIPE: the
 * connection has ended; or what the host is short of.
 */
static int conn_receive(struct gm_conn *conn, struct fault *ret_fault)
{
	struct gm_fdset fds = GM_FDSET_NULL;
	enum gm_scm_fault fault;
	size_t length;
	int error;

	*ret_fault = no_fault;
	error = gm_scm_receive_from_stranger(conn->socket, conn->context->loop->packet,
					     GM_PACKET_MAX, MSG_DONTWAIT, conn_has_said_hello(conn),
					     &conn->context->sink, &length, &fds, &fault);
	if (error)
		return error;
	if (fault == GM_SCM_CLOSED)
		return -EPIPE;
	if (fault != GM_SCM_GOOD) {
		ret_fault->text = gm_scm_fault_text(fault);
		return -EPROTO;
	}
	error = deliver(conn, length, &fds, ret_fault);
	/* There may have been a token or a key in it. */
	explicit_bzero(conn->context->loop->packet, length);
	return error;
}

static uint32_t conn_wait_ms(const struct gm_conn *conn)
{
	const struct gm_listener_ops *ops = conn->context->ops;

	return ops->wait_ms ? ops->wait_ms(conn->user) : 0;
}

static void conn_on_wait_over(evutil_socket_t fd, short what, void *arg);

static void conn_rest(struct gm_conn *conn, uint32_t ms)
{
	const struct timeval time = { .tv_sec = ms / 1000,
				      .tv_usec = (suseconds_t)(ms % 1000 * 1000) };

	gm_conn_set_mode(conn, GM_CONN_FULL);
	if (!conn->wait_over)
		conn->wait_over =
			event_new(conn->context->loop->base, -1, 0, conn_on_wait_over, conn);
	if (!conn->wait_over || event_add(conn->wait_over, &time) < 0)
		gm_conn_break(conn, ENOMEM);
}

static void conn_settle(struct gm_conn *conn)
{
	uint32_t wait_ms;

	if (!TAILQ_EMPTY(&conn->waiting))
		gm_conn_set_mode(conn, GM_CONN_SENDING);
	else if (conn->context->ops->is_full(conn->user))
		gm_conn_set_mode(conn, GM_CONN_FULL);
	else if ((wait_ms = conn_wait_ms(conn)) > 0)
		conn_rest(conn, wait_ms);
	else
		gm_conn_set_mode(conn, GM_CONN_READING);
}

static void conn_on_wait_over(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	conn_settle(arg);
}

static bool conn_may_read(const struct gm_conn *conn)
{
	return !conn->broken && TAILQ_EMPTY(&conn->waiting) &&
	       !conn->context->ops->is_full(conn->user) && conn_wait_ms(conn) == 0;
}

/* How many packets to ask for in this turn. */
static unsigned conn_appetite(const struct gm_conn *conn)
{
	struct gm_conn_context *context = conn->context;

	if (context->turn != context->loop->turn) {
		context->turn = context->loop->turn;
		context->n_taken = 0;
	}
	if (conn->lone_turns % GM_LONE_TURNS != 0 || context->n_taken >= GM_PACKETS_MAX)
		return 1;
	return GM_PACKETS_MAX - context->n_taken;
}

static void conn_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct gm_conn *conn = arg;
	unsigned appetite = conn_appetite(conn), n_packets = 0;
	struct fault fault = no_fault;
	int error = 0;

	(void)fd;
	(void)what;
	while (n_packets < appetite && conn_may_read(conn)) {
		error = conn_receive(conn, &fault);
		if (error)
			break;
		n_packets++;
		conn->context->n_taken++;
	}
	if (n_packets > 1)
		conn->lone_turns = 0;
	else if (n_packets == 1 && (appetite > 1 || conn->lone_turns % GM_LONE_TURNS != 0))
		conn->lone_turns++;

	if (error && error != -EAGAIN && error != -EPROTO)
		gm_conn_break(conn, -error);
	if (error == -EPROTO || conn->broken)
		conn_end(conn, &fault);
	else
		conn_settle(conn);
}

static void conn_on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct gm_conn *conn = arg;

	(void)fd;
	(void)what;
	gm_conn_flush(conn);
	if (conn->broken)
		conn_end(conn, &no_fault);
	else
		conn_settle(conn);
}

/*
 * Edge-triggered, for packets that must not be read yet arrive as well. When the peer leaves
 * answers unread the socket has an error, and libevent then reports EV_READ without EV_CLOSED.
 */
static void conn_on_hangup(evutil_socket_t fd, short what, void *arg)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (what & EV_CLOSED || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 || error)
		conn_end(arg, &no_fault);
}

/* The process may have left its socket to another one: that does not prolong what it held. */
static void conn_on_exit(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	conn_end(arg, &no_fault);
}

static void conn_on_greeting_over(evutil_socket_t fd, short what, void *arg)
{
	struct gm_conn *conn = arg;

	(void)fd;
	(void)what;
	if (!conn_has_said_hello(conn))
		conn_end(conn, &(struct fault){ .text = "no HELLO in time" });
}

static int conn_make_events(struct gm_conn *conn)
{
	const struct timeval greeting = { .tv_sec = GM_HELLO_TIMEOUT_MS / 1000 };
	struct event_base *base = conn->context->loop->base;

	conn->events[GM_CONN_READING] =
		event_new(base, conn->socket, EV_READ | EV_PERSIST, conn_on_readable, conn);
	conn->events[GM_CONN_SENDING] =
		event_new(base, conn->socket, EV_WRITE | EV_PERSIST, conn_on_writable, conn);
	conn->events[GM_CONN_FULL] = event_new(
		base, conn->socket, EV_READ | EV_CLOSED | EV_ET | EV_PERSIST, conn_on_hangup, conn);
	conn->greeting_over = event_new(base, -1, 0, conn_on_greeting_over, conn);
	if (!conn->events[GM_CONN_READING] || !conn->events[GM_CONN_SENDING] ||
	    !conn->events[GM_CONN_FULL] || !conn->greeting_over ||
	    event_add(conn->greeting_over, &greeting) < 0)
		return -ENOMEM;
	if (conn->pidfd < 0)
		return 0;
	conn->exited = event_new(base, conn->pidfd, EV_READ | EV_PERSIST, conn_on_exit, conn);
	return !conn->exited || event_add(conn->exited, NULL) < 0 ? -ENOMEM : 0;
}

/*
 * Reads what a peer that is turned away has sent already. A socket that is closed with packets
 * unread gives its peer ECONNRESET before the refusal that waits there (unix_release_sock in
 * net/unix/af_unix.c).
 */
static void conn_turn_away(struct gm_conn *conn)
{
	struct gm_fdset fds = GM_FDSET_NULL;
	enum gm_scm_fault fault;
	size_t length;
	char byte;

	for (unsigned i = 0; i < GM_PACKETS_MAX; i++) {
		if (gm_scm_receive_from_stranger(conn->socket, &byte, sizeof(byte), MSG_DONTWAIT,
						 /* fds_allowed= */ false, &conn->context->sink,
						 &length, &fds, &fault) != 0 ||
		    fault == GM_SCM_CLOSED)
			return;
	}
}

void gm_conn_set_fds(const struct gm_conn_context *context, int socket)
{
	const int value = context->ops->takes_fds;

	/* An older kernel lets them in: then they cut the peer off when they are here. */
	(void)setsockopt(socket, SOL_SOCKET, SO_PASSRIGHTS, &value, sizeof(value));
}

int gm_conn_start(struct gm_conn_context *context, int socket)
{
	struct gm_conn *conn = calloc(1, sizeof(*conn));
	int error;

	if (!conn) {
		gm_fd_close(socket);
		return -ENOMEM;
	}
	conn->context = context;
	conn->socket = socket;
	conn->pidfd = -1;
	TAILQ_INIT(&conn->waiting);
	TAILQ_INSERT_TAIL(&context->conns, conn, link);

	/* It may have connected before the listening socket was ours. */
	gm_conn_set_fds(context, socket);
	error = gm_peer_identify(socket, &conn->peer, &conn->pidfd);
	if (!error)
		error = conn_make_events(conn);
	if (error) {
		gm_conn_free(conn);
		return error == -ESRCH ? 0 : error;
	}
	if (context->ops->open(context->arg, conn, &conn->peer, &conn->user) != 0) {
		conn_turn_away(conn);
		gm_conn_free(conn);
		return 0;
	}
	conn->accepted = true;
	conn_settle(conn);
	return 0;
}

int gm_conn_pidfd(const struct gm_conn *conn)
{
	return conn->pidfd;
}

/*
 * Nothing can come after this. With SO_PASSCRED there is always something to cut off from a packet,
 * which tells one of no bytes from the end.
 */
static bool has_unread(int socket)
{
	const int yes = 1;
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = sizeof(byte) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	(void)shutdown(socket, SHUT_RDWR);
	(void)setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes));
	return recvmsg(socket, &msg, MSG_PEEK | MSG_DONTWAIT) >= 0 && msg.msg_flags & MSG_CTRUNC;
}

/* A packet that nobody has read may hold fds, which are closed with it. */
static void close_socket(const struct gm_conn *conn)
{
	if (has_unread(conn->socket))
		gm_fd_sink(&conn->context->sink, conn->socket);
	else
		gm_fd_close(conn->socket);
}

static void event_free_any(struct event *event)
{
	if (event)
		event_free(event);
}

void gm_conn_free(struct gm_conn *conn)
{
	TAILQ_REMOVE(&conn->context->conns, conn, link);
	for (unsigned mode = 0; mode < GM_CONN_MODE_N_; mode++)
		event_free_any(conn->events[mode]);
	event_free_any(conn->exited);
	event_free_any(conn->greeting_over);
	event_free_any(conn->wait_over);
	if (conn->accepted)
		conn->context->ops->closed(conn->user);
	gm_conn_forget(conn);
	gm_fd_close(conn->pidfd);
	close_socket(conn);
	free(conn);
}
