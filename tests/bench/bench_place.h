/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clock and median; which CPU does what; what a new process keeps open.
 */
#ifndef BENCH_PLACE_H
#define BENCH_PLACE_H

#include <stddef.h>
#include <stdint.h>

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t bench_now(void);

/* The same of the CPU time that this thread has had: whoever else runs here does not count. */
uint64_t bench_cpu_now(void);

/* Sorts @values. */
double bench_median(double *values, size_t n);

/* The n-th CPU that this process may run on, counted around. */
int bench_cpu(unsigned n);

/* How many CPUs it may run on. */
unsigned bench_n_cpus(void);

/* Has the thread @tid, 0 for the caller, run on @cpu only; -1: on all that bench_cpu knows. */
int bench_pin(int tid, int cpu);

/*
 * For a new process that does not exec: @fds become BENCH_FIRST_FD and those after it, and no other
 * stays open, so that nobody waits for an end that we hold by accident. 0 or -errno.
 */
#define BENCH_FIRST_FD 3
int bench_keep_fds(const int *fds, unsigned n);

#endif
