/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_tdvf.h"

#include <string.h>

#include "gm_le.h"

#define HEADER_SIZE 16
#define SECTION_SIZE 32
#define ATTR_MR_EXTEND UINT32_C(1)
#define ATTR_PAGE_AUG UINT32_C(2)

static int refuse(struct gm_refusal *refusal, const char *text)
{
	return gm_refuse_text(refusal, GM_INVALID, GM_RULE_SOURCE, "firmware", "TDVF metadata: %s",
			      text);
}

struct raw {
	uint32_t data_offset;
	uint32_t data_size;
	uint64_t gpa;
	uint64_t size;
	uint32_t type;
	uint32_t attributes;
};

static bool overlaps_another(const struct gm_tdvf *tdvf, const struct raw *raw)
{
	for (size_t i = 0; i < tdvf->n_sections; i++)
		if (raw->gpa < tdvf->sections[i].gpa + tdvf->sections[i].size &&
		    tdvf->sections[i].gpa < raw->gpa + raw->size)
			return true;
	return false;
}

static const char *why_not(const struct gm_tdvf *tdvf, const struct raw *raw, size_t image_size)
{
	bool is_volume = raw->type == GM_TDVF_BFV || raw->type == GM_TDVF_CFV;
	uint64_t end;

	if (raw->type > GM_TDVF_PERM_MEM)
		return "is of a type that no VMM loads";
	if (raw->attributes & ~(ATTR_MR_EXTEND | ATTR_PAGE_AUG))
		return "has unknown attributes";
	if (raw->attributes == (ATTR_MR_EXTEND | ATTR_PAGE_AUG))
		return "cannot be measured without being added";
	if (raw->size == 0 || !gm_is_aligned(raw->gpa, GM_PAGE_4K) ||
	    !gm_is_aligned(raw->size, GM_PAGE_4K))
		return "is not made of whole pages";
	if (gm_add_overflows(raw->gpa, raw->size, &end) || end > GM_FIRMWARE_TOP)
		return "ends past 4 GiB";
	if (overlaps_another(tdvf, raw))
		return "overlaps another";
	if (raw->data_offset > image_size || raw->data_size > image_size - raw->data_offset)
		return "has its contents outside the image";
	if (raw->data_size > raw->size)
		return "has more contents than memory";
	if (is_volume != (raw->data_size > 0))
		return is_volume ? "is a volume without contents" : "is memory, but has contents";
	/* QEMU takes what follows in the image, the format says zeros. */
	if (is_volume && (raw->attributes & ATTR_MR_EXTEND) && raw->data_size != raw->size)
		return "is measured, but its contents do not fill it: VMMs do not agree on the "
		       "rest";
	return NULL;
}

static int take_section(struct gm_tdvf *tdvf, struct gm_bytes image, const uint8_t *at,
			struct gm_refusal *refusal)
{
	struct raw raw = { .data_offset = gm_get_le32(at),
			   .data_size = gm_get_le32(at + 4),
			   .gpa = gm_get_le64(at + 8),
			   .size = gm_get_le64(at + 16),
			   .type = gm_get_le32(at + 24),
			   .attributes = gm_get_le32(at + 28) };
	const char *why = why_not(tdvf, &raw, image.size);
	struct gm_tdvf_section *section = &tdvf->sections[tdvf->n_sections];

	if (why)
		return gm_refuse_text(refusal, GM_INVALID, GM_RULE_SOURCE, "firmware",
				      "TDVF metadata: section %zu (0x%llx+0x%llx, type %u) %s",
				      tdvf->n_sections, (unsigned long long)raw.gpa,
				      (unsigned long long)raw.size, raw.type, why);
	*section = (struct gm_tdvf_section){ .type = (enum gm_tdvf_type)raw.type,
					     .extend = raw.attributes & ATTR_MR_EXTEND,
					     .page_aug = raw.attributes & ATTR_PAGE_AUG,
					     .gpa = raw.gpa,
					     .size = raw.size };
	if (raw.data_size > 0)
		section->contents =
			(struct gm_bytes){ image.bytes + raw.data_offset, raw.data_size };
	tdvf->n_sections++;
	return 0;
}

int gm_tdvf_parse(struct gm_bytes image, struct gm_tdvf *ret_tdvf, struct gm_refusal *refusal)
{
	struct gm_tdvf tdvf = { 0 };
	struct gm_firmware firmware;
	const uint8_t *at;
	size_t left;
	uint32_t n;
	int r = gm_firmware_parse(image, GM_FIRMWARE_TOP, &firmware, refusal);

	if (r != 0)
		return r;
	if (!firmware.has_tdvf)
		return refuse(refusal, "the image's GUID table has none");
	at = image.bytes + firmware.tdvf_offset;
	left = image.size - firmware.tdvf_offset;
	if (left < HEADER_SIZE || memcmp(at, "TDVF", 4) != 0)
		return refuse(refusal, "there is no \"TDVF\" where it should be");
	if (gm_get_le32(at + 8) != 1)
		return refuse(refusal, "its version is not 1");
	n = gm_get_le32(at + 12);
	if (n == 0 || n > GM_TDVF_SECTIONS_MAX || n > (left - HEADER_SIZE) / SECTION_SIZE)
		return refuse(refusal, "its number of sections is impossible");
	for (at += HEADER_SIZE; r == 0 && tdvf.n_sections < n; at += SECTION_SIZE)
		r = take_section(&tdvf, image, at, refusal);
	if (r == 0)
		*ret_tdvf = tdvf;
	return r;
}
