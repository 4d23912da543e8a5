/* SPDX-License-Identifier: Apache-2.0 */
/* The vocabulary of refusals. */
#include "gm_test.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "gm_num.h"
#include "gm_verdict.h"

static void every_verdict_and_rule_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (int i = 0; i < GM_VERDICT_N_; i++) {
		for (int k = 0; k < i; k++)
			assert_string_not_equal(gm_verdict_name(i), gm_verdict_name(k));
	}
	for (int i = 0; i < GM_RULE_N_; i++) {
		assert_true(strlen(gm_rule_text(i)) > 0);
		for (int k = 0; k < i; k++) {
			assert_string_not_equal(gm_rule_name(i), gm_rule_name(k));
			assert_string_not_equal(gm_rule_text(i), gm_rule_text(k));
		}
	}
}

static void policy_keys_are_named_as_the_operator_writes_them(void **state)
{
	(void)state;
	assert_string_equal(gm_rule_name(GM_RULE_MEMORY_MAX), "MemoryMax");
	assert_string_equal(gm_rule_name(GM_RULE_NUMA_NODES), "NUMANodes");
	assert_string_equal(gm_rule_name(GM_RULE_HUGE_PAGES), "HugePages");
	assert_string_equal(gm_verdict_name(GM_OVER_LIMIT), "over-limit");
}

static void numbers_of_a_newer_peer_have_a_name_too(void **state)
{
	static const int strange[] = { GM_RULE_N_, 1000, INT_MAX, INT_MIN, -EIO };

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(strange); i++) {
		assert_non_null(gm_verdict_name(strange[i]));
		assert_non_null(gm_rule_name(strange[i]));
		assert_non_null(gm_rule_text(strange[i]));
	}
	assert_string_equal(gm_verdict_name(-EIO), "failed");
}

static void a_refusal_has_its_numbers_and_nothing_of_an_earlier_one(void **state)
{
	struct gm_refusal refusal;

	(void)state;
	memset(&refusal, 0xff, sizeof(refusal));
	assert_int_equal(gm_refuse_numbers(&refusal, GM_OVER_LIMIT, GM_RULE_MEMORY_MAX,
					   "tenant acme", 100, 90, 20),
			 GM_OVER_LIMIT);
	assert_int_equal(refusal.rule, GM_RULE_MEMORY_MAX);
	assert_int_equal(refusal.limit, 100);
	assert_int_equal(refusal.used, 90);
	assert_int_equal(refusal.asked, 20);
	assert_int_equal(refusal.offset, 0);
	assert_int_equal(refusal.sys_errno, 0);
	assert_string_equal(refusal.object, "tenant acme");
	assert_string_equal(refusal.text, "");
}

static void long_words_are_cut_and_not_overflowed(void **state)
{
	struct gm_refusal refusal;
	char words[1000];

	(void)state;
	memset(words, 'w', sizeof(words));
	words[sizeof(words) - 1] = '\0';
	assert_int_equal(gm_refuse_text(&refusal, GM_DENIED, GM_RULE_KINDS, words, "%s", words),
			 GM_DENIED);
	assert_int_equal(strlen(refusal.object), GM_OBJECT_MAX - 1);
	assert_int_equal(strlen(refusal.text), GM_TEXT_MAX - 1);
}

static void a_verdict_passes_without_a_refusal_or_an_object(void **state)
{
	struct gm_refusal refusal;

	(void)state;
	assert_int_equal(gm_refuse(NULL, GM_BUSY, GM_RULE_ATTACHED, "x"), GM_BUSY);
	assert_int_equal(gm_refuse_text(NULL, GM_BUSY, GM_RULE_ATTACHED, "x", "%d", 1), GM_BUSY);
	assert_int_equal(gm_refuse(&refusal, GM_BUSY, GM_RULE_ATTACHED, NULL), GM_BUSY);
	assert_string_equal(refusal.object, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(every_verdict_and_rule_has_a_name_of_its_own),
		gm_test(policy_keys_are_named_as_the_operator_writes_them),
		gm_test(numbers_of_a_newer_peer_have_a_name_too),
		gm_test(a_refusal_has_its_numbers_and_nothing_of_an_earlier_one),
		gm_test(long_words_are_cut_and_not_overflowed),
		gm_test(a_verdict_passes_without_a_refusal_or_an_object),
	};

	return gm_test_run("verdict", tests, GM_ARRAY_SIZE(tests));
}
