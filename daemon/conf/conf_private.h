/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of an [X-Gmemd] section, for the reader of the text.
 */
#ifndef GM_CONF_PRIVATE_H
#define GM_CONF_PRIVATE_H

#include "conf.h"
#include "conf_value.h"

#define GM_CONF_SECTION "X-Gmemd"

/* One text being applied. */
struct gm_conf {
	const struct gm_policy *defaults;
	uint64_t host_memory;
	struct gm_policy policy; /* what it comes to so far */
	uint64_t assigned;	 /* one bit a key: it has a value from this text */
};

/* Starts from @defaults. */
void gm_conf_begin(struct gm_conf *conf, const struct gm_policy *defaults, uint64_t host_memory);

/* One assignment. @value is taken apart in place. 0 or GM_INVALID. */
GM_WARN_UNUSED int gm_conf_assign(struct gm_conf *conf, const char *key, char *value,
				  struct gm_value_fault *why);

/* Fills in what follows from other keys. */
void gm_conf_finish(struct gm_conf *conf);

#endif
