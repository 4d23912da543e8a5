/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a client waits when gmemd is killed: from the SIGKILL to the answer to a request that
 * was asked right after it, with few regions and with many. The keeper's own work is part of it, a
 * wait of the keeper is not (--restart-max 0).
 *
 * Fails when a median is over its limit, or when something is not back.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench_report.h"
#include "gm_fd.h"
#include "gmem.h"
#include "storm_host.h"
#include "storm_link.h"

#define TURNS 15
#define REGION_SIZE (UINT64_C(1) << 20)
#define START_US UINT64_C(10000000)

static const char policy[] = "[X-Gmemd]\n"
			     "MemoryMax=100%\n"
			     "RegionMax=100%\n"
			     "DomainsMax=4000\n"
			     "RegionsMax=20000\n";

struct place {
	struct storm_keeper keeper;
	struct storm_link link;
	struct storm_client client;
	struct storm_rng rng;
	char socket[96];
	char admin[96];
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* gmemd keeps a quarter of its fds for other things than regions. */
static bool raise_fd_limit(unsigned n_regions)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return false;
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &limit) == 0 &&
	       limit.rlim_cur >= (uint64_t)n_regions / 3 * 4 + 1000;
}

static bool start(struct place *place, const char *gmemd)
{
	char listen[128];
	const char *const args[] = {
		"gmemd",       "--keep",     "--restart-max", "0",
		"--log-level", "warning",    "--policy",      place->keeper.policy,
		"--admin",     place->admin, "--listen",      listen,
		NULL
	};
	uint64_t until_us = storm_now_us() + START_US;

	if (storm_keeper_prepare(&place->keeper, policy) < 0)
		return false;
	(void)snprintf(place->socket, sizeof(place->socket), "%s/socket", place->keeper.folder);
	(void)snprintf(place->admin, sizeof(place->admin), "%s/admin", place->keeper.folder);
	(void)snprintf(listen, sizeof(listen), "bench=%s", place->socket);
	if (storm_keeper_start(&place->keeper, gmemd, args) < 0)
		return false;
	while (access(place->socket, F_OK) < 0 && storm_now_us() < until_us)
		storm_nap_us(1000);
	place->link = (struct storm_link){ .path = place->socket,
					   .client = &place->client,
					   .rng = &place->rng };
	return storm_raw_link(&place->link) && place->link.ops->open(&place->link);
}

static bool run(struct place *place, struct storm_op *op)
{
	if (!place->link.ops->run(&place->link, op, 1))
		return false;
	if (op->status == 0)
		return true;
	storm_fail("a request was refused: %s", op->refusal);
	return false;
}

static bool fill(struct place *place, unsigned n_domains, unsigned n_regions)
{
	static struct storm_domain domain;
	static struct storm_region region = { .size = REGION_SIZE };

	for (unsigned i = 0; i < n_domains; i++) {
		struct storm_op create = { .verb = STORM_DOMAIN_CREATE, .domain = &domain };

		(void)snprintf(domain.name, sizeof(domain.name), "d%u", i);
		if (!run(place, &create))
			return false;
		domain.id = create.id;
		for (unsigned j = 0; j < n_regions; j++) {
			struct storm_op make = { .verb = STORM_REGION_CREATE,
						 .domain = &domain,
						 .region = &region };

			region.gpa = j * REGION_SIZE;
			if (!run(place, &make))
				return false;
			gm_fd_close(make.fd);
		}
	}
	return true;
}

static int count_region(void *arg, const struct gmem_region_info *info)
{
	(void)info;
	++*(unsigned *)arg;
	return 0;
}

static bool all_are_there(const struct place *place, unsigned n_regions)
{
	gmem_client *client;
	unsigned n = 0;
	int r;

	if (gmem_connect(place->admin, NULL, &client) < 0)
		return false;
	r = gmem_list_regions(client, 0, count_region, &n);
	gmem_disconnect(client);
	if (r == 0 && n == n_regions)
		return true;
	storm_fail("%u regions are back of %u", n, n_regions);
	return false;
}

static bool kill_once(struct place *place, double *ret_ms)
{
	struct storm_op ping = { .verb = STORM_PING };
	pid_t pid = storm_keeper_wait_child(&place->keeper, -1);
	uint64_t began_us = storm_now_us();

	if (pid == 0 || kill(pid, SIGKILL) < 0 || !run(place, &ping))
		return false;
	*ret_ms = (double)(storm_now_us() - began_us) / 1000;
	return true;
}

static bool measure(struct place *place, double *ret_ms)
{
	double ms[TURNS];

	for (unsigned i = 0; i < TURNS; i++)
		if (!kill_once(place, &ms[i]))
			return false;
	qsort(ms, TURNS, sizeof(ms[0]), compare);
	*ret_ms = ms[TURNS / 2];
	return true;
}

static bool measure_with(struct bench_report *report, const char *gmemd, unsigned n_domains,
			 unsigned n_regions, double limit)
{
	static struct place place;
	unsigned total = n_domains * n_regions;
	char figure[64];
	double ms;
	bool good;

	(void)snprintf(figure, sizeof(figure), "from SIGKILL to an answer: %u regions", total);
	if (!raise_fd_limit(total))
		return bench_report_skip(report, figure, "RLIMIT_NOFILE is too low") == 0;
	place = (struct place){ 0 };
	good = start(&place, gmemd) && fill(&place, n_domains, n_regions) && measure(&place, &ms) &&
	       all_are_there(&place, total) &&
	       bench_report_value(report, figure, ms, "ms", limit) == 0;
	if (place.link.ops)
		place.link.ops->close(&place.link);
	if (storm_keeper_stop(&place.keeper) != 0) {
		storm_fail("gmemd did not end well");
		good = false;
	}
	storm_keeper_clear(&place.keeper, !good);
	if (!good)
		fprintf(stderr, "restart-time: %s; the log: %s\n", storm->fault, place.keeper.log);
	return good;
}

int main(int argc, char **argv)
{
	struct bench_report report = { 0 };
	bool good;

	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "Usage: restart-time GMEMD\n");
		return 2;
	}
	storm = mmap(NULL, sizeof(*storm), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (storm == MAP_FAILED)
		return 1;
	(void)signal(SIGPIPE, SIG_IGN);
	good = measure_with(&report, argv[1], 1, 10, 50) &&
	       measure_with(&report, argv[1], 1000, 10, 250);
	bench_report_print(&report, stdout);
	good = good && bench_report_missed(&report, 0) == 0;
	bench_report_done(&report);
	return good ? 0 : 1;
}
