/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "conf_private.h"

struct key {
	const char *name;
	/* @first: the key has no value from this text yet, a list starts anew. */
	int (*assign)(struct gm_conf *conf, const struct key *key, bool first, char *value,
		      struct gm_value_fault *why);
	size_t offset; /* of the field in struct gm_policy */
	size_t size;   /* of the field, or of all fields of a list */
};

static uint64_t *number_field(struct gm_conf *conf, const struct key *key)
{
	return (uint64_t *)(void *)((char *)&conf->policy + key->offset);
}

static int assign_size(struct gm_conf *conf, const struct key *key, bool first, char *value,
		       struct gm_value_fault *why)
{
	(void)first;
	return gm_value_size(value, conf->host_memory, number_field(conf, key), why);
}

static int assign_count(struct gm_conf *conf, const struct key *key, bool first, char *value,
			struct gm_value_fault *why)
{
	(void)first;
	return gm_value_count(value, number_field(conf, key), why);
}

static int assign_time(struct gm_conf *conf, const struct key *key, bool first, char *value,
		       struct gm_value_fault *why)
{
	(void)first;
	return gm_value_time(value, number_field(conf, key), why);
}

static int assign_boolean(struct gm_conf *conf, const struct key *key, bool first, char *value,
			  struct gm_value_fault *why)
{
	(void)first;
	return gm_value_boolean(value, (bool *)((char *)&conf->policy + key->offset), why);
}

static int assign_nodes(struct gm_conf *conf, const struct key *key, bool first, char *value,
			struct gm_value_fault *why)
{
	uint64_t *field = number_field(conf, key);
	uint64_t nodes;
	int r;

	r = gm_value_nodes(value, &nodes, why);
	if (r)
		return r;
	*field = first ? nodes : *field | nodes;
	return 0;
}

