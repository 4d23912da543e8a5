/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closes fds that strangers have passed, on threads of its own. A close can take as long as its
 * owner likes: one of a file on FUSE asks the file's server each time (flush, from filp_close),
 * even where others have the file open too, and the last one of a socket may linger.
 *
 * Each account has one thread at most, so that whoever's files do not let go keep those of the
 * others waiting only where more accounts than there are threads do the same at one time. An
 * account that is full must not be given the chance to pass more.
 */
#ifndef GM_CLOSER_H
#define GM_CLOSER_H

#include <pthread.h>
#include <sys/queue.h>

#include "sandbox.h"

#define GM_CLOSER_THREADS 8

/* Fds of one account that wait, from which on it is full. */
#define GM_CLOSER_FDS_MAX 64

/* Looks without an fd closed, while some wait, from which on it is stuck. */
#define GM_CLOSER_STUCK_LOOKS 3

struct gm_closer;

struct gm_closer_fd {
	int fd;
	STAILQ_ENTRY(gm_closer_fd) link;
};

STAILQ_HEAD(gm_closer_fds, gm_closer_fd);

/* May not move and stays until the closer has stopped. All of it is the closer's. */
struct gm_closer_account {
	struct gm_closer *closer;   /* NULL: fds are closed by whoever disposes of them */
	struct gm_closer_fds queue; /* not begun with */
	unsigned n_fds;		    /* and the one that is being closed */
	uint64_t n_closed;	    /* ever */
	bool busy;		    /* a thread closes one */
	uint64_t seen;		    /* n_closed at the last look */
	unsigned n_idle_looks;
	STAILQ_ENTRY(gm_closer_account) link; /* gm_closer::ready */
};

struct gm_closer {
	enum gm_sandbox_mode mode;
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_cond_t confined;
	STAILQ_HEAD(, gm_closer_account) ready; /* have fds and no thread */
	struct gm_closer_fds spent;		/* closed; freed by whoever comes next */
	bool stopping;
	int error; /* of a thread that could not be confined */
	unsigned n_confined;
	unsigned n_threads; /* 0: it does not run */
	pthread_t threads[GM_CLOSER_THREADS];
};

/*
 * Starts the threads and confines them: no capability, and a filter that lets them close and little
 * else. Before the caller confines itself. 0 or -errno, and none runs then.
 */
GM_WARN_UNUSED int gm_closer_start(struct gm_closer *closer, enum gm_sandbox_mode mode);

/*
 * Closes what waits and ends the threads; where one is stuck, that is left to the end of the
 * process. Idempotent.
 */
void gm_closer_stop(struct gm_closer *closer);

void gm_closer_open(struct gm_closer *closer, struct gm_closer_account *account);

/* Closes @fd soon, and never waits for it. Takes it. */
void gm_closer_dispose(struct gm_closer_account *account, int fd);

bool gm_closer_is_full(struct gm_closer_account *account);

/* Once a second or so. True, once, when the account has become stuck: *ret_n_fds wait. */
bool gm_closer_look(struct gm_closer_account *account, unsigned *ret_n_fds);

#endif
