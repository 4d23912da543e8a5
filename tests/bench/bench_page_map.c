/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page map of a region of 1 TiB: what a set costs, and what memory the worst patterns take.
 *
 * What takes millions of sets is measured in CPU time: nobody is waited for.
 *
 * Memory is measured three ways: what the map itself counts, what malloc has given out, and what
 * the process has resident.
 */
#include "bench.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench_place.h"
#include "page_map.h"

#define N_PAGES (GM_TIB / GM_PAGE_4K)
#define N_CHUNKS (GM_TIB / GM_PAGE_2M)
#define N_GIB 1024u
#define BATCH 100000u
#define N_BATCHES 100u
#define GIB_ROUNDS UINT64_C(8)

#define N_CONVERSIONS 1000000u

#define MAX_PAGE_NS 200.0
#define MAX_CONVERSION_NS 1000.0
#define MAX_GIB_NS 1000.0
#define MAX_MIB 64.0

static uint64_t draw(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * UINT64_C(0x2545f4914f6cdd1d);
}

/* Without a division, which would be a good part of what is measured. */
static uint64_t draw_below(uint64_t *seed, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)draw(seed) * n) >> 64);
}

static uint64_t resident_bytes(void)
{
	unsigned long size, resident = 0;
	FILE *statm = fopen("/proc/self/statm", "re");

	if (!statm)
		return 0;
	if (fscanf(statm, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	fclose(statm);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct memory {
	uint64_t counted;
	uint64_t given_out;
	uint64_t resident;
};

static struct memory memory_now(const struct gm_page_map *map)
{
	struct mallinfo2 info = mallinfo2();

	return (struct memory){ .counted = gm_page_map_bytes(map),
				.given_out = info.uordblks + info.hblkhd,
				.resident = resident_bytes() };
}

static double mib_since(uint64_t now, uint64_t before)
{
	return now > before ? (double)(now - before) / (double)GM_MIB : 0;
}

/* Random pages to random states of the first @n_states, until the first refusal. */
static int set_pages(struct gm_page_map *map, uint64_t *seed, uint64_t n, unsigned n_states,
		     double *ret_ns)
{
	uint64_t start = bench_cpu_now();
	int r = 0;

	for (uint64_t i = 0; i < n && r == 0; i++)
		r = gm_page_map_set(map, draw_below(seed, N_PAGES) * GM_PAGE_4K, GM_PAGE_4K,
				    draw_below(seed, n_states), NULL);
	*ret_ns = (double)(bench_cpu_now() - start) / (double)n;
	return r;
}

/* Until every chunk of the TiB is mixed. */
static int bench_fill(struct bench_report *report, struct gm_page_map *map, uint64_t *seed)
{
	double ns;
	int r = set_pages(map, seed, 16 * N_CHUNKS, 3, &ns);

	if (r != 0)
		return r;
	return bench_report_value(report, "page map: set a 4K page while 1 TiB fills, mean", ns,
				  "ns", BENCH_NO_LIMIT);
}

static int bench_pages(struct bench_report *report, struct gm_page_map *map, uint64_t *seed)
{
	double batches[N_BATCHES], mean = 0;
	int r = 0;

	for (unsigned i = 0; i < N_BATCHES && r == 0; i++) {
		r = set_pages(map, seed, BATCH, 3, &batches[i]);
		mean += batches[i] / N_BATCHES;
	}
	if (r != 0)
		return r;
	r = bench_report_value(report, "page map: set a random 4K page of a mixed TiB, p50",
			       bench_median(batches, N_BATCHES), "ns", MAX_PAGE_NS);
	if (r != 0)
		return r;
	return bench_report_value(report, "page map: set a random 4K page of a mixed TiB, mean",
				  mean, "ns", MAX_PAGE_NS);
}

/* A page, 2 MiB or what lies between, shared or private: what booking it asks of the map. */
static int bench_conversions(struct bench_report *report, struct gm_page_map *map, uint64_t *seed)
{
	uint64_t shared = 0, start = bench_cpu_now();
	int r = 0;

	for (unsigned i = 0; i < N_CONVERSIONS && r == 0; i++) {
		uint64_t n = i & 1 ? 1 : i & 2 ? 512 : 1 + draw_below(seed, 512);
		uint64_t page = draw_below(seed, N_PAGES - n);
		enum gm_page_state to = draw(seed) & 1 ? GM_PAGE_SHARED : GM_PAGE_PRIVATE;

		shared += gm_page_map_count(map, page * GM_PAGE_4K, n * GM_PAGE_4K, GM_PAGE_SHARED);
		r = gm_page_map_set(map, page * GM_PAGE_4K, n * GM_PAGE_4K, to, NULL);
	}
	if (r != 0 || shared == 0)
		return r != 0 ? r : -ERANGE;
	return bench_report_value(report, "page map: a random conversion of a mixed TiB, mean",
				  (double)(bench_cpu_now() - start) / N_CONVERSIONS, "ns",
				  MAX_CONVERSION_NS);
}

static int report_memory(struct bench_report *report, const struct memory *before,
			 const struct memory *now, const char *const figures[3])
{
	int r = bench_report_value(report, figures[0], mib_since(now->counted, 0), "MiB", MAX_MIB);

	if (r != 0)
		return r;
	r = bench_report_value(report, figures[1], mib_since(now->given_out, before->given_out),
			       "MiB", MAX_MIB);
	if (r != 0)
		return r;
	return bench_report_value(report, figures[2], mib_since(now->resident, before->resident),
				  "MiB", MAX_MIB);
}

/* Every GiB once, in random order; @ret_ns: what each set took. */
static int set_all_gibs(struct gm_page_map *map, uint64_t *seed, double ret_ns[N_GIB])
{
	uint16_t order[N_GIB];

	for (unsigned i = 0; i < N_GIB; i++) {
		unsigned j = (unsigned)draw_below(seed, i + 1);

		order[i] = order[j];
		order[j] = (uint16_t)i;
	}
	for (unsigned i = 0; i < N_GIB; i++) {
		uint64_t start = bench_now();
		int r = gm_page_map_set(map, order[i] * GM_GIB, GM_GIB, draw_below(seed, 3), NULL);

		if (r != 0)
			return r;
		ret_ns[i] = (double)(bench_now() - start);
	}
	return 0;
}

static int report_gibs(struct bench_report *report, double *ns, size_t n, const char *p50_figure,
		       const char *mean_figure)
{
	double mean = 0;
	int r;

	for (size_t i = 0; i < n; i++)
		mean += ns[i] / (double)n;
	r = bench_report_value(report, p50_figure, bench_median(ns, n), "ns", MAX_GIB_NS);
	return r == 0 ? bench_report_value(report, mean_figure, mean, "ns", MAX_GIB_NS) : r;
}

/*
 * Each set finds its GiB mixed through and through, and frees what that took. What the heap then
 * gives back to the kernel costs by the page, and is a row of its own.
 */
static int bench_mixed_gibs(struct bench_report *report, struct gm_page_map *map, uint64_t *seed)
{
	static double ns[GIB_ROUNDS][N_GIB];
	double fill_ns, trim_ns;
	uint64_t start;
	int r = 0;

	mallopt(M_TRIM_THRESHOLD, INT_MAX);
	for (unsigned i = 0; i < GIB_ROUNDS && r == 0; i++) {
		r = set_pages(map, seed, 4 * N_CHUNKS, 3, &fill_ns);
		if (r == 0)
			r = set_all_gibs(map, seed, ns[i]);
	}
	if (r != 0)
		return r;
	r = report_gibs(report, ns[0], GIB_ROUNDS * N_GIB,
			"page map: set a random GiB that is mixed, p50",
			"page map: set a random GiB that is mixed, mean");
	if (r != 0)
		return r;
	start = bench_now();
	malloc_trim(0);
	trim_ns = (double)(bench_now() - start);
	return bench_report_value(report, "page map: give its memory back to the kernel, a GiB",
				  trim_ns / (double)N_GIB, "ns", BENCH_NO_LIMIT);
}

static int bench_uniform_gibs(struct bench_report *report, struct gm_page_map *map, uint64_t *seed)
{
	static double ns[GIB_ROUNDS][N_GIB];
	int r = 0;

	for (unsigned i = 0; i < GIB_ROUNDS && r == 0; i++)
		r = set_all_gibs(map, seed, ns[i]);
	if (r != 0)
		return r;
	return report_gibs(report, ns[0], GIB_ROUNDS * N_GIB,
			   "page map: set a random GiB that is uniform, p50",
			   "page map: set a random GiB that is uniform, mean");
}

/* Absent, shared and private in any pattern must fit, and be fast. */
static int bench_three_states(struct bench_report *report, struct gm_page_map *map)
{
	static const char *const figures[] = { "page map: 1 TiB mixed of 3 states, counted",
					       "page map: 1 TiB mixed of 3 states, malloc",
					       "page map: 1 TiB mixed of 3 states, resident" };
	struct memory before = memory_now(map), now;
	uint64_t seed = 1;
	int r;

	r = gm_page_map_init(map, GM_TIB, GM_PAGE_ABSENT);
	if (r == 0)
		r = bench_fill(report, map, &seed);
	if (r == 0)
		r = bench_pages(report, map, &seed);
	if (r == 0)
		r = bench_conversions(report, map, &seed);
	now = memory_now(map);
	if (r == 0)
		r = report_memory(report, &before, &now, figures);
	if (r == 0)
		r = bench_mixed_gibs(report, map, &seed);
	if (r == 0)
		r = bench_uniform_gibs(report, map, &seed);
	return r;
}

/*
 * One state more at a time, so that every node is written again and again, until the map refuses:
 * no order of requests may take more than the budget allows.
 */
static int bench_hostile(struct bench_report *report, struct gm_page_map *map)
{
	static const char *const figures[] = { "page map: 1 TiB of 6 states at refusal, counted",
					       "page map: 1 TiB of 6 states at refusal, malloc",
					       "page map: 1 TiB of 6 states at refusal, resident" };
	struct memory before = memory_now(map), now;
	uint64_t seed = 2;
	double fill_ns;
	int r;

	r = gm_page_map_init(map, GM_TIB, GM_PAGE_ABSENT);
	for (unsigned n_states = 2; n_states <= GM_PAGE_STATE_N_ && r == 0; n_states++)
		r = set_pages(map, &seed, 4 * N_CHUNKS, n_states, &fill_ns);
	if (r != GM_OVER_LIMIT)
		return r < 0 ? r : -ERANGE;
	now = memory_now(map);
	return report_memory(report, &before, &now, figures);
}

int bench_page_map(const struct bench_options *options, struct bench_report *report)
{
	static int (*const parts[])(struct bench_report * report, struct gm_page_map * map) = {
		bench_three_states,
		bench_hostile,
	};
	int r = 0;

	(void)options;
	for (size_t i = 0; i < GM_ARRAY_SIZE(parts) && r == 0; i++) {
		struct gm_page_map map = { 0 };

		r = parts[i](report, &map);
		gm_page_map_done(&map);
		malloc_trim(0);
	}
	return r;
}
