/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a part of the benchmark reports: one row a figure, beside its floor where it has one.
 *
 * A figure that has a limit passes when its value is at most that. A figure without one is there
 * to be seen.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define BENCH_NO_LIMIT 0.0

struct bench_row {
	char figure[64];
	char measured[32];
	char floor[32]; /* "-": there is none */
	char ratio[16]; /* of the two, or "-" */
	char limit[16]; /* of the ratio; without a floor, of what was measured */
	bool ok;
};

struct bench_report {
	size_t n_rows;
	size_t max_rows;
	struct bench_row *rows;
};

/* A figure with a floor, both in @unit: the ratio is what @limit is for. 0 or -ENOMEM. */
int bench_report_ratio(struct bench_report *report, const char *figure, double measured,
		       double floor, const char *unit, double limit);

/* A figure without a floor, whose value itself has a limit. 0 or -ENOMEM. */
int bench_report_value(struct bench_report *report, const char *figure, double measured,
		       const char *unit, double limit);

/* A figure that was not measured here, and why; it fails nothing. 0 or -ENOMEM. */
int bench_report_skip(struct bench_report *report, const char *figure, const char *why);

/* The aligned table. Returns how many rows are over their limits. */
size_t bench_report_print(const struct bench_report *report, FILE *out);

/* Idempotent; safe on a zeroed struct. */
void bench_report_done(struct bench_report *report);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t bench_now(void);

/* The parts. Each adds its rows; 0 or -errno when it could not be run. */
int bench_page_map(struct bench_report *report);

#endif
