/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a client speaks to gmemd: by raw packets, many at a time, or by libgmem. Both come back by
 * themselves when gmemd does, with the same session, and both return only when every operation is
 * answered.
 */
#ifndef STORM_LINK_H
#define STORM_LINK_H

#include "storm.h"

#define STORM_BATCH_MAX 8

enum storm_verb {
	STORM_PING,
	STORM_DOMAIN_CREATE,
	STORM_DOMAIN_ATTACH, /* whoever has it */
	STORM_DOMAIN_GET,
	STORM_DOMAIN_DESTROY,
	STORM_REGION_CREATE,
	STORM_REGION_GET, /* with its memory */
	STORM_REGION_DESTROY,
	STORM_REGION_MAP,
	STORM_JOB,    /* region->job */
	STORM_CANCEL, /* the job before it in the batch */
	STORM_LIST,
	STORM_STATS,
	STORM_MEMLOCK, /* of domain->memlock bytes */
	STORM_VERBS,
};

struct storm_op {
	enum storm_verb verb;
	struct storm_domain *domain;
	struct storm_region *region;
	bool with_kvm;	  /* DOMAIN_CREATE */
	bool with_cancel; /* JOB: it is to be cancelled */

	/* What became of it. */
	int status; /* 0 or a code of the protocol */
	char refusal[160];
	uint64_t id;
	struct gm_token token;
	int fd;		/* REGION_CREATE, REGION_GET: the client's, -1: the link keeps it */
	void *at;	/* where the link has mapped it; NULL: it has not */
	uint64_t bytes; /* JOB; DOMAIN_GET: reserved */
	uint64_t allocated;
	uint32_t n_regions;
	bool attached;
	struct storm_pages *pages; /* REGION_MAP: room for them */

	/* The raw link's own. */
	uint32_t serial;
	bool answered;
	size_t length;
	uint8_t packet[256];
};

struct storm_link;

struct storm_link_ops {
	/* A new session. False when it could not be had: storm_fail() has been called. */
	bool (*open)(struct storm_link *link);
	void (*close)(struct storm_link *link);
	/* True when all are answered. */
	bool (*run)(struct storm_link *link, struct storm_op *ops, unsigned n);
	/* The client has no business with the domain any more: another has taken it. */
	void (*drop)(struct storm_link *link, uint64_t domain);
	unsigned batch_max;
};

struct storm_link {
	const struct storm_link_ops *ops;
	unsigned index;
	const char *path;
	struct storm_client *client;
	struct storm_rng *rng;
	void *priv;
};

bool storm_raw_link(struct storm_link *link);
bool storm_lib_link(struct storm_link *link);

#endif
