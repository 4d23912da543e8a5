/* SPDX-License-Identifier: Apache-2.0 */
/* A launch digest as bytes, little-endian: what a record of it holds. */
#include <errno.h>
#include <string.h>

#include "gm_launch_digest.h"
#include "gm_le.h"

#define STATE_MAGIC UINT32_C(0x31444c47) /* "GLD1" */

enum offset {
	AT_MAGIC = 0,
	AT_KIND = 4,
	AT_FINISHED = 5,
	AT_GPA_BITS = 6,
	AT_OPERATIONS = 8,
	AT_PAGES = 16,
	AT_CHAIN = 24,
	AT_HASHED = AT_CHAIN + GM_SHA384_SIZE,
	AT_WORDS = AT_HASHED + 8,
	AT_BLOCK = AT_WORDS + 64,
	AT_REASON = AT_BLOCK + 128,
	AT_END = AT_REASON + GM_TEXT_MAX,
};

_Static_assert(AT_END <= GM_LAUNCH_STATE_SIZE, "the state does not fit its bytes");

void gm_launch_digest_save(const struct gm_launch_digest *digest,
			   uint8_t ret_bytes[GM_LAUNCH_STATE_SIZE])
{
	const struct gm_running_hash *hash = &digest->running;

	memset(ret_bytes, 0, GM_LAUNCH_STATE_SIZE);
	gm_put_le32(ret_bytes + AT_MAGIC, STATE_MAGIC);
	ret_bytes[AT_KIND] = (uint8_t)digest->kind;
	ret_bytes[AT_FINISHED] = digest->finished;
	ret_bytes[AT_GPA_BITS] = digest->gpa_bits;
	gm_put_le64(ret_bytes + AT_OPERATIONS, digest->n_operations);
	gm_put_le64(ret_bytes + AT_PAGES, digest->n_pages);
	memcpy(ret_bytes + AT_CHAIN, digest->chain, GM_SHA384_SIZE);
	gm_put_le64(ret_bytes + AT_HASHED, hash->n_bytes);
	for (size_t i = 0; i < GM_ARRAY_SIZE(hash->words); i++)
		gm_put_le64(ret_bytes + AT_WORDS + 8 * i, hash->words[i]);
	memcpy(ret_bytes + AT_BLOCK, hash->block, sizeof(hash->block));
	memcpy(ret_bytes + AT_REASON, digest->unpredictable,
	       strnlen(digest->unpredictable, GM_TEXT_MAX - 1));
}

int gm_launch_digest_load(const uint8_t bytes[GM_LAUNCH_STATE_SIZE],
			  struct gm_launch_digest *ret_digest)
{
	struct gm_launch_start start = { .kind = (enum gm_launch_kind)bytes[AT_KIND],
					 .gpa_bits = bytes[AT_GPA_BITS] };
	struct gm_launch_digest digest;
	struct gm_running_hash *hash = &digest.running;
	uint8_t again[GM_LAUNCH_STATE_SIZE];

	if (gm_get_le32(bytes + AT_MAGIC) != STATE_MAGIC || bytes[AT_FINISHED] > 1 ||
	    bytes[AT_END - 1] != 0 || gm_launch_digest_start(&digest, &start, NULL) != 0)
		return -EBADMSG;
	digest.finished = bytes[AT_FINISHED];
	digest.n_operations = gm_get_le64(bytes + AT_OPERATIONS);
	digest.n_pages = gm_get_le64(bytes + AT_PAGES);
	memcpy(digest.chain, bytes + AT_CHAIN, GM_SHA384_SIZE);
	hash->n_bytes = gm_get_le64(bytes + AT_HASHED);
	for (size_t i = 0; i < GM_ARRAY_SIZE(hash->words); i++)
		hash->words[i] = gm_get_le64(bytes + AT_WORDS + 8 * i);
	memcpy(hash->block, bytes + AT_BLOCK, sizeof(hash->block));
	memcpy(digest.unpredictable, bytes + AT_REASON, GM_TEXT_MAX);

	/* One encoding for one state: what is left over in the bytes was not written by save. */
	gm_launch_digest_save(&digest, again);
	if (memcmp(again, bytes, sizeof(again)) != 0)
		return -EBADMSG;
	*ret_digest = digest;
	return 0;
}
