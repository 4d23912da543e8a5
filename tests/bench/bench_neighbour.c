/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slowest grants of a tenant beside another one that is at all its limits: it sends requests
 * and asks for memory as fast as it may, from several processes. In turns with the same tenant
 * alone; everybody may run on every CPU, as they would.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench_client.h"
#include "bench_daemon.h"
#include "bench_place.h"
#include "bench_sides.h"
#include "gm_cleanup.h"
#include "gmem.pb-c.h"

#define MAX_RATIO 1.5
#define NS_PER_US 1000.0

#define GRANTS 2000
#define GRANT_SIZE (16 * GM_PAGE_4K)
#define JOB_SIZE (UINT64_C(64) * 1024 * 1024)
#define DEPTH 64
#define N_FLOODS 4

struct stage {
	struct bench_daemon daemon;
	struct bench_client client;
	uint64_t domain;
	pid_t floods[N_FLOODS];
};

/* ---- the neighbour */

static int flood_with_requests(struct bench_client *client)
{
	Gmem__PingRequest ping = GMEM__PING_REQUEST__INIT;
	struct bench_packet request, answer;
	unsigned n_under_way = 0;
	int r = 0;

	while (r == 0) {
		for (; n_under_way < DEPTH && r == 0; n_under_way++) {
			r = bench_request(client, GM_MSG_PING, &ping.base, &request);
			if (r == 0)
				r = bench_send(client->socket, &request);
		}
		if (r == 0)
			r = bench_receive(client->socket, &answer, 0, NULL);
		n_under_way--;
	}
	return r;
}

static int flood_with_jobs(struct bench_client *client)
{
	Gmem__AllocateRequest allocate = GMEM__ALLOCATE_REQUEST__INIT;
	Gmem__DiscardRequest discard = GMEM__DISCARD_REQUEST__INIT;
	Gmem__Range range = GMEM__RANGE__INIT;
	Gmem__Range *ranges[] = { &range };
	uint64_t domain, region = 0;
	int fd, r;

	r = bench_create_domain(client, "memfd", &domain);
	if (r == 0)
		r = bench_create_region(client, domain, 0, JOB_SIZE, GM_PAGE_4K, &region, &fd);
	range.has_offset = range.has_length = 1;
	range.length = JOB_SIZE;
	allocate.has_region = discard.has_region = 1;
	allocate.region = discard.region = region;
	allocate.ranges = discard.ranges = ranges;
	allocate.n_ranges = discard.n_ranges = 1;
	while (r == 0) {
		r = bench_call(client, GM_MSG_ALLOCATE, &allocate.base, NULL, NULL);
		if (r == 0)
			r = bench_call(client, GM_MSG_DISCARD, &discard.base, NULL, NULL);
	}
	return r;
}

/* Every other one asks for memory. Ends with us, and never by itself. */
static _Noreturn void become_flood(unsigned number, const char *path)
{
	struct bench_client client;
	int r;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	r = bench_client_open(&client, path);
	if (r == 0)
		r = number % 2 ? flood_with_jobs(&client) : flood_with_requests(&client);
	_exit(r == 0 ? 0 : 1);
}

static int start_floods(struct stage *stage)
{
	for (unsigned i = 0; i < N_FLOODS; i++) {
		stage->floods[i] = fork();
		if (stage->floods[i] < 0)
			return -errno;
		if (stage->floods[i] == 0)
			become_flood(i, stage->daemon.neighbour);
	}
	return 0;
}

/* -ECHILD: one has ended, so that there was no flood. */
static int signal_floods(const struct stage *stage, int signo)
{
	for (unsigned i = 0; i < N_FLOODS; i++)
		if (waitpid(stage->floods[i], NULL, WNOHANG) != 0 ||
		    kill(stage->floods[i], signo) < 0)
			return -ECHILD;
	return 0;
}

static void end_floods(const struct stage *stage)
{
	for (unsigned i = 0; i < N_FLOODS; i++) {
		if (stage->floods[i] <= 0)
			continue;
		(void)kill(stage->floods[i], SIGKILL);
		(void)waitpid(stage->floods[i], NULL, 0);
	}
}

/* ---- the tenant */

static int grant(struct stage *stage, double *ret_ns)
{
	struct bench_packet request, answer;
	_gm_close_ int fd = -1;
	const void *message;
	int r;

	r = bench_grant_request(&stage->client, stage->domain, 0, GRANT_SIZE, GM_PAGE_4K, &request);
	if (r == 0)
		r = bench_exchange(stage->client.socket, &request, &answer, &fd, ret_ns);
	if (r == 0)
		r = bench_answer(&stage->client, &answer, &message);
	if (r < 0)
		return r;
	return bench_destroy_region(&stage->client,
				    ((const Gmem__RegionCreateReply *)message)->region);
}

static int by_time(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int quiet_p99(void *arg, double *ret_ns)
{
	static double times[GRANTS];
	int r = 0;

	for (unsigned i = 0; i < GRANTS && r == 0; i++)
		r = grant(arg, &times[i]);
	qsort(times, GRANTS, sizeof(times[0]), by_time);
	*ret_ns = times[GRANTS / 100 * 99];
	return r;
}

static int loaded_p99(void *arg, double *ret_ns)
{
	/* What the neighbour may do at once after a quiet second is not its rate. */
	const struct timespec second = { .tv_sec = 1, .tv_nsec = 200000000 };
	const struct stage *stage = arg;
	int r = signal_floods(stage, SIGCONT);

	(void)nanosleep(&second, NULL);
	if (r == 0)
		r = quiet_p99(arg, ret_ns);
	return r == 0 ? signal_floods(stage, SIGSTOP) : r;
}

static int open_stage(struct stage *stage, const struct bench_options *options)
{
	int r = bench_daemon_start(options, -1, false, &stage->daemon);

	if (r == 0)
		r = bench_client_open(&stage->client, stage->daemon.socket);
	if (r == 0)
		r = bench_create_domain(&stage->client, "memfd", &stage->domain);
	if (r == 0)
		r = start_floods(stage);
	return r == 0 ? signal_floods(stage, SIGSTOP) : r;
}

static int close_stage(struct stage *stage)
{
	end_floods(stage);
	bench_client_close(&stage->client);
	return bench_daemon_stop(&stage->daemon);
}

int bench_neighbour(const struct bench_options *options, struct bench_report *report)
{
	struct stage stage = { .daemon = BENCH_DAEMON_NULL, .client = BENCH_CLIENT_NULL };
	struct bench_side sides[] = {
		{ .once = quiet_p99, .arg = &stage },
		{ .once = loaded_p99, .arg = &stage },
	};
	int r = open_stage(&stage, options), ended;

	if (r == 0)
		r = quiet_p99(&stage, &sides[0].median);
	if (r == 0)
		r = bench_sides(sides, 2, options->quick ? 3 : 15, 1);
	ended = close_stage(&stage);
	if (r == 0)
		r = ended;
	if (r < 0)
		return r;
	return bench_sides_report(report, "grant beside a neighbour at its limits, p99", &sides[1],
				  &sides[0], "us", NS_PER_US, MAX_RATIO);
}
