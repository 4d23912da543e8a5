/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ALLOCATE, DISCARD and CANCEL: requests that a worker carries out, and that are answered when it
 * is done.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "call.h"

/* Often enough for a progress bar, seldom enough for the socket. */
#define PROGRESS_MS 100

void gm_pending_progress(struct gm_pending *pending, uint64_t done, uint64_t total)
{
	Gmem__ProgressEvent event = GMEM__PROGRESS_EVENT__INIT;
	uint64_t now_ms = gm_service_now(pending->link->service);

	gm_service_settle(pending->link->service);
	if (pending->told && now_ms - pending->progress_ms < PROGRESS_MS)
		return;
	pending->told = true;
	pending->progress_ms = now_ms;
	event.has_serial = 1;
	event.serial = pending->serial;
	event.has_done = 1;
	event.done = done;
	event.has_total = 1;
	event.total = total;
	gm_link_tell(pending->link,
		     &(struct gm_frame){ .type = GM_EVENT_PROGRESS, .flags = GM_FRAME_EVENT },
		     &event.base);
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	gm_pending_progress(arg, done, total);
}

/* Cannot fail: a few numbers always fit. */
static void send_done(struct gm_pending *pending, uint64_t bytes)
{
	Gmem__AllocateReply allocated = GMEM__ALLOCATE_REPLY__INIT;
	Gmem__DiscardReply discarded = GMEM__DISCARD_REPLY__INIT;
	bool allocate = pending->type == GM_MSG_ALLOCATE;
	int r;

	allocated.has_bytes = 1;
	allocated.bytes = bytes;
	discarded.has_bytes = 1;
	discarded.bytes = bytes;
	r = gm_link_answer(pending->link,
			   &(struct gm_frame){ .type = pending->type,
					       .flags = GM_FRAME_ANSWER,
					       .serial = pending->serial },
			   allocate ? &allocated.base : &discarded.base, NULL);
	assert(r == 0);
}

static void tell_end(const struct gm_pending *pending, int result, const struct gm_refusal *refusal,
		     uint64_t bytes)
{
	struct gm_link *link = pending->link;
	struct gm_counters *counters = gm_link_counters(link);
	struct gm_service *service = link->service;
	struct gm_news news = gm_link_news(link, GM_NEWS_JOB, "a job was done");

	if (result != 0 && result != GM_WORKER_LOST)
		return;
	news.verb = gm_method_find(pending->type)->name;
	news.domain = pending->domain;
	news.region = pending->region;
	news.bytes = bytes;
	if (result == 0) {
		gm_counters_answer(counters, 0, GM_RULE_NONE);
		gm_histogram_add(&counters->job_us, service->env.now_us() - pending->started_us);
	} else {
		news.kind = GM_NEWS_WORKER;
		news.result = result;
		news.rule = refusal->rule;
		news.text = refusal->text;
		news.unsaid = refusal->unsaid;
	}
	gm_service_tell(service, &news);
}

void gm_pending_free(struct gm_pending *pending)
{
	struct gm_link *link = pending->link;

	TAILQ_REMOVE(&link->pending, pending, entry);
	link->n_pending--;
	link->service->n_jobs -= !pending->idle;
	free(pending);
}

struct gm_region *gm_pending_region(const struct gm_pending *pending)
{
	const struct gm_link *link = pending->link;
	struct gm_region *region;

	if (gm_book_find_region(link->service->book, link->session,
				(struct gm_region_id){ pending->region }, &region, NULL) != 0)
		return NULL;
	return region;
}

void gm_pending_end(struct gm_pending *pending, int result, const struct gm_refusal *refusal)
{
	struct gm_link *link = pending->link;
	struct gm_service *service = link->service;
	uint16_t type = pending->type;
	uint32_t serial = pending->serial;

	gm_pending_free(pending);
	/* The pages that were dealt with are told by the page map. */
	if (result != 0)
		gm_service_settle(service);
	/* A job that its client has left behind was cancelled, not refused. */
	if (result != 0 && link->ops != NULL)
		gm_link_refuse(link, type, serial, result, refusal);
	gm_link_release(link);
	gm_service_settle(service);
}

