/* SPDX-License-Identifier: Apache-2.0 */
#include "policies.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"
#include "policy_file.h"
#include "unit.h"
#include "unit_instances.h"

#define GM_HOST_UNIT "gmemd.service"

/* What the files say, before it is applied. */
struct reading {
	const struct gm_tenants *tenants;
	const struct gm_policies_machine *machine;
	bool has_tree;
	struct gm_unit_tree tree;
	struct gm_policy_view host;
	struct gm_policy_view views[GM_PARTIES_MAX]; /* in the order of the parties */
	char *fault;
};

/* ---- one unit ---- */

static int fault_in(char *ret_fault, const char *path, const struct gm_unit_fault *fault)
{
	snprintf(ret_fault, GM_TENANTS_FAULT_MAX, "%.300s:%u: %s: %s", path, fault->line,
		 fault->key, fault->reason);
	return -EINVAL;
}

static int apply_loaded(const struct gm_unit *unit, enum gm_conf_scope scope, uint64_t host_memory,
			struct gm_policy_view *view, char *ret_fault)
{
	const struct gm_unit_place place = { .name = &unit->name, .fragment = unit->fragment };
	_gm_free_ struct gm_conf_text *texts = calloc(unit->n_parts, sizeof(*texts));
	struct gm_unit_fault fault;
	size_t at = 0;
	int r;

	if (!texts)
		return -ENOMEM;
	for (size_t i = 0; i < unit->n_parts; i++)
		texts[i] = (struct gm_conf_text){ .path = unit->parts[i].path,
						  .text = unit->parts[i].text,
						  .length = unit->parts[i].length };
	r = gm_conf_apply(scope, texts, unit->n_parts, &place, host_memory, &view->policy,
			  &view->sources, &at, &fault);
	return r > 0 ? fault_in(ret_fault, texts[at].path, &fault) : r;
}

/* Nothing new is granted; what there is stays. */
static int shut_out(struct gm_policy_view *view, const char *why)
{
	static const char *const keys[] = { "MemoryMax", "RegionMax", "DomainsMax", "SessionsMax" };

	view->policy.memory_max = 0;
	view->policy.region_max = 0;
	view->policy.domains_max = 0;
	view->policy.sessions_max = 0;
	for (unsigned i = 0; i < gm_conf_n_keys(); i++) {
		const char *name = gm_conf_key_name(GM_CONF_TENANT, i);

		for (size_t j = 0; name && j < GM_ARRAY_SIZE(keys); j++) {
			if (strcmp(name, keys[j]) != 0)
				continue;
			free(view->sources.of[i]);
			view->sources.of[i] = strdup(why);
			if (!view->sources.of[i])
				return -ENOMEM;
		}
	}
	return 0;
}

static int apply_unit(const struct gm_unit_tree *tree, const char *id, enum gm_conf_scope scope,
		      uint64_t host_memory, struct gm_policy_view *view, char *ret_fault)
{
	struct gm_unit unit;
	char masked[GM_UNIT_SAID_MAX];
	int r = gm_unit_load(tree, id, &unit, ret_fault);

	if (r)
		return r;
	if (unit.state == GM_UNIT_LOADED) {
		r = apply_loaded(&unit, scope, host_memory, view, ret_fault);
	} else if (unit.state == GM_UNIT_MASKED && scope == GM_CONF_TENANT) {
		snprintf(masked, sizeof(masked), "%.500s: masked", unit.fragment);
		r = shut_out(view, masked);
	}
	gm_unit_done(&unit);
	return r;
}

/* ---- everybody ---- */

static int read_host(struct reading *reading)
{
	reading->host.policy = reading->machine->host;
	if (!reading->tenants->host_has_unit)
		return 0;
	return apply_unit(&reading->tree, GM_HOST_UNIT, GM_CONF_HOST, reading->machine->memory,
			  &reading->host, reading->fault);
}

static int read_unit(struct reading *reading, const struct gm_party *party,
		     struct gm_policy_view *view)
{
	char id[GM_UNIT_NAME_SIZE];

	gm_policy_defaults(&view->policy, reading->machine->memory);
	if (!party->has_unit)
		return 0;
	snprintf(id, sizeof(id), "gmemd@%s.socket", party->name);
	return apply_unit(&reading->tree, id, GM_CONF_TENANT, reading->machine->memory, view,
			  reading->fault);
}

/* First what holds for every tenant, then what holds for this one, each in order. */
static int read_files(struct reading *reading, const char *name, struct gm_policy_view *view)
{
	const struct gm_opts *opts = reading->tenants->opts;

	for (unsigned own = 0; own < 2; own++) {
		for (unsigned i = 0; i < opts->n_policies; i++) {
			const struct gm_opts_pair *pair = &opts->policies[i];
			int r;

			if (strcmp(pair->name, own ? name : "") != 0)
				continue;
			r = gm_policy_file_apply(pair->path, reading->machine->memory, view,
						 reading->fault);
			if (r)
				return r;
		}
	}
	return 0;
}

