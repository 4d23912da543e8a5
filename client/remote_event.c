/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_msg.h"
#include "info.h"
#include "remote.h"

static void domain_gone(struct gmem_client *client, uint64_t id, int why)
{
	int type = why == GMEM__FAREWELL__FAREWELL_TAKEN_OVER ? GMEM_EVENT_DOMAIN_TAKEN_OVER
							      : GMEM_EVENT_DOMAIN_EVICTED;
	struct gmem_domain *domain = gm_client_find_domain(client, id);

	/* Without a handle the program has given it up itself, at the same moment. */
	if (!domain)
		return;
	domain->gone = true;
	gm_client_tell(client, type, domain, 0);
}

static void deliver_progress(struct gmem_client *client, const Gmem__ProgressEvent *message)
{
	uint32_t serial = message->serial;
	uint64_t done = message->done;
	uint64_t total = message->total;

	gm_arena_clear(&client->remote->scratch, false);
	client->remote->link.proven = true;
	gm_remote_job_progress(client, serial, done, total);
}

static void deliver_domain_gone(struct gmem_client *client, const Gmem__DomainGoneEvent *message)
{
	uint64_t id = message->domain;
	int why = (int)message->why;

	gm_arena_clear(&client->remote->scratch, false);
	domain_gone(client, id, why);
}

static void deliver_shutdown(struct gmem_client *client, const Gmem__ShutdownEvent *message)
{
	uint64_t drain_ms = message->drain_ms;

	gm_arena_clear(&client->remote->scratch, false);
	gm_client_tell(client, GMEM_EVENT_SHUTDOWN, NULL, drain_ms);
}

static void deliver_news(struct gmem_client *client, const Gmem__NewsEvent *message)
{
	struct gmem_news news;

	gm_info_news(message, &news);
	gm_arena_clear(&client->remote->scratch, false);
	if (client->news)
		client->news(client->news_arg, &news);
}

void gm_remote_event(struct gmem_client *client, const struct gm_frame *frame, const void *body)
{
	const struct gm_msg_format *format = gm_msg_format(frame->type);
	struct gm_arena *scratch = &client->remote->scratch;
	ProtobufCMessage *message;
	enum gm_msg_fault fault;

	/* An event of a later daemon. */
	if (!format || format->request)
		return;
	fault = gm_msg_unpack_answer(format->answer, body, frame->body_length, scratch, &message);
	if (fault != GM_MSG_GOOD) {
		gm_arena_clear(scratch, false);
		gm_remote_end(client, GMEM_PROTOCOL, "The daemon sent a bad event: %s.",
			      gm_msg_fault_text(fault));
		return;
	}
	switch (frame->type) {
	case GM_EVENT_PROGRESS:
		deliver_progress(client, (const Gmem__ProgressEvent *)message);
		break;
	case GM_EVENT_DOMAIN_GONE:
		deliver_domain_gone(client, (const Gmem__DomainGoneEvent *)message);
		break;
	case GM_EVENT_SHUTDOWN:
		deliver_shutdown(client, (const Gmem__ShutdownEvent *)message);
		break;
	case GM_EVENT_NEWS:
		deliver_news(client, (const Gmem__NewsEvent *)message);
		break;
	default:
		gm_arena_clear(scratch, false);
		break;
	}
}
