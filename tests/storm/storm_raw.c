/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw packets: requests are sent many at a time and, when the connection ends before they are
 * answered, once more with their serials. Every answer must be to a request that has none yet.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "gm_cleanup.h"
#include "gm_msg.h"
#include "gm_scm.h"
#include "gmem.pb-c.h"
#include "storm_link.h"

#define PATIENCE_US UINT64_C(20000000)
#define KEY_SIZE 16

struct raw {
	int socket;
	uint32_t serial;
	uint8_t key[KEY_SIZE];
	struct gm_arena arena;
	uint8_t packet[GM_PACKET_MAX];
};

static struct raw *raw_of(const struct storm_link *link)
{
	return link->priv;
}

/* ---- packets ---- */

static bool pack(struct raw *raw, struct storm_op *op, enum gm_msg_type type,
		 const ProtobufCMessage *message)
{
	struct gm_frame frame = { .version = GM_PROTOCOL_VERSION,
				  .type = (uint16_t)type,
				  .serial = ++raw->serial };
	size_t length = protobuf_c_message_get_packed_size(message);

	if (length + GM_FRAME_HEADER_SIZE > sizeof(op->packet)) {
		storm_fail("a request of %zu bytes", length);
		return false;
	}
	frame.body_length = (uint32_t)length;
	gm_frame_encode(&frame, op->packet);
	protobuf_c_message_pack(message, op->packet + GM_FRAME_HEADER_SIZE);
	op->length = length + GM_FRAME_HEADER_SIZE;
	op->serial = frame.serial;
	op->answered = false;
	return true;
}

static ProtobufCBinaryData text(char *string)
{
	return (ProtobufCBinaryData){ .len = strlen(string), .data = (uint8_t *)string };
}

static bool pack_create(struct raw *raw, struct storm_op *op)
{
	static char kinds[2][16] = { "memfd", "guest-memfd" };
	Gmem__DomainCreateRequest request = GMEM__DOMAIN_CREATE_REQUEST__INIT;
	Gmem__Device kvm = GMEM__DEVICE__DEVICE_KVM;

	request.has_name = request.has_kind = request.has_lifetime = 1;
	request.name = text(op->domain->name);
	request.kind = text(kinds[op->domain->guest_memfd]);
	request.lifetime = op->domain->persistent ? GMEM__LIFETIME__LIFETIME_PERSISTENT
						  : GMEM__LIFETIME__LIFETIME_BOUND;
	request.devices = &kvm;
	request.n_devices = op->with_kvm;
	return pack(raw, op, GM_MSG_DOMAIN_CREATE, &request.base);
}

static bool pack_attach(struct raw *raw, struct storm_op *op)
{
	Gmem__DomainAttachRequest request = GMEM__DOMAIN_ATTACH_REQUEST__INIT;

	request.has_domain = request.has_token = request.has_take_over = 1;
	request.domain = op->domain->id;
	request.token = (ProtobufCBinaryData){ .len = sizeof(op->domain->token.bytes),
					       .data = op->domain->token.bytes };
	request.take_over = 1;
	return pack(raw, op, GM_MSG_DOMAIN_ATTACH, &request.base);
}

static bool pack_region_create(struct raw *raw, struct storm_op *op)
{
	Gmem__RegionCreateRequest request = GMEM__REGION_CREATE_REQUEST__INIT;

	request.has_domain = request.has_gpa = request.has_size = 1;
	request.domain = op->domain->id;
	request.gpa = op->region->gpa;
	request.size = op->region->size;
	return pack(raw, op, GM_MSG_REGION_CREATE, &request.base);
}

static bool pack_job(struct raw *raw, struct storm_op *op)
{
	const struct storm_job *job = &op->region->job;
	Gmem__AllocateRequest allocate = GMEM__ALLOCATE_REQUEST__INIT;
	Gmem__DiscardRequest discard = GMEM__DISCARD_REQUEST__INIT;
	Gmem__Range ranges[STORM_RANGES];
	Gmem__Range *list[STORM_RANGES];

	for (unsigned i = 0; i < job->n_ranges; i++) {
		gmem__range__init(&ranges[i]);
		ranges[i].has_offset = ranges[i].has_length = 1;
		ranges[i].offset = job->ranges[i].offset;
		ranges[i].length = job->ranges[i].length;
		list[i] = &ranges[i];
	}
	allocate.has_region = discard.has_region = 1;
	allocate.region = discard.region = op->region->id;
	allocate.n_ranges = discard.n_ranges = job->n_ranges;
	allocate.ranges = discard.ranges = list;
	return job->allocate ? pack(raw, op, GM_MSG_ALLOCATE, &allocate.base)
			     : pack(raw, op, GM_MSG_DISCARD, &discard.base);
}

