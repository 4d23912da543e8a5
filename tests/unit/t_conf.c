/* SPDX-License-Identifier: Apache-2.0 */
/* Policy files: sections, lines, keys, and what is said about a fault. */
#include <string.h>

#include "conf.h"
#include "gm_test.h"

#define HOST (10 * GM_GIB)

#define AB_8 "abababababababab"
#define DIGEST_32 AB_8 AB_8 AB_8 AB_8
#define DIGEST_32_BUT_ONE AB_8 AB_8 AB_8 "abababababababa"
#define DIGEST_48 DIGEST_32 AB_8 AB_8

static int parse(const char *text, struct gm_policy *ret_policy, struct gm_unit_fault *ret_fault)
{
	gm_policy_defaults(ret_policy, HOST);
	memset(ret_fault, 0, sizeof(*ret_fault));
	return gm_conf_parse(text, strlen(text), HOST, ret_policy, ret_fault);
}

static struct gm_policy good(const char *text)
{
	struct gm_policy policy;
	struct gm_unit_fault fault;

	if (parse(text, &policy, &fault) != 0)
		fail_msg("%u: %s: %s\n%s", fault.line, fault.key, fault.reason, text);
	return policy;
}

/* @said: LINE: KEY: REASON */
static void bad(const char *text, const char *said)
{
	struct gm_policy defaults;
	struct gm_policy policy;
	struct gm_unit_fault fault;
	char line[512];

	gm_policy_defaults(&defaults, HOST);
	assert_int_equal(parse(text, &policy, &fault), GM_INVALID);
	snprintf(line, sizeof(line), "%u: %s: %s", fault.line, fault.key, fault.reason);
	assert_string_equal(line, said);
	assert_memory_equal(&policy, &defaults, sizeof(policy));
}

static void an_empty_file_changes_nothing(void **state)
{
	struct gm_policy defaults;
	struct gm_policy policy;

	(void)state;
	gm_policy_defaults(&defaults, HOST);
	policy = good("");
	assert_memory_equal(&policy, &defaults, sizeof(policy));
	policy = good("\n\n# nothing\n[X-Gmemd]\n");
	assert_memory_equal(&policy, &defaults, sizeof(policy));
}

static void every_key_sets_its_limit(void **state)
{
	struct gm_policy policy;

	(void)state;
	policy = good("[X-Gmemd]\n"
		      "Kinds=memfd guest-memfd\n"
		      "MemoryMax=16G\n"
		      "RegionMax=8G\n"
		      "RegionsMax=100\n"
		      "DomainsMax=10\n"
		      "SessionsMax=20\n"
		      "JobsMax=4\n"
		      "HugePages=2M:8G 1G\n"
		      "NUMANodes=0-1\n"
		      "Persistent=no\n"
		      "PersistentTTL=10min\n"
		      "MemlockMax=5G\n"
		      "SevSlots=6\n"
		      "SevEsSlots=7\n"
		      "TdxSlots=8\n"
		      "RequestsRate=1000\n"
		      "AllocateRate=2G\n"
		      "WorkersMax=9\n"
		      "SharedMax=256M\n"
		      "ConversionRate=5000\n"
		      "ConversionGranularity=2M\n"
		      "ConvertInPlace=no\n"
		      "DiscardMeasured=yes\n"
		      "Preallocate=yes\n");
	assert_false(policy.all_kinds);
	assert_int_equal(policy.n_kinds, 2);
	assert_string_equal(policy.kinds[0], "memfd");
	assert_string_equal(policy.kinds[1], "guest-memfd");
	assert_int_equal(policy.memory_max, 16 * GM_GIB);
	assert_int_equal(policy.region_max, 8 * GM_GIB);
	assert_int_equal(policy.regions_max, 100);
	assert_int_equal(policy.domains_max, 10);
	assert_int_equal(policy.sessions_max, 20);
	assert_int_equal(policy.jobs_max, 4);
	assert_int_equal(policy.huge_2m_max, 8 * GM_GIB);
	assert_int_equal(policy.huge_1g_max, GM_UNLIMITED);
	assert_int_equal(policy.numa_nodes, 3);
	assert_false(policy.persistent);
	assert_int_equal(policy.persistent_ttl_ms, 600000);
	assert_int_equal(policy.memlock_max, 5 * GM_GIB);
	assert_int_equal(policy.slots_max[0], 6);
	assert_int_equal(policy.slots_max[1], 7);
	assert_int_equal(policy.slots_max[2], 8);
	assert_int_equal(policy.requests_rate, 1000);
	assert_int_equal(policy.allocate_rate, 2 * GM_GIB);
	assert_int_equal(policy.workers_max, 9);
	assert_int_equal(policy.shared_max, 256 * GM_MIB);
	assert_int_equal(policy.conversion_rate, 5000);
	assert_int_equal(policy.conversion_granularity, GM_PAGE_2M);
	assert_false(policy.convert_in_place);
	assert_true(policy.discard_measured);
	assert_true(policy.preallocate);
}

