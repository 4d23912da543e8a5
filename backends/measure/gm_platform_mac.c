/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_platform_mac.h"

#include <errno.h>
#include <string.h>

#include "gm_le.h"

#define MEASURE_CONTEXT 0x04 /* "this MAC is of a measurement" */
#define MEASURE_MESSAGE_SIZE 56
#define MEASURE_VERSION_SIZE 4
#define KDF_MESSAGE_MAX 256

int gm_launch_measure_mac(const struct gm_launch_measure *measure, uint8_t ret_mac[GM_SHA256_SIZE])
{
	uint8_t message[MEASURE_MESSAGE_SIZE] = { MEASURE_CONTEXT, measure->api_major,
						  measure->api_minor, measure->build };
	size_t skip = measure->api_major == 0 && measure->api_minor < 17 ? MEASURE_VERSION_SIZE : 0;

	gm_put_le32(message + 4, measure->policy);
	memcpy(message + 8, measure->digest, sizeof(measure->digest));
	memcpy(message + 40, measure->mnonce, sizeof(measure->mnonce));
	return gm_hmac_sha256(measure->tik, sizeof(measure->tik), message + skip,
			      sizeof(message) - skip, ret_mac);
}

int gm_session_kdf(const void *key, size_t key_size, const char *label, const void *context,
		   size_t context_size, uint8_t ret_key[GM_SESSION_KEY_SIZE])
{
	uint8_t message[KDF_MESSAGE_MAX + 9];
	uint8_t block[GM_SHA256_SIZE];
	size_t label_size = strlen(label);
	size_t n = 4;
	int r;

	if (label_size > KDF_MESSAGE_MAX || context_size > KDF_MESSAGE_MAX - label_size)
		return -EINVAL;
	gm_put_le32(message, 1);
	memcpy(message + n, label, label_size);
	n += label_size;
	message[n++] = 0;
	if (context_size > 0)
		memcpy(message + n, context, context_size);
	n += context_size;
	gm_put_le32(message + n, GM_SESSION_KEY_SIZE * 8);
	r = gm_hmac_sha256(key, key_size, message, n + 4, block);
	if (r < 0)
		return r;
	memcpy(ret_key, block, GM_SESSION_KEY_SIZE);
	return 0;
}

int gm_session_wrap_mac(const void *z, size_t z_size, const void *nonce, size_t nonce_size,
			const void *wrapped, size_t wrapped_size, uint8_t ret_mac[GM_SHA256_SIZE])
{
	uint8_t master[GM_SESSION_KEY_SIZE];
	uint8_t kik[GM_SESSION_KEY_SIZE];
	int r = gm_session_kdf(z, z_size, "sev-master-secret", nonce, nonce_size, master);

	if (r == 0)
		r = gm_session_kdf(master, sizeof(master), "sev-kik", NULL, 0, kik);
	if (r == 0)
		r = gm_hmac_sha256(kik, sizeof(kik), wrapped, wrapped_size, ret_mac);
	return r;
}

int gm_session_policy_mac(const uint8_t tik[GM_SESSION_KEY_SIZE], uint32_t policy,
			  uint8_t ret_mac[GM_SHA256_SIZE])
{
	uint8_t message[4];

	gm_put_le32(message, policy);
	return gm_hmac_sha256(tik, GM_SESSION_KEY_SIZE, message, sizeof(message), ret_mac);
}
