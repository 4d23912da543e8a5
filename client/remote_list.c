/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LIST: answers come in parts, each with the cursor of the next. A daemon that was started again
 * knows no cursor of before, so the program is shown nothing before the list is whole.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"
#include "gm_verdict.h"
#include "info.h"
#include "remote.h"

/* More than any daemon has of anything: a list that is longer has no end. */
#define GM_LIST_MAX ((size_t)1 << 20)

union gm_list_fn {
	gm_domain_info_fn domain;
	gm_region_info_fn region;
	gm_session_info_fn session;
	gm_account_info_fn account;
};

struct gm_list_kind {
	Gmem__ListWhat what;
	size_t size; /* of one info */
	size_t (*count)(const Gmem__ListReply *part);
	void (*take)(const Gmem__ListReply *part, size_t i, void *ret_info);
	int (*show)(const union gm_list_fn *fn, void *arg, const void *info);
};

struct gm_listing {
	const struct gm_list_kind *kind;
	char *infos;
	size_t n;
};

static void free_listing(struct gm_listing *listing)
{
	free(listing->infos);
}

static int take_part(struct gmem_client *client, struct gm_listing *listing,
		     const Gmem__ListReply *part)
{
	size_t n = listing->kind->count(part);
	char *infos;

	if (n == 0)
		return 0;
	if (n > GM_LIST_MAX - listing->n)
		return gm_remote_nonsense(client, "a list without an end");
	infos = reallocarray(listing->infos, listing->n + n, listing->kind->size);
	if (!infos)
		return gm_fail_errno(client, ENOMEM, "a list");
	listing->infos = infos;
	for (size_t i = 0; i < n; i++)
		listing->kind->take(part, i, infos + (listing->n + i) * listing->kind->size);
	listing->n += n;
	return 0;
}

static int fetch(struct gmem_client *client, uint64_t domain, struct gm_listing *listing)
{
	Gmem__ListRequest request = GMEM__LIST_REQUEST__INIT;
	int r;

	listing->n = 0;
	request.has_what = request.has_cursor = true;
	request.what = listing->kind->what;
	request.has_domain = domain != 0;
	request.domain = domain;
	do {
		_gm_reply_ struct gm_reply reply = { 0 };
		const Gmem__ListReply *answer;

		r = gm_remote_call(client, GM_MSG_LIST, &request.base, &reply);
		if (r < 0)
			return r;
		answer = (const Gmem__ListReply *)reply.message;
		if (answer->cursor && answer->cursor == request.cursor)
			return gm_remote_nonsense(client, "a list that goes in circles");
		request.cursor = answer->cursor;
		r = take_part(client, listing, answer);
	} while (r == 0 && request.cursor);
	return r;
}

static bool is_cursor_lost(const struct gmem_client *client)
{
	return client->failure.status == GMEM_INVALID &&
	       strcmp(client->failure.rule, gm_rule_name(GM_RULE_CURSOR)) == 0;
}

static int list(struct gmem_client *client, const struct gm_list_kind *kind, uint64_t domain,
		const union gm_list_fn *fn, void *arg)
{
	_gm_cleanup_(free_listing) struct gm_listing listing = { .kind = kind };
	uint32_t connections;
	int r;

	do {
		connections = client->remote->link.connections;
		r = fetch(client, domain, &listing);
	} while (r < 0 && connections != client->remote->link.connections &&
		 is_cursor_lost(client));
	for (size_t i = 0; r == 0 && i < listing.n; i++)
		r = kind->show(fn, arg, listing.infos + i * kind->size);
	return r < 0 ? r : 0;
}

/* ---- domains */

static size_t count_domains(const Gmem__ListReply *part)
{
	return part->n_domains;
}

static void take_domain(const Gmem__ListReply *part, size_t i, void *ret_info)
{
	gm_info_domain(part->domains[i], ret_info);
}

static int show_domain(const union gm_list_fn *fn, void *arg, const void *info)
{
	return fn->domain(arg, info);
}

