/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies: the [X-Gmemd] sections of unit-style files, with systemd's value syntax.
 *
 *   [X-Gmemd]
 *   Kinds=memfd guest-memfd
 *   MemoryMax=16G
 *   HugePages=2M:8G 1G
 *   PersistentTTL=10min
 *
 * Pure: texts in, policy out. Other sections are skipped. An empty assignment resets the key to
 * its default; a list key assigned twice appends, any other key takes the last value. A key that
 * is not known is a fault: a misspelt limit is not no limit.
 */
#ifndef GM_CONF_H
#define GM_CONF_H

#include "policy.h"
#include "unit_specifiers.h"
#include "unit_text.h"

/* Whose policy it is. The host's has some of a tenant's keys, in the same fields. */
enum gm_conf_scope {
	GM_CONF_TENANT,
	GM_CONF_HOST,
};

/* Keys of all scopes; each has a number from 0 on. */
#define GM_CONF_KEYS_MAX 48

/* Where the value of each key was assigned: "FILE:LINE", or NULL for a default. */
struct gm_conf_sources {
	char *of[GM_CONF_KEYS_MAX];
};

void gm_conf_sources_done(struct gm_conf_sources *sources);

struct gm_conf_text {
	const char *path; /* for the sources; may be NULL where there are none */
	const char *text;
	size_t length;
};

/*
 * Applies @texts, one after another as if they were one, over @policy and @sources, which hold the
 * defaults. @place: whose specifiers are expanded; NULL: values are taken as they are.
 * @host_memory is what percentages are of. RegionMax= follows MemoryMax= unless one of the two
 * says otherwise. @sources may be NULL.
 *
 * 0; GM_INVALID with *ret_fault set and *ret_at the number of the text that it is in; or -ENOMEM.
 * On anything but 0 policy and sources are untouched.
 */
GM_WARN_UNUSED int gm_conf_apply(enum gm_conf_scope scope, const struct gm_conf_text *texts,
				 size_t n_texts, const struct gm_unit_place *place,
				 uint64_t host_memory, struct gm_policy *policy,
				 struct gm_conf_sources *sources, size_t *ret_at,
				 struct gm_unit_fault *ret_fault);

/* One text for a tenant, without sources and specifiers. 0, or GM_INVALID and *ret_fault. */
GM_WARN_UNUSED int gm_conf_parse(const char *text, size_t length, uint64_t host_memory,
				 struct gm_policy *policy, struct gm_unit_fault *ret_fault);

/* How many keys there are, of all scopes. */
unsigned gm_conf_n_keys(void);

/* NULL: the key is not one of this scope. */
const char *gm_conf_key_name(enum gm_conf_scope scope, unsigned key);

/*
 * The value of a key, written so that it reads as the same value again. "" where that is only to
 * be had by an empty assignment: every kind, no hugepages.
 */
/* A list of measurements is the longest. */
#define GM_CONF_VALUE_MAX 2048
void gm_conf_show(const struct gm_policy *policy, unsigned key, char ret_text[GM_CONF_VALUE_MAX]);

#endif
