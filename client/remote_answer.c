/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a packet with an answer to whoever asked.
 */
#include <string.h>

#include "gm_msg.h"
#include "remote.h"

uint64_t gm_granted(unsigned type, const ProtobufCMessage *message)
{
	if (type == GM_MSG_DOMAIN_CREATE)
		return ((const Gmem__DomainCreateReply *)message)->domain;
	if (type == GM_MSG_REGION_CREATE)
		return ((const Gmem__RegionCreateReply *)message)->region;
	return 0;
}

/*
 * What was granted to nobody would stay until the connection ends: it goes back at once. An
 * attachment cannot be given back; it ends with the connection.
 */
static void give_back(struct gmem_client *client, const struct gm_pending *pending)
{
	Gmem__DomainDestroyRequest domain = GMEM__DOMAIN_DESTROY_REQUEST__INIT;
	Gmem__RegionDestroyRequest region = GMEM__REGION_DESTROY_REQUEST__INIT;
	struct gm_pending *nobody;
	int r;

	if (pending->ordered)
		gm_remote_cancel_step(client, pending);
	if (!pending->granted)
		return;
	domain.has_domain = region.has_region = true;
	domain.domain = region.region = pending->granted;
	if (pending->type == GM_MSG_DOMAIN_CREATE)
		r = gm_remote_post(client, GM_PENDING_NOBODY, GM_MSG_DOMAIN_DESTROY, &domain.base,
				   &nobody);
	else
		r = gm_remote_post(client, GM_PENDING_NOBODY, GM_MSG_REGION_DESTROY, &region.base,
				   &nobody);
	/* It stays charged to us, then. */
	(void)r;
}

void gm_pending_end(struct gmem_client *client, struct gm_pending *pending)
{
	switch (pending->kind) {
	case GM_PENDING_CALL:
		pending->ended = true;
		return;
	case GM_PENDING_JOB:
		gm_remote_job_ended(client, pending);
		break;
	case GM_PENDING_NOBODY:
		if (pending->granted || pending->ordered)
			give_back(client, pending);
		break;
	case GM_PENDING_LINK:
		break;
	}
	gm_pending_free(pending);
}

/* Only these may bring file descriptors. */
static bool may_bring_fds(unsigned type)
{
	return type == GM_MSG_DOMAIN_CREATE || type == GM_MSG_DOMAIN_ATTACH ||
	       type == GM_MSG_LAUNCH_START || type == GM_MSG_LAUNCH_FINISH ||
	       type == GM_MSG_REGION_CREATE || type == GM_MSG_REGION_GET || type == GM_MSG_FD_BOX;
}

/*
 * What was to be destroyed is not there, and may have been destroyed by the request itself, in the
 * session before.
 */
static bool is_done_already(const struct gm_pending *pending)
{
	return pending->doubted && pending->failure.status == GMEM_NO_SUCH_OBJECT &&
	       (pending->type == GM_MSG_DOMAIN_DESTROY || pending->type == GM_MSG_REGION_DESTROY);
}

static const char *take_refusal(struct gm_pending *pending, const Gmem__Status *status)
{
	if (gm_failure_from_wire(&pending->failure, status) < 0)
		return "a refusal without a code";
	if (is_done_already(pending))
		pending->failure.status = 0;
	return NULL;
}

/* Takes what @pending needs from @message. */
static void take_message(struct gm_pending *pending, const ProtobufCMessage *message)
{
	switch (pending->kind) {
	case GM_PENDING_CALL:
		pending->reply.message = message;
		break;
	case GM_PENDING_JOB:
		/* AllocateReply and DiscardReply are alike up to their names. */
		pending->done = pending->type == GM_MSG_ALLOCATE
					? ((const Gmem__AllocateReply *)message)->bytes
					: ((const Gmem__DiscardReply *)message)->bytes;
		break;
	case GM_PENDING_NOBODY:
		pending->granted = gm_granted(pending->type, message);
		pending->ordered = gm_ordered(pending->type, message);
		break;
	case GM_PENDING_LINK:
		break;
	}
}

