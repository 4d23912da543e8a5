/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects that gmemd keeps books on: tenants, sessions, domains, regions.
 *
 * Plain data. Who may change what, and in which order, is book.h's. An fd in here is a number to
 * the core; the layer that made it closes it.
 */
#ifndef GM_MODEL_H
#define GM_MODEL_H

#include <sys/queue.h>
#include <sys/types.h>

#include "book_marks.h"
#include "bucket.h"
#include "gm_hash.h"
#include "gm_siphash.h"
#include "gm_token.h"
#include "launch.h"
#include "ledger.h"
#include "news.h"
#include "page_map.h"
#include "policy.h"

#define GM_NAME_SIZE 65 /* longest name of the wire and its NUL */

/* Ids are random, never 0, never reused while the daemon runs; an id tells nothing about others. */
struct gm_domain_id {
	uint64_t v;
};
struct gm_region_id {
	uint64_t v;
};
struct gm_session_id {
	uint64_t v;
};

struct gm_domain;
struct gm_region;
struct gm_session;

struct gm_tenant {
	struct gm_mark mark;
	struct gm_marks *marks;	    /* of the book */
	struct gm_step_list *steps; /* of the book */
	char name[GM_NAME_SIZE];
	uint32_t index; /* part of every hash key: a foreign id is simply not there */
	struct gm_policy policy;
	struct gm_account account;
	struct gm_bucket requests;    /* of RequestsRate=, once it was asked */
	struct gm_bucket bytes;	      /* of AllocateRate= */
	struct gm_bucket conversions; /* of ConversionRate= */
	void *owner;		      /* of the layer above (its share of workers) */
	uint64_t allocated_bytes;     /* sum over its regions */
	uint64_t shared_bytes;	      /* the same; of @allocated_bytes */
	struct gm_counters counters;
	TAILQ_HEAD(, gm_domain) domains;
	TAILQ_HEAD(, gm_session) sessions;
	struct gm_domain *names;     /* uthash by name; a table of its own, so that names chosen
				      * to collide slow nobody but the tenant that chose them */
	TAILQ_ENTRY(gm_tenant) link; /* book::tenants */
};

enum gm_session_state {
	GM_SESSION_GREETING, /* connected, HELLO not yet seen: nothing but HELLO is legal */
	GM_SESSION_OPEN,     /* every verb of its kind is legal */
	GM_SESSION_CLOSING,  /* connection gone, jobs still ending: nothing is legal */
	GM_SESSION_STATE_N_
};

const char *gm_session_state_name(enum gm_session_state state);

#define GM_SESSION_KEY_SIZE 16

/* What a client shows to have its session back. Never logged, compared in constant time. */
struct gm_session_key {
	uint8_t bytes[GM_SESSION_KEY_SIZE];
};

struct gm_session {
	struct gm_mark mark; /* sessions of tenants only, from GM_SESSION_OPEN on */
	struct gm_session_id id;
	enum gm_session_state state;
	struct gm_tenant *tenant; /* NULL on the admin socket */
	struct gm_peer peer;
	char client[GM_NAME_SIZE]; /* from HELLO; "" before */
	bool has_key;		   /* from HELLO; without one nobody can resume it */
	struct gm_session_key key;
	struct gm_charge charge; /* GM_RES_SESSIONS */
	struct gm_charge fds;	 /* GM_RES_FDS */
	unsigned n_jobs;
	TAILQ_HEAD(, gm_domain) domains;
	TAILQ_ENTRY(gm_session) link; /* tenant::sessions or book::admin_sessions */
	void *owner;		      /* of the layer above; the core never looks */
};

enum gm_lifetime {
	GM_LIFETIME_BOUND,
	GM_LIFETIME_PERSISTENT,
	GM_LIFETIME_N_
};

/* What the kind of a domain is like, as far as its pages are concerned. */
enum gm_trait {
	GM_TRAIT_PRIVATE = 1 << 0,  /* private memory: a guest_memfd on the VMM's own VM */
	GM_TRAIT_MIRRORED = 1 << 1, /* to zap a private page destroys what it holds */
	/* Of these: one file for both, gm_region::private_fd, which the daemon converts by itself.
	 */
	GM_TRAIT_IN_PLACE = 1 << 2,
	GM_TRAIT_LAUNCH = 1 << 3,	   /* it does not run before a launch is finished */
	GM_TRAIT_DAEMON_LAUNCHES = 1 << 4, /* which the daemon carries out itself, at its end */
	GM_TRAITS_END = 1 << 5
};

