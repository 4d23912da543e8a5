/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const struct {
	const char *name;
	enum gm_rule rule;
} resources[] = {
	[GM_RES_MEMORY] = { "memory", GM_RULE_MEMORY_MAX },
	[GM_RES_HUGE_2M] = { "hugepages-2M", GM_RULE_HUGE_PAGES },
	[GM_RES_HUGE_1G] = { "hugepages-1G", GM_RULE_HUGE_PAGES },
	[GM_RES_REGIONS] = { "regions", GM_RULE_REGIONS_MAX },
	[GM_RES_DOMAINS] = { "domains", GM_RULE_DOMAINS_MAX },
	[GM_RES_SESSIONS] = { "sessions", GM_RULE_SESSIONS_MAX },
	[GM_RES_FDS] = { "fds", GM_RULE_FDS_MAX },
	[GM_RES_JOBS] = { "jobs", GM_RULE_JOBS_MAX },
	[GM_RES_MEMLOCK] = { "memlock", GM_RULE_MEMLOCK_MAX },
	[GM_RES_SLOT_0] = { "slots-0", GM_RULE_SLOTS },
	[GM_RES_SLOT_1] = { "slots-1", GM_RULE_SLOTS },
	[GM_RES_SLOT_2] = { "slots-2", GM_RULE_SLOTS },
	/* Who is over it waits: nothing is refused. */
	[GM_RES_WORKERS] = { "workers", GM_RULE_NONE },
};
static_assert(GM_ARRAY_SIZE(resources) == GM_RESOURCE_N_, "a row for every resource");

const char *gm_resource_name(enum gm_resource resource)
{
	return (unsigned)resource < GM_RESOURCE_N_ ? resources[resource].name : "unknown";
}

enum gm_rule gm_resource_rule(enum gm_resource resource)
{
	return (unsigned)resource < GM_RESOURCE_N_ ? resources[resource].rule : GM_RULE_NONE;
}

void gm_account_init(struct gm_account *account, const char *name, struct gm_account *parent)
{
	size_t length = strnlen(name, sizeof(account->name) - 1);

	*account = (struct gm_account){ .parent = parent };
	memcpy(account->name, name, length);
	for (unsigned i = 0; i < GM_RESOURCE_N_; i++)
		account->limits[i] = GM_UNLIMITED;
}

void gm_account_set_limit(struct gm_account *account, enum gm_resource resource, uint64_t limit)
{
	account->limits[resource] = limit;
}

bool gm_account_is_zero(const struct gm_account *account)
{
	for (unsigned i = 0; i < GM_RESOURCE_N_; i++)
		if (account->used[i] != 0)
			return false;
	return true;
}

/* GM_UNLIMITED is the largest number there is: without a limit, use still cannot wrap. */
static bool has_room(const struct gm_account *account, enum gm_resource resource, uint64_t amount)
{
	uint64_t sum;

	return amount == 0 || (!gm_add_overflows(account->used[resource], amount, &sum) &&
			       sum <= account->limits[resource]);
}

int gm_charge_take(struct gm_charge *charge, struct gm_account *account, enum gm_resource resource,
		   uint64_t amount, struct gm_refusal *refusal)
{
	struct gm_account *at;

	assert(!charge->account && (unsigned)resource < GM_RESOURCE_N_);
	for (at = account; at; at = at->parent)
		if (!has_room(at, resource, amount))
			return gm_refuse_numbers(refusal, GM_OVER_LIMIT, gm_resource_rule(resource),
						 at->name, at->limits[resource], at->used[resource],
						 amount);
	for (at = account; at; at = at->parent)
		at->used[resource] += amount;
	*charge = (struct gm_charge){ .account = account, .resource = resource, .amount = amount };
	return 0;
}

int gm_charge_force(struct gm_charge *charge, struct gm_account *account, enum gm_resource resource,
		    uint64_t amount)
{
	struct gm_account *at;
	uint64_t sum;

	assert(!charge->account && (unsigned)resource < GM_RESOURCE_N_);
	for (at = account; at; at = at->parent)
		if (gm_add_overflows(at->used[resource], amount, &sum))
			return -EOVERFLOW;
	for (at = account; at; at = at->parent)
		at->used[resource] += amount;
	*charge = (struct gm_charge){ .account = account, .resource = resource, .amount = amount };
	return 0;
}

void gm_charge_done(struct gm_charge *charge)
{
	for (struct gm_account *at = charge->account; at; at = at->parent) {
		assert(at->used[charge->resource] >= charge->amount);
		at->used[charge->resource] -= charge->amount;
	}
	*charge = (struct gm_charge){ 0 };
}
