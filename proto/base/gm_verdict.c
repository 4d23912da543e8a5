/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_verdict.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "gm_num.h"

static const char *const verdict_names[] = {
	[GM_OK] = "ok",
	[GM_NO_SUCH_OBJECT] = "no-such-object",
	[GM_INVALID] = "invalid",
	[GM_UNSUPPORTED] = "unsupported",
	[GM_DENIED] = "denied",
	[GM_OVER_LIMIT] = "over-limit",
	[GM_NO_RESOURCE] = "no-resource",
	[GM_WRONG_STATE] = "wrong-state",
	[GM_BUSY] = "busy",
	[GM_EXISTS] = "exists",
	[GM_CANCELLED] = "cancelled",
	[GM_WORKER_LOST] = "worker-lost",
	[GM_SHUTTING_DOWN] = "shutting-down",
	[GM_FAILED] = "failed",
};
static_assert(GM_ARRAY_SIZE(verdict_names) == GM_VERDICT_N_, "every verdict has a name");

struct rule_words {
	const char *name;
	const char *text;
};

static const struct rule_words rules[] = {
	[GM_RULE_NONE] = { "none", "no particular rule" },
	[GM_RULE_SIZE] = { "size", "the size is zero or not a multiple of the page size" },
	[GM_RULE_OFFSET] = { "offset", "the offset or address is not a multiple of the page size" },
	[GM_RULE_OVERFLOW] = { "overflow", "the end of the range wraps or passes 2^52" },
	[GM_RULE_RANGE] = { "range", "the range passes the end of the region" },
	[GM_RULE_RANGES] = { "ranges", "there is no range, there are too many, or they overlap" },
	[GM_RULE_ADDRESS] = { "address",
			      "the guest addresses overlap another region of the domain" },
	[GM_RULE_NAME] = { "name", "the name is empty, too long, or not made of [A-Za-z0-9._:-]" },
	[GM_RULE_NAME_TAKEN] = { "name-taken", "another domain of the tenant has this name" },
	[GM_RULE_KIND] = { "kind", "no kind of memory has this name" },
	[GM_RULE_KINDS] = { "Kinds", "the policy does not allow this kind of memory" },
	[GM_RULE_PROBE] = { "probe", "this host cannot do it" },
	[GM_RULE_PAGE_SIZE] = { "page-size", "the kind of memory has no pages of this size" },
	[GM_RULE_HUGE_PAGES] = { "HugePages", "the policy's limit of hugepages" },
	[GM_RULE_HUGE_PAGES_FREE] = { "huge-pages-free",
				      "the host's pool has too few free hugepages" },
	[GM_RULE_NUMA_NODES] = { "NUMANodes",
				 "the NUMA node is not there or the policy does not allow it" },
	[GM_RULE_MEMORY_MAX] = { "MemoryMax", "the policy's limit of memory" },
	[GM_RULE_REGION_MAX] = { "RegionMax", "the policy's limit of the size of one region" },
	[GM_RULE_REGIONS_MAX] = { "RegionsMax", "the policy's limit of regions" },
	[GM_RULE_DOMAINS_MAX] = { "DomainsMax", "the policy's limit of domains" },
	[GM_RULE_SESSIONS_MAX] = { "SessionsMax", "the policy's limit of sessions" },
	[GM_RULE_FDS_MAX] = { "fds-max", "the daemon may not hold more file descriptors" },
	[GM_RULE_JOBS_MAX] = { "JobsMax", "the policy's limit of jobs under way" },
	[GM_RULE_REQUESTS] = { "requests", "the session has too many unanswered requests" },
	[GM_RULE_PAGE_MAP] = { "page-map", "the page map may not take more memory" },
	[GM_RULE_PERSISTENT] = { "Persistent", "the policy does not allow persistent domains" },
	[GM_RULE_TOKEN] = { "token", "a token has 32 bytes" },
	[GM_RULE_ATTACHED] = { "attached",
			       "the domain is attached to another session, or not to this one" },
	[GM_RULE_PERMISSION] = { "permission", "this kind of session may not do it" },
	[GM_RULE_JOBS_UNDER_WAY] = { "jobs-under-way",
				     "jobs are under way: cancel them or wait for them" },
	[GM_RULE_PAGE_STATE] = { "page-state", "the state of a page forbids it" },
	[GM_RULE_DEVICE] = { "device", "the device is not there or not for this tenant" },
	[GM_RULE_DRAINING] = { "draining", "the daemon is stopping" },
	[GM_RULE_FLAGS] = { "flags", "a field has an unknown flag or value" },
	[GM_RULE_MEMORY_CGROUP] = { "memory-cgroup",
				    "the memory controller killed the worker, or would" },
	[GM_RULE_WORKER] = { "worker", "no worker could be had, or it died" },
	[GM_RULE_CURSOR] = { "cursor", "this daemon did not give out the list cursor" },
	[GM_RULE_QUARANTINE] = { "quarantine",
				 "what was recorded does not check out: only destroy it" },
	[GM_RULE_SESSION_KEY] = { "session-key",
				  "the key is not 16 bytes, or its session is in use" },
	[GM_RULE_MEMLOCK_MAX] = { "MemlockMax", "the policy's limit of locked memory" },
	[GM_RULE_RLIMIT] = { "rlimit", "the limit of the process cannot be changed" },
	[GM_RULE_SLOTS] = { "slots", "no hardware slot is left" },
	[GM_RULE_SHARED_MAX] = { "SharedMax", "the policy's limit of shared memory of a guest" },
	[GM_RULE_CONVERSION_RATE] = { "ConversionRate", "the policy's rate of conversions" },
	[GM_RULE_CONVERSION_GRANULARITY] = { "ConversionGranularity",
					     "the range is not a multiple of the policy's "
					     "granularity" },
	[GM_RULE_CONVERT_IN_PLACE] = { "ConvertInPlace",
				       "conversion in place is not allowed or not there" },
	[GM_RULE_STEP] = { "step", "the report fits no step under way" },
	[GM_RULE_STEP_UNDER_WAY] = { "step-under-way", "a step is under way: report it first" },
	[GM_RULE_FD] = { "fd", "the file descriptor is not what was asked for" },
	[GM_RULE_LAUNCH_STATE] = { "launch-state", "the launch is not in a state for it" },
	[GM_RULE_SOURCE] = { "source", "the source is not sealed or not page aligned" },
	[GM_RULE_MEASUREMENT_ALLOW] = { "MeasurementAllow",
					"the policy does not allow this measurement" },
	[GM_RULE_REQUIRE_ID_BLOCK] = { "RequireIdBlock", "the launch needs an ID block that fits" },
	[GM_RULE_FIRMWARE] = { "firmware", "the firmware refused" },
	[GM_RULE_WATCHERS] = { "watchers", "the limit of sessions that watch" },
	[GM_RULE_PAGES_HELD] = { "pages-held", "somebody holds pages that are to be converted" },
	[GM_RULE_ORDER] = { "order", "no standing order covers the report" },
	[GM_RULE_BOX] = { "box", "the box for a file descriptor" },
};
static_assert(GM_ARRAY_SIZE(rules) == GM_RULE_N_, "every rule has words");

