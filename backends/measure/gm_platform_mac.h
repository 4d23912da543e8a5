/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest owner's side of a SEV launch computes: the MAC of LAUNCH_MEASURE and the keys of a
 * session. A host never has the keys: it can predict the digest, not the MAC.
 */
#ifndef GM_PLATFORM_MAC_H
#define GM_PLATFORM_MAC_H

#include "gm_digest.h"

#define GM_SESSION_KEY_SIZE 16

struct gm_launch_measure {
	uint8_t tik[GM_SESSION_KEY_SIZE];
	uint8_t api_major;
	uint8_t api_minor;
	uint8_t build;
	uint32_t policy;
	uint8_t digest[GM_SHA256_SIZE];
	uint8_t mnonce[16];
};

/* Firmware before API 0.17 left the context and version bytes out: so does this. 0 or -ENOMEM. */
int gm_launch_measure_mac(const struct gm_launch_measure *measure,
			  uint8_t ret_mac[GM_SHA256_SIZE]) GM_WARN_UNUSED;

/* SP 800-108, counter mode, HMAC-SHA256, one block. -EINVAL: label and context are over 256 bytes.
 */
int gm_session_kdf(const void *key, size_t key_size, const char *label, const void *context,
		   size_t context_size, uint8_t ret_key[GM_SESSION_KEY_SIZE]) GM_WARN_UNUSED;

/* WRAP_MAC: under the integrity key that @z and @nonce give. */
int gm_session_wrap_mac(const void *z, size_t z_size, const void *nonce, size_t nonce_size,
			const void *wrapped, size_t wrapped_size,
			uint8_t ret_mac[GM_SHA256_SIZE]) GM_WARN_UNUSED;

int gm_session_policy_mac(const uint8_t tik[GM_SESSION_KEY_SIZE], uint32_t policy,
			  uint8_t ret_mac[GM_SHA256_SIZE]) GM_WARN_UNUSED;

#endif
