/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service without sockets: two tenants, an operator, a clock that the test turns, random
 * numbers that are not, crews without processes, and channels that keep what is sent.
 *
 * rig_stop() ends everything and has the books assert that all accounts are zero.
 */
#ifndef SERVICE_RIG_H
#define SERVICE_RIG_H

#include <sys/queue.h>

#include "fake.h"
#include "fake_crew.h"
#include "gm_msg.h"
#include "gm_test.h"
#include "gmem.pb-c.h"
#include "service.h"

#define RIG_PACKETS_MAX 1024
#define RIG_ARENA_SIZE (32 * 1024 * 1024)

struct rig_packet {
	struct gm_frame frame;
	uint8_t *body;
	int fds[GM_FDSET_MAX]; /* copies */
};

struct rig {
	struct gm_book book;
	struct gm_exec exec;
	struct gm_service *service;
	struct gm_crew_hub *hub;
	struct gm_tenant *acme;
	struct gm_tenant *beta;
	struct gm_fake_script *fake;
	uint64_t now_ms;
	struct gm_arena arena; /* of unpacked answers, until rig_stop */
};

/* The clock that things are measured with: the test turns it. */
extern uint64_t rig_us;
/* Kind "fake" of rigs that start from now on has private memory. */
extern bool rig_private;
/* And it is converted in place. */
extern bool rig_in_place;
/* And its guests are launched, for a slot of pool 1. */
extern bool rig_launched;
/* What the service told last. */
extern struct gm_news rig_news;
/* What it told at all since rig_start(). */
extern bool rig_told[GM_NEWS_N_];

/* One client. */
struct peer {
	struct rig *rig;
	struct gm_link *link;
	bool is_full;	   /* of what the channel has no more room for: set by the test */
	uint32_t serial;   /* last used */
	const char *fault; /* of the last violation */
	size_t n_packets;
	struct rig_packet packets[RIG_PACKETS_MAX];
};

/* An answer or event, unpacked. */
struct answer {
	struct gm_frame frame;
	const Gmem__Status *status; /* refused */
	const void *reply;	    /* else */
	int fds[GM_FDSET_MAX];	    /* closed by the caller (answer_close) or with the peer's end */
};

void rig_start(struct rig *rig);
void rig_stop(struct rig *rig);
/* Time passes, and with it the timers of the service. */
void rig_turn(struct rig *rig, uint64_t ms);

/* @tenant NULL: the admin socket. Not yet greeted. */
void peer_open(struct peer *peer, struct rig *rig, struct gm_tenant *tenant);
/* The same, and HELLO has been answered. */
void peer_connect(struct peer *peer, struct rig *rig, struct gm_tenant *tenant);
void peer_close(struct peer *peer);

/* Sends @message as a request, returns its serial; the service must take it. */
uint32_t peer_send(struct peer *peer, enum gm_msg_type type, const ProtobufCMessage *message);
/* Takes the oldest packet: an answer, or an event. There must be one. */
struct answer peer_take(struct peer *peer);
/* Both, and the packet must be the answer to this request. */
struct answer peer_ask(struct peer *peer, enum gm_msg_type type, const ProtobufCMessage *message);
/* Sends any bytes in any frame. 0 or -EPROTO with peer->fault. */
int peer_raw(struct peer *peer, const struct gm_frame *frame, const void *body,
	     struct gm_fdset *fds);

/* How packets reach a peer, for those who open a session themselves. */
const struct gm_channel_ops *peer_channel_ops(void);

void answer_close(struct answer *answer);

/* The answer must be a refusal of this class by this rule. */
void expect_refusal(const struct answer *answer, enum gm_verdict verdict, enum gm_rule rule);
void expect_numbers(const struct answer *answer, uint64_t limit, uint64_t used, uint64_t asked);
void expect_text(const struct answer *answer, const char *part);
void expect_object(const struct answer *answer, const char *object);
/* The answer must not be a refusal. */
const void *expect_reply(const struct answer *answer);

ProtobufCBinaryData bytes_of(const char *text);
bool bytes_equal(ProtobufCBinaryData bytes, const char *text);

/* What most tests begin with. */
struct made_domain {
	uint64_t id;
	uint8_t token[GM_TOKEN_SIZE];
};
struct made_domain make_domain(struct peer *peer, Gmem__Lifetime lifetime, const char *name);
uint64_t make_region(struct peer *peer, uint64_t domain, uint64_t gpa, uint64_t size);
uint32_t start_allocate(struct peer *peer, uint64_t region, uint64_t offset, uint64_t length);

/* Requests with one id, and one with nothing. */
struct answer ask_domain_get(struct peer *peer, uint64_t domain);
struct answer ask_domain_destroy(struct peer *peer, uint64_t domain, const uint8_t *token);
struct answer ask_attach(struct peer *peer, uint64_t domain, const uint8_t *token, bool take_over);
struct answer ask_region_get(struct peer *peer, uint64_t region, bool with_fd);
struct answer ask_region_destroy(struct peer *peer, uint64_t region);
struct answer ask_ping(struct peer *peer);

#endif
