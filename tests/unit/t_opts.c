/* SPDX-License-Identifier: Apache-2.0 */
/* gmemd's command line. */
#include "gm_test.h"

#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "opts.h"

static struct gm_opts opts;
static char fault[GM_OPTS_FAULT_MAX];

/* Up to three words after the program's name; the parsed options point into a copy of them. */
static int parse(const char *first, const char *second, const char *third)
{
	const char *const words[] = { "gmemd", first, second, third };
	static char copies[GM_ARRAY_SIZE(words)][512];
	char *argv[GM_ARRAY_SIZE(words) + 1] = { NULL };
	int argc = 0;

	for (size_t i = 0; i < GM_ARRAY_SIZE(words) && words[i]; i++) {
		snprintf(copies[i], sizeof(copies[i]), "%s", words[i]);
		argv[argc++] = copies[i];
	}
	fault[0] = '\0';
	return gm_opts_parse(argc, argv, &opts, fault);
}

static void expect_fault(const char *part)
{
	assert_non_null(strstr(fault, part));
	assert_null(strchr(fault, '\n'));
}

static void without_options_the_defaults_hold(void **state)
{
	(void)state;
	assert_int_equal(parse(NULL, NULL, NULL), 0);
	assert_int_equal(opts.action, GM_OPTS_SERVE);
	assert_int_equal(opts.n_listens, 0);
	assert_int_equal(opts.socket_mode, 0660);
	assert_int_equal(opts.log_level, LOG_INFO);
	assert_int_equal(opts.workers, 64);
	assert_null(opts.admin_path);
}

static void a_listen_is_a_name_and_a_path_that_may_hold_anything(void **state)
{
	(void)state;
	assert_int_equal(parse("--listen", "acme=/run/a=b.sock", "--listen=b.c:d-e_f=x"), 0);
	assert_int_equal(opts.n_listens, 2);
	assert_string_equal(opts.listens[0].name, "acme");
	assert_string_equal(opts.listens[0].path, "/run/a=b.sock");
	assert_string_equal(opts.listens[1].name, "b.c:d-e_f");
}

static void a_listen_without_name_or_path_or_with_a_bad_name_is_refused(void **state)
{
	static const char *const bad[] = { "acme", "=/x", "acme=", "a b=/x", "a/b=/x", "" };
	char name[128];

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse("--listen", bad[i], NULL), -EINVAL);
		expect_fault("--listen");
	}
	memset(name, 'n', 65);
	strcpy(name + 65, "=/x");
	assert_int_equal(parse("--listen", name, NULL), -EINVAL);
	assert_int_equal(parse("--listen", name + 1, NULL), 0);
}

static void the_operators_name_is_no_tenants(void **state)
{
	(void)state;
	assert_int_equal(parse("--listen", "admin=/x", NULL), -EINVAL);
	expect_fault("--admin");
}

static void a_policy_is_for_one_tenant_or_for_all_and_paths_may_hold_equals(void **state)
{
	(void)state;
	assert_int_equal(parse("--policy=acme=/p", "--policy", "/etc/a=b"), 0);
	assert_int_equal(opts.n_policies, 2);
	assert_string_equal(opts.policies[0].name, "acme");
	assert_string_equal(opts.policies[0].path, "/p");
	assert_string_equal(opts.policies[1].name, "");
	assert_string_equal(opts.policies[1].path, "/etc/a=b");
	assert_int_equal(parse("--policy", "acme=", NULL), -EINVAL);
}

static void more_sockets_than_there_is_room_for_are_refused(void **state)
{
	static char word[] = "--listen=a=/x";
	static char *argv[GM_OPTS_LISTENS_MAX + 3];
	int argc = 0;

	(void)state;
	argv[argc++] = word;
	while (argc < GM_OPTS_LISTENS_MAX + 2)
		argv[argc++] = word;
	assert_int_equal(gm_opts_parse(argc - 1, argv, &opts, fault), 0);
	assert_int_equal(opts.n_listens, GM_OPTS_LISTENS_MAX);
	assert_int_equal(gm_opts_parse(argc, argv, &opts, fault), -EINVAL);
	expect_fault("256");
}

static void words_are_taken_from_their_list_only(void **state)
{
	(void)state;
	assert_int_equal(parse("--sandbox=log", "--log-level=debug", NULL), 0);
	assert_int_equal(opts.sandbox, GM_SANDBOX_LOG);
	assert_int_equal(opts.log_level, LOG_DEBUG);
	assert_int_equal(parse("--sandbox", "maybe", NULL), -EINVAL);
	expect_fault("maybe");
	assert_int_equal(parse("--log-level", "7", NULL), -EINVAL);
}

static void folders_have_absolute_paths(void **state)
{
	(void)state;
	assert_int_equal(parse("--cgroup-root", "/c", NULL), 0);
	assert_string_equal(opts.cgroup_root, "/c");
	assert_int_equal(parse("--unit-root", "/", NULL), 0);
	assert_string_equal(opts.unit_root, "/");
	assert_int_equal(parse("--cgroup-root", "c", NULL), -EINVAL);
	expect_fault("--cgroup-root: \"c\"");
	assert_int_equal(parse("--unit-root=u", NULL, NULL), -EINVAL);
	expect_fault("--unit-root: \"u\"");
}

