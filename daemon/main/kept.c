/* SPDX-License-Identifier: Apache-2.0 */
#include "kept.h"

#include <errno.h>

#include "gm_cleanup.h"
#include "keep.h"
#include "tenants.h"

/* Started again, it would end the same way; or it was asked to end. */
#define FINAL_STATUSES (1U << GM_EXIT_OK | 1U << GM_EXIT_USAGE | 1U << GM_EXIT_POLICY)

static enum gm_exit open_sockets(struct gm_tenants *tenants, const struct gm_opts *opts)
{
	struct gm_inherited_fds inherited;
	char fault[GM_TENANTS_FAULT_MAX];
	int error = gm_inherited_take(&inherited);

	if (error) {
		gm_log(LOG_ERR, "cannot take over the inherited sockets: %s", gm_strerror(-error));
		return GM_EXIT_LISTEN;
	}
	if (inherited.n_stored > 0)
		gm_log(LOG_WARNING,
		       "stored fds that a service manager has passed on are left to it: %zu; its "
		       "store is for a gmemd without --keep",
		       inherited.n_stored);
	error = gm_tenants_collect(tenants, opts, inherited.sockets, inherited.n_sockets, fault);
	if (!error)
		inherited.n_sockets = 0;
	gm_inherited_done(&inherited);
	if (error) {
		gm_log(LOG_ERR, "%s", fault);
		return error == -EADDRNOTAVAIL ? GM_EXIT_LISTEN : GM_EXIT_USAGE;
	}
	if (gm_tenants_open(tenants, fault)) {
		gm_log(LOG_ERR, "%s", fault);
		return GM_EXIT_LISTEN;
	}
	return GM_EXIT_OK;
}

static enum gm_exit keep(const struct gm_tenants *tenants, char **argv, const struct gm_opts *opts)
{
	static struct gm_keep_socket sockets[GM_DOORS_MAX];
	const struct gm_keep_config config = { .argv = argv,
					       .sockets = sockets,
					       .n_sockets = tenants->n_doors,
					       .final_statuses = FINAL_STATUSES,
					       .watchdog_ms = opts->watchdog_ms,
					       .restart_max_ms = opts->restart_max_ms };
	int status;

	for (unsigned i = 0; i < tenants->n_doors; i++)
		sockets[i] = (struct gm_keep_socket){ .name = tenants->doors[i].party->name,
						      .fd = tenants->doors[i].fd };
	status = gm_keep_run(&config);
	if (status < 0) {
		gm_log(LOG_ERR, "keeper: cannot keep gmemd: %s", gm_strerror(-status));
		return GM_EXIT_FAILURE;
	}
	return (enum gm_exit)status;
}

enum gm_exit gm_kept_serve(int argc, char **argv, const struct gm_opts *opts)
{
	static struct gm_tenants tenants;
	_gm_free_ char **kept_argv = calloc((size_t)argc + 1, sizeof(*kept_argv));
	enum gm_exit status = GM_EXIT_FAILURE;

	if (!kept_argv)
		return status;
	gm_opts_for_kept(argc, argv, kept_argv);
	status = open_sockets(&tenants, opts);
	if (status == GM_EXIT_OK)
		status = keep(&tenants, kept_argv, opts);
	gm_tenants_close(&tenants);
	return status;
}
