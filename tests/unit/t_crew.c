/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crews with real worker processes: every job ends exactly once, whatever happens to its worker,
 * and the progress adds up.
 */
#include "crew_rig.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "poll_loop.h"

#define CREWS_MAX 16

static void a_job_is_done_and_its_progress_adds_up(void **state)
{
	struct work work = { 0 };
	struct gm_crew *crew;

	(void)state;
	begin(2, 1000);
	crew = crew_new();
	submit(crew, "memfd", 10 * CHUNK + GM_PAGE_4K, &work);
	run_until_ended(&work);
	assert_int_equal(work.how, GM_JOB_DONE);
	assert_int_equal(work.error, 0);
	assert_int_equal(work.bytes, 10 * CHUNK + GM_PAGE_4K);
	assert_int_equal(memory_allocated(memory), 10 * CHUNK + GM_PAGE_4K);
	gm_crew_free(crew);
	end();
}

static void jobs_of_a_crew_run_one_after_the_other_in_one_worker(void **state)
{
	struct work work[3] = { 0 };
	struct gm_crew *crew;
	pid_t pid;

	(void)state;
	begin(4, 1000);
	crew = crew_new();
	for (unsigned i = 0; i < 3; i++)
		submit(crew, "slow", 4 * CHUNK, &work[i]);
	run_for(SLOW_CHUNK_MS);
	pid = the_worker();
	for (unsigned i = 0; i < 3; i++) {
		run_until_ended(&work[i]);
		assert_int_equal(work[i].how, GM_JOB_DONE);
		assert_int_equal(work[i].place, i + 1);
		assert_int_equal(the_worker(), pid);
	}
	gm_crew_free(crew);
	end();
}

static void a_failed_allocation_is_an_error_and_keeps_the_worker(void **state)
{
	struct work work[2] = { 0 };
	struct gm_crew *crew;
	pid_t pid;

	(void)state;
	begin(1, 1000);
	crew = crew_new();
	submit(crew, "failing", 8 * CHUNK, &work[0]);
	run_until_ended(&work[0]);
	assert_int_equal(work[0].how, GM_JOB_ERROR);
	assert_int_equal(work[0].error, ENOSPC);
	pid = the_worker();
	submit(crew, "memfd", CHUNK, &work[1]);
	run_until_ended(&work[1]);
	assert_int_equal(work[1].how, GM_JOB_DONE);
	assert_int_equal(the_worker(), pid);
	gm_crew_free(crew);
	end();
}

static void a_killed_worker_loses_its_job_and_the_next_gets_a_new_worker(void **state)
{
	struct work work[2] = { 0 };
	struct gm_crew *crew;

	(void)state;
	begin(1, 1000);
	crew = crew_new();
	submit(crew, "slow", 60 * CHUNK, &work[0]);
	submit(crew, "memfd", CHUNK, &work[1]);
	run_for(4 * SLOW_CHUNK_MS);
	assert_int_equal(kill(the_worker(), SIGKILL), 0);
	run_until_ended(&work[0]);
	assert_int_equal(work[0].how, GM_JOB_WORKER_LOST);
	assert_true(WIFSIGNALED(work[0].error) && WTERMSIG(work[0].error) == SIGKILL);
	/* What was reported was done. */
	assert_in_range(work[0].bytes, CHUNK, 59 * CHUNK);
	run_until_ended(&work[1]);
	assert_int_equal(work[1].how, GM_JOB_DONE);
	gm_crew_free(crew);
	end();
}

static void a_worker_that_died_idle_costs_no_job(void **state)
{
	struct work work[2] = { 0 };
	struct gm_crew *crew;
	pid_t pid;

	(void)state;
	begin(1, 60000);
	crew = crew_new();
	submit(crew, "memfd", CHUNK, &work[0]);
	run_until_ended(&work[0]);
	pid = the_worker();
	assert_int_equal(kill(pid, SIGKILL), 0);
	while (kill(pid, 0) == 0)
		usleep(1000);
	/* The hub has not looked yet. */
	submit(crew, "memfd", CHUNK, &work[1]);
	run_until_ended(&work[1]);
	assert_int_equal(work[1].how, GM_JOB_DONE);
	gm_crew_free(crew);
	end();
}

