/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Return convention of the whole project, and the vocabulary of refusals.
 *
 *   0         done
 *   negative  -errno, unexpected: forwarded unchanged, logged once where it is answered
 *   positive  enum gm_verdict, expected: becomes a typed status for the client
 *
 * The numbers of both enums are those of `Code` and `Rule` in gmem.proto (asserted where both are
 * visible), so that no layer below the wire needs the generated code.
 */
#ifndef GM_VERDICT_H
#define GM_VERDICT_H

#include <stdint.h>

enum gm_verdict {
	GM_OK = 0,
	GM_NO_SUCH_OBJECT = 1,
	GM_INVALID = 2,
	GM_UNSUPPORTED = 3,
	GM_DENIED = 4,
	GM_OVER_LIMIT = 5,
	GM_NO_RESOURCE = 6,
	GM_WRONG_STATE = 7,
	GM_BUSY = 8,
	GM_EXISTS = 9,
	GM_CANCELLED = 10,
	GM_WORKER_LOST = 11,
	GM_SHUTTING_DOWN = 12,
	GM_FAILED = 13,
	GM_VERDICT_N_
};

enum gm_rule {
	GM_RULE_NONE = 0,
	GM_RULE_SIZE = 1,
	GM_RULE_OFFSET = 2,
	GM_RULE_OVERFLOW = 3,
	GM_RULE_RANGE = 4,
	GM_RULE_RANGES = 5,
	GM_RULE_ADDRESS = 6,
	GM_RULE_NAME = 7,
	GM_RULE_NAME_TAKEN = 8,
	GM_RULE_KIND = 9,
	GM_RULE_KINDS = 10,
	GM_RULE_PROBE = 11,
	GM_RULE_PAGE_SIZE = 12,
	GM_RULE_HUGE_PAGES = 13,
	GM_RULE_HUGE_PAGES_FREE = 14,
	GM_RULE_NUMA_NODES = 15,
	GM_RULE_MEMORY_MAX = 16,
	GM_RULE_REGION_MAX = 17,
	GM_RULE_REGIONS_MAX = 18,
	GM_RULE_DOMAINS_MAX = 19,
	GM_RULE_SESSIONS_MAX = 20,
	GM_RULE_FDS_MAX = 21,
	GM_RULE_JOBS_MAX = 22,
	GM_RULE_REQUESTS = 23,
	GM_RULE_PAGE_MAP = 24,
	GM_RULE_PERSISTENT = 25,
	GM_RULE_TOKEN = 26,
	GM_RULE_ATTACHED = 27,
	GM_RULE_PERMISSION = 28,
	GM_RULE_JOBS_UNDER_WAY = 29,
	GM_RULE_PAGE_STATE = 30,
	GM_RULE_DEVICE = 31,
	GM_RULE_DRAINING = 32,
	GM_RULE_FLAGS = 33,
	GM_RULE_MEMORY_CGROUP = 34,
	GM_RULE_WORKER = 35,
	GM_RULE_CURSOR = 36,
	GM_RULE_QUARANTINE = 37,
	GM_RULE_SESSION_KEY = 38,
	GM_RULE_MEMLOCK_MAX = 39,
	GM_RULE_RLIMIT = 40,
	GM_RULE_SLOTS = 41,
	GM_RULE_SHARED_MAX = 42,
	GM_RULE_CONVERSION_RATE = 43,
	GM_RULE_CONVERSION_GRANULARITY = 44,
	GM_RULE_CONVERT_IN_PLACE = 45,
	GM_RULE_STEP = 46,
	GM_RULE_STEP_UNDER_WAY = 47,
	GM_RULE_FD = 48,
	GM_RULE_LAUNCH_STATE = 49,
	GM_RULE_SOURCE = 50,
	GM_RULE_MEASUREMENT_ALLOW = 51,
	GM_RULE_REQUIRE_ID_BLOCK = 52,
	GM_RULE_FIRMWARE = 53,
	GM_RULE_WATCHERS = 54,
	GM_RULE_PAGES_HELD = 55,
	GM_RULE_ORDER = 56,
	GM_RULE_BOX = 57,
	GM_RULE_N_
};

/* Room for "region 0123456789abcdef" and "tenant " plus the longest name, with its NUL. */
#define GM_OBJECT_MAX 80
#define GM_TEXT_MAX 200

/* Why not: filled by whoever returns a positive verdict. Numbers that do not apply are 0. */
struct gm_refusal {
	enum gm_rule rule;
	uint32_t sys_errno;
	uint32_t firmware_error;
	uint64_t offset;
	uint64_t limit;
	uint64_t used;
	uint64_t asked;
	char object[GM_OBJECT_MAX];
	char text[GM_TEXT_MAX];	  /* empty: the rule's own sentence is used */
	char unsaid[GM_TEXT_MAX]; /* for the host's log alone: more than who asked may know; or ""
				   */
};

/* "over-limit", "no-such-object", ... for logs and tables; never NULL. */
const char *gm_verdict_name(int verdict);

/* "MemoryMax", "size", ...: a policy key where the rule is one; never NULL. */
const char *gm_rule_name(int rule);

/* One sentence that explains the rule; never NULL. */
const char *gm_rule_text(int rule);

/*
 * Fill @refusal (may be NULL: then only the verdict is passed on) and return @verdict.
 * @object and the printf-style text are cut, not overflowed.
 */
int gm_refuse(struct gm_refusal *refusal, enum gm_verdict verdict, enum gm_rule rule,
	      const char *object);
int gm_refuse_numbers(struct gm_refusal *refusal, enum gm_verdict verdict, enum gm_rule rule,
		      const char *object, uint64_t limit, uint64_t used, uint64_t asked);
int gm_refuse_text(struct gm_refusal *refusal, enum gm_verdict verdict, enum gm_rule rule,
		   const char *object, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

#endif