static bool pack_domain(struct raw *raw, struct storm_op *op)
{
	Gmem__DomainGetRequest get = GMEM__DOMAIN_GET_REQUEST__INIT;
	Gmem__DomainDestroyRequest destroy = GMEM__DOMAIN_DESTROY_REQUEST__INIT;

	get.has_domain = destroy.has_domain = 1;
	get.domain = destroy.domain = op->domain->id;
	return op->verb == STORM_DOMAIN_GET ? pack(raw, op, GM_MSG_DOMAIN_GET, &get.base)
					    : pack(raw, op, GM_MSG_DOMAIN_DESTROY, &destroy.base);
}

static bool pack_region(struct raw *raw, struct storm_op *op)
{
	Gmem__RegionGetRequest get = GMEM__REGION_GET_REQUEST__INIT;
	Gmem__RegionDestroyRequest destroy = GMEM__REGION_DESTROY_REQUEST__INIT;
	Gmem__RegionMapRequest map = GMEM__REGION_MAP_REQUEST__INIT;

	get.has_region = destroy.has_region = map.has_region = get.has_with_fd = 1;
	get.region = destroy.region = map.region = op->region->id;
	get.with_fd = 1;
	/* Where the last answer has ended. */
	map.has_offset = 1;
	map.offset = op->bytes;
	if (op->verb == STORM_REGION_GET)
		return pack(raw, op, GM_MSG_REGION_GET, &get.base);
	if (op->verb == STORM_REGION_MAP)
		return pack(raw, op, GM_MSG_REGION_MAP, &map.base);
	return pack(raw, op, GM_MSG_REGION_DESTROY, &destroy.base);
}

static bool pack_look(struct raw *raw, struct storm_op *op)
{
	Gmem__PingRequest ping = GMEM__PING_REQUEST__INIT;
	Gmem__ListRequest list = GMEM__LIST_REQUEST__INIT;
	Gmem__StatsRequest stats = GMEM__STATS_REQUEST__INIT;

	if (op->verb == STORM_LIST)
		return pack(raw, op, GM_MSG_LIST, &list.base);
	if (op->verb == STORM_STATS)
		return pack(raw, op, GM_MSG_STATS, &stats.base);
	return pack(raw, op, GM_MSG_PING, &ping.base);
}

static bool pack_memlock(struct raw *raw, struct storm_op *op)
{
	Gmem__MemlockRequest request = GMEM__MEMLOCK_REQUEST__INIT;

	request.has_domain = request.has_bytes = 1;
	request.domain = op->domain->id;
	request.bytes = op->domain->memlock;
	return pack(raw, op, GM_MSG_MEMLOCK, &request.base);
}

static bool pack_cancel(struct raw *raw, struct storm_op *op)
{
	Gmem__CancelRequest request = GMEM__CANCEL_REQUEST__INIT;

	request.has_serial = 1;
	request.serial = op[-1].serial;
	return pack(raw, op, GM_MSG_CANCEL, &request.base);
}

static bool pack_op(struct raw *raw, struct storm_op *op)
{
	switch (op->verb) {
	case STORM_DOMAIN_CREATE:
		return pack_create(raw, op);
	case STORM_DOMAIN_ATTACH:
		return pack_attach(raw, op);
	case STORM_DOMAIN_GET:
	case STORM_DOMAIN_DESTROY:
		return pack_domain(raw, op);
	case STORM_REGION_CREATE:
		return pack_region_create(raw, op);
	case STORM_REGION_GET:
	case STORM_REGION_DESTROY:
	case STORM_REGION_MAP:
		return pack_region(raw, op);
	case STORM_JOB:
		return pack_job(raw, op);
	case STORM_CANCEL:
		return pack_cancel(raw, op);
	case STORM_MEMLOCK:
		return pack_memlock(raw, op);
	case STORM_PING:
	case STORM_LIST:
	case STORM_STATS:
	case STORM_VERBS:
		break;
	}
	return pack_look(raw, op);
}

