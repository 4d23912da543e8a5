/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of raw packets, so that no library's cost is in a figure. What is timed is the exchange
 * of a packet that is ready for one that is read later: the same for gmemd and for a floor.
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <protobuf-c/protobuf-c.h>

#include "bench.h"
#include "gm_arena.h"
#include "gm_frame.h"

#define BENCH_PACKET_MAX 512

struct bench_packet {
	size_t length;
	uint8_t bytes[BENCH_PACKET_MAX];
};

struct bench_client {
	int socket;
	uint32_t serial;
	struct gm_arena arena; /* of the last answer */
};

#define BENCH_CLIENT_NULL ((struct bench_client){ .socket = -1 })

/* Connects to gmemd and says HELLO. 0 or -errno. */
int bench_client_open(struct bench_client *client, const char *path);
void bench_client_close(struct bench_client *client);

/* A request, ready to be sent, with the next serial. */
int bench_request(struct bench_client *client, enum gm_msg_type type,
		  const ProtobufCMessage *message, struct bench_packet *packet);

/*
 * Sends and waits for the answer. @ret_fd: what came with it, or -1; NULL: nothing is to come.
 * @ret_ns may be NULL.
 */
int bench_exchange(int socket, const struct bench_packet *request, struct bench_packet *answer,
		   int *ret_fd, double *ret_ns);

int bench_send(int socket, const struct bench_packet *request);
int bench_receive(int socket, struct bench_packet *answer, int flags, int *ret_fd);

/* The body of an answer, which lives until the next one. -EREMOTEIO (said why on stderr): refused.
 */
int bench_answer(struct bench_client *client, const struct bench_packet *answer,
		 const void **ret_message);

/* Not timed: request and answer at once. @ret_message and @ret_fd may be NULL. */
int bench_call(struct bench_client *client, enum gm_msg_type type, const ProtobufCMessage *message,
	       const void **ret_message, int *ret_fd);

int bench_create_domain(struct bench_client *client, const char *kind, uint64_t *ret_domain);
int bench_destroy_domain(struct bench_client *client, uint64_t domain);
int bench_create_region(struct bench_client *client, uint64_t domain, uint64_t gpa, uint64_t size,
			uint64_t page_size, uint64_t *ret_region, int *ret_fd);
int bench_destroy_region(struct bench_client *client, uint64_t region);

/* The request of bench_create_region. */
int bench_grant_request(struct bench_client *client, uint64_t domain, uint64_t gpa, uint64_t size,
			uint64_t page_size, struct bench_packet *packet);

#endif
