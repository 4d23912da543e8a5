/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "gm_cleanup.h"
#include "gm_scm.h"
#include "gm_verdict.h"
#include "remote.h"

uint64_t gm_deadline(const struct gmem_client *client)
{
	if (client->timeout_ms < 0)
		return GM_NO_DEADLINE;
	return gm_now_ms() + (uint64_t)client->timeout_ms;
}

/* Milliseconds for poll(2). */
static int time_left(uint64_t deadline)
{
	uint64_t now;

	if (deadline == GM_NO_DEADLINE)
		return -1;
	now = gm_now_ms();
	if (now >= deadline)
		return 0;
	return deadline - now < INT32_MAX ? (int)(deadline - now) : INT32_MAX;
}

/* Hang-ups count as readable, because receiving tells more. */
static int wait_for(struct gmem_client *client, short events, uint64_t deadline, bool *ret_readable)
{
	struct pollfd poll_fd = { .fd = client->remote->fd, .events = events };

	for (;;) {
		int n = poll(&poll_fd, 1, time_left(deadline));

		if (n > 0) {
			*ret_readable = (poll_fd.revents & ~POLLOUT) != 0;
			return 0;
		}
		if (n == 0)
			return gm_fail(client, GMEM_TIMED_OUT, 0,
				       "The daemon did not answer within %d ms.",
				       client->timeout_ms);
		if (errno != EINTR)
			return gm_fail_errno(client, errno, "waiting for the daemon");
	}
}

int gm_remote_wait(struct gmem_client *client, uint64_t deadline)
{
	bool readable;

	return wait_for(client, POLLIN, deadline, &readable);
}

static int fail_ended(struct gmem_client *client)
{
	return gm_fail(client, GMEM_DISCONNECTED, 0, "The connection to the daemon has ended.");
}

int gm_remote_end(struct gmem_client *client, int status, const char *format, ...)
{
	struct gm_remote *remote = client->remote;
	struct gm_pending *pending;
	struct gm_failure failure;
	char text[256];
	va_list args;

	if (remote->over)
		return fail_ended(client);
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	gm_failure_set(&failure, status, "%s", text);

	remote->over = true;
	(void)shutdown(remote->fd, SHUT_RDWR);
	while ((pending = remote->pending)) {
		remote->pending = pending->next;
		remote->n_pending--;
		pending->failure = failure;
		gm_pending_end(client, pending);
	}
	if (client->event)
		client->event(client->event_arg, GMEM_EVENT_DISCONNECTED, NULL, 0);
	return gm_client_fail(client, &failure);
}

/* Handles all that has arrived. 0, or why the connection ended. */
static int receive_all(struct gmem_client *client)
{
	int r;

	do {
		r = gm_remote_receive(client);
	} while (r == 0);
	return r == -GMEM_AGAIN ? 0 : r;
}

int gm_remote_send(struct gmem_client *client, const struct gm_frame *frame, const void *body,
		   uint64_t deadline)
{
	struct gm_remote *remote = client->remote;
	uint8_t header[GM_FRAME_HEADER_SIZE];
	bool readable = false;
	int r;

	gm_frame_encode(frame, header);
	for (;;) {
		if (remote->over)
			return fail_ended(client);
		r = gm_scm_send(remote->fd, header, sizeof(header), body, frame->body_length, NULL,
				0, MSG_DONTWAIT);
		if (r == 0)
			return 0;
		if (r == -EPIPE || r == -ECONNRESET) {
			/* It may have said why, and answered others, before it went. */
			r = receive_all(client);
			if (r < 0)
				return r;
			return gm_remote_end(client, GMEM_DISCONNECTED,
					     "The daemon closed the connection.");
		}
		if (r != -EAGAIN && r != -EINTR)
			return gm_fail_errno(client, r, "sending to the daemon");
		/*
		 * A daemon whose answers are not read stops reading requests: waiting for room
		 * alone would be waiting for ever.
		 */
		r = wait_for(client, POLLIN | POLLOUT, deadline, &readable);
		if (r < 0)
			return r;
		if (readable) {
			r = receive_all(client);
			if (r < 0)
				return r;
		}
	}
}

static int receive_packet(struct gmem_client *client, size_t *ret_length, struct gm_fdset *fds,
			  enum gm_scm_fault *ret_fault)
{
	struct gm_remote *remote = client->remote;
	int r;

	/*
	 * A peer that closes with packets of ours unread leaves ECONNRESET behind, which is
	 * reported once, before the packets that it sent to us (sock_error comes first in
	 * __skb_try_recv_datagram): look again.
	 */
	for (int attempt = 0; attempt < 2; attempt++) {
		r = gm_scm_receive(remote->fd, remote->packet, sizeof(remote->packet), MSG_DONTWAIT,
				   true, ret_length, fds, ret_fault);
		if (r != -ECONNRESET)
			break;
	}
	return r;
}

static void handle_packet(struct gmem_client *client, size_t length, struct gm_fdset *fds)
{
	const uint8_t *packet = client->remote->packet;
	const uint8_t *body = packet + GM_FRAME_HEADER_SIZE;
	enum gm_frame_fault fault;
	struct gm_frame frame;

	fault = gm_frame_decode(packet, length, &frame);
	if (fault != GM_FRAME_GOOD)
		gm_remote_end(client, GMEM_PROTOCOL, "The daemon sent a bad packet: %s.",
			      gm_frame_fault_text(fault));
	else if (frame.version != GM_PROTOCOL_VERSION)
		gm_remote_end(client, GMEM_PROTOCOL, "The daemon speaks version %u, not %d.",
			      frame.version, GM_PROTOCOL_VERSION);
	else if (frame.n_fds != fds->n_fds)
		gm_remote_end(client, GMEM_PROTOCOL,
			      "The daemon announced %u file descriptors and sent %zu.", frame.n_fds,
			      fds->n_fds);
	else if (frame.flags == GM_FRAME_EVENT && frame.serial == 0 && frame.n_fds == 0)
		gm_remote_event(client, &frame, body);
	else if ((frame.flags & ~GM_FRAME_REFUSED) == GM_FRAME_ANSWER)
		gm_remote_answer(client, &frame, body, fds);
	else
		gm_remote_end(client, GMEM_PROTOCOL,
			      "The daemon sent a packet that is neither answer nor event.");
}

int gm_remote_receive(struct gmem_client *client)
{
	_gm_cleanup_(gm_fdset_done) struct gm_fdset fds = GM_FDSET_NULL;
	struct gm_remote *remote = client->remote;
	enum gm_scm_fault fault;
	size_t length;
	int r;

	if (remote->over)
		return fail_ended(client);
	r = receive_packet(client, &length, &fds, &fault);
	if (r == -EAGAIN || r == -EINTR)
		return -GMEM_AGAIN;
	if (r < 0 && r != -ECONNRESET)
		return gm_remote_end(client, GMEM_DISCONNECTED, "Receiving failed: errno %d.", -r);
	if (r < 0 || fault == GM_SCM_CLOSED)
		return gm_remote_end(client, GMEM_DISCONNECTED,
				     "The daemon closed the connection.");
	if (fault != GM_SCM_GOOD)
		return gm_remote_end(client, GMEM_PROTOCOL, "The daemon sent a bad packet: %s.",
				     gm_scm_fault_text(fault));
	handle_packet(client, length, &fds);
	return remote->over ? -(client->failure.status ? client->failure.status : GMEM_DISCONNECTED)
			    : 0;
}
