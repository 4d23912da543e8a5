/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps: what the daemon orders done with private memory, done in this process, and reported.
 *
 * A step that was ordered is always reported, also when nobody waits for its outcome any more:
 * otherwise its pages are lost after the daemon's patience. Requests and reports are repeated to
 * the next daemon as all requests are, and an order that it repeats is the same step again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"
#include "gm_fd.h"
#include "gm_verdict.h"
#include "remote.h"
#include "vm.h"

/* The report of so few ranges is not waited for: the next request is sent right behind it. */
#define GM_BATCH_SMALL 16

void gm_wire_ranges_done(struct gm_wire_ranges *wire)
{
	free(wire->pointers);
	free(wire->list);
}

int gm_wire_ranges_init(struct gmem_client *client, struct gm_wire_ranges *wire,
			const struct gmem_range *ranges, size_t n_ranges)
{
	if (n_ranges > client->remote->ranges_max)
		return gm_fail_numbers(client, GMEM_INVALID, GM_RULE_RANGES, "one request",
				       client->remote->ranges_max, 0, n_ranges);
	wire->pointers = calloc(n_ranges, sizeof(Gmem__Range *));
	wire->list = calloc(n_ranges, sizeof(*wire->list));
	if (!wire->pointers || !wire->list)
		return gm_fail_errno(client, ENOMEM, "a request");
	for (size_t i = 0; i < n_ranges; i++) {
		gmem__range__init(&wire->list[i]);
		wire->list[i].has_offset = wire->list[i].has_length = true;
		wire->list[i].offset = ranges[i].offset;
		wire->list[i].length = ranges[i].length;
		wire->pointers[i] = &wire->list[i];
	}
	return 0;
}

/* ---- reports */

static void fill_report(Gmem__StepDoneRequest *request, const struct gm_report *report)
{
	gmem__step_done_request__init(request);
	request->has_step = request->has_sys_errno = request->has_done = true;
	request->has_region = report->region != 0;
	request->region = report->region;
	request->has_domain = report->domain != 0;
	request->domain = report->domain;
	request->has_firmware_error = report->firmware_error != 0;
	request->firmware_error = report->firmware_error;
	request->step = report->step;
	request->sys_errno = (uint32_t)report->error;
	request->done = (uint32_t)report->done;
	request->ranges = report->ranges;
	request->n_ranges = report->n_ranges;
}

int gm_remote_report(struct gmem_client *client, const struct gm_report *report)
{
	uint64_t deadline = gm_deadline(client);
	_gm_reply_ struct gm_reply reply = { 0 };
	Gmem__StepDoneRequest request;
	struct gm_pending *pending;
	int r;

	fill_report(&request, report);
	r = gm_remote_post(client, GM_PENDING_CALL, GM_MSG_STEP_DONE, &request.base, &pending);
	if (r < 0)
		return r;
	pending->subject = report->region;
	return gm_remote_finish(client, pending, deadline, &reply);
}

int gm_remote_report_only(struct gmem_client *client, const struct gm_report *report)
{
	Gmem__StepDoneRequest request;
	struct gm_pending *pending;
	int r;

	fill_report(&request, report);
	r = gm_remote_post(client, GM_PENDING_NOBODY, GM_MSG_STEP_DONE, &request.base, &pending);
	if (r == 0)
		pending->subject = report->region;
	return r;
}

/* Conversions whose report goes out right before the next request. */
static bool has_unsent(const struct gmem_client *client, uint64_t id)
{
	const struct gmem_region *region = id ? gm_client_find_region(client, id) : NULL;

	return id ? region && region->standing.n_unsent : client->remote->has_unsent;
}

bool gm_remote_is_reporting(const struct gmem_client *client, uint64_t region)
{
	const struct gm_pending *pending;

	for (pending = client->remote->pending; pending; pending = pending->next)
		if ((pending->type == GM_MSG_STEP_DONE || pending->type == GM_MSG_CONVERTED) &&
		    pending->kind == GM_PENDING_NOBODY &&
		    (region == 0 || pending->subject == region))
			return true;
	return has_unsent(client, region);
}

