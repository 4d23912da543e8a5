/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "call.h"
#include "gm_fault.h"
#include "status.h"

static bool state_allows(const struct gm_method *method, enum gm_session_state state)
{
	return (method->states & (1U << state)) != 0;
}

static const char *state_fault(enum gm_session_state state)
{
	switch (state) {
	case GM_SESSION_GREETING:
		return "a message before HELLO";
	case GM_SESSION_OPEN:
		return "a second HELLO";
	case GM_SESSION_CLOSING:
	case GM_SESSION_STATE_N_:
		break;
	}
	return "a message after the end of the session";
}

/* What no client of this protocol sends. NULL when the packet is fit to be looked into. */
static const char *find_fault(struct gm_link *link, const struct gm_frame *frame, size_t n_fds)
{
	const struct gm_method *method = gm_method_find(frame->type);

	if (frame->flags != 0)
		return "flags in a request";
	if (frame->serial == 0)
		return "serial 0 in a request";
	if (method == NULL)
		return "an unknown type";
	if (!state_allows(method, link->session->state))
		return state_fault(link->session->state);
	/* From 6.16 on the kernel sends none. */
	if (n_fds > 0)
		return "file descriptors in a request";
	if (frame->body_length > method->body_max)
		return "a body longer than the request can need";
	if (link->n_pending > 0 && gm_link_find_pending(link, frame->serial) != NULL)
		return "a serial that is still unanswered";
	return NULL;
}

static int check_permission(struct gm_call *call)
{
	const struct gm_tenant *tenant = call->session->tenant;

	if (tenant != NULL ? call->method->tenant : call->method->admin)
		return 0;
	return gm_refuse_text(&call->refusal, GM_DENIED, GM_RULE_PERMISSION,
			      tenant != NULL ? tenant->account.name : "admin", "%s is for %s only",
			      call->method->name, tenant != NULL ? "the admin socket" : "tenants");
}

static int prepare_answer(struct gm_call *call, const ProtobufCMessageDescriptor *descriptor)
{
	call->answer = gm_call_alloc(call, descriptor->sizeof_message);
	if (call->answer == NULL)
		return -ENOMEM;
	descriptor->message_init(call->answer);
	return 0;
}

static int answer(struct gm_call *call)
{
	const struct gm_frame frame = { .type = call->frame->type,
					.flags = GM_FRAME_ANSWER,
					.serial = call->frame->serial,
					.n_fds = call->n_fds };

	int r;

	if (call->method->flags & GM_METHOD_MUTATES)
		r = gm_link_answer(call->link, &frame, call->answer, call->fds);
	else
		r = gm_link_send(call->link, &frame, call->answer, call->fds);
	if (r == 0)
		gm_counters_answer(gm_link_counters(call->link), 0, GM_RULE_NONE);
	if (r == 0 && call->method->flags & GM_METHOD_GRANT)
		gm_histogram_add(&gm_link_counters(call->link)->grant_us,
				 call->service->env.now_us() - call->started_us);
	return r;
}

void gm_call_takes_from(struct gm_call *call, struct gm_session *owner, struct gm_domain_id domain,
			Gmem__Farewell why)
{
	/* A session that waits to be resumed has nobody who could be told. */
	call->loser = owner->owner;
	call->lost = domain;
	call->why = why;
}

/* The request has been understood: 0, a verdict, or -errno. */
static int run(struct gm_call *call, const ProtobufCMessageDescriptor *answer_descriptor)
{
	int r;

	r = prepare_answer(call, answer_descriptor);
	GM_FAULT_POINT("request: read");
	if (r == 0)
		r = call->method->fn(call);
	GM_FAULT_POINT("request: carried out");
	if (r == 0 && !call->deferred)
		r = answer(call);
	return r;
}

