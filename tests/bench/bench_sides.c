/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_sides.h"

#include <errno.h>
#include <stdlib.h>

#include "bench_place.h"
#include "gm_cleanup.h"

static int run_side(const struct bench_side *side, double *values, unsigned n)
{
	int r = 0;

	for (unsigned i = 0; i < n && r == 0; i++)
		r = side->once(side->arg, &values[i]);
	return r;
}

/* Every other round goes backwards: whoever follows whom gains nothing by it. */
static int run_round(const struct bench_side *sides, size_t n_sides, unsigned round,
		     unsigned in_a_row, double *values, size_t n_values)
{
	int r = 0;

	for (size_t i = 0; i < n_sides && r == 0; i++) {
		size_t side = round % 2 ? n_sides - 1 - i : i;

		r = run_side(&sides[side], &values[side * n_values + (size_t)round * in_a_row],
			     in_a_row);
	}
	return r;
}

/* Sorts the values of each round. */
static void conclude(struct bench_side *sides, size_t n_sides, unsigned rounds, unsigned in_a_row,
		     double *values, double *floors, double *ratios)
{
	size_t n_values = (size_t)rounds * in_a_row;

	for (size_t side = 0; side < n_sides; side++) {
		double *own = &values[side * n_values];

		for (unsigned round = 0; round < rounds; round++) {
			double median = bench_median(&own[(size_t)round * in_a_row], in_a_row);

			if (side == 0)
				floors[round] = median;
			ratios[round] = median / floors[round];
		}
		sides[side].median = bench_median(own, n_values);
		sides[side].ratio = bench_median(ratios, rounds);
	}
}

int bench_sides(struct bench_side *sides, size_t n_sides, unsigned rounds, unsigned in_a_row)
{
	size_t n_values = (size_t)rounds * in_a_row;
	_gm_free_ double *values = reallocarray(NULL, n_sides * n_values, sizeof(*values));
	_gm_free_ double *ratios = reallocarray(NULL, (size_t)rounds * 2, sizeof(*ratios));
	int r = 0;

	if (!values || !ratios)
		return -ENOMEM;
	for (unsigned round = 0; round < rounds && r == 0; round++)
		r = run_round(sides, n_sides, round, in_a_row, values, n_values);
	if (r == 0)
		conclude(sides, n_sides, rounds, in_a_row, values, ratios, ratios + rounds);
	return r;
}

int bench_sides_report(struct bench_report *report, const char *figure,
		       const struct bench_side *side, const struct bench_side *floor,
		       const char *unit, double unit_ns, double limit)
{
	return bench_report_ratio(report, figure, side->median / unit_ns, floor->median / unit_ns,
				  unit, side->ratio, limit);
}
