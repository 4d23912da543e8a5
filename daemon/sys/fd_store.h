/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side of the fd store: what is put there outlives this process, however it ends, and
 * comes back as an inherited fd of the same name (service_manager.h).
 *
 * A push that has returned 0 is in the queue of whoever keeps the store, and a queue is emptied
 * before anything is started again. All goes through one socket, so that pushes and removals are
 * seen in their order and a name may be used again at once.
 */
#ifndef GM_FD_STORE_H
#define GM_FD_STORE_H

#include <sys/socket.h>
#include <sys/un.h>

#include "gm_num.h"

/*
 * All names come back in one string of the environment, and execve(2) takes none over 128 KiB
 * (MAX_ARG_STRLEN): with longer ones the daemon could never be started again. Names are therefore
 * short, and this many fit beside those of all listening sockets.
 */
#define GM_FD_STORE_MAX 12000U

enum gm_stored_kind {
	GM_STORED_STATE,
	GM_STORED_MAPS,
	GM_STORED_REGION, /* the memory of the region with this record */
	GM_STORED_PIDFD,  /* the peer of the session with this record */
	GM_STORED_HALF,	  /* the private half of the region with this record */
	GM_STORED_VM,	  /* what was launched for the domain with this record */
	GM_STORED_OTHER,  /* a name that this version does not know */
};

/*
 * "+state", "+maps", "+r1f", "+p1f", "+q1f", the record in hex. '+' begins no listening socket's
 * name. A record has at most four digits for GM_FD_STORE_MAX to hold.
 */
#define GM_STORED_MARK '+'
#define GM_STORED_RECORDS_MAX 0x10000U
#define GM_STORED_NAME_SIZE 16

/* @kind: not GM_STORED_OTHER. @record: below GM_STORED_RECORDS_MAX; of no use to state and maps. */
void gm_stored_name(enum gm_stored_kind kind, uint32_t record, char ret_name[GM_STORED_NAME_SIZE]);

/* Is this the name of a stored fd? *ret_record is 0 where the kind has none. */
bool gm_stored_parse(const char *name, enum gm_stored_kind *ret_kind, uint32_t *ret_record);

struct gm_fd_store {
	int socket;	  /* -1: there is no store */
	uint32_t max;	  /* fds that it takes: $FDSTORE where it is set, at most GM_FD_STORE_MAX */
	int64_t debt_us;  /* of patience, as of since_us */
	int64_t since_us; /* CLOCK_MONOTONIC */
	socklen_t address_length;
	struct sockaddr_un address;
};

#define GM_FD_STORE_NULL ((struct gm_fd_store){ .socket = -1 })

/*
 * Connects to $NOTIFY_SOCKET. Before the sandbox closes. -ENOENT: nobody keeps a store. A service
 * manager without a store (FileDescriptorStoreMax=0) cannot be told from one that has it.
 */
GM_WARN_UNUSED int gm_fd_store_open(struct gm_fd_store *ret_store);

void gm_fd_store_close(struct gm_fd_store *store);

/*
 * Puts a copy of @fd, which is borrowed, under @name. Waits for GM_FD_STORE_PATIENCE_MS at most:
 * a service manager that starts itself anew (systemctl daemon-reexec) is away for some 100 ms, and
 * nobody is to notice. But one that hangs must not hang us with every message: patience that was
 * used up comes back slowly, so that in the long run no more than one part in GM_FD_STORE_SHARE of
 * the time is spent on it. A wait of less than GM_FD_STORE_SHORT_MS that found room is no hang, but
 * what a busy keeper takes.
 * 0, or -errno and nothing is stored: what hangs on it must not be granted then. -EAGAIN: the
 * keeper of the store is behind.
 */
#define GM_FD_STORE_PATIENCE_MS 1000
#define GM_FD_STORE_SHORT_MS 25
#define GM_FD_STORE_SHARE 20
GM_WARN_UNUSED int gm_fd_store_push(struct gm_fd_store *store, const char *name, int fd);

/* Removes all fds of @name. As above; what stays is found to be nobody's after a restart. */
GM_WARN_UNUSED int gm_fd_store_remove(struct gm_fd_store *store, const char *name);

#endif
