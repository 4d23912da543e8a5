/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>

#include "bridge.h"
#include "gm_fault.h"
#include "host.h"
#include "report.h"

/* How long jobs under way may go on once the daemon is asked to stop. */
#define GM_DRAIN_MS 5000

/*
 * A cancelled job lets go within one step of its worker; one that does not is given up after
 * GM_CREW_PATIENCE_MS. Longer than that.
 */
#define GM_CLOSE_MS 3000

/* How often a stopping daemon looks whether its jobs have ended. */
#define GM_STOP_POLL_MS 20

#define GM_EXPIRY_MS 1000

/* A worker without a job is kept this long. */
#define GM_WORKER_IDLE_MS 10000

static struct gm_loop_ref loop_of(const struct gm_daemon *daemon)
{
	return gm_event_loop_ref(daemon->loop);
}

static uint64_t now_ms(const struct gm_daemon *daemon)
{
	struct gm_loop_ref loop = loop_of(daemon);

	return loop.ops->now_ms(loop.loop);
}

static void set_timer(const struct gm_daemon *daemon, struct gm_watch *timer, uint64_t ms)
{
	loop_of(daemon).ops->timer_set(timer, ms);
}

/* ---- what the service asks about policies ---- */

static int policy_rows(void *arg, const struct gm_tenant *tenant, gm_policy_row_fn fn, void *fn_arg)
{
	struct gm_daemon *daemon = arg;
	const struct gm_party *party = tenant ? gm_tenants_find(&daemon->tenants, tenant) : NULL;

	/* One without a socket is in the books for what it has, under the defaults. */
	if (tenant && !party)
		return 0;
	return gm_policies_rows(party ? &party->view : &daemon->tenants.host,
				party ? GM_CONF_TENANT : GM_CONF_HOST, fn, fn_arg);
}

static int policy_check(void *arg, const struct gm_tenant *tenant,
			char ret_said[GM_POLICY_SAID_MAX])
{
	const struct gm_daemon *daemon = arg;

	_Static_assert(GM_POLICY_SAID_MAX >= GM_TENANTS_FAULT_MAX, "a fault fits");
	return gm_policies_check(&daemon->tenants, &daemon->machine, tenant ? tenant->name : NULL,
				 ret_said);
}

static const struct gm_policies_ops gm_policies_ops = { .rows = policy_rows,
							.check = policy_check };

/* ---- fds that peers have passed ---- */

static struct gm_closer_account *fds_of(struct gm_daemon *daemon, const struct gm_tenant *tenant)
{
	struct gm_party *party = gm_tenants_find(&daemon->tenants, tenant);

	/* Whoever has no socket, and so cannot have passed one, shares with the first. */
	return party ? &party->fds : &daemon->tenants.parties[0].fds;
}

static void close_stranger(void *arg, const struct gm_tenant *tenant, int fd)
{
	gm_closer_dispose(fds_of(arg, tenant), fd);
}

static void check_closer(struct gm_daemon *daemon)
{
	for (unsigned i = 0; i < daemon->tenants.n_parties; i++) {
		struct gm_party *party = &daemon->tenants.parties[i];
		unsigned n_fds;

		if (gm_closer_look(&party->fds, &n_fds))
			gm_log(LOG_WARNING,
			       "tenant %s has passed files that gmemd cannot close: %u wait; from "
			       "%d on nobody of it can connect",
			       party->name, n_fds, GM_CLOSER_FDS_MAX);
	}
}

static void check_stuck(struct gm_daemon *daemon)
{
	for (unsigned i = 0; i < daemon->tenants.n_parties; i++) {
		struct gm_party *party = &daemon->tenants.parties[i];
		uint32_t n = party->tenant ? gm_exec_stuck_workers(party->tenant) : 0;

		if (n > party->n_stuck)
			gm_log(LOG_WARNING,
			       "tenant %s: %" PRIu32 " worker processes do not end: a file that it "
			       "has passed keeps them; they take their places until it lets go",
			       party->name, n);
		party->n_stuck = n;
	}
}

static int make_service(struct gm_daemon *daemon)
{
	struct gm_service_env env = {
		.loop = loop_of(daemon),
		.random = gm_host_random,
		.now_us = gm_host_now_us,
		.rss_bytes = gm_host_rss_bytes,
		.log = gm_report_news,
	};

	env.policies = &gm_policies_ops;
	env.policies_arg = daemon;
	if (daemon->recording.is_on) {
		env.recorder.ops = &gm_record_recorder_ops;
		env.recorder.arg = &daemon->recording.record;
		daemon->exec.keep_ops = &gm_record_keep_ops;
		daemon->exec.keep_arg = &daemon->recording.record;
	}
	return gm_service_new(&daemon->book, &daemon->exec, &env, &daemon->service);
}

static uint32_t count_workers(const struct gm_daemon *daemon)
{
	return gm_policies_workers(&daemon->tenants, daemon->opts.workers);
}

