/* SPDX-License-Identifier: Apache-2.0 */
/* The sections of a TDX firmware: which contents, and what no VMM would load. */
#include <string.h>

#include "firmware_image.h"
#include "gm_guest.h"
#include "gm_le.h"
#include "gm_tdvf.h"
#include "gm_test.h"

struct section {
	uint32_t offset, size;
	uint64_t gpa, length;
	uint32_t type, attributes;
};

static struct gm_refusal refusal;
static struct image image;
static struct gm_tdvf tdvf;

static void build(const struct section *sections, uint32_t n)
{
	uint8_t *at = image.bytes + IMAGE_TDVF_AT;

	image_init(&image);
	memcpy(at, "TDVF", 4);
	gm_put_le32(at + 8, 1);
	gm_put_le32(at + 12, n);
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *to = at + 16 + 32 * (size_t)i;

		gm_put_le32(to, sections[i].offset);
		gm_put_le32(to + 4, sections[i].size);
		gm_put_le64(to + 8, sections[i].gpa);
		gm_put_le64(to + 16, sections[i].length);
		gm_put_le32(to + 24, sections[i].type);
		gm_put_le32(to + 28, sections[i].attributes);
	}
	image_add_number(&image, guid_tdvf, IMAGE_SIZE - IMAGE_TDVF_AT);
}

/* As edk2 has them: code that is measured, variables, hand-off block and stack that are not. */
static const struct section usual[] = {
	{ 0x1000, 0x1000, 0xfffff000, 0x1000, GM_TDVF_BFV, 1 },
	{ 0, 0x1000, 0xffffe000, 0x1000, GM_TDVF_CFV, 0 },
	{ 0, 0, 0x809000, 0x2000, GM_TDVF_TD_HOB, 0 },
	{ 0, 0, 0x810000, 0x10000, GM_TDVF_TEMP_MEM, 0 },
};

static void sections_come_with_their_contents(void **state)
{
	(void)state;
	build(usual, GM_ARRAY_SIZE(usual));
	assert_int_equal(gm_tdvf_parse(image_view(&image), &tdvf, &refusal), 0);
	assert_int_equal(tdvf.n_sections, 4);
	assert_true(tdvf.sections[0].extend);
	assert_ptr_equal(tdvf.sections[0].contents.bytes, image.bytes + 0x1000);
	assert_false(tdvf.sections[1].extend);
	assert_int_equal(tdvf.sections[1].contents.size, 0x1000);
	assert_null(tdvf.sections[3].contents.bytes);
}

static void a_firmware_is_its_sections_in_their_order(void **state)
{
	struct gm_guest guest = { .kind = GM_LAUNCH_TDX };
	struct gm_launch_start start = { .kind = GM_LAUNCH_TDX };
	struct gm_launch_digest digest;
	uint8_t got[GM_DIGEST_MAX], wanted[GM_DIGEST_MAX];

	(void)state;
	build(usual, GM_ARRAY_SIZE(usual));
	guest.firmware = image_view(&image);
	assert_int_equal(gm_guest_measure(&guest, 1, NULL, got, &refusal), 0);
	assert_int_equal(gm_launch_digest_start(&digest, &start, &refusal), 0);
	for (size_t i = 0; i < GM_ARRAY_SIZE(usual); i++) {
		struct gm_launch_range range = { .type = usual[i].attributes & 1
								 ? GM_LAUNCH_NORMAL
								 : GM_LAUNCH_UNMEASURED,
						 .gpa = usual[i].gpa,
						 .length = usual[i].length,
						 .bytes = image.bytes + usual[i].offset,
						 .n_bytes = usual[i].size };

		assert_int_equal(gm_launch_digest_update(&digest, &range, 1, &refusal), 0);
	}
	assert_int_equal(gm_launch_digest_finish(&digest, wanted, &refusal), 0);
	assert_memory_equal(got, wanted, GM_SHA384_SIZE);
}

static void memory_that_is_accepted_later_is_in_no_digest(void **state)
{
	struct section sections[] = { usual[0], { 0, 0, 0, 0x100000, GM_TDVF_PERM_MEM, 2 } };
	struct gm_guest guest = { .kind = GM_LAUNCH_TDX };
	uint8_t with[GM_DIGEST_MAX];
	struct gm_manifest manifest = { 0 };

	(void)state;
	build(sections, 2);
	guest.firmware = image_view(&image);
	assert_int_equal(gm_guest_measure(&guest, 1, &manifest, with, &refusal), 0);
	assert_int_equal(manifest.n_rows, 1);
	gm_manifest_done(&manifest);
}

