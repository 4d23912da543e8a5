/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the record lies in its two areas. Version 4.
 *
 *   state:  header | counters | log control | tenants | sessions | domains | regions | answers |
 * log maps:   header | a head for each GiB | a slot for each GiB
 *
 * Numbers are of the machine: the record is for the next process on the same host. A change that an
 * older daemon can live with makes a new GM_STORE_VERSION; one that it cannot live with makes a new
 * GM_STORE_COMPAT as well, which is the version that a reader has to know at least.
 *
 * Version 3 did not know what a launch had measured, and would give the place of it to a region;
 * and the room of standing orders to others.
 *
 * Version 2 knew no private memory: a daemon of that version would keep the files of VMs for ever.
 *
 * Version 1 knew neither slots nor locked memory: a daemon of that version would never give them
 * back, and must not read what a later one has written.
 *
 * Version 0 had neither the time since when a domain is orphaned, nor quarantine.
 */
#ifndef GM_STORE_LAYOUT_H
#define GM_STORE_LAYOUT_H

#include <assert.h>

#include "book_order.h"
#include "store.h"

#define GM_STORE_MAGIC UINT64_C(0x4554415453444d47)	 /* "GMDSTATE" */
#define GM_STORE_MAPS_MAGIC UINT64_C(0x5350414d53444d47) /* "GMDSMAPS" */
#define GM_STORE_VERSION 4u
#define GM_STORE_COMPAT 4u

/* Magic, version and compat stay where they are in every version. */
struct gm_store_header {
	uint64_t magic;
	uint32_t version;
	uint32_t compat;
	uint64_t check; /* of all that follows */
	uint64_t id;
	struct gm_store_limits limits;
	uint32_t slot_sizes[GM_MARK_KIND_N_];
	uint32_t answer_size;
	uint32_t n_answers;
	uint32_t gib_size;
};
static_assert(sizeof(struct gm_store_header) == 80, "no padding");

/* Records up to here have been in use once: nobody needs to look at those after. */
struct gm_store_counters {
	uint64_t check;
	uint32_t n_ever[GM_MARK_KIND_N_];
};
static_assert(sizeof(struct gm_store_counters) == 24, "no padding");

/* The log holds a transaction from the word that sets @committed to the one that clears it. */
struct gm_store_log {
	uint64_t committed; /* bytes; 0: none */
	uint64_t check;
};

struct gm_store_maps_header {
	uint64_t magic;
	uint64_t id; /* as in the state */
};

/*
 * Records. The first word is the checksum of the rest, and 0 where there is no record. What is
 * called a reference is the number of another record, 1 for the first, 0 for none.
 */

struct gm_store_tenant {
	uint64_t check;
	char name[GM_NAME_SIZE];
	uint8_t zero[128 - 8 - GM_NAME_SIZE];
};
static_assert(sizeof(struct gm_store_tenant) == 128, "no padding");

struct gm_store_session {
	uint64_t check;
	uint64_t id;
	uint32_t tenant; /* reference */
	int32_t pid;
	uint32_t uid;
	uint32_t gid;
	uint8_t key[GM_SESSION_KEY_SIZE];
	uint8_t has_key;
	char client[GM_NAME_SIZE];
	uint8_t zero[256 - 48 - 1 - GM_NAME_SIZE];
};
static_assert(sizeof(struct gm_store_session) == 256, "no padding");

#define GM_STORE_QUARANTINED 1u
#define GM_STORE_BOUND 2u      /* of regions, since version 3 */
#define GM_STORE_UNANSWERED 4u /* the same */

struct gm_store_domain {
	uint64_t check;
	uint64_t id;
	uint64_t sequence;
	uint64_t session_id; /* what the reference must lead to */
	uint32_t tenant;     /* reference */
	uint32_t session;    /* reference */
	uint8_t token[GM_TOKEN_SIZE];
	uint64_t created_ms;
	uint64_t orphaned_ms; /* since version 1 */
	uint32_t flags;	      /* since version 1 */
	uint8_t lifetime;
	char kind[GM_KIND_NAME_MAX + 1];
	char name[GM_NAME_SIZE];
	uint8_t slot; /* pool, and 1; since version 2, and so is all that follows */
	uint64_t memlock_bytes;
	uint64_t memlock_soft; /* what the process had before */
	uint64_t memlock_hard;
	uint8_t traits; /* of its kind; since version 3, and so is all that follows */
	uint8_t launch_state;
	uint8_t launch_step_kind;
	uint64_t launch_step_id;
	uint64_t launch_deadline_ms;
	uint32_t launch_gib;  /* whose slot has the rest, and 1; since version 4, and so is this: */
	uint32_t launch_copy; /* which of the two there counts */
	uint8_t zero[256 - 248];
};
static_assert(offsetof(struct gm_store_domain, launch_step_id) == 224, "no padding that counts");
static_assert(offsetof(struct gm_store_domain, memlock_bytes) == 192, "no padding");
static_assert(sizeof(struct gm_store_domain) == 256, "no padding");

