/* SPDX-License-Identifier: Apache-2.0 */
#include "news.h"

const char *gm_news_name(enum gm_news_kind kind)
{
	static const char *const names[GM_NEWS_N_] = {
		[GM_NEWS_NONE] = "none",
		[GM_NEWS_GRANT] = "grant",
		[GM_NEWS_REFUSAL] = "refusal",
		[GM_NEWS_FAILURE] = "failure",
		[GM_NEWS_VIOLATION] = "violation",
		[GM_NEWS_DOMAIN] = "domain",
		[GM_NEWS_ATTACH] = "attach",
		[GM_NEWS_ORPHAN] = "orphan",
		[GM_NEWS_END] = "end",
		[GM_NEWS_EVICT] = "evict",
		[GM_NEWS_JOB] = "job",
		[GM_NEWS_WORKER] = "worker",
		[GM_NEWS_QUARANTINE] = "quarantine",
		[GM_NEWS_RELOAD] = "reload",
		[GM_NEWS_LOST] = "lost",
	};

	return (unsigned)kind < GM_NEWS_N_ ? names[kind] : "unknown";
}

void gm_counters_answer(struct gm_counters *counters, int result, enum gm_rule rule)
{
	int code = result < 0 ? GM_FAILED : result;

	counters->codes[code < GM_VERDICT_N_ ? code : GM_FAILED]++;
	if (result <= 0)
		return;
	counters->refusals++;
	if ((unsigned)rule < GM_RULE_N_)
		counters->rules[rule]++;
}

static void add(uint64_t *into, const uint64_t *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		into[i] += from[i];
}

void gm_counters_merge(struct gm_counters *into, const struct gm_counters *from)
{
	into->requests += from->requests;
	into->refusals += from->refusals;
	into->violations += from->violations;
	add(into->codes, from->codes, GM_ARRAY_SIZE(into->codes));
	add(into->rules, from->rules, GM_ARRAY_SIZE(into->rules));
	add(into->news, from->news, GM_ARRAY_SIZE(into->news));
	gm_histogram_merge(&into->grant_us, &from->grant_us);
	gm_histogram_merge(&into->job_us, &from->job_us);
}
