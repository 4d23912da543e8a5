/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's end of the notify protocol, see sd_notify(3): a datagram socket in a folder that
 * only the keeper's user enters, and messages of which only those of one process are believed, as
 * the kernel names their sender. That process is confined and the keeper is not: what it sends is
 * bounded and checked like a stranger's.
 */
#ifndef GM_KEEP_NOTIFY_H
#define GM_KEEP_NOTIFY_H

#include <limits.h>
#include <sys/types.h>
#include <sys/un.h>

#include "gm_num.h"

struct gm_keep_notify {
	int socket;
	char folder[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "": none was made */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];	  /* for $NOTIFY_SOCKET */
};

/* SCM_MAX_FD: the kernel carries no more in one message. */
#define GM_KEEP_MESSAGE_FDS 253

struct gm_keep_message {
	bool ready;
	bool stopping;
	bool watchdog;
	bool store;
	bool remove;
	bool no_poll;	    /* FDPOLL=0 */
	const char *name;   /* FDNAME=; NULL: none, or not a good one */
	const char *status; /* NULL: none */
	size_t n_fds;
	int fds[GM_KEEP_MESSAGE_FDS]; /* -1: taken out */
	char text[PIPE_BUF + 1];
};

/* 0 or -errno. */
GM_WARN_UNUSED int gm_keep_notify_open(struct gm_keep_notify *ret_notify);

/* Removes the socket and the folder. */
void gm_keep_notify_close(struct gm_keep_notify *notify);

/*
 * Takes one message if there is one. 0: it is good, and it is @from who sent it; -EAGAIN: nothing
 * is there; -EBADMSG: there was one, which was thrown away with its fds.
 */
GM_WARN_UNUSED int gm_keep_notify_receive(const struct gm_keep_notify *notify, pid_t from,
					  struct gm_keep_message *message);

/* Closes the fds that nobody has taken. */
void gm_keep_message_done(struct gm_keep_message *message);

/* Takes @message->text apart, which is changed. What is not known is passed over. */
void gm_keep_message_parse(struct gm_keep_message *message);

#endif
