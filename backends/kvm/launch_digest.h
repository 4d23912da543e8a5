/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests of launches for the kinds that have one: gm_launch_digest.h by way of blobs.
 */
#ifndef GM_BACKENDS_LAUNCH_DIGEST_H
#define GM_BACKENDS_LAUNCH_DIGEST_H

#include "gm_launch_digest.h"
#include "launch_rules.h"

void gm_launch_begin_kind(enum gm_launch_kind kind, uint8_t ret_blob[GM_LAUNCH_BLOB_SIZE]);

/* Nothing can be put in any more. 0 or a verdict. */
GM_WARN_UNUSED int gm_launch_close(struct gm_launch_digest *digest,
				   uint8_t ret_blob[GM_LAUNCH_BLOB_SIZE]);

/* As gm_launch_rules::finish, where the end puts nothing into the digest. */
GM_WARN_UNUSED int gm_launch_finish_as_it_is(uint8_t blob[GM_LAUNCH_BLOB_SIZE],
					     const struct gm_launch_vcpus *vcpus,
					     struct gm_refusal *refusal);

#endif