uint64_t gm_ordered(unsigned type, const ProtobufCMessage *message)
{
	const Gmem__Step *step = NULL;

	if (type == GM_MSG_REGION_CREATE)
		step = ((const Gmem__RegionCreateReply *)message)->step;
	else if (type == GM_MSG_REGION_BIND)
		step = ((const Gmem__RegionBindReply *)message)->step;
	else if (type == GM_MSG_CONVERT)
		step = ((const Gmem__ConvertReply *)message)->step;
	else if (type == GM_MSG_LAUNCH_START)
		step = ((const Gmem__LaunchStartReply *)message)->step;
	else if (type == GM_MSG_POPULATE)
		step = ((const Gmem__PopulateReply *)message)->step;
	else if (type == GM_MSG_LAUNCH_FINISH)
		step = ((const Gmem__LaunchFinishReply *)message)->step;
	return step ? step->step : 0;
}

/*
 * The program has no handle of it any more. Where there is no room for the request, it stays
 * charged to us until the domain ends.
 */
static void destroy_unheard(struct gmem_client *client, uint64_t region)
{
	Gmem__RegionDestroyRequest request = GMEM__REGION_DESTROY_REQUEST__INIT;
	struct gm_pending *nobody;
	int r;

	request.has_region = true;
	request.region = region;
	r = gm_remote_post(client, GM_PENDING_NOBODY, GM_MSG_REGION_DESTROY, &request.base,
			   &nobody);
	(void)r;
}

/* It was destroyed while a step of it was ordered, which the daemon has refused. */
static void destroy_gone(struct gmem_client *client, uint64_t region)
{
	if (region && !gm_client_find_region(client, region))
		destroy_unheard(client, region);
}

static void cancel_convert(struct gmem_client *client, struct gm_report *report,
			   const struct gm_pending *pending)
{
	Gmem__ConvertRequest *request =
		gmem__convert_request__unpack(NULL, pending->body_length, pending->body);

	/* Its pages are lost, then. */
	if (!request)
		return;
	report->region = request->region;
	report->ranges = request->ranges;
	report->n_ranges = request->n_ranges;
	(void)gm_remote_report_only(client, report);
	destroy_gone(client, report->region);
	report->ranges = NULL;
	gmem__convert_request__free_unpacked(request, NULL);
}

static void cancel_bind(struct gmem_client *client, struct gm_report *report,
			const struct gm_pending *pending)
{
	Gmem__RegionBindRequest *request =
		gmem__region_bind_request__unpack(NULL, pending->body_length, pending->body);

	if (!request)
		return;
	report->region = request->region;
	(void)gm_remote_report_only(client, report);
	destroy_gone(client, report->region);
	gmem__region_bind_request__free_unpacked(request, NULL);
}

static void cancel_populate(struct gmem_client *client, struct gm_report *report,
			    const struct gm_pending *pending)
{
	Gmem__PopulateRequest *request =
		gmem__populate_request__unpack(NULL, pending->body_length, pending->body);
	Gmem__Range range = GMEM__RANGE__INIT;
	Gmem__Range *ranges = &range;

	if (!request)
		return;
	range.has_offset = range.has_length = true;
	range.offset = request->offset;
	range.length = request->length;
	report->region = request->region;
	report->ranges = &ranges;
	report->n_ranges = 1;
	(void)gm_remote_report_only(client, report);
	report->ranges = NULL;
	gmem__populate_request__free_unpacked(request, NULL);
}

static void cancel_start(struct gmem_client *client, struct gm_report *report,
			 const struct gm_pending *pending)
{
	Gmem__LaunchStartRequest *request =
		gmem__launch_start_request__unpack(NULL, pending->body_length, pending->body);

	if (!request)
		return;
	report->domain = request->domain;
	(void)gm_remote_report_only(client, report);
	gmem__launch_start_request__free_unpacked(request, NULL);
}

static void cancel_finish(struct gmem_client *client, struct gm_report *report,
			  const struct gm_pending *pending)
{
	Gmem__LaunchFinishRequest *request =
		gmem__launch_finish_request__unpack(NULL, pending->body_length, pending->body);

	if (!request)
		return;
	report->domain = request->domain;
	(void)gm_remote_report_only(client, report);
	gmem__launch_finish_request__free_unpacked(request, NULL);
}