static int read_party(struct reading *reading, unsigned number, enum gm_policies_mode mode)
{
	const struct gm_party *party = &reading->tenants->parties[number];
	struct gm_policy_view *view = &reading->views[number];
	int r = read_unit(reading, party, view);

	if (r == -EINVAL && mode == GM_POLICIES_START) {
		gm_log(LOG_ERR, "%s", reading->fault);
		gm_log(LOG_ERR, "tenant %s is shut out until its policy can be read", party->name);
		r = shut_out(view, reading->fault);
	}
	return r ? r : read_files(reading, party->name, view);
}

/* Without the host's limits a host still has those of the machine. */
static int read_host_in(struct reading *reading, enum gm_policies_mode mode)
{
	int r = read_host(reading);

	if (r != -EINVAL || mode != GM_POLICIES_START)
		return r;
	gm_log(LOG_ERR, "%s", reading->fault);
	gm_log(LOG_ERR, "the host's limits are those of the machine until they can be read");
	return 0;
}

static bool needs_tree(const struct gm_tenants *tenants)
{
	bool needed = tenants->host_has_unit;

	for (unsigned i = 0; i < tenants->n_parties; i++)
		needed |= tenants->parties[i].has_unit;
	return needed;
}

static int open_tree(const char *root, struct gm_unit_tree *tree, char *ret_fault)
{
	int r = gm_unit_tree_open(root ? root : "/", tree);

	if (r)
		snprintf(ret_fault, GM_TENANTS_FAULT_MAX, "cannot read the folders of units: %s",
			 gm_strerror(-r));
	return r ? -EINVAL : 0;
}

static int reading_new(const struct gm_tenants *tenants, const struct gm_policies_machine *machine,
		       char *fault, struct reading **ret_reading)
{
	struct reading *reading = calloc(1, sizeof(*reading));
	int r = 0;

	*ret_reading = reading;
	if (!reading)
		return -ENOMEM;
	reading->tenants = tenants;
	reading->machine = machine;
	reading->fault = fault;
	if (needs_tree(tenants))
		r = open_tree(tenants->opts->unit_root, &reading->tree, fault);
	reading->has_tree = r == 0;
	return r;
}

static void reading_free(struct reading *reading)
{
	if (!reading)
		return;
	if (reading->has_tree)
		gm_unit_tree_done(&reading->tree);
	gm_conf_sources_done(&reading->host.sources);
	for (unsigned i = 0; i < GM_PARTIES_MAX; i++)
		gm_conf_sources_done(&reading->views[i].sources);
	free(reading);
}

static void swap_views(struct gm_policy_view *a, struct gm_policy_view *b)
{
	struct gm_policy_view view = *a;

	*a = *b;
	*b = view;
}

static void adopt(struct gm_tenants *tenants, struct reading *reading)
{
	swap_views(&tenants->host, &reading->host);
	for (unsigned i = 0; i < tenants->n_parties; i++)
		swap_views(&tenants->parties[i].view, &reading->views[i]);
}

/* -ENOMEM in words: whoever asked only knows faults. */
static int explain(int r, char *ret_fault)
{
	if (r == 0 || r == -EINVAL)
		return r;
	snprintf(ret_fault, GM_TENANTS_FAULT_MAX, "%s", gm_strerror(-r));
	return -EINVAL;
}

int gm_policies_read(struct gm_tenants *tenants, const struct gm_policies_machine *machine,
		     enum gm_policies_mode mode, char ret_fault[GM_TENANTS_FAULT_MAX])
{
	struct reading *reading = NULL;
	int r = reading_new(tenants, machine, ret_fault, &reading);

	if (r == 0)
		r = read_host_in(reading, mode);
	for (unsigned i = 0; i < tenants->n_parties && r == 0; i++)
		if (!tenants->parties[i].is_operator)
			r = read_party(reading, i, mode);
	if (r == 0)
		adopt(tenants, reading);
	reading_free(reading);
	return explain(r, ret_fault);
}

int gm_policies_check(const struct gm_tenants *tenants, const struct gm_policies_machine *machine,
		      const char *name, char ret_fault[GM_TENANTS_FAULT_MAX])
{
	struct reading *reading = NULL;
	bool found = name == NULL;
	int r = reading_new(tenants, machine, ret_fault, &reading);

	if (r == 0 && !name)
		r = read_host(reading);
	for (unsigned i = 0; i < tenants->n_parties && r == 0; i++) {
		const struct gm_party *party = &tenants->parties[i];

		if (party->is_operator || (name && strcmp(party->name, name) != 0))
			continue;
		found = true;
		r = read_party(reading, i, GM_POLICIES_RELOAD);
	}
	reading_free(reading);
	if (r == 0 && !found)
		return -ENOENT;
	return explain(r, ret_fault);
}

