/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crews with real worker processes: every job ends exactly once, whatever happens to its worker,
 * and the progress adds up.
 */
#include "gm_test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crew.h"
#include "gm_fd.h"
#include "poll_loop.h"
#include "worker_backends.h"

#define PATIENCE_MS 8000
#define CREWS_MAX 16

struct work {
	struct gm_crew_job *job;
	uint64_t bytes;
	unsigned n_progress;
	unsigned n_ends;
	bool ended;
	enum gm_job_end how;
	int error;
	unsigned place;		   /* in the order of ends */
	struct gm_crew *free_crew; /* in the end callback */
	struct gm_crew *again;	   /* submit the same once more */
};

static struct poll_loop *loop;
static struct gm_spawner spawner = { .socket = -1 };
static struct gm_crew_hub *hub;
static unsigned n_ended;
static bool inside; /* a call of submit or cancel */
static int memory = -1;

static void on_progress(void *arg, const struct gm_job_range *done)
{
	struct work *work = arg;

	assert_false(inside);
	assert_false(work->ended);
	work->bytes += done->length;
	work->n_progress++;
}

static void submit(struct gm_crew *crew, const char *kind, uint64_t length, struct work *work);

static void on_end(void *arg, enum gm_job_end how, int error)
{
	struct work *work = arg;
	struct gm_crew *again = work->again;

	assert_false(inside);
	work->n_ends++;
	work->ended = true;
	work->how = how;
	work->error = error;
	work->place = ++n_ended;
	if (work->free_crew)
		gm_crew_free(work->free_crew);
	work->again = NULL;
	if (again)
		submit(again, "memfd", CHUNK, work + 1);
}

static const struct gm_crew_job_ops job_ops = { .progress = on_progress, .end = on_end };

static void submit(struct gm_crew *crew, const char *kind, uint64_t length, struct work *work)
{
	struct gm_job_order order = order_of(kind, GM_JOB_ALLOCATE, length, 2);

	inside = true;
	assert_int_equal(gm_crew_submit(crew, &order, memory, &job_ops, work, &work->job), 0);
	inside = false;
}

static void cancel(struct work *work)
{
	inside = true;
	gm_crew_cancel(work->job);
	inside = false;
}

static void run_until_ended(struct work *work)
{
	assert_true(poll_loop_run(loop, &work->ended, PATIENCE_MS));
	assert_int_equal(work->n_ends, 1);
}

static void run_for(uint64_t ms)
{
	(void)poll_loop_run(loop, NULL, ms);
}

static struct gm_crew *crew_new(void)
{
	struct gm_crew *crew;

	assert_int_equal(gm_crew_new(hub, &crew), 0);
	return crew;
}

static void begin(uint32_t workers_max, uint64_t idle_ms)
{
	const struct gm_spawner_config config = { 0 };

	loop = poll_loop_new();
	assert_int_equal(gm_spawner_start(&config, &spawner), 0);
	assert_int_equal(gm_crew_hub_new(poll_loop_ref(loop), &spawner, workers_max, idle_ms, &hub),
			 0);
	memory = memory_new(64 * CHUNK);
	n_ended = 0;
}

static void end(void)
{
	gm_crew_hub_free(hub);
	gm_spawner_stop(&spawner);
	poll_loop_free(loop);
	gm_fd_close(memory);
}

/* Pids of the spawner's children. */
static unsigned workers(pid_t *pids, unsigned max)
{
	char path[64];
	unsigned n = 0;
	FILE *file;
	int pid;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)spawner.pid,
		 (int)spawner.pid);
	file = fopen(path, "re");
	if (!file) {
		printf("needs a kernel with CONFIG_PROC_CHILDREN\n");
		skip();
	}
	while (n < max && fscanf(file, "%d", &pid) == 1)
		pids[n++] = pid;
	fclose(file);
	return n;
}

static pid_t the_worker(void)
{
	pid_t pids[2];

	assert_int_equal(workers(pids, 2), 1);
	return pids[0];
}

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
	uint64_t start;

	(void)state;
	begin(1, 1000);
	crew = crew_new();
	submit(crew, "slow", 60 * CHUNK, &work);
	run_for(5 * SLOW_CHUNK_MS);
	start = poll_loop_now();
	cancel(&work);
	cancel(&work);
	run_until_ended(&work);
	assert_true(poll_loop_now() - start < 5 * SLOW_CHUNK_MS);
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
	assert_int_equal(gm_crew_submit(crew, &order, memory, &job_ops, NULL, &job), -EINVAL);
	order.ranges[0].length = CHUNK;
	assert_int_equal(gm_crew_submit(crew, &order, -1, &job_ops, NULL, &job), -EBADF);
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
	assert_int_equal(gm_crew_submit(crew, &order, memory, &job_ops, NULL, &job), -ENOMEM);
	gm_test_fail_allocation(0);
	gm_crew_free(crew);
	end();
}