static int dispatch(struct gm_call *call, const void *body, const char **ret_fault)
{
	const struct gm_msg_format *format = gm_msg_format(call->frame->type);
	ProtobufCMessage *request;
	enum gm_msg_fault fault;
	int r;

	assert(format != NULL && format->request != NULL);
	r = check_permission(call);
	if (r == 0) {
		fault = gm_msg_unpack_request(format->request, body, call->frame->body_length,
					      &call->service->arena, &request);
		if (fault != GM_MSG_GOOD) {
			*ret_fault = gm_msg_fault_text(fault);
			return -EPROTO;
		}
		call->request = request;
		r = run(call, format->answer);
	}
	if (r != 0)
		gm_link_refuse(call->link, call->frame->type, call->frame->serial, r,
			       &call->refusal);
	if (call->method->flags & GM_METHOD_MUTATES)
		gm_service_settle(call->service);
	GM_FAULT_POINT("request: answered");
	if (call->loser != NULL)
		gm_link_tell_gone(call->loser, call->lost, call->why);
	return 0;
}

/* Answered before, by the daemon that was killed? 1, 0, or -EPROTO. */
static int replay(struct gm_call *call, const char **ret_fault)
{
	int r;

	if (call->link->n_kept == 0 || (call->method->flags & GM_METHOD_MUTATES) == 0)
		return 0;
	r = gm_link_replay(call->link, call->frame);
	if (r < 0)
		*ret_fault = "a serial that another request has had";
	return r;
}

/* A token is nowhere to be found once its request has been answered. */
static void forget(struct gm_service *service, const struct gm_method *method)
{
	bool secret = (method->flags & GM_METHOD_SECRET) != 0;

	gm_arena_clear(&service->arena, secret);
	if (secret)
		explicit_bzero(service->body, sizeof(service->body));
}

/* Without a rate the clock is left alone. */
static bool has_rate(const struct gm_link *link)
{
	const struct gm_tenant *tenant = link->session->tenant;

	return tenant != NULL && tenant->policy.requests_rate != GM_UNLIMITED;
}

static void spend_request(struct gm_link *link)
{
	if (has_rate(link))
		gm_tenant_spend_request(link->session->tenant, gm_service_now(link->service));
}

/* Who has not said HELLO has only a few seconds for that, whatever its neighbours use up. */
uint32_t gm_link_wait_ms(struct gm_link *link)
{
	if (!has_rate(link) || !gm_link_is_open(link))
		return 0;
	return gm_tenant_request_wait_ms(link->session->tenant, gm_service_now(link->service));
}

int gm_dispatch(struct gm_link *link, const struct gm_frame *frame, const void *body, size_t n_fds,
		const char **ret_fault)
{
	struct gm_counters *counters = gm_link_counters(link);
	struct gm_call call = {
		.link = link,
		.service = link->service,
		.session = link->session,
		.book = link->service->book,
		.exec = link->service->exec,
		.frame = frame,
	};
	const char *fault = find_fault(link, frame, n_fds);
	int r;

	if (fault != NULL) {
		counters->violations++;
		*ret_fault = fault;
		return -EPROTO;
	}
	counters->requests++;
	spend_request(link);
	call.method = gm_method_find(frame->type);
	if (call.method->flags & (GM_METHOD_GRANT | GM_METHOD_ASYNC))
		call.started_us = call.service->env.now_us();
	r = replay(&call, ret_fault);
	if (r == 0)
		r = dispatch(&call, body, ret_fault);
	if (r == -EPROTO)
		counters->violations++;
	forget(link->service, call.method);
	return r < 0 ? r : 0;
}

void *gm_call_alloc(struct gm_call *call, size_t size)
{
	void *memory = gm_arena_alloc(&call->service->arena, size);

	return memory != NULL ? memset(memory, 0, size) : NULL;
}

int gm_call_add_fd(struct gm_call *call, int fd, const char *name, size_t *n_names,
		   ProtobufCBinaryData **names)
{
	assert(call->n_fds < GM_FDSET_MAX);
	if (*names == NULL)
		*names = gm_call_alloc(call, GM_FDSET_MAX * sizeof(**names));
	if (*names == NULL)
		return -ENOMEM;
	(*names)[(*n_names)++] = gm_bytes(name);
	call->fds[call->n_fds++] = fd;
	return 0;
}

const char *gm_call_tenant_name(const struct gm_call *call, const struct gm_tenant *tenant)
{
	return call->session->tenant == NULL && tenant != NULL ? tenant->name : "";
}
