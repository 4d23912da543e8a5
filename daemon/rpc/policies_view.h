/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the service asks whoever reads policies: it knows neither keys nor files.
 */
#ifndef GM_POLICIES_VIEW_H
#define GM_POLICIES_VIEW_H

#include "model.h"

/* Printable ASCII, borrowed for the call. */
struct gm_policy_row {
	const char *key;
	const char *value;  /* as it would be assigned; "" where only an empty assignment says it */
	const char *source; /* "FILE:LINE"; "" for a default */
};

typedef int (*gm_policy_row_fn)(void *arg, const struct gm_policy_row *row);

/* Longest sentence about a fault. */
#define GM_POLICY_SAID_MAX 700

struct gm_policies_ops {
	/* Every key of the tenant's policy in force; NULL @tenant: of the host's. 0 or @fn's. */
	int (*rows)(void *arg, const struct gm_tenant *tenant, gm_policy_row_fn fn, void *fn_arg);
	/*
	 * Would a reload of the tenant's files, or with NULL of all files, succeed? 0: yes;
	 * -EINVAL: no, and why, in @ret_said. Changes nothing.
	 */
	int (*check)(void *arg, const struct gm_tenant *tenant, char ret_said[GM_POLICY_SAID_MAX]);
};

#endif
