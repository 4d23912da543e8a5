/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge.h"

#include "report.h"
#include "service.h"
#include "tenants.h"

static void bridge_send(void *channel, const struct gm_frame *frame, const void *body,
			const int *fds)
{
	gm_conn_send(channel, frame, body, fds);
}

static int bridge_pidfd(void *channel)
{
	return gm_conn_pidfd(channel);
}

static bool bridge_has_room(void *channel)
{
	return gm_conn_waiting(channel) < GM_CONN_EVENTS_MAX / 2;
}

static const struct gm_channel_ops channel_ops = {
	.send = bridge_send,
	.pidfd = bridge_pidfd,
	.has_room = bridge_has_room,
};

static int bridge_open(void *arg, struct gm_conn *conn, const struct gm_conn_peer *from,
		       void **ret_user)
{
	const struct gm_peer peer = { .pid = from->pid, .uid = from->uid, .gid = from->gid };
	struct gm_door *door = arg;
	struct gm_link *link;
	int result;

	result = gm_service_open(door->service, door->party->tenant, &peer, &channel_ops, conn,
				 &link);
	if (result)
		return result;
	*ret_user = link;
	return 0;
}

static int bridge_packet(void *user, const struct gm_frame *frame, const void *body,
			 struct gm_fdset *fds, const char **ret_fault)
{
	return gm_service_packet(user, frame, body, fds, ret_fault);
}

static bool bridge_is_full(void *user)
{
	return gm_link_is_full(user);
}

static uint32_t bridge_wait_ms(void *user)
{
	return gm_link_wait_ms(user);
}

static bool bridge_is_open(void *user)
{
	return gm_link_is_open(user);
}

static void bridge_closed(void *user)
{
	gm_service_close(user);
}

static void bridge_violation(void *arg, void *user, const struct gm_conn_peer *peer,
			     const char *fault, bool from_packet)
{
	const struct gm_door *door = arg;

	(void)peer;
	/* The service has counted those that it found itself. */
	if (!from_packet)
		door->party->counters->violations++;
	gm_service_violation(user, fault);
}

static void bridge_shortage(void *arg, int error)
{
	const struct gm_door *door = arg;

	gm_report_shortage(door->party, error);
}

static void bridge_close_fd(void *arg, int fd)
{
	const struct gm_door *door = arg;

	gm_closer_dispose(&door->party->fds, fd);
}

/* A tenant whose files do not let go of gmemd gets no further chance to pass some. */
static bool bridge_may_come(void *arg)
{
	const struct gm_door *door = arg;

	return !gm_closer_is_full(&door->party->fds);
}

const struct gm_listener_ops gm_bridge_ops = {
	.close_fd = bridge_close_fd,
	.may_come = bridge_may_come,
	.open = bridge_open,
	.packet = bridge_packet,
	.is_full = bridge_is_full,
	.wait_ms = bridge_wait_ms,
	.is_open = bridge_is_open,
	.closed = bridge_closed,
	.violation = bridge_violation,
	.shortage = bridge_shortage,
};
