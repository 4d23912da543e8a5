/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_hash.h"

#include <errno.h>

/*
 * Ids are random and the daemon's own: nobody can choose them so that they collide. One product
 * spreads them; hashing byte by byte was seen in the time of a grant.
 */
static unsigned hash_of(const struct gm_hash_key *key)
{
	return (unsigned)((key->id + key->tenant) * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

int gm_hash_add(struct gm_hash_node **table, struct gm_hash_node *node, struct gm_hash_key key)
{
	struct gm_hash_node *taken = NULL;
	unsigned hash = hash_of(&key);

	HASH_FIND_BYHASHVALUE(hh, *table, &key, sizeof(key), hash, taken);
	if (taken)
		return -EEXIST;

	node->key = key;
	HASH_ADD_BYHASHVALUE(hh, *table, key, sizeof(node->key), hash, node);

	/*
	 * HASH_NONFATAL_OOM: a node that could not be added, because the first table or the
	 * growth of the buckets was short of memory, has been taken out again and has no table.
	 */
	return node->hh.tbl ? 0 : -ENOMEM;
}

struct gm_hash_node *gm_hash_find(struct gm_hash_node *table, struct gm_hash_key key)
{
	struct gm_hash_node *node = NULL;

	HASH_FIND_BYHASHVALUE(hh, table, &key, sizeof(key), hash_of(&key), node);
	return node;
}

void gm_hash_remove(struct gm_hash_node **table, struct gm_hash_node *node)
{
	HASH_DELETE(hh, *table, node);
}

struct gm_hash_node *gm_hash_next(struct gm_hash_node *table, const struct gm_hash_node *previous)
{
	return previous ? previous->hh.next : table;
}