static void cancelling_a_running_job_stops_it_within_a_chunk(void **state)
{
	struct work work = { 0 };
	struct gm_crew *crew;
	uint64_t before;

	(void)state;
	begin(1, 1000);
	crew = crew_new();
	submit(crew, "slow", 60 * CHUNK, &work);
	run_for(5 * SLOW_CHUNK_MS);
	before = memory_allocated(memory) / GM_PAGE_4K;
	cancel(&work);
	cancel(&work);
	run_until_ended(&work);
	/* The one under way, and those that it did before the order reached it. */
	assert_in_range(work.bytes / CHUNK, before, before + 5);
	assert_int_equal(work.how, GM_JOB_CANCELLED);
	/* Each chunk done left one page. */
	assert_int_equal(memory_allocated(memory), work.bytes / CHUNK * GM_PAGE_4K);
	gm_crew_free(crew);
	end();
}

static void cancelling_a_waiting_job_ends_it_at_once(void **state)
{
	struct work work[2] = { 0 };
	struct gm_crew *crew;

	(void)state;
	begin(1, 1000);
	crew = crew_new();
	submit(crew, "slow", 20 * CHUNK, &work[0]);
	submit(crew, "memfd", CHUNK, &work[1]);
	cancel(&work[1]);
	assert_false(work[1].ended);
	run_until_ended(&work[1]);
	assert_int_equal(work[1].how, GM_JOB_CANCELLED);
	assert_false(work[0].ended);
	run_until_ended(&work[0]);
	assert_int_equal(work[0].how, GM_JOB_DONE);
	gm_crew_free(crew);
	end();
}

static void a_job_cancelled_before_any_worker_was_asked_for_starts_none(void **state)
{
	struct work work = { 0 };
	struct gm_crew *crew;

	(void)state;
	begin(1, 1000);
	crew = crew_new();
	submit(crew, "memfd", CHUNK, &work);
	cancel(&work);
	run_until_ended(&work);
	assert_int_equal(work.how, GM_JOB_CANCELLED);
	assert_int_equal(gm_crew_hub_workers(hub), 0);
	assert_int_equal(memory_allocated(memory), 0);
	gm_crew_free(crew);
	end();
}

static void a_stopped_worker_that_does_not_hear_a_cancel_is_killed(void **state)
{
	struct work work[2] = { 0 };
	struct gm_crew *crew;
	uint64_t start;

	(void)state;
	begin(1, 1000);
	crew = crew_new();
	submit(crew, "slow", 60 * CHUNK, &work[0]);
	run_for(2 * SLOW_CHUNK_MS);
	assert_int_equal(kill(the_worker(), SIGSTOP), 0);
	start = poll_loop_now();
	cancel(&work[0]);
	run_until_ended(&work[0]);
	assert_true(poll_loop_now() - start >= GM_CREW_PATIENCE_MS);
	assert_int_equal(work[0].how, GM_JOB_WORKER_LOST);
	assert_int_equal(WTERMSIG(work[0].error), SIGKILL);
	submit(crew, "memfd", CHUNK, &work[1]);
	run_until_ended(&work[1]);
	assert_int_equal(work[1].how, GM_JOB_DONE);
	gm_crew_free(crew);
	end();
}

static void a_stopped_idle_worker_goes_with_its_crew(void **state)
{
	struct work work = { 0 };
	struct gm_crew *crew;
	pid_t pids[1];

	(void)state;
	begin(1, 60000);
	crew = crew_new();
	submit(crew, "memfd", CHUNK, &work);
	run_until_ended(&work);
	assert_int_equal(kill(the_worker(), SIGSTOP), 0);
	gm_crew_free(crew);
	assert_int_equal(gm_crew_hub_workers(hub), 1);
	run_for(100);
	assert_int_equal(gm_crew_hub_workers(hub), 0);
	assert_int_equal(workers(pids, 1), 0);
	end();
}

static void an_idle_worker_is_let_go_after_the_idle_time(void **state)
{
	struct work work = { 0 };
	struct gm_crew *crew;

	(void)state;
	begin(1, 100);
	crew = crew_new();
	submit(crew, "memfd", CHUNK, &work);
	run_until_ended(&work);
	run_for(50);
	assert_int_equal(gm_crew_hub_workers(hub), 1);
	run_for(150);
	assert_int_equal(gm_crew_hub_workers(hub), 0);
	gm_crew_free(crew);
	end();
}

