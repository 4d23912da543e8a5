/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STEP_MEMORY, REGION_BIND and STEP_DONE: what the VMM is told to do with private memory,
 * and what it says came of it.
 *
 * The VMM itself frees the half that a conversion gives up: it pays for the time, and the daemon's
 * loop never waits for a lock of the VMM's file (kvm_gmem_punch_hole takes the invalidate lock,
 * which another call of the VMM may hold for seconds). The daemon looks whether it has been done,
 * and a worker does what was left undone.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"
#include "gm_fault.h"
#include "step.h"

#define SAME_KIND(name) \
	_Static_assert((int)GM_STEP_##name == (int)GMEM__STEP_KIND__STEP_##name, #name " differs")
SAME_KIND(NONE);
SAME_KIND(CREATE_MEMORY);
SAME_KIND(BIND);
SAME_KIND(CONVERT);
SAME_KIND(LAUNCH_START);
SAME_KIND(POPULATE);
SAME_KIND(LAUNCH_FINISH);
SAME_KIND(MOVE);
_Static_assert(GM_STEP_KIND_N_ == 8, "a new step is compared with its number here");

/* How often freeing the other half is tried. */
#define FREEINGS_MAX 3

/* The other half of a conversion that was reported, until it is free. */
struct gm_freeing {
	unsigned n_tries;
	size_t n_ranges;
	struct gm_range ranges[];
};

int gm_step_draw(const struct gm_service *service, struct gm_step_spec *spec)
{
	int r = gm_service_draw_id(service, &spec->id);

	if (r == 0)
		r = service->env.random(&spec->key, sizeof(spec->key));
	spec->deadline_ms = gm_service_now(service) + GM_STEP_MS;
	return r;
}

void gm_step_write(Gmem__Step *step, uint64_t id, enum gm_step_kind kind)
{
	gmem__step__init(step);
	step->has_step = 1;
	step->step = id;
	step->has_kind = 1;
	step->kind = (Gmem__StepKind)kind;
	step->has_patience_ms = 1;
	step->patience_ms = GM_STEP_MS;
}

void gm_step_fill(const struct gm_region *region, Gmem__Step *step)
{
	gm_step_write(step, region->step->id, region->step->kind);
}

static int fill_step(struct gm_call *call, const struct gm_region *region, Gmem__Step **ret_step)
{
	Gmem__Step *step = gm_call_alloc(call, sizeof(*step));

	if (step == NULL)
		return -ENOMEM;
	gm_step_fill(region, step);
	*ret_step = step;
	return 0;
}

/* A slow host clears 256 MiB a second. */
static uint32_t allocation_ms(uint64_t size)
{
	return (uint32_t)gm_min_u64(size / (256 * GM_KIB), UINT32_MAX - GM_STEP_MS);
}

/*
 * Preallocate=: the VMM allocates the private half itself, whose memory it is and who pays for it.
 * All pages begin there, and no page is in both halves: that is all of the guest's memory.
 */
int gm_step_order_memory(struct gm_call *call, struct gm_region *region, Gmem__Step **ret_step)
{
	const struct gm_exec_backend *slot = gm_exec_find(call->exec, region->domain->kind);
	const struct gm_private_half *half = slot->backend->private_half;
	bool in_place = region->domain->traits & GM_TRAIT_IN_PLACE;
	struct gm_step_spec spec;
	int r;

	r = gm_step_draw(call->service, &spec);
	if (region->domain->tenant->policy.preallocate)
		spec.deadline_ms += allocation_ms(region->size);
	if (r == 0)
		r = gm_book_begin_memory(region, &spec, &call->refusal);
	if (r == 0)
		r = fill_step(call, region, ret_step);
	if (r != 0)
		return r;
	(*ret_step)->has_vm_type = 1;
	(*ret_step)->vm_type = half->vm_type;
	(*ret_step)->has_memory_flags = 1;
	(*ret_step)->memory_flags = in_place ? half->in_place_flags : half->memory_flags;
	if (region->domain->tenant->policy.preallocate) {
		(*ret_step)->has_preallocate = (*ret_step)->preallocate = 1;
		(*ret_step)->patience_ms += allocation_ms(region->size);
	}
	return 0;
}

static int find_region(struct gm_call *call, uint64_t id, struct gm_region **ret_region)
{
	return gm_book_find_attached_region(call->book, call->session, (struct gm_region_id){ id },
					    ret_region, &call->refusal);
}

int gm_handle_step_memory(struct gm_call *call)
{
	const Gmem__StepMemoryRequest *request = call->request;
	struct gm_pending *pending;
	struct gm_region *region;
	int r;

	r = gm_call_check_room(call);
	if (r == 0)
		r = find_region(call, request->region, &region);
	if (r == 0)
		r = gm_book_find_step(region, request->step, GM_STEP_CREATE_MEMORY, &call->refusal);
	if (r != 0)
		return r;
	pending = gm_pending_new(call);
	if (pending == NULL)
		return -ENOMEM;
	pending->domain = region->domain->id.v;
	pending->region = request->region;
	pending->step = request->step;
	return gm_call_await_fd(call, region->domain, request->box, pending);
}

int gm_step_memory_came(struct gm_pending *pending, int fd, struct gm_refusal *refusal)
{
	struct gm_link *link = pending->link;
	struct gm_service *service = link->service;
	struct gm_region *region;
	int r;

	r = gm_book_find_attached_region(service->book, link->session,
					 (struct gm_region_id){ pending->region }, &region,
					 refusal);
	if (r == 0)
		r = gm_book_find_step(region, pending->step, GM_STEP_CREATE_MEMORY, refusal);
	if (r == 0)
		return gm_exec_adopt_memory(service->exec, region, fd, refusal);
	gm_service_dispose(service, link->session->tenant, fd);
	return r;
}

int gm_handle_region_bind(struct gm_call *call)
{
	const Gmem__RegionBindRequest *request = call->request;
	Gmem__RegionBindReply *reply = call->answer;
	struct gm_region *region;
	struct gm_step_spec spec;
	int r;

	r = find_region(call, request->region, &region);
	if (r == 0)
		r = gm_step_draw(call->service, &spec);
	if (r == 0)
		r = gm_book_begin_bind(region, &spec, &call->refusal);
	if (r == 0)
		r = fill_step(call, region, &reply->step);
	return r;
}

/* ---- the other half ---- */

static void answer_done(struct gm_pending *pending, struct gm_region *region, uint64_t bytes)
{
	Gmem__StepDoneReply reply = GMEM__STEP_DONE_REPLY__INIT;
	Gmem__Order order;
	int r;

	if (gm_order_offer(pending->link->service, region, &order))
		reply.order = &order;
	reply.has_bytes = 1;
	reply.bytes = bytes;
	r = gm_link_answer(pending->link,
			   &(struct gm_frame){ .type = pending->type,
					       .flags = GM_FRAME_ANSWER,
					       .serial = pending->serial },
			   &reply.base, NULL);
	/* Cannot fail: one number always fits. */
	assert(r == 0);
}

static void freed(void *arg, int result, const struct gm_refusal *refusal, uint64_t bytes);

static const struct gm_exec_job_ops freeing_ops = { .end = freed };

static int free_half(struct gm_pending *pending, struct gm_region *region,
		     struct gm_refusal *refusal)
{
	struct gm_link *link = pending->link;
	struct gm_freeing *freeing = pending->freeing;

	freeing->n_tries++;
	return gm_exec_free_half(link->service->exec, link->session, gm_link_pidfd(link), region,
				 region->step->op == GM_PAGE_OP_TO_SHARED, freeing->ranges,
				 freeing->n_ranges, &freeing_ops, pending, &pending->job, refusal);
}

static uint64_t sum_of(const struct gm_range *ranges, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += ranges[i].length;
	return sum;
}

void gm_step_tell_lost(struct gm_service *service, const struct gm_region *region, const char *text)
{
	struct gm_news news = { .kind = GM_NEWS_LOST,
				.tenant = region->domain->tenant,
				.pidfd = -1,
				.domain = region->domain->id.v,
				.region = region->id.v,
				.bytes = region->map.pages[GM_PAGE_LOST] * GM_PAGE_4K,
				.text = text };

	gm_service_tell(service, &news);
}

/* What is held twice and cannot be freed is of no use to anybody. */
static void give_up(struct gm_pending *pending, struct gm_region *region, int result,
		    const struct gm_refusal *refusal)
{
	const struct gm_freeing *freeing = pending->freeing;
	struct gm_link *link = pending->link;

	gm_book_lose_ranges(region, freeing->ranges, freeing->n_ranges);
	gm_book_end_step(region);
	gm_step_tell_lost(link->service, region, "what a conversion gave up could not be freed");
	if (link->ops != NULL)
		gm_link_refuse(link, pending->type, pending->serial, result, refusal);
}

static void freed(void *arg, int result, const struct gm_refusal *refusal, uint64_t bytes)
{
	struct gm_pending *pending = arg;
	struct gm_link *link = pending->link;
	struct gm_service *service = link->service;
	struct gm_region *region = gm_pending_region(pending);
	struct gm_refusal again = *refusal;

	(void)bytes;
	if (region != NULL && result != 0 && pending->freeing->n_tries < FREEINGS_MAX) {
		result = free_half(pending, region, &again);
		if (result == 0)
			return;
	}
	GM_FAULT_POINT("freeing: done");
	if (region != NULL && result == 0) {
		gm_book_end_step(region);
		answer_done(pending, region,
			    sum_of(pending->freeing->ranges, pending->freeing->n_ranges));
	} else if (region != NULL) {
		give_up(pending, region, result, &again);
	} else if (link->ops != NULL) {
		gm_refuse(&again, GM_NO_SUCH_OBJECT, GM_RULE_NONE, "region");
		gm_link_refuse(link, pending->type, pending->serial, GM_NO_SUCH_OBJECT, &again);
	}
	free(pending->freeing);
	gm_pending_free(pending);
	gm_link_release(link);
	gm_service_settle(service);
}

static int start_freeing(struct gm_call *call, struct gm_region *region,
			 const struct gm_range *ranges, size_t n)
{
	struct gm_freeing *freeing = malloc(sizeof(*freeing) + n * sizeof(*ranges));
	struct gm_pending *pending = gm_pending_new(call);
	int r = -ENOMEM;

	if (freeing != NULL && pending != NULL) {
		*freeing = (struct gm_freeing){ .n_ranges = n };
		memcpy(freeing->ranges, ranges, n * sizeof(*ranges));
		pending->freeing = freeing;
		pending->domain = region->domain->id.v;
		pending->region = region->id.v;
		r = free_half(pending, region, &call->refusal);
	}
	if (r != 0) {
		gm_book_lose_ranges(region, ranges, n);
		gm_book_end_step(region);
		free(freeing);
		free(pending);
		return r;
	}
	GM_FAULT_POINT("freeing: submitted");
	gm_pending_enter(call, pending);
	return 0;
}

/* ---- reports ---- */

/* The step has ended as it should. */
static int offer_order(struct gm_call *call, struct gm_region *region, Gmem__StepDoneReply *reply)
{
	Gmem__Order *order = gm_call_alloc(call, sizeof(*order));

	if (order == NULL)
		return -ENOMEM;
	if (gm_order_offer(call->service, region, order))
		reply->order = order;
	return 0;
}

/* What was converted is booked. */
static int clean_up(struct gm_call *call, struct gm_region *region, const struct gm_range *ranges,
		    size_t n_done, Gmem__StepDoneReply *reply)
{
	/* Where the kernel does not tell, the worker makes sure. */
	if (n_done > 0 && gm_exec_half_is_free(call->exec, region, ranges, n_done) != 1)
		return start_freeing(call, region, ranges, n_done);
	gm_book_end_step(region);
	reply->has_bytes = 1;
	reply->bytes = sum_of(ranges, n_done);
	return offer_order(call, region, reply);
}

static int convert_done(struct gm_call *call, struct gm_region *region)
{
	const Gmem__StepDoneRequest *request = call->request;
	size_t n_done = request->sys_errno == 0 ? request->n_ranges : request->done;
	Gmem__StepDoneReply *reply = call->answer;
	struct gm_range *ranges;
	uint64_t bytes;
	int r;

	r = gm_call_read_ranges(call, request->n_ranges, request->ranges, &ranges);
	if (r == 0)
		r = gm_book_converted(region, ranges, request->n_ranges, n_done, &bytes,
				      &call->refusal);
	if (r != 0)
		return r;
	return clean_up(call, region, ranges, n_done, reply);
}

static int reported_again(struct gm_call *call, struct gm_region *region)
{
	const Gmem__StepDoneRequest *request = call->request;
	size_t n_done = request->sys_errno == 0 ? request->n_ranges : request->done;
	Gmem__StepDoneReply *reply = call->answer;
	struct gm_range *ranges;
	int r;

	r = gm_call_read_ranges(call, request->n_ranges, request->ranges, &ranges);
	if (r == 0)
		r = gm_book_check_reported(region, ranges, request->n_ranges, n_done,
					   &call->refusal);
	if (r != 0)
		return r;
	return clean_up(call, region, ranges, n_done, reply);
}

int gm_handle_step_done(struct gm_call *call)
{
	const Gmem__StepDoneRequest *request = call->request;
	enum gm_step_kind kind = GM_STEP_NONE;
	struct gm_region *region;
	int r;

	if (request->has_domain)
		return gm_launch_step_done(call);
	r = find_region(call, request->region, &region);
	if (r != 0)
		return r;
	/* A daemon that was killed before the other half was free had this report already. */
	if (gm_book_is_reported(region, request->step))
		return reported_again(call, region);
	if (region->step != NULL)
		kind = region->step->kind;
	r = gm_book_find_step(region, request->step, kind, &call->refusal);
	if (r != 0)
		return r;
	if (kind == GM_STEP_CONVERT)
		return convert_done(call, region);
	if (kind == GM_STEP_POPULATE)
		return gm_launch_populated(call, region);
	if (request->sys_errno != 0) {
		gm_book_end_step(region);
		return 0;
	}
	if (kind != GM_STEP_BIND)
		return gm_refuse_text(&call->refusal, GM_INVALID, GM_RULE_STEP, "request",
				      "memory that was made is reported with STEP_MEMORY");
	gm_book_bound(region);
	return offer_order(call, region, call->answer);
}

void gm_step_expire(struct gm_service *service)
{
	uint64_t now_ms = gm_service_now(service);
	struct gm_region *region;

	while ((region = gm_book_overdue_step(service->book, now_ms)) != NULL) {
		gm_book_lose_step(region);
		gm_step_tell_lost(service, region,
				  "a step was not reported in time: its pages are lost");
		gm_launch_settle(service, region->domain);
	}
	gm_launch_expire(service);
	while ((region = gm_book_unfinished_step(service->book, now_ms)) != NULL)
		gm_exec_sweep(service->exec, region);
}
