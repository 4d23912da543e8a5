/* SPDX-License-Identifier: Apache-2.0 */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "conn.h"
#include "gm_fd.h"

/* Connections taken in one turn of the loop. */
#define GM_ACCEPT_MAX 16

/*
 * How long accepting stops when the host is short of fds or memory. The socket stays readable all
 * that time: without a pause the loop would spin.
 */
#define GM_ACCEPT_PAUSE_MS 200

struct gm_listener {
	struct gm_conn_context context;
	int socket;
	bool paused;
	struct event *acceptable;
	struct event *pause_over;
};

static void listener_rest(struct gm_listener *listener)
{
	const struct timeval pause = { .tv_sec = 0, .tv_usec = GM_ACCEPT_PAUSE_MS * 1000L };

	/* Out of memory even for the timer: the next turn tries again, which is no worse. */
	if (event_add(listener->pause_over, &pause) == 0)
		(void)event_del(listener->acceptable);
}

static void listener_fall_short(struct gm_listener *listener, int error)
{
	listener_rest(listener);
	listener->context.ops->shortage(listener->context.arg, error);
}

static void listener_on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	struct gm_listener *listener = arg;

	(void)fd;
	(void)what;
	if (listener->paused)
		return;
	if (event_add(listener->acceptable, NULL) < 0)
		listener_fall_short(listener, ENOMEM);
}

/* The peer gave up between connect(2) and here, or a signal came: none of our business. */
static bool is_fleeting(int error)
{
	return error == EINTR || error == ECONNABORTED || error == EPROTO || error == EPERM;
}

static bool may_come(const struct gm_listener *listener)
{
	const struct gm_listener_ops *ops = listener->context.ops;

	return !ops->may_come || ops->may_come(listener->context.arg);
}

static void listener_on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct gm_listener *listener = arg;

	(void)what;
	for (unsigned i = 0; i < GM_ACCEPT_MAX; i++) {
		int socket, error;

		if (!may_come(listener)) {
			listener_rest(listener);
			return;
		}
		socket = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (socket < 0 && errno == EAGAIN)
			return;
		if (socket < 0 && is_fleeting(errno))
			continue;
		error = socket < 0 ? -errno : gm_conn_start(&listener->context, socket);
		if (error) {
			listener_fall_short(listener, -error);
			return;
		}
	}
}

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int gm_listener_new(struct gm_event_loop *loop, int socket, const struct gm_listener_ops *ops,
		    void *arg, struct gm_listener **ret_listener)
{
	struct gm_listener *listener;
	int error = set_nonblocking(socket);

	if (error)
		return error;
	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return -ENOMEM;
	listener->socket = -1;
	listener->context.loop = loop;
	listener->context.ops = ops;
	listener->context.arg = arg;
	listener->context.sink = (struct gm_fd_sink){ .close = ops->close_fd, .arg = arg };
	TAILQ_INIT(&listener->context.conns);
	gm_conn_set_fds(&listener->context, socket);
	listener->acceptable = event_new(loop->base, socket, EV_READ | EV_PERSIST,
					 listener_on_acceptable, listener);
	listener->pause_over = event_new(loop->base, -1, 0, listener_on_pause_over, listener);
	if (!listener->acceptable || !listener->pause_over ||
	    event_add(listener->acceptable, NULL) < 0) {
		gm_listener_free(listener);
		return -ENOMEM;
	}
	listener->socket = socket;
	*ret_listener = listener;
	return 0;
}

void gm_listener_pause(struct gm_listener *listener)
{
	listener->paused = true;
	(void)event_del(listener->acceptable);
}

void gm_listener_free(struct gm_listener *listener)
{
	struct gm_conn *conn;

	if (!listener)
		return;
	if (listener->acceptable)
		event_free(listener->acceptable);
	if (listener->pause_over)
		event_free(listener->pause_over);
	while ((conn = TAILQ_FIRST(&listener->context.conns)))
		gm_conn_free(conn);
	gm_fd_close(listener->socket);
	free(listener);
}