static int add_kind(struct gm_policy *policy, const char *kind, struct gm_value_fault *why)
{
	size_t length = strlen(kind);

	if (length > GM_KIND_NAME_MAX)
		return gm_value_bad(why, "kind \"%s\" is longer than %d characters",
				    gm_value_quote(kind).text, GM_KIND_NAME_MAX);
	if (strspn(kind, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-") !=
	    length)
		return gm_value_bad(why, "kind \"%s\" has a character that no kind's name has",
				    gm_value_quote(kind).text);
	if (gm_policy_allows_kind(policy, kind))
		return 0;
	if (policy->n_kinds == GM_KINDS_MAX)
		return gm_value_bad(why, "more than %d kinds", GM_KINDS_MAX);
	memcpy(policy->kinds[policy->n_kinds++], kind, length + 1);
	return 0;
}

static int assign_kinds(struct gm_conf *conf, const struct key *key, bool first, char *value,
			struct gm_value_fault *why)
{
	struct gm_policy *policy = &conf->policy;
	char *rest = NULL;

	if (first)
		memset((char *)policy + key->offset, 0, key->size);
	for (char *kind = strtok_r(value, GM_VALUE_BLANKS, &rest); kind;
	     kind = strtok_r(NULL, GM_VALUE_BLANKS, &rest)) {
		int r = add_kind(policy, kind, why);

		if (r)
			return r;
	}
	return 0;
}

/* "2M" or "2M:8G" */
static int add_huge(struct gm_conf *conf, char *word, struct gm_value_fault *why)
{
	char *limit = strchr(word, ':');
	uint64_t bytes = GM_UNLIMITED;

	if (limit) {
		int r;

		*limit++ = '\0';
		r = gm_value_size(limit, conf->host_memory, &bytes, why);
		if (r)
			return r;
	}
	if (strcmp(word, "2M") == 0)
		conf->policy.huge_2m_max = bytes;
	else if (strcmp(word, "1G") == 0)
		conf->policy.huge_1g_max = bytes;
	else
		return gm_value_bad(why, "\"%s\" is no size of hugepages: use 2M or 1G",
				    gm_value_quote(word).text);
	return 0;
}

static int assign_huge(struct gm_conf *conf, const struct key *key, bool first, char *value,
		       struct gm_value_fault *why)
{
	char *rest = NULL;

	if (first)
		memset((char *)&conf->policy + key->offset, 0, key->size);
	for (char *word = strtok_r(value, GM_VALUE_BLANKS, &rest); word;
	     word = strtok_r(NULL, GM_VALUE_BLANKS, &rest)) {
		int r = add_huge(conf, word, why);

		if (r)
			return r;
	}
	return 0;
}

#define FIELD(member) offsetof(struct gm_policy, member), sizeof(((struct gm_policy *)0)->member)

/* From @first up to, not with, @after. */
#define FIELDS(first, after)               \
	offsetof(struct gm_policy, first), \
		offsetof(struct gm_policy, after) - offsetof(struct gm_policy, first)

static const struct key keys[] = {
	{ "Kinds", assign_kinds, FIELDS(all_kinds, memory_max) },
	{ "MemoryMax", assign_size, FIELD(memory_max) },
	{ "RegionMax", assign_size, FIELD(region_max) },
	{ "RegionsMax", assign_count, FIELD(regions_max) },
	{ "DomainsMax", assign_count, FIELD(domains_max) },
	{ "SessionsMax", assign_count, FIELD(sessions_max) },
	{ "JobsMax", assign_count, FIELD(jobs_max) },
	{ "HugePages", assign_huge, FIELDS(huge_2m_max, numa_nodes) },
	{ "NUMANodes", assign_nodes, FIELD(numa_nodes) },
	{ "Persistent", assign_boolean, FIELD(persistent) },
	{ "PersistentTTL", assign_time, FIELD(persistent_ttl_ms) },
	{ "MemlockMax", assign_size, FIELD(memlock_max) },
	{ "SevSlots", assign_count, FIELD(slots_max[0]) },
	{ "SevEsSlots", assign_count, FIELD(slots_max[1]) },
	{ "TdxSlots", assign_count, FIELD(slots_max[2]) },
	{ "RequestsRate", assign_count, FIELD(requests_rate) },
	{ "AllocateRate", assign_size, FIELD(allocate_rate) },
	{ "WorkersMax", assign_count, FIELD(workers_max) },
};

_Static_assert(GM_ARRAY_SIZE(keys) <= 64, "gm_conf::assigned has a bit for each key");

/* NULL: there is no such key. */
static const struct key *find_key(const char *name)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(keys); i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

static uint64_t key_bit(const struct key *key)
{
	return UINT64_C(1) << (key - keys);
}

void gm_conf_begin(struct gm_conf *conf, const struct gm_policy *defaults, uint64_t host_memory)
{
	*conf = (struct gm_conf){
		.defaults = defaults,
		.host_memory = host_memory,
		.policy = *defaults,
	};
}

int gm_conf_assign(struct gm_conf *conf, const char *name, char *value, struct gm_value_fault *why)
{
	const struct key *key = find_key(name);
	int r;

	if (!key)
		return gm_value_bad(why, "unknown key in [" GM_CONF_SECTION "]");

	if (!*value) {
		memcpy((char *)&conf->policy + key->offset,
		       (const char *)conf->defaults + key->offset, key->size);
		conf->assigned &= ~key_bit(key);
		return 0;
	}
	r = key->assign(conf, key, !(conf->assigned & key_bit(key)), value, why);
	if (r)
		return r;
	conf->assigned |= key_bit(key);
	return 0;
}

void gm_conf_finish(struct gm_conf *conf)
{
	const struct gm_policy *defaults = conf->defaults;

	if (!(conf->assigned & key_bit(find_key("RegionMax"))) &&
	    defaults->region_max == defaults->memory_max)
		conf->policy.region_max = conf->policy.memory_max;
}
