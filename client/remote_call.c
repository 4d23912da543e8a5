/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"
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

void gm_pending_free(struct gm_pending *pending)
{
	gm_reply_done(&pending->reply);
	/* Requests bring tokens. */
	if (pending->body)
		explicit_bzero(pending->body, pending->body_length);
	free(pending->body);
	free(pending->conversions);
	free(pending);
}

static void free_pending_slot(struct gm_pending **slot)
{
	if (*slot)
		gm_pending_free(*slot);
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

void gm_pending_forget(struct gm_remote *remote, struct gm_pending *pending)
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
			gm_pending_forget(remote, pending);
			gm_pending_free(pending);
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
		gm_pending_forget(remote, pending);
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
		gm_pending_forget(remote, pending);
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
		gm_pending_free(pending);
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

int gm_remote_check_room(struct gmem_client *client)
{
	return check_room(client, GM_PENDING_CALL);
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
		r = gm_fail(client, GMEM_DISCONNECTED, 0,
			    "The connection to the daemon has ended.");
	else if (kind != GM_PENDING_LINK && type != GM_MSG_CONVERTED)
		r = gm_remote_report_all(client);
	if (r == 0 && kind != GM_PENDING_LINK)
		r = check_room(client, kind);
	if (r < 0)
		return r;
	pending = new_pending(client, kind, type);
	if (!pending) {
		(void)gm_fail_errno(client, ENOMEM, "a request");
		return -GMEM_SYSTEM;
	}
	r = pack(client, pending, request);
	if (r < 0)
		return r;
	remember(remote, pending);
	if (!remote->holds_back)
		(void)gm_link_flush(remote);
	*ret_pending = gm_take_ptr(&pending);
	return 0;
}

void gm_remote_abandon(struct gmem_client *client, struct gm_pending *pending)
{
	if (!pending)
		return;
	if (!pending->ended && !pending->sent && !pending->repeated) {
		/* No daemon has ever seen it. */
		gm_pending_forget(client->remote, pending);
		gm_pending_free(pending);
		return;
	}
	pending->kind = GM_PENDING_NOBODY;
	if (!pending->ended) {
		gm_reply_done(&pending->reply);
		return;
	}
	if (!pending->failure.status) {
		pending->granted = gm_granted(pending->type, pending->reply.message);
		pending->ordered = gm_ordered(pending->type, pending->reply.message);
	}
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
	reply->repeated = owned->repeated;
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
