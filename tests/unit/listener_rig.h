/* SPDX-License-Identifier: Apache-2.0 */
/* A listener at a real socket, a service behind it that counts what it sees, and the peers. */
#ifndef LISTENER_RIG_H
#define LISTENER_RIG_H

#include "gm_test.h"

#include <sys/un.h>

#include "listener.h"

#define USERS_MAX 8
#define SERIALS_MAX 4096

struct fixture;

/* What the service sees of one connection. */
struct user {
	struct fixture *f;
	struct gm_conn *conn;
	unsigned n_packets;
	size_t n_fds;
	bool closed;
};

/* The service's side: echoes every packet, or keeps what it is told to keep. */
struct fixture {
	char folder[64];
	struct sockaddr_un address;
	struct gm_event_loop *loop;
	struct gm_loop_ref ref;
	struct gm_watch *end;
	struct gm_listener *listener;

	unsigned n_users;
	struct user users[USERS_MAX];
	unsigned n_closed;
	unsigned n_violations;
	unsigned n_shortages;
	bool from_packet;
	unsigned n_asked; /* is_full */
	int shortage;
	char fault[128];

	bool refuse;   /* open */
	bool greeting; /* HELLO not seen */
	bool silent;   /* packets are not answered */
	bool full;     /* is_full */
	uint32_t wait_ms;
	struct user *waits; /* only this one has to; NULL: all */
	size_t answer_length;
	unsigned n_answer_fds;
	unsigned n_order;
	unsigned order[SERIALS_MAX]; /* user of each packet, in order of arrival */
};

extern const struct gm_listener_ops fixture_ops;

void fixture_init_with(struct fixture *f, const struct gm_listener_ops *with);
void fixture_init(struct fixture *f);
void fixture_done(struct fixture *f);

void run_for(struct fixture *f, uint64_t ms);

/* Long enough for everything that is ready. */
void settle(struct fixture *f);

/* The service's side: a packet to this user. */
void send_to(struct user *user, uint16_t flags, uint32_t serial);

/* The peers' side. */
int dial(const struct fixture *f);
int dial_in(struct fixture *f);

struct request {
	struct gm_frame frame;
	size_t body_length; /* what is really sent */
	unsigned n_fds;	    /* what is really sent */
};

int try_send(int fd, const struct request *request);
struct request ping(uint32_t serial);
void send_ping(int fd, uint32_t serial);

/* 0 and the frame of the next packet, -EAGAIN, or -EPIPE at the end. */
int receive(int fd, struct gm_frame *ret_frame, size_t *ret_n_fds);
void expect_answer(int fd, uint32_t serial);
void expect_end(int fd);
void expect_nothing(int fd);

#endif