static pid_t janitor(void)
{
	pid_t pids[4];
	unsigned n = workers(pids, 4);

	return n > 0 ? pids[n - 1] : 0;
}

static bool holds_memory(pid_t pid, const char *name)
{
	char path[64], target[256];

	for (int fd = 0; fd < 16; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (strstr(target, name))
			return true;
	}
	return false;
}

static void a_disposed_fd_is_closed_by_another_process(void **state)
{
	int fd;

	(void)state;
	begin(1, 1000);
	fd = memory_new(CHUNK);
	gm_crew_hub_dispose(hub, fd);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	run_for(50);
	assert_int_not_equal(janitor(), 0);
	assert_false(holds_memory(janitor(), "worker-test"));
	/* It takes no place from a job. */
	assert_int_equal(gm_crew_hub_workers(hub), 0);
	end();
}

static void a_dead_closer_of_fds_is_replaced(void **state)
{
	pid_t first;

	(void)state;
	begin(1, 1000);
	gm_crew_hub_dispose(hub, memory_new(CHUNK));
	run_for(50);
	first = janitor();
	assert_int_not_equal(first, 0);
	assert_int_equal(kill(first, SIGKILL), 0);
	run_for(50);
	gm_crew_hub_dispose(hub, memory_new(CHUNK));
	run_for(50);
	assert_int_not_equal(janitor(), 0);
	assert_int_not_equal(janitor(), first);
	end();
}

/* More than its channel holds. */
#define FDS_MANY 1000

static void a_closer_of_fds_that_is_behind_gets_colleagues(void **state)
{
	char byte;
	int pipe_fds[2];
	pid_t pids[8];
	pid_t first;

	(void)state;
	begin(1, 1000);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
	gm_crew_hub_dispose(hub, memory_new(CHUNK));
	run_for(50);
	first = janitor();
	assert_int_equal(kill(first, SIGSTOP), 0);
	for (unsigned i = 0; i < FDS_MANY; i++)
		gm_crew_hub_dispose(hub, fcntl(pipe_fds[1], F_DUPFD_CLOEXEC, 0));
	gm_fd_close(pipe_fds[1]);
	run_for(100);
	assert_true(workers(pids, 8) > 1);
	/* What the first one was given it still has: nothing was closed here. */
	assert_int_equal(read(pipe_fds[0], &byte, 1), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(kill(first, SIGCONT), 0);
	run_for(100);
	assert_int_equal(read(pipe_fds[0], &byte, 1), 0);
	/* It has done its share and gone: the last one stays. */
	assert_int_equal(workers(pids, 8), 1);
	gm_fd_close(pipe_fds[0]);
	end();
}

static void without_a_spawner_a_disposed_fd_is_closed_here(void **state)
{
	int fd;

	(void)state;
	begin(1, 1000);
	assert_int_equal(kill(spawner.pid, SIGKILL), 0);
	run_for(50);
	fd = memory_new(CHUNK);
	gm_crew_hub_dispose(hub, fd);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
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
		gm_test(an_idle_worker_makes_room_at_once_for_a_crew_that_waits),
		gm_test(a_crew_with_many_jobs_keeps_nobody_out),
		gm_test(all_jobs_end_as_lost_when_the_spawner_dies),
		gm_test(jobs_wait_for_a_spawner_that_is_behind),
		gm_test(a_crew_may_be_freed_in_the_end_of_its_last_job),
		gm_test(a_job_may_be_submitted_in_the_end_of_another),
		gm_test(an_invalid_order_is_refused_by_submit),
		gm_test(submit_without_memory_leaves_nothing_behind),
		gm_test(a_disposed_fd_is_closed_by_another_process),
		gm_test(a_dead_closer_of_fds_is_replaced),
		gm_test(a_closer_of_fds_that_is_behind_gets_colleagues),
		gm_test(without_a_spawner_a_disposed_fd_is_closed_here),
	};

	return gm_test_run("crew", tests, GM_ARRAY_SIZE(tests));
}
