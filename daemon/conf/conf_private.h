/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of an [X-Gmemd] section and their types.
 */
#ifndef GM_CONF_PRIVATE_H
#define GM_CONF_PRIVATE_H

#include "conf.h"
#include "conf_value.h"

#define GM_CONF_SECTION "X-Gmemd"

/* A policy being put together. */
struct gm_conf {
	enum gm_conf_scope scope;
	const struct gm_policy *defaults;
	uint64_t host_memory;
	struct gm_policy policy; /* what it comes to so far */
	uint64_t assigned;	 /* one bit a key: it has a value from these files */
};

struct gm_conf_key;

struct gm_conf_type {
	/* @first: the key has no value from these files yet, a list starts anew. */
	int (*assign)(struct gm_conf *conf, const struct gm_conf_key *key, bool first, char *value,
		      struct gm_value_fault *why);
	/* Appends to @text, of GM_CONF_VALUE_MAX bytes. */
	void (*show)(const struct gm_policy *policy, const struct gm_conf_key *key, char *text);
};

extern const struct gm_conf_type gm_conf_size;
extern const struct gm_conf_type gm_conf_granule;
extern const struct gm_conf_type gm_conf_count;
extern const struct gm_conf_type gm_conf_time;
extern const struct gm_conf_type gm_conf_boolean;
extern const struct gm_conf_type gm_conf_nodes;
extern const struct gm_conf_type gm_conf_kinds;
extern const struct gm_conf_type gm_conf_measurements;
extern const struct gm_conf_type gm_conf_path;
extern const struct gm_conf_type gm_conf_huge;

/* In whose section it may stand. */
#define GM_CONF_FOR_TENANT (1U << GM_CONF_TENANT)
#define GM_CONF_FOR_HOST (1U << GM_CONF_HOST)
#define GM_CONF_FOR_BOTH (GM_CONF_FOR_TENANT | GM_CONF_FOR_HOST)

struct gm_conf_key {
	const char *name;
	unsigned scopes;
	const struct gm_conf_type *type;
	size_t offset; /* of the field in struct gm_policy */
	size_t size;   /* of the field, or of all fields of a list */
};

/* One assignment; *ret_key is its number. @value is taken apart in place. 0 or GM_INVALID. */
GM_WARN_UNUSED int gm_conf_assign(struct gm_conf *conf, const char *name, char *value,
				  unsigned *ret_key, struct gm_value_fault *why);

/* Has the key a value from these files? */
bool gm_conf_is_assigned(const struct gm_conf *conf, unsigned key);

/* Fills in what follows from other keys. */
void gm_conf_finish(struct gm_conf *conf);

#endif
