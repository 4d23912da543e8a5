/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "conf_private.h"

#define FIELD(member) offsetof(struct gm_policy, member), sizeof(((struct gm_policy *)0)->member)

/* From @first up to, not with, @after. */
#define FIELDS(first, after)               \
	offsetof(struct gm_policy, first), \
		offsetof(struct gm_policy, after) - offsetof(struct gm_policy, first)

static const struct gm_conf_key keys[] = {
	{ "Kinds", GM_CONF_FOR_TENANT, &gm_conf_kinds, FIELDS(all_kinds, memory_max) },
	{ "MemoryMax", GM_CONF_FOR_BOTH, &gm_conf_size, FIELD(memory_max) },
	{ "RegionMax", GM_CONF_FOR_TENANT, &gm_conf_size, FIELD(region_max) },
	{ "RegionsMax", GM_CONF_FOR_TENANT, &gm_conf_count, FIELD(regions_max) },
	{ "DomainsMax", GM_CONF_FOR_TENANT, &gm_conf_count, FIELD(domains_max) },
	{ "SessionsMax", GM_CONF_FOR_BOTH, &gm_conf_count, FIELD(sessions_max) },
	{ "JobsMax", GM_CONF_FOR_BOTH, &gm_conf_count, FIELD(jobs_max) },
	{ "HugePages", GM_CONF_FOR_BOTH, &gm_conf_huge, FIELDS(huge_2m_max, numa_nodes) },
	{ "NUMANodes", GM_CONF_FOR_TENANT, &gm_conf_nodes, FIELD(numa_nodes) },
	{ "Persistent", GM_CONF_FOR_TENANT, &gm_conf_boolean, FIELD(persistent) },
	{ "PersistentTTL", GM_CONF_FOR_TENANT, &gm_conf_time, FIELD(persistent_ttl_ms) },
	{ "MemlockMax", GM_CONF_FOR_BOTH, &gm_conf_size, FIELD(memlock_max) },
	{ "SevSlots", GM_CONF_FOR_BOTH, &gm_conf_count, FIELD(slots_max[0]) },
	{ "SevEsSlots", GM_CONF_FOR_BOTH, &gm_conf_count, FIELD(slots_max[1]) },
	{ "TdxSlots", GM_CONF_FOR_BOTH, &gm_conf_count, FIELD(slots_max[2]) },
	{ "RequestsRate", GM_CONF_FOR_TENANT, &gm_conf_count, FIELD(requests_rate) },
	{ "AllocateRate", GM_CONF_FOR_TENANT, &gm_conf_size, FIELD(allocate_rate) },
	{ "WorkersMax", GM_CONF_FOR_BOTH, &gm_conf_count, FIELD(workers_max) },
	{ "SharedMax", GM_CONF_FOR_TENANT, &gm_conf_size, FIELD(shared_max) },
	{ "ConversionRate", GM_CONF_FOR_TENANT, &gm_conf_count, FIELD(conversion_rate) },
	{ "ConversionGranularity", GM_CONF_FOR_TENANT, &gm_conf_granule,
	  FIELD(conversion_granularity) },
	{ "ConvertInPlace", GM_CONF_FOR_TENANT, &gm_conf_boolean, FIELD(convert_in_place) },
	{ "DiscardMeasured", GM_CONF_FOR_TENANT, &gm_conf_boolean, FIELD(discard_measured) },
	{ "Preallocate", GM_CONF_FOR_TENANT, &gm_conf_boolean, FIELD(preallocate) },
	{ "MeasurementAllow", GM_CONF_FOR_TENANT, &gm_conf_measurements,
	  FIELDS(n_measurements, require_id_block) },
	{ "RequireIdBlock", GM_CONF_FOR_TENANT, &gm_conf_boolean, FIELD(require_id_block) },
	{ "LaunchPlans", GM_CONF_FOR_TENANT, &gm_conf_path, FIELD(launch_plans) },
};

_Static_assert(GM_ARRAY_SIZE(keys) <= GM_CONF_KEYS_MAX, "gm_conf_sources has a place for each");
_Static_assert(GM_CONF_KEYS_MAX <= 64, "gm_conf::assigned has a bit for each key");

static bool is_in(const struct gm_conf_key *key, enum gm_conf_scope scope)
{
	return key->scopes & 1U << scope;
}

static bool find_key(const char *name, unsigned *ret_key)
{
	for (unsigned i = 0; i < GM_ARRAY_SIZE(keys); i++) {
		if (strcmp(keys[i].name, name) == 0) {
			*ret_key = i;
			return true;
		}
	}
	return false;
}

bool gm_conf_is_assigned(const struct gm_conf *conf, unsigned key)
{
	return conf->assigned >> key & 1;
}

int gm_conf_assign(struct gm_conf *conf, const char *name, char *value, unsigned *ret_key,
		   struct gm_value_fault *why)
{
	const struct gm_conf_key *key;
	int r;

	if (!find_key(name, ret_key))
		return gm_value_bad(why, "unknown key in [" GM_CONF_SECTION "]");
	key = &keys[*ret_key];
	if (!is_in(key, conf->scope))
		return gm_value_bad(why, conf->scope == GM_CONF_HOST
						 ? "is for tenants, not for the host"
						 : "is for the host, not for a tenant");
	if (!*value) {
		memcpy((char *)&conf->policy + key->offset,
		       (const char *)conf->defaults + key->offset, key->size);
		conf->assigned &= ~(UINT64_C(1) << *ret_key);
		return 0;
	}
	r = key->type->assign(conf, key, !gm_conf_is_assigned(conf, *ret_key), value, why);
	if (r)
		return r;
	conf->assigned |= UINT64_C(1) << *ret_key;
	return 0;
}

void gm_conf_finish(struct gm_conf *conf)
{
	const struct gm_policy *defaults = conf->defaults;
	unsigned key = 0;

	if (find_key("RegionMax", &key) && !gm_conf_is_assigned(conf, key) &&
	    defaults->region_max == defaults->memory_max)
		conf->policy.region_max = conf->policy.memory_max;
}

unsigned gm_conf_n_keys(void)
{
	return GM_ARRAY_SIZE(keys);
}

const char *gm_conf_key_name(enum gm_conf_scope scope, unsigned key)
{
	return is_in(&keys[key], scope) ? keys[key].name : NULL;
}

void gm_conf_show(const struct gm_policy *policy, unsigned key, char ret_text[GM_CONF_VALUE_MAX])
{
	ret_text[0] = '\0';
	keys[key].type->show(policy, &keys[key], ret_text);
}