const char *gm_verdict_name(int verdict)
{
	if (verdict < 0)
		return verdict_names[GM_FAILED];
	return verdict < GM_VERDICT_N_ ? verdict_names[verdict] : "unknown";
}

const char *gm_rule_name(int rule)
{
	return rule >= 0 && rule < GM_RULE_N_ ? rules[rule].name : "unknown";
}

const char *gm_rule_text(int rule)
{
	return rule >= 0 && rule < GM_RULE_N_ ? rules[rule].text : "a rule of a newer version";
}

int gm_refuse(struct gm_refusal *refusal, enum gm_verdict verdict, enum gm_rule rule,
	      const char *object)
{
	return gm_refuse_numbers(refusal, verdict, rule, object, 0, 0, 0);
}

int gm_refuse_numbers(struct gm_refusal *refusal, enum gm_verdict verdict, enum gm_rule rule,
		      const char *object, uint64_t limit, uint64_t used, uint64_t asked)
{
	if (!refusal)
		return verdict;
	*refusal = (struct gm_refusal){
		.rule = rule,
		.limit = limit,
		.used = used,
		.asked = asked,
	};
	(void)snprintf(refusal->object, sizeof(refusal->object), "%s", object ? object : "");
	return verdict;
}

int gm_refuse_text(struct gm_refusal *refusal, enum gm_verdict verdict, enum gm_rule rule,
		   const char *object, const char *format, ...)
{
	va_list args;

	if (!refusal)
		return verdict;
	gm_refuse(refusal, verdict, rule, object);
	va_start(args, format);
	(void)vsnprintf(refusal->text, sizeof(refusal->text), format, args);
	va_end(args);
	return verdict;
}
