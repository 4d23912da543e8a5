/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gmemd: the order of its stages, and what each failure means to whoever started it.
 */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon.h"
#include "exit_status.h"
#include "gm_fault.h"
#include "host.h"
#include "kept.h"
#include "policy_file.h"
#include "sandbox.h"
#include "slot.h"

/* fds of the daemon itself: the loop, the log, devices, carrier VMs, listening sockets. */
#define GM_FDS_OWN (64 + GM_DOORS_MAX)

#define GM_ADMIN_SESSIONS 16

/* For the callbacks that the spawner makes without an argument. */
static enum gm_sandbox_mode sandbox_mode;

static int confine_spawner(void)
{
	return gm_sandbox_spawner(sandbox_mode);
}

static int confine_worker(void)
{
	return gm_sandbox_worker(sandbox_mode);
}

static enum gm_exit failed(enum gm_exit status, const char *what, int error)
{
	gm_log(LOG_ERR, "%s: %s", what, gm_strerror(-error));
	return status;
}

/* ---- stages: each needs what those before it have done ---- */

static enum gm_exit find_sockets(struct gm_daemon *daemon)
{
	struct gm_inherited_fds inherited;
	char fault[GM_TENANTS_FAULT_MAX];
	int error = gm_inherited_take(&inherited);

	if (error)
		return failed(GM_EXIT_LISTEN, "cannot take over the inherited sockets", error);
	error = gm_tenants_collect(&daemon->tenants, &daemon->opts, inherited.sockets,
				   inherited.n_sockets, fault);
	if (error)
		gm_log(LOG_ERR, "%s", fault);
	else
		inherited.n_sockets = 0;
	gm_recording_take(&daemon->recording, &inherited);
	gm_inherited_done(&inherited);
	if (error == -EADDRNOTAVAIL)
		return GM_EXIT_LISTEN;
	return error ? GM_EXIT_USAGE : GM_EXIT_OK;
}

/*
 * fds to give away. Each job holds a copy of its region's fd, and an answer that waits for a slow
 * peer holds one too: an eighth is kept for each of them.
 */
static enum gm_exit count_fds(const struct gm_daemon *daemon, uint64_t *ret_n_fds)
{
	struct rlimit nofile;
	uint64_t n_fds;

	if (getrlimit(RLIMIT_NOFILE, &nofile) < 0)
		return failed(GM_EXIT_FAILURE, "cannot read the limit of open files", -errno);
	n_fds = gm_min_u64(nofile.rlim_cur, INT32_MAX);
	n_fds -= gm_min_u64(n_fds, GM_FDS_OWN + 2 * daemon->opts.workers);
	if (n_fds < 64)
		gm_log(LOG_WARNING, "only %ju open files are allowed: raise LimitNOFILE=",
		       (uintmax_t)nofile.rlim_cur);
	*ret_n_fds = n_fds;
	return GM_EXIT_OK;
}

/* As many as the kernel says; none where it has no such pool. */
static void count_slots(const char *cgroup_root, struct gm_policy *host)
{
	for (unsigned pool = 0; pool < GM_SLOT_POOLS; pool++) {
		uint64_t capacity, current;

		host->slots_max[pool] = 0;
		if (gm_slot_read(cgroup_root, pool, &capacity, &current) == 0)
			host->slots_max[pool] = capacity;
	}
}

static enum gm_exit read_policies(struct gm_daemon *daemon)
{
	char fault[GM_TENANTS_FAULT_MAX];
	uint64_t memory, available, n_fds = 0;
	int error = gm_host_memory(&memory, &available);
	enum gm_exit status;

	if (error)
		return failed(GM_EXIT_FAILURE, "cannot tell how much memory there is", error);
	status = count_fds(daemon, &n_fds);
	if (status != GM_EXIT_OK)
		return status;
	gm_policies_of_machine(memory, n_fds, daemon->opts.workers, &daemon->machine);
	count_slots(daemon->opts.cgroup_root, &daemon->machine.host);
	gm_account_set_limit(&daemon->book.host, GM_RES_FDS, n_fds / 4 * 3);
	if (gm_policies_read(&daemon->tenants, &daemon->machine, GM_POLICIES_START, fault) == 0)
		return GM_EXIT_OK;
	gm_log(LOG_ERR, "%s", fault);
	return GM_EXIT_POLICY;
}

