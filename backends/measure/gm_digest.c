/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On OpenSSL's structs of the 1.1 interface, on purpose: EVP has no way to save a hash that has not
 * ended, and a launch must survive a restart. They run the same assembly, allocate nothing, cannot
 * fail, and do without the start of the providers, which takes longer than a small firmware.
 */
#define OPENSSL_API_COMPAT 0x10100000L

#include "gm_digest.h"

#include <errno.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

size_t gm_hash_size(enum gm_hash_kind kind)
{
	return kind == GM_HASH_SHA256 ? GM_SHA256_SIZE : GM_SHA384_SIZE;
}

void gm_hash_bytes(enum gm_hash_kind kind, const void *bytes, size_t n_bytes, uint8_t *ret_digest)
{
	SHA256_CTX short_ctx;
	SHA512_CTX long_ctx;

	if (kind == GM_HASH_SHA256) {
		(void)SHA256_Init(&short_ctx);
		(void)SHA256_Update(&short_ctx, bytes, n_bytes);
		(void)SHA256_Final(ret_digest, &short_ctx);
	} else {
		(void)SHA384_Init(&long_ctx);
		(void)SHA384_Update(&long_ctx, bytes, n_bytes);
		(void)SHA384_Final(ret_digest, &long_ctx);
	}
}

int gm_hmac_sha256(const void *key, size_t key_size, const void *bytes, size_t n_bytes,
		   uint8_t ret_mac[GM_SHA256_SIZE])
{
	return HMAC(EVP_sha256(), key, (int)key_size, bytes, n_bytes, ret_mac, NULL) ? 0 : -ENOMEM;
}

static void load_256(const struct gm_running_hash *hash, SHA256_CTX *ctx)
{
	(void)SHA256_Init(ctx);
	for (size_t i = 0; i < GM_ARRAY_SIZE(ctx->h); i++)
		ctx->h[i] = (SHA_LONG)hash->words[i];
	ctx->Nl = (SHA_LONG)(hash->n_bytes << 3);
	ctx->Nh = (SHA_LONG)(hash->n_bytes >> 29);
	ctx->num = (unsigned)(hash->n_bytes % SHA256_CBLOCK);
	memcpy(ctx->data, hash->block, ctx->num);
}

static void save_256(const SHA256_CTX *ctx, struct gm_running_hash *hash)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(ctx->h); i++)
		hash->words[i] = ctx->h[i];
	memset(hash->block, 0, sizeof(hash->block));
	memcpy(hash->block, ctx->data, ctx->num);
}

static void load_384(const struct gm_running_hash *hash, SHA512_CTX *ctx)
{
	(void)SHA384_Init(ctx);
	for (size_t i = 0; i < GM_ARRAY_SIZE(ctx->h); i++)
		ctx->h[i] = hash->words[i];
	ctx->Nl = hash->n_bytes << 3;
	ctx->Nh = hash->n_bytes >> 61;
	ctx->num = (unsigned)(hash->n_bytes % SHA512_CBLOCK);
	memcpy(ctx->u.p, hash->block, ctx->num);
}

static void save_384(const SHA512_CTX *ctx, struct gm_running_hash *hash)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(ctx->h); i++)
		hash->words[i] = ctx->h[i];
	memset(hash->block, 0, sizeof(hash->block));
	memcpy(hash->block, ctx->u.p, ctx->num);
}

void gm_running_hash_init(struct gm_running_hash *hash, enum gm_hash_kind kind)
{
	SHA256_CTX short_ctx;
	SHA512_CTX long_ctx;

	memset(hash, 0, sizeof(*hash));
	hash->kind = kind;
	if (kind == GM_HASH_SHA256) {
		(void)SHA256_Init(&short_ctx);
		save_256(&short_ctx, hash);
	} else {
		(void)SHA384_Init(&long_ctx);
		save_384(&long_ctx, hash);
	}
}

void gm_running_hash_update(struct gm_running_hash *hash, const void *bytes, size_t n_bytes)
{
	SHA256_CTX short_ctx;
	SHA512_CTX long_ctx;

	if (hash->kind == GM_HASH_SHA256) {
		load_256(hash, &short_ctx);
		(void)SHA256_Update(&short_ctx, bytes, n_bytes);
		save_256(&short_ctx, hash);
	} else {
		load_384(hash, &long_ctx);
		(void)SHA384_Update(&long_ctx, bytes, n_bytes);
		save_384(&long_ctx, hash);
	}
	hash->n_bytes += n_bytes;
}

void gm_running_hash_peek(const struct gm_running_hash *hash, uint8_t *ret_digest)
{
	SHA256_CTX short_ctx;
	SHA512_CTX long_ctx;

	if (hash->kind == GM_HASH_SHA256) {
		load_256(hash, &short_ctx);
		(void)SHA256_Final(ret_digest, &short_ctx);
	} else {
		load_384(hash, &long_ctx);
		(void)SHA384_Final(ret_digest, &long_ctx);
	}
}
