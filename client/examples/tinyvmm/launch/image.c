/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a firmware's image says of itself: a table that grows downwards from 32 bytes before its
 * end, each entry being its data, the length of the entry, and a GUID. Nothing in it is believed
 * before it is known to lie in the image.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch.h"

#define IMAGE_MAX (64ul << 20)
#define TABLE_END 0x20
#define ENTRY_TAIL 18 /* length and GUID */
#define SECTIONS_HEAD 16

/* 96b582de-1fb2-45f7-baea-a366c55a082d */
static const uint8_t footer_guid[16] = { 0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45,
					 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d };

int image_read(const char *path, struct image *ret_image)
{
	uint8_t *bytes = malloc(IMAGE_MAX);
	FILE *file = fopen(path, "re");
	int r = 0;

	if (!bytes || !file)
		r = -errno;
	if (r == 0) {
		ret_image->size = fread(bytes, 1, IMAGE_MAX, file);
		ret_image->bytes = bytes;
		r = ferror(file) ? -EIO : 0;
	}
	if (file)
		(void)fclose(file);
	if (r < 0)
		free(bytes);
	return r;
}

uint32_t image_le32(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

uint64_t image_le64(const uint8_t *at)
{
	return image_le32(at) | (uint64_t)image_le32(at + 4) << 32;
}

static size_t le16(const uint8_t *at)
{
	return (size_t)(at[0] | at[1] << 8);
}

/* The entry that ends at @end, if all of it is at or above @begin. */
static const uint8_t *entry_before(const uint8_t *begin, const uint8_t *end, size_t *ret_size)
{
	size_t size;

	if (end - begin < ENTRY_TAIL)
		return NULL;
	size = le16(end - ENTRY_TAIL);
	if (size < ENTRY_TAIL || size > (size_t)(end - begin))
		return NULL;
	*ret_size = size;
	return end - size;
}

const uint8_t *image_entry(const struct image *image, const uint8_t guid[16], size_t *ret_size)
{
	const uint8_t *end = image->bytes + image->size - TABLE_END;
	const uint8_t *begin = image->bytes;
	const uint8_t *entry;
	size_t size;

	if (image->size < TABLE_END + ENTRY_TAIL || memcmp(end - 16, footer_guid, 16) != 0)
		return NULL;
	/* The footer's length is that of the table. */
	begin = entry_before(begin, end, &size);
	if (!begin)
		return NULL;
	end -= ENTRY_TAIL;
	while ((entry = entry_before(begin, end, &size))) {
		if (memcmp(end - 16, guid, 16) == 0) {
			*ret_size = size - ENTRY_TAIL;
			return entry;
		}
		end = entry;
	}
	return NULL;
}

const uint8_t *image_sections(const struct image *image, const uint8_t guid[16],
			      const char signature[4], size_t section_size, uint32_t *ret_count)
{
	const uint8_t *entry, *head;
	uint32_t from_end, count;
	size_t size;

	entry = image_entry(image, guid, &size);
	if (!entry || size != 4)
		return NULL;
	from_end = image_le32(entry);
	if (from_end > image->size || from_end < SECTIONS_HEAD)
		return NULL;
	head = image->bytes + image->size - from_end;
	count = image_le32(head + 12);
	if (memcmp(head, signature, 4) != 0 || count > (from_end - SECTIONS_HEAD) / section_size)
		return NULL;
	*ret_count = count;
	return head + SECTIONS_HEAD;
}
