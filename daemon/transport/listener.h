/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening SOCK_SEQPACKET socket and its connections, carried to somebody who understands
 * frames. Knows frames and fds, but no verbs.
 *
 * Each turn of the loop takes a bounded number of connections from a listener and of packets from
 * a connection, so that no peer keeps the others waiting. While a peer does not take what is sent
 * to it, nothing more is read from it: what waits for one peer is bounded by what one request can
 * answer, and by the jobs it has under way.
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
	bool has_pidfd; /* false: the kernel cannot tell when the process ends */
};

/*
 * Implemented by main, which joins this to the service. No callback may free the listener or the
 * loop.
 */
struct gm_listener_ops {
	/*
	 * False: no packet of a peer may carry fds, and where the kernel can see to that (6.16)
	 * none reaches us: it refuses to send them. Whoever is the last to close a file waits for
	 * it, and a peer can make that long (SO_LINGER).
	 */
	bool takes_fds;
	/*
	 * Closes an fd of a peer that nobody wants, and a socket in which fds may be waiting.
	 * Takes it. NULL: they are closed here and now.
	 */
	void (*close_fd)(void *arg, int fd);
	/*
	 * False: peers that come wait, in the socket's backlog, until this is true again; it is
	 * asked now and then. NULL: nobody has to.
	 */
	bool (*may_come)(void *arg);
	/*
	 * A peer has connected. 0 and *ret_user, or nonzero: what was queued with gm_conn_send is
	 * sent, then the connection is closed.
	 */
	int (*open)(void *arg, struct gm_conn *conn, const struct gm_conn_peer *peer,
		    void **ret_user);
	/* One good frame; takes the fds. 0, or -EPROTO to cut the peer off (*ret_fault for the
	 * log). */
	int (*packet)(void *user, const struct gm_frame *frame, const void *body,
		      struct gm_fdset *fds, const char **ret_fault);
	/*
	 * While true, nothing is read from this peer. Asked before each packet, and again on a
	 * later turn when an answer has been sent meanwhile.
	 */
	bool (*is_full)(void *user);
	/*
	 * Nothing is read from this peer for so many milliseconds, then it is asked again. As often
	 * as is_full. NULL: nobody ever waits.
	 */
	uint32_t (*wait_ms)(void *user);
	/*
	 * HELLO seen? Until then a packet with fds is a violation, and so is to stay that way for
	 * GM_HELLO_TIMEOUT_MS.
	 */
	bool (*is_open)(void *user);
	/* End of the connection or of the peer's process. Last call for this user. */
	void (*closed)(void *user);
	/*
	 * The peer is about to be cut off; for the log, rate-limited by the implementer. @user is
	 * never NULL. @from_packet: the fault is what packet returned.
	 */
	void (*violation)(void *arg, void *user, const struct gm_conn_peer *peer, const char *fault,
			  bool from_packet);
	/*
	 * A connection could not be had or not be kept for want of something on this host: @error
	 * is an errno. Where accepting itself failed it goes on after a pause.
	 */
	void (*shortage)(void *arg, int error);
};

/*
 * Takes @socket (listening, SEQPACKET) on success. @arg goes to open, violation and shortage.
 * All listeners of a loop share the receive buffer.
 */
GM_WARN_UNUSED int gm_listener_new(struct gm_event_loop *loop, int socket,
				   const struct gm_listener_ops *ops, void *arg,
				   struct gm_listener **ret_listener);

/* Stops accepting for good; connections stay. */
void gm_listener_pause(struct gm_listener *listener);

/* Closes every connection (with the closed callback) and the socket. Accepts NULL. */
void gm_listener_free(struct gm_listener *listener);

/*
 * Makes a listening socket at @path, which has @mode before anybody can connect. An old socket
 * file that nobody listens on is replaced; any other file is -EADDRINUSE. The folder must exist.
 */
GM_WARN_UNUSED int gm_listen_at(const char *path, mode_t mode, int *ret_socket);

/* 0 when @fd is a listening AF_UNIX SEQPACKET socket, else -errno. */
GM_WARN_UNUSED int gm_check_listening(int fd);

/* Was the AF_UNIX socket @fd bound to @path, in these very words? */
bool gm_is_bound_to(int fd, const char *path);

/*
 * Sends one packet with frame->n_fds borrowed fds: at once if the peer has room, else a copy of it
 * waits. An event is dropped when more than GM_CONN_EVENTS_MAX bytes wait; an answer never is
 * (their number is bounded by is_full). Never calls back; where the connection turns out to be
 * over, that shows on the next turn of the loop.
 */
#define GM_CONN_EVENTS_MAX ((size_t)64 * 1024)
void gm_conn_send(struct gm_conn *conn, const struct gm_frame *frame, const void *body,
		  const int *fds);

/* Bytes that wait until the peer reads. */
size_t gm_conn_waiting(const struct gm_conn *conn);

/* The process at the other end: borrowed, or -1 where the kernel cannot tell. */
int gm_conn_pidfd(const struct gm_conn *conn);

#endif