static void a_granularity_is_that_of_a_page_table(void **state)
{
	(void)state;
	assert_int_equal(good("[X-Gmemd]\nConversionGranularity=1G\n").conversion_granularity,
			 GM_PAGE_1G);
	assert_int_equal(good("[X-Gmemd]\nConversionGranularity=4096\n").conversion_granularity,
			 GM_PAGE_4K);
	bad("[X-Gmemd]\nConversionGranularity=64K\n", "2: ConversionGranularity: is 4K, 2M or 1G");
	bad("[X-Gmemd]\nConversionGranularity=0\n", "2: ConversionGranularity: is 4K, 2M or 1G");
}

static void other_sections_are_skipped_whatever_they_hold(void **state)
{
	struct gm_policy policy;

	(void)state;
	policy = good("[Unit]\n"
		      "MemoryMax=1\n"
		      "no assignment at all\n"
		      "[Socket]\n"
		      "ListenSequentialPacket=/run/gmemd/acme\\\n"
		      "[X-Gmemd]\n"
		      "[X-Gmemd]\n"
		      "MemoryMax=2G\n"
		      "[Install]\n"
		      "MemoryMax=3\n"
		      "[X-Gmemd]\n"
		      "DomainsMax=3\n");
	assert_int_equal(policy.memory_max, 2 * GM_GIB);
	assert_int_equal(policy.domains_max, 3);
}

static void comments_and_blanks_are_skipped(void **state)
{
	struct gm_policy policy;

	(void)state;
	policy = good("# MemoryMax=1\n"
		      "  ; MemoryMax=2\n"
		      "[X-Gmemd]  \n"
		      " \t\n"
		      "#MemoryMax=3\\\n"
		      "  MemoryMax \t=  4G \t\n");
	assert_int_equal(policy.memory_max, 4 * GM_GIB);
}

static void a_hash_within_a_value_is_no_comment(void **state)
{
	(void)state;
	bad("[X-Gmemd]\nMemoryMax=4G # four\n",
	    "2: MemoryMax: \"G # four\" is no unit of size: use K, M, G, T, P, E or %");
}

static void the_last_line_needs_no_newline(void **state)
{
	(void)state;
	assert_int_equal(good("[X-Gmemd]\nMemoryMax=4G").memory_max, 4 * GM_GIB);
	assert_int_equal(good("[X-Gmemd]\nMemoryMax=4G \\").memory_max, 4 * GM_GIB);
}

static void lines_may_end_as_on_windows(void **state)
{
	(void)state;
	assert_int_equal(good("\xef\xbb\xbf[X-Gmemd]\r\nMemoryMax=4G\r\n").memory_max, 4 * GM_GIB);
}

