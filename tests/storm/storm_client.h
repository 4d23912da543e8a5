/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client: what it has open, and its steps. Between them nothing is under way.
 */
#ifndef STORM_CLIENT_H
#define STORM_CLIENT_H

#include "storm_link.h"

/* A region's memory in this process. */
struct storm_place {
	uint64_t region; /* 0: none */
	uint64_t inode;
	int fd; /* -1: the link's */
	uint64_t size;
	uint8_t *at;
};

struct storm_self {
	unsigned index;
	struct storm_client *client;
	struct storm_rng rng;
	struct storm_link link;
	unsigned n_names;
	unsigned n_fds;			  /* that the link has open, without memory */
	bool may_lock;			  /* the hard limit has room for MEMLOCK */
	uint64_t held[STORM_DOMAINS_MAX]; /* id of the domain that the link is attached to, or 0 */
	struct storm_place places[STORM_DOMAINS_MAX][STORM_REGIONS];
};

/* ---- storm_client.c */

/* Runs the operations and settles the model. False when the storm has failed. */
bool storm_self_run(struct storm_self *self, struct storm_op *ops, unsigned n);

/* Attaches to a domain whose holder we are, and maps its regions. */
bool storm_self_attach(struct storm_self *self, struct storm_domain *domain);

void storm_self_forget(struct storm_self *self, const struct storm_domain *domain);

static inline size_t storm_domain_index(const struct storm_domain *domain)
{
	return (size_t)(domain - storm->domains);
}

static inline struct storm_place *storm_place_of(struct storm_self *self,
						 const struct storm_domain *domain,
						 const struct storm_region *region)
{
	return &self->places[storm_domain_index(domain)][region - domain->regions];
}

/* Ours, and attached. */
static inline bool storm_is_held(const struct storm_self *self, struct storm_domain *domain)
{
	return atomic_load(&domain->holder) == (int)self->index &&
	       storm_is(&domain->state, STORM_LIVE) && self->held[storm_domain_index(domain)];
}

/* What this process may lock beyond its own: by the kernel, and by the model. */
#define STORM_MEMLOCK_OWN UINT64_C(65536)
bool storm_self_check_memlock(const struct storm_self *self);

/* ---- storm_plan.c */

/* Up to @max operations that do not get into each other's way; 0 when there was nothing to do. */
unsigned storm_plan(struct storm_self *self, struct storm_op *ops, unsigned max);

/* Writes a mark somewhere, or offers a domain to the others. */
void storm_plan_aside(struct storm_self *self);

/* Takes a domain that is offered, or one for END. NULL: there is none. */
struct storm_domain *storm_take_offered(struct storm_self *self);

/* ---- storm_look.c */

/* What the daemon says of our domains, and what is in their memory, against the model. */
bool storm_look(struct storm_self *self);
bool storm_look_at_marks(struct storm_self *self, struct storm_domain *domain);

/* After a job that did not end as asked for: the model takes over what the page map says. */
bool storm_look_after_job(struct storm_self *self, struct storm_domain *domain,
			  struct storm_region *region);

#endif
