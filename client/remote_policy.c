/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "failure.h"
#include "gm_cleanup.h"
#include "info.h"
#include "remote.h"

static int ask(struct gmem_client *client, const char *tenant, bool check, struct gm_reply *reply)
{
	Gmem__PolicyRequest request = GMEM__POLICY_REQUEST__INIT;

	if (tenant) {
		request.has_tenant = true;
		request.tenant = gm_wire_text(tenant);
	}
	request.has_check = check;
	request.check = check;
	return gm_remote_call(client, GM_MSG_POLICY, &request.base, reply);
}

static void take_row(const Gmem__PolicyRow *from, struct gmem_policy_row *to)
{
	gm_copy_printable(to->key, sizeof(to->key), from->key.data, from->key.len);
	gm_copy_printable(to->value, sizeof(to->value), from->value.data, from->value.len);
	gm_copy_printable(to->source, sizeof(to->source), from->source.data, from->source.len);
}

int gm_remote_list_policy(struct gmem_client *client, const char *tenant, gm_policy_row_fn fn,
			  void *arg)
{
	_gm_reply_ struct gm_reply reply = { 0 };
	const Gmem__PolicyReply *answer;
	int r = ask(client, tenant, false, &reply);

	if (r < 0)
		return r;
	answer = (const Gmem__PolicyReply *)reply.message;
	for (size_t i = 0; i < answer->n_rows && r == 0; i++) {
		struct gmem_policy_row row;

		take_row(answer->rows[i], &row);
		r = fn(arg, &row);
	}
	return r < 0 ? r : 0;
}

int gm_remote_check_policy(struct gmem_client *client, const char *tenant, char *ret_fault,
			   size_t size)
{
	_gm_reply_ struct gm_reply reply = { 0 };
	const Gmem__PolicyReply *answer;
	int r = ask(client, tenant, true, &reply);

	if (r < 0)
		return r;
	answer = (const Gmem__PolicyReply *)reply.message;
	if (size > 0)
		gm_copy_printable(ret_fault, size, answer->fault.data, answer->fault.len);
	return answer->good ? 0 : 1;
}