static const char *unpack(struct gmem_client *client, struct gm_pending *pending,
			  const struct gm_frame *frame, const void *body,
			  const struct gm_fdset *fds)
{
	bool refused = frame->flags & GM_FRAME_REFUSED;
	struct gm_arena *scratch = &client->remote->scratch;
	bool is_call = pending->kind == GM_PENDING_CALL;
	const ProtobufCMessageDescriptor *descriptor;
	ProtobufCMessage *message;
	enum gm_msg_fault fault;
	const char *what = NULL;

	descriptor = refused ? &gmem__status__descriptor : gm_msg_format(frame->type)->answer;
	fault = gm_msg_unpack_answer(descriptor, body, frame->body_length,
				     is_call ? pending->reply.arena : scratch, &message);
	if (fault != GM_MSG_GOOD)
		what = gm_msg_fault_text(fault);
	else if (refused)
		what = take_refusal(pending, (const Gmem__Status *)message);
	else
		take_message(pending, message);
	if (!what && pending->kind == GM_PENDING_LINK)
		what = gm_return_take(client, pending, refused ? NULL : message, fds);
	if (!what)
		gm_standing_take(client, pending, refused ? NULL : message);
	gm_arena_clear(scratch, true);
	return what;
}

static struct gm_pending *match(const struct gm_remote *remote, const struct gm_frame *frame)
{
	struct gm_pending *pending = gm_remote_find(remote, frame->serial);

	/* A daemon that is full refuses the greeting before it has read it. */
	if (frame->serial == 0 && frame->flags & GM_FRAME_REFUSED && frame->type == GM_MSG_HELLO)
		for (pending = remote->pending; pending && pending->type != GM_MSG_HELLO;)
			pending = pending->next;
	/* What was not sent on this connection cannot be answered on it. */
	if (!pending || pending->type != frame->type || (frame->serial && !pending->sent))
		return NULL;
	return pending;
}

/* The connection is not up yet: this is between it and us. */
static void link_answer(struct gmem_client *client, struct gm_pending *pending,
			const struct gm_frame *frame, const void *body, const struct gm_fdset *fds)
{
	const char *fault;

	gm_pending_forget(client->remote, pending);
	fault = unpack(client, pending, frame, body, fds);
	gm_pending_free(pending);
	explicit_bzero(client->remote->packet, GM_FRAME_HEADER_SIZE + frame->body_length);
	if (fault)
		(void)gm_remote_nonsense(client, fault);
	else
		gm_return_step(client);
}

void gm_remote_answer(struct gmem_client *client, const struct gm_frame *frame, const void *body,
		      struct gm_fdset *fds)
{
	struct gm_remote *remote = client->remote;
	struct gm_pending *pending = match(remote, frame);
	const char *fault;

	if (!pending) {
		gm_remote_end(client, GMEM_PROTOCOL,
			      "The daemon answered request %u of type %u, which was not asked.",
			      frame->serial, frame->type);
		return;
	}
	if (fds->n_fds && (frame->flags & GM_FRAME_REFUSED || !may_bring_fds(frame->type))) {
		(void)gm_remote_nonsense(client, "file descriptors where none belong");
		return;
	}
	if (pending->kind == GM_PENDING_LINK) {
		link_answer(client, pending, frame, body, fds);
		return;
	}
	fault = unpack(client, pending, frame, body, fds);
	explicit_bzero(remote->packet, GM_FRAME_HEADER_SIZE + frame->body_length);
	if (fault) {
		(void)gm_remote_nonsense(client, fault);
		return;
	}
	gm_fdset_move(&pending->reply.fds, fds);
	remote->link.proven = true;
	gm_pending_forget(remote, pending);
	gm_pending_end(client, pending);
}
