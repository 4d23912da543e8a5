/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CONVERTED: conversions that the VMM has made under a standing order.
 *
 * A report is booked as soon as it comes, and answered when the half that its pages have left is
 * free: the VMM has freed it, or a worker does. Meanwhile the next reports of the region wait, so
 * they are booked in their order, and no page is touched that a later one speaks of. Over
 * ConversionRate= it is the answer that comes later: who has no more reports to send, waits.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gm_fault.h"
#include "step.h"

/* How often freeing is tried, and how many jobs one report may need. */
#define TRIES_MAX 3
#define JOBS_MAX 8

/* The halves in turn. */
enum {
	LOOK_PRIVATE,
	LOOK_SHARED,
	LOOK_DONE,
};

/* A report that is not answered yet. */
struct gm_report {
	struct gm_watch *timer; /* the answer comes when it rings */
	bool waits;		/* for another to be done: it is not booked yet */
	uint64_t order;
	uint64_t number;
	int look; /* what of the two halves is free: all before this */
	unsigned n_tries;
	unsigned n_jobs;
	struct gm_exec_left left; /* that is being freed */
	size_t n;
	struct gm_conversion conversions[];
};

bool gm_order_offer(const struct gm_service *service, struct gm_region *region, Gmem__Order *order)
{
	uint64_t id;

	/* Without a number to draw there is none this time. */
	if (gm_service_draw_id(service, &id) != 0 || !gm_book_begin_order(region, id))
		return false;
	gmem__order__init(order);
	order->has_order = 1;
	order->order = region->order.id;
	order->has_room = 1;
	order->room = gm_order_limit(&region->order);
	order->has_granularity = 1;
	order->granularity = region->order.granularity;
	order->has_reports_max = 1;
	order->reports_max = GM_ORDER_REPORTS;
	order->has_conversions_max = 1;
	order->conversions_max = GM_CONVERSIONS_MAX;
	return true;
}

static void fill_answer(struct gm_region *region, Gmem__ConvertedReply *reply)
{
	gm_book_renew_order(region);
	reply->has_room = 1;
	reply->room = gm_order_limit(&region->order);
}

/* ---- booking ---- */

static int lose(struct gm_service *service, struct gm_region *region,
		const struct gm_report *report, struct gm_refusal *refusal)
{
	int r = gm_book_lose_report(region, report->conversions, report->n, refusal);

	gm_step_tell_lost(service, region, "a report came that no standing order covers");
	return r;
}

static void spend(const struct gm_service *service, struct gm_tenant *tenant, size_t n)
{
	if (tenant->policy.conversion_rate != GM_UNLIMITED)
		gm_tenant_spend_conversions(tenant, n, gm_service_now(service));
}

/* It does not wait (any more). 0: it is booked. */
static int book(struct gm_service *service, struct gm_region *region, enum gm_report_place place,
		struct gm_report *report, struct gm_refusal *refusal)
{
	int r;

	if (place == GM_REPORT_KNOWN) {
		if (!gm_book_may_come_again(region, report->conversions, report->n))
			return lose(service, region, report, refusal);
		/* Whatever comes after it began when this had been cleaned up after. */
		if (region->step != NULL || region->n_jobs > 0 ||
		    gm_book_check_usable(region, NULL) != 0)
			report->look = LOOK_DONE;
		return 0;
	}
	if (place != GM_REPORT_NEXT)
		return lose(service, region, report, refusal);
	spend(service, region->domain->tenant, report->n);
	r = gm_book_report(region, report->conversions, report->n, refusal);
	if (r != 0)
		gm_step_tell_lost(service, region, "a report went beyond its standing order");
	return r;
}

/* ---- the other half ---- */

static bool find_left(const struct gm_service *service, const struct gm_region *region,
		      struct gm_report *report)
{
	for (; report->look < LOOK_DONE; report->look++)
		if (gm_exec_find_left(service->exec, region, report->look == LOOK_PRIVATE,
				      report->conversions, report->n, &report->left))
			return true;
	return false;
}

static void freed(void *arg, int result, const struct gm_refusal *refusal, uint64_t bytes);

static const struct gm_exec_job_ops freeing_ops = { .end = freed };

static int start_freeing(struct gm_pending *pending, struct gm_region *region,
			 struct gm_refusal *refusal)
{
	struct gm_report *report = pending->report;
	struct gm_link *link = pending->link;
	int r = -ELOOP;

	report->n_tries++;
	region->order.frees = true;
	if (report->n_jobs++ < JOBS_MAX)
		r = gm_exec_free_half(link->service->exec, link->session, gm_link_pidfd(link),
				      region, report->left.private_half, report->left.ranges,
				      report->left.n_ranges, &freeing_ops, pending, &pending->job,
				      refusal);
	GM_FAULT_POINT("report: freeing");
	if (r != 0)
		region->order.frees = false;
	return r;
}

