/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_kernel_hashes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"
#include "gm_digest.h"
#include "gm_guid.h"
#include "gm_le.h"

#define TABLE_SIZE 168
#define HEADER_SIZE 18 /* GUID, u16 */
#define ENTRY_SIZE 50  /* GUID, u16, SHA-256 */

/* 9438d606-4f22-4cc9-b479-a793d411fd21 */
static const uint8_t table_guid[GM_GUID_SIZE] =
	GM_GUID(0x9438d606, 0x4f22, 0x4cc9, 0xb4, 0x79, 0xa7, 0x93, 0xd4, 0x11, 0xfd, 0x21);
/* 97d02dd8-bd20-4c94-aa78-e7714d36ab2a */
static const uint8_t append_guid[GM_GUID_SIZE] =
	GM_GUID(0x97d02dd8, 0xbd20, 0x4c94, 0xaa, 0x78, 0xe7, 0x71, 0x4d, 0x36, 0xab, 0x2a);
/* 44baf731-3a2f-4bd7-9af1-41e29169781d */
static const uint8_t initrd_guid[GM_GUID_SIZE] =
	GM_GUID(0x44baf731, 0x3a2f, 0x4bd7, 0x9a, 0xf1, 0x41, 0xe2, 0x91, 0x69, 0x78, 0x1d);
/* 4de79437-abd2-427f-b835-d5b172d2045b */
static const uint8_t kernel_guid[GM_GUID_SIZE] =
	GM_GUID(0x4de79437, 0xabd2, 0x427f, 0xb8, 0x35, 0xd5, 0xb1, 0x72, 0xd2, 0x04, 0x5b);

static void put_entry(uint8_t *at, const uint8_t guid[GM_GUID_SIZE], const struct gm_bytes *bytes)
{
	memcpy(at, guid, GM_GUID_SIZE);
	gm_put_le16(at + GM_GUID_SIZE, ENTRY_SIZE);
	gm_hash_bytes(GM_HASH_SHA256, bytes->bytes, bytes->size, at + HEADER_SIZE);
}

int gm_kernel_hashes_build(const struct gm_kernel *kernel, uint8_t ret_table[GM_KERNEL_HASHES_SIZE])
{
	/* One NUL more: QEMU hashes strlen + 1. */
	_gm_free_ uint8_t *append = calloc(1, kernel->append.size + 1);
	struct gm_bytes line = { append, kernel->append.size + 1 };
	uint8_t *at = ret_table + HEADER_SIZE;

	if (!append)
		return -ENOMEM;
	if (kernel->append.size > 0)
		memcpy(append, kernel->append.bytes, kernel->append.size);
	memset(ret_table, 0, GM_KERNEL_HASHES_SIZE);
	memcpy(ret_table, table_guid, GM_GUID_SIZE);
	gm_put_le16(ret_table + GM_GUID_SIZE, TABLE_SIZE);
	put_entry(at, append_guid, &line);
	put_entry(at + ENTRY_SIZE, initrd_guid, &kernel->initrd);
	put_entry(at + (size_t)2 * ENTRY_SIZE, kernel_guid, &kernel->kernel);
	return 0;
}