/* ---- the connection ---- */

static void disconnect(struct raw *raw)
{
	gm_fd_close(gm_take_fd(&raw->socket));
}

static bool wait_readable(int socket, uint64_t until_us)
{
	struct pollfd polled = { .fd = socket, .events = POLLIN };
	uint64_t now = storm_now_us();

	return now < until_us && poll(&polled, 1, (int)((until_us - now) / 1000) + 1) > 0;
}

/* 0, -EPIPE when the connection has ended, or another -errno. */
static int receive(struct raw *raw, uint64_t until_us, struct gm_frame *ret_frame,
		   struct gm_fdset *ret_fds)
{
	enum gm_scm_fault fault;
	size_t length;
	int r;

	if (!wait_readable(raw->socket, until_us))
		return -ETIMEDOUT;
	r = gm_scm_receive(raw->socket, raw->packet, sizeof(raw->packet), 0, true, &length, ret_fds,
			   &fault);
	if (r == -ECONNRESET || (r == 0 && fault == GM_SCM_CLOSED))
		return -EPIPE;
	if (r < 0)
		return r;
	if (fault != GM_SCM_GOOD ||
	    gm_frame_decode(raw->packet, length, ret_frame) != GM_FRAME_GOOD) {
		gm_fdset_done(ret_fds);
		return -EPROTO;
	}
	if (ret_fds->n_fds != ret_frame->n_fds) {
		gm_fdset_done(ret_fds);
		return -EBADMSG;
	}
	return 0;
}

static int dial(struct raw *raw, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_gm_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	raw->socket = gm_take_fd(&fd);
	return 0;
}

/* 1: resumed, 0: new, -EPIPE: once more, or another -errno. */
static int greet(struct raw *raw, uint64_t until_us)
{
	Gmem__HelloRequest request = GMEM__HELLO_REQUEST__INIT;
	static char name[] = "storm/raw";
	struct gm_fdset fds = GM_FDSET_NULL;
	ProtobufCMessage *message;
	struct storm_op op = { 0 };
	struct gm_frame frame;
	int r;

	request.has_min_version = request.has_max_version = request.has_client = 1;
	request.min_version = request.max_version = GM_PROTOCOL_VERSION;
	request.client = text(name);
	request.has_session_key = 1;
	request.session_key = (ProtobufCBinaryData){ .len = KEY_SIZE, .data = raw->key };
	if (!pack(raw, &op, GM_MSG_HELLO, &request.base))
		return -EINVAL;
	if (send(raw->socket, op.packet, op.length, MSG_NOSIGNAL) < 0)
		return -EPIPE;
	r = receive(raw, until_us, &frame, &fds);
	gm_fdset_done(&fds);
	if (r < 0)
		return r;
	/* A session that the daemon has not seen the end of yet, or a daemon that stops. */
	if (frame.type != GM_MSG_HELLO || frame.flags & GM_FRAME_REFUSED)
		return frame.type == GM_MSG_HELLO ? -EPIPE : -EPROTO;
	gm_arena_clear(&raw->arena, false);
	if (gm_msg_unpack_answer(&gmem__hello_reply__descriptor, raw->packet + GM_FRAME_HEADER_SIZE,
				 frame.body_length, &raw->arena, &message) != GM_MSG_GOOD)
		return -EPROTO;
	return ((const Gmem__HelloReply *)message)->resumed;
}

/* Until there is a session. As greet. */
static int reach(struct storm_link *link)
{
	struct raw *raw = raw_of(link);
	uint64_t until_us = storm_now_us() + PATIENCE_US;
	int r = -EPIPE;

	while (storm_now_us() < until_us) {
		r = dial(raw, link->path);
		if (r == 0)
			r = greet(raw, until_us);
		if (r >= 0)
			return r;
		disconnect(raw);
		if (r != -EPIPE && r != -ECONNREFUSED && r != -ENOENT && r != -EAGAIN)
			return r;
		storm_nap_us(500 + storm_pick(link->rng, 1000));
	}
	return r;
}