struct check {
	struct gm_unit_tree tree;
	const struct gm_policies_machine *machine;
	char *fault;
};

static int check_unit(void *arg, const char *id)
{
	const struct check *check = arg;
	bool is_host = strcmp(id, GM_HOST_UNIT) == 0;
	struct gm_policy_view view = { .policy = check->machine->host };
	int r;

	if (!is_host)
		gm_policy_defaults(&view.policy, check->machine->memory);
	r = apply_unit(&check->tree, id, is_host ? GM_CONF_HOST : GM_CONF_TENANT,
		       check->machine->memory, &view, check->fault);
	gm_conf_sources_done(&view.sources);
	return r;
}

int gm_policies_check_unit(const char *root, const char *id,
			   const struct gm_policies_machine *machine,
			   char ret_fault[GM_TENANTS_FAULT_MAX])
{
	struct check check = { .machine = machine, .fault = ret_fault };
	int r = open_tree(root, &check.tree, ret_fault);

	if (r)
		return r;
	r = check_unit(&check, id);
	gm_unit_tree_done(&check.tree);
	return explain(r, ret_fault);
}

int gm_policies_check_units(const char *root, const struct gm_policies_machine *machine,
			    char ret_fault[GM_TENANTS_FAULT_MAX])
{
	struct check check = { .machine = machine, .fault = ret_fault };
	int r = open_tree(root, &check.tree, ret_fault);

	if (r)
		return r;
	r = check_unit(&check, GM_HOST_UNIT);
	if (r == 0)
		r = gm_unit_instances(root ? root : "/", "gmemd", "socket", check_unit, &check);
	gm_unit_tree_done(&check.tree);
	return explain(r, ret_fault);
}

/* ---- the host ---- */

void gm_policies_of_machine(uint64_t memory, uint64_t n_fds, uint64_t workers,
			    struct gm_policies_machine *ret_machine)
{
	struct gm_policy *host = &ret_machine->host;

	ret_machine->memory = memory;
	gm_policy_defaults(host, memory);
	host->memory_max = memory;
	/* The pools' free pages are the limit, whatever the host adds to them. */
	host->huge_2m_max = GM_UNLIMITED;
	host->huge_1g_max = GM_UNLIMITED;
	host->sessions_max = n_fds / 8;
	host->jobs_max = n_fds / 8;
	host->memlock_max = memory;
	for (unsigned pool = 0; pool < GM_SLOT_POOLS; pool++)
		host->slots_max[pool] = GM_UNLIMITED;
	host->workers_max = workers;
}

uint32_t gm_policies_workers(const struct gm_tenants *tenants, uint32_t workers)
{
	uint64_t max = tenants->host.policy.workers_max;

	return max > 0 ? (uint32_t)gm_min_u64(max, workers) : workers;
}

void gm_policies_limit_host(const struct gm_tenants *tenants, uint32_t workers,
			    struct gm_account *host)
{
	const struct gm_policy *policy = &tenants->host.policy;

	gm_account_set_limit(host, GM_RES_MEMORY, policy->memory_max);
	gm_account_set_limit(host, GM_RES_HUGE_2M, policy->huge_2m_max);
	gm_account_set_limit(host, GM_RES_HUGE_1G, policy->huge_1g_max);
	gm_account_set_limit(host, GM_RES_SESSIONS, policy->sessions_max);
	gm_account_set_limit(host, GM_RES_JOBS, policy->jobs_max);
	gm_account_set_limit(host, GM_RES_MEMLOCK, policy->memlock_max);
	for (unsigned pool = 0; pool < GM_SLOT_POOLS; pool++)
		gm_account_set_limit(host, gm_slot_resource(pool), policy->slots_max[pool]);
	gm_account_set_limit(host, GM_RES_WORKERS, gm_policies_workers(tenants, workers));
}

/* ---- looking ---- */

int gm_policies_rows(const struct gm_policy_view *view, enum gm_conf_scope scope,
		     gm_policy_row_fn fn, void *arg)
{
	int r = 0;

	for (unsigned key = 0; key < gm_conf_n_keys() && r == 0; key++) {
		char value[GM_CONF_VALUE_MAX];
		const struct gm_policy_row row = {
			.key = gm_conf_key_name(scope, key),
			.value = value,
			.source = view->sources.of[key] ? view->sources.of[key] : "",
		};

		if (!row.key)
			continue;
		gm_conf_show(&view->policy, key, value);
		r = fn(arg, &row);
	}
	return r;
}
