/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "store_private.h"

enum gm_store_found gm_store_look(const struct gm_store *store, enum gm_mark_kind kind,
				  uint32_t record)
{
	const void *bytes = gm_store_record(store, kind, record);
	uint64_t check;

	memcpy(&check, bytes, sizeof(check));
	if (check == 0)
		return GM_STORE_EMPTY;
	return gm_store_record_check(bytes, store->layout.slot_size[kind]) == check
		       ? GM_STORE_SOUND
		       : GM_STORE_DAMAGED;
}

bool gm_store_table_has_room(const struct gm_store *store, enum gm_mark_kind kind)
{
	const struct gm_store_table *table = &store->tables[kind];

	return table->n_free > 0 || table->n_ever < store->layout.n_slots[kind];
}

uint32_t gm_store_table_take(struct gm_store *store, enum gm_mark_kind kind)
{
	struct gm_store_table *table = &store->tables[kind];

	if (table->n_free > 0)
		return table->free[--table->n_free];
	if (table->n_ever == store->layout.n_slots[kind])
		return 0;
	return ++table->n_ever;
}

void gm_store_table_give(struct gm_store *store, enum gm_mark_kind kind, uint32_t record)
{
	struct gm_store_table *table = &store->tables[kind];

	table->free[table->n_free++] = record;
}

static struct gm_store_counters *counters(const struct gm_store *store)
{
	return (void *)(store->at[GM_STORE_STATE] + store->layout.counters);
}

void gm_store_put_counters(struct gm_store *store)
{
	struct gm_store_counters now;

	for (unsigned kind = 0; kind < GM_MARK_KIND_N_; kind++)
		now.n_ever[kind] = store->tables[kind].n_ever;
	if (memcmp(now.n_ever, counters(store)->n_ever, sizeof(now.n_ever)) == 0)
		return;
	now.check = gm_store_record_check(&now, sizeof(now));
	gm_store_log_put(store, GM_STORE_STATE, store->layout.counters, &now, sizeof(now));
}

bool gm_store_read_counters(struct gm_store *store)
{
	const struct gm_store_counters *now = counters(store);

	if (gm_store_record_check(now, sizeof(*now)) != now->check)
		return false;
	for (unsigned kind = 0; kind < GM_MARK_KIND_N_; kind++) {
		if (now->n_ever[kind] > store->layout.n_slots[kind])
			return false;
		store->tables[kind].n_ever = now->n_ever[kind];
	}
	return true;
}