static enum gm_exit open_books(struct gm_daemon *daemon)
{
	gm_policies_limit_host(&daemon->tenants, daemon->opts.workers, &daemon->book.host);
	gm_account_set_limit(&daemon->book.admin, GM_RES_SESSIONS, GM_ADMIN_SESSIONS);
	return gm_tenants_enter(&daemon->tenants, &daemon->book) == 0
		       ? GM_EXIT_OK
		       : failed(GM_EXIT_FAILURE, "cannot enter the tenants", -ENOMEM);
}

/* A host without control groups serves all the same: it charges nobody for anything. */
static enum gm_exit find_cgroups(struct gm_daemon *daemon)
{
	int error = gm_cgroups_find("", daemon->opts.cgroup_root, &daemon->cgroups);

	if (!error)
		error = gm_cgroup_place_of_self(&daemon->cgroups, &daemon->own_place);
	if (error)
		gm_log(LOG_WARNING, "own control groups cannot be told: %s", gm_strerror(-error));
	if (daemon->cgroups.n_roots == 0)
		daemon->cgroups.memory = daemon->cgroups.hugetlb = -1;
	if (daemon->cgroups.memory < 0 && daemon->opts.charge == GM_CHARGE_VMM)
		gm_log(LOG_WARNING, "this host has no memory controller: guests' memory is charged "
				    "to nobody");
	return GM_EXIT_OK;
}

static enum gm_exit start_spawner(struct gm_daemon *daemon)
{
	const struct gm_spawner_config config = { .cgroups = &daemon->cgroups,
						  .confine_spawner = confine_spawner,
						  .confine_worker = confine_worker };
	int error;

	if (daemon->opts.workers == 0)
		return GM_EXIT_OK;
	error = gm_spawner_start(&config, &daemon->spawner);
	return error ? failed(GM_EXIT_SANDBOX, "cannot start the spawner of workers", error)
		     : GM_EXIT_OK;
}

/* After the spawner: no worker ever has the record. */
static enum gm_exit open_record(struct gm_daemon *daemon)
{
	int error = gm_recording_open(&daemon->recording, &daemon->opts, &daemon->book);

	return error ? GM_EXIT_FAILURE : GM_EXIT_OK;
}

static enum gm_exit open_backends(struct gm_daemon *daemon)
{
	int error = gm_exec_init(&daemon->exec, &daemon->book);

	if (error)
		return failed(GM_EXIT_FAILURE, "cannot open the backends", error);
	daemon->has_exec = true;
	for (uint32_t i = 0; i < daemon->exec.n_backends; i++) {
		const struct gm_exec_backend *backend = &daemon->exec.backends[i];

		gm_log(LOG_INFO, "kind %s: %s: %s", backend->backend->kind,
		       backend->probe.usable ? "usable" : "not usable", backend->probe.reason);
	}
	return GM_EXIT_OK;
}

static enum gm_exit open_sockets(struct gm_daemon *daemon)
{
	char fault[GM_TENANTS_FAULT_MAX];

	if (gm_tenants_open(&daemon->tenants, fault) == 0)
		return GM_EXIT_OK;
	gm_log(LOG_ERR, "%s", fault);
	return GM_EXIT_LISTEN;
}

static enum gm_exit make_service(struct gm_daemon *daemon)
{
	int error = gm_daemon_prepare(daemon);

	if (!error)
		error = gm_daemon_restore(daemon);
	if (!error)
		error = gm_daemon_start(daemon);
	return error ? failed(GM_EXIT_FAILURE, "cannot set the service up", error) : GM_EXIT_OK;
}

/* Confines its threads itself, and so before the daemon is no longer allowed to. */
static enum gm_exit start_closer(struct gm_daemon *daemon)
{
	int error = gm_closer_start(&daemon->closer, daemon->opts.sandbox);

