/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spawner: a process forked before gmemd drops its privileges, whose only work is to fork
 * workers. So gmemd's own filter needs no clone and no exec, and a worker inherits neither
 * gmemd's books nor any of its fds.
 *
 * It is single-threaded, holds one socket to gmemd, ends when that closes, reaps workers, and
 * reports how each ended. It and the workers ignore the signals by which a service is asked to
 * stop, which a service manager or a terminal sends to every process of gmemd: gmemd ends them.
 */
#ifndef GM_SPAWNER_H
#define GM_SPAWNER_H

#include <sys/types.h>

#include "cgroup.h"

struct gm_spawner_config {
	/* For workers with a place; NULL: nobody asks for one. Read in the spawner only. */
	const struct gm_cgroups *cgroups;
	/*
	 * Called in the spawner, and in each worker before it reads its first order; filters that
	 * they load hold for the threads of later jobs too. 0 or -errno; NULL: nothing to do.
	 */
	int (*confine_spawner)(void);
	int (*confine_worker)(void);
};

struct gm_spawner {
	int socket; /* -1: not running */
	pid_t pid;
};

#define GM_SPAWNER_NULL ((struct gm_spawner){ .socket = -1, .pid = 0 })

/*
 * Call while the process is single-threaded and before it holds anything that workers must not
 * see. Returns when the spawner is confined, or with what confine_spawner answered.
 */
GM_WARN_UNUSED int gm_spawner_start(const struct gm_spawner_config *config,
				    struct gm_spawner *ret_spawner);

/*
 * Asks for a worker; does not wait for it. *ret_channel is gmemd's end of its job socket
 * (non-blocking, owned by the caller): EOF on it means that the worker is gone. @tag comes back
 * in the reports. -EPIPE when the spawner is gone, -EAGAIN when its queue is full.
 *
 * With a @place the worker is in those control groups before it reads an order. One that cannot be
 * put there does not come up (its last report says why), or runs where the spawner is, as the place
 * says.
 */
GM_WARN_UNUSED int gm_spawner_request(struct gm_spawner *spawner, uint64_t tag,
				      const struct gm_cgroup_place *place, int *ret_channel);

/*
 * The same for a worker that has no memory of anybody's, and whose end nobody is to wait for: it is
 * a process group of its own.
 */
GM_WARN_UNUSED int gm_spawner_request_alone(struct gm_spawner *spawner, uint64_t tag,
					    const struct gm_cgroup_place *place, int *ret_channel);

/* Ends the worker @tag with SIGKILL; nothing happens if there is none. Errors as above. */
GM_WARN_UNUSED int gm_spawner_kill(struct gm_spawner *spawner, uint64_t tag);

struct gm_spawner_report {
	uint64_t tag;
	int32_t pid;	   /* 0: no process came up */
	int32_t born;	   /* 1: started; 0: ended, the last report of this tag */
	int32_t status;	   /* ended: wait status */
	int32_t error;	   /* ended without ever having run: -errno */
	int32_t displaced; /* -errno: it could not be put into its place; is it born all the same?
			    */
};

/* Non-blocking. 0, -EAGAIN, or -EPIPE when the spawner is gone. */
GM_WARN_UNUSED int gm_spawner_read(struct gm_spawner *spawner,
				   struct gm_spawner_report *ret_report);

/*
 * Closes the socket; the spawner and all workers end by themselves. Waits for the spawner, but not
 * for one that somebody has stopped: that one dies with this process.
 */
void gm_spawner_stop(struct gm_spawner *spawner);

#endif
