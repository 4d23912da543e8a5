/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The running daemon: its timers, its signals, and how it stops.
 */
#ifndef GM_DAEMON_H
#define GM_DAEMON_H

#include "closer.h"
#include "crew.h"
#include "exec.h"
#include "policies.h"
#include "recording.h"
#include "service.h"
#include "spawner.h"
#include "tenants.h"

enum gm_daemon_phase {
	GM_DAEMON_SERVING,
	GM_DAEMON_DRAINING, /* no new objects; jobs under way may end */
	/*
	 * All connections closed; all domains ended, if only here where they are recorded for the
	 * next daemon; cancelled jobs let go.
	 */
	GM_DAEMON_CLOSING,
};

struct gm_daemon {
	struct gm_opts opts;
	struct gm_policies_machine machine;
	struct gm_tenants tenants;
	struct gm_book book;
	struct gm_cgroups cgroups;
	struct gm_cgroup_place *own_place; /* NULL: not known */
	struct gm_spawner spawner;
	struct gm_exec exec;
	bool has_exec;
	struct gm_event_loop *loop;
	struct gm_crew_hub *hub;
	struct gm_service *service;
	struct gm_recording recording;
	struct gm_closer closer;

	enum gm_daemon_phase phase;
	uint64_t phase_end_ms;
	bool workers_lost; /* has been said */
	bool uncharged;	   /* has been said */
	bool clean;	   /* every job has let go: the books may be closed */
	struct gm_watch *signals[3];
	struct gm_watch *expiry;
	struct gm_watch *watchdog;
	struct gm_watch *stopping;
};

/* Makes the loop, the hub of workers and the service; nobody is served yet. 0 or -errno. */
GM_WARN_UNUSED int gm_daemon_prepare(struct gm_daemon *daemon);

/* What an earlier daemon has left is there again. 0 or -errno. */
GM_WARN_UNUSED int gm_daemon_restore(struct gm_daemon *daemon);

/* Handles signals, starts timers and lets connections in (they are served by gm_daemon_run). */
GM_WARN_UNUSED int gm_daemon_start(struct gm_daemon *daemon);

/* Serves until told to stop and stopped. 0; -EBUSY when a job did not end; or -errno. */
GM_WARN_UNUSED int gm_daemon_run(struct gm_daemon *daemon);

/* Takes everything down, however far it came; not after -EBUSY. 0, or -ENOTEMPTY when the books
 * were not empty. */
int gm_daemon_done(struct gm_daemon *daemon);

#endif
