/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>

#include "status.h"

#define GM_FIELDS_MAX 8
#define GM_NUMBER_SIZE 24

/* The service's callbacks carry no argument: there is one log in a process. */
static struct {
	struct gm_tenants *tenants;
	struct gm_loop_ref loop;
	struct gm_log_limit shortages;
} report;

struct line {
	size_t n_fields;
	struct gm_log_field fields[GM_FIELDS_MAX];
	char pid[GM_NUMBER_SIZE];
	char uid[GM_NUMBER_SIZE];
	char domain[GM_NUMBER_SIZE];
};

void gm_report_open(struct gm_tenants *tenants, struct gm_loop_ref loop)
{
	report.tenants = tenants;
	report.loop = loop;
	report.shortages = (struct gm_log_limit){ .interval_ms = 10000, .burst = 2 };
}

void gm_report_close(void)
{
	report.tenants = NULL;
}

static bool may_write(int level, struct gm_log_limit *limit, uint32_t *ret_held_back)
{
	uint64_t now_ms;

	*ret_held_back = 0;
	if (!gm_log_enabled(level))
		return false;
	now_ms = report.loop.ops->now_ms(report.loop.loop);
	return gm_log_limit_pass(limit, now_ms, ret_held_back);
}

static void add_field(struct line *line, const char *name, const char *value)
{
	if (line->n_fields < GM_FIELDS_MAX && value[0] != '\0')
		line->fields[line->n_fields++] = (struct gm_log_field){ name, value };
}

static void add_peer(struct line *line, const struct gm_peer *peer)
{
	snprintf(line->pid, sizeof(line->pid), "%jd", (intmax_t)peer->pid);
	snprintf(line->uid, sizeof(line->uid), "%ju", (uintmax_t)peer->uid);
	add_field(line, "PEER_PID", line->pid);
	add_field(line, "PEER_UID", line->uid);
}

static void add_conn_peer(struct line *line, const struct gm_party *party,
			  const struct gm_conn_peer *from)
{
	const struct gm_peer peer = { .pid = from->pid, .uid = from->uid, .gid = from->gid };

	add_field(line, "TENANT", party->name);
	add_peer(line, &peer);
}

static void add_session(struct line *line, const struct gm_party *party,
			const struct gm_session *session)
{
	add_field(line, "TENANT", party->name);
	add_peer(line, &session->peer);
	add_field(line, "CLIENT", session->client);
}

static void mention_held_back(const struct gm_party *party, int level, const char *what,
			      uint32_t held_back)
{
	if (held_back > 0)
		gm_log(level, "%" PRIu32 " more %s of %s were not logged", held_back, what,
		       party->name);
}

static struct gm_party *party_of(const struct gm_session *session)
{
	return session ? gm_tenants_find(report.tenants, session->tenant) : NULL;
}

void gm_report_refusal(const struct gm_session *session, const char *verb, int verdict,
		       const struct gm_refusal *refusal)
{
	struct gm_party *party = party_of(session);
	int level = gm_status_log_level(verdict);
	struct line line = { .n_fields = 0 };
	struct gm_status status;
	uint32_t held_back;

	if (!party || !may_write(level, &party->refusals, &held_back))
		return;
	mention_held_back(party, level, "refusals", held_back);
	gm_status_fill(&status, verdict, refusal, verb);
	add_session(&line, party, session);
	add_field(&line, "VERB", verb);
	add_field(&line, "RULE", gm_rule_name((int)refusal->rule));
	gm_log_fields(level, line.fields, line.n_fields, "%s refused: %s", verb, status.text);
}

void gm_report_failure(const struct gm_session *session, const char *verb, int error)
{
	struct gm_party *party = party_of(session);
	struct line line = { .n_fields = 0 };
	uint32_t held_back;

	if (!party || !may_write(LOG_ERR, &party->failures, &held_back))
		return;
	mention_held_back(party, LOG_ERR, "failures", held_back);
	add_session(&line, party, session);
	add_field(&line, "VERB", verb);
	gm_log_fields(LOG_ERR, line.fields, line.n_fields, "%s failed: %s", verb,
		      gm_strerror(-error));
}

void gm_report_event(const struct gm_session *session, const struct gm_domain *domain,
		     const char *what)
{
	struct gm_party *party = gm_tenants_find(report.tenants, domain->tenant);
	struct line line = { .n_fields = 0 };
	uint32_t held_back;

	if (!party || !may_write(LOG_INFO, &party->events, &held_back))
		return;
	mention_held_back(party, LOG_INFO, "events", held_back);
	add_field(&line, "TENANT", party->name);
	if (session)
		add_peer(&line, &session->peer);
	snprintf(line.domain, sizeof(line.domain), "%016" PRIx64, domain->id.v);
	add_field(&line, "DOMAIN", line.domain);
	gm_log_fields(LOG_INFO, line.fields, line.n_fields, "domain %s of %s: %s", line.domain,
		      party->name, what);
}

void gm_report_violation(struct gm_party *party, const struct gm_conn_peer *peer, const char *fault)
{
	struct line line = { .n_fields = 0 };
	uint32_t held_back;

	if (!may_write(LOG_WARNING, &party->violations, &held_back))
		return;
	mention_held_back(party, LOG_WARNING, "violations", held_back);
	add_conn_peer(&line, party, peer);
	add_field(&line, "RULE", fault);
	gm_log_fields(LOG_WARNING, line.fields, line.n_fields,
		      "cut off a client of %s that broke the protocol: %s", party->name, fault);
}

void gm_report_turned_away(struct gm_party *party, const struct gm_conn_peer *peer, int result)
{
	int level = result < 0 ? LOG_ERR : LOG_INFO;
	struct line line = { .n_fields = 0 };
	uint32_t held_back;

	if (!may_write(level, &party->refusals, &held_back))
		return;
	mention_held_back(party, level, "refusals", held_back);
	add_conn_peer(&line, party, peer);
	gm_log_fields(level, line.fields, line.n_fields, "turned a client of %s away: %s",
		      party->name, result < 0 ? gm_strerror(-result) : gm_verdict_name(result));
}

void gm_report_shortage(struct gm_party *party, int error)
{
	uint32_t held_back;

	if (!may_write(LOG_ERR, &report.shortages, &held_back))
		return;
	gm_log(LOG_ERR, "short of something for a client of %s: %s", party->name,
	       gm_strerror(error));
}