/* What the domain has belongs to the VM of the process that made it: nobody else can take it over.
 */
#define GM_TRAITS_OF_VM (GM_TRAIT_PRIVATE | GM_TRAIT_DAEMON_LAUNCHES)

/* Of a process, for one resource, as getrlimit(2) has them; GM_UNLIMITED: none. */
struct gm_limits {
	uint64_t soft;
	uint64_t hard;
};

enum gm_step_kind {
	GM_STEP_NONE,
	GM_STEP_CREATE_MEMORY, /* a guest_memfd on the VMM's VM */
	GM_STEP_BIND,	       /* it is put into a memslot, all of it private */
	GM_STEP_CONVERT,       /* ranges are made shared or private */
	GM_STEP_LAUNCH_START,  /* of the domain: the platform begins to measure */
	GM_STEP_POPULATE,      /* a range gets its content, which is measured */
	GM_STEP_LAUNCH_FINISH, /* of the domain: the measurement is closed */
	GM_STEP_MOVE,	       /* of the domain: its VM takes over what the daemon has launched */
	GM_STEP_KIND_N_
};

#define GM_LAUNCH_DIGEST_SIZE 512
#define GM_LAUNCH_SOURCES_MAX 16
#define GM_LAUNCH_WHY_MAX 112

/* A sealed file that pages can be populated from. */
struct gm_source {
	uint64_t id; /* random, not 0 */
	int fd;
	uint64_t size;
	struct gm_charge fds; /* GM_RES_FDS */
};

/* Why a launch has failed; all zero while it has not. */
struct gm_launch_failure {
	uint32_t sys_errno;
	uint32_t firmware_error;
	char text[GM_LAUNCH_WHY_MAX];
};

/* What a launch that the daemon carries out is to put in, in this order. */
struct gm_put {
	struct gm_region *region;
	uint64_t offset;
	uint64_t length;
	uint64_t source;
	uint64_t source_offset;
};

#define GM_LAUNCH_PUTS_MAX 1024

/* Of a domain whose kind has GM_TRAIT_LAUNCH. See book_launch.h. */
struct gm_launch {
	enum gm_launch_state state;
	enum gm_step_kind step_kind; /* of the domain: start or finish; or GM_STEP_NONE */
	uint64_t step_id;
	uint64_t deadline_ms;
	unsigned n_hashing; /* jobs that work out what the next step puts in */
	uint8_t digest[GM_LAUNCH_DIGEST_SIZE];
	uint8_t next_digest[GM_LAUNCH_DIGEST_SIZE];
	struct gm_launch_failure failure;
	bool changed;		/* digests or failure, since they were recorded */
	struct gm_trail *trail; /* NULL: nobody wants it, or it went with a restart */
	unsigned n_sources;
	struct gm_source sources[GM_LAUNCH_SOURCES_MAX];
	/* With GM_TRAIT_DAEMON_LAUNCHES. See book_own_launch.h. */
	uint8_t *parameters;
	size_t parameters_size;
	struct gm_put *puts;
	uint32_t n_puts;
	int vm_fd;		 /* launched, and not taken over yet; -1. Closed by who made it */
	struct gm_charge vm_fds; /* GM_RES_FDS */
};

struct gm_domain {
	struct gm_mark mark;
	struct gm_domain_id id;
	uint64_t sequence; /* order of creation; what a list cursor counts in */
	struct gm_tenant *tenant;
	char name[GM_NAME_SIZE]; /* "" if none */
	char kind[GM_KIND_NAME_MAX + 1];
	enum gm_lifetime lifetime;
	unsigned traits;	  /* enum gm_trait bits */
	bool running;		  /* its launch is finished, or it has none */
	struct gm_launch *launch; /* with GM_TRAIT_LAUNCH */
	struct gm_token token;
	struct gm_session *session; /* attached, or NULL: orphaned */
	uint64_t created_ms;
	uint64_t orphaned_ms; /* when @session became NULL */
	uint64_t reserved_bytes;
	uint64_t allocated_bytes;
	uint64_t shared_bytes; /* sum over its regions */
	/* Not shared yet, but being made so in steps under way, or may be under standing orders. */
	uint64_t converting_bytes;
	unsigned n_rooms_ended;	 /* how often the room of its orders was taken back */
	struct gm_charge charge; /* GM_RES_DOMAINS */
	struct gm_charge slot;	 /* a GM_RES_SLOT_; nothing if it has none. To the very end */
	/* GM_RES_MEMLOCK: granted to the process of @session, and to nobody without one. */
	struct gm_charge memlock;
	struct gm_limits memlock_base; /* what the process had before its first grant */
	unsigned n_jobs;	       /* over all its regions */
	bool dying;		       /* set by gm_book_end_domain */
	bool quarantined;	       /* set by gm_book_quarantine_domain */
	uint32_t n_regions;
	uint32_t max_regions;	     /* room in @regions */
	struct gm_region **regions;  /* by gpa, lowest first */
	void *owner;		     /* of the layer above (its workers); the core never looks */
	TAILQ_ENTRY(gm_domain) link; /* tenant::domains */
	TAILQ_ENTRY(gm_domain) session_link; /* session::domains, when attached */
	struct gm_hash_node hash;	     /* book::domains */
	UT_hash_handle by_name; /* tenant::names, when it has a name and is not dying */
};

