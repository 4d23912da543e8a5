/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The redo log. A transaction is written there, declared committed by one word, copied to where it
 * belongs, and taken back by the same word. A kill before the first word is no transaction; after
 * it, the next process copies again, which changes nothing that was copied already.
 *
 * An entry is a word that tells part, length and offset, and the bytes.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "gm_fault.h"
#include "store_private.h"
#include "store_words.h"

#define OFFSET_BITS 47
#define LENGTH_BITS 16

struct entry {
	enum gm_store_part part;
	uint64_t offset;
	uint64_t size;
};

static uint64_t pack(const struct entry *entry)
{
	return (uint64_t)entry->part << 63 | entry->size / 8 << OFFSET_BITS | entry->offset;
}

static struct entry unpack(uint64_t word)
{
	return (struct entry){ .part = (enum gm_store_part)(word >> 63),
			       .offset = word & ((UINT64_C(1) << OFFSET_BITS) - 1),
			       .size = (word >> OFFSET_BITS & ((1u << LENGTH_BITS) - 1)) * 8 };
}

static unsigned char *log_at(const struct gm_store *store)
{
	return store->at[GM_STORE_STATE] + store->layout.log;
}

static struct gm_store_log *control(const struct gm_store *store)
{
	return (void *)(store->at[GM_STORE_STATE] + store->layout.log_control);
}

void gm_store_log_put(struct gm_store *store, enum gm_store_part part, uint64_t offset,
		      const void *bytes, size_t size)
{
	const struct entry entry = { part, offset, size };
	uint64_t word = pack(&entry);

	/* The log has room for everything that one transaction can have. */
	assert(store->log_used + sizeof(word) + size <= store->layout.log_size);
	gm_store_copy_words(log_at(store) + store->log_used, &word, sizeof(word));
	gm_store_copy_words(log_at(store) + store->log_used + sizeof(word), bytes, size);
	store->log_used += sizeof(word) + size;
}

static struct entry entry_at(const struct gm_store *store, uint64_t at)
{
	uint64_t word;

	memcpy(&word, log_at(store) + at, sizeof(word));
	return unpack(word);
}

static void apply(struct gm_store *store, uint64_t committed)
{
	uint64_t at = 0;

	while (at < committed) {
		struct entry entry = entry_at(store, at);

		at += sizeof(uint64_t);
		GM_FAULT_POINT("log: entry");
		gm_store_copy_words(store->at[entry.part] + entry.offset, log_at(store) + at,
				    entry.size);
		at += entry.size;
	}
}

void gm_store_log_commit(struct gm_store *store)
{
	uint64_t committed = store->log_used;

	if (committed == 0)
		return;
	GM_FAULT_POINT("log: written");
	gm_store_set_word(&control(store)->check, gm_store_checksum(log_at(store), committed));
	GM_FAULT_POINT("log: checksummed");
	gm_store_set_word(&control(store)->committed, committed);
	GM_FAULT_POINT("log: committed");
	apply(store, committed);
	GM_FAULT_POINT("log: copied");
	gm_store_set_word(&control(store)->committed, 0);
	GM_FAULT_POINT("log: taken back");
	store->log_used = 0;
}

/* A transaction writes neither the log nor anything that is not there. */
static bool entry_is_sound(const struct gm_store *store, const struct entry *entry)
{
	uint64_t end = entry->part == GM_STORE_STATE ? store->layout.log : store->layout.maps_size;
	uint64_t log_control = store->layout.log_control;

	if (entry->size == 0 || !gm_is_aligned(entry->offset, 8) || entry->offset > end ||
	    entry->size > end - entry->offset)
		return false;
	return entry->part != GM_STORE_STATE || entry->offset + entry->size <= log_control ||
	       entry->offset >= log_control + sizeof(struct gm_store_log);
}

static bool is_sound(const struct gm_store *store, uint64_t committed)
{
	uint64_t at = 0;

	if (committed > store->layout.log_size || !gm_is_aligned(committed, 8) ||
	    gm_store_checksum(log_at(store), committed) != control(store)->check)
		return false;
	while (at < committed) {
		struct entry entry = entry_at(store, at);

		at += sizeof(uint64_t);
		if (!entry_is_sound(store, &entry) || entry.size > committed - at)
			return false;
		at += entry.size;
	}
	return true;
}

int gm_store_log_recover(struct gm_store *store)
{
	uint64_t committed = control(store)->committed;

	if (committed == 0)
		return 0;
	if (!is_sound(store, committed))
		return -EBADMSG;
	apply(store, committed);
	GM_FAULT_POINT("recovery: copied");
	gm_store_set_word(&control(store)->committed, 0);
	return 0;
}