static void a_measured_hand_off_block_is_not_guessed_at(void **state)
{
	struct section sections[] = { usual[0], { 0, 0, 0x809000, 0x2000, GM_TDVF_TD_HOB, 1 } };
	struct gm_guest guest = { .kind = GM_LAUNCH_TDX };
	uint8_t digest[GM_DIGEST_MAX];

	(void)state;
	build(sections, 2);
	guest.firmware = image_view(&image);
	assert_int_equal(gm_guest_measure(&guest, 1, NULL, digest, &refusal), GM_UNSUPPORTED);
	assert_non_null(strstr(refusal.text, "unpredictable"));
}

static void what_no_vmm_would_load_is_refused(void **state)
{
	static const struct {
		struct section section;
		const char *why;
	} cases[] = {
		{ { 0, 0, 0, 0x1000, 5, 0 }, "no VMM" },
		{ { 0, 0, 0, 0x1000, GM_TDVF_TEMP_MEM, 4 }, "attributes" },
		{ { 0, 0, 0, 0x1000, GM_TDVF_TEMP_MEM, 3 }, "without being added" },
		{ { 0, 0, 1, 0x1000, GM_TDVF_TEMP_MEM, 0 }, "whole pages" },
		{ { 0, 0, 0, 0, GM_TDVF_TEMP_MEM, 0 }, "whole pages" },
		{ { 0, 0, UINT64_MAX - 0xfff, 0x1000, GM_TDVF_TEMP_MEM, 0 }, "4 GiB" },
		{ { 0, 0, 0x100000000, 0x1000, GM_TDVF_TEMP_MEM, 0 }, "4 GiB" },
		{ { 0, 0, 0xffffe000, 0x2000, GM_TDVF_TEMP_MEM, 0 }, "overlaps" },
		{ { 0x2000, 1, 0, 0x1000, GM_TDVF_CFV, 0 }, "outside the image" },
		{ { UINT32_MAX, 0, 0, 0x1000, GM_TDVF_TEMP_MEM, 0 }, "outside the image" },
		{ { 1, UINT32_MAX, 0, 0x1000, GM_TDVF_CFV, 0 }, "outside the image" },
		{ { 0, 0x1001, 0, 0x1000, GM_TDVF_CFV, 0 }, "more contents" },
		{ { 0, 0, 0, 0x1000, GM_TDVF_CFV, 0 }, "without contents" },
		{ { 0, 1, 0, 0x1000, GM_TDVF_TD_HOB, 0 }, "has contents" },
		{ { 0, 0xfff, 0, 0x1000, GM_TDVF_BFV, 1 }, "do not fill it" },
	};
	struct section sections[2] = { usual[0] };

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(cases); i++) {
		sections[1] = cases[i].section;
		build(sections, 2);
		assert_int_equal(gm_tdvf_parse(image_view(&image), &tdvf, &refusal), GM_INVALID);
		assert_non_null(strstr(refusal.text, cases[i].why));
	}
}

static void the_header_is_checked(void **state)
{
	(void)state;
	image_fill(&image);
	assert_int_equal(gm_tdvf_parse(image_view(&image), &tdvf, &refusal), GM_INVALID);
	for (size_t i = 0; i < 16; i++) {
		if (i >= 4 && i < 8)
			continue; /* the length is not looked at */
		build(usual, GM_ARRAY_SIZE(usual));
		image.bytes[IMAGE_TDVF_AT + i] ^= 0x40;
		assert_int_equal(gm_tdvf_parse(image_view(&image), &tdvf, &refusal), GM_INVALID);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(sections_come_with_their_contents),
		gm_test(a_firmware_is_its_sections_in_their_order),
		gm_test(memory_that_is_accepted_later_is_in_no_digest),
		gm_test(a_measured_hand_off_block_is_not_guessed_at),
		gm_test(what_no_vmm_would_load_is_refused),
		gm_test(the_header_is_checked),
	};

	return gm_test_run("tdvf", tests, GM_ARRAY_SIZE(tests));
}
