/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grants per second for 16 clients that keep 16 requests each under way. The server has a CPU and
 * the clients have another, where there are two.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "bench_client.h"
#include "bench_daemon.h"
#include "bench_floor.h"
#include "bench_place.h"
#include "bench_sides.h"
#include "gm_cleanup.h"

#define N_CLIENTS BENCH_FLOOR_CLIENTS_MAX
#define DEPTH 16
#define PER_CLIENT 128
#define MAX_RATIO 1.5
#define NS_PER_S 1e9

_Static_assert(PER_CLIENT % DEPTH == 0, "the last window is full");

struct stage {
	struct bench_daemon daemon;
	struct bench_floor floor;
	struct bench_client clients[N_CLIENTS];
	struct bench_packet requests[N_CLIENTS][PER_CLIENT];
};

/* One client of a run: what it has sent, and what it has got. */
struct flow {
	int socket;
	const struct bench_packet *requests;
	unsigned n_sent;
	unsigned n_got;
};

static int flow_send(struct flow *flow)
{
	while (flow->n_sent < PER_CLIENT && flow->n_sent - flow->n_got < DEPTH) {
		int r = bench_send(flow->socket, &flow->requests[flow->n_sent]);

		if (r < 0)
			return r;
		flow->n_sent++;
	}
	return 0;
}

static bool is_refused(const struct bench_packet *answer)
{
	struct gm_frame frame;

	return gm_frame_decode(answer->bytes, answer->length, &frame) != GM_FRAME_GOOD ||
	       (frame.flags & GM_FRAME_REFUSED) != 0;
}

/* Takes what is there, and asks for as much again. */
static int flow_turn(struct flow *flow, bool is_daemon)
{
	while (flow->n_got < flow->n_sent) {
		struct bench_packet answer;
		_gm_close_ int fd = -1;
		int r = bench_receive(flow->socket, &answer, MSG_DONTWAIT, &fd);

		if (r == -EAGAIN)
			break;
		if (r < 0)
			return r;
		if (fd < 0 || (is_daemon && is_refused(&answer)))
			return -EREMOTEIO;
		flow->n_got++;
	}
	return flow_send(flow);
}

static int run_flows(struct flow flows[N_CLIENTS], bool is_daemon)
{
	struct pollfd fds[N_CLIENTS];
	unsigned n_done = 0;
	int r = 0;

	for (unsigned i = 0; i < N_CLIENTS && r == 0; i++) {
		fds[i] = (struct pollfd){ .fd = flows[i].socket, .events = POLLIN };
		r = flow_send(&flows[i]);
	}
	while (n_done < N_CLIENTS && r == 0) {
		if (poll(fds, N_CLIENTS, -1) < 0)
			return -errno;
		for (unsigned i = 0; i < N_CLIENTS && r == 0; i++) {
			if (!fds[i].revents)
				continue;
			r = flow_turn(&flows[i], is_daemon);
			if (flows[i].n_got == PER_CLIENT) {
				fds[i].fd = -1;
				n_done++;
			}
		}
	}
	return r;
}

static int run_timed(struct flow flows[N_CLIENTS], bool is_daemon, double *ret_ns)
{
	uint64_t start = bench_now();
	int r = run_flows(flows, is_daemon);

	*ret_ns = (double)(bench_now() - start) / (N_CLIENTS * PER_CLIENT);
	return r;
}

/* A domain of each client, and its requests: not timed, as is their end. */
static int prepare(struct bench_client *client, struct bench_packet *requests, uint64_t *ret_domain)
{
	int r = bench_create_domain(client, "memfd", ret_domain);

	for (unsigned i = 0; i < PER_CLIENT && r == 0; i++)
		r = bench_grant_request(client, *ret_domain, i * GM_PAGE_4K, GM_PAGE_4K, GM_PAGE_4K,
					&requests[i]);
	return r;
}

static int daemon_once(void *arg, double *ret_ns)
{
	struct flow flows[N_CLIENTS] = { 0 };
	uint64_t domains[N_CLIENTS];
	struct stage *stage = arg;
	int r = 0;

	for (unsigned i = 0; i < N_CLIENTS && r == 0; i++) {
		r = prepare(&stage->clients[i], stage->requests[i], &domains[i]);
		flows[i].socket = stage->clients[i].socket;
		flows[i].requests = stage->requests[i];
	}
	if (r == 0)
		r = run_timed(flows, true, ret_ns);
	for (unsigned i = 0; i < N_CLIENTS && r == 0; i++)
		r = bench_destroy_domain(&stage->clients[i], domains[i]);
	return r;
}

static int floor_once(void *arg, double *ret_ns)
{
	struct flow flows[N_CLIENTS] = { 0 };
	struct stage *stage = arg;
	int r;

	for (unsigned i = 0; i < N_CLIENTS; i++) {
		flows[i].socket = stage->floor.sockets[i];
		flows[i].requests = stage->requests[i];
		for (unsigned j = 0; j < PER_CLIENT; j++)
			bench_floor_request(BENCH_FLOOR_GRANT, stage->requests[i][j].length,
					    &stage->requests[i][j]);
	}
	r = run_timed(flows, false, ret_ns);
	return r == 0 ? bench_floor_let_go(&stage->floor) : r;
}

static int open_stage(struct stage *stage, const struct bench_options *options)
{
	const struct bench_floor_spec spec = {
		.n_clients = N_CLIENTS,
		.cpu = bench_cpu(0),
		.region_size = GM_PAGE_4K,
		.answer_length = GM_FRAME_HEADER_SIZE + 17, /* of gmemd's answer to a grant */
	};
	int r;

	r = bench_daemon_start(options, bench_cpu(0), false, &stage->daemon);
	for (unsigned i = 0; i < N_CLIENTS && r == 0; i++)
		r = bench_client_open(&stage->clients[i], stage->daemon.socket);
	if (r == 0)
		r = bench_floor_start(&spec, &stage->floor);
	return r == 0 ? bench_pin(0, bench_cpu(1)) : r;
}

static int close_stage(struct stage *stage)
{
	(void)bench_pin(0, -1);
	for (unsigned i = 0; i < N_CLIENTS; i++)
		bench_client_close(&stage->clients[i]);
	bench_floor_stop(&stage->floor);
	return bench_daemon_stop(&stage->daemon);
}

int bench_rate(const struct bench_options *options, struct bench_report *report)
{
	static struct stage stage;
	struct bench_side sides[] = {
		{ .once = floor_once, .arg = &stage },
		{ .once = daemon_once, .arg = &stage },
	};
	int r, ended;

	stage.daemon = BENCH_DAEMON_NULL;
	for (unsigned i = 0; i < N_CLIENTS; i++)
		stage.clients[i] = BENCH_CLIENT_NULL;
	r = open_stage(&stage, options);
	/* Requests of the right length for the floor, and everything warm. */
	if (r == 0)
		r = daemon_once(&stage, &sides[1].median);
	if (r == 0)
		r = bench_sides(sides, 2, options->quick ? 15 : 50, 1);
	ended = close_stage(&stage);
	if (r == 0)
		r = ended;
	if (r < 0)
		return r;
	return bench_report_ratio(report, "grants per second, 16 clients, 16 deep",
				  NS_PER_S / sides[1].median, NS_PER_S / sides[0].median, "/s",
				  sides[1].ratio, MAX_RATIO);
}