	if (error)
		return failed(GM_EXIT_SANDBOX, "cannot start the threads that close fds", error);
	for (unsigned i = 0; i < daemon->tenants.n_parties; i++)
		gm_closer_open(&daemon->closer, &daemon->tenants.parties[i].fds);
	return GM_EXIT_OK;
}

static enum gm_exit confine(struct gm_daemon *daemon)
{
	int error = gm_sandbox_daemon(daemon->opts.sandbox);

	return error ? failed(GM_EXIT_SANDBOX, "cannot set the sandbox up", error) : GM_EXIT_OK;
}

/*
 * The spawner starts before anything is open that workers must not have; the sandbox closes when
 * nothing is left to open. What start-up has used and freed goes back to the kernel.
 */
static enum gm_exit set_up(struct gm_daemon *daemon)
{
	static enum gm_exit (*const stages[])(struct gm_daemon *) = {
		find_sockets,  read_policies, open_books,    find_cgroups,
		start_spawner, open_record,   open_backends, open_sockets,
		start_closer,  make_service,  confine,
	};

	daemon->spawner = GM_SPAWNER_NULL;
	gm_book_init(&daemon->book);
	for (size_t i = 0; i < GM_ARRAY_SIZE(stages); i++) {
		enum gm_exit status = stages[i](daemon);

		if (status != GM_EXIT_OK)
			return status;
	}
	malloc_trim(0);
	return GM_EXIT_OK;
}

static void list_kinds(const struct gm_daemon *daemon, char *buffer, size_t size)
{
	size_t used = 0;

	buffer[0] = '\0';
	for (uint32_t i = 0; i < daemon->exec.n_backends; i++) {
		const struct gm_exec_backend *backend = &daemon->exec.backends[i];

		if (backend->probe.usable && used < size)
			used += (size_t)snprintf(buffer + used, size - used, " %s",
						 backend->backend->kind);
	}
}

static void list_restored(const struct gm_daemon *daemon, char *buffer, size_t size)
{
	const struct gm_restore *results = &daemon->recording.results;

	buffer[0] = '\0';
	if (daemon->recording.is_on && !daemon->recording.is_new)
		snprintf(buffer, size, "; restored %u domains, %u regions, %u quarantined",
			 results->n_domains, results->n_regions, results->n_quarantined);
}

static void say_ready(const struct gm_daemon *daemon)
{
	unsigned n_tenants = gm_tenants_count(&daemon->tenants);
	const char *plural = n_tenants == 1 ? "" : "s";
	char kinds[256], restored[128];

	list_kinds(daemon, kinds, sizeof(kinds));
	list_restored(daemon, restored, sizeof(restored));
	gm_notify_status("%u tenant%s, kinds%s%s", n_tenants, plural, kinds, restored);
	gm_notify_ready();
	gm_log(LOG_INFO, "ready: version " GMEMD_VERSION ", %u tenant%s, kinds%s", n_tenants,
	       plural, kinds);
}

static enum gm_exit serve(const struct gm_opts *opts)
{
	static struct gm_daemon daemon;
	enum gm_exit status;
	int error;

	daemon.opts = *opts;
	sandbox_mode = opts->sandbox;
	status = set_up(&daemon);
	if (status == GM_EXIT_OK) {
		GM_FAULT_POINT("start: before ready");
		say_ready(&daemon);
		error = gm_daemon_run(&daemon);
		/* A job that is stuck in the kernel still uses what would be freed now. */
		if (error == -EBUSY)
			return GM_EXIT_FAILURE;
		if (error)
			status = failed(GM_EXIT_FAILURE, "the event loop has failed", error);
	}
	if (gm_daemon_done(&daemon) && status == GM_EXIT_OK)
		status = GM_EXIT_FAILURE;
	if (status == GM_EXIT_OK)
		gm_log(LOG_INFO, "stopped");
	return status;
}

/* ---- the other actions ---- */

/* A path has a slash; the name of a unit has none and ends like one. */
static bool is_unit(const char *what)
{
	const char *dot = strrchr(what, '.');

	return !strchr(what, '/') && dot &&
	       (strcmp(dot, ".socket") == 0 || strcmp(dot, ".service") == 0);
}

