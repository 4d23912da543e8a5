/* SPDX-License-Identifier: Apache-2.0 */
/*
 * News: counted, logged, and told to the sessions that watch. WATCH makes a session one of them.
 *
 * A watcher that does not read loses news and is told how many with the next that reaches it:
 * nothing waits for it, and nothing is kept for it beyond what its channel takes.
 */
#include <assert.h>

#include "call.h"

/*
 * What one client does is told to all who watch its tenant: more of them would let a tenant make
 * the daemon work many times for each of its requests.
 */
#define WATCHERS_MAX 4

static struct gm_counters *counters_of(struct gm_service *service, const struct gm_news *news)
{
	return news->tenant != NULL ? &news->tenant->counters : &service->book->counters;
}

static void fill_text(const char *text, protobuf_c_boolean *has, ProtobufCBinaryData *field)
{
	*has = text != NULL && text[0] != '\0';
	if (*has)
		*field = gm_bytes(text);
}

static void fill_ids(const struct gm_news *news, Gmem__NewsEvent *event)
{
	event->has_domain = news->domain != 0;
	event->domain = news->domain;
	event->has_region = news->region != 0;
	event->region = news->region;
	event->has_bytes = news->bytes != 0;
	event->bytes = news->bytes;
}

static void fill_peer(const struct gm_news *news, bool for_admin, Gmem__NewsEvent *event)
{
	/* Who the operator is, is nothing to a tenant. */
	if (!news->has_peer || (news->by_operator && !for_admin))
		return;
	event->has_pid = 1;
	event->pid = (uint32_t)news->peer.pid;
	event->has_uid = 1;
	event->uid = news->peer.uid;
	fill_text(news->client, &event->has_client, &event->client);
}

static void fill_event(const struct gm_service *service, const struct gm_news *news, bool for_admin,
		       Gmem__NewsEvent *event)
{
	int code = news->result < 0 ? GM_FAILED : news->result;

	gmem__news_event__init(event);
	event->has_kind = 1;
	event->kind = (Gmem__NewsKind)news->kind;
	event->has_ms = 1;
	event->ms = gm_service_now(service) - service->started_ms;
	if (for_admin && news->tenant != NULL)
		fill_text(news->tenant->name, &event->has_tenant, &event->tenant);
	fill_ids(news, event);
	fill_text(news->verb, &event->has_verb, &event->verb);
	event->has_code = code != 0;
	event->code = (Gmem__Code)code;
	event->has_rule = news->rule != GM_RULE_NONE;
	event->rule = (Gmem__Rule)news->rule;
	fill_peer(news, for_admin, event);
	fill_text(news->text, &event->has_text, &event->text);
}

static void tell_watcher(struct gm_link *link, Gmem__NewsEvent *event)
{
	if (link->ops->has_room != NULL && !link->ops->has_room(link->channel)) {
		link->n_news_lost++;
		return;
	}
	event->has_lost = link->n_news_lost != 0;
	event->lost = link->n_news_lost;
	link->n_news_lost = 0;
	gm_link_tell(link, &(struct gm_frame){ .type = GM_EVENT_NEWS, .flags = GM_FRAME_EVENT },
		     &event->base);
}

static void tell_watchers(struct gm_service *service, const struct gm_news *news)
{
	struct gm_link *link;

	TAILQ_FOREACH(link, &service->watchers, watchers_entry) {
		const struct gm_tenant *tenant = link->session->tenant;
		Gmem__NewsEvent event;

		if (tenant != NULL && tenant != news->tenant)
			continue;
		fill_event(service, news, tenant == NULL, &event);
		tell_watcher(link, &event);
	}
}

void gm_service_tell(struct gm_service *service, const struct gm_news *news)
{
	assert((unsigned)news->kind < GM_NEWS_N_ && news->text != NULL);
	counters_of(service, news)->news[news->kind]++;
	service->env.log(news);
	tell_watchers(service, news);
}

struct gm_news gm_link_news(const struct gm_link *link, enum gm_news_kind kind, const char *text)
{
	const struct gm_session *session = link->session;
	bool has_pidfd = link->ops != NULL && link->ops->pidfd != NULL;

	return (struct gm_news){
		.kind = kind,
		.tenant = session->tenant,
		.has_peer = true,
		.by_operator = session->tenant == NULL,
		.peer = session->peer,
		.pidfd = has_pidfd ? link->ops->pidfd(link->channel) : -1,
		.client = session->client,
		.text = text,
	};
}

void gm_link_tell_domain(struct gm_service *service, const struct gm_link *link,
			 enum gm_news_kind kind, const struct gm_domain *domain, const char *text)
{
	struct gm_news news = { .kind = kind, .pidfd = -1, .text = text };

	if (link != NULL)
		news = gm_link_news(link, kind, text);
	news.tenant = domain->tenant;
	news.domain = domain->id.v;
	news.bytes = domain->reserved_bytes;
	gm_service_tell(service, &news);
}

void gm_service_violation(struct gm_link *link, const char *fault)
{
	const struct gm_news news = gm_link_news(link, GM_NEWS_VIOLATION, fault);

	gm_service_tell(link->service, &news);
}

void gm_link_stop_watching(struct gm_link *link)
{
	if (link->watches)
		TAILQ_REMOVE(&link->service->watchers, link, watchers_entry);
	link->watches = false;
}

static unsigned count_watchers(const struct gm_service *service, const struct gm_tenant *tenant)
{
	const struct gm_link *link;
	unsigned n = 0;

	TAILQ_FOREACH(link, &service->watchers, watchers_entry)
		n += link->session->tenant == tenant;
	return n;
}

int gm_handle_watch(struct gm_call *call)
{
	const struct gm_tenant *tenant = call->session->tenant;
	struct gm_service *service = call->service;
	Gmem__WatchReply *reply = call->answer;
	unsigned n = count_watchers(service, tenant);

	reply->has_uptime_ms = 1;
	reply->uptime_ms = gm_service_now(service) - service->started_ms;
	if (call->link->watches)
		return 0;
	if (n >= WATCHERS_MAX)
		return gm_refuse_numbers(&call->refusal, GM_OVER_LIMIT, GM_RULE_WATCHERS,
					 tenant != NULL ? tenant->account.name : "admin",
					 WATCHERS_MAX, n, 1);
	call->link->watches = true;
	TAILQ_INSERT_TAIL(&service->watchers, call->link, watchers_entry);
	return 0;
}
