/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HELLO and PING.
 */
#include <string.h>

#include "call.h"
#include "gm_check.h"

/* Feature bits that this daemon has: none yet. */
#define FEATURES UINT64_C(0)

static int check_versions(struct gm_call *call, const Gmem__HelloRequest *request)
{
	if (request->min_version <= GM_PROTOCOL_VERSION &&
	    request->max_version >= GM_PROTOCOL_VERSION)
		return 0;
	return gm_refuse_text(&call->refusal, GM_UNSUPPORTED, GM_RULE_NONE, "daemon",
			      "the daemon speaks version %u, the client %u to %u",
			      GM_PROTOCOL_VERSION, request->min_version, request->max_version);
}

static int take_client_name(struct gm_call *call, const Gmem__HelloRequest *request)
{
	char *client = call->session->client;

	if (!request->has_client)
		return 0;
	if (!gm_client_name_is_valid(request->client.data, request->client.len))
		return gm_refuse(&call->refusal, GM_INVALID, GM_RULE_NAME, "client");
	memcpy(client, request->client.data, request->client.len);
	client[request->client.len] = '\0';
	return 0;
}

static int read_key(struct gm_call *call, const ProtobufCBinaryData *bytes,
		    struct gm_session_key *key)
{
	if (bytes->len != sizeof(key->bytes))
		return gm_refuse_numbers(&call->refusal, GM_INVALID, GM_RULE_SESSION_KEY, "request",
					 sizeof(key->bytes), 0, bytes->len);
	memcpy(key->bytes, bytes->data, sizeof(key->bytes));
	return 0;
}

/* The session is a new one, with the key or without. */
static int begin(struct gm_call *call, const struct gm_session_key *key)
{
	const struct gm_recorder *recorder = &call->service->env.recorder;
	const struct gm_account *account = &call->session->tenant->account;
	int r;

	if (call->link->surplus)
		return gm_refuse_numbers(&call->refusal, GM_OVER_LIMIT, GM_RULE_SESSIONS_MAX,
					 account->name, account->limits[GM_RES_SESSIONS],
					 account->used[GM_RES_SESSIONS] - 1, 1);
	if (key == NULL)
		return 0;
	r = recorder->ops->room_for_session(recorder->arg, &call->refusal);
	if (r == 0)
		gm_session_set_key(call->session, key);
	return r;
}

static int resume(struct gm_call *call, const struct gm_session_key *key)
{
	struct gm_session *session = gm_book_find_session_by_key(call->session->tenant, key);

	if (session == NULL)
		return begin(call, key);
	if (session->owner != NULL)
		return gm_refuse(&call->refusal, GM_BUSY, GM_RULE_SESSION_KEY, "session");
	gm_link_resume(call->link, session);
	call->session = session;
	return 0;
}

/* Which session is it? Only tenants' are recorded: an operator's has nothing to come back to. */
static int settle_session(struct gm_call *call, const Gmem__HelloRequest *request)
{
	bool is_recorded = call->session->tenant != NULL && call->service->env.recorder.ops != NULL;
	struct gm_session_key key;
	int r = 0;

	if (request->has_session_key)
		r = read_key(call, &request->session_key, &key);
	if (r != 0 || !is_recorded)
		return r;
	r = request->has_session_key ? resume(call, &key) : begin(call, NULL);
	explicit_bzero(&key, sizeof(key));
	return r;
}

int gm_handle_hello(struct gm_call *call)
{
	const Gmem__HelloRequest *request = call->request;
	Gmem__HelloReply *reply = call->answer;
	const struct gm_tenant *tenant = call->session->tenant;
	int r;

	r = check_versions(call, request);
	if (r != 0)
		return r;
	r = take_client_name(call, request);
	if (r == 0)
		r = settle_session(call, request);
	if (r != 0)
		return r;
	reply->has_resumed = 1;
	reply->resumed = call->session->state == GM_SESSION_OPEN;
	if (!reply->resumed)
		gm_session_set_state(call->session, GM_SESSION_OPEN);

	reply->has_version = 1;
	reply->version = GM_PROTOCOL_VERSION;
	reply->has_server = 1;
	reply->server = gm_bytes("gmemd/" GMEMD_VERSION);
	reply->has_features = 1;
	reply->features = request->features & FEATURES;
	reply->has_tenant = 1;
	reply->tenant = gm_bytes(tenant != NULL ? tenant->name : "");
	reply->has_admin = 1;
	reply->admin = tenant == NULL;
	reply->has_body_max = 1;
	reply->body_max = GM_BODY_MAX;
	reply->has_fds_max = 1;
	reply->fds_max = GM_FDSET_MAX;
	reply->has_ranges_max = 1;
	reply->ranges_max = GM_RANGES_MAX;
	reply->has_requests_max = 1;
	reply->requests_max = GM_REQUESTS_MAX;
	return 0;
}

int gm_handle_ping(struct gm_call *call)
{
	const Gmem__PingRequest *request = call->request;
	Gmem__PingReply *reply = call->answer;

	/* At most GM_PING_MAX bytes: the method takes no longer body. */
	reply->has_payload = request->has_payload;
	reply->payload = request->payload;
	return 0;
}
