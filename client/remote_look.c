/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_cleanup.h"
#include "gm_num.h"
#include "info.h"
#include "remote.h"

int gm_remote_get_daemon(struct gmem_client *client, struct gmem_daemon_info *ret_info)
{
	const Gmem__StatsRequest request = GMEM__STATS_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	const Gmem__StatsReply *answer;
	int r = gm_remote_call(client, GM_MSG_STATS, &request.base, &reply);

	if (r < 0)
		return r;
	answer = (const Gmem__StatsReply *)reply.message;
	*ret_info = (struct gmem_daemon_info){
		.uptime_ms = answer->uptime_ms,
		.rss_bytes = answer->rss_bytes,
		.workers = answer->workers,
	};
	return 0;
}

int gm_remote_get_domain(struct gmem_client *client, uint64_t id, struct gmem_domain_info *ret_info)
{
	Gmem__DomainGetRequest request = GMEM__DOMAIN_GET_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	const Gmem__DomainGetReply *answer;
	int r;

	request.has_domain = true;
	request.domain = id;
	r = gm_remote_call(client, GM_MSG_DOMAIN_GET, &request.base, &reply);
	if (r < 0)
		return r;
	answer = (const Gmem__DomainGetReply *)reply.message;
	if (!answer->info || answer->info->domain != id)
		return gm_remote_nonsense(client, "another domain than was asked for");
	gm_info_domain(answer->info, ret_info);
	return 0;
}

int gm_remote_get_region(struct gmem_client *client, uint64_t id, struct gmem_region_info *ret_info)
{
	Gmem__RegionGetRequest request = GMEM__REGION_GET_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	const Gmem__RegionGetReply *answer;
	int r;

	request.has_region = true;
	request.region = id;
	r = gm_remote_call(client, GM_MSG_REGION_GET, &request.base, &reply);
	if (r < 0)
		return r;
	answer = (const Gmem__RegionGetReply *)reply.message;
	if (!answer->info || answer->info->region != id)
		return gm_remote_nonsense(client, "another region than was asked for");
	gm_info_region(answer->info, ret_info);
	return 0;
}

int gm_remote_get_host(struct gmem_client *client, struct gmem_host_info *ret_info)
{
	const Gmem__HostRequest request = GMEM__HOST_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	int r = gm_remote_call(client, GM_MSG_HOST, &request.base, &reply);

	if (r < 0)
		return r;
	gm_info_host((const Gmem__HostReply *)reply.message, ret_info);
	return 0;
}

int gm_remote_evict(struct gmem_client *client, uint64_t domain, uint64_t *ret_bytes)
{
	Gmem__EvictRequest request = GMEM__EVICT_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	int r;

	request.has_domain = true;
	request.domain = domain;
	r = gm_remote_call(client, GM_MSG_EVICT, &request.base, &reply);
	if (r < 0)
		return r;
	if (ret_bytes)
		*ret_bytes = ((const Gmem__EvictReply *)reply.message)->bytes;
	return 0;
}

/* A page map on its way to the program: a run that an answer cuts in two is shown as one. */
struct gm_map_walk {
	gm_page_run_fn fn;
	void *arg;
	uint64_t end; /* first byte not yet seen */
	struct gmem_page_run held;
};

static int show_held(struct gm_map_walk *walk)
{
	struct gmem_page_run run = walk->held;

	walk->held.length = 0;
	return run.length ? walk->fn(walk->arg, &run) : 0;
}

static int take_run(struct gm_map_walk *walk, const struct gmem_page_run *run)
{
	int r;

	walk->end = run->offset + run->length;
	if (walk->held.length && walk->held.state == run->state) {
		walk->held.length += run->length;
		return 0;
	}
	r = show_held(walk);
	walk->held = *run;
	return r;
}

/* 0, nonzero from the program, or -GMEM_PROTOCOL. */
static int map_part(struct gmem_client *client, struct gm_map_walk *walk, uint64_t region,
		    uint64_t size)
{
	Gmem__RegionMapRequest request = GMEM__REGION_MAP_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	const Gmem__RegionMapReply *answer;
	int r;

	request.has_region = request.has_offset = true;
	request.region = region;
	request.offset = walk->end;
	r = gm_remote_call(client, GM_MSG_REGION_MAP, &request.base, &reply);
	if (r < 0)
		return r;
	answer = (const Gmem__RegionMapReply *)reply.message;
	for (size_t i = 0; i < answer->n_runs && r == 0; i++) {
		struct gmem_page_run run = {
			.offset = answer->runs[i]->offset,
			.length = answer->runs[i]->length,
			.state = (int)answer->runs[i]->state,
		};

		if (run.offset != walk->end || run.length == 0 || run.length > size - run.offset)
			return gm_remote_nonsense(client, "a page map with gaps or overlaps");
		r = take_run(walk, &run);
	}
	if (r == 0 && (walk->end != answer->next_offset || walk->end == request.offset))
		return gm_remote_nonsense(client, "a page map that does not go on");
	return r;
}

int gm_remote_get_page_map(struct gmem_client *client, uint64_t region, gm_page_run_fn fn,
			   void *arg)
{
	struct gm_map_walk walk = { .fn = fn, .arg = arg };
	struct gmem_region_info info = { 0 };
	int r;

	r = gm_remote_get_region(client, region, &info);
	while (r == 0 && walk.end < info.size)
		r = map_part(client, &walk, region, info.size);
	if (r == 0)
		r = show_held(&walk);
	return r < 0 ? r : 0;
}
