/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Charges against limits, taken before anything is allocated and given back exactly once.
 *
 * Accounts form a chain: tenant -> host. A charge is booked on every account of the chain or on
 * none. Not thread-safe.
 */
#ifndef GM_LEDGER_H
#define GM_LEDGER_H

#include "gm_num.h"
#include "gm_verdict.h"

enum gm_resource {
	GM_RES_MEMORY,	/* bytes of region sizes, whatever the page size */
	GM_RES_HUGE_2M, /* bytes of regions with 2 MiB pages */
	GM_RES_HUGE_1G,
	GM_RES_REGIONS,
	GM_RES_DOMAINS,
	GM_RES_SESSIONS,
	GM_RES_FDS, /* fds that the daemon holds for somebody */
	GM_RES_JOBS,
	GM_RES_MEMLOCK, /* bytes that RLIMIT_MEMLOCK of clients was raised by */
	GM_RES_SLOT_0,	/* leases of hardware slots; what the pools are, the backends know */
	GM_RES_SLOT_1,
	GM_RES_SLOT_2,
	GM_RES_WORKERS, /* worker processes that exist or have been asked for */
	GM_RESOURCE_N_
};

/* "memory", "hugepages-2M", ...; never NULL. */
const char *gm_resource_name(enum gm_resource resource);

/* The rule that a charge over the limit of @resource breaks. */
enum gm_rule gm_resource_rule(enum gm_resource resource);

struct gm_account {
	char name[GM_OBJECT_MAX];	 /* "host", "tenant acme" */
	struct gm_account *parent;	 /* borrowed, outlives this account; NULL at the top */
	uint64_t limits[GM_RESOURCE_N_]; /* GM_UNLIMITED: none */
	uint64_t used[GM_RESOURCE_N_];
};

/* All limits GM_UNLIMITED. @name is cut to fit. */
void gm_account_init(struct gm_account *account, const char *name, struct gm_account *parent);

/* A lower limit than what is used breaks no grant: it only refuses new charges. */
void gm_account_set_limit(struct gm_account *account, enum gm_resource resource, uint64_t limit);

/* True when nothing is booked: what every account must be at the end. */
bool gm_account_is_zero(const struct gm_account *account);

struct gm_charge {
	struct gm_account *account; /* NULL: nothing is held */
	enum gm_resource resource;
	uint64_t amount;
};

/*
 * Charges @amount to @account and its parents. 0, or GM_OVER_LIMIT with the name, limit and use
 * of the first account whose limit it passes and with what was asked. @charge must hold nothing.
 */
GM_WARN_UNUSED int gm_charge_take(struct gm_charge *charge, struct gm_account *account,
				  enum gm_resource resource, uint64_t amount,
				  struct gm_refusal *refusal);

/*
 * Charges what was granted before, whatever the limits are now. 0, or -EOVERFLOW when a sum would
 * not fit its 64 bits: nothing is booked then.
 */
GM_WARN_UNUSED int gm_charge_force(struct gm_charge *charge, struct gm_account *account,
				   enum gm_resource resource, uint64_t amount);

/* Gives it back. Idempotent; safe on a zeroed struct. */
void gm_charge_done(struct gm_charge *charge);

#endif
