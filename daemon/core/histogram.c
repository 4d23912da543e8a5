/* SPDX-License-Identifier: Apache-2.0 */
#include "histogram.h"

#define DECADE(us) (us), 2 * (us), 5 * (us)

const uint64_t gm_histogram_bounds_us[GM_HISTOGRAM_BOUNDS] = {
	DECADE(UINT64_C(10)),	    DECADE(UINT64_C(100)),    DECADE(UINT64_C(1000)),
	DECADE(UINT64_C(10000)),    DECADE(UINT64_C(100000)), DECADE(UINT64_C(1000000)),
	DECADE(UINT64_C(10000000)), UINT64_C(100000000),
};

void gm_histogram_add(struct gm_histogram *histogram, uint64_t us)
{
	unsigned bucket = 0;

	while (bucket < GM_HISTOGRAM_BOUNDS && us > gm_histogram_bounds_us[bucket])
		bucket++;
	histogram->counts[bucket]++;
	histogram->sum_us += us;
}

void gm_histogram_merge(struct gm_histogram *into, const struct gm_histogram *from)
{
	for (unsigned i = 0; i < GM_HISTOGRAM_BUCKETS; i++)
		into->counts[i] += from->counts[i];
	into->sum_us += from->sum_us;
}