void gm_remote_cancel_step(struct gmem_client *client, const struct gm_pending *pending)
{
	struct gm_report report = {
		.region = pending->granted,
		.step = pending->ordered,
		.error = ECANCELED,
	};

	if (pending->type == GM_MSG_CONVERT)
		cancel_convert(client, &report, pending);
	else if (pending->type == GM_MSG_REGION_BIND)
		cancel_bind(client, &report, pending);
	else if (pending->type == GM_MSG_POPULATE)
		cancel_populate(client, &report, pending);
	else if (pending->type == GM_MSG_LAUNCH_START)
		cancel_start(client, &report, pending);
	else if (pending->type == GM_MSG_LAUNCH_FINISH)
		cancel_finish(client, &report, pending);
	else
		(void)gm_remote_report_only(client, &report);
}

/* ---- the private half */

static int send_memory_once(struct gmem_client *client, uint64_t domain,
			    const struct gmem_region *region, uint64_t step, uint64_t deadline,
			    struct gm_box *box)
{
	Gmem__StepMemoryRequest request = GMEM__STEP_MEMORY_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	struct gm_pending *pending;
	int r;

	r = gm_remote_box(client, domain, region->private_fd, deadline, box);
	if (r < 0)
		return r;
	request.has_region = request.has_step = request.has_box = true;
	request.region = region->id;
	request.step = step;
	request.box = box->id;
	r = gm_remote_post(client, GM_PENDING_CALL, GM_MSG_STEP_MEMORY, &request.base, &pending);
	return r < 0 ? r : gm_remote_finish(client, pending, deadline, &reply);
}

static int send_memory(struct gmem_client *client, uint64_t domain,
		       const struct gmem_region *region, uint64_t step)
{
	uint64_t deadline = gm_deadline(client);
	struct gm_box box = { 0 };
	int r;

	do
		r = send_memory_once(client, domain, region, step, deadline, &box);
	while (r < 0 && gm_remote_box_is_gone(client, &box));
	return r;
}

static int fail_plain_vm(struct gmem_client *client, const Gmem__Step *step)
{
	return gm_fail(client, GMEM_INVALID, 0,
		       "The VM that was adopted has no private memory: this kind needs one of type "
		       "%u.",
		       step->vm_type);
}

/* The one file is also what the program maps: two fds of it, each with its owner. */
static int check_in_place(struct gmem_client *client, const Gmem__Step *step,
			  struct gmem_region *region)
{
	if (!gm_vm_is_in_place(region->private_fd))
		return fail_plain_vm(client, step);
	region->fd = gm_fd_dup(region->private_fd);
	return region->fd < 0 ? gm_fail_errno(client, region->fd, "the memory of a region") : 0;
}

static int create_memory(struct gmem_client *client, int vm_fd, const Gmem__Step *step,
			 struct gmem_region *region)
{
	int r;

	if (vm_fd < 0)
		return gm_fail(client, GMEM_WRONG_STATE, 0,
			       "Memory of this kind belongs to a VM: adopt one first "
			       "(gmem_vm_adopt).");
	if (!region->in_place && !gm_vm_has_private(vm_fd))
		return fail_plain_vm(client, step);
	r = gm_vm_create_memory(vm_fd, region->size, step->memory_flags, &region->private_fd);
	if (r < 0)
		return gm_fail_errno(client, r, "KVM_CREATE_GUEST_MEMFD");
	if (step->preallocate) {
		r = gm_vm_allocate(region->private_fd, region->size);
		if (r < 0)
			return gm_fail_errno(client, r, "allocating the private memory");
	}
	return region->in_place ? check_in_place(client, step, region) : 0;
}

/* Neither half is of use without the other: the region goes back. */
static void give_region_back(struct gmem_client *client, uint64_t region, uint64_t step)
{
	const struct gm_report report = { .region = region, .step = step, .error = ECANCELED };
	struct gm_failure why = client->failure;

	(void)gm_remote_report_only(client, &report);
	destroy_unheard(client, region);
	(void)gm_client_fail(client, &why);
}

