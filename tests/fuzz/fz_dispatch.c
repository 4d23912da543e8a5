/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run of packets, each from one of three sessions (two tenants, one operator), into the service
 * with the fake backend and crews that are not processes. Ids, tokens, serials and cursors are
 * small numbers that come again, so that packets find what earlier ones made. At the end all
 * sessions close and the books assert that nothing is left.
 *
 * Packet: {session and what to do, type, length low, length high, body}.
 */
#include <errno.h>
#include <string.h>

#include "exec_share.h"
#include "fake.h"
#include "fake_crew.h"
#include "gm_fuzz.h"
#include "gm_version.h"
#include "gmem.pb-c.h"
#include "service.h"

#define SESSIONS 3
#define PACKETS_MAX 256

/* First byte of a packet: the session, and what happens before it. */
#define DO_FINISH_JOB 0x04
#define DO_LOSE_WORKER 0x08
#define DO_PASS_TIME 0x10
#define DO_CLOSE 0x20
#define DO_RUN_OUT_OF_BACKEND 0x40

struct client {
	struct gm_link *link;
	uint32_t serial;
};

static struct gm_exec exec;
static struct gm_fake_script *script;
static struct gm_book book;
static struct gm_crew_hub *hub;
static struct gm_service *service;
static struct gm_tenant *tenants[SESSIONS]; /* the last is the operator: none */
static struct client clients[SESSIONS];
static uint64_t now_ms;
static uint64_t counter;

static uint64_t get_now_ms(void *loop)
{
	(void)loop;
	return now_ms;
}

static const struct gm_loop_ops loop_ops = { .now_ms = get_now_ms };

/* 1, 2, 3...: an id of 8 bytes is a number that a body can hold, a token begins with one. */
static int draw(void *buffer, size_t size)
{
	memset(buffer, 0, size);
	counter++;
	memcpy(buffer, &counter, size < sizeof(counter) ? size : sizeof(counter));
	return 0;
}

static uint64_t no_rss(void)
{
	return 0;
}

static void on_news(const struct gm_news *news)
{
	gm_fuzz_require(news->kind > GM_NEWS_NONE && news->kind < GM_NEWS_N_);
	gm_fuzz_require(news->text != NULL && strlen(news->text) < 1000);
	if (news->kind == GM_NEWS_REFUSAL)
		gm_fuzz_require(news->verb != NULL && news->result > 0 &&
				news->result < GM_VERDICT_N_);
	/* Only what the fake backend was told to fail with. */
	if (news->kind == GM_NEWS_FAILURE)
		gm_fuzz_require(news->result == -EIO);
}

static void on_send(void *channel, const struct gm_frame *frame, const void *body, const int *fds)
{
	struct client *client = channel;

	gm_fuzz_require(client->link == NULL || gm_link_session(client->link) != NULL);
	gm_fuzz_require(frame->version == 1 && frame->body_length <= GM_BODY_MAX);
	gm_fuzz_require(frame->flags == GM_FRAME_EVENT ? frame->serial == 0
						       : (frame->flags & GM_FRAME_ANSWER) != 0);
	gm_fuzz_require(body != NULL && frame->n_fds <= GM_FDSET_MAX);
	for (unsigned i = 0; i < frame->n_fds; i++)
		gm_fuzz_require(fds[i] >= 3);
}

static const struct gm_channel_ops channel_ops = { .send = on_send };

static void open_client(unsigned i)
{
	static const struct gm_peer who = { .pid = 1 };

	clients[i].serial = 0;
	if (gm_service_open(service, tenants[i], &who, &channel_ops, &clients[i],
			    &clients[i].link) != 0)
		clients[i].link = NULL;
}

static void close_client(unsigned i)
{
	struct gm_link *link = clients[i].link;

	clients[i].link = NULL;
	if (link != NULL)
		gm_service_close(link);
}

