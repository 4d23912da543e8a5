/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has happened, as it is told to the log and to whoever watches; and what is counted of it.
 * Plain data; the numbers are those of NewsKind in gmem.proto.
 */
#ifndef GM_NEWS_H
#define GM_NEWS_H

#include <sys/types.h>

#include "gm_num.h"
#include "gm_verdict.h"
#include "histogram.h"

struct gm_tenant;

enum gm_news_kind {
	GM_NEWS_NONE = 0,
	GM_NEWS_GRANT = 1,	 /* a region was handed out */
	GM_NEWS_REFUSAL = 2,	 /* a request was refused */
	GM_NEWS_FAILURE = 3,	 /* a request failed, and should not have */
	GM_NEWS_VIOLATION = 4,	 /* a peer was cut off */
	GM_NEWS_DOMAIN = 5,	 /* a domain was made */
	GM_NEWS_ATTACH = 6,	 /* a domain was attached, or taken over */
	GM_NEWS_ORPHAN = 7,	 /* a domain waits for its next VMM */
	GM_NEWS_END = 8,	 /* a region or a domain ended, and gave back what it had */
	GM_NEWS_EVICT = 9,	 /* a domain was ended by the operator */
	GM_NEWS_JOB = 10,	 /* a job was done */
	GM_NEWS_WORKER = 11,	 /* a worker died in a job */
	GM_NEWS_QUARANTINE = 12, /* a restart has not found something as it was */
	GM_NEWS_RELOAD = 13,	 /* the policies were read again, or could not be */
	GM_NEWS_LOST = 14,	 /* pages of private memory: nobody knows their state */
	GM_NEWS_N_
};

/* "grant", "refusal", ...; never NULL. */
const char *gm_news_name(enum gm_news_kind kind);

/* Who is at the other end, as the kernel says. */
struct gm_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};

/* Lives as long as the call that tells it. */
struct gm_news {
	enum gm_news_kind kind;
	struct gm_tenant *tenant; /* whose it is; NULL: the operator's, or the host's */
	bool has_peer;		  /* somebody has caused it: */
	bool by_operator;	  /* not a peer of the tenant */
	struct gm_peer peer;
	int pidfd;	    /* of the peer: borrowed; -1 where there is none */
	const char *client; /* what the peer calls itself; NULL or "": unknown */
	const char *verb;   /* of a refusal or failure, or NULL */
	uint64_t domain;    /* ids; 0: none */
	uint64_t region;
	int result; /* a verdict, or -errno */
	enum gm_rule rule;
	uint64_t bytes;
	const char *text;   /* one line, never NULL */
	const char *unsaid; /* for the log alone, and no watcher; NULL or "": nothing */
};

/* Since the daemon's start. */
struct gm_counters {
	uint64_t requests;
	uint64_t refusals;
	uint64_t violations;
	uint64_t codes[GM_VERDICT_N_]; /* answers by code */
	uint64_t rules[GM_RULE_N_];    /* refusals by rule */
	uint64_t news[GM_NEWS_N_];
	struct gm_histogram grant_us; /* from a request for a region to its answer */
	struct gm_histogram job_us;   /* and of a job */
};

/* An answer was given: @result as in gm_news. @rule: of a refusal. */
void gm_counters_answer(struct gm_counters *counters, int result, enum gm_rule rule);

void gm_counters_merge(struct gm_counters *into, const struct gm_counters *from);

#endif
