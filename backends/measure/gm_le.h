/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian numbers in bytes of any alignment. */
#ifndef GM_LE_H
#define GM_LE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline void gm_put_le16(uint8_t *at, uint16_t n)
{
	n = htole16(n);
	memcpy(at, &n, sizeof(n));
}

static inline void gm_put_le32(uint8_t *at, uint32_t n)
{
	n = htole32(n);
	memcpy(at, &n, sizeof(n));
}

static inline void gm_put_le64(uint8_t *at, uint64_t n)
{
	n = htole64(n);
	memcpy(at, &n, sizeof(n));
}

static inline uint16_t gm_get_le16(const uint8_t *at)
{
	uint16_t n;

	memcpy(&n, at, sizeof(n));
	return le16toh(n);
}

static inline uint32_t gm_get_le32(const uint8_t *at)
{
	uint32_t n;

	memcpy(&n, at, sizeof(n));
	return le32toh(n);
}

static inline uint64_t gm_get_le64(const uint8_t *at)
{
	uint64_t n;

	memcpy(&n, at, sizeof(n));
	return le64toh(n);
}

#endif
