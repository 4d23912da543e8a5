/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launches that the daemon carries out itself. LAUNCH_START and POPULATE write down what is wanted;
 * LAUNCH_FINISH is answered when a worker has done all of it, with the VM that came of it and the
 * step to take it over.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exec_own_launch.h"
#include "h_launch.h"

int gm_own_launch_start(struct gm_call *call, struct gm_domain *domain)
{
	const Gmem__LaunchStartRequest *request = call->request;
	uint8_t digest[GM_LAUNCH_DIGEST_SIZE];
	int r;

	r = gm_exec_check_parameters(call->exec, domain, request->parameters.data,
				     request->parameters.len, &call->refusal);
	if (r != 0)
		return r;
	gm_exec_launch_rules(call->exec, domain->kind)->begin(digest);
	if (domain->tenant->policy.launch_plans[0] != '\0')
		gm_book_keep_trail(domain);
	if (domain->tenant->policy.launch_plans[0] != '\0')
		gm_book_keep_trail(domain);
	return gm_book_open_launch(domain, request->parameters.data, request->parameters.len,
				   digest, &call->refusal);
}

int gm_own_launch_populate(struct gm_region *region, const struct gm_population *population,
			   const uint8_t *digest, struct gm_refusal *refusal)
{
	return gm_book_write_down(&(struct gm_put){ .region = region,
						    .offset = population->range.offset,
						    .length = population->range.length,
						    .source = population->source,
						    .source_offset = population->source_offset },
				  digest, refusal);
}

/* ---- the end ---- */

static int find_launched(const struct gm_pending *pending, struct gm_domain **ret_domain,
			 struct gm_refusal *refusal)
{
	const struct gm_link *link = pending->link;
	int r = gm_book_find_attached(link->service->book, link->session,
				      (struct gm_domain_id){ pending->domain }, ret_domain,
				      refusal);

	if (r == 0 && gm_domain_launch_state(*ret_domain) != GM_LAUNCH_FINISHING)
		r = gm_refuse_text(refusal, GM_CANCELLED, GM_RULE_LAUNCH_STATE, "domain",
				   "the launch was given up");
	return r;
}

static int take(const struct gm_pending *pending, struct gm_domain *domain, uint64_t *ret_step,
		struct gm_refusal *refusal)
{
	struct gm_service *service = pending->link->service;
	struct gm_step_spec spec;
	int r = gm_step_draw(service, &spec);

	if (r == 0)
		r = gm_exec_take_launched(service->exec, pending->job, domain, &spec, refusal);
	if (r == 0)
		*ret_step = spec.id;
	return r;
}

/* Cannot fail: a step and a short name always fit. */
static void answer(const struct gm_pending *pending, const struct gm_domain *domain, uint64_t id)
{
	ProtobufCBinaryData name = { .len = strlen(GM_LAUNCHED_FD),
				     .data = (uint8_t *)GM_LAUNCHED_FD };
	Gmem__LaunchFinishReply reply = GMEM__LAUNCH_FINISH_REPLY__INIT;
	Gmem__Step step = GMEM__STEP__INIT;
	int r;

	gm_step_write(&step, id, GM_STEP_MOVE);
	reply.step = &step;
	reply.n_fd_names = 1;
	reply.fd_names = &name;
	r = gm_link_answer(pending->link,
			   &(struct gm_frame){ .type = pending->type,
					       .flags = GM_FRAME_ANSWER,
					       .serial = pending->serial,
					       .n_fds = 1 },
			   &reply.base, &domain->launch->vm_fd);
	assert(r == 0);
}

static void fail(struct gm_pending *pending, struct gm_domain *domain, int result,
		 const struct gm_refusal *refusal)
{
	struct gm_news news = gm_link_news(pending->link, GM_NEWS_FAILURE, "a launch has failed");
	struct gm_launch_failure failure = {
		.sys_errno = result < 0 ? (uint32_t)-result : refusal->sys_errno,
		.firmware_error = refusal->firmware_error,
	};
	struct gm_service *service = pending->link->service;

	snprintf(failure.text, sizeof(failure.text), "%.*s", GM_LAUNCH_WHY_MAX - 1,
		 refusal->text[0] != '\0' ? refusal->text : "the daemon could not carry it out");
	gm_book_fail_launch(domain, &failure);
	gm_launch_settle(service, domain);
	if (refusal->text[0] != '\0')
		news.text = refusal->text;
	news.verb = "LAUNCH_FINISH";
	news.domain = domain->id.v;
	news.rule = refusal->rule;
	news.result = result < 0 ? result : -(int)refusal->sys_errno;
	gm_service_tell(service, &news);
}

static void on_launched(void *arg, int result, const struct gm_refusal *refusal, uint64_t bytes)
{
	struct gm_pending *pending = arg;
	struct gm_refusal why = *refusal, found = { 0 };
	struct gm_domain *domain;
	uint64_t step = 0;
	int r;

	(void)bytes;
	r = find_launched(pending, &domain, &found);
	if (r == 0 && result == 0)
		result = take(pending, domain, &step, &why);
	if (r == 0 && result != 0)
		fail(pending, domain, result, &why);
	if (r != 0) {
		result = r;
		why = found;
	}
	if (result == 0) {
		answer(pending, domain, step);
		gm_counters_answer(gm_link_counters(pending->link), 0, GM_RULE_NONE);
	}
	free(pending->hashing);
	gm_pending_end(pending, result, &why);
}

static const struct gm_exec_job_ops launch_ops = { .end = on_launched };

int gm_own_launch_finish(struct gm_pending *pending, struct gm_domain *domain,
			 const struct gm_launch_end *end, const struct gm_population *population,
			 uint8_t *digest, struct gm_refusal *refusal)
{
	struct gm_link *link = pending->link;
	struct gm_exec *exec = link->service->exec;
	int r;

	r = gm_exec_predict(exec, domain, end, digest, refusal);
	if (r != 0)
		return r;
	return gm_exec_start_own_launch(exec, link->session, gm_link_pidfd(link), domain,
					&end->vcpus, population, digest, &launch_ops, pending,
					&pending->job, refusal);
}
