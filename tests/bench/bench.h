/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of gmem-bench. Each measures some figures beside their floors: the same work done bare,
 * in the same run and places, in turns with the figure.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "bench_report.h"

struct bench_options {
	const char *gmemd;	 /* path of the program */
	bool quick;		 /* fewer rounds */
	const char *cgroup_root; /* of that gmemd; NULL: the host's */
};

/* The parts. Each adds its rows; 0 or -errno when it could not be run. */
int bench_ping(const struct bench_options *options, struct bench_report *report);
int bench_grant(const struct bench_options *options, struct bench_report *report);
int bench_rate(const struct bench_options *options, struct bench_report *report);
int bench_scale(const struct bench_options *options, struct bench_report *report);
int bench_idle(const struct bench_options *options, struct bench_report *report);
int bench_allocate(const struct bench_options *options, struct bench_report *report);
int bench_neighbour(const struct bench_options *options, struct bench_report *report);
int bench_convert(const struct bench_options *options, struct bench_report *report);
int bench_measure(const struct bench_options *options, struct bench_report *report);
int bench_launch(const struct bench_options *options, struct bench_report *report);
int bench_store(const struct bench_options *options, struct bench_report *report);

/* Leaves malloc's settings changed: the last one. */
int bench_page_map(const struct bench_options *options, struct bench_report *report);

#endif
