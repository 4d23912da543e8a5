/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon that follows a script, one function on a thread of its own, for tests of libgmem.
 *
 * A script that meets something unexpected notes the first fault and goes on; server_stop() fails
 * the test with it. After its script the server reads and forgets until the client hangs up.
 */
#ifndef CLIENT_SERVER_H
#define CLIENT_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "gm_arena.h"
#include "gm_fdset.h"
#include "gm_frame.h"
#include "gm_test.h"
#include "gmem.h"
#include "gmem.pb-c.h"

struct server;
typedef void (*server_script)(struct server *server);

struct server {
	char folder[32];
	char path[64];
	int listen_fd;
	int fd;
	pthread_t thread;
	server_script script;
	bool silent; /* no greeting before the script */
	bool admin;
	bool tolerant;	       /* a client that gives up early is no fault */
	uint32_t requests_max; /* told in the greeting; 0: not told */
	int reconnect_ms;      /* of the client; 0: it does not reconnect */
	bool has_key;
	uint8_t key[16]; /* of the client's session */
	const char *fault;
	atomic_int flag;       /* for a script and its test to wait for each other */
	struct gm_frame frame; /* of the last request */
	struct gm_fdset fds;   /* what came in its box */
	int box;	       /* the other end of the last box; -1: none */
	const void *request;   /* its body */
	struct gm_arena arena;
	uint8_t packet[GM_PACKET_MAX];
};

#define SERVER_NULL ((struct server){ .listen_fd = -1, .fd = -1, .box = -1 })

void server_start(struct server *server, server_script script);
/* Waits for the script's end. The client must be disconnected, or the script must have hung up. */
void server_stop(struct server *server);

/* Start, and a client that is connected. */
gmem_client *server_client(struct server *server, server_script script);
gmem_client *server_client_with(struct server *server, server_script script, int timeout_ms);

/* ---- for scripts */

void server_check(struct server *server, bool good, const char *fault);
/* The next request, which must be of this type. */
void server_expect(struct server *server, unsigned type);
/* FD_BOX, granted; and the next request, of this type, with the fd that came in the box. */
void server_give_box(struct server *server);
void server_expect_boxed(struct server *server, unsigned type);
void server_answer(struct server *server, const ProtobufCMessage *message, const int *fds,
		   size_t n_fds);
void server_refuse(struct server *server, const Gmem__Status *status);
void server_event(struct server *server, unsigned type, const ProtobufCMessage *message);
void server_send(struct server *server, const struct gm_frame *frame, const void *body,
		 const int *fds, size_t n_fds);
void server_answer_message(struct server *server, unsigned type, uint32_t serial,
			   const ProtobufCMessage *message, const int *fds, size_t n_fds);
void server_hang_up(struct server *server);
/* The end of this connection, if there is one, and the beginning of the next. */
void server_accept(struct server *server);
void server_greet(struct server *server, bool resumed);
/* Both, as a daemon does that was started again. */
void server_return(struct server *server, bool resumed);
/* Until @value is set by the other side, at most 5 seconds. */
void server_wait_flag(struct server *server, int value);

/* Memory of the size, to hand out. */
int server_memory(uint64_t size);
/* DOMAIN_CREATE and REGION_CREATE, granted: id 1 with no device, region @id of @size. */
void server_grant_domain(struct server *server);
void server_grant_region(struct server *server, uint64_t id, uint64_t size);

static inline ProtobufCBinaryData bytes_of(const char *text)
{
	return (ProtobufCBinaryData){ .len = strlen(text), .data = (uint8_t *)(uintptr_t)text };
}

#endif
