/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request at a time, client and server on one CPU: PING, and the grant of a region. The
 * smallest memory, as its size costs nothing.
 */
#include <errno.h>
#include <string.h>

#include "bench_client.h"
#include "bench_daemon.h"
#include "bench_floor.h"
#include "bench_place.h"
#include "bench_sides.h"
#include "gm_cleanup.h"
#include "gmem.h"
#include "gmem.pb-c.h"

#define MAX_PING 1.5
#define MAX_GRANT 2.0
#define NS_PER_US 1000.0

/* Makes the packet 64 bytes long, both ways. */
#define PING_PAYLOAD 46

struct stage {
	struct bench_daemon daemon;
	struct bench_client client;
	struct bench_floor floor;
	struct bench_packet request; /* of the floor */
	gmem_client *library;
	gmem_domain *library_domain;
	uint64_t domain;
	uint64_t gpa;
};

static int daemon_ping(void *arg, double *ret_ns)
{
	static uint8_t payload[PING_PAYLOAD];
	Gmem__PingRequest ping = GMEM__PING_REQUEST__INIT;
	struct bench_packet request, answer;
	struct stage *stage = arg;
	const void *message;
	int r;

	ping.has_payload = 1;
	ping.payload.data = payload;
	ping.payload.len = sizeof(payload);
	r = bench_request(&stage->client, GM_MSG_PING, &ping.base, &request);
	if (r == 0)
		r = bench_exchange(stage->client.socket, &request, &answer, NULL, ret_ns);
	return r == 0 ? bench_answer(&stage->client, &answer, &message) : r;
}

static int library_ping(void *arg, double *ret_ns)
{
	struct stage *stage = arg;
	uint64_t start = bench_now();
	int status = gmem_ping(stage->library);

	*ret_ns = (double)(bench_now() - start);
	return status == GMEM_OK ? 0 : -EREMOTEIO;
}

static int floor_ping(void *arg, double *ret_ns)
{
	struct stage *stage = arg;
	struct bench_packet answer;

	return bench_exchange(stage->floor.sockets[0], &stage->request, &answer, NULL, ret_ns);
}

/* The grant is timed, giving it back is not. */
static int daemon_grant(void *arg, double *ret_ns)
{
	struct bench_packet request, answer;
	struct stage *stage = arg;
	_gm_close_ int fd = -1;
	const void *message;
	int r;

	r = bench_grant_request(&stage->client, stage->domain, stage->gpa, GM_MIB, GM_PAGE_4K,
				&request);
	if (r == 0)
		r = bench_exchange(stage->client.socket, &request, &answer, &fd, ret_ns);
	if (r == 0)
		r = bench_answer(&stage->client, &answer, &message);
	if (r < 0)
		return r;
	return bench_destroy_region(&stage->client,
				    ((const Gmem__RegionCreateReply *)message)->region);
}

static int library_grant(void *arg, double *ret_ns)
{
	const struct gmem_region_spec spec = { .size = GM_MIB, .page_size = GM_PAGE_4K };
	struct stage *stage = arg;
	gmem_region *region;
	uint64_t start = bench_now();
	int status = gmem_region_create(stage->library_domain, &spec, &region);

	*ret_ns = (double)(bench_now() - start);
	if (status == GMEM_OK)
		status = gmem_region_destroy(region);
	return status == GMEM_OK ? 0 : -EREMOTEIO;
}

static int floor_grant(void *arg, double *ret_ns)
{
	struct stage *stage = arg;
	struct bench_packet answer;
	_gm_close_ int fd = -1;
	int r;

	r = bench_exchange(stage->floor.sockets[0], &stage->request, &answer, &fd, ret_ns);
	return r == 0 ? bench_floor_let_go(&stage->floor) : r;
}

static int open_daemon(struct stage *stage, const struct bench_options *options, int cpu)
{
	int r;

	r = bench_daemon_start(options, &stage->daemon);
	if (r == 0)
		r = bench_pin(stage->daemon.pid, cpu);
	if (r == 0)
		r = bench_client_open(&stage->client, stage->daemon.socket);
	return r == 0 ? bench_create_domain(&stage->client, "memfd", &stage->domain) : r;
}

