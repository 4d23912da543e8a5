/* SPDX-License-Identifier: Apache-2.0 */
#include "service_rig.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "gm_fd.h"
#include "gm_version.h"

static uint64_t rig_now_ms(void *loop)
{
	return ((struct rig *)loop)->now_ms;
}

struct gm_watch {
	gm_watch_fn fn; /* NULL: free */
	void *arg;
	struct rig *rig;
	uint64_t at_ms; /* UINT64_MAX: not set */
};

static struct gm_watch rig_timers[16];

static int rig_timer_new(void *loop, gm_watch_fn fn, void *arg, struct gm_watch **ret_watch)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(rig_timers); i++) {
		if (rig_timers[i].fn != NULL)
			continue;
		rig_timers[i] = (struct gm_watch){ fn, arg, loop, UINT64_MAX };
		*ret_watch = &rig_timers[i];
		return 0;
	}
	return -ENOMEM;
}

static void rig_timer_set(struct gm_watch *timer, uint64_t ms)
{
	timer->at_ms = timer->rig->now_ms + ms;
}

static void rig_watch_free(struct gm_watch *watch)
{
	if (watch != NULL)
		watch->fn = NULL;
}

static const struct gm_loop_ops loop_ops = { .now_ms = rig_now_ms,
					     .timer_new = rig_timer_new,
					     .timer_set = rig_timer_set,
					     .watch_free = rig_watch_free };

void rig_turn(struct rig *rig, uint64_t ms)
{
	for (; ms > 0; ms--) {
		rig->now_ms++;
		for (size_t i = 0; i < GM_ARRAY_SIZE(rig_timers); i++) {
			struct gm_watch *timer = &rig_timers[i];

			if (timer->fn == NULL || timer->at_ms > rig->now_ms)
				continue;
			timer->at_ms = UINT64_MAX;
			timer->fn(timer->arg);
		}
	}
}

/* Different every time, the same in every run. */
uint64_t rig_us;
bool rig_private;
bool rig_in_place;
bool rig_launched;
struct gm_news rig_news;
bool rig_told[GM_NEWS_N_];
static char rig_news_text[512];

static int rig_random(void *buffer, size_t size)
{
	static struct gm_test_rng rng = { .state = 42 };
	uint8_t *bytes = buffer;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)gm_test_random(&rng);
	return 0;
}

static uint64_t rig_rss(void)
{
	return 4321;
}

static uint64_t rig_now_us(void)
{
	return rig_us;
}

static void keep_news(const struct gm_news *news)
{
	rig_news = *news;
	rig_told[news->kind] = true;
	snprintf(rig_news_text, sizeof(rig_news_text), "%s", news->text);
	rig_news.text = rig_news_text;
}

