/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a refusal says to a person.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "gm_num.h"
#include "gm_test.h"
#include "status.h"

static const char *text_of(int result, const struct gm_refusal *refusal)
{
	static struct gm_status status;

	gm_status_fill(&status, result, refusal, "VERB");
	assert_int_equal(status.message.text.len, strlen(status.text));
	return status.text;
}

static void a_limit_of_bytes_is_told_in_units(void **state)
{
	struct gm_refusal refusal;

	(void)state;
	gm_refuse_numbers(&refusal, GM_OVER_LIMIT, GM_RULE_MEMORY_MAX, "tenant acme", 16 * GM_GIB,
			  15 * GM_GIB + 512 * GM_MIB, GM_GIB);
	assert_string_equal(text_of(GM_OVER_LIMIT, &refusal),
			    "MemoryMax of tenant acme: limit 16.0G, used 15.5G, asked 1.0G");
	gm_refuse_numbers(&refusal, GM_OVER_LIMIT, GM_RULE_REGION_MAX, "tenant acme", UINT64_MAX, 0,
			  1023);
	assert_string_equal(text_of(GM_OVER_LIMIT, &refusal),
			    "RegionMax of tenant acme: limit 16.0E, used 0, asked 1023");
}

static void a_limit_of_pieces_is_told_in_digits(void **state)
{
	struct gm_refusal refusal;

	(void)state;
	gm_refuse_numbers(&refusal, GM_OVER_LIMIT, GM_RULE_REGIONS_MAX, "host", 4096, 4096, 1);
	assert_string_equal(text_of(GM_OVER_LIMIT, &refusal),
			    "RegionsMax of host: limit 4096, used 4096, asked 1");
}

static void another_rule_is_explained_with_its_numbers(void **state)
{
	struct gm_refusal refusal;

	(void)state;
	gm_refuse_numbers(&refusal, GM_INVALID, GM_RULE_SIZE, "region 1", 4096, 0, 1);
	assert_string_equal(text_of(GM_INVALID, &refusal),
			    "region 1: the size is zero or not a multiple of the page size "
			    "(limit 4096, asked 1)");
	gm_refuse(&refusal, GM_NO_SUCH_OBJECT, GM_RULE_NONE, "domain");
	assert_string_equal(text_of(GM_NO_SUCH_OBJECT, &refusal),
			    "domain: there is no such object");
}

static void a_text_of_the_refusal_wins(void **state)
{
	struct gm_refusal refusal;

	(void)state;
	gm_refuse_text(&refusal, GM_UNSUPPORTED, GM_RULE_PROBE, "host", "no such luck");
	assert_string_equal(text_of(GM_UNSUPPORTED, &refusal), "no such luck");
}

static void every_rule_with_the_longest_object_fits(void **state)
{
	char longest[GM_OBJECT_MAX];

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	for (int rule = 0; rule < GM_RULE_N_; rule++) {
		struct gm_refusal refusal;
		const char *text;

		gm_refuse_numbers(&refusal, GM_INVALID, (enum gm_rule)rule, longest, UINT64_MAX,
				  UINT64_MAX, UINT64_MAX);
		text = text_of(GM_INVALID, &refusal);
		assert_int_equal(text[strlen(text) - 1], ')');
	}
}

static void a_failure_carries_its_errno(void **state)
{
	struct gm_status status;

	(void)state;
	gm_status_fill(&status, -EMFILE, NULL, "REGION_CREATE");
	assert_int_equal(status.message.code, GMEM__CODE__CODE_FAILED);
	assert_int_equal(status.message.sys_errno, EMFILE);
	assert_string_equal(status.text, "REGION_CREATE failed in the daemon: Too many open files");
}

/* A client may be refused as often as it likes: no line at the default level for that. */
static void what_a_client_can_bring_about_is_for_debugging(void **state)
{
	(void)state;
	assert_int_equal(gm_status_log_level(GM_INVALID), LOG_INFO);
	assert_int_equal(gm_status_log_level(GM_NO_SUCH_OBJECT), LOG_INFO);
	assert_int_equal(gm_status_log_level(GM_WORKER_LOST), LOG_WARNING);
	assert_int_equal(gm_status_log_level(-EIO), LOG_ERR);
	assert_int_equal(gm_status_log_level(GM_VERDICT_N_), LOG_ERR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_limit_of_bytes_is_told_in_units),
		gm_test(a_limit_of_pieces_is_told_in_digits),
		gm_test(another_rule_is_explained_with_its_numbers),
		gm_test(a_text_of_the_refusal_wins),
		gm_test(every_rule_with_the_longest_object_fits),
		gm_test(a_failure_carries_its_errno),
		gm_test(what_a_client_can_bring_about_is_for_debugging),
	};

	return gm_test_run("status", tests, GM_ARRAY_SIZE(tests));
}
