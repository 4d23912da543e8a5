/* SPDX-License-Identifier: Apache-2.0 */
#include "firmware_image.h"

#include <stdio.h>
#include <string.h>

#include "gm_le.h"
#include "gm_test.h"

#define END (IMAGE_SIZE - 0x20)

const uint8_t guid_reset[GM_GUID_SIZE] =
	GM_GUID(0x00f771de, 0x1a7e, 0x4fcb, 0x89, 0x0e, 0x68, 0xc7, 0x7e, 0x2f, 0xb4, 0x4e);
const uint8_t guid_hashes[GM_GUID_SIZE] =
	GM_GUID(0x7255371f, 0x3a3b, 0x4b04, 0x92, 0x7b, 0x1d, 0xa6, 0xef, 0xa8, 0xd4, 0x54);
const uint8_t guid_sev[GM_GUID_SIZE] =
	GM_GUID(0xdc886566, 0x984a, 0x4798, 0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc);
const uint8_t guid_tdvf[GM_GUID_SIZE] =
	GM_GUID(0xe47a6535, 0x984a, 0x4798, 0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e, 0xc2);
static const uint8_t guid_footer[GM_GUID_SIZE] =
	GM_GUID(0x96b582de, 0x1fb2, 0x45f7, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d);

void image_init(struct image *image)
{
	memset(image, 0, sizeof(*image));
	memcpy(image->bytes + END - 16, guid_footer, sizeof(guid_footer));
	gm_put_le16(image->bytes + END - 18, 18);
}

void image_add(struct image *image, const uint8_t guid[GM_GUID_SIZE], const void *data, size_t size)
{
	uint8_t *end = image->bytes + END - 18 - image->table_size;

	memcpy(end - GM_GUID_SIZE, guid, GM_GUID_SIZE);
	gm_put_le16(end - 18, (uint16_t)(size + 18));
	memcpy(end - 18 - size, data, size);
	image->table_size += size + 18;
	gm_put_le16(image->bytes + END - 18, (uint16_t)(image->table_size + 18));
}

void image_add_number(struct image *image, const uint8_t guid[GM_GUID_SIZE], uint32_t number)
{
	uint8_t data[4];

	gm_put_le32(data, number);
	image_add(image, guid, data, sizeof(data));
}

void image_sev(struct image *image, uint32_t n)
{
	uint8_t *at = image->bytes + IMAGE_SEV_AT;

	memcpy(at, "ASEV", 4);
	gm_put_le32(at + 8, 1);
	gm_put_le32(at + 12, n);
	image_add_number(image, guid_sev, IMAGE_SIZE - IMAGE_SEV_AT);
}

void image_sev_section(struct image *image, size_t i, uint32_t gpa, uint32_t size, uint32_t type)
{
	uint8_t *at = image->bytes + IMAGE_SEV_AT + 16 + 12 * i;

	gm_put_le32(at, gpa);
	gm_put_le32(at + 4, size);
	gm_put_le32(at + 8, type);
}

void image_fill(struct image *image)
{
	uint8_t hashes[8];

	image_init(image);
	gm_put_le32(hashes, 0x810c00);
	gm_put_le32(hashes + 4, 0x400);
	image_add_number(image, guid_reset, 0x80b004);
	image_add(image, guid_hashes, hashes, sizeof(hashes));
	image_sev(image, 4);
	image_sev_section(image, 0, 0x800000, 0x9000, GM_SECTION_SEC_MEM);
	image_sev_section(image, 1, 0x80d000, 0x1000, GM_SECTION_SECRETS);
	image_sev_section(image, 2, 0x80e000, 0x1000, GM_SECTION_CPUID);
	image_sev_section(image, 3, 0x810000, 0x1000, GM_SECTION_KERNEL_HASHES);
}

struct gm_bytes image_view(const struct image *image)
{
	return (struct gm_bytes){ image->bytes, sizeof(image->bytes) };
}

void from_hex(const char *hex, uint8_t *bytes)
{
	unsigned byte;

	for (; *hex; hex += 2) {
		assert_int_equal(sscanf(hex, "%2x", &byte), 1);
		*bytes++ = (uint8_t)byte;
	}
}

void assert_hex(const uint8_t *bytes, const char *hex)
{
	uint8_t wanted[256];

	from_hex(hex, wanted);
	assert_memory_equal(bytes, wanted, strlen(hex) / 2);
}
