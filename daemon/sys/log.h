/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines with fields: to the journal when stderr is connected to it ($JOURNAL_STREAM), else to
 * stderr as "<text> FIELD=value ...". Nobody is waited for: what nobody reads is dropped, counted,
 * and said later. Never takes a secret; never a peer's bytes that have not
 * passed a character set check.
 */
#ifndef GM_LOG_H
#define GM_LOG_H

#include <stdarg.h>
#include <stdint.h>
#include <syslog.h>

#include "gm_num.h"

/* The field that leads to a text of the journal's catalogue. Not shown on stderr. */
#define GM_LOG_MESSAGE_ID "MESSAGE_ID"

struct gm_log_field {
	const char *name; /* upper case */
	const char *value;
};

/*
 * @level: highest syslog level that is written, LOG_INFO by default. From here on stderr is this
 * process's own, where that can be had: its flags are not those of others who share it.
 */
void gm_log_open(int level);

/* Does this level get written? Ask before formatting anything costly. */
bool gm_log_enabled(int level);

void gm_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void gm_log_fields(int level, const struct gm_log_field *fields, size_t n_fields,
		   const char *format, ...) __attribute__((format(printf, 4, 5)));

/* "Permission denied"; does not touch the locale files that a sandbox forbids. */
const char *gm_strerror(int error);

/* Lets @burst lines through in @interval_ms, then says once how many it held back. */
struct gm_log_limit {
	uint64_t interval_ms;
	uint32_t burst;
	uint64_t window_start_ms;
	uint32_t passed;
	uint32_t held_back;
};

/* May a line be written now? *ret_held_back: lines swallowed before this one, to be mentioned. */
bool gm_log_limit_pass(struct gm_log_limit *limit, uint64_t now_ms, uint32_t *ret_held_back);

/* How many lines have been held back in an interval that is over; each is told once. */
uint32_t gm_log_limit_take(struct gm_log_limit *limit, uint64_t now_ms);

#endif