/* What is held twice and cannot be freed is of no use to anybody. */
static void give_up(struct gm_service *service, struct gm_region *region,
		    const struct gm_exec_left *left)
{
	gm_book_lose_ranges(region, left->ranges, left->n_ranges);
	gm_step_tell_lost(service, region, "what a conversion gave up could not be freed");
}

/* ---- later ---- */

void gm_report_free(struct gm_pending *pending)
{
	const struct gm_loop_ref *loop = &pending->link->service->env.loop;
	struct gm_region *region = gm_pending_region(pending);

	if (pending->report->waits && region != NULL)
		region->order.n_waiting--;
	if (pending->report->timer != NULL)
		loop->ops->watch_free(pending->report->timer);
	free(pending->report);
	gm_pending_free(pending);
}

static void refuse_late(struct gm_pending *pending, int result, const struct gm_refusal *refusal)
{
	struct gm_link *link = pending->link;
	uint16_t type = pending->type;
	uint32_t serial = pending->serial;

	gm_report_free(pending);
	gm_service_settle(link->service);
	if (link->ops != NULL)
		gm_link_refuse(link, type, serial, result, refusal);
}

static void answer_late(struct gm_pending *pending, struct gm_region *region)
{
	Gmem__ConvertedReply reply = GMEM__CONVERTED_REPLY__INIT;
	int r;

	fill_answer(region, &reply);
	r = gm_link_answer(pending->link,
			   &(struct gm_frame){ .type = pending->type,
					       .flags = GM_FRAME_ANSWER,
					       .serial = pending->serial },
			   &reply.base, NULL);
	/* Cannot fail: one number always fits. */
	assert(r == 0);
	gm_counters_answer(gm_link_counters(pending->link), 0, GM_RULE_NONE);
	gm_report_free(pending);
}

static void on_time(void *arg);

/* The tenant's rate says when it is answered: now, or when the timer rings. 0 or -errno. */
static int answer_in_time(struct gm_pending *pending, struct gm_region *region)
{
	struct gm_service *service = pending->link->service;
	const struct gm_loop_ref *loop = &service->env.loop;
	uint32_t ms = gm_convert_wait_ms(service, region->domain->tenant);
	struct gm_report *report = pending->report;
	int r = 0;

	if (ms == 0) {
		answer_late(pending, region);
		return 0;
	}
	if (report->timer == NULL)
		r = loop->ops->timer_new(loop->loop, on_time, pending, &report->timer);
	if (r == 0)
		loop->ops->timer_set(report->timer, ms);
	return r;
}

/* One that is not being freed: as far as it comes. It may be gone then. */
static void go_on(struct gm_pending *pending)
{
	struct gm_service *service = pending->link->service;
	struct gm_report *report = pending->report;
	struct gm_region *region = gm_pending_region(pending);
	struct gm_refusal refusal = { 0 };
	int r = 0;

	if (region == NULL) {
		r = gm_refuse(&refusal, GM_NO_SUCH_OBJECT, GM_RULE_NONE, "region");
		refuse_late(pending, r, &refusal);
		return;
	}
	if (report->waits) {
		enum gm_report_place place =
			gm_book_place_report(region, report->order, report->number);

		if (place == GM_REPORT_EARLY)
			return;
		report->waits = false;
		region->order.n_waiting--;
		r = book(service, region, place, report, &refusal);
	}
	if (r == 0 && find_left(service, region, report)) {
		r = start_freeing(pending, region, &refusal);
		if (r != 0)
			give_up(service, region, &report->left);
	} else if (r == 0) {
		r = answer_in_time(pending, region);
	}
	if (r != 0)
		refuse_late(pending, r, &refusal);
}

static void on_time(void *arg)
{
	struct gm_pending *pending = arg;
	struct gm_service *service = pending->link->service;

	go_on(pending);
	gm_service_settle(service);
}

/* Nothing is being freed any more, or the region has gone. */
static void wake(struct gm_link *link, uint64_t region)
{
	struct gm_pending *pending = TAILQ_FIRST(&link->pending);

	while (pending != NULL) {
		struct gm_pending *next = TAILQ_NEXT(pending, entry);

		if (pending->report != NULL && pending->report->waits && pending->region == region)
			go_on(pending);
		pending = next;
	}
}

static void freed(void *arg, int result, const struct gm_refusal *refusal, uint64_t bytes)
{
	struct gm_pending *pending = arg;
	struct gm_link *link = pending->link;
	struct gm_service *service = link->service;
	struct gm_report *report = pending->report;
	struct gm_region *region = gm_pending_region(pending);
	struct gm_refusal again = *refusal;
	uint64_t region_id = pending->region;

	(void)bytes;
	GM_FAULT_POINT("report: freed");
	pending->job = NULL;
	if (region != NULL)
		region->order.frees = false;
	if (region != NULL && result != 0 && report->n_tries < TRIES_MAX) {
		result = start_freeing(pending, region, &again);
		if (result == 0)
			return;
	}
	if (region != NULL && result != 0) {
		give_up(service, region, &report->left);
		refuse_late(pending, result, &again);
	} else {
		report->n_tries = 0;
		/* There may be more of it, where it was all that there was room for. */
		if (!report->left.more)
			report->look++;
		go_on(pending);
	}
	wake(link, region_id);
	gm_link_release(link);
	gm_service_settle(service);
}

