/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-2-4: a short digest that nobody who does not know the key can aim at.
 */
#ifndef GM_SIPHASH_H
#define GM_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct gm_siphash_key {
	uint64_t k0;
	uint64_t k1;
};

uint64_t gm_siphash(const struct gm_siphash_key *key, const void *data, size_t size);

#endif
