/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_firmware.h"

#include <inttypes.h>
#include <string.h>

#include "gm_guid.h"
#include "gm_le.h"

#define TABLE_END_OFFSET 0x20 /* from the image's end: the reset vector is behind the table */
#define TRAILER_SIZE 18	      /* u16 size, GUID */
#define SEV_HEADER_SIZE 16
#define SEV_DESC_SIZE 12

/* 96b582de-1fb2-45f7-baea-a366c55a082d */
static const uint8_t footer_guid[GM_GUID_SIZE] =
	GM_GUID(0x96b582de, 0x1fb2, 0x45f7, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d);
/* 00f771de-1a7e-4fcb-890e-68c77e2fb44e */
static const uint8_t reset_guid[GM_GUID_SIZE] =
	GM_GUID(0x00f771de, 0x1a7e, 0x4fcb, 0x89, 0x0e, 0x68, 0xc7, 0x7e, 0x2f, 0xb4, 0x4e);
/* 7255371f-3a3b-4b04-927b-1da6efa8d454 */
static const uint8_t hashes_guid[GM_GUID_SIZE] =
	GM_GUID(0x7255371f, 0x3a3b, 0x4b04, 0x92, 0x7b, 0x1d, 0xa6, 0xef, 0xa8, 0xd4, 0x54);
/* dc886566-984a-4798-a75e-5585a7bf67cc */
static const uint8_t sev_guid[GM_GUID_SIZE] =
	GM_GUID(0xdc886566, 0x984a, 0x4798, 0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc);
/* e47a6535-984a-4798-865e-4685a7bf8ec2 */
static const uint8_t tdvf_guid[GM_GUID_SIZE] =
	GM_GUID(0xe47a6535, 0x984a, 0x4798, 0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e, 0xc2);
/* a789a612-0597-4c4b-a49f-cbb1fe9d1ddd */
static const uint8_t svsm_guid[GM_GUID_SIZE] =
	GM_GUID(0xa789a612, 0x0597, 0x4c4b, 0xa4, 0x9f, 0xcb, 0xb1, 0xfe, 0x9d, 0x1d, 0xdd);

static int refuse(struct gm_refusal *refusal, const char *text)
{
	return gm_refuse_text(refusal, GM_INVALID, GM_RULE_SOURCE, "firmware", "%s", text);
}

/* ---- the table: entries are read from its end ---- */

struct entry {
	const uint8_t *data;
	size_t size;
};

static int take_number(const struct entry *entry, bool *has, uint32_t *ret_number,
		       struct gm_refusal *refusal)
{
	if (*has)
		return refuse(refusal, "an entry of the GUID table is there twice");
	if (entry->size < sizeof(*ret_number))
		return refuse(refusal, "an entry of the GUID table is too short");
	*has = true;
	*ret_number = gm_get_le32(entry->data);
	return 0;
}

static int take_offset(const struct gm_firmware *firmware, const struct entry *entry, bool *has,
		       uint32_t *ret_offset, struct gm_refusal *refusal)
{
	uint32_t from_end = 0;
	int r = take_number(entry, has, &from_end, refusal);

	if (r != 0)
		return r;
	if (from_end > firmware->image.size)
		return refuse(refusal, "an entry of the GUID table leads out of the image");
	*ret_offset = (uint32_t)(firmware->image.size - from_end);
	return 0;
}

static int take_hashes(struct gm_firmware *firmware, const struct entry *entry,
		       struct gm_refusal *refusal)
{
	int r = take_number(entry, &firmware->has_hashes, &firmware->hashes_gpa, refusal);

	if (r != 0)
		return r;
	if (entry->size < 8)
		return refuse(refusal, "the hash table's entry is too short");
	/* Firmware that does not check kernels has the entry too, with zeros. */
	if (firmware->hashes_gpa == 0)
		firmware->has_hashes = false;
	else if (gm_get_le32(entry->data + 4) < GM_KERNEL_HASHES_SIZE)
		return refuse(refusal, "its room for kernel hashes is under 176 bytes");
	return 0;
}

static int take_entry(struct gm_firmware *firmware, const uint8_t *guid, const struct entry *entry,
		      struct gm_refusal *refusal)
{
	if (memcmp(guid, reset_guid, GM_GUID_SIZE) == 0)
		return take_number(entry, &firmware->has_reset_eip, &firmware->reset_eip, refusal);
	if (memcmp(guid, hashes_guid, GM_GUID_SIZE) == 0)
		return take_hashes(firmware, entry, refusal);
	if (memcmp(guid, sev_guid, GM_GUID_SIZE) == 0)
		return take_offset(firmware, entry, &firmware->has_sev, &firmware->sev_offset,
				   refusal);
	if (memcmp(guid, tdvf_guid, GM_GUID_SIZE) == 0)
		return take_offset(firmware, entry, &firmware->has_tdvf, &firmware->tdvf_offset,
				   refusal);
	if (memcmp(guid, svsm_guid, GM_GUID_SIZE) == 0)
		return take_number(entry, &firmware->has_svsm, &firmware->svsm_offset, refusal);
	return 0;
}

