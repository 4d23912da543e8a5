/* SPDX-License-Identifier: Apache-2.0 */
#include "work.h"

#include <assert.h>
#include <errno.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "gm_fd.h"

/*
 * About 3 ms (4K pages) and 5 ms (hugepages) of work on one core: the cost of a chunk's
 * bookkeeping is below a thousandth of that.
 */
#define CHUNK_SIZE_SMALL (UINT64_C(16) * GM_MIB)
#define CHUNK_SIZE_HUGE (UINT64_C(64) * GM_MIB)

struct work {
	const struct gm_job_order *order;
	const struct gm_backend *backend;
	const struct gm_work_sink *sink;
	int fd;
	uint64_t chunk_size;
	/* Number of the first chunk of each range; the last element is the number of chunks. */
	uint64_t first_chunk[GM_JOB_RANGES_MAX + 1];
	_Atomic uint64_t cursor;
	_Atomic int error; /* the first one; the others stay silent */

	pthread_mutex_t lock; /* of all below */
	uint64_t n_finished;
	uint64_t reported_ms;
	struct gm_job_report pending;
	int report_error;
};

static uint64_t monotonic_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t work_n_chunks(const struct work *work)
{
	return work->first_chunk[work->order->n_ranges];
}

static void work_cut(struct work *work)
{
	const struct gm_job_order *order = work->order;
	uint64_t n = 0;

	work->chunk_size = order->page_size > GM_PAGE_4K
				   ? gm_max_u64(order->page_size, CHUNK_SIZE_HUGE)
				   : CHUNK_SIZE_SMALL;
	for (uint32_t i = 0; i < order->n_ranges; i++) {
		work->first_chunk[i] = n;
		/* Cannot overflow: a range ends below 2^63. */
		n += (order->ranges[i].length + work->chunk_size - 1) / work->chunk_size;
	}
	work->first_chunk[order->n_ranges] = n;
}

/* @range: where this thread's last chunk was; its chunks only go up. */
static struct gm_job_range work_chunk(const struct work *work, uint64_t chunk, uint32_t *range)
{
	const struct gm_job_range *in;
	uint64_t skip;

	while (chunk >= work->first_chunk[*range + 1])
		(*range)++;
	in = &work->order->ranges[*range];
	skip = (chunk - work->first_chunk[*range]) * work->chunk_size;
	return (struct gm_job_range){
		.offset = in->offset + skip,
		.length = gm_min_u64(work->chunk_size, in->length - skip),
	};
}

static void work_fail(struct work *work, int error)
{
	int none = 0;

	(void)atomic_compare_exchange_strong(&work->error, &none, error);
}

static void pending_remove(struct gm_job_report *pending, uint32_t i)
{
	pending->done[i] = pending->done[--pending->n_done];
}

/* Joins @part to the pending part that ends or begins where it does not; false if there is none. */
static bool pending_join(struct gm_job_report *pending, struct gm_job_range *part)
{
	for (uint32_t i = 0; i < pending->n_done; i++) {
		const struct gm_job_range *other = &pending->done[i];

		if (other->offset + other->length != part->offset &&
		    part->offset + part->length != other->offset)
			continue;
		part->offset = gm_min_u64(part->offset, other->offset);
		part->length += other->length;
		pending_remove(pending, i);
		return true;
	}
	return false;
}

static void work_flush(struct work *work)
{
	/* After a failed report nobody listens any more: what is left goes with the job. */
	if (!work->report_error) {
		work->report_error = work->sink->report(work->sink->arg, &work->pending);
		if (work->report_error)
			work_fail(work, work->report_error);
	}
	work->pending.n_done = 0;
}

static void work_finished(struct work *work, struct gm_job_range part)
{
	uint64_t now = monotonic_ms();

	(void)pthread_mutex_lock(&work->lock);
	work->n_finished++;
	while (pending_join(&work->pending, &part))
		;
	if (work->pending.n_done == GM_JOB_REPORT_RANGES_MAX)
		work_flush(work);
	work->pending.done[work->pending.n_done++] = part;
	if (now - work->reported_ms >= GM_WORK_REPORT_INTERVAL_MS) {
		work_flush(work);
		work->reported_ms = now;
	}
	(void)pthread_mutex_unlock(&work->lock);
}

