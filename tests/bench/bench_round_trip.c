/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request at a time, client and server on one CPU: PING, and the grant of a region. The
 * smallest memory: its size costs nothing, and larger ones are freed by a process of gmemd that
 * would be in the way.
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

/* A gmemd and a client of raw packets. */
struct server {
	struct bench_daemon daemon;
	struct bench_client client;
	uint64_t domain;
};

#define SERVER_NULL ((struct server){ .daemon = BENCH_DAEMON_NULL, .client = BENCH_CLIENT_NULL })

struct stage {
	struct server plain;
	struct server kept; /* one that survives its own death, for the grants */
	struct bench_floor floor;
	struct bench_packet request; /* of the floor */
	gmem_client *library;
	gmem_domain *library_domain;
};

static int daemon_ping(void *arg, double *ret_ns)
{
	static uint8_t payload[PING_PAYLOAD];
	Gmem__PingRequest ping = GMEM__PING_REQUEST__INIT;
	struct bench_packet request, answer;
	struct server *server = arg;
	const void *message;
	int r;

	ping.has_payload = 1;
	ping.payload.data = payload;
	ping.payload.len = sizeof(payload);
	r = bench_request(&server->client, GM_MSG_PING, &ping.base, &request);
	if (r == 0)
		r = bench_exchange(server->client.socket, &request, &answer, NULL, ret_ns);
	return r == 0 ? bench_answer(&server->client, &answer, &message) : r;
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
	struct server *server = arg;
	_gm_close_ int fd = -1;
	const void *message;
	int r;

	r = bench_grant_request(&server->client, server->domain, 0, GM_PAGE_4K, GM_PAGE_4K,
				&request);
	if (r == 0)
		r = bench_exchange(server->client.socket, &request, &answer, &fd, ret_ns);
	if (r == 0)
		r = bench_answer(&server->client, &answer, &message);
	if (r < 0)
		return r;
	return bench_destroy_region(&server->client,
				    ((const Gmem__RegionCreateReply *)message)->region);
}

static int library_grant(void *arg, double *ret_ns)
{
	const struct gmem_region_spec spec = { .size = GM_PAGE_4K, .page_size = GM_PAGE_4K };
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

static int open_server(struct server *server, const struct bench_options *options, bool kept)
{
	int r = bench_daemon_start(options, bench_cpu(0), kept, &server->daemon);

	if (r == 0)
		r = bench_client_open(&server->client, server->daemon.socket);
	return r == 0 ? bench_create_domain(&server->client, "memfd", &server->domain) : r;
}

static int close_server(struct server *server)
{
	bench_client_close(&server->client);
	return bench_daemon_stop(&server->daemon);
}

static int open_library(struct stage *stage)
{
	const struct gmem_domain_spec spec = { .kind = "memfd" };

	if (gmem_connect(stage->plain.daemon.socket, NULL, &stage->library) < 0)
		return -ECONNREFUSED;
	return gmem_domain_create(stage->library, &spec, &stage->library_domain) < 0 ? -EREMOTEIO
										     : 0;
}

static int open_stage(struct stage *stage, const struct bench_options *options)
{
	const struct bench_floor_spec spec = {
		.n_clients = 1,
		.cpu = bench_cpu(0),
		.region_size = GM_PAGE_4K,
		.answer_length = GM_FRAME_HEADER_SIZE + 17, /* of gmemd's answer to a grant */
	};
	int r;

	*stage = (struct stage){ .plain = SERVER_NULL, .kept = SERVER_NULL };
	r = open_server(&stage->plain, options, false);
	if (r == 0)
		r = open_library(stage);
	if (r == 0)
		r = bench_floor_start(&spec, &stage->floor);
	return r == 0 ? bench_pin(0, bench_cpu(0)) : r;
}

/* @r: what has happened so far. */
static int close_stage(struct stage *stage, int r)
{
	int ended[2];

	(void)bench_pin(0, -1);
	gmem_disconnect(stage->library);
	bench_floor_stop(&stage->floor);
	ended[0] = close_server(&stage->plain);
	ended[1] = close_server(&stage->kept);
	if (r == 0)
		r = ended[0];
	return r == 0 ? ended[1] : r;
}

static int measure(const struct bench_options *options, struct bench_side *sides, size_t n_sides)
{
	unsigned rounds = options->quick ? 20 : 100;
	int r;

	/* Caches, heaps and fd tables as they are in a process that has run for a while. */
	r = bench_sides(sides, n_sides, 5, 100);
	return r == 0 ? bench_sides(sides, n_sides, rounds, 100) : r;
}

/* Rows of all @sides but the first, which is the floor. Only the second has a limit. */
static int report(struct bench_report *report, const struct bench_side *sides, size_t n_sides,
		  const char *const *figures, double limit)
{
	int r = 0;

	for (size_t i = 1; i < n_sides && r == 0; i++)
		r = bench_sides_report(report, figures[i], &sides[i], &sides[0], "us", NS_PER_US,
				       i == 1 ? limit : BENCH_NO_LIMIT);
	return r;
}

int bench_ping(const struct bench_options *options, struct bench_report *rows)
{
	static const char *const figures[] = {
		"floor",
		"PING, p50, same CPU",
		"PING through libgmem, p50, same CPU",
	};
	struct stage stage;
	struct bench_side sides[] = {
		{ .once = floor_ping, .arg = &stage },
		{ .once = daemon_ping, .arg = &stage.plain },
		{ .once = library_ping, .arg = &stage },
	};
	int r = open_stage(&stage, options);

	bench_floor_request(BENCH_FLOOR_PING, GM_FRAME_HEADER_SIZE + 2 + PING_PAYLOAD,
			    &stage.request);
	if (r == 0)
		r = measure(options, sides, GM_ARRAY_SIZE(sides));
	r = close_stage(&stage, r);
	return r == 0 ? report(rows, sides, GM_ARRAY_SIZE(sides), figures, MAX_PING) : r;
}

int bench_grant(const struct bench_options *options, struct bench_report *rows)
{
	static const char *const figures[] = {
		"floor",
		"grant of a region, p50, same CPU",
		"grant through libgmem, p50, same CPU",
		"grant under gmemd --keep, p50, same CPU",
	};
	struct stage stage;
	struct bench_side sides[] = {
		{ .once = floor_grant, .arg = &stage },
		{ .once = daemon_grant, .arg = &stage.plain },
		{ .once = library_grant, .arg = &stage },
		{ .once = daemon_grant, .arg = &stage.kept },
	};
	struct bench_packet model;
	int r = open_stage(&stage, options);

	if (r == 0)
		r = open_server(&stage.kept, options, true);
	if (r == 0)
		r = bench_grant_request(&stage.plain.client, stage.plain.domain, 0, GM_PAGE_4K,
					GM_PAGE_4K, &model);
	if (r == 0) {
		bench_floor_request(BENCH_FLOOR_GRANT, model.length, &stage.request);
		r = measure(options, sides, GM_ARRAY_SIZE(sides));
	}
	r = close_stage(&stage, r);
	return r == 0 ? report(rows, sides, GM_ARRAY_SIZE(sides), figures, MAX_GRANT) : r;
}
