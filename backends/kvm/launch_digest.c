/* SPDX-License-Identifier: Apache-2.0 */
#include "launch_digest.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static_assert(GM_LAUNCH_BLOB_SIZE == GM_LAUNCH_STATE_SIZE, "the blob is the saved state");
static_assert(GM_LAUNCH_DIGEST_MAX == GM_DIGEST_MAX, "any digest fits");

static const enum gm_launch_page pages[GM_POPULATE_N_] = {
	[GM_POPULATE_NORMAL] = GM_LAUNCH_NORMAL,	 [GM_POPULATE_ZERO] = GM_LAUNCH_ZERO,
	[GM_POPULATE_UNMEASURED] = GM_LAUNCH_UNMEASURED, [GM_POPULATE_SECRETS] = GM_LAUNCH_SECRETS,
	[GM_POPULATE_CPUID] = GM_LAUNCH_CPUID,		 [GM_POPULATE_VCPU] = GM_LAUNCH_VMSA,
};

static int put_vcpus(struct gm_launch_digest *digest, const struct gm_launch_put *put,
		     struct gm_refusal *refusal)
{
	int r = 0;

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

static int put_range(struct gm_launch_digest *digest, const struct gm_launch_put *put,
		     struct gm_refusal *refusal)
{
	return gm_launch_digest_update(
		digest,
		&(struct gm_launch_range){ .type = pages[put->type],
					   .gpa = put->gpa,
					   .length = put->length,
					   .bytes = put->bytes,
					   .n_bytes = put->bytes ? put->length : 0 },
		put->n_threads, refusal);
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
