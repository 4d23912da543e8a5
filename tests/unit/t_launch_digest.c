/* SPDX-License-Identifier: Apache-2.0 */
/* A launch's digest along the launch: what goes in, what is refused, and what is never guessed. */
#include <errno.h>
#include <string.h>

#include "firmware_image.h"
#include "gm_launch_digest.h"
#include "gm_test.h"

static struct gm_refusal refusal;

static struct gm_launch_digest start(enum gm_launch_kind kind)
{
	struct gm_launch_start how = { .kind = kind };
	struct gm_launch_digest digest;

	assert_int_equal(gm_launch_digest_start(&digest, &how, &refusal), 0);
	return digest;
}

static int put(struct gm_launch_digest *digest, enum gm_launch_page type, uint64_t gpa,
	       uint64_t length, const char *bytes)
{
	struct gm_launch_range range = { .type = type,
					 .gpa = gpa,
					 .length = length,
					 .bytes = (const uint8_t *)bytes,
					 .n_bytes = bytes ? strlen(bytes) : 0 };

	memset(&refusal, 0, sizeof(refusal));
	return gm_launch_digest_update(digest, &range, 2, &refusal);
}

static void assert_digest(const struct gm_launch_digest *digest, const char *hex)
{
	uint8_t bytes[GM_DIGEST_MAX];

	assert_int_equal(strlen(hex), 2 * gm_launch_digest_size(digest->kind));
	assert_int_equal(gm_launch_digest_peek(digest, bytes, &refusal), 0);
	assert_hex(bytes, hex);
}

/* google/gce-tcb-verifier, sev/sev_test.go, TestZeroContentUpdateData. */
static void zero_pages_bind_their_addresses(void **state)
{
	struct gm_launch_digest digest = start(GM_LAUNCH_SNP);

	(void)state;
	assert_int_equal(put(&digest, GM_LAUNCH_ZERO, 0x9000, 0x3000, NULL), 0);
	assert_digest(&digest, "4bfe18477ba370a50329da74b9621e721c4f29663176e08fbcf088a17c1bc45f"
			       "133898b86d5082acbe202a6e9419808a");
}

/* microsoft/openvmm, vm/loader/igvmfilegen/src/file_loader.rs, test_snp_measurement. */
static void pages_of_zeros_are_not_zero_pages(void **state)
{
	struct gm_launch_digest digest = start(GM_LAUNCH_SNP);
	struct gm_launch_range range = { .type = GM_LAUNCH_NORMAL,
					 .length = 0x5000,
					 .bytes = (const uint8_t *)"\0\5",
					 .n_bytes = 2 };

	(void)state;
	assert_int_equal(gm_launch_digest_update(&digest, &range, 1, &refusal), 0);
	assert_int_equal(put(&digest, GM_LAUNCH_UNMEASURED, 0x5000, 0x5000, "not looked at"), 0);
	range.gpa = 0xa000;
	range.length = 0x1000;
	assert_int_equal(gm_launch_digest_update(&digest, &range, 1, &refusal), 0);
	assert_digest(&digest, "889a19386c82e2219bded3e92a764e8c00c29b966d04a662bca6cfdfec647b90"
			       "51995653390783846557913263d71c4f");
}

static void splitting_pages_changes_nothing(void **state)
{
	static char bytes[3 * 4096 + 1];
	struct gm_launch_digest one = start(GM_LAUNCH_SNP);
	struct gm_launch_digest two = start(GM_LAUNCH_SNP);

	(void)state;
	memset(bytes, 'a', 3 * 4096);
	bytes[5000] = 'b';
	assert_int_equal(put(&one, GM_LAUNCH_NORMAL, 0x1000, 0x3000, bytes), 0);
	assert_int_equal(put(&two, GM_LAUNCH_NORMAL, 0x2000, 0x2000, bytes + 4096), 0);
	assert_memory_not_equal(one.chain, two.chain, sizeof(one.chain));
	two = start(GM_LAUNCH_SNP);
	bytes[4096] = '\0';
	assert_int_equal(put(&two, GM_LAUNCH_NORMAL, 0x1000, 0x1000, bytes), 0);
	bytes[4096] = 'a';
	assert_int_equal(put(&two, GM_LAUNCH_NORMAL, 0x2000, 0x2000, bytes + 4096), 0);
	assert_memory_equal(one.chain, two.chain, sizeof(one.chain));
}

