/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one map from what a function returned to what goes over the wire and into the log.
 */
#ifndef GM_STATUS_H
#define GM_STATUS_H

#include "gm_verdict.h"
#include "gmem.pb-c.h"

/* The sentence is longest when an object is named, the rule explained and three numbers told. */
#define GM_STATUS_TEXT_MAX (GM_OBJECT_MAX + GM_TEXT_MAX + 120)

/* Holds what @message points to: must not be moved. */
struct gm_status {
	Gmem__Status message;
	char text[GM_STATUS_TEXT_MAX];
};

/* @result: a verdict with @refusal filled, or -errno (then @refusal is not looked at). */
void gm_status_fill(struct gm_status *status, int result, const struct gm_refusal *refusal,
		    const char *verb);

/* Syslog level at which the result of a request is worth a line. */
int gm_status_log_level(int result);

#endif