int gm_remote_private_half(struct gmem_client *client, uint64_t domain, int vm_fd,
			   const Gmem__Step *step, struct gmem_region *region)
{
	uint64_t id = step->step;
	int r;

	if (step->kind != GMEM__STEP_KIND__STEP_CREATE_MEMORY || !id)
		return gm_remote_nonsense(client, "a step that does not belong to a new region");
	r = create_memory(client, vm_fd, step, region);
	if (r < 0) {
		give_region_back(client, region->id, id);
		return r;
	}
	r = send_memory(client, domain, region, id);
	if (r < 0)
		give_region_back(client, region->id, id);
	return r;
}

/* ---- binding */

/* What was ordered is not done, and the region is nobody's. */
static int fail_gone(struct gmem_client *client, struct gm_report *report)
{
	report->error = ECANCELED;
	(void)gm_remote_report_only(client, report);
	destroy_unheard(client, report->region);

	return gm_fail(client, GMEM_NO_SUCH_OBJECT, 0,
		       "The region was destroyed while the daemon was asked about it.");
}

int gm_remote_check_order(struct gmem_client *client, const Gmem__Step *step, Gmem__StepKind kind)
{
	if (step && step->kind == kind && step->step)
		return 0;
	return gm_remote_nonsense(client, "another step than was asked for");
}

/* An overlap is EEXIST or EINVAL: by where it is, and by the kernel's version (7.2). */
static int fail_bind(struct gmem_client *client, uint32_t slot, int error)
{
	if (error != EEXIST && error != EINVAL)
		return gm_fail_errno(client, error, "giving the VM its memory");
	(void)gm_fail(client, GMEM_SYSTEM, GM_RULE_ADDRESS,
		      "Giving the VM its memory: memslot %" PRIu32 ", or a part of its addresses, "
		      "is in use, or the VM has no such memslot (address).",
		      slot);
	client->failure.sys_errno = error;
	return gm_client_fail(client, &client->failure);
}

int gm_remote_region_bind(struct gmem_region *region, uint32_t slot)
{
	struct gmem_client *client = region->domain->client;
	Gmem__RegionBindRequest request = GMEM__REGION_BIND_REQUEST__INIT;
	struct gm_report report = { .region = region->id };
	_gm_reply_ struct gm_reply reply = { 0 };
	int r;

	request.has_region = true;
	request.region = region->id;
	r = gm_remote_call(client, GM_MSG_REGION_BIND, &request.base, &reply);
	if (r < 0)
		return r;
	report.step = gm_ordered(GM_MSG_REGION_BIND, reply.message);
	r = gm_remote_check_order(client, ((const Gmem__RegionBindReply *)reply.message)->step,
				  GMEM__STEP_KIND__STEP_BIND);
	if (r < 0)
		return r;
	region = gm_client_find_region(client, report.region);
	if (!region)
		return fail_gone(client, &report);
	report.error = -gm_region_bind(region, slot);
	r = gm_remote_report(client, &report);
	return r == 0 && report.error ? fail_bind(client, slot, report.error) : r;
}

/* ---- conversion */

static int by_offset(const void *a, const void *b)
{
	const struct gmem_range *left = a;
	const struct gmem_range *right = b;

	return (left->offset > right->offset) - (left->offset < right->offset);
}

/* In ascending order; each is seen differently by the guest first, and then the other half goes. */
static void perform(const struct gmem_region *region, const struct gmem_range *ranges,
		    size_t n_ranges, bool to_private, struct gm_report *report)
{
	int given_up = to_private ? region->fd : region->private_fd;

	for (report->done = 0; report->done < n_ranges; report->done++) {
		const struct gmem_range *range = &ranges[report->done];

		report->error =
			-gm_vm_set_private(region->domain->vm_fd, region->gpa + range->offset,
					   range->length, to_private);
		if (report->error)
			return;
		gm_vm_punch(given_up, range->offset, range->length);
	}
}

static int report_convert(struct gmem_client *client, const struct gm_report *report)
{
	int r;

	if (!report->error && report->n_ranges <= GM_BATCH_SMALL)
		return gm_remote_report_only(client, report);
	r = gm_remote_report(client, report);
	if (r == 0 && report->error)
		r = gm_fail_errno(client, report->error, "KVM_SET_MEMORY_ATTRIBUTES");
	return r;
}

