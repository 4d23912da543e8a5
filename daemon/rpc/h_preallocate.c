/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preallocate=: a region is granted when all of its memory is there, or not at all. Until then it
 * is on record as unanswered: after a restart it goes, and the request comes again.
 */
#include <assert.h>

#include "call.h"

static int grant(const struct gm_pending *pending, struct gm_region *region)
{
	const struct gm_frame frame = { .type = pending->type,
					.flags = GM_FRAME_ANSWER,
					.serial = pending->serial,
					.n_fds = 1 };
	Gmem__RegionCreateReply reply = GMEM__REGION_CREATE_REPLY__INIT;
	ProtobufCBinaryData name = gm_bytes("memory");
	struct gm_news news =
		gm_link_news(pending->link, GM_NEWS_GRANT, "a region was granted, allocated");
	int r;

	assert(region != NULL);
	gm_book_answered(region);
	reply.has_region = 1;
	reply.region = region->id.v;
	reply.n_fd_names = 1;
	reply.fd_names = &name;
	r = gm_link_answer(pending->link, &frame, &reply.base, &region->fd);
	if (r != 0)
		return r;
	gm_counters_answer(gm_link_counters(pending->link), 0, GM_RULE_NONE);
	news.domain = region->domain->id.v;
	news.region = region->id.v;
	news.bytes = region->size;
	gm_service_tell(pending->link->service, &news);
	return 0;
}

static void on_end(void *arg, int result, const struct gm_refusal *refusal, uint64_t bytes)
{
	struct gm_pending *pending = arg;
	const struct gm_link *link = pending->link;
	struct gm_region *region = link->ops != NULL ? gm_pending_region(pending) : NULL;
	struct gm_refusal why = *refusal;

	(void)bytes;
	if (region == NULL && result == 0)
		result = gm_refuse(&why, GM_NO_SUCH_OBJECT, GM_RULE_NONE, "region");
	if (result == 0)
		result = grant(pending, region);
	if (result != 0 && region != NULL)
		gm_exec_drop_region(link->service->exec, region);
	gm_pending_end(pending, result, &why);
}

static const struct gm_exec_job_ops ops = { .end = on_end };

int gm_call_preallocate(struct gm_call *call, struct gm_region *region)
{
	struct gm_range all = { .offset = 0, .length = region->size };

	gm_book_unanswered(region);
	return gm_call_start_job(call, region, GM_PAGE_OP_ALLOCATE, &all, 1, &ops);
}
