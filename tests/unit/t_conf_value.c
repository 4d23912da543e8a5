/* SPDX-License-Identifier: Apache-2.0 */
/* Values in systemd's syntax: sizes, counts, times, booleans, sets of NUMA nodes. */
#include <string.h>

#include "conf_value.h"
#include "gm_test.h"

#define HOST (10 * GM_GIB)

struct number {
	const char *text;
	uint64_t value;
};

/* A value, and a piece of what is said about it. */
struct fault {
	const char *text;
	const char *reason;
};

static int size_of(const char *text, uint64_t *ret, struct gm_value_fault *why)
{
	return gm_value_size(text, HOST, ret, why);
}

static void assert_numbers(int (*parse)(const char *, uint64_t *, struct gm_value_fault *),
			   const struct number *good, size_t n_good)
{
	for (size_t i = 0; i < n_good; i++) {
		struct gm_value_fault why = { "" };
		uint64_t value = 0;

		if (parse(good[i].text, &value, &why) != 0)
			fail_msg("\"%s\": %s", good[i].text, why.reason);
		if (value != good[i].value)
			fail_msg("\"%s\" is %lu, not %lu", good[i].text, (unsigned long)value,
				 (unsigned long)good[i].value);
	}
}

static void assert_faults(int (*parse)(const char *, uint64_t *, struct gm_value_fault *),
			  const struct fault *bad, size_t n_bad)
{
	for (size_t i = 0; i < n_bad; i++) {
		struct gm_value_fault why = { "" };
		uint64_t value = 12345;

		if (parse(bad[i].text, &value, &why) != GM_INVALID)
			fail_msg("\"%s\" was taken for %lu", bad[i].text, (unsigned long)value);
		if (!strstr(why.reason, bad[i].reason))
			fail_msg("\"%s\": %s", bad[i].text, why.reason);
		assert_int_equal(value, 12345);
	}
}

static void a_size_is_bytes_with_a_binary_suffix(void **state)
{
	static const struct number good[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "4096B", 4096 },
		{ "1K", 1024 },
		{ "16M", 16 * GM_MIB },
		{ "16G", 16 * GM_GIB },
		{ "16 G", 16 * GM_GIB },
		{ "2T", 2 * GM_TIB },
		{ "1P", 1024 * GM_TIB },
		{ "15E", UINT64_C(15) << 60 },
		{ "1.5G", GM_GIB + GM_GIB / 2 },
		{ "0.25K", 256 },
		{ "1.000001K", 1024 },
		{ "18446744073709551614", UINT64_MAX - 1 },
		{ "infinity", GM_UNLIMITED },
	};

	(void)state;
	assert_numbers(size_of, good, GM_ARRAY_SIZE(good));
}

static void a_percentage_is_of_the_hosts_memory(void **state)
{
	static const struct number good[] = {
		{ "50%", 5 * GM_GIB },
		{ "100%", 10 * GM_GIB },
		{ "0%", 0 },
		{ "12.5%", GM_GIB + GM_GIB / 4 },
		{ "50 %", 5 * GM_GIB },
	};

	(void)state;
	assert_numbers(size_of, good, GM_ARRAY_SIZE(good));
}

static void a_percentage_of_the_largest_number_does_not_overflow(void **state)
{
	struct gm_value_fault why;
	uint64_t bytes = 0;

	(void)state;
	assert_int_equal(gm_value_size("99.999999%", UINT64_MAX, &bytes, &why), 0);
	assert_true(bytes > UINT64_MAX / 100 * 99);
	assert_int_equal(gm_value_size("100.000000%", UINT64_MAX, &bytes, &why), 0);
	assert_int_equal(bytes, UINT64_MAX);
}

