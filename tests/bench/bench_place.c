/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_place.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Where fds are kept while room is made for them below. */
#define SAFE_FD 512

static uint64_t nanoseconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t bench_now(void)
{
	return nanoseconds(CLOCK_MONOTONIC);
}

uint64_t bench_cpu_now(void)
{
	return nanoseconds(CLOCK_THREAD_CPUTIME_ID);
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(double *values, size_t n)
{
	qsort(values, n, sizeof(values[0]), compare_doubles);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* As it was at the first call, before anything was pinned. */
static const cpu_set_t *all_cpus(void)
{
	static cpu_set_t set;

	if (CPU_COUNT(&set) == 0 && sched_getaffinity(0, sizeof(set), &set) < 0)
		CPU_SET(0, &set);
	return &set;
}

unsigned bench_n_cpus(void)
{
	return (unsigned)CPU_COUNT(all_cpus());
}

int bench_cpu(unsigned n)
{
	const cpu_set_t *set = all_cpus();

	n %= bench_n_cpus();
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, set) && n-- == 0)
			return cpu;
	}
	return 0;
}

int bench_pin(int tid, int cpu)
{
	cpu_set_t set = *all_cpus();

	if (cpu >= 0) {
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
	}
	return sched_setaffinity(tid, sizeof(set), &set) < 0 ? -errno : 0;
}

int bench_keep_fds(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (fcntl(fds[i], F_DUPFD, SAFE_FD) != SAFE_FD + (int)i)
			return -EMFILE;
	if (close_range(BENCH_FIRST_FD, SAFE_FD - 1, 0) < 0)
		return -errno;
	for (unsigned i = 0; i < n; i++)
		if (dup2(SAFE_FD + (int)i, BENCH_FIRST_FD + (int)i) < 0)
			return -errno;
	return close_range(BENCH_FIRST_FD + n, ~0U, 0) < 0 ? -errno : 0;
}
