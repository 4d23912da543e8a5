/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floors: bare processes that do what a figure's answer takes, and nothing else. They keep the
 * memory that they give away until they are told to let go of it, as gmemd does.
 *
 * One byte says what is wanted; the rest of a request is padding to the size of gmemd's.
 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include <sys/types.h>

#include "bench_client.h"

enum bench_floor_want {
	BENCH_FLOOR_PING = 'p',	  /* the same packet back */
	BENCH_FLOOR_GRANT = 'g',  /* a new sealed memfd of region_size with answer_length bytes */
	BENCH_FLOOR_LET_GO = 'l', /* of all memory; the same packet back */
};

#define BENCH_FLOOR_CLIENTS_MAX 16

struct bench_floor_spec {
	unsigned n_clients; /* 1: a blocking server, else one with epoll */
	int cpu;
	uint64_t region_size;
	size_t answer_length; /* of a grant */
};

struct bench_floor {
	pid_t pid;
	int sockets[BENCH_FLOOR_CLIENTS_MAX];
	unsigned n_clients;
};

#define BENCH_FLOOR_NULL ((struct bench_floor){ 0 })

int bench_floor_start(const struct bench_floor_spec *spec, struct bench_floor *floor);
void bench_floor_stop(struct bench_floor *floor);

/* A request of @length bytes. */
void bench_floor_request(enum bench_floor_want want, size_t length, struct bench_packet *packet);

/* Not timed. */
int bench_floor_let_go(const struct bench_floor *floor);

#endif
