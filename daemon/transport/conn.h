/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection. For the files of this folder only.
 */
#ifndef GM_CONN_H
#define GM_CONN_H

#include <sys/queue.h>

#include "listener.h"
#include "loop_base.h"

TAILQ_HEAD(gm_conn_list, gm_conn);

/* What all connections of a listener have in common. */
struct gm_conn_context {
	struct gm_event_loop *loop;
	const struct gm_listener_ops *ops;
	void *arg;
	struct gm_fd_sink sink; /* of @ops */
	struct gm_conn_list conns;
	uint64_t turn;	  /* the last in which a packet came... */
	unsigned n_taken; /* ...and how many did in it */
};

/*
 * What a connection waits for on its socket. One event is armed at a time: what one mode leaves
 * out (writing in READING, reading in SENDING) is not wanted then.
 */
enum gm_conn_mode {
	GM_CONN_IDLE,	 /* nothing: being set up */
	GM_CONN_READING, /* the next packet */
	GM_CONN_SENDING, /* room for what waits to be sent */
	GM_CONN_FULL,	 /* the service to have room or time, or the peer to hang up */
	GM_CONN_MODE_N_
};

TAILQ_HEAD(gm_packet_list, gm_packet);

struct gm_packet {
	TAILQ_ENTRY(gm_packet) link; /* gm_conn::waiting */
	struct gm_fdset fds;
	size_t length;
	unsigned char bytes[];
};

struct gm_conn {
	struct gm_conn_context *context;
	TAILQ_ENTRY(gm_conn) link; /* gm_conn_context::conns */
	int socket;
	int pidfd; /* -1: none */
	struct gm_conn_peer peer;
	void *user;
	bool accepted; /* open has succeeded: closed is owed */
	bool open;     /* HELLO seen */
	bool broken;   /* nothing can be sent any more: ends on the next turn */
	int error;     /* why, where it is not the peer's doing; else 0 */
	unsigned lone_turns;
	enum gm_conn_mode mode;
	struct event *events[GM_CONN_MODE_N_]; /* of the socket, by mode; NULL for IDLE */
	struct event *exited;
	struct event *greeting_over;
	struct event *wait_over; /* NULL: it never had to wait */
	size_t waiting_bytes;
	struct gm_packet_list waiting;
};

/*
 * Takes @socket in any case. 0 also when the peer was turned away, or had gone already; -errno
 * when the host is short of something. @context must outlive the connection.
 */
GM_WARN_UNUSED int gm_conn_start(struct gm_conn_context *context, int socket);

/* Lets fds in, or not, as @context says. What connects to a listening socket is like it. */
void gm_conn_set_fds(const struct gm_conn_context *context, int socket);

/* Not from within a callback of struct gm_listener_ops. */
void gm_conn_free(struct gm_conn *conn);

/* Marks the connection as broken and has it end on the loop's next turn. */
void gm_conn_break(struct gm_conn *conn, int error);

/* Arms the event of @mode instead of the one armed now; breaks the connection if that fails. */
void gm_conn_set_mode(struct gm_conn *conn, enum gm_conn_mode mode);

/* Sends what waits as far as there is room. */
void gm_conn_flush(struct gm_conn *conn);

/* Drops what waits. */
void gm_conn_forget(struct gm_conn *conn);

#endif
