/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POLICY: what holds for a tenant or the host, where it is written, and whether a reload would
 * succeed.
 */
#include <errno.h>
#include <string.h>

#include "call.h"
#include "gm_check.h"

/* More keys than any policy has. */
#define ROWS_MAX 64

static int copy_bytes(struct gm_call *call, const char *text, ProtobufCBinaryData *ret_bytes)
{
	size_t length = strlen(text);
	char *copy = gm_call_alloc(call, length + 1);

	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, text, length + 1);
	*ret_bytes = gm_bytes(copy);
	return 0;
}

static int add_row(void *arg, const struct gm_policy_row *row)
{
	struct gm_call *call = arg;
	Gmem__PolicyReply *reply = call->answer;
	Gmem__PolicyRow *message = gm_call_alloc(call, sizeof(*message));
	int r;

	if (message == NULL || reply->n_rows == ROWS_MAX)
		return -ENOMEM;
	gmem__policy_row__init(message);
	message->has_key = 1;
	message->has_value = 1;
	message->has_source = 1;
	r = copy_bytes(call, row->key, &message->key);
	if (r == 0)
		r = copy_bytes(call, row->value, &message->value);
	if (r == 0)
		r = copy_bytes(call, row->source, &message->source);
	if (r == 0)
		reply->rows[reply->n_rows++] = message;
	return r;
}

static int show(struct gm_call *call, const struct gm_tenant *tenant)
{
	const struct gm_service_env *env = &call->service->env;
	Gmem__PolicyReply *reply = call->answer;

	reply->rows = gm_call_alloc(call, ROWS_MAX * sizeof(*reply->rows));
	if (reply->rows == NULL)
		return -ENOMEM;
	return env->policies->rows(env->policies_arg, tenant, add_row, call);
}

static int check(struct gm_call *call, const struct gm_tenant *tenant)
{
	const struct gm_service_env *env = &call->service->env;
	Gmem__PolicyReply *reply = call->answer;
	char said[GM_POLICY_SAID_MAX] = "";
	int r = env->policies->check(env->policies_arg, tenant, said);

	if (r != 0 && r != -EINVAL)
		return r;
	reply->has_good = 1;
	reply->good = r == 0;
	if (r == 0)
		return 0;
	reply->has_fault = 1;
	return copy_bytes(call, said, &reply->fault);
}

static int find_tenant(struct gm_call *call, const Gmem__PolicyRequest *request,
		       const struct gm_tenant **ret_tenant)
{
	char name[GM_NAME_SIZE];

	*ret_tenant = NULL;
	if (request->tenant.len == 0)
		return 0;
	if (!gm_name_copy(&request->tenant, name, GM_NAME_MAX))
		return gm_refuse(&call->refusal, GM_INVALID, GM_RULE_NAME, "tenant");
	*ret_tenant = gm_book_find_tenant(call->book, name);
	if (*ret_tenant == NULL)
		return gm_refuse(&call->refusal, GM_NO_SUCH_OBJECT, GM_RULE_NONE, "tenant");
	return 0;
}

int gm_handle_policy(struct gm_call *call)
{
	const Gmem__PolicyRequest *request = call->request;
	const struct gm_tenant *tenant = call->session->tenant;
	int r;

	if (call->service->env.policies == NULL)
		return gm_refuse(&call->refusal, GM_UNSUPPORTED, GM_RULE_NONE, "policy");
	if (tenant != NULL) {
		/* A check reads files, which takes time that is everybody's. */
		if (request->tenant.len != 0 || request->check)
			return gm_refuse_text(&call->refusal, GM_DENIED, GM_RULE_PERMISSION,
					      tenant->account.name,
					      "only the admin socket names a tenant or checks");
		return show(call, tenant);
	}
	r = find_tenant(call, request, &tenant);
	if (r != 0)
		return r;
	return request->check ? check(call, tenant) : show(call, tenant);
}
