/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "channel.h"
#include "crew_private.h"
#include "gm_cleanup.h"

void gm_hub_kick(struct gm_crew_hub *hub)
{
	if (hub->kicked)
		return;
	hub->kicked = true;
	hub->loop.ops->timer_set(hub->turn, 0);
}

/* Crews of the share that could be given a place if there were any. */
static uint32_t wanted_by(const struct gm_crew_share *share)
{
	uint32_t staying = share->n_workers - share->n_dismissed;

	return staying < share->max ? (uint32_t)gm_min_u64(share->n_waiting, share->max - staying)
				    : 0;
}

/* Are there fewer places, those that are being vacated too, than crews that wait for one? */
static bool hub_is_short(const struct gm_crew_hub *hub)
{
	uint64_t wanted = hub->n_workers - hub->n_dismissed;
	const struct gm_crew_share *share;

	if (hub->n_waiting == 0)
		return false;
	TAILQ_FOREACH(share, &hub->turns, turn)
		wanted += wanted_by(share);
	return wanted > hub->workers_max;
}

/* The share has no place left for those of its own crews that wait. */
static bool share_is_short(const struct gm_crew_share *share)
{
	return share->n_waiting > wanted_by(share);
}

bool gm_hub_wants_place_of(const struct gm_crew_worker *worker)
{
	return share_is_short(worker->share) || hub_is_short(worker->hub);
}

void gm_hub_count(struct gm_crew_share *share, bool is_new)
{
	if (is_new)
		share->n_workers++;
	else
		share->n_workers--;
	if (share->on_change)
		share->on_change(share);
}

void gm_hub_wait(struct gm_crew_hub *hub, struct gm_crew *crew)
{
	struct gm_crew_share *share = crew->share;

	if (crew->waiting)
		return;
	crew->waiting = true;
	hub->n_waiting++;
	if (share->n_waiting++ == 0)
		TAILQ_INSERT_TAIL(&hub->turns, share, turn);
	TAILQ_INSERT_TAIL(&share->waiting, crew, link);
	gm_hub_kick(hub);
}

void gm_hub_unwait(struct gm_crew_hub *hub, struct gm_crew *crew)
{
	struct gm_crew_share *share = crew->share;

	if (!crew->waiting)
		return;
	crew->waiting = false;
	hub->n_waiting--;
	TAILQ_REMOVE(&share->waiting, crew, link);
	if (--share->n_waiting == 0)
		TAILQ_REMOVE(&hub->turns, share, turn);
}

static void tell_owners(struct gm_crew_hub *hub)
{
	/* Jobs that end while their owners are told are for the next turn: others want theirs. */
	for (uint32_t n = hub->n_ended; n > 0; n--)
		gm_crew_job_end(TAILQ_FIRST(&hub->ended));
}

/* False: the spawner is behind. */
static bool employ(struct gm_crew_hub *hub, struct gm_crew *crew)
{
	int r = gm_crew_worker_new(crew);

	if (r == -EAGAIN)
		return false;
	gm_hub_unwait(hub, crew);
	if (r) {
		gm_crew_job_finish(TAILQ_FIRST(&crew->jobs), GM_JOB_WORKER_LOST, r);
		if (!TAILQ_EMPTY(&crew->jobs))
			gm_hub_wait(hub, crew);
		return true;
	}
	gm_crew_worker_send(crew->worker);
	return true;
}

/* A share that has no worker may have one beyond the others' places. */
static bool may_have_place(const struct gm_crew_hub *hub, const struct gm_crew_share *share)
{
	uint64_t max = hub->workers_max;

	if (share->n_workers == 0)
		max *= 2;
	return share->n_workers < share->max && hub->n_workers - hub->n_stuck < max;
}

static struct gm_crew_share *next_in_turn(const struct gm_crew_hub *hub)
{
	struct gm_crew_share *share;

	TAILQ_FOREACH(share, &hub->turns, turn)
		if (may_have_place(hub, share))
			return share;
	return NULL;
}

static bool give_places(struct gm_crew_hub *hub)
{
	struct gm_crew_share *share;
	uint32_t n = hub->n_waiting;

	while (n-- > 0 && (share = next_in_turn(hub))) {
		/* The others are first next time. */
		TAILQ_REMOVE(&hub->turns, share, turn);
		TAILQ_INSERT_TAIL(&hub->turns, share, turn);
		if (!employ(hub, TAILQ_FIRST(&share->waiting)))
			return false;
	}
	return true;
}

static void vacate_places(struct gm_crew_hub *hub)
{
	struct gm_crew_worker *worker = TAILQ_FIRST(&hub->workers);
	struct gm_crew_worker *next;

	for (; worker && hub->n_waiting > 0; worker = next) {
		next = TAILQ_NEXT(worker, link);
		if (worker->state == GM_CREW_WORKER_IDLE && gm_hub_wants_place_of(worker))
			gm_crew_worker_dismiss(worker);
	}
}

static bool ask_for_kills(struct gm_crew_hub *hub)
{
	struct gm_crew_worker *worker = TAILQ_FIRST(&hub->workers);
	bool all = true;

	for (; worker; worker = TAILQ_NEXT(worker, link)) {
		if (worker->kill_due)
			gm_crew_worker_kill(worker);
		all = all && !worker->kill_due;
	}
	return all;
}

