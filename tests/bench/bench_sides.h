/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several ways to do one thing, timed in turns, so that whatever slows the host down slows all of
 * them. The first one is the floor of the others.
 *
 * The ratio is the median of the rounds' ratios: a round is short, so what else the host does is
 * much the same for both sides of it. It need not be the ratio of the medians.
 */
#ifndef BENCH_SIDES_H
#define BENCH_SIDES_H

#include "bench_report.h"

struct bench_side {
	/* Does it once; what is not part of it is not in *ret_ns. 0 or -errno. */
	int (*once)(void *arg, double *ret_ns);
	void *arg;
	double median; /* of all its times, after bench_sides */
	double ratio;  /* to the first side, after bench_sides */
};

/* @in_a_row times each side, @rounds times. 0 or the first -errno. */
int bench_sides(struct bench_side *sides, size_t n_sides, unsigned rounds, unsigned in_a_row);

/* A row of times in @unit of so many nanoseconds. */
int bench_sides_report(struct bench_report *report, const char *figure,
		       const struct bench_side *side, const struct bench_side *floor,
		       const char *unit, double unit_ns, double limit);

#endif