static const struct gm_list_kind domains = {
	.what = GMEM__LIST_WHAT__LIST_DOMAINS,
	.size = sizeof(struct gmem_domain_info),
	.count = count_domains,
	.take = take_domain,
	.show = show_domain,
};

int gm_remote_list_domains(struct gmem_client *client, gm_domain_info_fn fn, void *arg)
{
	return list(client, &domains, 0, &(const union gm_list_fn){ .domain = fn }, arg);
}

/* ---- regions */

static size_t count_regions(const Gmem__ListReply *part)
{
	return part->n_regions;
}

static void take_region(const Gmem__ListReply *part, size_t i, void *ret_info)
{
	gm_info_region(part->regions[i], ret_info);
}

static int show_region(const union gm_list_fn *fn, void *arg, const void *info)
{
	return fn->region(arg, info);
}

static const struct gm_list_kind regions = {
	.what = GMEM__LIST_WHAT__LIST_REGIONS,
	.size = sizeof(struct gmem_region_info),
	.count = count_regions,
	.take = take_region,
	.show = show_region,
};

int gm_remote_list_regions(struct gmem_client *client, uint64_t domain, gm_region_info_fn fn,
			   void *arg)
{
	return list(client, &regions, domain, &(const union gm_list_fn){ .region = fn }, arg);
}

/* ---- sessions */

static size_t count_sessions(const Gmem__ListReply *part)
{
	return part->n_sessions;
}

static void take_session(const Gmem__ListReply *part, size_t i, void *ret_info)
{
	gm_info_session(part->sessions[i], ret_info);
}

static int show_session(const union gm_list_fn *fn, void *arg, const void *info)
{
	return fn->session(arg, info);
}

static const struct gm_list_kind sessions = {
	.what = GMEM__LIST_WHAT__LIST_SESSIONS,
	.size = sizeof(struct gmem_session_info),
	.count = count_sessions,
	.take = take_session,
	.show = show_session,
};

int gm_remote_list_sessions(struct gmem_client *client, gm_session_info_fn fn, void *arg)
{
	return list(client, &sessions, 0, &(const union gm_list_fn){ .session = fn }, arg);
}

/* ---- accounts */

static size_t count_accounts(const Gmem__ListReply *part)
{
	return part->n_tenants;
}

static void take_account(const Gmem__ListReply *part, size_t i, void *ret_info)
{
	gm_info_account(part->tenants[i], ret_info);
}

static int show_account(const union gm_list_fn *fn, void *arg, const void *info)
{
	return fn->account(arg, info);
}

static const struct gm_list_kind accounts = {
	.what = GMEM__LIST_WHAT__LIST_TENANTS,
	.size = sizeof(struct gmem_account_info),
	.count = count_accounts,
	.take = take_account,
	.show = show_account,
};

/* The first account of STATS: the tenant's own, or on the admin socket the host's. */
static int show_own_account(struct gmem_client *client, gm_account_info_fn fn, void *arg)
{
	const Gmem__StatsRequest request = GMEM__STATS_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	struct gmem_account_info info;
	const Gmem__StatsReply *answer;
	int r;

	r = gm_remote_call(client, GM_MSG_STATS, &request.base, &reply);
	if (r < 0)
		return r;
	answer = (const Gmem__StatsReply *)reply.message;
	if (answer->n_accounts == 0)
		return gm_remote_nonsense(client, "statistics without an account");
	gm_info_account(answer->accounts[0], &info);
	return fn(arg, &info);
}

int gm_remote_list_accounts(struct gmem_client *client, gm_account_info_fn fn, void *arg)
{
	int r = show_own_account(client, fn, arg);

	/* STATS has as many tenants as fit one packet; LIST has them all. */
	if (r == 0 && client->admin)
		return list(client, &accounts, 0, &(const union gm_list_fn){ .account = fn }, arg);
	return r < 0 ? r : 0;
}