static void on_end(void *arg, int result, const struct gm_refusal *refusal, uint64_t bytes)
{
	struct gm_pending *pending = arg;

	if (result == 0)
		send_done(pending, bytes);
	tell_end(pending, result, refusal, bytes);
	gm_pending_end(pending, result, refusal);
}

static const struct gm_exec_job_ops job_ops = { .progress = on_progress, .end = on_end };

int gm_call_read_ranges(struct gm_call *call, size_t n, Gmem__Range *const *messages,
			struct gm_range **ret_ranges)
{
	/* An empty list is the books' to refuse. */
	struct gm_range *ranges = gm_call_alloc(call, (n + 1) * sizeof(*ranges));

	if (ranges == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		ranges[i].offset = messages[i]->offset;
		ranges[i].length = messages[i]->length;
	}
	*ret_ranges = ranges;
	return 0;
}

struct gm_pending *gm_pending_new(struct gm_call *call)
{
	struct gm_pending *pending = calloc(1, sizeof(*pending));

	if (pending == NULL)
		return NULL;
	pending->link = call->link;
	pending->serial = call->frame->serial;
	pending->type = call->frame->type;
	pending->started_us = call->started_us;
	return pending;
}

void gm_pending_enter(struct gm_call *call, struct gm_pending *pending)
{
	TAILQ_INSERT_TAIL(&call->link->pending, pending, entry);
	call->link->n_pending++;
	call->service->n_jobs += !pending->idle;
	call->deferred = true;
}

int gm_call_start_job(struct gm_call *call, struct gm_region *region, enum gm_page_op op,
		      struct gm_range *ranges, size_t n, const struct gm_exec_job_ops *ops)
{
	struct gm_pending *pending = gm_pending_new(call);
	int r;

	if (pending == NULL)
		return -ENOMEM;
	r = gm_exec_start_job(call->exec, call->session, gm_link_pidfd(call->link), region, op,
			      ranges, n, ops, pending, &pending->job, &call->refusal);
	if (r != 0) {
		free(pending);
		return r;
	}
	pending->domain = region->domain->id.v;
	pending->region = region->id.v;
	gm_pending_enter(call, pending);
	return 0;
}

int gm_call_check_room(struct gm_call *call)
{
	if (!gm_link_is_full(call->link))
		return 0;
	return gm_refuse_numbers(&call->refusal, GM_OVER_LIMIT, GM_RULE_REQUESTS, "session",
				 GM_REQUESTS_MAX, call->link->n_pending, 1);
}

static int handle(struct gm_call *call, uint64_t region_id, enum gm_page_op op, size_t n,
		  Gmem__Range *const *messages)
{
	struct gm_region *region;
	struct gm_range *ranges;
	int r;

	r = gm_call_check_room(call);
	if (r == 0)
		r = gm_book_find_attached_region(call->book, call->session,
						 (struct gm_region_id){ region_id }, &region,
						 &call->refusal);
	if (r == 0)
		r = gm_call_read_ranges(call, n, messages, &ranges);
	if (r != 0)
		return r;
	return gm_call_start_job(call, region, op, ranges, n, &job_ops);
}

int gm_handle_allocate(struct gm_call *call)
{
	const Gmem__AllocateRequest *request = call->request;

	return handle(call, request->region, GM_PAGE_OP_ALLOCATE, request->n_ranges,
		      request->ranges);
}

int gm_handle_discard(struct gm_call *call)
{
	const Gmem__DiscardRequest *request = call->request;

	return handle(call, request->region, GM_PAGE_OP_DISCARD, request->n_ranges,
		      request->ranges);
}

int gm_handle_cancel(struct gm_call *call)
{
	const Gmem__CancelRequest *request = call->request;
	Gmem__CancelReply *reply = call->answer;
	struct gm_pending *pending = gm_link_find_pending(call->link, request->serial);

	/* What frees the other half is no job of the client's. */
	if (pending != NULL && pending->job == NULL)
		pending = NULL;
	if (pending != NULL && (pending->freeing != NULL || pending->report != NULL))
		pending = NULL;
	if (pending != NULL)
		gm_exec_cancel_job(pending->job);
	reply->has_found = 1;
	reply->found = pending != NULL;
	return 0;
}
