/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of reconnection share: a client that reconnects, the events that it has seen, and
 * pieces of scripts for daemons that die.
 */
#ifndef CLIENT_OUTAGE_H
#define CLIENT_OUTAGE_H

#include "client_server.h"

#define SIZE (1 << 20)
#define REGION 0x55

struct seen {
	gmem_client *client;
	int n;
	int types[8];
	uint64_t values[8];
	gmem_domain *lost;
	int inner; /* status of a ping made in RECONNECTED; 1: none is wanted */
};

gmem_client *outage_client(struct server *server, server_script script, struct seen *seen,
			   int patience_ms);
void outage_end(struct server *server, gmem_client *client);

/* One event: back in the same session. */
void outage_check_resumed(const struct seen *seen);

/* A client with domain 1 and REGION of it, which is outage_memory on both sides. */
gmem_domain *outage_open_region(struct server *server, server_script script, struct seen *seen,
				uint32_t flags);
void outage_close_region(struct server *server, const struct seen *seen);
extern int outage_memory;

/* A job's done function: counts in an int the jobs that dealt with SIZE. */
void outage_count_done(void *arg, int status, uint64_t bytes);

uint64_t outage_now_ms(void);
void outage_nap_ms(long ms);

/* ---- for scripts */

void outage_answer_ping(struct server *server);
void outage_serve_ping(struct server *server);
/* What outage_open_region asks for. */
void outage_grant(struct server *server);
void outage_send_progress(struct server *server, uint64_t bytes);
void outage_answer_allocate(struct server *server, uint32_t serial);

/* Domain 1 is attached again with its token; @stray: the id of a second region, or 0. */
void outage_expect_attach(struct server *server);
void outage_answer_attach(struct server *server, uint64_t stray);
/* What a client asks about domain 1 when its session was resumed. */
void outage_expect_look(struct server *server);
void outage_answer_look(struct server *server, bool attached_here);
/* All of that: the session is resumed, and domain 1 is there. */
void outage_resume(struct server *server);
void outage_give_memory(struct server *server, int fd);
void outage_refuse(struct server *server, Gmem__Code code, Gmem__Rule rule);

#endif