/* ---- now ---- */

/* The report outlives the request. */
static int defer(struct gm_call *call, const struct gm_region *region,
		 const struct gm_report *report, struct gm_pending **ret_pending)
{
	size_t size = sizeof(*report) + report->n * sizeof(report->conversions[0]);
	struct gm_pending *pending = gm_pending_new(call);
	struct gm_report *own = malloc(size);

	if (pending == NULL || own == NULL) {
		free(pending);
		free(own);
		return -ENOMEM;
	}
	memcpy(own, report, size);
	pending->report = own;
	pending->domain = region->domain->id.v;
	pending->region = region->id.v;
	gm_pending_enter(call, pending);
	*ret_pending = pending;
	return 0;
}

static bool read_conversion(const uint64_t *pair, struct gm_conversion *conversion)
{
	uint64_t offset = gm_align_down(pair[0], GM_PAGE_4K);

	conversion->range = (struct gm_range){ offset, pair[1] };
	switch (pair[0] - offset) {
	case GMEM__PAGE_STATE__PAGE_SHARED:
		conversion->op = GM_PAGE_OP_TO_SHARED;
		return true;
	case GMEM__PAGE_STATE__PAGE_PRIVATE:
		conversion->op = GM_PAGE_OP_TO_PRIVATE;
		return true;
	default:
		return false;
	}
}

/* In the arena. What follows on something that cannot be understood is left out: no order has it.
 */
static struct gm_report *read_report(struct gm_call *call)
{
	const Gmem__ConvertedRequest *request = call->request;
	size_t n = request->n_conversions / 2;
	struct gm_report *report =
		gm_call_alloc(call, sizeof(*report) + n * sizeof(report->conversions[0]));

	if (report == NULL)
		return NULL;
	report->order = request->order;
	report->number = request->number;
	while (report->n < n && read_conversion(&request->conversions[2 * report->n],
						&report->conversions[report->n]))
		report->n++;
	if (report->n == 0 || 2 * report->n != request->n_conversions)
		report->order = 0;
	return report;
}

/* It is booked, and something is to be done before it is answered. */
static int finish_later(struct gm_call *call, struct gm_region *region,
			const struct gm_report *report, bool has_left)
{
	struct gm_pending *pending = NULL;
	int r;

	r = defer(call, region, report, &pending);
	if (r == 0 && has_left)
		r = start_freeing(pending, region, &call->refusal);
	else if (r == 0)
		r = answer_in_time(pending, region);
	if (r == 0)
		return 0;
	if (has_left)
		give_up(call->service, region, &report->left);
	if (pending != NULL)
		gm_report_free(pending);
	call->deferred = false;
	return r;
}

/* Where nothing is private nothing is converted, and no page is lost by a word. */
static int check_kind(struct gm_call *call, const struct gm_region *region)
{
	const struct gm_domain *domain = region->domain;

	if (domain->traits & GM_TRAIT_PRIVATE)
		return 0;
	return gm_refuse_text(&call->refusal, GM_UNSUPPORTED, GM_RULE_PAGE_STATE, "region",
			      "memory of kind %s has no private pages", domain->kind);
}

int gm_handle_converted(struct gm_call *call)
{
	const Gmem__ConvertedRequest *request = call->request;
	enum gm_report_place place;
	struct gm_region *region;
	struct gm_report *report;
	struct gm_pending *pending;
	bool has_left;
	int r;

	r = gm_book_find_attached_region(call->book, call->session,
					 (struct gm_region_id){ request->region }, &region,
					 &call->refusal);
	if (r == 0)
		r = check_kind(call, region);
	if (r != 0)
		return r;
	report = read_report(call);
	if (report == NULL)
		return -ENOMEM;
	place = gm_book_place_report(region, report->order, report->number);
	if (place == GM_REPORT_EARLY && region->order.n_waiting < GM_ORDER_REPORTS) {
		report->waits = true;
		r = defer(call, region, report, &pending);
		if (r == 0)
			region->order.n_waiting++;
		return r;
	}
	r = book(call->service, region, place, report, &call->refusal);
	if (r != 0)
		return r;
	has_left = find_left(call->service, region, report);
	if (has_left || gm_convert_wait_ms(call->service, region->domain->tenant) > 0)
		return finish_later(call, region, report, has_left);
	fill_answer(region, call->answer);
	return 0;
}
