/* SPDX-License-Identifier: Apache-2.0 */
/* What gmemd costs, beside what the kernel alone costs. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "gm_num.h"

#define EXIT_USAGE 2
#define EXIT_SKIP 77

static const struct part {
	const char *name;
	int (*run)(const struct bench_options *options, struct bench_report *report);
} parts[] = {
	{ "grant", bench_grant },	  { "ping", bench_ping },
	{ "rate", bench_rate },		  { "scale", bench_scale },
	{ "idle", bench_idle },		  { "allocate", bench_allocate },
	{ "neighbour", bench_neighbour }, { "record", bench_store },
	{ "measure", bench_measure },	  { "convert", bench_convert },
	{ "launch", bench_launch },	  { "page-map", bench_page_map },
};

static const char help[] =
	"Usage: gmem-bench [OPTION]... [GMEMD]\n"
	"Measures GMEMD (../../bin/gmemd beside this program) beside the floor of each figure:\n"
	"the same work done bare, in turns with it. Exits with 1 when a gate is missed.\n"
	"\n"
	"  --only NAME  one part: grant, ping, rate, scale, idle, allocate, neighbour, record,\n"
	"               measure, convert, launch or page-map\n"
	"  --quick      fewer rounds; times that miss a gate are shown, but only memory and the "
	"p50 of\n"
	"               a conversion decide:\n"
	"               a part where it misses is run a second time, which counts\n"
	"  --json       the rows as JSON\n"
	"  --help\n";

struct run {
	struct bench_options options;
	const char *only;
	bool json;
	char gmemd[4096];
};

static bool is_wanted(const struct run *run, const struct part *part)
{
	return !run->only || strcmp(run->only, part->name) == 0;
}

/* A few rounds on a host that others use say nothing certain about most times. */
static size_t decisive_misses(const struct bench_report *report, size_t first, bool quick)
{
	size_t n = 0;

	for (size_t i = first; i < report->n_rows; i++)
		n += !report->rows[i].ok &&
		     (!quick || report->rows[i].decides || bench_row_is_memory(&report->rows[i]));
	return n;
}

/* On a host that others use, one miss of a short measurement may be theirs. */
static int run_part(const struct run *run, const struct part *part, struct bench_report *report)
{
	size_t first = report->n_rows;
	int r = part->run(&run->options, report);

	if (r == 0 && run->options.quick && decisive_misses(report, first, true) > 0) {
		report->n_rows = first;
		r = part->run(&run->options, report);
	}
	if (r < 0)
		fprintf(stderr, "gmem-bench: %s: %s\n", part->name, strerror(-r));
	return r;
}

static int run_parts(const struct run *run)
{
	struct bench_report report = { 0 };
	bool failed = false;

	for (size_t i = 0; i < GM_ARRAY_SIZE(parts); i++)
		if (is_wanted(run, &parts[i]) && run_part(run, &parts[i], &report) < 0)
			failed = true;
	if (run->json)
		bench_report_print_json(&report, stdout);
	else
		bench_report_print(&report, stdout);
	failed = failed || decisive_misses(&report, 0, run->options.quick) > 0;
	bench_report_done(&report);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int find_gmemd(struct run *run)
{
	static const char beside[] = "../../bin/gmemd";
	ssize_t n = readlink("/proc/self/exe", run->gmemd, sizeof(run->gmemd) - sizeof(beside));
	char *slash;

	if (n < 0)
		return -errno;
	run->gmemd[n] = '\0';
	slash = strrchr(run->gmemd, '/');
	if (!slash)
		return -ENOENT;
	memcpy(slash + 1, beside, sizeof(beside));
	run->options.gmemd = run->gmemd;
	return 0;
}

static bool is_part(const char *name)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(parts); i++)
		if (strcmp(parts[i].name, name) == 0)
			return true;
	return false;
}

/* True: go on; else *ret_status is the exit's. */
static bool read_options(int argc, char **argv, struct run *run, int *ret_status)
{
	static const struct option options[] = {
		{ "only", required_argument, NULL, 'o' },
		{ "quick", no_argument, NULL, 'q' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	*ret_status = EXIT_USAGE;
	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (c == 'o')
			run->only = optarg;
		else if (c == 'q')
			run->options.quick = true;
		else if (c == 'j')
			run->json = true;
		else if (c == 'h')
			*ret_status = fputs(help, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
		if (c == 'h' || c == '?')
			return false;
	}
	if (run->only && !is_part(run->only))
		fprintf(stderr, "gmem-bench: no part \"%s\", see --help\n", run->only);
	else if (argc - optind > 1)
		fprintf(stderr, "gmem-bench: more than one GMEMD, see --help\n");
	else
		*ret_status = EXIT_SUCCESS;
	if (optind < argc)
		run->options.gmemd = argv[optind];
	return *ret_status == EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static struct run run;
	int status;

	if (!read_options(argc, argv, &run, &status))
		return status;
#if !defined(__OPTIMIZE__) || defined(GMEMD_SANITIZED)
	puts("skipped: a build without optimisation, or with sanitizers, says nothing about cost");
	return EXIT_SKIP;
#endif
	if (!run.options.gmemd && find_gmemd(&run) < 0) {
		fprintf(stderr, "gmem-bench: /proc/self/exe does not tell where gmemd is\n");
		return EXIT_FAILURE;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	return run_parts(&run);
}
