/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long things took, counted in buckets with fixed bounds: 1, 2 and 5 of each power of ten from
 * 10 microseconds to 100 seconds, and one bucket for all that is longer. Fixed, so that histograms
 * of tenants can be added up and compared over restarts and hosts.
 */
#ifndef GM_HISTOGRAM_H
#define GM_HISTOGRAM_H

#include <stdint.h>

#define GM_HISTOGRAM_BOUNDS 22
#define GM_HISTOGRAM_BUCKETS (GM_HISTOGRAM_BOUNDS + 1)

struct gm_histogram {
	uint64_t counts[GM_HISTOGRAM_BUCKETS]; /* each of its bucket alone, not of those below */
	uint64_t sum_us;
};

/* Highest value of each bucket but the last, in microseconds, ascending. */
extern const uint64_t gm_histogram_bounds_us[GM_HISTOGRAM_BOUNDS];

void gm_histogram_add(struct gm_histogram *histogram, uint64_t us);
void gm_histogram_merge(struct gm_histogram *into, const struct gm_histogram *from);

#endif