static void what_is_no_size_is_refused_with_the_reason(void **state)
{
	static const struct fault bad[] = {
		{ "", "number" },
		{ "-1", "\"-1\" does not start with a number" },
		{ "+1", "number" },
		{ "G", "number" },
		{ "0x10", "\"x10\" is no unit of size" },
		{ "16X", "\"X\" is no unit of size: use K, M, G, T, P, E or %" },
		{ "16g", "unit of size" },
		{ "16GB", "unit of size" },
		{ "1G 1M", "unit of size" },
		{ "1.G", "after the point" },
		{ "1.0000001G", "after the point" },
		{ "101%", "more than the host has" },
		{ "100.1%", "more than the host has" },
		{ "18446744073709551615", "too large" },
		{ "18446744073709551616", "too large" },
		{ "99999999999999999999999", "too large" },
		{ "16E", "too large" },
		{ "15.9999999E", "after the point" },
		{ "Infinity", "number" },
	};

	(void)state;
	assert_faults(size_of, bad, GM_ARRAY_SIZE(bad));
}

static void a_count_is_a_whole_number(void **state)
{
	static const struct number good[] = {
		{ "0", 0 },
		{ "256", 256 },
		{ "007", 7 },
		{ "infinity", GM_UNLIMITED },
		{ "18446744073709551614", UINT64_MAX - 1 },
	};
	static const struct fault bad[] = {
		{ "", "number" },
		{ "-1", "number" },
		{ "1K", "\"1K\" is not a whole number" },
		{ "1.5", "whole number" },
		{ "1 2", "whole number" },
		{ "18446744073709551615", "too large" },
		{ "18446744073709551616", "too large" },
	};

	(void)state;
	assert_numbers(gm_value_count, good, GM_ARRAY_SIZE(good));
	assert_faults(gm_value_count, bad, GM_ARRAY_SIZE(bad));
}

static void a_time_is_a_sum_of_spans_in_seconds_if_not_said(void **state)
{
	static const struct number good[] = {
		{ "90", 90000 },
		{ "0", 0 },
		{ "5min 20s", 320000 },
		{ "5min20s", 320000 },
		{ "5 min 20", 320000 },
		{ "1h", 3600000 },
		{ "1.5h", 5400000 },
		{ "1 hour 1 minute 1 second", 3661000 },
		{ "2d", 172800000 },
		{ "1w", 604800000 },
		{ "1month", 2629800000 },
		{ "1M", 2629800000 },
		{ "1y", 31557600000 },
		{ "300ms", 300 },
		{ "infinity", GM_UNLIMITED },
	};

	(void)state;
	assert_numbers(gm_value_time, good, GM_ARRAY_SIZE(good));
}

static void a_unit_of_time_has_systemds_spellings(void **state)
{
	static const struct number good[] = {
		{ "1msec", 1 },
		{ "1s", 1000 },
		{ "1sec", 1000 },
		{ "1second", 1000 },
		{ "1seconds", 1000 },
		{ "1m", 60000 },
		{ "1min", 60000 },
		{ "1minute", 60000 },
		{ "1minutes", 60000 },
		{ "1hr", 3600000 },
		{ "1hour", 3600000 },
		{ "1hours", 3600000 },
		{ "1day", 86400000 },
		{ "1days", 86400000 },
		{ "1week", 604800000 },
		{ "1weeks", 604800000 },
		{ "1months", 2629800000 },
		{ "1year", 31557600000 },
		{ "1years", 31557600000 },
	};

	(void)state;
	assert_numbers(gm_value_time, good, GM_ARRAY_SIZE(good));
}

static void a_time_below_a_millisecond_is_rounded_up(void **state)
{
	static const struct number good[] = {
		{ "1us", 1 },	     { "1000us", 1 },	  { "1001usec", 2 }, { "0us", 0 },
		{ "1\302\265s", 1 }, { "1\316\274s", 1 }, { "0.0005s", 1 },
	};

	(void)state;
	assert_numbers(gm_value_time, good, GM_ARRAY_SIZE(good));
}

