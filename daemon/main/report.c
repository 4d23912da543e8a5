/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>

#include "log_ids.h"
#include "peer_unit.h"
#include "status.h"

#define GM_FIELDS_MAX 12
#define GM_NUMBER_SIZE 24

#define GM_LOG_INTERVAL_MS 10000

/* What the log makes of a kind of news; @burst: lines of one tenant in GM_LOG_INTERVAL_MS. */
static const struct {
	int level;
	uint32_t burst;
	const char *id;
	const char *plural;
} kinds[GM_NEWS_N_] = {
	[GM_NEWS_GRANT] = { LOG_INFO, 50, GM_LOG_ID_GRANT, "grants" },
	[GM_NEWS_REFUSAL] = { LOG_INFO, 10, GM_LOG_ID_REFUSAL, "refusals" },
	[GM_NEWS_FAILURE] = { LOG_ERR, 10, GM_LOG_ID_FAILURE, "failures" },
	[GM_NEWS_VIOLATION] = { LOG_WARNING, 10, GM_LOG_ID_VIOLATION, "violations" },
	[GM_NEWS_DOMAIN] = { LOG_INFO, 50, GM_LOG_ID_DOMAIN, "new domains" },
	[GM_NEWS_ATTACH] = { LOG_INFO, 50, GM_LOG_ID_ATTACH, "attachments" },
	[GM_NEWS_ORPHAN] = { LOG_INFO, 50, GM_LOG_ID_ORPHAN, "orphans" },
	[GM_NEWS_END] = { LOG_INFO, 50, GM_LOG_ID_END, "ends" },
	[GM_NEWS_EVICT] = { LOG_NOTICE, 50, GM_LOG_ID_EVICT, "evictions" },
	[GM_NEWS_JOB] = { LOG_INFO, 50, GM_LOG_ID_JOB, "jobs" },
	[GM_NEWS_WORKER] = { LOG_WARNING, 10, GM_LOG_ID_WORKER, "deaths of workers" },
	[GM_NEWS_QUARANTINE] = { LOG_ERR, 50, GM_LOG_ID_QUARANTINE, "quarantines" },
	[GM_NEWS_RELOAD] = { LOG_INFO, 50, GM_LOG_ID_RELOAD, "reloads" },
	[GM_NEWS_LOST] = { LOG_ERR, 50, GM_LOG_ID_LOST, "losses of pages" },
};

/* The service's callbacks carry no argument: there is one log in a process. */
static struct {
	struct gm_tenants *tenants;
	struct gm_loop_ref loop;
	struct gm_log_limit shortages;
	/* Of the host, and of tenants that have no socket any more. */
	struct gm_party others;
	bool has_held_back;
} report;

struct line {
	size_t n_fields;
	struct gm_log_field fields[GM_FIELDS_MAX];
	char pid[GM_NUMBER_SIZE];
	char uid[GM_NUMBER_SIZE];
	char unit[GM_PEER_UNIT_MAX];
	char domain[GM_NUMBER_SIZE];
	char region[GM_NUMBER_SIZE];
	char bytes[GM_NUMBER_SIZE];
};

void gm_report_open(struct gm_tenants *tenants, struct gm_loop_ref loop)
{
	report.tenants = tenants;
	report.loop = loop;
	report.shortages = (struct gm_log_limit){ .interval_ms = GM_LOG_INTERVAL_MS, .burst = 2 };
	snprintf(report.others.name, sizeof(report.others.name), "others");
}

void gm_report_close(void)
{
	report.tenants = NULL;
}

static struct gm_log_limit *limit_of(struct gm_party *party, enum gm_news_kind kind)
{
	struct gm_log_limit *limit = &party->lines[kind];

	limit->interval_ms = GM_LOG_INTERVAL_MS;
	limit->burst = kinds[kind].burst;
	return limit;
}

static uint64_t now_ms(void)
{
	return report.loop.ops->now_ms(report.loop.loop);
}

static void mention(const struct gm_party *party, enum gm_news_kind kind, uint32_t held_back)
{
	const struct gm_log_field field = { "TENANT", party->name };

	if (held_back > 0)
		gm_log_fields(kinds[kind].level, &field, 1,
			      "%" PRIu32 " more %s of %s were not logged", held_back,
			      kinds[kind].plural, party->name);
}

static bool may_write(struct gm_party *party, enum gm_news_kind kind, int level)
{
	uint32_t held_back = 0;

	if (!gm_log_enabled(level))
		return false;
	if (!gm_log_limit_pass(limit_of(party, kind), now_ms(), &held_back)) {
		report.has_held_back = true;
		return false;
	}
	mention(party, kind, held_back);
	return true;
}

static bool say_held_back(struct gm_party *party, uint64_t now)
{
	bool waits = false;

	for (int kind = 1; kind < GM_NEWS_N_; kind++) {
		struct gm_log_limit *limit = &party->lines[kind];

		mention(party, (enum gm_news_kind)kind, gm_log_limit_take(limit, now));
		waits |= limit->held_back > 0;
	}
	return waits;
}

