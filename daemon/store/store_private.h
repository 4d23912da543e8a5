/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the store share with one another and with nobody else.
 */
#ifndef GM_STORE_PRIVATE_H
#define GM_STORE_PRIVATE_H

#include "store.h"
#include "store_layout.h"
#include "store_ranges.h"

/* Which records of a kind are free. */
struct gm_store_table {
	uint32_t n_ever; /* those after have never been used */
	uint32_t n_free; /* of those before */
	uint32_t *free;	 /* has room for all */
};

/* A GiB as its head will say once the transaction is committed. */
struct gm_store_gib {
	uint64_t region_id; /* not of the region that has the GiB: as if all were 0 */
	uint64_t snapshot_check;
	uint32_t snapshot_size;
	uint32_t next_touched; /* and 1 */
	uint16_t n_ops;
	uint8_t base;
	uint8_t active;
	bool is_touched; /* by this transaction */
	bool is_settled; /* its head tells what the map says now, not how it came to that */
};

/* Which GiBs of the maps a region has. */
struct gm_store_place {
	uint32_t first;
	uint8_t order;
	bool is_used; /* some slot may have been written */
};

/* Where the record of a domain's launch is. */
struct gm_store_launch_place {
	uint32_t gib; /* of the maps, and 1; 0: it has none */
	uint8_t copy;
};

struct gm_store {
	unsigned char *at[GM_STORE_PART_N_];
	struct gm_store_limits limits;
	struct gm_store_layout layout;
	uint32_t version; /* that the record has */
	struct gm_store_table tables[GM_MARK_KIND_N_];
	struct gm_ranges ranges;
	struct gm_store_place *places;		/* by region record */
	struct gm_store_launch_place *launches; /* by domain record */
	struct gm_store_gib *gibs;		/* by GiB of the maps */
	uint64_t *n_answers;			/* by session record: how many it has had */
	uint32_t *stale_tenants; /* records that nothing refers to, removed with the next commit */
	uint32_t n_stale_tenants;
	uint32_t first_touched; /* GiB, and 1 */
	uint64_t log_used;
	unsigned char *scratch; /* a snapshot */
	void (*release)(void *arg, enum gm_store_part part, uint64_t offset, uint64_t length);
	void *release_arg;
};

/* ---- the log: store_log.c ---- */

/* 0, or -EBADMSG when what is committed there is no transaction. */
GM_WARN_UNUSED int gm_store_log_recover(struct gm_store *store);

/* Adds a write to the transaction. All are multiples of 8. */
void gm_store_log_put(struct gm_store *store, enum gm_store_part part, uint64_t offset,
		      const void *bytes, size_t size);

/* From here on the transaction has happened, whatever comes. */
void gm_store_log_commit(struct gm_store *store);

/* ---- tables: store_table.c ---- */

static inline uint64_t gm_store_record_at(const struct gm_store *store, enum gm_mark_kind kind,
					  uint32_t record)
{
	return store->layout.table[kind] + (uint64_t)(record - 1) * store->layout.slot_size[kind];
}

static inline void *gm_store_record(const struct gm_store *store, enum gm_mark_kind kind,
				    uint32_t record)
{
	return store->at[GM_STORE_STATE] + gm_store_record_at(store, kind, record);
}

/* What a slot of a table holds. */
enum gm_store_found {
	GM_STORE_EMPTY,
	GM_STORE_SOUND,
	GM_STORE_DAMAGED
};
enum gm_store_found gm_store_look(const struct gm_store *store, enum gm_mark_kind kind,
				  uint32_t record);

bool gm_store_table_has_room(const struct gm_store *store, enum gm_mark_kind kind);

/* 0: the table is full. */
uint32_t gm_store_table_take(struct gm_store *store, enum gm_mark_kind kind);
void gm_store_table_give(struct gm_store *store, enum gm_mark_kind kind, uint32_t record);

/* Puts the counters into the transaction if they have changed. */
void gm_store_put_counters(struct gm_store *store);

/* False: the counters are damaged. */
bool gm_store_read_counters(struct gm_store *store);

/* ---- records: store_record.c ---- */

/* Puts the record of the object into the transaction. */
void gm_store_put_record(struct gm_store *store, const struct gm_mark *mark);

/* The same for its removal. */
void gm_store_put_removal(struct gm_store *store, enum gm_mark_kind kind, uint32_t record);

/* The object is leaving: it loses its record. */
bool gm_store_is_ending(const struct gm_mark *mark);

const struct gm_domain *gm_store_domain_of(const struct gm_mark *mark);
struct gm_region *gm_store_region_of(const struct gm_mark *mark);

/* ---- page maps: store_maps.c ---- */

static inline uint64_t gm_store_slot_at(const struct gm_store *store, uint32_t gib)
{
	return store->layout.slots + (uint64_t)gib * GM_STORE_GIB_SIZE;
}

static inline uint64_t gm_store_head_at(const struct gm_store *store, uint32_t gib)
{
	return store->layout.heads + (uint64_t)gib * sizeof(struct gm_store_gib_head);
}

void gm_store_put_change(struct gm_store *store, const struct gm_map_change *change);
void gm_store_put_whole_map(struct gm_store *store, struct gm_region *region);
void gm_store_put_heads(struct gm_store *store);

/* An operation as a word. */
uint64_t gm_store_pack_op(uint64_t region_id, unsigned index, unsigned first, unsigned n_pages,
			  enum gm_page_state state);

/* Bytes of the region that its GiB number @gib has. */
static inline uint64_t gm_store_gib_length(uint64_t size, uint64_t gib)
{
	return gm_min_u64(size - gib * GM_GIB, GM_GIB);
}

/* Gives the slots of a region back. */
void gm_store_release_map(struct gm_store *store, const struct gm_store_place *place);

/*
 * Builds the page map of a region, all absent so far, from what is recorded. 0 or -ENOMEM.
 * *ret_lost: how many GiBs were damaged, and are lost now.
 */
GM_WARN_UNUSED int gm_store_load_map(struct gm_store *store, const struct gm_store_region *record,
				     struct gm_store_place *place, struct gm_page_map *map,
				     uint64_t *ret_lost);

/* ---- launches: store_launch.c ---- */

/* The domain has something of a launch to be recorded, and no place for it yet. */
bool gm_store_wants_launch(const struct gm_store *store, const struct gm_domain *domain);

/* False: there is no room. */
bool gm_store_take_launch(struct gm_store *store, uint32_t record);

/* Gives the place back, if there is one. */
void gm_store_give_launch(struct gm_store *store, uint32_t record);

/* Writes what has changed where nothing points to yet; @record, of the domain, will. */
void gm_store_put_launch(struct gm_store *store, const struct gm_domain *domain,
			 struct gm_store_domain *record);

/* Gives what the place takes in memory back. */
void gm_store_release_launch(struct gm_store *store, uint32_t record);

/* 0; 1: the domain has none; or -EBADMSG. */
GM_WARN_UNUSED int gm_store_load_launch(struct gm_store *store, uint32_t record,
					const struct gm_store_domain *domain,
					struct gm_store_launch *ret_launch);

/* ---- answers: store_answer.c ---- */

void gm_store_put_answer(struct gm_store *store, const struct gm_store_answer *answer);

/* How many answers of the session are damaged. */
unsigned gm_store_load_answers(struct gm_store *store, uint32_t record, uint64_t session_id);

void gm_store_release_answers(struct gm_store *store, uint32_t record);

#endif
