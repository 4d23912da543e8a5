/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"
#include "gm_msg.h"
#include "gm_verdict.h"
#include "remote.h"

/* Requests that jobs may not take up, so that a call or a CANCEL always finds room. */
#define GM_REQUESTS_FOR_CALLS 8

/* ---- arenas: one is kept, because almost always one is enough */

static struct gm_arena *take_arena(struct gm_remote *remote)
{
	struct gm_arena *arena = gm_take_ptr(&remote->spare);

	if (arena)
		return arena;
	arena = calloc(1, sizeof(*arena));
	if (arena && gm_arena_init(arena, GM_ANSWER_ARENA_SIZE) < 0) {
		free(arena);
		return NULL;
	}
	return arena;
}

static void give_arena(struct gm_remote *remote, struct gm_arena *arena)
{
	if (!arena)
		return;
	/* Answers bring tokens. */
	gm_arena_clear(arena, true);
	if (!remote->spare) {
		remote->spare = arena;
		return;
	}
	gm_arena_done(arena);
	free(arena);
}

void gm_reply_done(struct gm_reply *reply)
{
	if (reply->client)
		give_arena(reply->client->remote, reply->arena);
	gm_fdset_done(&reply->fds);
	*reply = (struct gm_reply){ 0 };
}

static void free_pending(struct gm_pending *pending)
{
	gm_reply_done(&pending->reply);
	/* Requests bring tokens. */
	if (pending->body)
		explicit_bzero(pending->body, pending->body_length);
	free(pending->body);
	free(pending);
}

static void free_pending_slot(struct gm_pending **slot)
{
	if (*slot)
		free_pending(*slot);
}

/* ---- requests under way */

struct gm_pending *gm_remote_find(const struct gm_remote *remote, uint32_t serial)
{
	struct gm_pending *pending = remote->pending;

	while (pending && pending->serial != serial)
		pending = pending->next;
	return pending;
}

static uint32_t *counter_of(struct gm_remote *remote, const struct gm_pending *pending)
{
	return pending->kind == GM_PENDING_LINK ? &remote->n_link : &remote->n_pending;
}

static void remember(struct gm_remote *remote, struct gm_pending *pending)
{
	struct gm_pending **slot = &remote->pending;

	while (*slot)
		slot = &(*slot)->next;
	*slot = pending;
	++*counter_of(remote, pending);
	remote->n_unsent++;
}

static void forget(struct gm_remote *remote, struct gm_pending *pending)
{
	struct gm_pending **slot = &remote->pending;

	while (*slot != pending)
		slot = &(*slot)->next;
	*slot = pending->next;
	pending->next = NULL;
	--*counter_of(remote, pending);
	remote->n_unsent -= !pending->sent;
}

void gm_remote_unsend(struct gm_remote *remote)
{
	struct gm_pending *next;

	for (struct gm_pending *pending = remote->pending; pending; pending = next) {
		next = pending->next;
		if (pending->kind == GM_PENDING_LINK) {
			forget(remote, pending);
			free_pending(pending);
		} else if (pending->sent) {
			pending->sent = false;
			pending->repeated = true;
			remote->n_unsent++;
		}
	}
}

void gm_remote_end_cancelled(struct gmem_client *client)
{
	struct gm_remote *remote = client->remote;
	struct gm_pending *pending = remote->pending;

	while (pending) {
		if (pending->kind != GM_PENDING_JOB || !pending->cancelled) {
			pending = pending->next;
			continue;
		}
		forget(remote, pending);
		gm_failure_set(&pending->failure, GMEM_CANCELLED,
			       "The job was cancelled, and the daemon that ran it has gone.");
		gm_pending_end(client, pending);
		/* The callback may have changed anything. */
		pending = remote->pending;
	}
}

void gm_remote_end_all(struct gmem_client *client, const struct gm_failure *failure)
{
	struct gm_remote *remote = client->remote;
	struct gm_pending *pending;

	while ((pending = remote->pending)) {
		forget(remote, pending);
		pending->failure = *failure;
		gm_pending_end(client, pending);
	}
}

static uint32_t next_serial(struct gm_remote *remote)
{
	do {
		remote->last_serial++;
	} while (remote->last_serial == 0 || gm_remote_find(remote, remote->last_serial));
	return remote->last_serial;
}

static struct gm_pending *new_pending(struct gmem_client *client, enum gm_pending_kind kind,
				      unsigned type)
{
	struct gm_pending *pending = calloc(1, sizeof(*pending));

	if (!pending)
		return NULL;
	pending->kind = kind;
	pending->type = (uint16_t)type;
	pending->serial = next_serial(client->remote);
	if (kind != GM_PENDING_CALL)
		return pending;
	pending->reply.client = client;
	pending->reply.arena = take_arena(client->remote);
	if (!pending->reply.arena) {
		free_pending(pending);
		return NULL;
	}
	return pending;
}

static int check_room(struct gmem_client *client, enum gm_pending_kind kind)
{
	const struct gm_remote *remote = client->remote;
	uint32_t limit = remote->requests_max;

	if (kind == GM_PENDING_JOB)
		limit = limit > GM_REQUESTS_FOR_CALLS ? limit - GM_REQUESTS_FOR_CALLS : 1;
	if (remote->n_pending < limit)
		return 0;
	return gm_fail_numbers(client, GMEM_OVER_LIMIT, GM_RULE_REQUESTS, "this connection", limit,
			       remote->n_pending, 1);
}