void gm_report_held_back(void)
{
	uint64_t now = now_ms();

	if (!report.has_held_back)
		return;
	report.has_held_back = say_held_back(&report.others, now);
	for (unsigned i = 0; i < report.tenants->n_parties; i++)
		report.has_held_back |= say_held_back(&report.tenants->parties[i], now);
}

static void add_field(struct line *line, const char *name, const char *value)
{
	if (line->n_fields < GM_FIELDS_MAX && value != NULL && value[0] != '\0')
		line->fields[line->n_fields++] = (struct gm_log_field){ name, value };
}

static void add_id(struct line *line, const char *name, uint64_t id, char *buffer)
{
	if (id == 0)
		return;
	snprintf(buffer, GM_NUMBER_SIZE, "%016" PRIx64, id);
	add_field(line, name, buffer);
}

static void add_peer(struct line *line, const struct gm_news *news)
{
	if (!news->has_peer)
		return;
	snprintf(line->pid, sizeof(line->pid), "%jd", (intmax_t)news->peer.pid);
	snprintf(line->uid, sizeof(line->uid), "%ju", (uintmax_t)news->peer.uid);
	add_field(line, "PEER_PID", line->pid);
	add_field(line, "PEER_UID", line->uid);
	if (gm_peer_unit(news->peer.pid, news->pidfd, line->unit) == 0)
		add_field(line, "PEER_UNIT", line->unit);
	add_field(line, "CLIENT", news->client);
}

static void fill_line(struct line *line, const struct gm_news *news)
{
	add_field(line, GM_LOG_MESSAGE_ID, kinds[news->kind].id);
	add_field(line, "TENANT", news->tenant != NULL ? news->tenant->name : "");
	add_id(line, "DOMAIN", news->domain, line->domain);
	add_id(line, "REGION", news->region, line->region);
	if (news->bytes != 0) {
		snprintf(line->bytes, sizeof(line->bytes), "%" PRIu64, news->bytes);
		add_field(line, "BYTES", line->bytes);
	}
	add_field(line, "VERB", news->verb);
	if (news->rule != GM_RULE_NONE)
		add_field(line, "RULE", gm_rule_name((int)news->rule));
	if (news->unsaid != NULL && news->unsaid[0] != '\0')
		add_field(line, "CGROUP", news->unsaid);
	/* What a client must never do has no number, only words. */
	if (news->kind == GM_NEWS_VIOLATION)
		add_field(line, "RULE", news->text);
	add_peer(line, news);
}

static int level_of(const struct gm_news *news)
{
	if (news->kind == GM_NEWS_REFUSAL)
		return gm_status_log_level(news->result);
	return news->result < 0 ? LOG_ERR : kinds[news->kind].level;
}

static void write_line(int level, const struct line *line, const struct gm_news *news)
{
	const char *verb = news->verb != NULL ? news->verb : "a request";

	switch ((int)news->kind) {
	case GM_NEWS_REFUSAL:
		gm_log_fields(level, line->fields, line->n_fields, "%s refused: %s", verb,
			      news->text);
		break;
	case GM_NEWS_FAILURE:
		/* What has failed was no request of its own: the text says what it was. */
		if (news->verb == NULL)
			gm_log_fields(level, line->fields, line->n_fields, "%s", news->text);
		else
			gm_log_fields(level, line->fields, line->n_fields, "%s failed: %s", verb,
				      gm_strerror(-news->result));
		break;
	case GM_NEWS_VIOLATION:
		gm_log_fields(level, line->fields, line->n_fields,
			      "cut off a client of %s that broke the protocol: %s",
			      news->tenant != NULL ? news->tenant->name : "admin", news->text);
		break;
	default:
		gm_log_fields(level, line->fields, line->n_fields, "%s", news->text);
		break;
	}
}

/* For the operator's own there is a party, too; for the host's doings and leftovers there is not.
 */
static struct gm_party *party_of(const struct gm_news *news)
{
	struct gm_party *party = NULL;

	if (news->tenant != NULL || news->has_peer)
		party = gm_tenants_find(report.tenants, news->tenant);
	return party != NULL ? party : &report.others;
}

void gm_report_news(const struct gm_news *news)
{
	struct line line = { .n_fields = 0 };
	int level = level_of(news);

	if (!may_write(party_of(news), news->kind, level))
		return;
	fill_line(&line, news);
	write_line(level, &line, news);
}

void gm_report_shortage(struct gm_party *party, int error)
{
	uint32_t held_back;

	if (!gm_log_enabled(LOG_ERR) || !gm_log_limit_pass(&report.shortages, now_ms(), &held_back))
		return;
	gm_log(LOG_ERR, "short of something for a client of %s: %s", party->name,
	       gm_strerror(error));
}
