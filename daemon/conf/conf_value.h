/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of policy keys, in systemd's syntax (systemd.syntax(7), systemd.time(7)).
 *
 * Every function returns 0, or GM_INVALID with @why saying what is wrong with the value; outputs
 * are written on success only. A number that does not fit is a fault, never cut.
 */
#ifndef GM_CONF_VALUE_H
#define GM_CONF_VALUE_H

#include "unit_text.h"

#define GM_VALUE_BLANKS GM_UNIT_BLANKS

struct gm_value_fault {
	char reason[GM_TEXT_MAX];
};

int gm_value_bad(struct gm_value_fault *why, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Bytes: "16G", "1.5T", "50%" of @host_memory, "infinity" (GM_UNLIMITED). */
GM_WARN_UNUSED int gm_value_size(const char *text, uint64_t host_memory, uint64_t *ret_bytes,
				 struct gm_value_fault *why);

/* "256", "infinity" (GM_UNLIMITED). */
GM_WARN_UNUSED int gm_value_count(const char *text, uint64_t *ret_count,
				  struct gm_value_fault *why);

/* "5min 20s", "90" (seconds), "infinity" (GM_UNLIMITED); rounded up to milliseconds. */
GM_WARN_UNUSED int gm_value_time(const char *text, uint64_t *ret_ms, struct gm_value_fault *why);

GM_WARN_UNUSED int gm_value_boolean(const char *text, bool *ret_value, struct gm_value_fault *why);

/* "0-3,5 7", "all": one bit a node. */
GM_WARN_UNUSED int gm_value_nodes(const char *text, uint64_t *ret_nodes,
				  struct gm_value_fault *why);

#endif