static bool open_link(struct storm_link *link)
{
	struct raw *raw = raw_of(link);
	int r;

	if (getrandom(raw->key, sizeof(raw->key), 0) != sizeof(raw->key))
		return false;
	raw->serial = 0;
	r = reach(link);
	/* Resumed: the answer to the first greeting was lost. */
	if (r < 0)
		storm_fail("client %u: no session: %s", link->index, strerror(-r));
	return r >= 0;
}

static void close_link(struct storm_link *link)
{
	disconnect(raw_of(link));
}

static bool send_all(struct storm_link *link, struct storm_op *ops, unsigned n, bool again)
{
	for (unsigned i = 0; i < n; i++) {
		if (ops[i].answered)
			continue;
		if (send(raw_of(link)->socket, ops[i].packet, ops[i].length, MSG_NOSIGNAL) < 0)
			return false;
		if (again)
			atomic_fetch_add(&link->client->repeated, 1);
	}
	return true;
}

/* The connection is gone: back to the same session, and what is unanswered once more. */
static bool come_back(struct storm_link *link, struct storm_op *ops, unsigned n)
{
	int r;

	do {
		disconnect(raw_of(link));
		r = reach(link);
		if (r != 1) {
			storm_fail("client %u: the session was not resumed: %s", link->index,
				   r < 0 ? strerror(-r) : "the daemon does not know it");
			return false;
		}
		atomic_fetch_add(&link->client->resumed, 1);
	} while (!send_all(link, ops, n, true));
	return true;
}

/* ---- answers ---- */

static void take_runs(struct storm_op *op, const Gmem__RegionMapReply *reply)
{
	for (size_t i = 0; i < reply->n_runs; i++) {
		const struct storm_range range = { reply->runs[i]->offset, reply->runs[i]->length };

		if (reply->runs[i]->state != GMEM__PAGE_STATE__PAGE_ABSENT)
			storm_pages_set(op->pages, &range, true);
	}
	op->bytes = reply->next_offset;
}

static void take_domain(struct storm_op *op, const Gmem__DomainInfo *info)
{
	op->bytes = info->reserved_bytes;
	op->allocated = info->allocated_bytes;
	op->n_regions = info->regions;
	op->attached = info->attached && info->owner_pid == (uint32_t)getpid();
}

static void take_create(struct storm_op *op, const Gmem__DomainCreateReply *reply,
			const struct gm_fdset *fds)
{
	op->id = reply->domain;
	if (reply->token.len == sizeof(op->token.bytes))
		memcpy(op->token.bytes, reply->token.data, sizeof(op->token.bytes));
	else
		storm_fail("a domain without a token");
	if (fds->n_fds != op->with_kvm)
		storm_fail("%zu fds for a domain, %d wanted", fds->n_fds, op->with_kvm);
}

static void take_memory(struct storm_op *op, struct gm_fdset *fds)
{
	op->fd = gm_fdset_steal(fds, 0);
	if (op->fd < 0)
		storm_fail("a region without memory");
}

static void take(struct storm_op *op, const ProtobufCMessage *message, struct gm_fdset *fds)
{
	switch (op->verb) {
	case STORM_DOMAIN_CREATE:
		take_create(op, (const Gmem__DomainCreateReply *)message, fds);
		break;
	case STORM_DOMAIN_GET:
		take_domain(op, ((const Gmem__DomainGetReply *)message)->info);
		break;
	case STORM_DOMAIN_ATTACH:
		take_domain(op, ((const Gmem__DomainAttachReply *)message)->info);
		break;
	case STORM_REGION_CREATE:
		op->id = ((const Gmem__RegionCreateReply *)message)->region;
		take_memory(op, fds);
		break;
	case STORM_REGION_GET:
		op->allocated = ((const Gmem__RegionGetReply *)message)->info->allocated_bytes;
		take_memory(op, fds);
		break;
	case STORM_REGION_MAP:
		take_runs(op, (const Gmem__RegionMapReply *)message);
		break;
	case STORM_JOB:
		op->bytes = ((const Gmem__AllocateReply *)message)->bytes;
		break;
	case STORM_PING:
	case STORM_DOMAIN_DESTROY:
	case STORM_REGION_DESTROY:
	case STORM_CANCEL:
	case STORM_LIST:
	case STORM_STATS:
	case STORM_MEMLOCK:
	case STORM_VERBS:
		break;
	}
}