static void hashes_of_pages_do_as_well_as_the_pages(void **state)
{
	uint8_t page[4096] = "contents", digests[1][GM_SHA384_SIZE];
	struct gm_launch_range range = { .type = GM_LAUNCH_NORMAL, .length = 4096 };
	struct gm_launch_digest one = start(GM_LAUNCH_SNP), two = one, other = start(GM_LAUNCH_TDX);

	(void)state;
	gm_hash_bytes(GM_HASH_SHA384, page, sizeof(page), digests[0]);
	range.digests = (const uint8_t(*)[GM_SHA384_SIZE])digests;
	assert_int_equal(gm_launch_digest_update(&one, &range, 1, &refusal), 0);
	assert_int_equal(put(&two, GM_LAUNCH_NORMAL, 0, 4096, "contents"), 0);
	assert_memory_equal(one.chain, two.chain, sizeof(one.chain));
	assert_int_equal(gm_launch_digest_update(&other, &range, 1, &refusal), GM_INVALID);
}

static void a_region_is_added_and_extended_page_by_page(void **state)
{
	struct gm_launch_digest one = start(GM_LAUNCH_TDX);
	struct gm_launch_digest two = start(GM_LAUNCH_TDX);
	struct gm_launch_digest added = start(GM_LAUNCH_TDX);

	(void)state;
	assert_int_equal(put(&one, GM_LAUNCH_NORMAL, 0, 0x2000, "x"), 0);
	assert_int_equal(put(&two, GM_LAUNCH_NORMAL, 0, 0x1000, "x"), 0);
	assert_int_equal(put(&two, GM_LAUNCH_NORMAL, 0x1000, 0x1000, NULL), 0);
	assert_memory_equal(&one.running, &two.running, sizeof(one.running));
	assert_int_equal(one.running.n_bytes, 2 * (128 + 16 * (128 + 256)));
	assert_int_equal(put(&added, GM_LAUNCH_UNMEASURED, 0, 0x2000, NULL), 0);
	assert_int_equal(added.running.n_bytes, 2 * 128);
}

