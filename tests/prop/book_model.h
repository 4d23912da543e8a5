/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model of the books that knows the rules but no structure: flat arrays, linear searches, one
 * byte a page. One world a program.
 */
#ifndef BOOK_MODEL_H
#define BOOK_MODEL_H

#include "book.h"
#include "gm_test.h"

#define TENANTS 3
#define SESSIONS 12
#define DOMAINS 40
#define REGIONS 160
#define JOBS 24
#define PAGES_MAX 64  /* of one region */
#define ADDRESSES 512 /* pages of a domain that regions are put at */

struct model_session {
	struct gm_session *real;
	unsigned tenant; /* TENANTS: admin */
};

struct model_domain {
	struct gm_domain *real;
	uint64_t id;
	unsigned tenant;
	char name[8];
	int session; /* -1: orphaned */
	bool ended;
};

struct model_region {
	struct gm_region *real;
	uint64_t id;
	int domain;
	uint64_t first; /* page number in the domain */
	uint64_t pages;
	bool huge;
	uint8_t present[PAGES_MAX];
};

struct model_job {
	bool used;
	struct gm_job_ticket ticket;
	int region;
	int session;
	uint64_t first;
	uint64_t pages;
	enum gm_page_op op;
};

struct world {
	struct gm_test_rng rng;
	struct gm_book book;
	struct gm_tenant *tenants[TENANTS];
	struct gm_policy policies[TENANTS];
	struct model_session sessions[SESSIONS];
	struct model_domain domains[DOMAINS];
	struct model_region regions[REGIONS];
	struct model_job jobs[JOBS];
	uint64_t next_id;
	uint64_t dead_id;    /* of something that was destroyed */
	unsigned long calls; /* into the book that changed or might have changed it */
	unsigned long refused;
	unsigned long short_of_memory;
};

extern struct world world;

uint64_t model_below(uint64_t n);
uint64_t model_used_domains(unsigned tenant);
uint64_t model_used_regions(unsigned tenant);
uint64_t model_used_memory(unsigned tenant, bool huge_only);
uint64_t model_used_sessions(unsigned tenant);
uint64_t model_used_jobs(unsigned tenant);
unsigned model_jobs_of_domain(int domain);
unsigned model_jobs_of_region(int region);
uint64_t model_unit_of(const struct model_region *region);
bool model_sees(int session, int domain);
int model_any_session(void);
int model_any_domain(void);
int model_any_region(void);

/* An allocation fails in one of 32 calls, if the call makes that many. */
bool model_maybe_short_of_memory(void);

/* Limits are asked when the object has been allocated: short of memory may come before them. */
void model_judge(int r, int expected, bool was_short, const char *what);
void model_compare(void);

#endif
