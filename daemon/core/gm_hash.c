/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_hash.h"

#include <errno.h>

int gm_hash_add(struct gm_hash_node **table, struct gm_hash_node *node, struct gm_hash_key key)
{
	if (gm_hash_find(*table, key))
		return -EEXIST;

	node->key = key;
	HASH_ADD(hh, *table, key, sizeof(node->key), node);

	/*
	 * HASH_NONFATAL_OOM: a node that could not be added, because the first table or the
	 * growth of the buckets was short of memory, has been taken out again and has no table.
	 */
	return node->hh.tbl ? 0 : -ENOMEM;
}

struct gm_hash_node *gm_hash_find(struct gm_hash_node *table, struct gm_hash_key key)
{
	struct gm_hash_node *node = NULL;

	HASH_FIND(hh, table, &key, sizeof(key), node);
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