static void a_backslash_continues_the_line_over_comments(void **state)
{
	struct gm_policy policy;

	(void)state;
	policy = good("[X-Gmemd]\n"
		      "Kinds=memfd \\\n"
		      "# a comment with a backslash\\\n"
		      "   guest-memfd\\\n"
		      ";another\n"
		      "private\n"
		      "JobsMax=2\n");
	assert_int_equal(policy.n_kinds, 3);
	assert_string_equal(policy.kinds[1], "guest-memfd");
	assert_string_equal(policy.kinds[2], "private");
	assert_int_equal(policy.jobs_max, 2);
}

static void an_empty_line_ends_a_continued_one(void **state)
{
	struct gm_policy policy;

	(void)state;
	policy = good("[X-Gmemd]\nKinds=memfd \\\n\nJobsMax=2\n");
	assert_int_equal(policy.n_kinds, 1);
	assert_int_equal(policy.jobs_max, 2);
}

static void an_escaped_backslash_continues_nothing(void **state)
{
	(void)state;
	bad("[X-Gmemd]\nKinds=memfd\\\\\nJobsMax=2\n",
	    "2: Kinds: kind \"memfd\\\\\" has a character that no kind's name has");
}

static void a_fault_is_reported_where_its_assignment_starts(void **state)
{
	(void)state;
	bad("# one\n[X-Gmemd]\n\nMemoryMax=\\\n# comment\n\\\n12Q\n",
	    "4: MemoryMax: \"Q\" is no unit of size: use K, M, G, T, P, E or %");
}

static void an_empty_assignment_resets_to_the_default(void **state)
{
	struct gm_policy defaults;
	struct gm_policy policy;

	(void)state;
	gm_policy_defaults(&defaults, HOST);
	policy = good("[X-Gmemd]\n"
		      "Kinds=memfd\nKinds=\n"
		      "MemoryMax=1G\nMemoryMax=\n"
		      "RegionMax=1G\nRegionMax=\n"
		      "HugePages=2M 1G\nHugePages=\n"
		      "NUMANodes=0\nNUMANodes= \n"
		      "Persistent=no\nPersistent=\n"
		      "PersistentTTL=1\nPersistentTTL=\n");
	assert_memory_equal(&policy, &defaults, sizeof(policy));
}

static void a_list_assigned_twice_appends(void **state)
{
	struct gm_policy policy;

	(void)state;
	policy = good("[X-Gmemd]\n"
		      "Kinds=memfd\nKinds=guest-memfd memfd\n"
		      "HugePages=2M:1G\nHugePages=1G:2G\n"
		      "NUMANodes=0\nNUMANodes=2\n");
	assert_int_equal(policy.n_kinds, 2);
	assert_int_equal(policy.huge_2m_max, GM_GIB);
	assert_int_equal(policy.huge_1g_max, 2 * GM_GIB);
	assert_int_equal(policy.numa_nodes, 5);
}

static void a_list_that_was_reset_starts_anew(void **state)
{
	struct gm_policy policy;

	(void)state;
	policy = good("[X-Gmemd]\n"
		      "Kinds=memfd\nKinds=\nKinds=private\n"
		      "HugePages=2M\nHugePages=\nHugePages=1G\n"
		      "NUMANodes=0\nNUMANodes=\nNUMANodes=2\n");
	assert_int_equal(policy.n_kinds, 1);
	assert_string_equal(policy.kinds[0], "private");
	assert_int_equal(policy.huge_2m_max, 0);
	assert_int_equal(policy.huge_1g_max, GM_UNLIMITED);
	assert_int_equal(policy.numa_nodes, 4);
}

static void anything_else_assigned_twice_takes_the_last_value(void **state)
{
	struct gm_policy policy;

	(void)state;
	policy = good("[X-Gmemd]\nMemoryMax=1G\nMemoryMax=2G\nHugePages=2M:1G\nHugePages=2M:3G\n");
	assert_int_equal(policy.memory_max, 2 * GM_GIB);
	assert_int_equal(policy.huge_2m_max, 3 * GM_GIB);
}