/* Which file it is: what fstat(2) says. All 0 where that is not known. */
struct gm_file_id {
	uint64_t device;
	uint64_t inode;
};

/* Within a region. */
struct gm_range {
	uint64_t offset;
	uint64_t length;
};

/*
 * What the VMM has been told to do with a region, because only its address space can. Its outcome
 * is unknown until it is reported.
 */
struct gm_step {
	uint64_t id; /* random, not 0 */
	enum gm_step_kind kind;
	enum gm_page_op op; /* of GM_STEP_CONVERT */
	bool reported;	    /* done; what it has left over is being freed */
	uint64_t deadline_ms;
	uint64_t bytes_to_share; /* booked in gm_domain::converting_bytes */
	/* Of the ranges, by which they are known again after a restart. */
	struct gm_siphash_key key;
	uint64_t digest;
	size_t n_ranges; /* 0 also where only the digest is known */
	struct gm_range ranges[];
};

TAILQ_HEAD(gm_step_list, gm_region);

/*
 * A standing order: conversions that the VMM does first and reports then. See book_order.h.
 */
struct gm_order {
	uint64_t id;	/* random; 0: there is none */
	uint64_t last;	/* number of the last report that is booked */
	uint64_t spent; /* bytes made shared under it */
	uint64_t room;	/* and that still may be: booked in gm_domain::converting_bytes */
	uint64_t granularity;
	/* Of the daemon that runs: */
	bool frees;	    /* what a report has left over in the other half is being freed */
	unsigned n_waiting; /* reports that have come meanwhile */
};

struct gm_region {
	struct gm_mark mark;
	struct gm_region_id id;
	uint64_t sequence; /* as in gm_domain */
	struct gm_domain *domain;
	char name[GM_NAME_SIZE];
	uint64_t gpa;
	uint64_t size;
	uint64_t page_size;
	uint64_t numa_nodes;	  /* bits; 0: anywhere */
	uint64_t allocated_bytes; /* what is not absent in @map, as last booked */
	uint64_t shared_bytes;	  /* what is shared */
	struct gm_page_map map;
	struct gm_charge memory; /* GM_RES_MEMORY */
	struct gm_charge huge;	 /* GM_RES_HUGE_*, or nothing */
	struct gm_charge count;	 /* GM_RES_REGIONS */
	struct gm_charge fds;	 /* GM_RES_FDS */
	struct gm_charge locked; /* GM_RES_MEMLOCK: kinds whose memory the daemon's launch pins */
	unsigned n_jobs;
	unsigned n_jobs_of[GM_PAGE_OP_JOBS_N_];
	int fd;			/* -1 until made; closed by whoever made it */
	struct gm_file_id file; /* recorded, so that a restart knows the fd again */
	/* Kinds with private memory: @fd is the shared half; with GM_TRAIT_IN_PLACE it stays -1. */
	int private_fd; /* -1 until the VMM has made it */
	struct gm_file_id private_file;
	bool bound;	      /* the VM has it: pages may be converted */
	struct gm_step *step; /* under way, or NULL */
	struct gm_order order;
	TAILQ_ENTRY(gm_region) step_link; /* gm_book::steps, while @step is there */
	bool quarantined;		  /* set by gm_book_quarantine_region */
	bool unanswered;		  /* whoever asked for it does not know it yet */
	bool map_has_changes;		  /* some of gm_marks::changes are its own */
	bool map_is_unknown;		  /* gm_mark_whole_map */
	struct gm_hash_node hash;	  /* book::regions */
};

#endif