static void take_refusal(struct storm_op *op, const Gmem__Status *status)
{
	op->status = (int)status->code;
	(void)snprintf(op->refusal, sizeof(op->refusal), "code %d, rule %d: %.*s",
		       (int)status->code, (int)status->rule, (int)status->text.len,
		       (const char *)status->text.data);
}

static struct storm_op *find_op(struct storm_op *ops, unsigned n, uint32_t serial)
{
	for (unsigned i = 0; i < n; i++)
		if (ops[i].serial == serial)
			return &ops[i];
	return NULL;
}

static bool answer(struct storm_link *link, struct storm_op *op, const struct gm_frame *frame,
		   struct gm_fdset *fds)
{
	struct raw *raw = raw_of(link);
	bool refused = frame->flags & GM_FRAME_REFUSED;
	ProtobufCMessage *message;

	if (!op || op->answered) {
		storm_fail("client %u: %s answer: serial %u, type %u", link->index,
			   op ? "a doubled" : "an unasked", frame->serial, frame->type);
		return false;
	}
	gm_arena_clear(&raw->arena, false);
	if (gm_msg_unpack_answer(refused ? &gmem__status__descriptor
					 : gm_msg_format(frame->type)->answer,
				 raw->packet + GM_FRAME_HEADER_SIZE, frame->body_length,
				 &raw->arena, &message) != GM_MSG_GOOD) {
		storm_fail("client %u: an answer that cannot be read: type %u", link->index,
			   frame->type);
		return false;
	}
	op->answered = true;
	atomic_fetch_add(&link->client->answers, 1);
	if (refused)
		take_refusal(op, (const Gmem__Status *)message);
	else
		take(op, message, fds);
	return true;
}

/* The map goes on: another request, in place of the one that was answered. */
static bool ask_on(struct storm_link *link, struct storm_op *op)
{
	if (op->verb != STORM_REGION_MAP || op->status != 0 || op->bytes >= op->region->size)
		return true;
	if (!pack_op(raw_of(link), op))
		return false;
	atomic_fetch_add(&link->client->requests, 1);
	/* When it fails the connection is gone, which shows when it is read. */
	(void)send(raw_of(link)->socket, op->packet, op->length, MSG_NOSIGNAL);
	return true;
}

static unsigned count_open(const struct storm_op *ops, unsigned n)
{
	unsigned open = 0;

	for (unsigned i = 0; i < n; i++)
		open += !ops[i].answered;
	return open;
}

static bool take_one(struct storm_link *link, struct storm_op *ops, unsigned n)
{
	struct gm_fdset fds = GM_FDSET_NULL;
	struct storm_op *op;
	struct gm_frame frame;
	bool good = true;
	int r;

	r = receive(raw_of(link), storm_now_us() + PATIENCE_US, &frame, &fds);
	if (r == -EPIPE)
		return come_back(link, ops, n);
	if (r < 0) {
		storm_fail("client %u: no answer to %u requests, the first of verb %d: %s",
			   link->index, count_open(ops, n), (int)ops[0].verb, strerror(-r));
		return false;
	}
	if (frame.flags & GM_FRAME_ANSWER) {
		op = find_op(ops, n, frame.serial);
		good = answer(link, op, &frame, &fds) && ask_on(link, op);
	}
	gm_fdset_done(&fds);
	return good;
}

static bool run(struct storm_link *link, struct storm_op *ops, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		ops[i].fd = -1;
		if (!pack_op(raw_of(link), &ops[i]))
			return false;
	}
	atomic_fetch_add(&link->client->requests, n);
	if (!send_all(link, ops, n, false) && !come_back(link, ops, n))
		return false;
	while (count_open(ops, n) > 0)
		if (!take_one(link, ops, n))
			return false;
	return true;
}

static void drop(struct storm_link *link, uint64_t domain)
{
	(void)link;
	(void)domain;
}

static const struct storm_link_ops raw_ops = {
	.open = open_link,
	.close = close_link,
	.run = run,
	.drop = drop,
	.batch_max = STORM_BATCH_MAX,
};

bool storm_raw_link(struct storm_link *link)
{
	struct raw *raw = calloc(1, sizeof(*raw));

	if (!raw || gm_arena_init(&raw->arena, GM_MSG_ARENA_SIZE * 4) < 0) {
		free(raw);
		return false;
	}
	raw->socket = -1;
	link->ops = &raw_ops;
	link->priv = raw;
	return true;
}
