/* SPDX-License-Identifier: Apache-2.0 */
/* Two launches, and where they part. */
#include <string.h>

#include "firmware_image.h"
#include "gm_guest.h"
#include "gm_test.h"

static struct gm_refusal refusal;
static struct image image;
static struct gm_guest guest;
static struct gm_manifest one, two;
static char text[GM_DIFFERENCE_MAX];

static int setup(void **state)
{
	image_fill(&image);
	guest = (struct gm_guest){ .kind = GM_LAUNCH_SNP,
				   .firmware = image_view(&image),
				   .vcpus = 2,
				   .has_signature = true,
				   .signature = 0x800f12,
				   .guest_features = GM_SEV_FEATURE_SNP };
	return gm_test_setup(state);
}

static int teardown(void **state)
{
	gm_manifest_done(&one);
	gm_manifest_done(&two);
	return gm_test_teardown(state);
}

static void measure(struct gm_manifest *manifest)
{
	uint8_t digest[GM_DIGEST_MAX];

	assert_int_equal(gm_guest_measure(&guest, 2, manifest, digest, &refusal), 0);
	assert_memory_equal(manifest->digest, digest, gm_launch_digest_size(guest.kind));
}

static void assert_differ(const char *where)
{
	assert_true(gm_manifest_differ(&two, &one, text));
	if (!strstr(text, where))
		print_error("%s\n", text);
	assert_non_null(strstr(text, where));
}

static void a_row_is_a_step_with_the_digest_after_it(void **state)
{
	(void)state;
	measure(&one);
	assert_int_equal(one.n_rows, 7);
	assert_int_equal(one.rows[0].n_pages, 2);
	assert_int_equal(one.rows[1].type, GM_LAUNCH_ZERO);
	assert_int_equal(one.rows[1].n_pages, 0);
	assert_int_equal(one.rows[6].type, GM_LAUNCH_VMSA);
	assert_memory_equal(one.rows[6].running, one.digest, GM_SHA384_SIZE);
}

static void the_same_launch_does_not_differ(void **state)
{
	(void)state;
	measure(&one);
	measure(&two);
	assert_false(gm_manifest_differ(&two, &one, text));
}

static void the_first_page_that_differs_is_named(void **state)
{
	(void)state;
	measure(&one);
	image.bytes[0x1800] = 1;
	measure(&two);
	assert_differ("step 0, normal page 0xfffff000: its contents differ");
}

static void registers_that_differ_are_named(void **state)
{
	(void)state;
	measure(&one);
	guest.signature = 0xa00f11;
	measure(&two);
	assert_differ("step 5, vmsa page 0xfffffffff000: its contents differ: rdx is 0xa00f11, not "
		      "0x800f12");
	gm_manifest_done(&two);
	guest.guest_features = 0x21;
	measure(&two);
	assert_differ("; sev_features is 0x21, not 0x1");
}

static void a_step_more_or_less_is_named(void **state)
{
	(void)state;
	measure(&one);
	guest.vcpus = 1;
	measure(&two);
	assert_differ("nothing more, where the manifest has step 6, vmsa page");
	gm_manifest_done(&two);
	guest.vcpus = 2;
	image_sev_section(&image, 1, 0x80d000, 0x1000, GM_SECTION_CPUID);
	measure(&two);
	gm_manifest_done(&one);
	image_fill(&image);
	measure(&one);
	assert_differ("step 0, normal page 0xfffff000");
}

static void another_type_of_page_is_named(void **state)
{
	(void)state;
	measure(&one);
	guest.vmm = GM_VMM_GCE;
	measure(&two);
	assert_differ("step 1, unmeasured page 0x800000, where the manifest has step 1, zero page");
}

static void steps_that_were_split_are_the_same(void **state)
{
	struct gm_launch_start start = { .kind = GM_LAUNCH_SNP };
	struct gm_launch_range range = { .type = GM_LAUNCH_ZERO, .length = 0x2000 };
	struct gm_measure a = { .manifest = &one }, b = { .manifest = &two };
	uint8_t digest[GM_DIGEST_MAX];

	(void)state;
	assert_int_equal(gm_launch_digest_start(&a.digest, &start, &refusal), 0);
	assert_int_equal(gm_launch_digest_start(&b.digest, &start, &refusal), 0);
	assert_int_equal(gm_measure_step(&a, &range, &refusal), 0);
	range.length = 0x1000;
	assert_int_equal(gm_measure_step(&b, &range, &refusal), 0);
	range.gpa = 0x1000;
	assert_int_equal(gm_measure_step(&b, &range, &refusal), 0);
	range.gpa = 0x2000;
	assert_int_equal(gm_measure_step(&a, &range, &refusal), 0);
	range.gpa = 0x3000;
	assert_int_equal(gm_measure_step(&b, &range, &refusal), 0);
	assert_int_equal(gm_measure_finish(&a, digest, &refusal), 0);
	assert_int_equal(gm_measure_finish(&b, digest, &refusal), 0);
	assert_differ("step 2, zero page 0x3000, where the manifest has step 1, zero page 0x2000");
}

static void other_kinds_and_other_seeds_are_told(void **state)
{
	uint8_t seed[GM_SHA384_SIZE] = { 1 };

	(void)state;
	guest.seed = seed;
	measure(&one);
	seed[0] = 2;
	measure(&two);
	assert_differ("different seeds");
	two.kind = GM_LAUNCH_TDX;
	assert_differ("this is tdx, the manifest is of snp");
}

static void a_row_that_cannot_be_made_leaves_the_digest_as_it_was(void **state)
{
	struct gm_launch_start start = { .kind = GM_LAUNCH_TDX };
	struct gm_launch_range range = { .type = GM_LAUNCH_NORMAL, .length = 0x1000 };
	struct gm_measure measure = { .manifest = &one };
	struct gm_launch_digest before;

	(void)state;
	assert_int_equal(gm_launch_digest_start(&measure.digest, &start, &refusal), 0);
	before = measure.digest;
	gm_test_fail_allocation(1);
	assert_true(gm_measure_step(&measure, &range, &refusal) < 0);
	gm_test_fail_allocation(0);
	assert_memory_equal(&measure.digest, &before, sizeof(before));
}

#define manifest_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		manifest_test(a_row_is_a_step_with_the_digest_after_it),
		manifest_test(the_same_launch_does_not_differ),
		manifest_test(the_first_page_that_differs_is_named),
		manifest_test(registers_that_differ_are_named),
		manifest_test(a_step_more_or_less_is_named),
		manifest_test(another_type_of_page_is_named),
		manifest_test(steps_that_were_split_are_the_same),
		manifest_test(other_kinds_and_other_seeds_are_told),
		manifest_test(a_row_that_cannot_be_made_leaves_the_digest_as_it_was),
	};

	return gm_test_run("manifest", tests, GM_ARRAY_SIZE(tests));
}