static int parse_table(struct gm_firmware *firmware, struct gm_refusal *refusal)
{
	const uint8_t *end = firmware->image.bytes + firmware->image.size - TABLE_END_OFFSET;
	struct entry entry;
	size_t left, size;
	int r = 0;

	if (memcmp(end - GM_GUID_SIZE, footer_guid, GM_GUID_SIZE) != 0)
		return 0;
	left = gm_get_le16(end - TRAILER_SIZE);
	if (left < TRAILER_SIZE || left > firmware->image.size - TABLE_END_OFFSET)
		return refuse(refusal, "the GUID table's length is impossible");
	end -= TRAILER_SIZE;
	left -= TRAILER_SIZE;
	while (r == 0 && left >= TRAILER_SIZE) {
		size = gm_get_le16(end - TRAILER_SIZE);
		if (size < TRAILER_SIZE || size > left)
			return refuse(refusal, "the length of an entry of the GUID table is "
					       "impossible");
		entry = (struct entry){ end - size, size - TRAILER_SIZE };
		r = take_entry(firmware, end - GM_GUID_SIZE, &entry, refusal);
		end -= size;
		left -= size;
	}
	return r;
}

/* ---- SEV metadata ---- */

static bool is_known(uint32_t type)
{
	switch (type) {
	case GM_SECTION_SEC_MEM:
	case GM_SECTION_SECRETS:
	case GM_SECTION_CPUID:
	case GM_SECTION_SVSM_CAA:
	case GM_SECTION_KERNEL_HASHES:
		return true;
	default:
		return false;
	}
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

static int check_section(const struct gm_firmware *firmware, const struct gm_section *section,
			 struct gm_refusal *refusal)
{
	const char *why = NULL;

	if (!is_known(section->type))
		why = "is of an unknown type";
	else if (!gm_is_aligned(section->gpa, GM_PAGE_4K) ||
		 !gm_is_aligned(section->size, GM_PAGE_4K) || section->size == 0)
		why = "is not made of whole pages";
	else if ((section->type == GM_SECTION_SECRETS || section->type == GM_SECTION_CPUID) &&
		 section->size != GM_PAGE_4K)
		why = "is not one page";
	else if ((uint64_t)section->gpa + section->size > GM_FIRMWARE_TOP ||
		 overlap(section->gpa, section->size, firmware->gpa, firmware->image.size))
		why = "is where the image is";
	for (size_t i = 0; !why && i < firmware->n_sections; i++)
		if (overlap(section->gpa, section->size, firmware->sections[i].gpa,
			    firmware->sections[i].size))
			why = "overlaps another";
	if (!why)
		return 0;
	return gm_refuse_text(refusal, GM_INVALID, GM_RULE_SOURCE, "firmware",
			      "SEV metadata: section %zu (0x%x+0x%x, type %u) %s",
			      firmware->n_sections, section->gpa, section->size,
			      (unsigned)section->type, why);
}

int gm_firmware_read_sections(struct gm_firmware *firmware, struct gm_refusal *refusal)
{
	const uint8_t *at = firmware->image.bytes + firmware->sev_offset;
	size_t left = firmware->image.size - firmware->sev_offset;
	struct gm_section section;
	uint32_t n;
	int r;

	if (!firmware->has_sev)
		return refuse(refusal, "SEV metadata: the image's GUID table has none");
	if (left < SEV_HEADER_SIZE || memcmp(at, "ASEV", 4) != 0)
		return refuse(refusal, "SEV metadata: there is no \"ASEV\" where it should be");
	if (gm_get_le32(at + 8) != 1)
		return refuse(refusal, "SEV metadata: its version is not 1");
	/* The length field is not looked at: images exist that have 0 there. */
	n = gm_get_le32(at + 12);
	if (n > GM_FIRMWARE_SECTIONS_MAX || n > (left - SEV_HEADER_SIZE) / SEV_DESC_SIZE)
		return gm_refuse_text(refusal, GM_INVALID, GM_RULE_SOURCE, "firmware",
				      "SEV metadata: %u sections, at most %d or as many as fit", n,
				      GM_FIRMWARE_SECTIONS_MAX);
	firmware->n_sections = 0;
	for (at += SEV_HEADER_SIZE; firmware->n_sections < n; at += SEV_DESC_SIZE) {
		section = (struct gm_section){ .gpa = gm_get_le32(at),
					       .size = gm_get_le32(at + 4),
					       .type = (enum gm_section_type)gm_get_le32(at + 8) };
		r = check_section(firmware, &section, refusal);
		if (r != 0)
			return r;
		firmware->sections[firmware->n_sections++] = section;
	}
	return 0;
}

int gm_firmware_parse(struct gm_bytes image, uint64_t top, struct gm_firmware *ret_firmware,
		      struct gm_refusal *refusal)
{
	struct gm_firmware firmware = { .image = image };
	int r;

	if (image.size == 0 || image.size % GM_PAGE_4K != 0 || image.size > GM_FIRMWARE_SIZE_MAX ||
	    image.size > top)
		return gm_refuse_text(refusal, GM_INVALID, GM_RULE_SIZE, "firmware",
				      "%zu bytes: an image is a multiple of 4096, at most 64M",
				      image.size);
	firmware.gpa = top - image.size;
	r = parse_table(&firmware, refusal);
	if (r == 0)
		*ret_firmware = firmware;
	return r;
}

bool gm_firmware_has_section(const struct gm_firmware *firmware, enum gm_section_type type)
{
	for (size_t i = 0; i < firmware->n_sections; i++)
		if (firmware->sections[i].type == type)
			return true;
	return false;
}
