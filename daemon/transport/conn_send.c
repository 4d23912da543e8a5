/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "gm_fd.h"
#include "gm_scm.h"

/* Packets sent to one peer in one turn of the loop. */
#define GM_SEND_MAX 16

void gm_conn_break(struct gm_conn *conn, int error)
{
	bool is_peers_end = error == EPIPE || error == ECONNRESET || error == ENOTCONN;

	if (conn->broken)
		return;
	conn->broken = true;
	conn->error = is_peers_end ? 0 : error;
	event_active(conn->events[GM_CONN_READING], EV_READ, 0);
}

void gm_conn_set_mode(struct gm_conn *conn, enum gm_conn_mode mode)
{
	if (conn->mode == mode)
		return;
	if (conn->events[conn->mode])
		(void)event_del(conn->events[conn->mode]);
	conn->mode = mode;
	errno = 0;
	if (event_add(conn->events[mode], NULL) < 0)
		gm_conn_break(conn, errno ? errno : ENOMEM);
}

static void packet_free(struct gm_packet *packet)
{
	gm_fdset_done(&packet->fds);
	explicit_bzero(packet->bytes, packet->length);
	free(packet);
}

static void packet_drop(struct gm_conn *conn, struct gm_packet *packet)
{
	TAILQ_REMOVE(&conn->waiting, packet, link);
	conn->waiting_bytes -= packet->length;
	packet_free(packet);
}

void gm_conn_forget(struct gm_conn *conn)
{
	struct gm_packet *packet = TAILQ_FIRST(&conn->waiting);

	while (packet) {
		struct gm_packet *next = TAILQ_NEXT(packet, link);

		packet_drop(conn, packet);
		packet = next;
	}
}

void gm_conn_flush(struct gm_conn *conn)
{
	struct gm_packet *packet = TAILQ_FIRST(&conn->waiting);

	for (unsigned i = 0; i < GM_SEND_MAX && packet; i++) {
		struct gm_packet *next = TAILQ_NEXT(packet, link);
		int error = gm_scm_send(conn->socket, packet->bytes, packet->length, NULL, 0,
					packet->fds.fds, packet->fds.n_fds, MSG_DONTWAIT);

		if (error) {
			if (error != -EAGAIN)
				gm_conn_break(conn, -error);
			return;
		}
		packet_drop(conn, packet);
		packet = next;
	}
}

size_t gm_conn_waiting(const struct gm_conn *conn)
{
	return conn->waiting_bytes;
}

static int copy_fds(struct gm_fdset *to, const int *fds, size_t n_fds)
{
	for (size_t i = 0; i < n_fds; i++) {
		int fd = gm_fd_dup(fds[i]);
		int error = fd < 0 ? fd : gm_fdset_add(to, fd);

		if (error) {
			gm_fd_close(fd);
			return error;
		}
	}
	return 0;
}

static int queue_packet(struct gm_conn *conn, const unsigned char *header, const void *body,
			size_t body_length, const int *fds, size_t n_fds)
{
	size_t length = GM_FRAME_HEADER_SIZE + body_length;
	struct gm_packet *packet = malloc(sizeof(*packet) + length);
	int error;

	if (!packet)
		return -ENOMEM;
	packet->length = length;
	memcpy(packet->bytes, header, GM_FRAME_HEADER_SIZE);
	if (body_length > 0)
		memcpy(packet->bytes + GM_FRAME_HEADER_SIZE, body, body_length);
	packet->fds = GM_FDSET_NULL;
	error = copy_fds(&packet->fds, fds, n_fds);
	if (error) {
		packet_free(packet);
		return error;
	}
	TAILQ_INSERT_TAIL(&conn->waiting, packet, link);
	conn->waiting_bytes += length;
	return 0;
}

/* -EAGAIN: it has to wait, behind those that wait already. */
static int send_now(struct gm_conn *conn, const unsigned char *header, const struct gm_frame *frame,
		    const void *body, const int *fds)
{
	if (!TAILQ_EMPTY(&conn->waiting))
		return -EAGAIN;
	return gm_scm_send(conn->socket, header, GM_FRAME_HEADER_SIZE, body, frame->body_length,
			   fds, frame->n_fds, MSG_DONTWAIT);
}

void gm_conn_send(struct gm_conn *conn, const struct gm_frame *frame, const void *body,
		  const int *fds)
{
	bool is_event = (frame->flags & GM_FRAME_EVENT) != 0;
	unsigned char header[GM_FRAME_HEADER_SIZE];
	int error;

	if (conn->broken)
		return;
	gm_frame_encode(frame, header);
	error = send_now(conn, header, frame, body, fds);
	/* An answer may have made room in the service: look again, outside this call. */
	if (error == 0 && !is_event && conn->mode == GM_CONN_FULL)
		event_active(conn->events[GM_CONN_READING], EV_READ, 0);
	if (error != -EAGAIN) {
		if (error)
			gm_conn_break(conn, -error);
		return;
	}
	if (is_event && conn->waiting_bytes + frame->body_length > GM_CONN_EVENTS_MAX)
		return;
	error = queue_packet(conn, header, body, frame->body_length, fds, frame->n_fds);
	if (error == 0)
		gm_conn_set_mode(conn, GM_CONN_SENDING);
	else if (!is_event)
		gm_conn_break(conn, -error);
}
