/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>

#include "call.h"
#include "gm_fault.h"
#include "status.h"

bool gm_link_is_full(const struct gm_link *link)
{
	return link->n_pending >= GM_REQUESTS_MAX;
}

bool gm_link_is_open(const struct gm_link *link)
{
	return link->session->state == GM_SESSION_OPEN;
}

int gm_link_pidfd(const struct gm_link *link)
{
	if (link->ops == NULL)
		return link->pidfd;
	return link->ops->pidfd != NULL ? link->ops->pidfd(link->channel) : -1;
}

const struct gm_session *gm_link_session(const struct gm_link *link)
{
	return link->session;
}

struct gm_counters *gm_link_counters(struct gm_link *link)
{
	struct gm_tenant *tenant = link->session->tenant;

	return tenant != NULL ? &tenant->counters : &link->service->book->counters;
}

int gm_link_send(struct gm_link *link, const struct gm_frame *frame,
		 const ProtobufCMessage *message, const int *fds)
{
	uint8_t *body = link->service->body;
	struct gm_frame out = *frame;
	size_t length;
	int r;

	if (link->ops == NULL)
		return 0;
	r = gm_msg_pack(message, body, &length);
	if (r < 0)
		return r;
	out.version = GM_PROTOCOL_VERSION;
	out.body_length = (uint32_t)length;
	link->ops->send(link->channel, &out, body, fds);
	return 0;
}

int gm_link_answer(struct gm_link *link, const struct gm_frame *frame,
		   const ProtobufCMessage *message, const int *fds)
{
	uint8_t *body = link->service->body;
	struct gm_frame out = *frame;
	size_t length;
	int r;

	r = gm_msg_pack(message, body, &length);
	if (r < 0)
		return r;
	gm_link_record(link, frame, body, length);
	if (link->ops == NULL)
		return 0;
	out.version = GM_PROTOCOL_VERSION;
	out.body_length = (uint32_t)length;
	GM_FAULT_POINT("answer: recorded");
	link->ops->send(link->channel, &out, body, fds);
	GM_FAULT_POINT("answer: sent");
	return 0;
}

void gm_link_tell(struct gm_link *link, const struct gm_frame *frame,
		  const ProtobufCMessage *message)
{
	int r = gm_link_send(link, frame, message, NULL);

	assert(r == 0);
}

void gm_link_refuse(struct gm_link *link, uint16_t type, uint32_t serial, int result,
		    const struct gm_refusal *refusal)
{
	const char *verb = gm_method_find(type)->name;
	struct gm_status status;
	struct gm_news news;

	gm_status_fill(&status, result, refusal, verb);
	news = gm_link_news(link, result < 0 ? GM_NEWS_FAILURE : GM_NEWS_REFUSAL, status.text);
	news.verb = verb;
	news.result = result;
	news.rule = result > 0 ? refusal->rule : GM_RULE_NONE;
	news.unsaid = result > 0 ? refusal->unsaid : NULL;
	gm_counters_answer(gm_link_counters(link), result, news.rule);
	gm_service_tell(link->service, &news);
	gm_link_tell(link,
		     &(struct gm_frame){ .type = type,
					 .flags = GM_FRAME_ANSWER | GM_FRAME_REFUSED,
					 .serial = serial },
		     &status.message.base);
}

void gm_link_tell_gone(struct gm_link *link, struct gm_domain_id domain, Gmem__Farewell why)
{
	Gmem__DomainGoneEvent event = GMEM__DOMAIN_GONE_EVENT__INIT;

	event.has_domain = 1;
	event.domain = domain.v;
	event.has_why = 1;
	event.why = why;
	gm_link_tell(link,
		     &(struct gm_frame){ .type = GM_EVENT_DOMAIN_GONE, .flags = GM_FRAME_EVENT },
		     &event.base);
}

struct gm_pending *gm_link_find_pending(struct gm_link *link, uint32_t serial)
{
	struct gm_pending *pending;

	TAILQ_FOREACH(pending, &link->pending, entry) {
		if (pending->serial == serial)
			return pending;
	}
	return NULL;
}

void gm_link_release(struct gm_link *link)
{
	if (link->ops != NULL || link->n_pending > 0)
		return;
	TAILQ_REMOVE(&link->service->links, link, entry);
	gm_link_let_go(link);
	gm_book_close_session(link->service->book, link->session);
	free(link);
}
