/* SPDX-License-Identifier: Apache-2.0 */
#include "exec_share.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* 3 to 10 us each: some percent of the loop's time. */
#define LOOKS_RATE 5000

/* Processes of one tenant that look into boxes. */
#define BOX_WORKERS_MAX 2

static uint64_t now_ms(const struct gm_exec *exec)
{
	return exec->loop.ops->now_ms(exec->loop.loop);
}

/* Half of the places, so that no tenant has all of them; and always one. */
static uint32_t places_for(const struct gm_exec *exec, const struct gm_tenant *tenant)
{
	uint32_t all = gm_crew_hub_places(exec->hub);
	uint64_t max = tenant->policy.workers_max;

	if (max == 0)
		max = all / 2;
	return (uint32_t)gm_max_u64(1, gm_min_u64(max, all));
}

static void on_change(struct gm_crew_share *places)
{
	struct gm_exec_share *share = GM_CONTAINER_OF(places, struct gm_exec_share, places);
	int r;

	gm_charge_done(&share->workers);
	r = gm_charge_force(&share->workers, &share->tenant->account, GM_RES_WORKERS,
			    places->n_workers);
	assert(r == 0);
}

int gm_exec_share_of(struct gm_exec *exec, struct gm_tenant *tenant,
		     struct gm_exec_share **ret_share)
{
	struct gm_exec_share *share = tenant->owner;

	if (share == NULL) {
		share = calloc(1, sizeof(*share));
		if (share == NULL)
			return -ENOMEM;
		gm_crew_share_init(&share->places, on_change);
		gm_crew_share_init(&share->boxes, NULL);
		share->boxes.max = BOX_WORKERS_MAX;
		share->exec = exec;
		share->tenant = tenant;
		TAILQ_INIT(&share->late);
		gm_bucket_init(&share->looks, LOOKS_RATE, exec->loop.ops ? now_ms(exec) : 0);
		tenant->owner = share;
	}
	share->places.max = places_for(exec, tenant);
	gm_account_set_limit(&tenant->account, GM_RES_WORKERS, share->places.max);
	*ret_share = share;
	return 0;
}

uint32_t gm_exec_stuck_workers(const struct gm_tenant *tenant)
{
	const struct gm_exec_share *share = tenant->owner;

	return share != NULL ? share->places.n_stuck + share->boxes.n_stuck : 0;
}

static uint32_t wait_ms(const struct gm_exec_job *job)
{
	const struct gm_exec *exec = job->exec;

	if (job->ticket.op != GM_PAGE_OP_ALLOCATE || job->cancelled)
		return 0;
	return gm_tenant_allocate_wait_ms(job->ticket.region->domain->tenant, now_ms(exec));
}

static void spend(const struct gm_exec_job *job)
{
	if (job->ticket.op == GM_PAGE_OP_ALLOCATE)
		gm_tenant_spend_bytes(job->ticket.region->domain->tenant, job->total,
				      now_ms(job->exec));
}

static void on_time(void *arg)
{
	struct gm_exec_share *share = arg;
	struct gm_exec_job *job;

	while ((job = TAILQ_FIRST(&share->late)) != NULL) {
		uint32_t ms = wait_ms(job);

		if (ms > 0) {
			share->exec->loop.ops->timer_set(share->timer, ms);
			return;
		}
		TAILQ_REMOVE(&share->late, job, late_link);
		job->is_late = false;
		if (!job->cancelled)
			spend(job);
		gm_exec_job_resume(job);
	}
}

/* Jobs of one domain keep their order; and who allocates comes after those who wait to. */
static bool has_to_wait(const struct gm_exec_share *share, const struct gm_exec_job *job)
{
	const struct gm_exec_job *other;

	TAILQ_FOREACH(other, &share->late, late_link)
		if (job->ticket.op == GM_PAGE_OP_ALLOCATE ||
		    other->ticket.region->domain == job->ticket.region->domain)
			return true;
	return wait_ms(job) > 0;
}

bool gm_exec_share_delays(struct gm_exec_share *share, struct gm_exec_job *job)
{
	const struct gm_loop_ref *loop = &share->exec->loop;

	bool is_free = share->tenant->policy.allocate_rate == GM_UNLIMITED;

	if (loop->ops == NULL || (is_free && TAILQ_EMPTY(&share->late)))
		return false;
	if (!has_to_wait(share, job)) {
		spend(job);
		return false;
	}
	/* Without memory for a timer the rate does not hold; the daemon does. */
	if (share->timer == NULL &&
	    loop->ops->timer_new(loop->loop, on_time, share, &share->timer) < 0)
		return false;
	if (TAILQ_EMPTY(&share->late))
		loop->ops->timer_set(share->timer, wait_ms(job));
	job->is_late = true;
	TAILQ_INSERT_TAIL(&share->late, job, late_link);
	return true;
}

bool gm_exec_share_may_look(struct gm_exec_share *share)
{
	return share->exec->loop.ops == NULL ||
	       gm_bucket_wait_ms(&share->looks, now_ms(share->exec)) == 0;
}

void gm_exec_share_has_looked(struct gm_exec_share *share, unsigned n_reads)
{
	if (share->exec->loop.ops != NULL)
		gm_bucket_spend(&share->looks, n_reads, now_ms(share->exec));
}

void gm_exec_share_hurry(struct gm_exec_job *job)
{
	struct gm_exec_share *share = job->ticket.region->domain->tenant->owner;

	TAILQ_REMOVE(&share->late, job, late_link);
	TAILQ_INSERT_HEAD(&share->late, job, late_link);
	share->exec->loop.ops->timer_set(share->timer, 0);
}

void gm_exec_shares_done(struct gm_exec *exec)
{
	struct gm_tenant *tenant;

	TAILQ_FOREACH(tenant, &exec->book->tenants, link) {
		struct gm_exec_share *share = tenant->owner;

		if (share == NULL)
			continue;
		assert(TAILQ_EMPTY(&share->late));
		if (share->timer != NULL)
			exec->loop.ops->watch_free(share->timer);
		gm_charge_done(&share->workers);
		free(share);
		tenant->owner = NULL;
	}
}