static int work_do(const struct work *work, const struct gm_job_range *part)
{
	const struct gm_job_order *order = work->order;

	if (order->verb == GM_JOB_ALLOCATE)
		return work->backend->allocate(work->fd, part->offset, part->length);
	return work->backend->discard(work->fd, part->offset, part->length, order->page_size);
}

static void work_loop(struct work *work, bool watches)
{
	uint32_t range = 0;

	for (;;) {
		struct gm_job_range part;
		uint64_t chunk;
		int r;

		if (watches && work->sink->is_stopped(work->sink->arg))
			work_fail(work, -ECANCELED);
		if (atomic_load(&work->error))
			return;
		chunk = atomic_fetch_add(&work->cursor, 1);
		if (chunk >= work_n_chunks(work))
			return;
		part = work_chunk(work, chunk, &range);
		r = work_do(work, &part);
		if (r) {
			work_fail(work, r);
			return;
		}
		work_finished(work, part);
	}
}

/*
 * Pages that no mbind() on the file has placed go where the policy of the thread that allocates
 * them says (shmem_get_pgoff_policy, kvm_gmem_get_folio).
 */
static int bind_to_nodes(uint64_t nodes)
{
	unsigned long mask = nodes;
	/* The kernel looks at one bit less than it is told (get_nodes). */
	unsigned long max_node = 8 * sizeof(mask) + 1;
	long r;

	if (nodes)
		r = syscall(SYS_set_mempolicy, MPOL_BIND, &mask, max_node);
	else
		r = syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0UL);
	return r < 0 ? -errno : 0;
}

static void work_thread(struct work *work, bool watches)
{
	uint64_t nodes = work->order->numa_nodes;
	int r;

	if (!nodes) {
		work_loop(work, watches);
		return;
	}
	r = bind_to_nodes(nodes);
	if (r) {
		work_fail(work, r);
		return;
	}
	work_loop(work, watches);
	/* Cannot fail: MPOL_DEFAULT takes no memory and no nodes. */
	(void)bind_to_nodes(0);
}

static void *thread_main(void *arg)
{
	work_thread(arg, false);
	return NULL;
}

static void work_with_threads(struct work *work)
{
	pthread_t threads[GM_JOB_THREADS_MAX];
	uint64_t n_wanted = gm_min_u64(work->order->n_threads, work_n_chunks(work)) - 1;
	uint32_t n = 0;

	/* With fewer threads than asked for the job takes longer, and that is all. */
	while (n < n_wanted && pthread_create(&threads[n], NULL, thread_main, work) == 0)
		n++;
	work_thread(work, true);
	while (n > 0)
		(void)pthread_join(threads[--n], NULL);
}

int gm_work_run(const struct gm_job_order *order, int fd, const struct gm_backend *backend,
		const struct gm_work_sink *sink)
{
	struct work work = {
		.order = order,
		.backend = backend,
		.sink = sink,
		.fd = fd,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.reported_ms = monotonic_ms(),
		.pending = { .job = order->job },
	};
	int error;

	assert(order->n_threads >= 1 && order->n_threads <= GM_JOB_THREADS_MAX);
	work_cut(&work);
	/* An order may have been waiting: its stop may be there already. */
	if (sink->is_stopped(sink->arg))
		work_fail(&work, -ECANCELED);
	else
		work_with_threads(&work);

	error = atomic_load(&work.error);
	/* Stopped, but nothing was left to stop. */
	if (error == -ECANCELED && work.n_finished == work_n_chunks(&work))
		error = 0;
	gm_fd_close(fd);
	work.pending.error = error;
	work.pending.last = true;
	work_flush(&work);
	(void)pthread_mutex_destroy(&work.lock);
	return work.report_error;
}
