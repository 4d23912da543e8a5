/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "bytes.h"
#include "gm_num.h"

#define SAME_VERDICT(name) \
	_Static_assert((int)GM_##name == (int)GMEM__CODE__CODE_##name, #name " differs")
SAME_VERDICT(OK);
SAME_VERDICT(NO_SUCH_OBJECT);
SAME_VERDICT(INVALID);
SAME_VERDICT(UNSUPPORTED);
SAME_VERDICT(DENIED);
SAME_VERDICT(OVER_LIMIT);
SAME_VERDICT(NO_RESOURCE);
SAME_VERDICT(WRONG_STATE);
SAME_VERDICT(BUSY);
SAME_VERDICT(EXISTS);
SAME_VERDICT(CANCELLED);
SAME_VERDICT(WORKER_LOST);
SAME_VERDICT(SHUTTING_DOWN);
SAME_VERDICT(FAILED);
_Static_assert(GM_VERDICT_N_ == 14, "a new verdict is compared with its code here");

#define SAME_RULE(name) \
	_Static_assert((int)GM_RULE_##name == (int)GMEM__RULE__RULE_##name, #name " differs")
SAME_RULE(NONE);
SAME_RULE(SIZE);
SAME_RULE(OFFSET);
SAME_RULE(OVERFLOW);
SAME_RULE(RANGE);
SAME_RULE(RANGES);
SAME_RULE(ADDRESS);
SAME_RULE(NAME);
SAME_RULE(NAME_TAKEN);
SAME_RULE(KIND);
SAME_RULE(KINDS);
SAME_RULE(PROBE);
SAME_RULE(PAGE_SIZE);
SAME_RULE(HUGE_PAGES);
SAME_RULE(HUGE_PAGES_FREE);
SAME_RULE(NUMA_NODES);
SAME_RULE(MEMORY_MAX);
SAME_RULE(REGION_MAX);
SAME_RULE(REGIONS_MAX);
SAME_RULE(DOMAINS_MAX);
SAME_RULE(SESSIONS_MAX);
SAME_RULE(FDS_MAX);
SAME_RULE(JOBS_MAX);
SAME_RULE(REQUESTS);
SAME_RULE(PAGE_MAP);
SAME_RULE(PERSISTENT);
SAME_RULE(TOKEN);
SAME_RULE(ATTACHED);
SAME_RULE(PERMISSION);
SAME_RULE(JOBS_UNDER_WAY);
SAME_RULE(PAGE_STATE);
SAME_RULE(DEVICE);
SAME_RULE(DRAINING);
SAME_RULE(FLAGS);
SAME_RULE(MEMORY_CGROUP);
SAME_RULE(WORKER);
SAME_RULE(CURSOR);
SAME_RULE(QUARANTINE);
SAME_RULE(SESSION_KEY);
SAME_RULE(MEMLOCK_MAX);
SAME_RULE(RLIMIT);
SAME_RULE(SLOTS);
SAME_RULE(SHARED_MAX);
SAME_RULE(CONVERSION_RATE);
SAME_RULE(CONVERSION_GRANULARITY);
SAME_RULE(CONVERT_IN_PLACE);
SAME_RULE(STEP);
SAME_RULE(STEP_UNDER_WAY);
SAME_RULE(FD);
SAME_RULE(LAUNCH_STATE);
SAME_RULE(SOURCE);
SAME_RULE(MEASUREMENT_ALLOW);
SAME_RULE(REQUIRE_ID_BLOCK);
SAME_RULE(FIRMWARE);
SAME_RULE(WATCHERS);
SAME_RULE(PAGES_HELD);
SAME_RULE(ORDER);
SAME_RULE(BOX);
_Static_assert(GM_RULE_N_ == 58, "a new rule is compared with its number here");

struct verdict_row {
	int level;	  /* in the log */
	const char *text; /* where no rule says more */
};

/* What a client can bring about as often as it likes is for debugging only. */
static const struct verdict_row rows[] = {
	[GM_OK] = { LOG_INFO, "done" },
	[GM_NO_SUCH_OBJECT] = { LOG_INFO, "there is no such object" },
	[GM_INVALID] = { LOG_INFO, "the request cannot be right as it stands" },
	[GM_UNSUPPORTED] = { LOG_INFO, "this host or this daemon cannot do it" },
	[GM_DENIED] = { LOG_INFO, "this is not allowed" },
	[GM_OVER_LIMIT] = { LOG_INFO, "a limit is reached" },
	[GM_NO_RESOURCE] = { LOG_NOTICE, "the host has not got it now" },
	[GM_WRONG_STATE] = { LOG_INFO, "this is not the moment for it" },
	[GM_BUSY] = { LOG_INFO, "somebody else holds it" },
	[GM_EXISTS] = { LOG_INFO, "it is there already" },
	[GM_CANCELLED] = { LOG_INFO, "the job was cancelled" },
	[GM_WORKER_LOST] = { LOG_WARNING, "the worker died" },
	[GM_SHUTTING_DOWN] = { LOG_INFO, "the daemon is stopping" },
	[GM_FAILED] = { LOG_ERR, "the daemon failed" },
};
_Static_assert(GM_ARRAY_SIZE(rows) == GM_VERDICT_N_, "every verdict has a row");

static const struct verdict_row *find_row(int result)
{
	return &rows[result < 0 || result >= GM_VERDICT_N_ ? GM_FAILED : result];
}

int gm_status_log_level(int result)
{
	return find_row(result)->level;
}

struct number {
	char text[24];
};

static bool counts_bytes(enum gm_rule rule)
{
	return rule == GM_RULE_MEMORY_MAX || rule == GM_RULE_REGION_MAX ||
	       rule == GM_RULE_HUGE_PAGES || rule == GM_RULE_HUGE_PAGES_FREE ||
	       rule == GM_RULE_PAGE_MAP || rule == GM_RULE_MEMORY_CGROUP;
}

/* "16.0G" for bytes, digits for all else. */
static struct number format_number(uint64_t n, bool bytes)
{
	static const char units[] = "KMGTPE";
	struct number number;
	unsigned unit = 0;

	if (!bytes || n < GM_KIB) {
		snprintf(number.text, sizeof(number.text), "%" PRIu64, n);
		return number;
	}
	while ((n >> (10 * (unit + 1))) >= 1024)
		unit++;
	snprintf(number.text, sizeof(number.text), "%.1f%c",
		 (double)n / (double)(UINT64_C(1) << (10 * (unit + 1))), units[unit]);
	return number;
}

static void format_limit(struct gm_status *status, const struct gm_refusal *refusal)
{
	bool bytes = counts_bytes(refusal->rule);

	snprintf(status->text, sizeof(status->text), "%s of %s: limit %s, used %s, asked %s",
		 gm_rule_name((int)refusal->rule), refusal->object,
		 format_number(refusal->limit, bytes).text,
		 format_number(refusal->used, bytes).text,
		 format_number(refusal->asked, bytes).text);
}

/* "region 12..: the size is zero or not a multiple of the page size (limit 4096, asked 1)". */
static void format_rule(struct gm_status *status, int verdict, const struct gm_refusal *refusal)
{
	bool has_rule = refusal->rule != GM_RULE_NONE;
	size_t used;

	snprintf(status->text, sizeof(status->text), "%s%s%s", refusal->object,
		 refusal->object[0] != '\0' ? ": " : "",
		 has_rule ? gm_rule_text((int)refusal->rule) : find_row(verdict)->text);
	used = strlen(status->text);
	if (refusal->limit != 0 || refusal->asked != 0)
		snprintf(status->text + used, sizeof(status->text) - used,
			 " (limit %" PRIu64 ", asked %" PRIu64 ")", refusal->limit, refusal->asked);
}

static void format_text(struct gm_status *status, int verdict, const struct gm_refusal *refusal)
{
	if (refusal->text[0] != '\0')
		snprintf(status->text, sizeof(status->text), "%s", refusal->text);
	else if (verdict == GM_OVER_LIMIT || verdict == GM_NO_RESOURCE)
		format_limit(status, refusal);
	else
		format_rule(status, verdict, refusal);
}

static void fill_failure(struct gm_status *status, int error, const char *verb)
{
	const char *what = strerrordesc_np(-error);

	snprintf(status->text, sizeof(status->text), "%s failed in the daemon: %s", verb,
		 what != NULL ? what : "unknown error");
	status->message.code = GMEM__CODE__CODE_FAILED;
	status->message.has_sys_errno = 1;
	status->message.sys_errno = (uint32_t)-error;
}

static void fill_refusal(struct gm_status *status, int verdict, const struct gm_refusal *refusal)
{
	Gmem__Status *message = &status->message;

	format_text(status, verdict, refusal);
	message->code = (Gmem__Code)verdict;
	message->has_rule = 1;
	message->rule = (Gmem__Rule)refusal->rule;
	message->has_object = 1;
	message->object = gm_bytes(refusal->object);
	message->has_offset = refusal->offset != 0 || refusal->rule == GM_RULE_PAGE_STATE;
	message->offset = refusal->offset;
	message->has_limit = 1;
	message->limit = refusal->limit;
	message->has_used = 1;
	message->used = refusal->used;
	message->has_asked = 1;
	message->asked = refusal->asked;
	message->has_sys_errno = refusal->sys_errno != 0;
	message->sys_errno = refusal->sys_errno;
	message->has_firmware_error = refusal->firmware_error != 0;
	message->firmware_error = refusal->firmware_error;
}

void gm_status_fill(struct gm_status *status, int result, const struct gm_refusal *refusal,
		    const char *verb)
{
	status->message = (Gmem__Status)GMEM__STATUS__INIT;
	status->message.has_code = 1;
	if (result < 0)
		fill_failure(status, result, verb);
	else
		fill_refusal(status, result, refusal);
	status->message.has_text = 1;
	status->message.text = gm_bytes(status->text);
}
