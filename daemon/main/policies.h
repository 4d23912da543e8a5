/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policies of the host and of every tenant, as their files stand: units first, then what
 * --policy names, each over what comes before it.
 *
 * A tenant whose socket came from the service manager has the unit gmemd@NAME.socket, the host
 * then gmemd.service; with --unit-root everybody has. Without a unit there are the defaults.
 */
#ifndef GM_POLICIES_H
#define GM_POLICIES_H

#include "policies_view.h"
#include "tenants.h"

/* What the machine and the options allow: the host's policy where its unit says nothing. */
struct gm_policies_machine {
	uint64_t memory; /* bytes of RAM: what percentages are of */
	struct gm_policy host;
};

enum gm_policies_mode {
	/* A fault anywhere, and nothing is applied. */
	GM_POLICIES_RELOAD,
	/*
	 * Nobody has an older policy yet: a tenant whose unit has a fault is shut out, and the
	 * others are served. A fault in the host's unit leaves it the machine's limits.
	 */
	GM_POLICIES_START,
};

/*
 * Reads all files and applies what they say to @tenants; the books come afterwards
 * (gm_policies_enter). Faults are logged in GM_POLICIES_START. 0, or -EINVAL and @ret_fault, with
 * @tenants untouched.
 */
GM_WARN_UNUSED int gm_policies_read(struct gm_tenants *tenants,
				    const struct gm_policies_machine *machine,
				    enum gm_policies_mode mode,
				    char ret_fault[GM_TENANTS_FAULT_MAX]);

/*
 * Looks for a fault as a reload would, and applies nothing. @name: one tenant's files only; NULL:
 * everybody's and the host's. 0; -EINVAL and @ret_fault; -ENOENT: there is no such tenant.
 */
GM_WARN_UNUSED int gm_policies_check(const struct gm_tenants *tenants,
				     const struct gm_policies_machine *machine, const char *name,
				     char ret_fault[GM_TENANTS_FAULT_MAX]);

/* The same for one unit, gmemd.service or gmemd@NAME.socket, without a daemon. 0 or -EINVAL. */
GM_WARN_UNUSED int gm_policies_check_unit(const char *root, const char *id,
					  const struct gm_policies_machine *machine,
					  char ret_fault[GM_TENANTS_FAULT_MAX]);

/* The same for gmemd.service and every tenant that the folders of units know of. */
GM_WARN_UNUSED int gm_policies_check_units(const char *root,
					   const struct gm_policies_machine *machine,
					   char ret_fault[GM_TENANTS_FAULT_MAX]);

/* Calls @fn for every key of the view, in the order of the keys. 0 or what @fn returned. */
GM_WARN_UNUSED int gm_policies_rows(const struct gm_policy_view *view, enum gm_conf_scope scope,
				    gm_policy_row_fn fn, void *arg);

/* Workers that the host's policy allows, of the @workers that the command line does. */
uint32_t gm_policies_workers(const struct gm_tenants *tenants, uint32_t workers);

/* The host's limits in the books are those of its policy, and of @workers of the command line. */
void gm_policies_limit_host(const struct gm_tenants *tenants, uint32_t workers,
			    struct gm_account *host);

/* The machine's own: @n_fds is how many fds there are to give away. */
void gm_policies_of_machine(uint64_t memory, uint64_t n_fds, uint64_t workers,
			    struct gm_policies_machine *ret_machine);

#endif
