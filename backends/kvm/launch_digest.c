/* SPDX-License-Identifier: Apache-2.0 */
#include "launch_digest.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"
#include "gm_page_hash.h"

static_assert(GM_LAUNCH_BLOB_SIZE == GM_LAUNCH_STATE_SIZE, "the blob is the saved state");
static_assert(GM_LAUNCH_DIGEST_MAX == GM_DIGEST_MAX, "any digest fits");

static const enum gm_launch_page pages[GM_POPULATE_N_] = {
	[GM_POPULATE_NORMAL] = GM_LAUNCH_NORMAL,	 [GM_POPULATE_ZERO] = GM_LAUNCH_ZERO,
	[GM_POPULATE_UNMEASURED] = GM_LAUNCH_UNMEASURED, [GM_POPULATE_SECRETS] = GM_LAUNCH_SECRETS,
	[GM_POPULATE_CPUID] = GM_LAUNCH_CPUID,		 [GM_POPULATE_VCPU] = GM_LAUNCH_VMSA,
};

/* Pages of @put whose tags are wanted; their digests are kept where the platform wants them. */
static int hash_pages(const struct gm_launch_put *put, size_t n_pages,
		      uint8_t (**ret_digests)[GM_SHA384_SIZE])
{
	uint8_t(*digests)[GM_SHA384_SIZE] = calloc(n_pages, sizeof(*digests));
	int r;

	if (digests == NULL)
		return -ENOMEM;
	r = gm_hash_pages(put->bytes, put->length, n_pages, put->n_threads, NULL, digests);
	if (r < 0) {
		free(digests);
		return r;
	}
	for (size_t i = 0; i < n_pages && i < put->max_tags; i++)
		put->ret_tags[i] = gm_launch_tag(digests[i]);
	*ret_digests = digests;
	return 0;
}

static int put_vcpus(struct gm_launch_digest *digest, const struct gm_launch_put *put,
		     struct gm_refusal *refusal)
{
	uint8_t hash[GM_SHA384_SIZE] = { 0 };
	int r = 0;

	for (size_t i = 0;
	     put->ret_tags != NULL && i < put->max_tags && i < put->length / GM_PAGE_4K; i++) {
		gm_hash_bytes(GM_HASH_SHA384, put->bytes + i * GM_PAGE_4K, GM_PAGE_4K, hash);
		put->ret_tags[i] = gm_launch_tag(hash);
	}
	for (uint64_t at = 0; r == 0 && at < put->length; at += GM_PAGE_4K)
		r = gm_launch_digest_update(digest,
					    &(struct gm_launch_range){ .type = GM_LAUNCH_VMSA,
								       .gpa = GM_LAUNCH_VMSA_GPA,
								       .length = GM_PAGE_4K,
								       .bytes = put->bytes + at,
								       .n_bytes = GM_PAGE_4K },
					    1, refusal);
	return r;
}

/* No page is hashed twice: where the digest is a chain over digests of pages, it gets those. */
static int put_range(struct gm_launch_digest *digest, const struct gm_launch_put *put,
		     struct gm_refusal *refusal)
{
	struct gm_launch_range range = { .type = pages[put->type],
					 .gpa = put->gpa,
					 .length = put->length,
					 .bytes = put->bytes,
					 .n_bytes = put->bytes ? put->length : 0 };
	bool is_tagged = put->ret_tags != NULL && put->max_tags > 0 && put->bytes != NULL &&
			 put->type == GM_POPULATE_NORMAL;
	bool is_chain = digest->kind == GM_LAUNCH_SNP;
	size_t n_pages = put->length / GM_PAGE_4K;
	_gm_free_ uint8_t(*digests)[GM_SHA384_SIZE] = NULL;
	int r = 0;

	if (is_tagged)
		r = hash_pages(put, is_chain ? n_pages : gm_min_u64(n_pages, put->max_tags),
			       &digests);
	if (r < 0)
		return r;
	if (is_tagged && is_chain) {
		range.digests = digests;
		range.bytes = NULL;
		range.n_bytes = 0;
	}
	return gm_launch_digest_update(digest, &range, put->n_threads, refusal);
}

int gm_launch_put(uint8_t blob[GM_LAUNCH_BLOB_SIZE], const struct gm_launch_put *put,
		  struct gm_refusal *refusal)
{
	struct gm_launch_digest digest;
	int r;

	assert((unsigned)put->type < GM_POPULATE_N_ && put->type != GM_POPULATE_NONE);
	r = gm_launch_digest_load(blob, &digest);
	if (r == 0)
		r = put->type == GM_POPULATE_VCPU ? put_vcpus(&digest, put, refusal)
						  : put_range(&digest, put, refusal);
	if (r == 0)
		gm_launch_digest_save(&digest, blob);
	return r;
}

int gm_launch_spoil(uint8_t blob[GM_LAUNCH_BLOB_SIZE], const char *reason)
{
	struct gm_launch_digest digest;
	int r;

	r = gm_launch_digest_load(blob, &digest);
	if (r < 0)
		return r;
	gm_launch_digest_spoil(&digest, "%s", reason);
	gm_launch_digest_save(&digest, blob);
	return 0;
}

int gm_launch_peek(const uint8_t blob[GM_LAUNCH_BLOB_SIZE],
		   uint8_t ret_digest[GM_LAUNCH_DIGEST_MAX], size_t *ret_size,
		   struct gm_refusal *refusal)
{
	struct gm_launch_digest digest;
	int r;

	r = gm_launch_digest_load(blob, &digest);
	if (r == 0)
		r = gm_launch_digest_peek(&digest, ret_digest, refusal);
	if (r == 0)
		*ret_size = gm_launch_digest_size(digest.kind);
	return r;
}

void gm_launch_begin_kind(enum gm_launch_kind kind, uint8_t ret_blob[GM_LAUNCH_BLOB_SIZE])
{
	struct gm_launch_digest digest;
	int r;

	r = gm_launch_digest_start(&digest, &(struct gm_launch_start){ .kind = kind }, NULL);
	assert(r == 0);
	gm_launch_digest_save(&digest, ret_blob);
}

int gm_launch_close(struct gm_launch_digest *digest, uint8_t ret_blob[GM_LAUNCH_BLOB_SIZE])
{
	uint8_t bytes[GM_DIGEST_MAX];
	int r;

	r = gm_launch_digest_finish(digest, bytes, NULL);
	/* Unpredictable: that is an answer as well. */
	if (r != 0 && r != GM_UNSUPPORTED)
		return r;
	gm_launch_digest_save(digest, ret_blob);
	return 0;
}

int gm_launch_finish_as_it_is(uint8_t blob[GM_LAUNCH_BLOB_SIZE],
			      const struct gm_launch_vcpus *vcpus, struct gm_refusal *refusal)
{
	struct gm_launch_digest digest;
	int r;

	(void)vcpus;
	(void)refusal;
	r = gm_launch_digest_load(blob, &digest);
	return r == 0 ? gm_launch_close(&digest, blob) : r;
}