static void what_is_no_time_is_refused_with_the_reason(void **state)
{
	static const struct fault bad[] = {
		{ "", "number" },
		{ "soon", "\"soon\" does not start with a number" },
		{ "5 parsecs", "\"parsecs\" is no unit of time" },
		{ "5Min", "unit of time" },
		{ "-5", "number" },
		{ "5min -20s", "\"-20s\" does not start with a number" },
		{ "1.h", "after the point" },
		{ "20000000000000", "too long a time" },
		{ "600000y", "too long a time" },
		{ "500000y 500000y", "too long a time" },
		{ "18446744073709551616us", "too large" },
	};

	(void)state;
	assert_faults(gm_value_time, bad, GM_ARRAY_SIZE(bad));
}

static void a_boolean_has_twelve_spellings_in_any_case(void **state)
{
	static const char *const yes[] = { "1", "yes", "y", "true", "t", "on", "YES", "True" };
	static const char *const no[] = { "0", "no", "n", "false", "f", "off", "NO", "Off" };
	static const char *const bad[] = { "", "2", "ye", "enabled", "yes no" };
	struct gm_value_fault why;
	bool value;

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(yes); i++) {
		value = false;
		assert_int_equal(gm_value_boolean(yes[i], &value, &why), 0);
		assert_true(value);
		assert_int_equal(gm_value_boolean(no[i], &value, &why), 0);
		assert_false(value);
	}
	for (size_t i = 0; i < GM_ARRAY_SIZE(bad); i++) {
		assert_int_equal(gm_value_boolean(bad[i], &value, &why), GM_INVALID);
		assert_non_null(strstr(why.reason, "neither yes nor no"));
	}
}

static void nodes_are_numbers_and_spans_of_numbers(void **state)
{
	static const struct number good[] = {
		{ "0", 0x1 },	    { "0-3,5", 0x2f },		 { "0-3 5", 0x2f },
		{ "5, 0-3", 0x2f }, { "63", UINT64_C(1) << 63 }, { "0-63", UINT64_MAX },
		{ "1 1 1-1", 0x2 }, { "all", UINT64_MAX },
	};
	static const struct fault bad[] = {
		{ "", "number" },
		{ ",", "number" },
		{ "64", "node 64: nodes go from 0 to 63" },
		{ "0-64", "node 64" },
		{ "3-0", "nodes 3-0: the last is before the first" },
		{ "0-", "number" },
		{ "-3", "number" },
		{ "0 - 3", "number" },
		{ "0-3-5", "not a list of nodes" },
		{ "0x3", "not a list of nodes" },
		{ "0 all", "number" },
		{ "99999999999999999999", "too large" },
	};

	(void)state;
	assert_numbers(gm_value_nodes, good, GM_ARRAY_SIZE(good));
	assert_faults(gm_value_nodes, bad, GM_ARRAY_SIZE(bad));
}

static void a_quote_is_short_and_printable(void **state)
{
	struct gm_unit_quote quote;

	(void)state;
	quote = gm_unit_quote("a\033[31m\n\302\265");
	assert_string_equal(quote.text, "a?[31m???");
	quote = gm_unit_quote("01234567890123456789012345678901234567890123456");
	assert_string_equal(quote.text, "01234567890123456789012345678901234567890123456");
	quote = gm_unit_quote("012345678901234567890123456789012345678901234567");
	assert_string_equal(quote.text, "01234567890123456789012345678901234567890123...");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_size_is_bytes_with_a_binary_suffix),
		gm_test(a_percentage_is_of_the_hosts_memory),
		gm_test(a_percentage_of_the_largest_number_does_not_overflow),
		gm_test(what_is_no_size_is_refused_with_the_reason),
		gm_test(a_count_is_a_whole_number),
		gm_test(a_time_is_a_sum_of_spans_in_seconds_if_not_said),
		gm_test(a_unit_of_time_has_systemds_spellings),
		gm_test(a_time_below_a_millisecond_is_rounded_up),
		gm_test(what_is_no_time_is_refused_with_the_reason),
		gm_test(a_boolean_has_twelve_spellings_in_any_case),
		gm_test(nodes_are_numbers_and_spans_of_numbers),
		gm_test(a_quote_is_short_and_printable),
	};

	return gm_test_run("conf_value", tests, GM_ARRAY_SIZE(tests));
}