static int pack(struct gmem_client *client, struct gm_pending *pending,
		const ProtobufCMessage *request)
{
	size_t length = protobuf_c_message_get_packed_size(request);

	if (length > GM_BODY_MAX)
		return gm_fail(client, GMEM_INVALID, 0,
			       "The request has %zu bytes; the protocol carries at most %d.",
			       length, GM_BODY_MAX);
	pending->body = malloc(length + 1);
	if (!pending->body)
		return gm_fail_errno(client, ENOMEM, "a request");
	pending->body_length = (uint32_t)length;
	(void)protobuf_c_message_pack(request, pending->body);
	return 0;
}

int gm_remote_post(struct gmem_client *client, enum gm_pending_kind kind, unsigned type,
		   const ProtobufCMessage *request, struct gm_pending **ret_pending)
{
	_gm_cleanup_(free_pending_slot) struct gm_pending *pending = NULL;
	struct gm_remote *remote = client->remote;
	int r = 0;

	if (remote->link.state == GM_LINK_OVER)
		return gm_fail(client, GMEM_DISCONNECTED, 0,
			       "The connection to the daemon has ended.");
	if (kind != GM_PENDING_LINK)
		r = check_room(client, kind);
	if (r < 0)
		return r;
	pending = new_pending(client, kind, type);
	if (!pending)
		return gm_fail_errno(client, ENOMEM, "a request");
	r = pack(client, pending, request);
	if (r < 0)
		return r;
	remember(remote, pending);
	(void)gm_link_flush(remote);
	*ret_pending = gm_take_ptr(&pending);
	return 0;
}

/* The id of what an answer grants that somebody must give back, or 0. */
static uint64_t granted(unsigned type, const ProtobufCMessage *message)
{
	if (type == GM_MSG_DOMAIN_CREATE)
		return ((const Gmem__DomainCreateReply *)message)->domain;
	if (type == GM_MSG_REGION_CREATE)
		return ((const Gmem__RegionCreateReply *)message)->region;
	return 0;
}

void gm_remote_abandon(struct gmem_client *client, struct gm_pending *pending)
{
	if (!pending)
		return;
	if (!pending->ended && !pending->sent && !pending->repeated) {
		/* No daemon has ever seen it. */
		forget(client->remote, pending);
		free_pending(pending);
		return;
	}
	pending->kind = GM_PENDING_NOBODY;
	if (!pending->ended) {
		gm_reply_done(&pending->reply);
		return;
	}
	if (!pending->failure.status)
		pending->granted = granted(pending->type, pending->reply.message);
	gm_pending_end(client, pending);
}

static int wait_for_answer(struct gmem_client *client, struct gm_pending *pending,
			   uint64_t deadline)
{
	int r = 0;

	/* How the client ended is in @pending too: only its own failure counts here. */
	while (!pending->ended && r == 0) {
		r = gm_remote_wait(client, deadline);
		if (r == 0)
			(void)gm_remote_turn(client);
	}
	return r;
}

int gm_remote_finish(struct gmem_client *client, struct gm_pending *pending, uint64_t deadline,
		     struct gm_reply *reply)
{
	_gm_cleanup_(free_pending_slot) struct gm_pending *owned = NULL;
	int r = wait_for_answer(client, pending, deadline);

	if (r < 0) {
		gm_remote_abandon(client, pending);
		return r;
	}
	owned = pending;
	if (owned->failure.status)
		return gm_client_fail(client, &owned->failure);
	/* Callbacks during the wait may have left their failures. */
	gm_client_clear(client);
	*reply = owned->reply;
	owned->reply = (struct gm_reply){ 0 };
	return 0;
}

int gm_remote_call(struct gmem_client *client, unsigned type, const ProtobufCMessage *request,
		   struct gm_reply *reply)
{
	uint64_t deadline = gm_deadline(client);
	struct gm_pending *pending;
	int r;

	r = gm_remote_post(client, GM_PENDING_CALL, type, request, &pending);
	if (r < 0)
		return r;
	return gm_remote_finish(client, pending, deadline, reply);
}

int gm_remote_nonsense(struct gmem_client *client, const char *what)
{
	return gm_remote_end(client, GMEM_PROTOCOL, "The daemon's answer makes no sense: %s.",
			     what);
}

/* ---- answers */

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
		if (pending->granted)
			give_back(client, pending);
		break;
	case GM_PENDING_LINK:
		break;
	}
	free_pending(pending);
}

/* Only these may bring file descriptors. */
static bool may_bring_fds(unsigned type)
{
	return type == GM_MSG_DOMAIN_CREATE || type == GM_MSG_DOMAIN_ATTACH ||
	       type == GM_MSG_REGION_CREATE || type == GM_MSG_REGION_GET;
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
		pending->granted = granted(pending->type, message);
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

	forget(client->remote, pending);
	fault = unpack(client, pending, frame, body, fds);
	free_pending(pending);
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
	forget(remote, pending);
	gm_pending_end(client, pending);
}
