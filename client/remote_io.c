/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "gm_cleanup.h"
#include "gm_scm.h"
#include "gm_verdict.h"
#include "remote.h"

uint64_t gm_deadline(const struct gmem_client *client)
{
	if (client->timeout_ms < 0)
		return GM_NO_DEADLINE;
	return gm_link_clock_ms(&client->remote->link) + (uint64_t)client->timeout_ms;
}

/* Milliseconds for poll(2). While the link is away, its timer bounds the wait. */
static int time_left(const struct gm_link *link, uint64_t deadline)
{
	uint64_t now = gm_link_clock_ms(link);

	if (deadline == GM_NO_DEADLINE || gm_link_is_away(link))
		return -1;
	if (now >= deadline)
		return 0;
	return deadline - now < INT32_MAX ? (int)(deadline - now) : INT32_MAX;
}

int gm_remote_wait(struct gmem_client *client, uint64_t deadline)
{
	const struct gm_link *link = &client->remote->link;
	struct pollfd poll_fd = { .fd = link->epoll_fd, .events = POLLIN };

	/* The detour over epoll costs time, and only the others need its timer. */
	if (link->state == GM_LINK_UP) {
		poll_fd.fd = link->fd;
		poll_fd.events |= link->watched & EPOLLOUT ? POLLOUT : 0;
	}
	for (;;) {
		int n = poll(&poll_fd, 1, time_left(link, deadline));

		if (n > 0)
			return 0;
		if (n == 0)
			return gm_fail(client, GMEM_TIMED_OUT, 0,
				       "The daemon did not answer within %d ms.",
				       client->timeout_ms);
		if (errno != EINTR)
			return gm_fail_errno(client, errno, "waiting for the daemon");
	}
}

static int fail_ended(struct gmem_client *client)
{
	return gm_fail(client, GMEM_DISCONNECTED, 0, "The connection to the daemon has ended.");
}

int gm_remote_end_with(struct gmem_client *client, const struct gm_failure *failure)
{
	struct gm_remote *remote = client->remote;
	struct gm_failure why = *failure;

	if (remote->link.state == GM_LINK_OVER)
		return fail_ended(client);
	gm_link_over(remote);
	gm_remote_end_all(client, &why);
	gm_client_tell(client, GMEM_EVENT_DISCONNECTED, NULL, 0);
	return gm_client_fail(client, &why);
}

int gm_remote_end(struct gmem_client *client, int status, const char *format, ...)
{
	struct gm_failure failure;
	char text[GM_FAILURE_TEXT_SIZE];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	gm_failure_set(&failure, status, "%s", text);
	return gm_remote_end_with(client, &failure);
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
		r = gm_scm_receive(remote->link.fd, remote->packet, sizeof(remote->packet),
				   MSG_DONTWAIT, true, ret_length, fds, ret_fault);
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

static int lost_by_errno(struct gmem_client *client, int error)
{
	struct gm_failure why;

	gm_failure_set(&why, GMEM_DISCONNECTED, "Receiving failed: %s.", strerrordesc_np(error));
	return gm_link_lost(client, &why);
}

/* Handles one packet if one is there. As gm_remote_turn. */
static int receive(struct gmem_client *client)
{
	_gm_cleanup_(gm_fdset_done) struct gm_fdset fds = GM_FDSET_NULL;
	enum gm_scm_fault fault;
	size_t length;
	int r;

	r = receive_packet(client, &length, &fds, &fault);
	if (r == -EAGAIN || r == -EINTR)
		return -GMEM_AGAIN;
	if (r < 0 && r != -ECONNRESET)
		return lost_by_errno(client, -r);
	if (r < 0 || fault == GM_SCM_CLOSED)
		return gm_link_lost_for(client, "The daemon closed the connection.");
	if (fault != GM_SCM_GOOD)
		return gm_remote_end(client, GMEM_PROTOCOL, "The daemon sent a bad packet: %s.",
				     gm_scm_fault_text(fault));
	handle_packet(client, length, &fds);
	if (client->remote->link.state != GM_LINK_OVER)
		return 0;
	return -(client->failure.status ? client->failure.status : GMEM_DISCONNECTED);
}

int gm_remote_turn(struct gmem_client *client)
{
	struct gm_remote *remote = client->remote;
	bool sent;
	int r;

	if (remote->link.state == GM_LINK_OVER)
		return fail_ended(client);
	if (remote->link.state == GM_LINK_DOWN)
		return gm_link_retry(client);
	gm_remote_report_due(client);
	sent = gm_link_flush(remote);
	r = receive(client);
	if (r == -GMEM_AGAIN)
		r = gm_link_check_patience(client);
	return r == -GMEM_AGAIN && sent ? 0 : r;
}
