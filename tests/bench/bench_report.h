/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of a report: a figure beside its floor where it has one, and its limit if it is a gate.
 *
 * A gate is kept when the ratio, or where there is no floor the figure itself, is at most its
 * limit. A figure without a limit is there to be seen.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define BENCH_NO_LIMIT 0.0

struct bench_row {
	char figure[64];
	char unit[8];
	char skipped[160]; /* why it was not measured; "": it was */
	double measured;
	double floor; /* 0: none */
	double ratio; /* 0: none */
	double limit; /* BENCH_NO_LIMIT, or of the ratio, or without a floor of measured */
	bool ok;
	bool decides; /* so far from its limit that a short run on a busy host tells */
};

struct bench_report {
	size_t n_rows;
	size_t max_rows;
	struct bench_row *rows;
};

/* A figure with a floor, both in @unit: @limit is for the ratio. 0 or -ENOMEM. */
int bench_report_ratio(struct bench_report *report, const char *figure, double measured,
		       double floor, const char *unit, double ratio, double limit);

/* A figure without a floor, whose value itself has a limit. 0 or -ENOMEM. */
int bench_report_value(struct bench_report *report, const char *figure, double measured,
		       const char *unit, double limit);

/* A figure that was not measured here, and why; it fails nothing. 0 or -ENOMEM. */
int bench_report_skip(struct bench_report *report, const char *figure, const char *why);

/* Of bytes, which no other load on the host changes. */
bool bench_row_is_memory(const struct bench_row *row);

/* The last row decides in short runs, too. */
void bench_report_decides(struct bench_report *report);

/* Gates that were missed, from row @first on. */
size_t bench_report_missed(const struct bench_report *report, size_t first);

void bench_report_print(const struct bench_report *report, FILE *out);
void bench_report_print_json(const struct bench_report *report, FILE *out);

/* Idempotent; safe on a zeroed struct. */
void bench_report_done(struct bench_report *report);

#endif
