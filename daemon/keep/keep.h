/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: runs the daemon as its child, starts it again when it dies, and holds meanwhile what
 * must not die with it: the listening sockets, where clients wait, and the stored fds. It takes
 * the place of a service manager with an fd store and speaks the same protocol, so that the daemon
 * need not know which one it has.
 *
 * It is small and decides nothing about memory. The child starts with all the privileges of the
 * keeper, because each start opens devices anew and drops them then: the keeper therefore keeps
 * its own. If the keeper is killed, the daemon goes on with what is granted and grants nothing
 * more that would have to be stored.
 */
#ifndef GM_KEEP_H
#define GM_KEEP_H

#include <stddef.h>
#include <stdint.h>

#include "gm_num.h"

struct gm_keep_socket {
	const char *name; /* in LISTEN_FDNAMES */
	int fd;
};

struct gm_keep_config {
	char **argv; /* of the child, which is this program again */
	const struct gm_keep_socket *sockets;
	size_t n_sockets;
	uint32_t final_statuses; /* bit n: after exit status n it is not started again */
	uint32_t watchdog_ms;	 /* killed when not heard of for so long; 0: never */
	uint32_t restart_max_ms; /* longest wait before it is started again */
};

/* A child that hangs when it is asked to stop is killed after this. */
#define GM_KEEP_STOP_MS 15000

/* With a watchdog: a child must be ready after this. */
#define GM_KEEP_START_MS 60000

/*
 * Until the child ends with a final status, or we are asked to stop by SIGTERM or SIGINT and the
 * child has ended. Its exit status then, or 1 when a signal killed it; -errno when there could be
 * no keeper. SIGHUP is passed on. The fds stay the caller's.
 */
GM_WARN_UNUSED int gm_keep_run(const struct gm_keep_config *config);

#endif
