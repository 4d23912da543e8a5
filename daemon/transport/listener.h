/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening SOCK_SEQPACKET socket and its connections, carried to somebody who understands
 * frames. Knows frames and fds, but no verbs.
 */
#ifndef GM_LISTENER_H
#define GM_LISTENER_H

#include <sys/types.h>

#include "gm_fdset.h"
#include "gm_frame.h"
#include "loop.h"

struct gm_listener;
struct gm_conn;

struct gm_conn_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	bool has_pidfd; /* false: kernel without SO_PEERPIDFD, and the process was gone already */
};

/* Implemented by main, which joins this to the service. */
struct gm_listener_ops {
	/*
	 * A peer has connected. 0 and *ret_user, or nonzero: what was queued with gm_conn_send is
	 * sent, then the connection is closed.
	 */
	int (*open)(void *arg, struct gm_conn *conn, const struct gm_conn_peer *peer,
		    void **ret_user);
	/* One good frame; takes the fds. 0, or -EPROTO to cut the peer off (*ret_fault for the log). */
	int (*packet)(void *user, const struct gm_frame *frame, const void *body,
		      struct gm_fdset *fds, const char **ret_fault);
	/* While true, nothing is read from this peer. Asked after each packet and each send. */
	bool (*is_full)(void *user);
	/* HELLO seen? Asked when the greeting time is over. */
	bool (*is_open)(void *user);
	/* End of the connection or of the peer's process. Last call for this user. */
	void (*closed)(void *user);
	/* For the log, rate-limited by the implementer. @user is NULL before open succeeded. */
	void (*violation)(void *arg, void *user, const struct gm_conn_peer *peer,
			  const char *fault);
};

/*
 * Takes @socket (listening, SEQPACKET) on success. @arg goes to open and violation.
 * All listeners of a loop share the receive buffer.
 */
GM_WARN_UNUSED int gm_listener_new(struct gm_event_loop *loop, int socket,
				   const struct gm_listener_ops *ops, void *arg,
				   struct gm_listener **ret_listener);

/* Stops accepting; connections stay. */
void gm_listener_pause(struct gm_listener *listener);

/* Closes every connection (with the closed callback) and the socket. Accepts NULL. */
void gm_listener_free(struct gm_listener *listener);

/*
 * Makes a listening socket at @path: mode 0600 owner root before anybody can connect, then
 * @mode. An old socket file that nobody listens on is replaced; any other file is -EADDRINUSE.
 */
GM_WARN_UNUSED int gm_listen_at(const char *path, mode_t mode, int *ret_socket);

/* 0 when @fd is a listening AF_UNIX SEQPACKET socket, else -errno. */
GM_WARN_UNUSED int gm_check_listening(int fd);

/*
 * Queues one packet: sent at once if the peer has room. Takes the fds. An event is dropped when
 * more than GM_CONN_EVENTS_MAX bytes wait; an answer never is (their number is bounded by
 * is_full). Never calls back.
 */
#define GM_CONN_EVENTS_MAX (64 * 1024)
void gm_conn_send(struct gm_conn *conn, const struct gm_frame *frame, const void *body,
		  struct gm_fdset *fds);

/* The service has room again: read on. */
void gm_conn_resume(struct gm_conn *conn);

#endif
