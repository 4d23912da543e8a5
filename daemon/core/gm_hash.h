/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place that includes uthash: out of memory is an error here, not exit(-1), which is
 * what uthash does unless told otherwise.
 *
 * Keys are {tenant index, id}. A lookup with another tenant's id therefore misses like any
 * other unknown id, in the same time.
 */
#ifndef GM_HASH_H
#define GM_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "gm_num.h"

/* For names. FNV-1a: uthash's own are macros that fall through switch labels without saying so. */
static inline unsigned gm_hash_bytes(const void *key, size_t length)
{
	const unsigned char *bytes = key;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return (unsigned)(hash ^ hash >> 32);
}

#define HASH_FUNCTION(key, length, hashv) ((hashv) = gm_hash_bytes((key), (length)))
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct gm_hash_key {
	uint64_t id;
	uint64_t tenant; /* index; 64 bits wide so that the key has no padding */
};

struct gm_hash_node {
	struct gm_hash_key key;
	UT_hash_handle hh;
};

/*
 * Books @node under @key, last in order. 0; -EEXIST when the key is taken; -ENOMEM when the table
 * is short of memory, also for growing: it is then as it was.
 */
GM_WARN_UNUSED int gm_hash_add(struct gm_hash_node **table, struct gm_hash_node *node,
			       struct gm_hash_key key);

/* NULL when it is not there. */
struct gm_hash_node *gm_hash_find(struct gm_hash_node *table, struct gm_hash_key key);

void gm_hash_remove(struct gm_hash_node **table, struct gm_hash_node *node);

/* In order of adding; NULL: the first. NULL at the end. */
struct gm_hash_node *gm_hash_next(struct gm_hash_node *table, const struct gm_hash_node *previous);

#endif