/* @reply: of the request for these ranges. */
static int carry_out(struct gmem_client *client, const struct gm_reply *reply,
		     const struct gmem_range *ranges, bool to_private, struct gm_report *report)
{
	const Gmem__ConvertReply *answer = (const Gmem__ConvertReply *)reply->message;
	struct gmem_region *region;
	int r;

	/* The daemon has done it itself. */
	if (!answer->step) {
		destroy_gone(client, report->region);
		return 0;
	}
	r = gm_remote_check_order(client, answer->step, GMEM__STEP_KIND__STEP_CONVERT);
	if (r < 0)
		return r;
	report->step = answer->step->step;
	region = gm_client_find_region(client, report->region);
	if (!region)
		return fail_gone(client, report);
	perform(region, ranges, report->n_ranges, to_private, report);
	return report_convert(client, report);
}

/* @deadline: in place the daemon waits for whoever holds pages, and has its own patience. */
static int convert_once(struct gmem_client *client, uint64_t region, uint64_t deadline,
			const struct gmem_range *ranges, size_t n_ranges, bool to_private)
{
	_gm_cleanup_(gm_wire_ranges_done) struct gm_wire_ranges wire = { 0 };
	Gmem__ConvertRequest request = GMEM__CONVERT_REQUEST__INIT;
	struct gm_report report = { .region = region, .n_ranges = n_ranges };
	_gm_reply_ struct gm_reply reply = { 0 };
	struct gm_pending *pending;
	int r;

	r = gm_wire_ranges_init(client, &wire, ranges, n_ranges);
	if (r < 0)
		return r;
	request.has_region = request.has_to = true;
	request.region = region;
	request.to = to_private ? GMEM__PAGE_STATE__PAGE_PRIVATE : GMEM__PAGE_STATE__PAGE_SHARED;
	request.ranges = report.ranges = wire.pointers;
	request.n_ranges = n_ranges;
	r = gm_remote_post(client, GM_PENDING_CALL, GM_MSG_CONVERT, &request.base, &pending);
	if (r < 0)
		return r;
	pending->subject = region;
	r = gm_remote_finish(client, pending, deadline, &reply);
	if (r < 0)
		return r;
	return carry_out(client, &reply, ranges, to_private, &report);
}

static bool is_busy_reporting(const struct gmem_client *client)
{
	const char *rule = client->failure.rule;

	return client->failure.status == GMEM_BUSY &&
	       (strcmp(rule, gm_rule_name(GM_RULE_STEP_UNDER_WAY)) == 0 ||
		strcmp(rule, gm_rule_name(GM_RULE_JOBS_UNDER_WAY)) == 0);
}

bool gm_remote_was_early(struct gmem_client *client, uint64_t region, bool had_report, int *r)
{
	uint64_t deadline = gm_deadline(client);

	if (*r == 0 || !had_report || !is_busy_reporting(client))
		return false;
	for (*r = 0; *r == 0 && gm_remote_is_reporting(client, region);) {
		*r = gm_remote_wait(client, deadline);
		if (*r == 0)
			(void)gm_remote_turn(client);
	}
	return *r == 0;
}

int gm_remote_region_convert(struct gmem_region *region, const struct gmem_range *ranges,
			     size_t n_ranges, bool to_private)
{
	struct gmem_client *client = region->domain->client;
	_gm_free_ struct gmem_range *sorted = calloc(n_ranges, sizeof(*sorted));
	bool in_place = region->in_place;
	uint64_t id = region->id;
	bool had_report;
	size_t done;
	int r;

	if (!sorted)
		return gm_fail_errno(client, ENOMEM, "a request");
	memcpy(sorted, ranges, n_ranges * sizeof(*ranges));
	qsort(sorted, n_ranges, sizeof(*sorted), by_offset);
	do {
		done = 0;
		r = 0;
		if (n_ranges <= client->remote->ranges_max)
			r = gm_standing_convert(client, id, sorted, n_ranges, to_private, &done);
		n_ranges -= done;
		memmove(sorted, sorted + done, n_ranges * sizeof(*sorted));
		if (r < 0 || n_ranges == 0)
			return r;
		had_report = gm_remote_is_reporting(client, id);
		r = convert_once(client, id, in_place ? GM_NO_DEADLINE : gm_deadline(client),
				 sorted, n_ranges, to_private);
	} while (gm_remote_was_early(client, id, had_report, &r));
	return r;
}
