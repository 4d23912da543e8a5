/* SPDX-License-Identifier: Apache-2.0 */
#include "crew_rig.h"

#include "gm_fd.h"
#include "poll_loop.h"

#define PATIENCE_MS 8000

static struct poll_loop *loop;
struct gm_spawner spawner = { .socket = -1 };
struct gm_crew_hub *hub;
unsigned n_ended;
static bool inside; /* a call of submit or cancel */
int memory = -1;

static void on_progress(void *arg, const struct gm_job_range *done)
{
	struct work *work = arg;

	assert_false(inside);
	assert_false(work->ended);
	work->bytes += done->length;
	work->n_progress++;
}

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

const struct gm_crew_job_ops job_ops = { .progress = on_progress, .end = on_end };

void submit(struct gm_crew *crew, const char *kind, uint64_t length, struct work *work)
{
	struct gm_job_order order = order_of(kind, GM_JOB_ALLOCATE, length, 2);

	inside = true;
	assert_int_equal(gm_crew_submit(crew, &order, memory, NULL, &job_ops, work, &work->job), 0);
	inside = false;
}

void cancel(struct work *work)
{
	inside = true;
	gm_crew_cancel(work->job);
	inside = false;
}

void run_until_ended(struct work *work)
{
	assert_true(poll_loop_run(loop, &work->ended, PATIENCE_MS));
	assert_int_equal(work->n_ends, 1);
}

void run_for(uint64_t ms)
{
	(void)poll_loop_run(loop, NULL, ms);
}

struct gm_crew *crew_new(void)
{
	struct gm_crew *crew;

	assert_int_equal(gm_crew_new(hub, &crew), 0);
	return crew;
}

void begin_with(const struct gm_cgroups *cgroups, uint32_t workers_max, uint64_t idle_ms)
{
	const struct gm_spawner_config config = { .cgroups = cgroups };

	loop = poll_loop_new();
	assert_int_equal(gm_spawner_start(&config, &spawner), 0);
	assert_int_equal(gm_crew_hub_new(poll_loop_ref(loop), &spawner, workers_max, idle_ms, &hub),
			 0);
	memory = memory_new(64 * CHUNK);
	n_ended = 0;
}

void begin(uint32_t workers_max, uint64_t idle_ms)
{
	begin_with(NULL, workers_max, idle_ms);
}

void end(void)
{
	gm_crew_hub_free(hub);
	gm_spawner_stop(&spawner);
	poll_loop_free(loop);
	gm_fd_close(memory);
}

unsigned workers(pid_t *pids, unsigned max)
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

pid_t the_worker(void)
{
	pid_t pids[2];

	assert_int_equal(workers(pids, 2), 1);
	return pids[0];
}
