/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ALLOCATE of 2 GiB in a new domain, whose worker process has to start, beside a fallocate(2) loop
 * with as many threads on the same kind of fd.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend.h"
#include "bench_client.h"
#include "bench_daemon.h"
#include "bench_place.h"
#include "bench_sides.h"
#include "gm_cleanup.h"
#include "gmem.pb-c.h"
#include "hugepages.h"

#define SIZE (UINT64_C(2) * GM_GIB)
/* Enough to see that it works, on a host that has not 2 GiB to spare, or no time. */
#define QUICK_SIZE (UINT64_C(256) * GM_MIB)
#define THREADS_MAX 16
#define MAX_RATIO 1.05
#define NS_PER_MS 1e6

static const struct memory {
	const char *figure;
	const char *quick_figure;
	const char *kind;
	uint64_t page_size;
	uint64_t piece; /* of the bare loop: what a worker takes at one time */
} memories[] = {
	{ "ALLOCATE 2 GiB, memfd 4K", "ALLOCATE 256 MiB, memfd 4K", "memfd", GM_PAGE_4K,
	  16 * GM_MIB },
	{ "ALLOCATE 2 GiB, memfd 2M", "ALLOCATE 256 MiB, memfd 2M", "memfd", GM_PAGE_2M,
	  64 * GM_MIB },
	{ "ALLOCATE 2 GiB, guest-memfd", "ALLOCATE 256 MiB, guest-memfd", "guest-memfd", GM_PAGE_4K,
	  16 * GM_MIB },
};

struct stage {
	uint64_t size;
	const char *figure;
	const struct memory *memory;
	const struct gm_backend *backend; /* makes the floor's fds */
	struct gm_backend_state *state;
	struct bench_client client;
};

static int allocate_all(struct stage *stage, uint64_t region)
{
	Gmem__AllocateRequest request = GMEM__ALLOCATE_REQUEST__INIT;
	Gmem__Range range = GMEM__RANGE__INIT, *ranges = &range;

	range.has_offset = range.has_length = 1;
	range.length = stage->size;
	request.has_region = 1;
	request.region = region;
	request.ranges = &ranges;
	request.n_ranges = 1;
	return bench_call(&stage->client, GM_MSG_ALLOCATE, &request.base, NULL, NULL);
}

/*
 * At once, by us, and untimed: who closes the last fd frees the pages, and gmemd leaves that to a
 * worker, which would then be in the way of what is timed next.
 */
static int free_pages(int fd, uint64_t size)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)size) < 0)
		return -errno;
	return 0;
}

static int daemon_once(void *arg, double *ret_ns)
{
	struct stage *stage = arg;
	uint64_t domain, region, start;
	_gm_close_ int fd = -1;
	int r;

	r = bench_create_domain(&stage->client, stage->memory->kind, &domain);
	if (r == 0)
		r = bench_create_region(&stage->client, domain, 0, stage->size,
					stage->memory->page_size, &region, &fd);
	if (r < 0)
		return r;
	start = bench_now();
	r = allocate_all(stage, region);
	*ret_ns = (double)(bench_now() - start);
	if (r == 0)
		r = free_pages(fd, stage->size);
	return r == 0 ? bench_destroy_domain(&stage->client, domain) : r;
}

struct loop {
	int fd;
	int mode;
	uint64_t size;
	uint64_t piece;
	unsigned n_threads;
	_Atomic uint64_t next;
	_Atomic int error;
	double ns;
};

static void *run_loop(void *arg)
{
	struct loop *loop = arg;
	uint64_t offset;

	while ((offset = atomic_fetch_add(&loop->next, loop->piece)) < loop->size)
		if (fallocate(loop->fd, loop->mode, (off_t)offset, (off_t)loop->piece) < 0)
			atomic_store(&loop->error, errno);
	return NULL;
}

static void run_loops(struct loop *loop)
{
	uint64_t start = bench_now();
	pthread_t threads[THREADS_MAX];
	unsigned n = 0;

	while (n < loop->n_threads - 1 && !atomic_load(&loop->error)) {
		int error = pthread_create(&threads[n], NULL, run_loop, loop);

		if (error)
			atomic_store(&loop->error, error);
		else
			n++;
	}
	(void)run_loop(loop);
	while (n > 0)
		(void)pthread_join(threads[--n], NULL);
	loop->ns = (double)(bench_now() - start);
}

