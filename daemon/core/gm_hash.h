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

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include <stdint.h>

struct gm_hash_key {
	uint64_t id;
	uint64_t tenant; /* index; 64 bits wide so that the key has no padding */
};

struct gm_hash_node {
	struct gm_hash_key key;
	UT_hash_handle hh;
};

#endif