int gm_daemon_prepare(struct gm_daemon *daemon)
{
	int error = gm_event_loop_new(&daemon->loop);

	if (error)
		return error;
	gm_report_open(&daemon->tenants, loop_of(daemon));
	if (daemon->opts.workers > 0) {
		error = gm_crew_hub_new(loop_of(daemon), &daemon->spawner, count_workers(daemon),
					GM_WORKER_IDLE_MS, &daemon->hub);
		if (error)
			return error;
	}
	daemon->exec.hub = daemon->hub;
	daemon->exec.loop = loop_of(daemon);
	daemon->exec.host_memory = gm_host_memory;
	daemon->exec.close_stranger = close_stranger;
	daemon->exec.close_stranger_arg = daemon;
	daemon->exec.cgroup_root = daemon->opts.cgroup_root;
	daemon->exec.charging = (struct gm_exec_charging){
		.mode = daemon->opts.charge,
		.cgroups = &daemon->cgroups,
		.own = daemon->own_place,
	};
	return make_service(daemon);
}

int gm_daemon_restore(struct gm_daemon *daemon)
{
	return gm_recording_restore(&daemon->recording, &daemon->exec, daemon->service,
				    loop_of(daemon), daemon->machine.memory);
}

/* ---- timers ---- */

static void check_workers(struct gm_daemon *daemon)
{
	if (daemon->workers_lost || !daemon->hub || !gm_crew_hub_is_broken(daemon->hub))
		return;
	daemon->workers_lost = true;
	gm_log(LOG_ERR, "the spawner of workers has ended: memory can be neither allocated ahead "
			"nor discarded until gmemd is started again");
}

/* With --charge=auto only: else the job is refused, and the client told. */
static void check_charging(struct gm_daemon *daemon)
{
	int error = daemon->exec.charging.fallback;

	if (error == 0 && daemon->hub)
		error = gm_crew_hub_displaced(daemon->hub);
	if (error == 0 || daemon->uncharged)
		return;
	daemon->uncharged = true;
	gm_log(LOG_WARNING,
	       "memory of guests is charged to gmemd's own control group, not to that of the VMM "
	       "that asked: %s",
	       gm_strerror(-error));
}

static void on_expiry(void *arg)
{
	struct gm_daemon *daemon = arg;

	check_workers(daemon);
	gm_report_held_back();
	check_charging(daemon);
	check_closer(daemon);
	check_stuck(daemon);
	gm_service_expire(daemon->service);
	set_timer(daemon, daemon->expiry, GM_EXPIRY_MS);
}

static void on_watchdog(void *arg)
{
	struct gm_daemon *daemon = arg;

	gm_notify_watchdog();
	set_timer(daemon, daemon->watchdog, gm_watchdog_interval_ms());
}

/* ---- stopping ---- */

static void close_all(struct gm_daemon *daemon)
{
	daemon->phase = GM_DAEMON_CLOSING;
	daemon->phase_end_ms = now_ms(daemon) + GM_CLOSE_MS;
	GM_FAULT_POINT("stop: drained");
	/* With a record, what ends here is there again with the next daemon. */
	gm_service_stop_recording(daemon->service);
	gm_recording_stop(&daemon->recording);
	GM_FAULT_POINT("stop: recorded");
	gm_tenants_close(&daemon->tenants);
	gm_service_end_all(daemon->service);
}

static void on_stopping(void *arg)
{
	struct gm_daemon *daemon = arg;
	uint32_t n_jobs = gm_service_jobs(daemon->service);
	bool is_over = n_jobs == 0 || now_ms(daemon) >= daemon->phase_end_ms;

	if (daemon->phase == GM_DAEMON_DRAINING && is_over) {
		if (n_jobs > 0)
			gm_log(LOG_WARNING, "jobs cancelled because they did not end: %" PRIu32,
			       n_jobs);
		close_all(daemon);
		n_jobs = gm_service_jobs(daemon->service);
		is_over = n_jobs == 0;
	}
	if (daemon->phase == GM_DAEMON_CLOSING && is_over) {
		daemon->clean = n_jobs == 0;
		gm_event_loop_stop(daemon->loop);
		return;
	}
	set_timer(daemon, daemon->stopping, GM_STOP_POLL_MS);
}

static void on_stop_signal(void *arg)
{
	struct gm_daemon *daemon = arg;

	if (daemon->phase == GM_DAEMON_SERVING) {
		gm_notify_stopping();
		gm_log(LOG_INFO, "stopping; jobs under way: %" PRIu32,
		       gm_service_jobs(daemon->service));
		daemon->phase = GM_DAEMON_DRAINING;
		daemon->phase_end_ms = now_ms(daemon) + GM_DRAIN_MS;
		gm_tenants_pause(&daemon->tenants);
		gm_service_drain(daemon->service, GM_DRAIN_MS);
	} else {
		daemon->phase_end_ms = 0;
	}
	set_timer(daemon, daemon->stopping, 0);
}

