/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

/* No range stands for the whole region. */
#define GM_WHOLE(region) (&(const struct gmem_range){ .offset = 0, .length = (region)->size })

static int run(gmem_region *region, enum gm_job_kind kind, const struct gmem_range *ranges,
	       size_t n_ranges, gmem_progress_fn progress, void *arg)
{
	struct gmem_client *client = region->domain->client;

	gm_client_clear(client);
	if (n_ranges)
		return client->provider->job_run(region, kind, ranges, n_ranges, progress, arg);
	return client->provider->job_run(region, kind, GM_WHOLE(region), 1, progress, arg);
}

static int start(gmem_region *region, enum gm_job_kind kind, const struct gmem_range *ranges,
		 size_t n_ranges, const struct gmem_job_callbacks *callbacks)
{
	static const struct gmem_job_callbacks none;
	struct gmem_client *client = region->domain->client;

	gm_client_clear(client);
	callbacks = callbacks ? callbacks : &none;
	if (n_ranges)
		return client->provider->job_start(region, kind, ranges, n_ranges, callbacks);
	return client->provider->job_start(region, kind, GM_WHOLE(region), 1, callbacks);
}

int gmem_region_allocate(gmem_region *region, const struct gmem_range *ranges, size_t n_ranges,
			 gmem_progress_fn progress, void *arg)
{
	return run(region, GM_JOB_ALLOCATE, ranges, n_ranges, progress, arg);
}

int gmem_region_discard(gmem_region *region, const struct gmem_range *ranges, size_t n_ranges,
			gmem_progress_fn progress, void *arg)
{
	return run(region, GM_JOB_DISCARD, ranges, n_ranges, progress, arg);
}

int gmem_region_allocate_start(gmem_region *region, const struct gmem_range *ranges,
			       size_t n_ranges, const struct gmem_job_callbacks *callbacks)
{
	return start(region, GM_JOB_ALLOCATE, ranges, n_ranges, callbacks);
}

int gmem_region_discard_start(gmem_region *region, const struct gmem_range *ranges, size_t n_ranges,
			      const struct gmem_job_callbacks *callbacks)
{
	return start(region, GM_JOB_DISCARD, ranges, n_ranges, callbacks);
}