/* As gmemd does it in a process of its own, so that the scheduler sees no difference. */
static int run_in_child(struct loop *loop)
{
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		run_loops(loop);
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return -errno;
	return status == 0 ? -atomic_load(&loop->error) : -ECHILD;
}

static int time_loops(const struct stage *stage, int fd, double *ret_ns)
{
	const struct memory *memory = stage->memory;
	struct loop *loop = mmap(NULL, sizeof(*loop), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int r;

	if (loop == MAP_FAILED)
		return -errno;
	loop->fd = fd;
	/* guest_memfd knows no other. */
	loop->mode = strcmp(memory->kind, "guest-memfd") == 0 ? FALLOC_FL_KEEP_SIZE : 0;
	loop->size = stage->size;
	loop->piece = memory->piece;
	loop->n_threads = (unsigned)gm_min_u64(bench_n_cpus(), THREADS_MAX);
	r = run_in_child(loop);
	*ret_ns = loop->ns;
	(void)munmap(loop, sizeof(*loop));
	return r;
}

static int floor_once(void *arg, double *ret_ns)
{
	struct stage *stage = arg;
	const struct gm_backing want = { .size = stage->size,
					 .page_size = stage->memory->page_size,
					 .name = "bench" };
	struct gm_refusal refusal = { 0 };
	_gm_close_ int fd = -1;
	int r;

	r = stage->backend->create(stage->state, &want, &fd, &refusal);
	if (r != 0)
		return r < 0 ? r : -ENOSPC;
	r = time_loops(stage, fd, ret_ns);
	return r == 0 ? free_pages(fd, stage->size) : r;
}

static int measure(struct stage *stage, const struct bench_options *options,
		   struct bench_report *report)
{
	struct bench_side sides[] = {
		{ .once = floor_once, .arg = stage },
		{ .once = daemon_once, .arg = stage },
	};
	double ignored;
	int r;

	/* Once each for free: the pages come from where the last round left them. */
	r = floor_once(stage, &ignored);
	if (r == 0)
		r = daemon_once(stage, &ignored);
	if (r == 0)
		r = bench_sides(sides, 2, options->quick ? 3 : 25, 1);
	if (r < 0)
		return r;
	return bench_sides_report(report, stage->figure, &sides[1], &sides[0], "ms", NS_PER_MS,
				  MAX_RATIO);
}

static int measure_memory(struct stage *stage, const struct bench_options *options,
			  struct bench_report *report)
{
	const struct memory *memory = stage->memory;
	struct gm_probe probe = { 0 };
	int r;

	if (memory->page_size == GM_PAGE_2M &&
	    hugepages_want(GM_PAGE_2M, stage->size / GM_PAGE_2M) < stage->size / GM_PAGE_2M)
		return bench_report_skip(report, stage->figure,
					 "the host does not lend the hugepages of 2M");
	stage->backend = gm_backend_find(memory->kind);
	if (!stage->backend)
		return -ENOENT;
	r = stage->backend->open(&stage->state, &probe);
	if (r < 0)
		return r;
	if (probe.usable)
		r = measure(stage, options, report);
	else
		r = bench_report_skip(report, stage->figure, probe.reason);
	stage->backend->close(stage->state);
	return r;
}

static int measure_all(const struct bench_options *options, struct bench_report *report)
{
	struct stage stage = { .size = options->quick ? QUICK_SIZE : SIZE,
			       .client = BENCH_CLIENT_NULL };
	struct bench_daemon daemon;
	int r, ended;

	r = bench_daemon_start(options, -1, false, &daemon);
	if (r == 0)
		r = bench_client_open(&stage.client, daemon.socket);
	for (size_t i = 0; i < GM_ARRAY_SIZE(memories) && r == 0; i++) {
		stage.memory = &memories[i];
		stage.figure = options->quick ? memories[i].quick_figure : memories[i].figure;
		r = measure_memory(&stage, options, report);
	}
	bench_client_close(&stage.client);
	ended = bench_daemon_stop(&daemon);
	return r == 0 ? ended : r;
}

int bench_allocate(const struct bench_options *options, struct bench_report *report)
{
	int r;

	/* First: the process that gives the pages back inherits whatever is open. */
	(void)hugepages_open();
	r = measure_all(options, report);
	hugepages_close();
	return r;
}