static void more_crews_than_places_all_get_their_turn_in_order(void **state)
{
	struct gm_crew *crews[CREWS_MAX];
	struct work work[CREWS_MAX] = { 0 };
	unsigned most = 0;

	(void)state;
	begin(2, 60000);
	for (unsigned i = 0; i < CREWS_MAX; i++) {
		crews[i] = crew_new();
		submit(crews[i], "slow", 4 * CHUNK, &work[i]);
	}
	while (n_ended < CREWS_MAX) {
		pid_t pids[CREWS_MAX];
		unsigned n;

		run_for(5);
		n = workers(pids, CREWS_MAX);
		most = n > most ? n : most;
		assert_true(n <= 2 && gm_crew_hub_workers(hub) <= 2);
	}
	assert_int_equal(most, 2);
	for (unsigned i = 0; i < CREWS_MAX; i++) {
		assert_int_equal(work[i].how, GM_JOB_DONE);
		/* Two run side by side: neighbours may change places. */
		assert_in_range(work[i].place, i > 0 ? i : 1, i + 2);
		gm_crew_free(crews[i]);
	}
	end();
}

static uint32_t most_at_once(unsigned n_crews)
{
	struct gm_crew *crews[CREWS_MAX];
	struct work work[CREWS_MAX] = { 0 };
	unsigned n_to_end = n_ended + n_crews;
	uint32_t most = 0;

	for (unsigned i = 0; i < n_crews; i++) {
		crews[i] = crew_new();
		submit(crews[i], "slow", 4 * CHUNK, &work[i]);
	}
	while (n_ended < n_to_end) {
		uint32_t n;

		run_for(5);
		n = gm_crew_hub_workers(hub);
		most = n > most ? n : most;
	}
	for (unsigned i = 0; i < n_crews; i++)
		gm_crew_free(crews[i]);
	while (gm_crew_hub_workers(hub) > 0)
		run_for(5);
	return most;
}

static void places_may_become_more_or_fewer(void **state)
{
	(void)state;
	begin(1, 60000);
	assert_int_equal(most_at_once(4), 1);
	gm_crew_hub_set_places(hub, 3);
	assert_in_range(most_at_once(4), 2, 3);
	gm_crew_hub_set_places(hub, 2);
	assert_int_equal(gm_crew_hub_places(hub), 2);
	assert_in_range(most_at_once(4), 1, 2);
	end();
}

static struct gm_crew *crew_of(struct gm_crew_share *share)
{
	struct gm_crew *crew = crew_new();

	gm_crew_join(crew, share);
	return crew;
}

static void a_share_never_has_more_workers_than_its_max(void **state)
{
	struct gm_crew *crews[CREWS_MAX];
	struct work work[CREWS_MAX] = { 0 };
	struct gm_crew_share share;

	(void)state;
	begin(4, 60000);
	gm_crew_share_init(&share, NULL);
	share.max = 2;
	for (unsigned i = 0; i < CREWS_MAX; i++) {
		crews[i] = crew_of(&share);
		submit(crews[i], "slow", 4 * CHUNK, &work[i]);
	}
	while (n_ended < CREWS_MAX) {
		run_for(5);
		assert_true(share.n_workers <= 2);
	}
	for (unsigned i = 0; i < CREWS_MAX; i++) {
		assert_int_equal(work[i].how, GM_JOB_DONE);
		gm_crew_free(crews[i]);
	}
	end();
}

/* However many jobs the others have lined up, and however long these take. */
static void a_share_without_workers_does_not_wait_for_the_jobs_of_others(void **state)
{
	enum {
		BUSY = 8
	};
	struct gm_crew_share shares[BUSY + 1];
	struct gm_crew *crews[2 * BUSY + 1];
	struct work work[2 * BUSY + 1] = { 0 };

	(void)state;
	begin(BUSY, 60000);
	for (unsigned i = 0; i <= BUSY; i++)
		gm_crew_share_init(&shares[i], NULL);
	for (unsigned i = 0; i < 2 * BUSY; i++) {
		crews[i] = crew_of(&shares[i % BUSY]);
		submit(crews[i], "slow", 60 * CHUNK, &work[i]);
	}
	run_for(100);
	assert_int_equal(gm_crew_hub_workers(hub), BUSY);
	crews[2 * BUSY] = crew_of(&shares[BUSY]);
	submit(crews[2 * BUSY], "slow", CHUNK, &work[2 * BUSY]);
	run_until_ended(&work[2 * BUSY]);
	assert_int_equal(work[2 * BUSY].how, GM_JOB_DONE);
	assert_int_equal(n_ended, 1);
	for (unsigned i = 0; i < 2 * BUSY; i++)
		cancel(&work[i]);
	for (unsigned i = 0; i <= 2 * BUSY; i++) {
		run_until_ended(&work[i]);
		gm_crew_free(crews[i]);
	}
	end();
}

