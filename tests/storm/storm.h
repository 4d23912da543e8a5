/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gmem-storm: what its processes share, and the parts that it is made of.
 *
 * One process, the conductor, runs gmemd under its keeper, kills gmemd and clients at random, and
 * compares. The clients, a process each, do random operations. What each of them has done, and is
 * just doing, is in shared memory (the model), so that it outlives the client.
 *
 * Invariants:
 *   - A domain of the model is changed by its holder only; by the conductor only while all clients
 *     wait, or when its holder is dead.
 *   - An object is marked (CREATING, DYING, a job's ranges, a mark's next value) before the request
 *     goes out, and settled after the answer: whenever a client is killed, the model tells what may
 *     and what must be.
 */
#ifndef STORM_H
#define STORM_H

#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>

#include "gm_num.h"
#include "gm_token.h"

#define STORM_CLIENTS_MAX 64
#define STORM_DOMAINS 3 /* of each client, beside those that are passed on */
#define STORM_SHARED 8	/* that are passed on */
#define STORM_REGIONS 4
#define STORM_DOMAINS_MAX (STORM_CLIENTS_MAX * STORM_DOMAINS + STORM_SHARED)
#define STORM_TENANTS 2

#define STORM_PAGE UINT64_C(4096)
#define STORM_SIZE_MAX (UINT64_C(64) << 20)
#define STORM_PAGES_MAX (STORM_SIZE_MAX / STORM_PAGE)
#define STORM_MARKS 4
#define STORM_RANGES 3

#define STORM_FAULT_MAX 512

enum storm_state {
	STORM_FREE,
	STORM_CREATING,
	STORM_LIVE,
	STORM_DYING,
};

struct storm_range {
	uint64_t offset;
	uint64_t length;
};

struct storm_pages {
	uint64_t words[STORM_PAGES_MAX / 64];
};

/* A page with contents that are known: @value, or @next while that is being written. */
struct storm_mark {
	atomic_ullong value; /* 0: no mark */
	atomic_ullong next;
	uint64_t page;
};

/* ALLOCATE or DISCARD under way: what its ranges hold is not known meanwhile. */
struct storm_job {
	atomic_bool active;
	bool allocate;
	unsigned n_ranges;
	struct storm_range ranges[STORM_RANGES];
};

struct storm_region {
	atomic_int state;
	uint64_t id; /* of those that are LIVE or DYING */
	uint64_t gpa;
	uint64_t size;
	struct storm_job job;
	struct storm_pages pages; /* those that are present */
	struct storm_mark marks[STORM_MARKS];
};

/* In storm_domain::holder: offered to whoever takes it, by the client in the lower bits. */
#define STORM_OFFERED 0x10000
#define STORM_NOBODY 0xffff

struct storm_domain {
	atomic_int state;
	atomic_int holder;    /* the client, or STORM_OFFERED | client or STORM_NOBODY */
	atomic_bool attached; /* to the holder's session */
	bool persistent;
	bool guest_memfd;
	unsigned tenant;
	char name[40];
	uint64_t id;
	struct gm_token token;
	uint64_t
		memlock; /* that its holder may lock for it; only of those that are not passed on */
	struct storm_region regions[STORM_REGIONS];
};

enum storm_phase {
	STORM_RUN,
	STORM_HALT, /* finish what is under way, compare, and wait */
	STORM_END,  /* give everything back, and exit */
};

struct storm_client {
	atomic_int pid;	    /* 0: none */
	atomic_uint halted; /* the round that it has halted for */
	atomic_uint incarnation;
	atomic_uint sessions; /* sessions that it may have left without a connection */
	atomic_ullong requests;
	atomic_ullong answers;
	atomic_ullong resumed;
	atomic_ullong repeated; /* requests that were sent once more */
	atomic_ullong told;	/* domains that it was told to have lost to another client */
	atomic_ullong late;	/* of these, told after a return: the event was lost */
	char doing[32];
};

struct storm {
	/* Set before any client starts. */
	uint64_t seed;
	unsigned n_clients;
	bool has_guest_memfd;
	char folder[64];
	char sockets[STORM_TENANTS][96];
	char admin[96];

	atomic_int phase; /* enum storm_phase */
	atomic_uint round;
	atomic_bool failed;
	char fault[STORM_FAULT_MAX]; /* the first */

	struct storm_client clients[STORM_CLIENTS_MAX];
	struct storm_domain domains[STORM_DOMAINS_MAX];
};

extern struct storm *storm;

/* ---- storm_base.c */

/* Says what is wrong, for the conductor to tell. Only the first is kept. */
void storm_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

struct storm_rng {
	uint64_t state;
};
uint64_t storm_random(struct storm_rng *rng);
/* 0 .. @n - 1 */
uint64_t storm_pick(struct storm_rng *rng, uint64_t n);
bool storm_chance(struct storm_rng *rng, unsigned percent);

uint64_t storm_now_us(void);
void storm_nap_us(uint64_t us);

static inline unsigned storm_tenant_of(unsigned client)
{
	return client / 2 % STORM_TENANTS;
}

static inline const char *storm_tenant_name(unsigned tenant)
{
	return tenant ? "beta" : "alpha";
}

/* ---- storm_model.c */

bool storm_page_is_set(const struct storm_pages *pages, uint64_t page);
void storm_pages_set(struct storm_pages *pages, const struct storm_range *range, bool set);
uint64_t storm_pages_count(const struct storm_pages *pages);

/*
 * The model's pages against those that were found. In the ranges of a job under way anything may be
 * there; with @adopt that is believed. False, and @fault says which page differs.
 */
bool storm_pages_match(struct storm_region *region, const struct storm_pages *found, bool adopt,
		       char fault[STORM_FAULT_MAX]);

/* A job has ended as asked for. */
void storm_job_done(struct storm_region *region);
/* It has ended otherwise: what there was of marks in its ranges is not known any more. */
void storm_job_forget_marks(struct storm_region *region);

void storm_region_reset(struct storm_region *region);
void storm_domain_reset(struct storm_domain *domain);

static inline bool storm_is(atomic_int *state, enum storm_state wanted)
{
	return atomic_load(state) == (int)wanted;
}

/* ---- storm_client.c */

/* A client's whole life; does not return. */
void storm_client_run(unsigned index) __attribute__((noreturn));

#endif
