/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What gmemd adds to a launch, on the platform model: by t_launch_overhead, a program of its own
 * because the model has to be preloaded. The model does not hash, so gmemd's hashing, which is
 * measured bare in the same rounds, is taken off; a second row has it.
 */
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_daemon.h"
#include "gm_cleanup.h"

#define ROUNDS 25u
#define QUICK_ROUNDS 5u
#define LIMIT 1.2
#define FIGURE "launch: 64 MiB in 2 MiB populates, less hashing"

struct launch_bench {
	char build[200]; /* what gmemd was built in */
	char machine[64];
	char folder[80];
	double bare[ROUNDS], served[ROUNDS], hashed[ROUNDS];
	unsigned n;
};

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median_of(const double *values, unsigned n)
{
	double sorted[ROUNDS];

	memcpy(sorted, values, n * sizeof(*values));
	qsort(sorted, n, sizeof(*sorted), by_value);
	return sorted[n / 2];
}

static int run(const char *command)
{
	return system(command) == 0 ? 0 : -ECHILD;
}

static int platform(const struct launch_bench *bench, const char *verb, const char *more)
{
	char command[400];

	(void)snprintf(command, sizeof(command), "%s/bin/gm-platform %s %s %s", bench->build, verb,
		       bench->machine, more);
	return run(command);
}

static int read_rounds(struct launch_bench *bench, const char *socket, unsigned rounds)
{
	char command[400];
	FILE *from;

	(void)snprintf(command, sizeof(command), "%s/tests/t_launch_overhead %s %u", bench->build,
		       socket, rounds);
	from = popen(command, "re");
	if (!from)
		return -errno;
	while (bench->n < rounds && fscanf(from, "%lf %lf %lf", &bench->bare[bench->n],
					   &bench->served[bench->n], &bench->hashed[bench->n]) == 3)
		bench->n++;
	return pclose(from) == 0 && bench->n == rounds ? 0 : -ECHILD;
}

static int measure(const struct bench_options *options, struct launch_bench *bench)
{
	struct bench_options own = *options;
	struct bench_daemon daemon = BENCH_DAEMON_NULL;
	int r, end;

	own.cgroup_root = bench->folder;
	r = bench_daemon_start(&own, /* cpu= */ -1, /* kept= */ false, &daemon);
	if (r == 0)
		r = read_rounds(bench, daemon.socket, options->quick ? QUICK_ROUNDS : ROUNDS);
	end = bench_daemon_stop(&daemon);
	return r ? r : end;
}

static int report_rounds(const struct launch_bench *bench, struct bench_report *report)
{
	double net[ROUNDS], net_ratio[ROUNDS], ratio[ROUNDS], floor;
	int r;

	for (unsigned i = 0; i < bench->n; i++) {
		net[i] = bench->served[i] - bench->hashed[i];
		net_ratio[i] = net[i] / bench->bare[i];
		ratio[i] = bench->served[i] / bench->bare[i];
	}
	floor = median_of(bench->bare, bench->n);
	r = bench_report_ratio(report, FIGURE, median_of(net, bench->n), floor, "ms",
			       median_of(net_ratio, bench->n), LIMIT);
	if (r == 0)
		r = bench_report_ratio(report, "the same with types and addresses hashed",
				       median_of(bench->served, bench->n), floor, "ms",
				       median_of(ratio, bench->n), BENCH_NO_LIMIT);
	return r;
}

/* The environment of whoever runs on the model. */
static int on_machine(const struct bench_options *options, struct launch_bench *bench)
{
	char library[256];
	int r;

	(void)snprintf(library, sizeof(library), "%s/lib/libgm_platform.so", bench->build);
	(void)setenv("GM_PLATFORM", bench->machine, 1);
	(void)setenv("GM_PLATFORM_CONFINED", "1", 1);
	(void)setenv("LD_PRELOAD", library, 1);
	r = measure(options, bench);
	(void)unsetenv("LD_PRELOAD");
	(void)unsetenv("GM_PLATFORM_CONFINED");
	(void)unsetenv("GM_PLATFORM");
	return r;
}

int bench_launch(const struct bench_options *options, struct bench_report *report)
{
	struct launch_bench bench = { .n = 0 };
	const char *bin = strstr(options->gmemd, "/bin/gmemd");
	char library[256];
	int r;

	if (bin)
		(void)snprintf(bench.build, sizeof(bench.build), "%.*s",
			       (int)(bin - options->gmemd), options->gmemd);
	(void)snprintf(library, sizeof(library), "%s/lib/libgm_platform.so", bench.build);
	if (!bin || access(library, R_OK) < 0)
		return bench_report_skip(report, FIGURE,
					 "this gmemd has no platform model beside it");
	(void)snprintf(bench.machine, sizeof(bench.machine), "/tmp/gmem-bench-machine.%d",
		       (int)getpid());
	(void)snprintf(bench.folder, sizeof(bench.folder), "%s.d", bench.machine);
	r = platform(&bench, "new", "7.0 hash=0 sev-es-asids=64");
	if (r == 0)
		r = on_machine(options, &bench);
	if (r == 0)
		r = report_rounds(&bench, report);
	(void)!platform(&bench, "remove", "");
	return r;
}