static void places_go_round_the_shares(void **state)
{
	struct gm_crew *crews[8];
	struct work work[8] = { 0 };
	struct gm_crew_share greedy, modest;

	(void)state;
	begin(1, 60000);
	gm_crew_share_init(&greedy, NULL);
	gm_crew_share_init(&modest, NULL);
	/* Seven of one came before the only one of the other. */
	for (unsigned i = 0; i < 8; i++) {
		crews[i] = crew_of(i < 7 ? &greedy : &modest);
		submit(crews[i], "slow", 4 * CHUNK, &work[i]);
	}
	run_until_ended(&work[7]);
	assert_true(n_ended <= 2);
	for (unsigned i = 0; i < 8; i++) {
		if (!work[i].ended)
			run_until_ended(&work[i]);
		gm_crew_free(crews[i]);
	}
	end();
}

static unsigned n_changes;

static void count_change(struct gm_crew_share *share)
{
	(void)share;
	n_changes++;
}

static void a_share_hears_of_each_worker_that_comes_and_goes(void **state)
{
	struct gm_crew_share share;
	struct work work = { 0 };
	struct gm_crew *crew;

	(void)state;
	begin(2, 60000);
	n_changes = 0;
	gm_crew_share_init(&share, count_change);
	crew = crew_of(&share);
	submit(crew, "memfd", CHUNK, &work);
	run_until_ended(&work);
	assert_int_equal(n_changes, 1);
	assert_int_equal(share.n_workers, 1);
	gm_crew_free(crew);
	end();
	assert_int_equal(n_changes, 2);
	assert_int_equal(share.n_workers, 0);
}

static void an_idle_worker_makes_room_at_once_for_a_crew_that_waits(void **state)
{
	struct gm_crew *crews[2];
	struct work work[2] = { 0 };

	(void)state;
	begin(1, 60000);
	crews[0] = crew_new();
	crews[1] = crew_new();
	submit(crews[0], "memfd", CHUNK, &work[0]);
	run_until_ended(&work[0]);
	submit(crews[1], "memfd", CHUNK, &work[1]);
	run_until_ended(&work[1]);
	assert_int_equal(work[1].how, GM_JOB_DONE);
	assert_int_equal(gm_crew_hub_workers(hub), 1);
	gm_crew_free(crews[0]);
	gm_crew_free(crews[1]);
	end();
}

static void a_crew_with_many_jobs_keeps_nobody_out(void **state)
{
	struct gm_crew *crews[2];
	struct work busy[6] = { 0 };
	struct work other = { 0 };

	(void)state;
	begin(1, 60000);
	crews[0] = crew_new();
	crews[1] = crew_new();
	for (unsigned i = 0; i < 6; i++)
		submit(crews[0], "slow", 4 * CHUNK, &busy[i]);
	submit(crews[1], "memfd", CHUNK, &other);
	for (unsigned i = 0; i < 6; i++)
		run_until_ended(&busy[i]);
	assert_true(other.ended);
	assert_int_equal(other.place, 2);
	gm_crew_free(crews[0]);
	gm_crew_free(crews[1]);
	end();
}

static void all_jobs_end_as_lost_when_the_spawner_dies(void **state)
{
	struct gm_crew *crews[3];
	struct work work[4] = { 0 };

	(void)state;
	begin(2, 60000);
	for (unsigned i = 0; i < 3; i++)
		crews[i] = crew_new();
	submit(crews[0], "memfd", CHUNK, &work[0]);
	run_until_ended(&work[0]);
	for (unsigned i = 1; i < 3; i++)
		submit(crews[i], "slow", 60 * CHUNK, &work[i]);
	run_for(3 * SLOW_CHUNK_MS);
	assert_int_equal(kill(spawner.pid, SIGKILL), 0);
	for (unsigned i = 1; i < 3; i++) {
		run_until_ended(&work[i]);
		assert_int_equal(work[i].how, GM_JOB_WORKER_LOST);
		assert_int_equal(work[i].error, -EPIPE);
	}
	assert_true(gm_crew_hub_is_broken(hub));
	submit(crews[0], "memfd", CHUNK, &work[3]);
	run_until_ended(&work[3]);
	assert_int_equal(work[3].how, GM_JOB_WORKER_LOST);
	run_for(20);
	assert_int_equal(gm_crew_hub_workers(hub), 0);
	for (unsigned i = 0; i < 3; i++)
		gm_crew_free(crews[i]);
	end();
}

