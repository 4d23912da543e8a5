/* SPDX-License-Identifier: Apache-2.0 */
/* Firmware says of itself what is loaded where. What contradicts itself is refused by name. */
#include <string.h>

#include "firmware_image.h"
#include "gm_le.h"
#include "gm_test.h"

static struct gm_refusal refusal;
static struct image image;
static struct gm_firmware firmware;

static int parse(void)
{
	int r;

	memset(&refusal, 0, sizeof(refusal));
	r = gm_firmware_parse(image_view(&image), GM_FIRMWARE_TOP, &firmware, &refusal);
	return r == 0 && firmware.has_sev ? gm_firmware_read_sections(&firmware, &refusal) : r;
}

static void assert_refused(const char *why)
{
	assert_int_equal(parse(), GM_INVALID);
	assert_non_null(strstr(refusal.text, why));
}

static void the_table_tells_what_a_launch_needs(void **state)
{
	(void)state;
	image_fill(&image);
	assert_int_equal(parse(), 0);
	assert_int_equal(firmware.gpa, GM_FIRMWARE_TOP - IMAGE_SIZE);
	assert_true(firmware.has_reset_eip);
	assert_int_equal(firmware.reset_eip, 0x80b004);
	assert_true(firmware.has_hashes);
	assert_int_equal(firmware.hashes_gpa, 0x810c00);
	assert_int_equal(firmware.n_sections, 4);
	assert_int_equal(firmware.sections[3].type, GM_SECTION_KERNEL_HASHES);
	assert_true(gm_firmware_has_section(&firmware, GM_SECTION_CPUID));
	assert_false(gm_firmware_has_section(&firmware, GM_SECTION_SVSM_CAA));
	assert_false(firmware.has_tdvf);
}

static void an_image_without_a_table_has_nothing(void **state)
{
	(void)state;
	memset(&image, 0, sizeof(image));
	assert_int_equal(parse(), 0);
	assert_false(firmware.has_reset_eip || firmware.has_hashes || firmware.has_sev);
	assert_int_equal(gm_firmware_read_sections(&firmware, &refusal), GM_INVALID);
}

static void a_table_of_hashes_at_zero_is_none(void **state)
{
	static const uint8_t zeros[8];

	(void)state;
	image_init(&image);
	image_add(&image, guid_hashes, zeros, sizeof(zeros));
	assert_int_equal(parse(), 0);
	assert_false(firmware.has_hashes);
}

static void an_image_is_whole_pages_and_has_an_end(void **state)
{
	static const size_t sizes[] = { 0, 1, 4095, 4097, 64 * GM_MIB + 4096 };

	(void)state;
	image_fill(&image);
	for (size_t i = 0; i < GM_ARRAY_SIZE(sizes); i++)
		assert_int_equal(gm_firmware_parse((struct gm_bytes){ image.bytes, sizes[i] },
						   GM_FIRMWARE_TOP, &firmware, &refusal),
				 GM_INVALID);
	assert_int_equal(gm_firmware_parse(image_view(&image), 4096, &firmware, &refusal),
			 GM_INVALID);
}

static void lengths_of_the_table_are_checked(void **state)
{
	uint8_t *length = image.bytes + IMAGE_SIZE - 0x20 - 18;
	static const uint16_t tables[] = { 0, 17, 0xffff, IMAGE_SIZE - 0x1f };
	/* The table that image_fill makes has entries of 70 bytes. */
	static const uint16_t entries[] = { 0, 17, 71, 0x100, 0xffff };

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(tables); i++) {
		image_fill(&image);
		gm_put_le16(length, tables[i]);
		assert_refused("GUID table");
	}
	for (size_t i = 0; i < GM_ARRAY_SIZE(entries); i++) {
		image_fill(&image);
		gm_put_le16(length - 18, entries[i]);
		assert_refused("entry of the GUID table");
	}
}

static void an_entry_is_long_enough_and_there_once(void **state)
{
	(void)state;
	image_init(&image);
	image_add(&image, guid_reset, "abc", 3);
	assert_refused("too short");
	image_init(&image);
	image_add_number(&image, guid_hashes, 0x810c00);
	assert_refused("too short");
	image_init(&image);
	image_add_number(&image, guid_reset, 1);
	image_add_number(&image, guid_reset, 1);
	assert_refused("twice");
}

static void metadata_is_inside_the_image(void **state)
{
	static const uint32_t offsets[] = { 0, 15, IMAGE_SIZE + 1, UINT32_MAX };

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(offsets); i++) {
		image_init(&image);
		image_add_number(&image, guid_sev, offsets[i]);
		assert_int_equal(parse(), GM_INVALID);
	}
}

static void metadata_has_its_signature_version_and_count(void **state)
{
	(void)state;
	image_fill(&image);
	image.bytes[IMAGE_SEV_AT] = 'B';
	assert_refused("ASEV");
	image_fill(&image);
	gm_put_le32(image.bytes + IMAGE_SEV_AT + 8, 2);
	assert_refused("version");
	image_fill(&image);
	gm_put_le32(image.bytes + IMAGE_SEV_AT + 12, 65);
	assert_refused("65 sections");
	image_init(&image);
	memcpy(image.bytes + IMAGE_SIZE - 0x20, "ASEV\0\0\0\0\1\0\0\0\2", 13);
	image_add_number(&image, guid_sev, 0x20);
	assert_refused("2 sections");
}

static void sections_are_pages_of_known_kinds_apart_from_each_other(void **state)
{
	static const struct {
		uint32_t gpa, size, type;
		const char *why;
	} cases[] = {
		{ 0x900000, 0x1000, 0, "unknown type" },
		{ 0x900000, 0x1000, 5, "unknown type" },
		{ 0x900001, 0x1000, 1, "whole pages" },
		{ 0x900000, 0x1001, 1, "whole pages" },
		{ 0x900000, 0, 1, "whole pages" },
		{ 0x900000, 0x2000, 2, "one page" },
		{ 0x900000, 0x2000, 3, "one page" },
		{ 0xfffff000, 0x1000, 1, "where the image is" },
		{ 0xfffff000, 0x2000, 1, "where the image is" },
		{ 0x808000, 0x1000, 1, "overlaps" },
		{ 0x7ff000, 0x2000, 1, "overlaps" },
	};

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(cases); i++) {
		image_fill(&image);
		gm_put_le32(image.bytes + IMAGE_SEV_AT + 12, 5);
		image_sev_section(&image, 4, cases[i].gpa, cases[i].size, cases[i].type);
		assert_refused(cases[i].why);
		assert_non_null(strstr(refusal.text, "section 4"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(the_table_tells_what_a_launch_needs),
		gm_test(an_image_without_a_table_has_nothing),
		gm_test(a_table_of_hashes_at_zero_is_none),
		gm_test(an_image_is_whole_pages_and_has_an_end),
		gm_test(lengths_of_the_table_are_checked),
		gm_test(an_entry_is_long_enough_and_there_once),
		gm_test(metadata_is_inside_the_image),
		gm_test(metadata_has_its_signature_version_and_count),
		gm_test(sections_are_pages_of_known_kinds_apart_from_each_other),
	};

	return gm_test_run("firmware", tests, GM_ARRAY_SIZE(tests));
}
