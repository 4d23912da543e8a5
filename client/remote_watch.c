/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a daemon counts, and what it does.
 */
#include <errno.h>
#include <stdlib.h>

#include "gm_cleanup.h"
#include "info.h"
#include "remote.h"

/* More than any daemon has tenants: a list that is longer has no end. */
#define GM_ACCOUNTS_MAX 65536

struct gm_accounts {
	struct gmem_metrics *all;
	size_t n;
};

static void free_accounts(struct gm_accounts *accounts)
{
	free(accounts->all);
}

static int take_page(struct gmem_client *client, struct gm_accounts *accounts,
		     const Gmem__StatsReply *reply)
{
	size_t n = reply->n_accounts;
	struct gmem_metrics *all;

	if (n > GM_ACCOUNTS_MAX - accounts->n)
		return gm_remote_nonsense(client, "statistics without an end");
	if (n == 0)
		return 0;
	all = reallocarray(accounts->all, accounts->n + n, sizeof(*all));
	if (!all)
		return gm_fail_errno(client, ENOMEM, "statistics");
	accounts->all = all;
	for (size_t i = 0; i < n; i++)
		gm_info_metrics(reply, reply->accounts[i], &all[accounts->n++]);
	return 0;
}

static int fetch(struct gmem_client *client, const char *tenant, struct gm_accounts *accounts)
{
	Gmem__StatsRequest request = GMEM__STATS_REQUEST__INIT;
	int r;

	request.has_detail = request.detail = true;
	request.has_tenant = tenant != NULL;
	if (tenant)
		request.tenant = gm_wire_text(tenant);
	do {
		_gm_reply_ struct gm_reply reply = { 0 };
		const Gmem__StatsReply *answer;

		r = gm_remote_call(client, GM_MSG_STATS, &request.base, &reply);
		if (r < 0)
			return r;
		answer = (const Gmem__StatsReply *)reply.message;
		if (answer->cursor && answer->cursor <= request.cursor)
			return gm_remote_nonsense(client, "statistics that go in circles");
		request.has_cursor = answer->cursor != 0;
		request.cursor = answer->cursor;
		r = take_page(client, accounts, answer);
	} while (r == 0 && request.cursor);
	return r;
}

int gm_remote_list_metrics(struct gmem_client *client, const char *tenant, gm_metrics_fn fn,
			   void *arg)
{
	_gm_cleanup_(free_accounts) struct gm_accounts accounts = { 0 };
	int r = fetch(client, tenant, &accounts);

	for (size_t i = 0; r == 0 && i < accounts.n; i++)
		r = fn(arg, &accounts.all[i]);
	return r < 0 ? r : 0;
}

int gm_remote_watch(struct gmem_client *client)
{
	const Gmem__WatchRequest request = GMEM__WATCH_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };

	return gm_remote_call(client, GM_MSG_WATCH, &request.base, &reply);
}

void gm_remote_watch_again(struct gmem_client *client)
{
	const Gmem__WatchRequest request = GMEM__WATCH_REQUEST__INIT;
	struct gm_pending *pending;
	int r = 0;

	if (client->news)
		r = gm_remote_post(client, GM_PENDING_NOBODY, GM_MSG_WATCH, &request.base,
				   &pending);
	/* Without memory for it the program misses news, as it does when it is slow. */
	if (r < 0)
		gm_client_clear(client);
}