static void forget_dismissed(struct gm_crew_hub *hub)
{
	struct gm_crew_worker *worker = TAILQ_FIRST(&hub->workers);
	struct gm_crew_worker *next;

	for (; worker; worker = next) {
		next = TAILQ_NEXT(worker, link);
		if (worker->state == GM_CREW_WORKER_DISMISSED)
			gm_crew_worker_free(worker);
	}
}

static void hub_turn(void *arg)
{
	struct gm_crew_hub *hub = arg;
	bool spawner_keeps_up, janitors_keep_up;

	hub->kicked = false;
	tell_owners(hub);
	if (hub->broken)
		forget_dismissed(hub);
	vacate_places(hub);
	spawner_keeps_up = give_places(hub);
	spawner_keeps_up = ask_for_kills(hub) && spawner_keeps_up;
	janitors_keep_up = gm_janitors_turn(hub);
	if ((!spawner_keeps_up || !janitors_keep_up) && !hub->kicked)
		hub->loop.ops->timer_set(hub->turn, GM_CREW_RETRY_MS);
}

static struct gm_crew_worker *find_worker(struct gm_crew_hub *hub, uint64_t tag)
{
	struct gm_crew_worker *worker;

	TAILQ_FOREACH(worker, &hub->workers, link)
		if (worker->tag == tag)
			return worker;
	return NULL;
}

/*
 * The workers die with the spawner (PR_SET_PDEATHSIG); those with a job are noticed by the end of
 * their channels, after what they had reported.
 */
static void hub_break(struct gm_crew_hub *hub)
{
	struct gm_crew_worker *worker = TAILQ_FIRST(&hub->workers);
	struct gm_crew_worker *next;

	hub->broken = true;
	hub->loop.ops->watch_free(hub->reports);
	hub->reports = NULL;
	for (; worker; worker = next) {
		next = TAILQ_NEXT(worker, link);
		if (worker->state == GM_CREW_WORKER_GONE)
			gm_crew_worker_ended(worker, -EPIPE);
	}
	gm_hub_kick(hub);
}

static void hub_on_report(void *arg)
{
	struct gm_crew_hub *hub = arg;
	struct gm_spawner_report report;
	struct gm_crew_worker *worker;
	int r;

	while ((r = gm_spawner_read(hub->spawner, &report)) == 0) {
		if (report.born) {
			if (report.displaced)
				hub->displaced = report.displaced;
			continue;
		}
		if (gm_janitor_ended(hub, report.tag))
			continue;
		worker = find_worker(hub, report.tag);
		if (worker)
			worker->displaced = report.displaced;
		if (worker)
			gm_crew_worker_ended(worker, report.error ? report.error : report.status);
	}
	if (r != -EAGAIN)
		hub_break(hub);
}

int gm_crew_hub_new(struct gm_loop_ref loop, struct gm_spawner *spawner, uint32_t workers_max,
		    uint64_t idle_ms, struct gm_crew_hub **ret_hub)
{
	struct gm_crew_hub *hub;
	int r;

	assert(workers_max > 0);
	hub = calloc(1, sizeof(*hub));
	if (!hub)
		return -ENOMEM;
	hub->loop = loop;
	hub->spawner = spawner;
	hub->workers_max = workers_max;
	hub->idle_ms = idle_ms;
	gm_janitors_init(&hub->janitors);
	TAILQ_INIT(&hub->workers);
	TAILQ_INIT(&hub->turns);
	gm_crew_share_init(&hub->own, NULL);
	hub->own.max = UINT32_MAX;
	TAILQ_INIT(&hub->ended);
	r = loop.ops->timer_new(loop.loop, hub_turn, hub, &hub->turn);
	if (r == 0)
		r = loop.ops->watch_read(loop.loop, spawner->socket, hub_on_report, hub,
					 &hub->reports);
	if (r) {
		gm_crew_hub_free(hub);
		return r;
	}
	*ret_hub = hub;
	return 0;
}

void gm_crew_hub_free(struct gm_crew_hub *hub)
{
	if (!hub)
		return;
	assert(hub->n_crews == 0 && hub->n_ended == 0);
	while (!TAILQ_EMPTY(&hub->workers))
		gm_crew_worker_free(TAILQ_FIRST(&hub->workers));
	gm_janitors_done(&hub->janitors);
	hub->loop.ops->watch_free(hub->reports);
	hub->loop.ops->watch_free(hub->turn);
	free(hub);
}

uint32_t gm_crew_hub_workers(const struct gm_crew_hub *hub)
{
	return hub->n_workers;
}

int gm_crew_hub_displaced(const struct gm_crew_hub *hub)
{
	return hub->displaced;
}

uint32_t gm_crew_hub_places(const struct gm_crew_hub *hub)
{
	return hub->workers_max;
}

void gm_crew_hub_set_places(struct gm_crew_hub *hub, uint32_t workers_max)
{
	assert(workers_max > 0);
	hub->workers_max = workers_max;
	gm_hub_kick(hub);
}

bool gm_crew_hub_is_broken(const struct gm_crew_hub *hub)
{
	return hub->broken;
}
