/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LIST: answers come in parts, each with the cursor of the next.
 */
#include "gm_cleanup.h"
#include "info.h"
#include "remote.h"

/* Shows the objects of one part to the program; nonzero ends the walk. */
typedef int (*gm_part_fn)(const Gmem__ListReply *part, void *walk);

struct gm_walk {
	union {
		gm_domain_info_fn domain;
		gm_region_info_fn region;
		gm_session_info_fn session;
		gm_account_info_fn account;
	} fn;
	void *arg;
};

static int walk_parts(struct gmem_client *client, Gmem__ListWhat what, uint64_t domain,
		      gm_part_fn part, struct gm_walk *walk)
{
	Gmem__ListRequest request = GMEM__LIST_REQUEST__INIT;
	int r;

	request.has_what = request.has_cursor = true;
	request.what = what;
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
		r = part(answer, walk);
	} while (r == 0 && request.cursor);
	return r < 0 ? r : 0;
}

static int domains_part(const Gmem__ListReply *part, void *arg)
{
	const struct gm_walk *walk = arg;
	struct gmem_domain_info info;
	int r = 0;

	for (size_t i = 0; i < part->n_domains && r == 0; i++) {
		gm_info_domain(part->domains[i], &info);
		r = walk->fn.domain(walk->arg, &info);
	}
	return r;
}

static int regions_part(const Gmem__ListReply *part, void *arg)
{
	const struct gm_walk *walk = arg;
	struct gmem_region_info info;
	int r = 0;

	for (size_t i = 0; i < part->n_regions && r == 0; i++) {
		gm_info_region(part->regions[i], &info);
		r = walk->fn.region(walk->arg, &info);
	}
	return r;
}

static int accounts_part(const Gmem__ListReply *part, void *arg)
{
	const struct gm_walk *walk = arg;
	struct gmem_account_info info;
	int r = 0;

	for (size_t i = 0; i < part->n_tenants && r == 0; i++) {
		gm_info_account(part->tenants[i], &info);
		r = walk->fn.account(walk->arg, &info);
	}
	return r;
}

static int sessions_part(const Gmem__ListReply *part, void *arg)
{
	const struct gm_walk *walk = arg;
	struct gmem_session_info info;
	int r = 0;

	for (size_t i = 0; i < part->n_sessions && r == 0; i++) {
		gm_info_session(part->sessions[i], &info);
		r = walk->fn.session(walk->arg, &info);
	}
	return r;
}

int gm_remote_list_domains(struct gmem_client *client, gm_domain_info_fn fn, void *arg)
{
	struct gm_walk walk = { .fn.domain = fn, .arg = arg };

	return walk_parts(client, GMEM__LIST_WHAT__LIST_DOMAINS, 0, domains_part, &walk);
}

int gm_remote_list_regions(struct gmem_client *client, uint64_t domain, gm_region_info_fn fn,
			   void *arg)
{
	struct gm_walk walk = { .fn.region = fn, .arg = arg };

	return walk_parts(client, GMEM__LIST_WHAT__LIST_REGIONS, domain, regions_part, &walk);
}

int gm_remote_list_sessions(struct gmem_client *client, gm_session_info_fn fn, void *arg)
{
	struct gm_walk walk = { .fn.session = fn, .arg = arg };

	return walk_parts(client, GMEM__LIST_WHAT__LIST_SESSIONS, 0, sessions_part, &walk);
}

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
	struct gm_walk walk = { .fn.account = fn, .arg = arg };
	int r;

	r = show_own_account(client, fn, arg);
	/* STATS has as many tenants as fit one packet; LIST has them all. */
	if (r == 0 && client->admin)
		return walk_parts(client, GMEM__LIST_WHAT__LIST_TENANTS, 0, accounts_part, &walk);
	return r < 0 ? r : 0;
}