struct gm_store_region {
	uint64_t check;
	uint64_t id;
	uint64_t sequence;
	uint64_t domain_id; /* what the reference must lead to */
	uint32_t domain;    /* reference */
	uint32_t flags;	    /* since version 1 */
	uint64_t gpa;
	uint64_t size;
	uint64_t page_size;
	uint64_t numa_nodes;
	uint64_t device;
	uint64_t inode;
	uint32_t ops_under_way;
	uint32_t map_first; /* its first GiB in the maps */
	uint32_t map_order; /* it has 1 << map_order of them */
	char name[GM_NAME_SIZE];
	uint8_t step_kind; /* since version 3, and so is all that follows */
	uint8_t step_op;
	uint8_t step_reported;
	uint64_t private_device;
	uint64_t private_inode;
	uint64_t step_id;
	uint64_t step_key[2];
	uint64_t step_digest;
	uint64_t step_deadline_ms;
	uint64_t order_id; /* 0: none; since version 4, and so is all that follows */
	uint64_t order_last;
	uint64_t order_spent;
	uint32_t order_room;	   /* in pages */
	uint8_t order_granularity; /* its logarithm */
	uint8_t zero[256 - 168 - 10 * 8 - 5];
};
static_assert(offsetof(struct gm_store_region, private_device) == 168, "no padding");
static_assert(offsetof(struct gm_store_region, order_room) == 248, "no padding");
static_assert(GM_ORDER_ROOM / GM_PAGE_4K <= UINT32_MAX, "the room of an order fits");
static_assert(sizeof(struct gm_store_region) == 256, "no padding");

struct gm_store_answer_slot {
	uint64_t check;
	uint64_t session_id;
	uint64_t sequence; /* from 0, of the session; its slot is this modulo GM_STORE_ANSWERS */
	uint32_t serial;
	uint16_t type;
	uint16_t flags;
	uint16_t length;
	uint8_t body[GM_STORE_BODY_MAX];
};
static_assert(sizeof(struct gm_store_answer_slot) == 128, "no padding");

/*
 * The head of a GiB of a region's page map: the pages are as the base says, changed by the first
 * @n_ops operations of its slot. A head that is of no region or of another one than has the GiB now
 * stands for a GiB that is all absent.
 */
struct gm_store_gib_head {
	uint64_t check;
	uint64_t region_id;
	uint64_t snapshot_check;
	uint32_t snapshot_size;
	uint16_t n_ops;
	uint8_t base;	/* a page state, or GM_STORE_SNAPSHOT */
	uint8_t active; /* which of the two snapshots it is */
};
static_assert(sizeof(struct gm_store_gib_head) == 32, "no padding");

#define GM_STORE_SNAPSHOT 0xffu

/* An operation: first page, pages less 1, state, and a checksum in the upper 24 bits. */
#define GM_STORE_OPS_MAX 1024u
#define GM_STORE_OP_PAGE_BITS 18

/* A slot: operations, two snapshots. */
#define GM_STORE_GIB_SIZE (256 * GM_KIB)
#define GM_STORE_SNAPSHOT_AT(active) (64u * 1024u + (active) * (96u * 1024u))
static_assert(GM_STORE_OPS_MAX * 8 <= GM_STORE_SNAPSHOT_AT(0), "the operations fit");
static_assert(GM_PAGE_GIB_BYTES_MAX <= 96 * GM_KIB, "a snapshot fits");

/*
 * What a launch has measured: in the slot of a GiB that no page map has, for there are few launches
 * and it is long. The domain's record leads to it. Two copies: one that counts is not written over
 * before the transaction that makes the other one count.
 */
struct gm_store_launch {
	uint64_t check;
	uint64_t domain_id;
	uint32_t sys_errno;
	uint32_t firmware_error;
	char failure[GM_LAUNCH_WHY_MAX];
	uint8_t digest[GM_LAUNCH_DIGEST_SIZE];
	uint8_t next_digest[GM_LAUNCH_DIGEST_SIZE];
};
static_assert(sizeof(struct gm_store_launch) == 24 + 112 + 2 * 512, "no padding");

#define GM_STORE_LAUNCH_AT(copy) ((copy)*UINT64_C(2048))
static_assert(sizeof(struct gm_store_launch) <= 2048, "a copy fits");

/* Where everything is, by the limits. */
struct gm_store_layout {
	uint64_t table[GM_MARK_KIND_N_];
	uint32_t slot_size[GM_MARK_KIND_N_];
	uint32_t n_slots[GM_MARK_KIND_N_];
	uint64_t counters;
	uint64_t log_control;
	uint64_t answers;
	uint64_t log;
	uint64_t log_size;
	uint64_t state_size;
	uint64_t heads;
	uint64_t slots;
	uint64_t maps_size;
};

/* False for limits that no record can have. */
bool gm_store_lay_out(const struct gm_store_limits *limits, struct gm_store_layout *ret_layout);

/* Checksum of @size bytes, a multiple of 8; never 0. */
uint64_t gm_store_checksum(const void *bytes, size_t size);

/* The same of what follows the first word of a record, which holds it. */
static inline uint64_t gm_store_record_check(const void *record, size_t size)
{
	return gm_store_checksum((const char *)record + sizeof(uint64_t), size - sizeof(uint64_t));
}

#endif