static void a_text_is_applied_over_what_is_there(void **state)
{
	const char *text = "[X-Gmemd]\nJobsMax=3\nKinds=private\nHugePages=1G\n";
	struct gm_policy policy = good("[X-Gmemd]\nDomainsMax=7\nKinds=memfd\nHugePages=2M\n");
	struct gm_unit_fault fault;

	(void)state;
	assert_int_equal(gm_conf_parse(text, strlen(text), HOST, &policy, &fault), 0);
	assert_int_equal(policy.domains_max, 7);
	assert_int_equal(policy.jobs_max, 3);
	assert_int_equal(policy.n_kinds, 1);
	assert_string_equal(policy.kinds[0], "private");
	assert_string_equal(policy.kinds[1], "");
	assert_int_equal(policy.huge_2m_max, 0);
	assert_int_equal(policy.huge_1g_max, GM_UNLIMITED);
}

static void RegionMax_follows_MemoryMax_unless_it_is_set(void **state)
{
	const char *text = "[X-Gmemd]\nMemoryMax=3G\n";
	struct gm_policy policy;
	struct gm_unit_fault fault;

	(void)state;
	assert_int_equal(good("[X-Gmemd]\nMemoryMax=20G\n").region_max, 20 * GM_GIB);
	assert_int_equal(good("[X-Gmemd]\nRegionMax=1G\nMemoryMax=20G\n").region_max, GM_GIB);
	policy = good("[X-Gmemd]\nRegionMax=1G\nMemoryMax=20G\nRegionMax=\n");
	assert_int_equal(policy.region_max, 20 * GM_GIB);

	/* An earlier text that set it counts too. */
	policy = good("[X-Gmemd]\nRegionMax=1G\n");
	assert_int_equal(gm_conf_parse(text, strlen(text), HOST, &policy, &fault), 0);
	assert_int_equal(policy.memory_max, 3 * GM_GIB);
	assert_int_equal(policy.region_max, GM_GIB);
}

static void percentages_are_of_the_hosts_memory(void **state)
{
	struct gm_policy policy;

	(void)state;
	policy = good("[X-Gmemd]\nMemoryMax=50%\nHugePages=2M:10%\n");
	assert_int_equal(policy.memory_max, 5 * GM_GIB);
	assert_int_equal(policy.huge_2m_max, GM_GIB);
}

static void a_misspelt_key_is_no_limit_and_therefore_a_fault(void **state)
{
	(void)state;
	bad("[X-Gmemd]\nMemoryMaxx=1G\n", "2: MemoryMaxx: unknown key in [X-Gmemd]");
	bad("[X-Gmemd]\nmemorymax=1G\n", "2: memorymax: unknown key in [X-Gmemd]");
	bad("[X-Gmemd]\nMemoryMaxx=\n", "2: MemoryMaxx: unknown key in [X-Gmemd]");
}

static void a_misspelt_section_is_a_fault_too(void **state)
{
	(void)state;
	bad("[x-gmemd]\nMemoryMax=1G\n", "1: section: the name is spelt [X-Gmemd]");
}

static void one_fault_undoes_the_whole_file(void **state)
{
	(void)state;
	bad("[X-Gmemd]\nMemoryMax=1G\nKinds=memfd\nPersistent=perhaps\n",
	    "4: Persistent: \"perhaps\" is neither yes nor no");
}

static void structure_that_is_broken_is_a_fault(void **state)
{
	(void)state;
	bad("MemoryMax=1G\n", "1: MemoryMax: outside of a section: [X-Gmemd] comes first");
	bad("\n[X-Gmemd\nMemoryMax=1G\n",
	    "2: section: a section header is [Name] on a line of its own");
	bad("[]\n", "1: section: a section header is [Name] on a line of its own");
	bad("[X-Gmemd] MemoryMax=1G\n",
	    "1: section: a section header is [Name] on a line of its own");
	bad("[X-Gmemd]\nMemoryMax 1G\n", "2: MemoryMax 1G: not an assignment: KEY=VALUE");
	bad("[X-Gmemd]\n = 1G\n", "2: =: no key before the =");
}

