/* SPDX-License-Identifier: Apache-2.0 */
/* What gmemd takes when it has nothing to do, and when it has 10,000 regions in 1,000 domains. */
#include <errno.h>
#include <sys/resource.h>

#include "bench_client.h"
#include "bench_daemon.h"
#include "bench_place.h"
#include "bench_sides.h"
#include "gm_cleanup.h"
#include "gmem.pb-c.h"

#define N_DOMAINS 1000
#define REGIONS_PER_DOMAIN 10
#define N_REGIONS (N_DOMAINS * REGIONS_PER_DOMAIN)

/* gmemd keeps a quarter of its fds for other things than regions. */
#define FDS_NEEDED (N_REGIONS / 3 * 4 + 1000)

#define MAX_RATIO 1.25
#define MAX_IDLE_MIB 6.0
#define MAX_FULL_MIB 24.0
#define NS_PER_US 1000.0

static int report_resident(struct bench_report *report, const struct bench_daemon *daemon,
			   const char *figure, double limit)
{
	uint64_t bytes;
	int r = bench_resident_bytes(daemon->pid, &bytes);

	if (r < 0)
		return r;
	return bench_report_value(report, figure, (double)bytes / (double)GM_MIB, "MiB", limit);
}

int bench_idle(const struct bench_options *options, struct bench_report *report)
{
	struct bench_daemon daemon;
	int r = bench_daemon_start(options, -1, false, &daemon), ended;

	if (r == 0)
		r = report_resident(report, &daemon, "resident memory of an idle gmemd",
				    MAX_IDLE_MIB);
	ended = bench_daemon_stop(&daemon);
	return r == 0 ? ended : r;
}

/* A gmemd with some regions, and one client. */
struct place {
	struct bench_daemon daemon;
	struct bench_client client;
	uint64_t domain; /* the last one, of REGIONS_PER_DOMAIN regions */
};

static int fill_domain(struct place *place)
{
	int r = bench_create_domain(&place->client, "memfd", &place->domain);

	for (unsigned i = 0; i < REGIONS_PER_DOMAIN && r == 0; i++) {
		_gm_close_ int fd = -1;
		uint64_t region;

		r = bench_create_region(&place->client, place->domain, i * GM_PAGE_4K, GM_PAGE_4K,
					GM_PAGE_4K, &region, &fd);
	}
	return r;
}

static int open_place(struct place *place, const struct bench_options *options, unsigned n_domains)
{
	int r = bench_daemon_start(options, bench_cpu(0), false, &place->daemon);

	if (r == 0)
		r = bench_client_open(&place->client, place->daemon.socket);
	for (unsigned i = 0; i < n_domains && r == 0; i++)
		r = fill_domain(place);
	return r;
}

static int close_place(struct place *place)
{
	bench_client_close(&place->client);
	return bench_daemon_stop(&place->daemon);
}

static int grant(void *arg, double *ret_ns)
{
	struct bench_packet request, answer;
	struct place *place = arg;
	_gm_close_ int fd = -1;
	const void *message;
	int r;

	r = bench_grant_request(&place->client, place->domain, REGIONS_PER_DOMAIN * GM_PAGE_4K,
				GM_PAGE_4K, GM_PAGE_4K, &request);
	if (r == 0)
		r = bench_exchange(place->client.socket, &request, &answer, &fd, ret_ns);
	if (r == 0)
		r = bench_answer(&place->client, &answer, &message);
	if (r < 0)
		return r;
	return bench_destroy_region(&place->client,
				    ((const Gmem__RegionCreateReply *)message)->region);
}

static int measure(const struct bench_options *options, struct place *few, struct place *many,
		   struct bench_report *report)
{
	struct bench_side sides[] = {
		{ .once = grant, .arg = few },
		{ .once = grant, .arg = many },
	};
	int r;

	r = report_resident(report, &many->daemon,
			    "resident memory, 10,000 regions in 1,000 domains", MAX_FULL_MIB);
	if (r == 0)
		r = bench_pin(0, bench_cpu(0));
	if (r == 0)
		r = bench_sides(sides, 2, 5, 100);
	if (r == 0)
		r = bench_sides(sides, 2, options->quick ? 20 : 100, 100);
	(void)bench_pin(0, -1);
	if (r < 0)
		return r;
	return bench_sides_report(report, "grant with 10,000 regions (floor: with 10), p50",
				  &sides[1], &sides[0], "us", NS_PER_US, MAX_RATIO);
}

int bench_scale(const struct bench_options *options, struct bench_report *report)
{
	struct place few = { .daemon = BENCH_DAEMON_NULL, .client = BENCH_CLIENT_NULL };
	struct place many = few;
	struct rlimit fds;
	int r, few_ended, many_ended;

	if (getrlimit(RLIMIT_NOFILE, &fds) < 0 || fds.rlim_max < FDS_NEEDED)
		return bench_report_skip(report, "10,000 regions in 1,000 domains",
					 "the hard limit of open files is too low");
	r = open_place(&few, options, 1);
	if (r == 0)
		r = open_place(&many, options, N_DOMAINS);
	if (r == 0)
		r = measure(options, &few, &many, report);
	few_ended = close_place(&few);
	many_ended = close_place(&many);
	if (r == 0)
		r = few_ended;
	return r == 0 ? many_ended : r;
}