static void add_tenants(void)
{
	struct gm_policy policy;

	gm_policy_defaults(&policy, GM_GIB);
	policy.persistent = true;
	policy.persistent_ttl_ms = 1000;
	policy.huge_2m_max = GM_GIB;
	gm_fuzz_require(gm_book_add_tenant(&book, "acme", &policy, &tenants[0], NULL) == 0);
	gm_fuzz_require(gm_book_add_tenant(&book, "beta", &policy, &tenants[1], NULL) == 0);
}

static void start(void)
{
	const struct gm_service_env env = {
		.loop = { .ops = &loop_ops },
		.random = draw,
		.now_us = no_rss,
		.rss_bytes = no_rss,
		.log = on_news,
	};

	now_ms = 1;
	counter = 0;
	script = gm_fake_reset();
	gm_fuzz_require(script != NULL);
	gm_book_init(&book);
	add_tenants();
	gm_fuzz_require(gm_crew_hub_new(env.loop, NULL, 1, 0, &hub) == 0);
	exec.hub = hub;
	gm_fuzz_require(gm_service_new(&book, &exec, &env, &service) == 0);
	for (unsigned i = 0; i < SESSIONS; i++)
		open_client(i);
}

static void finish_job(bool lost)
{
	struct gm_crew_job *job = fake_crew_first(hub);

	if (job == NULL)
		return;
	if (lost)
		fake_crew_end(job, GM_JOB_WORKER_LOST, 9);
	else
		fake_crew_finish(job);
}

static void stop(void)
{
	for (unsigned i = 0; i < SESSIONS; i++)
		close_client(i);
	gm_service_end_all(service);
	while (fake_crew_first(hub) != NULL)
		finish_job(false);
	gm_fuzz_require(gm_service_jobs(service) == 0);
	gm_service_free(service);
	gm_crew_hub_free(hub);
	gm_exec_shares_done(&exec);
	gm_book_done(&book);
}

static void act(uint8_t what, unsigned i)
{
	if (what & DO_FINISH_JOB)
		finish_job(false);
	if (what & DO_LOSE_WORKER)
		finish_job(true);
	if (what & DO_PASS_TIME) {
		now_ms += 600;
		gm_service_expire(service);
	}
	if (what & DO_RUN_OUT_OF_BACKEND)
		gm_fake_fail(&script->create, 1, -EIO);
	if (what & DO_CLOSE)
		close_client(i);
}

static void deliver(unsigned i, uint8_t type, const uint8_t *body, size_t length)
{
	struct gm_fdset fds = GM_FDSET_NULL;
	struct gm_frame frame = {
		.version = 1,
		.type = type,
		.body_length = (uint32_t)length,
		.serial = ++clients[i].serial,
	};
	const char *fault = NULL;

	if (clients[i].link == NULL)
		open_client(i);
	if (clients[i].link == NULL || gm_link_is_full(clients[i].link))
		return;
	if (gm_service_packet(clients[i].link, &frame, body, &fds, &fault) == 0)
		return;
	gm_fuzz_require(fault != NULL);
	close_client(i);
}

static void greet(void)
{
	static const uint8_t hello[] = { 0x08, 1, 0x10, 1 };

	for (unsigned i = 0; i < SESSIONS; i++)
		deliver(i, GM_MSG_HELLO, hello, sizeof(hello));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gm_book no_book;

	/* Devices and probes once: they are not what is tested here. */
	if (exec.n_backends == 0)
		gm_fuzz_require(gm_exec_init(&exec, &no_book) == 0);
	exec.book = &book;
	start();
	greet();
	for (unsigned n = 0; n < PACKETS_MAX && size >= 4; n++) {
		unsigned i = (data[0] & 3) % SESSIONS;
		size_t length = data[2] | (size_t)data[3] << 8;
		uint8_t type = data[1];

		act(data[0], i);
		data += 4;
		size -= 4;
		length = length < size ? length : size;
		deliver(i, type, data, length);
		data += length;
		size -= length;
	}
	stop();
	return 0;
}