static void sev_hashes_nothing_but_bytes(void **state)
{
	struct gm_launch_digest digest = start(GM_LAUNCH_SEV);
	struct gm_launch_digest split = digest;

	(void)state;
	assert_digest(&digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	assert_int_equal(put(&digest, GM_LAUNCH_NORMAL, 0, 32, "abcdefghijklmnopqrstuvwxyz123456"),
			 0);
	assert_int_equal(put(&split, GM_LAUNCH_NORMAL, 77, 16, "abcdefghijklmnop"), 0);
	assert_int_equal(put(&split, GM_LAUNCH_NORMAL, 0, 16, "qrstuvwxyz123456"), 0);
	assert_memory_equal(&digest.running, &split.running, sizeof(digest.running));
}

static void what_no_launch_has_is_refused_and_changes_nothing(void **state)
{
	static const struct {
		enum gm_launch_kind kind;
		enum gm_launch_page type;
		uint64_t gpa, length;
	} cases[] = {
		{ GM_LAUNCH_SNP, GM_LAUNCH_ZERO, 1, 0x1000 },
		{ GM_LAUNCH_SNP, GM_LAUNCH_ZERO, 0x1000, 0x1200 },
		{ GM_LAUNCH_SNP, GM_LAUNCH_ZERO, 0x1000, 0 },
		{ GM_LAUNCH_SNP, GM_LAUNCH_ZERO, UINT64_MAX - 0xfff, 0x1000 },
		{ GM_LAUNCH_SNP, GM_LAUNCH_ZERO, (UINT64_C(1) << 52) - 0x1000, 0x2000 },
		{ GM_LAUNCH_SNP, GM_LAUNCH_VMSA, 0x1000, 0x2000 },
		{ GM_LAUNCH_SNP, (enum gm_launch_page)0, 0x1000, 0x1000 },
		{ GM_LAUNCH_SNP, (enum gm_launch_page)7, 0x1000, 0x1000 },
		{ GM_LAUNCH_TDX, GM_LAUNCH_ZERO, 0x1000, 0x1000 },
		{ GM_LAUNCH_TDX, GM_LAUNCH_NORMAL, UINT64_C(1) << 51, 0x1000 },
		{ GM_LAUNCH_SEV, GM_LAUNCH_VMSA, 0, 0x1000 },
		{ GM_LAUNCH_SEV, GM_LAUNCH_NORMAL, 0, 24 },
		{ GM_LAUNCH_SEV, GM_LAUNCH_NORMAL, 0, 0 },
		{ GM_LAUNCH_SEV_ES, GM_LAUNCH_VMSA, 0, 0x2000 },
	};

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(cases); i++) {
		struct gm_launch_digest digest = start(cases[i].kind), before = digest;

		assert_int_equal(put(&digest, cases[i].type, cases[i].gpa, cases[i].length, NULL),
				 GM_INVALID);
		assert_true(refusal.text[0]);
		assert_memory_equal(&digest, &before, sizeof(digest));
	}
}

static void contents_longer_than_their_range_are_refused(void **state)
{
	struct gm_launch_digest digest = start(GM_LAUNCH_SEV);

	(void)state;
	assert_int_equal(put(&digest, GM_LAUNCH_NORMAL, 0, 16, "12345678901234567"), GM_INVALID);
}

static void permissions_that_kvm_never_sets_are_not_guessed_at(void **state)
{
	struct gm_launch_digest digest = start(GM_LAUNCH_SNP);
	struct gm_launch_range range = { .type = GM_LAUNCH_ZERO,
					 .length = 4096,
					 .vmpl_perms = { 0, 0, 1 } };
	uint8_t bytes[GM_DIGEST_MAX];

	(void)state;
	assert_int_equal(gm_launch_digest_update(&digest, &range, 1, &refusal), 0);
	gm_launch_digest_spoil(&digest, "a later reason");
	assert_int_equal(gm_launch_digest_peek(&digest, bytes, &refusal), GM_UNSUPPORTED);
	assert_string_equal(refusal.text,
			    "unpredictable: the page at 0x0 has permissions for VMPL 3");
	assert_int_equal(gm_launch_digest_finish(&digest, bytes, &refusal), GM_UNSUPPORTED);
	digest = start(GM_LAUNCH_SNP);
	range = (struct gm_launch_range){ .type = GM_LAUNCH_ZERO, .length = 4096, .imi = true };
	assert_int_equal(gm_launch_digest_update(&digest, &range, 1, &refusal), 0);
	assert_int_equal(gm_launch_digest_peek(&digest, bytes, &refusal), GM_UNSUPPORTED);
}

static void after_finish_nothing_goes_in(void **state)
{
	struct gm_launch_digest digest = start(GM_LAUNCH_TDX);
	uint8_t one[GM_DIGEST_MAX], two[GM_DIGEST_MAX];

	(void)state;
	assert_int_equal(gm_launch_digest_finish(&digest, one, &refusal), 0);
	assert_int_equal(put(&digest, GM_LAUNCH_NORMAL, 0, 4096, NULL), GM_WRONG_STATE);
	assert_int_equal(gm_launch_digest_finish(&digest, two, &refusal), GM_WRONG_STATE);
	assert_int_equal(gm_launch_digest_peek(&digest, two, &refusal), 0);
	assert_memory_equal(one, two, GM_SHA384_SIZE);
}