static void numbers_are_whole_and_in_range(void **state)
{
	static const char *const bad[] = {
		"", "-1", "x", "1x", " 1", "4097", "99999999999999999999"
	};

	(void)state;
	assert_int_equal(parse("--workers=0", "--socket-mode=0600", NULL), 0);
	assert_int_equal(opts.workers, 0);
	assert_int_equal(opts.socket_mode, 0600);
	for (size_t i = 0; i < GM_ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse("--workers", bad[i], NULL), -EINVAL);
		expect_fault("--workers");
	}
	assert_int_equal(parse("--socket-mode", "1777", NULL), -EINVAL);
	assert_int_equal(parse("--socket-mode", "668", NULL), -EINVAL);
}

static void what_is_no_option_is_named(void **state)
{
	(void)state;
	assert_int_equal(parse("--lisen", "a=/x", NULL), -EINVAL);
	expect_fault("--lisen");
	assert_int_equal(parse("acme=/x", NULL, NULL), -EINVAL);
	expect_fault("acme=/x");
	assert_int_equal(parse("--admin", NULL, NULL), -EINVAL);
	expect_fault("--admin");
}

static void the_other_actions_are_chosen_by_their_options(void **state)
{
	(void)state;
	assert_int_equal(parse("--probe", NULL, NULL), 0);
	assert_int_equal(opts.action, GM_OPTS_PROBE);
	assert_int_equal(parse("--check-policy", "/p", NULL), 0);
	assert_int_equal(opts.action, GM_OPTS_CHECK_POLICY);
	assert_string_equal(opts.check_path, "/p");
	assert_int_equal(parse("--version", NULL, NULL), 0);
	assert_int_equal(opts.action, GM_OPTS_VERSION);
}

static void a_watchdog_watches_for_a_keeper_only(void **state)
{
	(void)state;
	assert_int_equal(parse("--keep", NULL, NULL), 0);
	assert_true(opts.keep);
	assert_int_equal(opts.watchdog_ms, 0);
	assert_int_equal(parse("--watchdog=5", "--keep", NULL), 0);
	assert_int_equal(opts.watchdog_ms, 5000);
	assert_int_equal(parse("--watchdog", "5", NULL), -EINVAL);
	expect_fault("--keep");
	assert_int_equal(parse("--keep", "--watchdog", "3601"), -EINVAL);
	expect_fault("--watchdog");
}

static void the_longest_wait_before_a_restart_is_a_second_or_what_was_said(void **state)
{
	(void)state;
	assert_int_equal(parse("--keep", NULL, NULL), 0);
	assert_int_equal(opts.restart_max_ms, 1000);
	assert_int_equal(parse("--keep", "--restart-max=0", NULL), 0);
	assert_int_equal(opts.restart_max_ms, 0);
	assert_int_equal(parse("--restart-max=3600001", NULL, NULL), -EINVAL);
	expect_fault("--restart-max");
}

static void a_kept_daemon_gets_every_word_but_the_keepers(void **state)
{
	char words[][16] = { "gmemd",	   "--keep", "--listen",      "--keep=/x",
			     "--watchdog", "5",	     "--log-l=err",   "--watch=7",
			     "--admin",	   "--keep", "--restart-max", "5" };
	static const char *const left[] = { "gmemd",	   "--listen", "--keep=/x",
					    "--log-l=err", "--admin",  "--keep" };
	char *argv[GM_ARRAY_SIZE(words) + 1] = { NULL }, *kept[GM_ARRAY_SIZE(argv)];

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(words); i++)
		argv[i] = words[i];
	gm_opts_for_kept(GM_ARRAY_SIZE(words), argv, kept);
	for (size_t i = 0; i < GM_ARRAY_SIZE(left); i++)
		assert_string_equal(kept[i], left[i]);
	assert_null(kept[GM_ARRAY_SIZE(left)]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(without_options_the_defaults_hold),
		gm_test(a_listen_is_a_name_and_a_path_that_may_hold_anything),
		gm_test(a_listen_without_name_or_path_or_with_a_bad_name_is_refused),
		gm_test(the_operators_name_is_no_tenants),
		gm_test(a_policy_is_for_one_tenant_or_for_all_and_paths_may_hold_equals),
		gm_test(more_sockets_than_there_is_room_for_are_refused),
		gm_test(words_are_taken_from_their_list_only),
		gm_test(folders_have_absolute_paths),
		gm_test(numbers_are_whole_and_in_range),
		gm_test(what_is_no_option_is_named),
		gm_test(the_other_actions_are_chosen_by_their_options),
		gm_test(a_watchdog_watches_for_a_keeper_only),
		gm_test(the_longest_wait_before_a_restart_is_a_second_or_what_was_said),
		gm_test(a_kept_daemon_gets_every_word_but_the_keepers),
	};

	return gm_test_run("opts", tests, GM_ARRAY_SIZE(tests));
}
