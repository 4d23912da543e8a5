/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The specifiers of a value, "%i" and the like (systemd.unit(5)). Pure.
 */
#ifndef GM_UNIT_SPECIFIERS_H
#define GM_UNIT_SPECIFIERS_H

#include "gm_verdict.h"
#include "unit_names.h"

/* Where a value stands. */
struct gm_unit_place {
	const struct gm_unit_name *name; /* the unit's own */
	const char *fragment;		 /* path of its main file */
};

/*
 * Writes @value with its specifiers replaced. A '%' that no letter follows stands for itself, as
 * in "50%". 0, or GM_INVALID with a sentence in @ret_reason (GM_TEXT_MAX bytes).
 *
 * What a policy may depend on is the unit's name and place, and folders that are the same on every
 * host. The host's, the boot's and users' own values are refused: the same files would mean
 * something else elsewhere; and /tmp is no place for what a policy names.
 */
GM_WARN_UNUSED int gm_unit_expand(const struct gm_unit_place *place, const char *value,
				  char *ret_value, size_t size, char *ret_reason);

#endif