/* ---- reloading ---- */

static void tell_reload(struct gm_daemon *daemon, int result, const char *text)
{
	const struct gm_news news = {
		.kind = GM_NEWS_RELOAD, .pidfd = -1, .result = result, .text = text
	};

	gm_service_tell(daemon->service, &news);
}

static void on_reload_signal(void *arg)
{
	struct gm_daemon *daemon = arg;
	char fault[GM_TENANTS_FAULT_MAX];

	if (gm_policies_read(&daemon->tenants, &daemon->machine, GM_POLICIES_RELOAD, fault)) {
		tell_reload(daemon, -EINVAL, fault);
		gm_log(LOG_ERR, "the policies stay as they were");
		gm_notify_status("the policies stay as they were: %s", fault);
		return;
	}
	gm_policies_limit_host(&daemon->tenants, daemon->opts.workers, &daemon->book.host);
	if (daemon->hub)
		gm_crew_hub_set_places(daemon->hub, count_workers(daemon));
	if (gm_tenants_enter(&daemon->tenants, &daemon->book) == 0) {
		tell_reload(daemon, 0, "policies read again");
		gm_notify_status("%u tenants, policies read again",
				 gm_tenants_count(&daemon->tenants));
	}
	gm_service_settle(daemon->service);
}

/* ---- running ---- */

static int watch_signals(struct gm_daemon *daemon)
{
	static const struct {
		int signo;
		gm_watch_fn fn;
	} handled[] = {
		{ SIGTERM, on_stop_signal },
		{ SIGINT, on_stop_signal },
		{ SIGHUP, on_reload_signal },
	};

	_Static_assert(GM_ARRAY_SIZE(handled) == GM_ARRAY_SIZE(daemon->signals), "one each");
	for (size_t i = 0; i < GM_ARRAY_SIZE(handled); i++) {
		int error = gm_event_loop_signal(daemon->loop, handled[i].signo, handled[i].fn,
						 daemon, &daemon->signals[i]);

		if (error)
			return error;
	}
	return 0;
}

static int start_timers(struct gm_daemon *daemon)
{
	struct gm_loop_ref loop = loop_of(daemon);
	int error;

	error = loop.ops->timer_new(loop.loop, on_expiry, daemon, &daemon->expiry);
	if (!error)
		error = loop.ops->timer_new(loop.loop, on_watchdog, daemon, &daemon->watchdog);
	if (!error)
		error = loop.ops->timer_new(loop.loop, on_stopping, daemon, &daemon->stopping);
	if (error)
		return error;
	set_timer(daemon, daemon->expiry, GM_EXPIRY_MS);
	if (gm_watchdog_interval_ms() > 0)
		set_timer(daemon, daemon->watchdog, gm_watchdog_interval_ms());
	return 0;
}

int gm_daemon_start(struct gm_daemon *daemon)
{
	int error = watch_signals(daemon);

	if (!error)
		error = start_timers(daemon);
	if (!error)
		error = gm_tenants_serve(&daemon->tenants, daemon->loop, &gm_bridge_ops,
					 daemon->service);
	return error;
}

int gm_daemon_run(struct gm_daemon *daemon)
{
	int error = gm_event_loop_run(daemon->loop);

	if (!error && !daemon->clean) {
		gm_log(LOG_ERR, "jobs that did not let go of their memory: %" PRIu32,
		       gm_service_jobs(daemon->service));
		error = -EBUSY;
	}
	return error;
}

/* ---- the end ---- */

static void free_watches(struct gm_daemon *daemon)
{
	const struct gm_loop_ops *ops = loop_of(daemon).ops;

	for (size_t i = 0; i < GM_ARRAY_SIZE(daemon->signals); i++)
		ops->watch_free(daemon->signals[i]);
	ops->watch_free(daemon->expiry);
	ops->watch_free(daemon->watchdog);
	ops->watch_free(daemon->stopping);
}

static int close_books(struct gm_daemon *daemon)
{
	bool is_zero = gm_account_is_zero(&daemon->book.host);

	if (!is_zero)
		gm_log(LOG_ERR, "the ledger is not zero at the end: something was not given back");
	else
		gm_book_done(&daemon->book);
	return is_zero ? 0 : -ENOTEMPTY;
}

int gm_daemon_done(struct gm_daemon *daemon)
{
	int error = 0;

	gm_tenants_close(&daemon->tenants);
	if (daemon->loop)
		free_watches(daemon);
	gm_recording_done(&daemon->recording);
	gm_service_free(daemon->service);
	gm_crew_hub_free(daemon->hub);
	if (daemon->has_exec)
		gm_exec_done(&daemon->exec);
	error = close_books(daemon);
	gm_report_close();
	gm_event_loop_free(daemon->loop);
	gm_closer_stop(&daemon->closer);
	gm_spawner_stop(&daemon->spawner);
	gm_cgroup_place_drop(daemon->own_place);
	return error;
}