static void allow_many_fds(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void add_tenants(struct rig *rig)
{
	struct gm_policy policy;

	gm_policy_defaults(&policy, 64 * GM_GIB);
	policy.memory_max = 16 * GM_GIB;
	policy.region_max = 8 * GM_GIB;
	policy.regions_max = 20000;
	policy.domains_max = 2000;
	policy.sessions_max = 4;
	policy.jobs_max = 300;
	policy.huge_2m_max = GM_GIB;
	policy.memlock_max = 64 * GM_MIB;
	for (unsigned pool = 0; pool < GM_SLOT_POOLS; pool++)
		policy.slots_max[pool] = 2;
	policy.persistent = true;
	policy.persistent_ttl_ms = 60000;
	assert_int_equal(gm_book_add_tenant(&rig->book, "acme", &policy, &rig->acme, NULL), 0);
	assert_int_equal(gm_book_add_tenant(&rig->book, "beta", &policy, &rig->beta, NULL), 0);
}

void rig_start(struct rig *rig)
{
	struct gm_loop_ref loop = { .ops = &loop_ops, .loop = rig };
	struct gm_service_env env = {
		.loop = loop,
		.random = rig_random,
		.now_us = rig_now_us,
		.rss_bytes = rig_rss,
		.log = keep_news,
	};

	allow_many_fds();
	memset(rig_told, 0, sizeof(rig_told));
	memset(rig, 0, sizeof(*rig));
	rig->now_ms = 1000;
	rig->fake = gm_fake_reset();
	assert_non_null(rig->fake);
	atomic_store(&rig->fake->is_private, rig_private);
	atomic_store(&rig->fake->is_in_place, rig_in_place);
	atomic_store(&rig->fake->is_launched, rig_launched);
	assert_int_equal(gm_arena_init(&rig->arena, RIG_ARENA_SIZE), 0);
	gm_book_init(&rig->book);
	add_tenants(rig);
	assert_int_equal(gm_exec_init(&rig->exec, &rig->book), 0);
	assert_int_equal(gm_crew_hub_new(loop, NULL, 1, 0, &rig->hub), 0);
	rig->exec.hub = rig->hub;
	assert_int_equal(gm_service_new(&rig->book, &rig->exec, &env, &rig->service), 0);
}

void rig_stop(struct rig *rig)
{
	struct gm_crew_job *job;

	gm_service_end_all(rig->service);
	while ((job = fake_crew_first(rig->hub)) != NULL)
		fake_crew_finish(job);
	assert_int_equal(gm_service_jobs(rig->service), 0);
	gm_service_free(rig->service);
	gm_crew_hub_free(rig->hub);
	gm_exec_done(&rig->exec);
	gm_book_done(&rig->book);
	gm_arena_done(&rig->arena);
}

static void keep_packet(void *channel, const struct gm_frame *frame, const void *body,
			const int *fds)
{
	struct peer *peer = channel;
	struct rig_packet *packet = &peer->packets[peer->n_packets];

	assert(peer->n_packets < RIG_PACKETS_MAX);
	packet->frame = *frame;
	/* From the arena: the test's own memory is not what is to run out in the tests of that. */
	packet->body = gm_arena_alloc(&peer->rig->arena, frame->body_length + 1);
	assert(packet->body != NULL);
	memcpy(packet->body, body, frame->body_length);
	for (unsigned i = 0; i < frame->n_fds; i++) {
		packet->fds[i] = gm_fd_dup(fds[i]);
		assert(packet->fds[i] >= 0);
	}
	peer->n_packets++;
}

static bool peer_has_room(void *channel)
{
	return !((const struct peer *)channel)->is_full;
}

static const struct gm_channel_ops channel_ops = { .send = keep_packet, .has_room = peer_has_room };

void peer_open(struct peer *peer, struct rig *rig, struct gm_tenant *tenant)
{
	struct gm_peer who = { .pid = 4711, .uid = 65534, .gid = 65534 };

	memset(peer, 0, sizeof(*peer));
	peer->rig = rig;
	assert_int_equal(
		gm_service_open(rig->service, tenant, &who, &channel_ops, peer, &peer->link), 0);
}

void peer_connect(struct peer *peer, struct rig *rig, struct gm_tenant *tenant)
{
	Gmem__HelloRequest hello = GMEM__HELLO_REQUEST__INIT;
	struct answer answer;

	peer_open(peer, rig, tenant);
	hello.has_min_version = 1;
	hello.min_version = 1;
	hello.has_max_version = 1;
	hello.max_version = 1;
	answer = peer_ask(peer, GM_MSG_HELLO, &hello.base);
	expect_reply(&answer);
}

static void drop_packets(struct peer *peer)
{
	while (peer->n_packets > 0) {
		struct answer answer = peer_take(peer);

		answer_close(&answer);
	}
}

void peer_close(struct peer *peer)
{
	drop_packets(peer);
	gm_service_close(peer->link);
	peer->link = NULL;
}

int peer_raw(struct peer *peer, const struct gm_frame *frame, const void *body,
	     struct gm_fdset *fds)
{
	struct gm_fdset none = GM_FDSET_NULL;

	return gm_service_packet(peer->link, frame, body, fds != NULL ? fds : &none, &peer->fault);
}

uint32_t peer_send(struct peer *peer, enum gm_msg_type type, const ProtobufCMessage *message)
{
	static uint8_t body[GM_BODY_MAX];
	struct gm_frame frame = { .version = GM_PROTOCOL_VERSION, .type = (uint16_t)type };
	size_t length;

	assert_int_equal(gm_msg_pack(message, body, &length), 0);
	frame.body_length = (uint32_t)length;
	frame.serial = ++peer->serial;
	assert_int_equal(peer_raw(peer, &frame, body, NULL), 0);
	return frame.serial;
}

struct answer peer_take(struct peer *peer)
{
	struct rig_packet packet = peer->packets[0];
	const struct gm_msg_format *format = gm_msg_format(packet.frame.type);
	bool refused = (packet.frame.flags & GM_FRAME_REFUSED) != 0;
	struct answer answer = { .frame = packet.frame };
	ProtobufCMessage *message;

	assert_true(peer->n_packets > 0);
	memmove(&peer->packets[0], &peer->packets[1], --peer->n_packets * sizeof(packet));
	assert_int_equal(gm_msg_unpack_answer(refused ? &gmem__status__descriptor : format->answer,
					      packet.body, packet.frame.body_length,
					      &peer->rig->arena, &message),
			 GM_MSG_GOOD);
	if (refused)
		answer.status = (const Gmem__Status *)message;
	else
		answer.reply = message;
	memcpy(answer.fds, packet.fds, sizeof(answer.fds));
	return answer;
}

struct answer peer_ask(struct peer *peer, enum gm_msg_type type, const ProtobufCMessage *message)
{
	uint32_t serial = peer_send(peer, type, message);
	struct answer answer = peer_take(peer);

	assert_int_equal(answer.frame.type, type);
	assert_int_equal(answer.frame.serial, serial);
	return answer;
}

void answer_close(struct answer *answer)
{
	for (unsigned i = 0; i < answer->frame.n_fds; i++)
		gm_fd_close(answer->fds[i]);
	answer->frame.n_fds = 0;
}

void expect_refusal(const struct answer *answer, enum gm_verdict verdict, enum gm_rule rule)
{
	assert_non_null(answer->status);
	assert_string_equal(gm_verdict_name((int)answer->status->code), gm_verdict_name(verdict));
	assert_string_equal(gm_rule_name((int)answer->status->rule), gm_rule_name(rule));
	assert_true(answer->status->text.len > 0);
	assert_int_equal(answer->frame.n_fds, 0);
}

void expect_numbers(const struct answer *answer, uint64_t limit, uint64_t used, uint64_t asked)
{
	assert_int_equal(answer->status->limit, limit);
	assert_int_equal(answer->status->used, used);
	assert_int_equal(answer->status->asked, asked);
}

void expect_text(const struct answer *answer, const char *part)
{
	const ProtobufCBinaryData *text = &answer->status->text;

	if (memmem(text->data, text->len, part, strlen(part)) == NULL)
		fail_msg("\"%.*s\" does not say \"%s\"", (int)text->len, text->data, part);
}

void expect_object(const struct answer *answer, const char *object)
{
	assert_true(bytes_equal(answer->status->object, object));
}

const void *expect_reply(const struct answer *answer)
{
	if (answer->status != NULL)
		fail_msg("refused: %.*s", (int)answer->status->text.len, answer->status->text.data);
	return answer->reply;
}

ProtobufCBinaryData bytes_of(const char *text)
{
	return (ProtobufCBinaryData){ .len = strlen(text), .data = (uint8_t *)(uintptr_t)text };
}

bool bytes_equal(ProtobufCBinaryData bytes, const char *text)
{
	return bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

struct made_domain make_domain(struct peer *peer, Gmem__Lifetime lifetime, const char *name)
{
	Gmem__DomainCreateRequest request = GMEM__DOMAIN_CREATE_REQUEST__INIT;
	const Gmem__DomainCreateReply *reply;
	struct made_domain made;
	struct answer answer;

	request.has_kind = 1;
	request.kind = bytes_of("fake");
	request.has_lifetime = 1;
	request.lifetime = lifetime;
	request.has_name = name != NULL;
	if (name != NULL)
		request.name = bytes_of(name);
	answer = peer_ask(peer, GM_MSG_DOMAIN_CREATE, &request.base);
	reply = expect_reply(&answer);
	assert_int_equal(reply->token.len, GM_TOKEN_SIZE);
	made.id = reply->domain;
	memcpy(made.token, reply->token.data, GM_TOKEN_SIZE);
	return made;
}

uint64_t make_region(struct peer *peer, uint64_t domain, uint64_t gpa, uint64_t size)
{
	Gmem__RegionCreateRequest request = GMEM__REGION_CREATE_REQUEST__INIT;
	struct answer answer;
	const Gmem__RegionCreateReply *reply;

	request.has_domain = 1;
	request.domain = domain;
	request.has_gpa = 1;
	request.gpa = gpa;
	request.has_size = 1;
	request.size = size;
	answer = peer_ask(peer, GM_MSG_REGION_CREATE, &request.base);
	reply = expect_reply(&answer);
	answer_close(&answer);
	return reply->region;
}

uint32_t start_allocate(struct peer *peer, uint64_t region, uint64_t offset, uint64_t length)
{
	Gmem__AllocateRequest request = GMEM__ALLOCATE_REQUEST__INIT;
	Gmem__Range range = GMEM__RANGE__INIT;
	Gmem__Range *ranges = &range;

	range.has_offset = 1;
	range.offset = offset;
	range.has_length = 1;
	range.length = length;
	request.has_region = 1;
	request.region = region;
	request.n_ranges = 1;
	request.ranges = &ranges;
	return peer_send(peer, GM_MSG_ALLOCATE, &request.base);
}

struct answer ask_domain_get(struct peer *peer, uint64_t domain)
{
	Gmem__DomainGetRequest request = GMEM__DOMAIN_GET_REQUEST__INIT;

	request.has_domain = 1;
	request.domain = domain;
	return peer_ask(peer, GM_MSG_DOMAIN_GET, &request.base);
}

struct answer ask_domain_destroy(struct peer *peer, uint64_t domain, const uint8_t *token)
{
	Gmem__DomainDestroyRequest request = GMEM__DOMAIN_DESTROY_REQUEST__INIT;

	request.has_domain = 1;
	request.domain = domain;
	request.has_token = token != NULL;
	request.token.len = token != NULL ? GM_TOKEN_SIZE : 0;
	request.token.data = (uint8_t *)(uintptr_t)token;
	return peer_ask(peer, GM_MSG_DOMAIN_DESTROY, &request.base);
}

struct answer ask_attach(struct peer *peer, uint64_t domain, const uint8_t *token, bool take_over)
{
	Gmem__DomainAttachRequest request = GMEM__DOMAIN_ATTACH_REQUEST__INIT;

	request.has_domain = 1;
	request.domain = domain;
	request.has_token = 1;
	request.token.len = GM_TOKEN_SIZE;
	request.token.data = (uint8_t *)(uintptr_t)token;
	request.has_take_over = 1;
	request.take_over = take_over;
	return peer_ask(peer, GM_MSG_DOMAIN_ATTACH, &request.base);
}

struct answer ask_region_get(struct peer *peer, uint64_t region, bool with_fd)
{
	Gmem__RegionGetRequest request = GMEM__REGION_GET_REQUEST__INIT;

	request.has_region = 1;
	request.region = region;
	request.has_with_fd = 1;
	request.with_fd = with_fd;
	return peer_ask(peer, GM_MSG_REGION_GET, &request.base);
}

struct answer ask_region_destroy(struct peer *peer, uint64_t region)
{
	Gmem__RegionDestroyRequest request = GMEM__REGION_DESTROY_REQUEST__INIT;

	request.has_region = 1;
	request.region = region;
	return peer_ask(peer, GM_MSG_REGION_DESTROY, &request.base);
}

struct answer ask_ping(struct peer *peer)
{
	Gmem__PingRequest request = GMEM__PING_REQUEST__INIT;

	request.has_payload = 1;
	request.payload = bytes_of("are you there");
	return peer_ask(peer, GM_MSG_PING, &request.base);
}

const struct gm_channel_ops *peer_channel_ops(void)
{
	return &channel_ops;
}
