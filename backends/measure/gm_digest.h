/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes as launch measurements use them: of bytes at once, keyed, and running ones whose state is
 * plain data, so that it can be copied, finished early, recorded, and carried on elsewhere.
 */
#ifndef GM_DIGEST_H
#define GM_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "gm_num.h"

#define GM_SHA256_SIZE 32
#define GM_SHA384_SIZE 48
#define GM_DIGEST_MAX GM_SHA384_SIZE

/* Its numbers are recorded. */
enum gm_hash_kind {
	GM_HASH_SHA256 = 1,
	GM_HASH_SHA384 = 2,
};

size_t gm_hash_size(enum gm_hash_kind kind);

/* @ret_digest: gm_hash_size(@kind) bytes. @bytes may be NULL when there are none. */
void gm_hash_bytes(enum gm_hash_kind kind, const void *bytes, size_t n_bytes, uint8_t *ret_digest);

/* 0 or -ENOMEM. */
int gm_hmac_sha256(const void *key, size_t key_size, const void *bytes, size_t n_bytes,
		   uint8_t ret_mac[GM_SHA256_SIZE]) GM_WARN_UNUSED;

struct gm_running_hash {
	enum gm_hash_kind kind;
	uint64_t n_bytes;   /* absorbed */
	uint64_t words[8];  /* FIPS 180-4's H */
	uint8_t block[128]; /* the last n_bytes % block size bytes, then zeros */
};

void gm_running_hash_init(struct gm_running_hash *hash, enum gm_hash_kind kind);
void gm_running_hash_update(struct gm_running_hash *hash, const void *bytes, size_t n_bytes);

/* What it would be if nothing followed; @hash may go on. */
void gm_running_hash_peek(const struct gm_running_hash *hash, uint8_t *ret_digest);

#endif
