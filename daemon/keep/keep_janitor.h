/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closes fds on a thread of its own. Whoever closes the last fd of a guest's memory frees it, which
 * takes the kernel about 160 us for each MiB: meanwhile the keeper would hear nothing, store
 * nothing, and start nothing.
 *
 * The thread makes no calls but read and close: it holds no lock that the process has at a fork.
 */
#ifndef GM_KEEP_JANITOR_H
#define GM_KEEP_JANITOR_H

#include <pthread.h>

#include "gm_num.h"

struct gm_keep_janitor {
	int orders; /* the writing end; -1: there is no thread, and close closes */
	int inbox;  /* the reading end, the thread's */
	pthread_t thread;
};

#define GM_KEEP_JANITOR_NULL ((struct gm_keep_janitor){ .orders = -1, .inbox = -1 })

/* @janitor may not move while it runs. 0 or -errno, and it is none then. */
GM_WARN_UNUSED int gm_keep_janitor_start(struct gm_keep_janitor *janitor);

/* Soon, or at once where there is no room. */
void gm_keep_janitor_close(const struct gm_keep_janitor *janitor, int fd);

/* Waits until all are closed. Idempotent. */
void gm_keep_janitor_stop(struct gm_keep_janitor *janitor);

#endif