static void jobs_wait_for_a_spawner_that_is_behind(void **state)
{
	struct work work = { 0 };
	struct gm_crew *crew;

	(void)state;
	begin(1, 1000);
	crew = crew_new();
	assert_int_equal(kill(spawner.pid, SIGSTOP), 0);
	while (gm_spawner_kill(&spawner, UINT64_MAX) == 0)
		;
	submit(crew, "memfd", CHUNK, &work);
	run_for(100);
	assert_false(work.ended);
	assert_int_equal(kill(spawner.pid, SIGCONT), 0);
	run_until_ended(&work);
	assert_int_equal(work.how, GM_JOB_DONE);
	gm_crew_free(crew);
	end();
}

static void a_crew_may_be_freed_in_the_end_of_its_last_job(void **state)
{
	struct work work = { 0 };

	(void)state;
	begin(1, 60000);
	work.free_crew = crew_new();
	submit(work.free_crew, "memfd", CHUNK, &work);
	run_until_ended(&work);
	run_for(50);
	assert_int_equal(gm_crew_hub_workers(hub), 0);
	end();
}

static void a_job_may_be_submitted_in_the_end_of_another(void **state)
{
	struct work work[2] = { 0 };
	struct gm_crew *crew;

	(void)state;
	begin(1, 1000);
	crew = crew_new();
	work[0].again = crew;
	submit(crew, "memfd", CHUNK, &work[0]);
	run_until_ended(&work[1]);
	assert_int_equal(work[1].how, GM_JOB_DONE);
	gm_crew_free(crew);
	end();
}

static void an_invalid_order_is_refused_by_submit(void **state)
{
	struct gm_job_order order = order_of("memfd", GM_JOB_ALLOCATE, CHUNK + 1, 1);
	struct gm_crew_job *job;
	struct gm_crew *crew;

	(void)state;
	begin(1, 1000);
	crew = crew_new();
	assert_int_equal(gm_crew_submit(crew, &order, memory, NULL, &job_ops, NULL, &job), -EINVAL);
	order.ranges[0].length = CHUNK;
	assert_int_equal(gm_crew_submit(crew, &order, -1, NULL, &job_ops, NULL, &job), -EBADF);
	gm_crew_free(crew);
	end();
}

static void submit_without_memory_leaves_nothing_behind(void **state)
{
	struct gm_job_order order = order_of("memfd", GM_JOB_ALLOCATE, CHUNK, 1);
	struct gm_crew_job *job;
	struct gm_crew *crew;

	(void)state;
	begin(1, 1000);
	crew = crew_new();
	gm_test_fail_allocation(1);
	assert_int_equal(gm_crew_submit(crew, &order, memory, NULL, &job_ops, NULL, &job), -ENOMEM);
	gm_test_fail_allocation(0);
	gm_crew_free(crew);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_job_is_done_and_its_progress_adds_up),
		gm_test(jobs_of_a_crew_run_one_after_the_other_in_one_worker),
		gm_test(a_failed_allocation_is_an_error_and_keeps_the_worker),
		gm_test(a_killed_worker_loses_its_job_and_the_next_gets_a_new_worker),
		gm_test(a_worker_that_died_idle_costs_no_job),
		gm_test(cancelling_a_running_job_stops_it_within_a_chunk),
		gm_test(cancelling_a_waiting_job_ends_it_at_once),
		gm_test(a_job_cancelled_before_any_worker_was_asked_for_starts_none),
		gm_test(a_stopped_worker_that_does_not_hear_a_cancel_is_killed),
		gm_test(a_stopped_idle_worker_goes_with_its_crew),
		gm_test(an_idle_worker_is_let_go_after_the_idle_time),
		gm_test(more_crews_than_places_all_get_their_turn_in_order),
		gm_test(places_may_become_more_or_fewer),
		gm_test(a_share_never_has_more_workers_than_its_max),
		gm_test(a_share_without_workers_does_not_wait_for_the_jobs_of_others),
		gm_test(places_go_round_the_shares),
		gm_test(a_share_hears_of_each_worker_that_comes_and_goes),
		gm_test(an_idle_worker_makes_room_at_once_for_a_crew_that_waits),
		gm_test(a_crew_with_many_jobs_keeps_nobody_out),
		gm_test(all_jobs_end_as_lost_when_the_spawner_dies),
		gm_test(jobs_wait_for_a_spawner_that_is_behind),
		gm_test(a_crew_may_be_freed_in_the_end_of_its_last_job),
		gm_test(a_job_may_be_submitted_in_the_end_of_another),
		gm_test(an_invalid_order_is_refused_by_submit),
		gm_test(submit_without_memory_leaves_nothing_behind),
	};

	return gm_test_run("crew", tests, GM_ARRAY_SIZE(tests));
}
