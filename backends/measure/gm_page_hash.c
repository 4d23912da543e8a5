/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_page_hash.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gm_cleanup.h"

/* So many pages are worth a thread's start; so many are taken at once by one. */
#define PAGES_PER_THREAD 64
#define PAGES_PER_TURN 16
#define THREADS_MAX 64

struct work {
	const uint8_t *bytes;
	size_t n_bytes;
	size_t n_pages;
	uint8_t (*digests)[GM_SHA384_SIZE];
	atomic_bool *done; /* of each turn */
	atomic_size_t next;
	const struct gm_hash_ready *ready;
	size_t told; /* caller's thread only */
};

unsigned gm_hash_threads(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? (unsigned)n : 1;
}

static void hash_page(const struct work *work, size_t page)
{
	uint8_t padded[GM_PAGE_4K];
	size_t start = page * GM_PAGE_4K;
	size_t there = gm_min_u64(work->n_bytes - start, GM_PAGE_4K);
	const uint8_t *bytes = work->bytes + start;

	if (there < GM_PAGE_4K) {
		memcpy(padded, bytes, there);
		memset(padded + there, 0, GM_PAGE_4K - there);
		bytes = padded;
	}
	gm_hash_bytes(GM_HASH_SHA384, bytes, GM_PAGE_4K, work->digests[page]);
}

/* False: no turn was left. */
static bool hash_turn(struct work *work)
{
	size_t at = atomic_fetch_add(&work->next, PAGES_PER_TURN);
	size_t end = gm_min_u64(at + PAGES_PER_TURN, work->n_pages);

	if (at >= work->n_pages)
		return false;
	for (size_t i = at; i < end; i++)
		hash_page(work, i);
	atomic_store_explicit(&work->done[at / PAGES_PER_TURN], true, memory_order_release);
	return true;
}

static void *run_thread(void *data)
{
	while (hash_turn(data))
		;
	return NULL;
}

static void tell_ready(struct work *work)
{
	size_t end = work->told;

	while (end < work->n_pages &&
	       atomic_load_explicit(&work->done[end / PAGES_PER_TURN], memory_order_acquire))
		end = gm_min_u64(end + PAGES_PER_TURN, work->n_pages);
	if (work->ready && end > work->told)
		work->ready->tell(work->ready->data, work->told, end);
	work->told = end;
}

static void hash_on_threads(struct work *work, unsigned n_threads)
{
	size_t worth = work->n_pages / PAGES_PER_THREAD;
	size_t n = gm_min_u64(gm_min_u64(n_threads, THREADS_MAX), worth);
	pthread_t threads[THREADS_MAX];
	size_t started = 0;

	while (started + 1 < n && pthread_create(&threads[started], NULL, run_thread, work) == 0)
		started++;
	while (hash_turn(work))
		tell_ready(work);
	for (size_t i = 0; i < started; i++)
		(void)pthread_join(threads[i], NULL);
	tell_ready(work);
}

static int hash_contents(struct work *work, unsigned n_threads)
{
	size_t n_turns = (work->n_pages + PAGES_PER_TURN - 1) / PAGES_PER_TURN;
	_gm_free_ atomic_bool *done = calloc(n_turns, sizeof(*done));

	if (!done)
		return -ENOMEM;
	work->done = done;
	hash_on_threads(work, n_threads);
	return 0;
}

/* All pages of zeros have one digest. */
static void hash_zeros(uint8_t (*digests)[GM_SHA384_SIZE], size_t from, size_t to)
{
	static const uint8_t zeros[GM_PAGE_4K];

	gm_hash_bytes(GM_HASH_SHA384, zeros, sizeof(zeros), digests[from]);
	for (size_t i = from + 1; i < to; i++)
		memcpy(digests[i], digests[from], GM_SHA384_SIZE);
}

int gm_hash_pages(const uint8_t *bytes, size_t n_bytes, size_t n_pages, unsigned n_threads,
		  const struct gm_hash_ready *ready, uint8_t (*ret_digests)[GM_SHA384_SIZE])
{
	size_t n_there = n_bytes / GM_PAGE_4K + (n_bytes % GM_PAGE_4K != 0);
	struct work work = { .bytes = bytes,
			     .n_bytes = n_bytes,
			     .n_pages = gm_min_u64(n_there, n_pages),
			     .digests = ret_digests,
			     .ready = ready };
	int r = work.n_pages > 0 ? hash_contents(&work, n_threads) : 0;

	if (r < 0 || work.n_pages == n_pages)
		return r;
	hash_zeros(ret_digests, work.n_pages, n_pages);
	if (ready)
		ready->tell(ready->data, work.n_pages, n_pages);
	return 0;
}