static void a_start_is_checked(void **state)
{
	uint8_t seed[GM_SHA384_SIZE] = { 0 };
	struct gm_launch_start starts[] = { { .kind = GM_LAUNCH_SNP, .gpa_bits = 53 },
					    { .kind = GM_LAUNCH_SNP, .gpa_bits = 31 },
					    { .kind = GM_LAUNCH_TDX, .seed = seed },
					    { .kind = (enum gm_launch_kind)0 },
					    { .kind = GM_LAUNCH_N_ } };
	struct gm_launch_digest digest;

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(starts); i++)
		assert_int_equal(gm_launch_digest_start(&digest, &starts[i], &refusal), GM_INVALID);
}

/* Saved at each point, and carried on from the bytes. */
static void a_launch_goes_on_from_its_bytes(void **state)
{
	static const enum gm_launch_kind kinds[] = { GM_LAUNCH_SNP, GM_LAUNCH_SEV, GM_LAUNCH_SEV_ES,
						     GM_LAUNCH_TDX };
	uint8_t bytes[GM_LAUNCH_STATE_SIZE];

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(kinds); i++) {
		struct gm_launch_digest whole = start(kinds[i]), resumed = whole;

		for (uint64_t n = 1; n < 20; n++) {
			uint64_t length =
				kinds[i] == GM_LAUNCH_SNP || kinds[i] == GM_LAUNCH_TDX ? 4096 : 16;

			assert_int_equal(put(&whole, GM_LAUNCH_NORMAL, n * 4096, n * length, "a"),
					 0);
			assert_int_equal(put(&resumed, GM_LAUNCH_NORMAL, n * 4096, n * length, "a"),
					 0);
			gm_launch_digest_save(&resumed, bytes);
			memset(&resumed, 0xee, sizeof(resumed));
			assert_int_equal(gm_launch_digest_load(bytes, &resumed), 0);
		}
		assert_memory_equal(&whole, &resumed, sizeof(whole));
	}
}

static void a_reason_is_kept_in_the_bytes(void **state)
{
	struct gm_launch_digest digest = start(GM_LAUNCH_SEV), again;
	uint8_t bytes[GM_LAUNCH_STATE_SIZE];

	(void)state;
	gm_launch_digest_spoil(&digest, "%0250d", 7);
	gm_launch_digest_save(&digest, bytes);
	assert_int_equal(gm_launch_digest_load(bytes, &again), 0);
	assert_string_equal(again.unpredictable, digest.unpredictable);
}

static void bytes_of_anything_else_are_not_believed(void **state)
{
	static const size_t offsets[] = { 0, 4, 5, 6, 7, 471, 500, 511 };
	struct gm_launch_digest digest = start(GM_LAUNCH_SNP), again;
	uint8_t bytes[GM_LAUNCH_STATE_SIZE];

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(offsets); i++) {
		gm_launch_digest_save(&digest, bytes);
		bytes[offsets[i]] ^= 0xff;
		assert_int_equal(gm_launch_digest_load(bytes, &again), -EBADMSG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(zero_pages_bind_their_addresses),
		gm_test(pages_of_zeros_are_not_zero_pages),
		gm_test(splitting_pages_changes_nothing),
		gm_test(hashes_of_pages_do_as_well_as_the_pages),
		gm_test(a_region_is_added_and_extended_page_by_page),
		gm_test(sev_hashes_nothing_but_bytes),
		gm_test(what_no_launch_has_is_refused_and_changes_nothing),
		gm_test(contents_longer_than_their_range_are_refused),
		gm_test(permissions_that_kvm_never_sets_are_not_guessed_at),
		gm_test(after_finish_nothing_goes_in),
		gm_test(a_start_is_checked),
		gm_test(a_launch_goes_on_from_its_bytes),
		gm_test(a_reason_is_kept_in_the_bytes),
		gm_test(bytes_of_anything_else_are_not_believed),
	};

	return gm_test_run("launch_digest", tests, GM_ARRAY_SIZE(tests));
}