static int check_file(const char *path, uint64_t memory, char *ret_fault)
{
	struct gm_policy_view view = { .sources = { .of = { NULL } } };
	int error;

	gm_policy_defaults(&view.policy, memory);
	error = gm_policy_file_apply(path, memory, &view, ret_fault);
	gm_conf_sources_done(&view.sources);
	return error;
}

static enum gm_exit check_policy(const struct gm_opts *opts)
{
	const char *what = opts->check_path;
	char fault[GM_TENANTS_FAULT_MAX];
	struct gm_policies_machine machine;
	uint64_t total, available;
	int error;

	if (gm_host_memory(&total, &available))
		return GM_EXIT_FAILURE;
	gm_policies_of_machine(total, GM_UNLIMITED, opts->workers, &machine);
	if (strcmp(what, "all") == 0)
		error = gm_policies_check_units(opts->unit_root, &machine, fault);
	else
		error = is_unit(what)
				? gm_policies_check_unit(opts->unit_root, what, &machine, fault)
				: check_file(what, total, fault);
	if (error) {
		fprintf(stderr, "%s\n", fault);
		return GM_EXIT_POLICY;
	}
	printf("%s: ok\n", what);
	return GM_EXIT_OK;
}

static enum gm_exit write_host(const struct gm_exec *exec)
{
	static unsigned char body[GM_BODY_MAX];
	size_t length = 0;
	int error = gm_service_pack_host(exec, body, &length);

	if (error)
		return failed(GM_EXIT_FAILURE, "cannot pack the answer", error);
	if (fwrite(body, 1, length, stdout) != length || fflush(stdout) != 0)
		return failed(GM_EXIT_FAILURE, "cannot write the answer", -errno);
	return GM_EXIT_OK;
}

static enum gm_exit probe(const struct gm_opts *opts)
{
	struct gm_book book;
	struct gm_exec exec;
	enum gm_exit status;
	int error;

	if (isatty(STDOUT_FILENO)) {
		fprintf(stderr, "gmemd: --probe writes a binary answer for programs: "
				"use \"gmemctl doctor\"\n");
		return GM_EXIT_USAGE;
	}
	gm_book_init(&book);
	error = gm_exec_init(&exec, &book);
	if (error)
		return failed(GM_EXIT_FAILURE, "cannot open the backends", error);
	exec.host_memory = gm_host_memory;
	exec.cgroup_root = opts->cgroup_root;
	status = write_host(&exec);
	gm_exec_done(&exec);
	gm_book_done(&book);
	return status;
}

static enum gm_exit act(int argc, char **argv, const struct gm_opts *opts)
{
	switch (opts->action) {
	case GM_OPTS_HELP:
		fputs(gm_opts_help, stdout);
		return GM_EXIT_OK;
	case GM_OPTS_VERSION:
		puts("gmemd " GMEMD_VERSION);
		return GM_EXIT_OK;
	case GM_OPTS_CHECK_POLICY:
		return check_policy(opts);
	case GM_OPTS_PROBE:
		return probe(opts);
	case GM_OPTS_SERVE:
		break;
	}
	return opts->keep ? gm_kept_serve(argc, argv, opts) : serve(opts);
}

int main(int argc, char **argv)
{
	static struct gm_opts opts;
	char fault[GM_OPTS_FAULT_MAX];
	int error = gm_sandbox_early();

	if (error) {
		fprintf(stderr, "gmemd: cannot clear up what was inherited: %s\n",
			gm_strerror(-error));
		return GM_EXIT_SANDBOX;
	}
	if (gm_opts_parse(argc, argv, &opts, fault)) {
		fprintf(stderr, "gmemd: %s\n", fault);
		return GM_EXIT_USAGE;
	}
	/* A log or a pipe that nobody reads any more is no reason to leave guests alone. */
	signal(SIGPIPE, SIG_IGN);
	gm_fault_open();
	gm_log_open(opts.log_level);
	return act(argc, argv, &opts);
}
