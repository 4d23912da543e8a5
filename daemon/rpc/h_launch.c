/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LAUNCH_START, SOURCE, POPULATE, LAUNCH_FINISH and LAUNCH_ABORT: the launch of a guest whose
 * memory the platform measures.
 *
 * What is to be populated is hashed first, by a worker, from a file that nobody can change any
 * more; only then is the VMM told to do it. What it reports decides what is booked. It may lie:
 * then the firmware's digest is another one than the books', and the guest's owner sees the
 * firmware's.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exec_own_launch.h"
#include "gm_check.h"
#include "gm_fault.h"
#include "h_launch.h"

#define PARAMETERS_MAX 16384

#define SAME_TYPE(name) \
	_Static_assert((int)GM_POPULATE_##name == (int)GMEM__PAGE_TYPE__PAGE_TYPE_##name, #name)
SAME_TYPE(NONE);
SAME_TYPE(NORMAL);
SAME_TYPE(ZERO);
SAME_TYPE(UNMEASURED);
SAME_TYPE(SECRETS);
SAME_TYPE(CPUID);

#define SAME_STATE(name) \
	_Static_assert((int)GM_LAUNCH_##name == (int)GMEM__LAUNCH_STATE__LAUNCH_##name, #name)
SAME_STATE(NONE);
SAME_STATE(READY);
SAME_STATE(STARTING);
SAME_STATE(OPEN);
SAME_STATE(POPULATING);
SAME_STATE(FINISHING);
SAME_STATE(RUNNING);
SAME_STATE(FAILED);

/* A request that waits for a worker's digest. */
struct gm_hashing {
	struct gm_population population;
	/* LAUNCH_FINISH: */
	struct gm_launch_end end;
	uint8_t id_block[];
};

static int find_domain(struct gm_call *call, uint64_t id, enum gm_launch_event event,
		       struct gm_domain **ret_domain)
{
	int r = gm_book_find_attached(call->book, call->session, (struct gm_domain_id){ id },
				      ret_domain, &call->refusal);

	return r != 0 ? r : gm_book_check_launch(*ret_domain, event, &call->refusal);
}

static int check_draining(struct gm_call *call)
{
	if (!call->book->draining)
		return 0;
	return gm_refuse(&call->refusal, GM_SHUTTING_DOWN, GM_RULE_DRAINING, "host");
}

static int fill_step(struct gm_call *call, uint64_t id, enum gm_step_kind kind,
		     Gmem__Step **ret_step)
{
	Gmem__Step *step = gm_call_alloc(call, sizeof(*step));

	if (step == NULL)
		return -ENOMEM;
	gm_step_write(step, id, kind);
	*ret_step = step;
	return 0;
}

/* ---- start ---- */

static int add_device(struct gm_call *call, const struct gm_domain *domain,
		      Gmem__LaunchStartReply *reply)
{
	const struct gm_launch_rules *rules = gm_exec_launch_rules(call->exec, domain->kind);
	int fd, r;

	r = gm_exec_launch_device(call->exec, domain, &fd, &call->refusal);
	if (r != 0 || fd < 0)
		return r;
	return gm_call_add_fd(call, fd, rules->device_name, &reply->n_fd_names, &reply->fd_names);
}

int gm_handle_launch_start(struct gm_call *call)
{
	const Gmem__LaunchStartRequest *request = call->request;
	Gmem__LaunchStartReply *reply = call->answer;
	uint8_t digest[GM_LAUNCH_DIGEST_SIZE];
	struct gm_step_spec spec;
	struct gm_domain *domain;
	int r;

	r = check_draining(call);
	if (r == 0)
		r = find_domain(call, request->domain, GM_LAUNCH_START, &domain);
	if (r == 0 && request->parameters.len > PARAMETERS_MAX)
		r = gm_refuse_numbers(&call->refusal, GM_INVALID, GM_RULE_SIZE, "request",
				      PARAMETERS_MAX, 0, request->parameters.len);
	if (r == 0)
		r = gm_service_room_for_launch(call->service, &call->refusal);
	if (r == 0 && gm_domain_is_launched_here(domain))
		return gm_own_launch_start(call, domain);
	if (r == 0)
		r = gm_step_draw(call->service, &spec);
	if (r == 0)
		r = add_device(call, domain, reply);
	if (r == 0)
		r = fill_step(call, spec.id, GM_STEP_LAUNCH_START, &reply->step);
	if (r != 0)
		return r;
	gm_exec_launch_rules(call->exec, domain->kind)->begin(digest);
	if (domain->tenant->policy.launch_plans[0] != '\0')
		gm_book_keep_trail(domain);
	return gm_book_begin_launch(domain, &spec, digest, &call->refusal);
}

int gm_handle_source(struct gm_call *call)
{
	const Gmem__SourceRequest *request = call->request;
	struct gm_pending *pending;
	struct gm_domain *domain;
	int r;

	r = check_draining(call);
	if (r == 0)
		r = gm_call_check_room(call);
	if (r == 0)
		r = gm_book_find_attached(call->book, call->session,
					  (struct gm_domain_id){ request->domain }, &domain,
					  &call->refusal);
	if (r == 0)
		r = gm_book_may_add_source(domain, &call->refusal);
	if (r != 0)
		return r;
	pending = gm_pending_new(call);
	if (pending == NULL)
		return -ENOMEM;
	pending->domain = request->domain;
	return gm_call_await_fd(call, domain, request->box, pending);
}

int gm_source_came(struct gm_pending *pending, int fd, Gmem__SourceReply *reply,
		   struct gm_refusal *refusal)
{
	struct gm_link *link = pending->link;
	struct gm_service *service = link->service;
	struct gm_domain *domain;
	int r;

	r = gm_book_find_attached(service->book, link->session,
				  (struct gm_domain_id){ pending->domain }, &domain, refusal);
	if (r == 0)
		r = gm_book_may_add_source(domain, refusal);
	if (r == 0)
		r = gm_service_draw_id(service, &reply->source);
	if (r != 0) {
		gm_service_dispose(service, link->session->tenant, fd);
		return r;
	}
	reply->has_source = 1;
	reply->has_size = 1;
	return gm_exec_add_source(service->exec, domain, reply->source, fd, &reply->size, refusal);
}

int gm_handle_launch_abort(struct gm_call *call)
{
	static const struct gm_launch_failure given_up = { .text = "its VMM has given it up" };
	const Gmem__LaunchAbortRequest *request = call->request;
	struct gm_domain *domain;
	int r;

	r = find_domain(call, request->domain, GM_LAUNCH_ABORT, &domain);
	if (r != 0)
		return r;
	gm_exec_stop_own_launch(call->exec, domain);
	gm_book_fail_launch(domain, &given_up);
	gm_launch_settle(call->service, domain);
	gm_link_tell_domain(call->service, call->link, GM_NEWS_FAILURE, domain,
			    "a launch was given up");
	return 0;
}

/* ---- what waits for a worker ---- */

static int draw_and_populate(struct gm_service *service, struct gm_region *region,
			     const struct gm_population *population, const struct gm_exec_job *job,
			     const uint8_t *digest, uint64_t *ret_step, struct gm_refusal *refusal)
{
	struct gm_step_spec spec;
	int r = gm_step_draw(service, &spec);

	if (r == 0)
		r = gm_book_begin_populate(region,
					   gm_exec_population_op(region->domain, population),
					   &population->range, &spec, digest, refusal);
	if (r != 0)
		return r;
	gm_exec_note_population(region, population, job);
	*ret_step = spec.id;
	return 0;
}

static int predict_and_finish(struct gm_service *service, struct gm_domain *domain,
			      const struct gm_launch_end *end, uint8_t *digest, uint64_t *ret_step,
			      struct gm_refusal *refusal)
{
	struct gm_step_spec spec;
	int r = gm_step_draw(service, &spec);

	if (r == 0)
		r = gm_exec_predict(service->exec, domain, end, digest, refusal);
	if (r == 0)
		r = gm_book_begin_finish(domain, &spec, digest, refusal);
	if (r == 0)
		*ret_step = spec.id;
	return r;
}

/* Cannot fail: a step always fits. @id 0: there is none, the daemon does it itself. */
static void answer_step(struct gm_pending *pending, uint64_t id)
{
	Gmem__PopulateReply populate = GMEM__POPULATE_REPLY__INIT;
	Gmem__LaunchFinishReply finish = GMEM__LAUNCH_FINISH_REPLY__INIT;
	bool finishes = pending->type == GM_MSG_LAUNCH_FINISH;
	Gmem__Step step = GMEM__STEP__INIT;
	int r;

	gm_step_write(&step, id, finishes ? GM_STEP_LAUNCH_FINISH : GM_STEP_POPULATE);
	populate.step = id != 0 ? &step : NULL;
	finish.step = &step;
	r = gm_link_answer(pending->link,
			   &(struct gm_frame){ .type = pending->type,
					       .flags = GM_FRAME_ANSWER,
					       .serial = pending->serial },
			   finishes ? &finish.base : &populate.base, NULL);
	assert(r == 0);
}

/* *ret_goes_on: it is not answered now. */
static int go_on(struct gm_pending *pending, uint64_t *ret_step, bool *ret_goes_on,
		 struct gm_refusal *refusal)
{
	struct gm_hashing *hashing = pending->hashing;
	struct gm_service *service = pending->link->service;
	uint8_t digest[GM_LAUNCH_DIGEST_SIZE];
	struct gm_region *region;
	int r;

	r = gm_book_find_attached_region(service->book, pending->link->session,
					 (struct gm_region_id){ pending->region }, &region,
					 refusal);
	if (r != 0)
		return r;
	memcpy(digest, gm_exec_hashed(pending->job), sizeof(digest));
	*ret_step = 0;
	if (gm_domain_is_launched_here(region->domain) && pending->type == GM_MSG_POPULATE) {
		r = gm_own_launch_populate(region, &hashing->population, digest, refusal);
		if (r == 0)
			gm_exec_note_written(region, &hashing->population, pending->job);
		return r;
	}
	if (gm_domain_is_launched_here(region->domain)) {
		*ret_goes_on = true;
		return gm_own_launch_finish(pending, region->domain, &hashing->end,
					    &hashing->population, digest, refusal);
	}
	if (pending->type == GM_MSG_POPULATE)
		return draw_and_populate(service, region, &hashing->population, pending->job,
					 digest, ret_step, refusal);
	return predict_and_finish(service, region->domain, &hashing->end, digest, ret_step,
				  refusal);
}

static void on_hashed(void *arg, int result, const struct gm_refusal *refusal, uint64_t bytes)
{
	struct gm_pending *pending = arg;
	struct gm_refusal why = *refusal;
	bool goes_on = false;
	uint64_t step;

	(void)bytes;
	GM_FAULT_POINT("launch: hashed");
	if (result == 0)
		result = go_on(pending, &step, &goes_on, &why);
	GM_FAULT_POINT("launch: step ordered");
	if (result == 0 && goes_on)
		return;
	if (result == 0)
		answer_step(pending, step);
	if (result == 0)
		gm_counters_answer(gm_link_counters(pending->link), 0, GM_RULE_NONE);
	free(pending->hashing);
	gm_pending_end(pending, result, &why);
}

static const struct gm_exec_job_ops hashing_ops = { .end = on_hashed };

static struct gm_hashing *hashing_new(const struct gm_population *population,
				      const struct gm_launch_end *end)
{
	size_t size = end != NULL ? end->id_block_size : 0;
	struct gm_hashing *hashing = calloc(1, sizeof(*hashing) + size);

	if (hashing == NULL)
		return NULL;
	hashing->population = *population;
	if (end == NULL)
		return hashing;
	hashing->end = *end;
	hashing->end.vcpus.vmm = NULL;
	if (end->id_block != NULL) {
		memcpy(hashing->id_block, end->id_block, size);
		hashing->end.id_block = hashing->id_block;
	}
	return hashing;
}

/* @end: of LAUNCH_FINISH, or NULL. */
static int start_hashing(struct gm_call *call, struct gm_region *region,
			 const struct gm_population *population, const struct gm_launch_end *end)
{
	struct gm_hashing *hashing = hashing_new(population, end);
	struct gm_pending *pending = gm_pending_new(call);
	int r = -ENOMEM;

	if (hashing != NULL && pending != NULL) {
		pending->hashing = hashing;
		pending->domain = region->domain->id.v;
		pending->region = region->id.v;
		r = gm_exec_start_hashing(call->exec, call->session, gm_link_pidfd(call->link),
					  region, population, &hashing_ops, pending, &pending->job,
					  &call->refusal);
	}
	if (r != 0) {
		free(hashing);
		free(pending);
		return r;
	}
	gm_pending_enter(call, pending);
	return 0;
}

static int read_type(struct gm_call *call, int number, enum gm_populate_type *ret_type)
{
	if (number <= GM_POPULATE_NONE || number >= GM_POPULATE_VCPU)
		return gm_refuse_text(&call->refusal, GM_INVALID, GM_RULE_FLAGS, "request",
				      "no type of pages has the number %d", number);
	*ret_type = (enum gm_populate_type)number;
	return 0;
}

static int hash_and_populate(struct gm_call *call, struct gm_region *region,
			     const struct gm_population *population)
{
	Gmem__PopulateReply *reply = call->answer;
	uint8_t digest[GM_LAUNCH_DIGEST_SIZE];
	uint64_t step;
	int r;

	if (gm_domain_is_launched_here(region->domain) ||
	    !gm_exec_hash_at_once(region, population, digest, &r, &call->refusal))
		return start_hashing(call, region, population, NULL);
	if (r == 0)
		r = check_draining(call);
	if (r == 0)
		r = draw_and_populate(call->service, region, population, /* job= */ NULL, digest,
				      &step, &call->refusal);
	if (r == 0)
		r = fill_step(call, step, GM_STEP_POPULATE, &reply->step);
	return r;
}

/* The books check the launch's state: a population of before a restart may be under way. */
static int populate_in_place(struct gm_call *call, struct gm_region *region,
			     const struct gm_population *population)
{
	int r = check_draining(call);

	/* In quarantine its kind may be gone, and the rules with it. */
	if (r == 0)
		r = gm_book_check_usable(region, &call->refusal);
	if (r == 0)
		r = gm_exec_check_population(call->exec, region->domain, population,
					     &call->refusal);
	if (r == 0)
		r = gm_in_place_populate(call, region, &population->range);
	if (r == 0)
		gm_exec_note_population(region, population, NULL);
	return r;
}

int gm_handle_populate(struct gm_call *call)
{
	const Gmem__PopulateRequest *request = call->request;
	struct gm_population population = {
		.range = { request->offset, request->length },
		.source = request->source,
		.source_offset = request->source_offset,
	};
	struct gm_region *region;
	enum gm_page_op op;
	int r;

	r = gm_call_check_room(call);
	if (r == 0)
		r = read_type(call, request->type, &population.type);
	if (r == 0)
		r = gm_book_find_attached_region(call->book, call->session,
						 (struct gm_region_id){ request->region }, &region,
						 &call->refusal);
	if (r != 0)
		return r;
	op = gm_exec_population_op(region->domain, &population);
	if (op == GM_PAGE_OP_POPULATE_IN_PLACE && region->domain->launch != NULL)
		return populate_in_place(call, region, &population);
	r = gm_book_check_launch(region->domain, GM_LAUNCH_POPULATE, &call->refusal);
	if (r == 0)
		r = gm_exec_check_population(call->exec, region->domain, &population,
					     &call->refusal);
	if (r == 0)
		r = gm_book_check_populate(region, op, &population.range, &call->refusal);
	if (r == 0)
		r = hash_and_populate(call, region, &population);
	return r;
}

/* ---- finish ---- */

static int read_vcpus(struct gm_call *call, const Gmem__Vcpus *message, char vmm[GM_NAME_SIZE],
		      struct gm_launch_vcpus *ret_vcpus)
{
	int how = message != NULL ? (int)message->how : GM_VCPUS_UNKNOWN;

	if (how < 0 || how >= GM_VCPUS_HOW_N_)
		return gm_refuse_text(&call->refusal, GM_INVALID, GM_RULE_FLAGS, "request",
				      "vCPUs cannot be told in the way number %d", how);
	*ret_vcpus = (struct gm_launch_vcpus){ .how = (enum gm_vcpus_how)how };
	if (message == NULL)
		return 0;
	if (how == GM_VCPUS_MODEL && !gm_name_copy(&message->vmm, vmm, GM_NAME_MAX))
		return gm_refuse(&call->refusal, GM_INVALID, GM_RULE_NAME, "request");
	ret_vcpus->count = message->count;
	ret_vcpus->vmm = vmm;
	ret_vcpus->signature = message->signature;
	ret_vcpus->entry = message->entry;
	ret_vcpus->features = message->features;
	return 0;
}

static int hash_vcpu_pages(struct gm_call *call, struct gm_domain *domain,
			   const Gmem__Vcpus *message, const struct gm_launch_end *end)
{
	const struct gm_population population = {
		.type = GM_POPULATE_VCPU,
		.range = { 0, end->vcpus.count * GM_PAGE_4K },
		.source = message->source,
		.source_offset = message->source_offset,
	};
	int r;

	if (domain->n_regions == 0)
		return gm_refuse_text(&call->refusal, GM_WRONG_STATE, GM_RULE_LAUNCH_STATE,
				      "domain", "the domain has no region");
	r = gm_call_check_room(call);
	if (r == 0)
		r = gm_exec_check_population(call->exec, domain, &population, &call->refusal);
	if (r == 0)
		r = start_hashing(call, domain->regions[0], &population, end);
	return r;
}

/* No worker has to hash before it. */
static int launch_now(struct gm_call *call, struct gm_domain *domain,
		      const struct gm_launch_end *end)
{
	static const struct gm_population none;
	struct gm_pending *pending;
	uint8_t digest[GM_LAUNCH_DIGEST_SIZE];
	int r;

	r = gm_call_check_room(call);
	if (r != 0)
		return r;
	pending = gm_pending_new(call);
	if (pending == NULL)
		return -ENOMEM;
	pending->domain = domain->id.v;
	memcpy(digest, domain->launch->digest, sizeof(digest));
	r = gm_own_launch_finish(pending, domain, end, &none, digest, &call->refusal);
	if (r != 0) {
		free(pending);
		return r;
	}
	gm_pending_enter(call, pending);
	return 0;
}

static int finish_now(struct gm_call *call, struct gm_domain *domain,
		      const struct gm_launch_end *end)
{
	Gmem__LaunchFinishReply *reply = call->answer;
	uint8_t digest[GM_LAUNCH_DIGEST_SIZE];
	uint64_t step;
	int r;

	memcpy(digest, domain->launch->digest, sizeof(digest));
	r = predict_and_finish(call->service, domain, end, digest, &step, &call->refusal);
	if (r == 0)
		r = fill_step(call, step, GM_STEP_LAUNCH_FINISH, &reply->step);
	return r;
}

int gm_handle_launch_finish(struct gm_call *call)
{
	const Gmem__LaunchFinishRequest *request = call->request;
	char vmm[GM_NAME_SIZE];
	struct gm_launch_end end = {
		.id_block = request->id_block.len > 0 ? request->id_block.data : NULL,
		.id_block_size = request->id_block.len,
		.id_auth_size = request->id_auth.len,
		.host_data_size = request->host_data.len,
	};
	struct gm_domain *domain;
	int r;

	r = find_domain(call, request->domain, GM_LAUNCH_FINISH, &domain);
	if (r == 0)
		r = read_vcpus(call, request->vcpus, vmm, &end.vcpus);
	if (r == 0)
		r = gm_exec_check_end(call->exec, domain, &end, &call->refusal);
	if (r != 0)
		return r;
	if (end.vcpus.how == GM_VCPUS_PAGES)
		return hash_vcpu_pages(call, domain, request->vcpus, &end);
	if (gm_domain_is_launched_here(domain))
		return launch_now(call, domain, &end);
	return finish_now(call, domain, &end);
}

/* ---- reports ---- */

void gm_launch_settle(struct gm_service *service, struct gm_domain *domain)
{
	enum gm_launch_state state = gm_domain_launch_state(domain);

	if (state != GM_LAUNCH_RUNNING && state != GM_LAUNCH_FAILED)
		return;
	gm_exec_end_launch(service->exec, domain);
	gm_book_drop_trail(domain);
}

static const char *errno_name(uint32_t error)
{
	const char *name = error <= INT16_MAX ? strerrorname_np((int)error) : NULL;

	return name != NULL ? name : "unknown error";
}

/* @step: what the kernel was asked for. */
static struct gm_launch_failure failure_of(const struct gm_call *call,
					   const struct gm_domain *domain, const char *step)
{
	const struct gm_launch_rules *rules = gm_exec_launch_rules(call->exec, domain->kind);
	const Gmem__StepDoneRequest *request = call->request;
	struct gm_launch_failure failure = { .sys_errno = request->sys_errno,
					     .firmware_error = request->firmware_error };

	if (failure.firmware_error != 0 && rules != NULL)
		snprintf(failure.text, sizeof(failure.text),
			 "%s: firmware error %s (%#" PRIx32 "), %s", step,
			 rules->firmware_name(failure.firmware_error), failure.firmware_error,
			 errno_name(failure.sys_errno));
	else
		snprintf(failure.text, sizeof(failure.text), "%s: %s", step,
			 errno_name(failure.sys_errno));
	return failure;
}

static void tell_failed(struct gm_call *call, const struct gm_domain *domain)
{
	const Gmem__StepDoneRequest *request = call->request;
	struct gm_news news = gm_link_news(call->link, GM_NEWS_FAILURE, NULL);
	char text[GM_LAUNCH_WHY_MAX + 32];

	snprintf(text, sizeof(text), "a launch has failed: %s", domain->launch->failure.text);
	news.text = text;
	if (request->firmware_error != 0)
		news.rule = GM_RULE_FIRMWARE;
	news.domain = domain->id.v;
	news.result = -(int)(request->sys_errno <= INT16_MAX ? request->sys_errno : EIO);
	gm_service_tell(call->service, &news);
}

int gm_launch_step_done(struct gm_call *call)
{
	const Gmem__StepDoneRequest *request = call->request;
	struct gm_launch_failure failure;
	struct gm_domain *domain;
	int r;

	r = gm_book_find_attached(call->book, call->session,
				  (struct gm_domain_id){ request->domain }, &domain,
				  &call->refusal);
	if (r == 0)
		r = gm_book_find_launch_step(domain, request->step, &call->refusal);
	if (r != 0)
		return r;
	if (request->sys_errno != 0) {
		failure = failure_of(call, domain,
				     domain->launch->step_kind == GM_STEP_LAUNCH_START
					     ? "the start"
					     : "the finish");
		gm_book_fail_launch(domain, &failure);
		tell_failed(call, domain);
	} else {
		gm_book_launch_step_done(domain);
		GM_FAULT_POINT("launch: step booked");
		if (domain->running)
			gm_link_tell_domain(call->service, call->link, GM_NEWS_DOMAIN, domain,
					    "a launch was finished");
	}
	gm_launch_settle(call->service, domain);
	return 0;
}

int gm_launch_populated(struct gm_call *call, struct gm_region *region)
{
	const Gmem__StepDoneRequest *request = call->request;
	Gmem__StepDoneReply *reply = call->answer;
	bool failed = request->sys_errno != 0;
	struct gm_launch_failure failure;
	struct gm_range range;
	uint64_t done;
	int r;

	if (request->n_ranges != 1)
		return gm_refuse_text(&call->refusal, GM_INVALID, GM_RULE_STEP, "request",
				      "a population is of one range");
	range = (struct gm_range){ request->ranges[0]->offset, request->ranges[0]->length };
	done = failed || request->has_done ? request->done * GM_PAGE_4K : range.length;
	if (failed)
		failure = failure_of(call, region->domain, "a population");
	r = gm_book_populated(region, &range, done, failed ? &failure : NULL, &call->refusal);
	if (r != 0)
		return r;
	reply->has_bytes = 1;
	reply->bytes = done;
	gm_launch_settle(call->service, region->domain);
	if (failed)
		tell_failed(call, region->domain);
	return 0;
}

void gm_launch_expire(struct gm_service *service)
{
	static const struct gm_launch_failure late = {
		.text = "a step of it was not reported in time"
	};
	uint64_t now_ms = gm_service_now(service);
	struct gm_domain *domain;

	while ((domain = gm_book_overdue_launch(service->book, now_ms)) != NULL) {
		gm_link_tell_domain(service, NULL, GM_NEWS_FAILURE, domain,
				    "a step of a launch was not reported in time");
		gm_book_fail_launch(domain, &late);
		gm_launch_settle(service, domain);
	}
}
