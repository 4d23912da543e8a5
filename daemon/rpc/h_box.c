/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FD_BOX, and what STEP_MEMORY and SOURCE wait for: an fd of the client's, which a worker has
 * looked at. None comes with a request.
 *
 * A box is on no record. After a restart it is gone, with its worker: whoever names it is told that
 * there is none, and opens another.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "exec_box.h"
#include "step.h"

/* From the answer on. A client sends at once. */
#define BOX_MS 10000

/* Its client may have gone meanwhile. */
static void refuse_later(struct gm_link *link, const struct gm_frame *frame, int result,
			 const struct gm_refusal *refusal)
{
	if (link->ops != NULL)
		gm_link_refuse(link, frame->type, frame->serial, result, refusal);
}

static struct gm_frame answer_to(const struct gm_pending *pending, uint8_t n_fds)
{
	return (struct gm_frame){ .type = pending->type,
				  .flags = GM_FRAME_ANSWER,
				  .serial = pending->serial,
				  .n_fds = n_fds };
}

/* ---- opening ---- */

/* Not kept for a repeated request: that opens another. Cannot fail: a few numbers always fit. */
static void answer_box(struct gm_pending *pending, struct gm_exec_box *box, int fd)
{
	struct gm_link *link = pending->link;
	const struct gm_frame frame = answer_to(pending, 1);
	Gmem__FdBoxReply reply = GMEM__FD_BOX_REPLY__INIT;
	ProtobufCBinaryData name = gm_bytes("box");
	int r;

	gm_exec_box_set_deadline(box, gm_service_now(link->service) + BOX_MS);
	reply.has_box = 1;
	reply.box = gm_exec_box_id(box);
	reply.has_patience_ms = 1;
	reply.patience_ms = BOX_MS;
	reply.n_fd_names = 1;
	reply.fd_names = &name;
	r = gm_link_send(link, &frame, &reply.base, &fd);
	assert(r == 0);
	gm_counters_answer(gm_link_counters(link), 0, GM_RULE_NONE);
}

static void on_opened(void *arg, struct gm_exec_box *box, int result,
		      const struct gm_refusal *refusal, int fd)
{
	struct gm_pending *pending = arg;
	const struct gm_frame frame = answer_to(pending, 0);
	struct gm_link *link = pending->link;

	if (result == 0)
		answer_box(pending, box, fd);
	gm_pending_free(pending);
	if (result != 0)
		refuse_later(link, &frame, result, refusal);
	gm_link_release(link);
}

static const struct gm_exec_box_ops box_ops = { .opened = on_opened };

static int check_kind(struct gm_call *call, const struct gm_domain *domain)
{
	if (domain->traits & (GM_TRAIT_PRIVATE | GM_TRAIT_LAUNCH))
		return 0;
	return gm_refuse_text(&call->refusal, GM_UNSUPPORTED, GM_RULE_KIND, "domain",
			      "clients hand in nothing for guests of kind %s", domain->kind);
}

int gm_handle_fd_box(struct gm_call *call)
{
	const Gmem__FdBoxRequest *request = call->request;
	struct gm_pending *pending;
	struct gm_domain *domain;
	uint64_t id = 0;
	int r;

	r = gm_call_check_room(call);
	if (r == 0)
		r = gm_book_find_attached(call->book, call->session,
					  (struct gm_domain_id){ request->domain }, &domain,
					  &call->refusal);
	if (r == 0)
		r = check_kind(call, domain);
	if (r == 0)
		r = gm_service_draw_id(call->service, &id);
	if (r != 0)
		return r;
	pending = gm_pending_new(call);
	if (pending == NULL)
		return -ENOMEM;
	pending->domain = request->domain;
	pending->idle = true;
	r = gm_exec_open_box(call->exec, call->session, gm_link_pidfd(call->link), domain, id,
			     &box_ops, pending, &call->refusal);
	if (r == 0)
		gm_pending_enter(call, pending);
	else
		free(pending);
	return r;
}

/* ---- what came ---- */

static void on_came(void *arg, int result, const struct gm_refusal *refusal, int fd)
{
	struct gm_pending *pending = arg;
	const struct gm_frame frame = answer_to(pending, 0);
	Gmem__StepMemoryReply memory = GMEM__STEP_MEMORY_REPLY__INIT;
	Gmem__SourceReply source = GMEM__SOURCE_REPLY__INIT;
	bool is_source = pending->type == GM_MSG_SOURCE;
	struct gm_link *link = pending->link;
	struct gm_service *service = link->service;
	struct gm_refusal why = *refusal;

	if (result == 0)
		result = is_source ? gm_source_came(pending, fd, &source, &why)
				   : gm_step_memory_came(pending, fd, &why);
	gm_pending_free(pending);
	if (result == 0)
		result =
			gm_link_answer(link, &frame, is_source ? &source.base : &memory.base, NULL);
	if (result == 0)
		gm_counters_answer(gm_link_counters(link), 0, GM_RULE_NONE);
	else
		refuse_later(link, &frame, result, &why);
	gm_link_release(link);
	gm_service_settle(service);
}

int gm_call_await_fd(struct gm_call *call, const struct gm_domain *domain, uint64_t id,
		     struct gm_pending *pending)
{
	int r;

	pending->idle = true;
	/* What came already is answered from within. */
	gm_pending_enter(call, pending);
	r = gm_exec_claim_box(call->exec, call->session, domain, id, on_came, pending,
			      &call->refusal);
	if (r != 0) {
		gm_pending_free(pending);
		call->deferred = false;
	}
	return r;
}