static void kinds_are_names_and_few(void **state)
{
	(void)state;
	bad("[X-Gmemd]\nKinds=a/b\n",
	    "2: Kinds: kind \"a/b\" has a character that no kind's name has");
	bad("[X-Gmemd]\nKinds=a b c d e f g h i\n", "2: Kinds: more than 8 kinds");
	bad("[X-Gmemd]\nKinds=012345678901234567890123456789012\n",
	    "2: Kinds: kind \"012345678901234567890123456789012\" is longer than 32 characters");
	assert_int_equal(good("[X-Gmemd]\nKinds=a b c d e f g h\n").n_kinds, 8);
	assert_int_equal(good("[X-Gmemd]\nKinds=01234567890123456789012345678901\n").n_kinds, 1);
}

static void hugepages_are_of_two_sizes(void **state)
{
	(void)state;
	bad("[X-Gmemd]\nHugePages=4M\n",
	    "2: HugePages: \"4M\" is no size of hugepages: use 2M or 1G");
	bad("[X-Gmemd]\nHugePages=2M:\n", "2: HugePages: \"\" does not start with a number");
	bad("[X-Gmemd]\nHugePages=2M:1Q\n",
	    "2: HugePages: \"Q\" is no unit of size: use K, M, G, T, P, E or %");
	assert_int_equal(good("[X-Gmemd]\nHugePages=2M:0\n").huge_2m_max, 0);
}

static void control_characters_do_not_reach_the_log(void **state)
{
	(void)state;
	bad("[X-Gmemd]\nMem\033[31moryMax=1G\n", "2: Mem?[31moryMax: unknown key in [X-Gmemd]");
	bad("[X-Gmemd]\nMemoryMax=\0331G\n", "2: MemoryMax: \"?1G\" does not start with a number");
}

static void a_nul_byte_is_a_fault_with_its_line(void **state)
{
	static const char text[] = "[X-Gmemd]\n\nMemoryMax=1G\0\n";
	struct gm_policy policy;
	struct gm_unit_fault fault;

	(void)state;
	gm_policy_defaults(&policy, HOST);
	assert_int_equal(gm_conf_parse(text, sizeof(text) - 1, HOST, &policy, &fault), GM_INVALID);
	assert_int_equal(fault.line, 3);
	assert_string_equal(fault.key, "file");
}

static void a_file_of_more_than_256_KiB_is_a_fault(void **state)
{
	static char text[GM_UNIT_TEXT_MAX + 1];
	struct gm_policy policy;
	struct gm_unit_fault fault;

	(void)state;
	memset(text, '\n', sizeof(text));
	gm_policy_defaults(&policy, HOST);
	assert_int_equal(gm_conf_parse(text, sizeof(text) - 1, HOST, &policy, &fault), 0);
	assert_int_equal(gm_conf_parse(text, sizeof(text), HOST, &policy, &fault), GM_INVALID);
	assert_int_equal(fault.line, 1);
	assert_string_equal(fault.key, "file");
	assert_string_equal(fault.reason, "larger than 262144 bytes");
}

/* "[X-Gmemd]\nKinds=memfd" with @n blanks behind, split over lines. */
static int parse_long(size_t n, const char *section, struct gm_unit_fault *ret_fault)
{
	static char text[64 * 1024];
	struct gm_policy policy;
	size_t length = (size_t)snprintf(text, sizeof(text), "%s\nKinds=memfd", section);

	for (size_t i = 0; i < n; i++)
		text[length++] = ' ';
	memcpy(text + length, "\\\nx", 3);
	gm_policy_defaults(&policy, HOST);
	return gm_conf_parse(text, length + 3, HOST, &policy, ret_fault);
}