static int open_library(struct stage *stage)
{
	const struct gmem_domain_spec spec = { .kind = "memfd" };

	if (gmem_connect(stage->daemon.socket, NULL, &stage->library) < 0)
		return -ECONNREFUSED;
	return gmem_domain_create(stage->library, &spec, &stage->library_domain) < 0 ? -EREMOTEIO
										     : 0;
}

static int open_stage(struct stage *stage, const struct bench_options *options)
{
	int cpu = bench_cpu(0);
	const struct bench_floor_spec spec = {
		.n_clients = 1,
		.cpu = cpu,
		.region_size = GM_MIB,
		.answer_length = GM_FRAME_HEADER_SIZE + 17, /* of gmemd's answer to a grant */
	};
	int r;

	*stage = (struct stage){ .daemon = BENCH_DAEMON_NULL, .client = BENCH_CLIENT_NULL };
	r = open_daemon(stage, options, cpu);
	if (r == 0)
		r = open_library(stage);
	if (r == 0)
		r = bench_floor_start(&spec, &stage->floor);
	return r == 0 ? bench_pin(0, cpu) : r;
}

static int close_stage(struct stage *stage)
{
	(void)bench_pin(0, -1);
	gmem_disconnect(stage->library);
	bench_client_close(&stage->client);
	bench_floor_stop(&stage->floor);
	return bench_daemon_stop(&stage->daemon);
}

/* @sides: the floor, raw packets, the library. */
static int measure(const struct bench_options *options, struct bench_side sides[3])
{
	unsigned rounds = options->quick ? 20 : 100;
	int r;

	/* Caches, heaps and fd tables as they are in a process that has run for a while. */
	r = bench_sides(sides, 3, 5, 100);
	return r == 0 ? bench_sides(sides, 3, rounds, 100) : r;
}

static int report(struct bench_report *report, const struct bench_side sides[3], const char *figure,
		  double limit, const char *library_figure)
{
	int r;

	r = bench_sides_report(report, figure, &sides[1], &sides[0], "us", NS_PER_US, limit);
	return r == 0 ? bench_sides_report(report, library_figure, &sides[2], &sides[0], "us",
					   NS_PER_US, BENCH_NO_LIMIT)
		      : r;
}

int bench_ping(const struct bench_options *options, struct bench_report *rows)
{
	struct stage stage;
	struct bench_side sides[] = {
		{ .once = floor_ping, .arg = &stage },
		{ .once = daemon_ping, .arg = &stage },
		{ .once = library_ping, .arg = &stage },
	};
	int r = open_stage(&stage, options), ended;

	bench_floor_request(BENCH_FLOOR_PING, GM_FRAME_HEADER_SIZE + 2 + PING_PAYLOAD,
			    &stage.request);
	if (r == 0)
		r = measure(options, sides);
	ended = close_stage(&stage);
	if (r == 0)
		r = ended;
	return r == 0 ? report(rows, sides, "PING, p50, same CPU", MAX_PING,
			       "PING through libgmem, p50, same CPU")
		      : r;
}

int bench_grant(const struct bench_options *options, struct bench_report *rows)
{
	struct stage stage;
	struct bench_side sides[] = {
		{ .once = floor_grant, .arg = &stage },
		{ .once = daemon_grant, .arg = &stage },
		{ .once = library_grant, .arg = &stage },
	};
	struct bench_packet model;
	int r = open_stage(&stage, options), ended;

	if (r == 0)
		r = bench_grant_request(&stage.client, stage.domain, 0, GM_MIB, GM_PAGE_4K, &model);
	if (r == 0) {
		bench_floor_request(BENCH_FLOOR_GRANT, model.length, &stage.request);
		r = measure(options, sides);
	}
	ended = close_stage(&stage);
	if (r == 0)
		r = ended;
	return r == 0 ? report(rows, sides, "grant of a region, p50, same CPU", MAX_GRANT,
			       "grant through libgmem, p50, same CPU")
		      : r;
}