static void an_assignment_of_more_than_4_KiB_is_a_fault(void **state)
{
	struct gm_unit_fault fault;
	size_t fits = GM_UNIT_LINE_MAX - strlen("Kinds=memfd") - strlen(" x");

	(void)state;
	assert_int_equal(parse_long(fits, "[X-Gmemd]", &fault), 0);
	assert_int_equal(parse_long(fits + 1, "[X-Gmemd]", &fault), GM_INVALID);
	assert_int_equal(fault.line, 2);
	assert_string_equal(fault.key, "Kinds");
	assert_string_equal(fault.reason, "longer than 4096 bytes");
	assert_int_equal(parse_long(20000, "[Service]", &fault), 0);
}

static void measurements_are_read_as_digests_and_add_up(void **state)
{
	struct gm_policy policy;
	struct gm_unit_fault fault;
	uint8_t digest[48];

	(void)state;
	memset(digest, 0xab, sizeof(digest));
	assert_int_equal(parse("[X-Gmemd]\nMeasurementAllow=" DIGEST_48
			       "\nMeasurementAllow=" DIGEST_32 "\nRequireIdBlock=yes\n",
			       &policy, &fault),
			 0);
	assert_int_equal(policy.n_measurements, 2);
	assert_true(policy.require_id_block);
	assert_true(gm_policy_allows_measurement(&policy, digest, 48));
	assert_true(gm_policy_allows_measurement(&policy, digest, 32));
	digest[31] = 0;
	assert_false(gm_policy_allows_measurement(&policy, digest, 48));
	assert_false(gm_policy_allows_measurement(&policy, digest, 32));
	assert_int_equal(parse("", &policy, &fault), 0);
	assert_true(gm_policy_allows_measurement(&policy, digest, 48));
}

static void a_measurement_of_another_length_or_with_another_digit_is_a_fault(void **state)
{
	struct gm_policy policy;
	struct gm_unit_fault fault;

	(void)state;
	assert_int_equal(parse("[X-Gmemd]\nMeasurementAllow=abab\n", &policy, &fault), GM_INVALID);
	assert_int_equal(
		parse("[X-Gmemd]\nMeasurementAllow=g" DIGEST_32_BUT_ONE "\n", &policy, &fault),
		GM_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(an_empty_file_changes_nothing),
		gm_test(every_key_sets_its_limit),
		gm_test(a_granularity_is_that_of_a_page_table),
		gm_test(other_sections_are_skipped_whatever_they_hold),
		gm_test(comments_and_blanks_are_skipped),
		gm_test(a_hash_within_a_value_is_no_comment),
		gm_test(the_last_line_needs_no_newline),
		gm_test(lines_may_end_as_on_windows),
		gm_test(a_backslash_continues_the_line_over_comments),
		gm_test(an_empty_line_ends_a_continued_one),
		gm_test(an_escaped_backslash_continues_nothing),
		gm_test(a_fault_is_reported_where_its_assignment_starts),
		gm_test(an_empty_assignment_resets_to_the_default),
		gm_test(a_list_assigned_twice_appends),
		gm_test(a_list_that_was_reset_starts_anew),
		gm_test(anything_else_assigned_twice_takes_the_last_value),
		gm_test(a_text_is_applied_over_what_is_there),
		gm_test(RegionMax_follows_MemoryMax_unless_it_is_set),
		gm_test(percentages_are_of_the_hosts_memory),
		gm_test(a_misspelt_key_is_no_limit_and_therefore_a_fault),
		gm_test(a_misspelt_section_is_a_fault_too),
		gm_test(one_fault_undoes_the_whole_file),
		gm_test(structure_that_is_broken_is_a_fault),
		gm_test(kinds_are_names_and_few),
		gm_test(hugepages_are_of_two_sizes),
		gm_test(control_characters_do_not_reach_the_log),
		gm_test(a_nul_byte_is_a_fault_with_its_line),
		gm_test(a_file_of_more_than_256_KiB_is_a_fault),
		gm_test(measurements_are_read_as_digests_and_add_up),
		gm_test(a_measurement_of_another_length_or_with_another_digit_is_a_fault),
		gm_test(an_assignment_of_more_than_4_KiB_is_a_fault),
	};

	return gm_test_run("conf", tests, GM_ARRAY_SIZE(tests));
}
