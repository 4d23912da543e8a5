/* SPDX-License-Identifier: Apache-2.0 */
/* Tenants and sessions. */
#include "book_fixture.h"

static void a_tenant_is_found_by_its_name(void **state)
{
	struct host host;

	(void)state;
	host_init(&host);
	assert_ptr_equal(gm_book_find_tenant(&host.book, "acme"), host.acme);
	assert_ptr_equal(gm_book_find_tenant(&host.book, "other"), host.other);
	assert_null(gm_book_find_tenant(&host.book, "acm"));
	assert_int_not_equal(host.acme->index, host.other->index);
	host_done(&host);
}

static void a_tenants_name_is_taken_once(void **state)
{
	struct host host;
	struct gm_tenant *tenant = NULL;

	(void)state;
	host_init(&host);
	assert_int_equal(
		gm_book_add_tenant(&host.book, "acme", &host.acme->policy, &tenant, &host.refusal),
		GM_EXISTS);
	assert_int_equal(host.refusal.rule, GM_RULE_NAME_TAKEN);
	assert_string_equal(host.refusal.object, "tenant acme");
	assert_null(tenant);
	host_done(&host);
}

static void a_tenants_name_must_fit_the_wire(void **state)
{
	static const char *const bad[] = {
		"",
		"two words",
		"slash/",
		"new\nline",
		"0123456789012345678901234567890123456789012345678901234567890123x",
	};
	struct host host;
	struct gm_tenant *tenant = NULL;

	(void)state;
	host_init(&host);
	for (size_t i = 0; i < GM_ARRAY_SIZE(bad); i++) {
		assert_int_equal(gm_book_add_tenant(&host.book, bad[i], &host.acme->policy, &tenant,
						    &host.refusal),
				 GM_INVALID);
		assert_int_equal(host.refusal.rule, GM_RULE_NAME);
	}
	assert_int_equal(gm_book_add_tenant(&host.book, bad[4] + 1, &host.acme->policy, &tenant,
					    &host.refusal),
			 0);
	host_done(&host);
}

static void a_new_policy_breaks_nothing_that_was_granted(void **state)
{
	struct host host;
	struct gm_policy policy;
	struct gm_domain *domain;
	const struct gm_region_spec more = {
		.name = "",
		.gpa = GM_GIB,
		.size = GM_MIB,
		.page_size = GM_PAGE_4K,
	};
	struct gm_region *region = NULL;

	(void)state;
	host_init(&host);
	domain = host_domain(&host, host.session);
	host_region(&host, domain, 0, GM_GIB);

	policy = host.acme->policy;
	policy.memory_max = GM_MIB;
	gm_book_set_policy(host.acme, &policy);

	assert_int_equal(host.acme->account.used[GM_RES_MEMORY], GM_GIB);
	assert_int_equal(host_try_region(&host, domain, &more, &region), GM_OVER_LIMIT);
	assert_int_equal(host.refusal.rule, GM_RULE_MEMORY_MAX);
	assert_int_equal(host.refusal.limit, GM_MIB);
	assert_int_equal(host.refusal.used, GM_GIB);
	assert_int_equal(host.refusal.asked, GM_MIB);
	host_done(&host);
}

static void a_session_is_charged_with_its_fds(void **state)
{
	struct host host;
	struct gm_session *session;

	(void)state;
	host_init(&host);
	assert_int_equal(host.acme->account.used[GM_RES_SESSIONS], 1);
	session = host_session(&host, host.acme);
	assert_int_equal(host.acme->account.used[GM_RES_SESSIONS], 2);
	assert_int_equal(host.acme->account.used[GM_RES_FDS], 2 * GM_SESSION_FDS);
	assert_int_equal(host_used(&host, GM_RES_SESSIONS), 3);
	gm_book_close_session(&host.book, session);
	assert_int_equal(host.acme->account.used[GM_RES_SESSIONS], 1);
	assert_int_equal(host.acme->account.used[GM_RES_FDS], GM_SESSION_FDS);
	host_done(&host);
}

static void a_session_over_the_limit_is_refused_with_the_numbers(void **state)
{
	struct host host;
	struct gm_policy policy;
	const struct gm_peer peer = { .pid = 1 };
	struct gm_session *session = NULL;

	(void)state;
	host_init(&host);
	policy = host.acme->policy;
	policy.sessions_max = 1;
	gm_book_set_policy(host.acme, &policy);
	assert_int_equal(gm_book_open_session(&host.book, host.acme, (struct gm_session_id){ 1 },
					      &peer, &session, &host.refusal),
			 GM_OVER_LIMIT);
	assert_int_equal(host.refusal.rule, GM_RULE_SESSIONS_MAX);
	assert_string_equal(host.refusal.object, "tenant acme");
	assert_int_equal(host.refusal.limit, 1);
	assert_int_equal(host.refusal.used, 1);
	assert_int_equal(host.refusal.asked, 1);
	assert_null(session);
	host_done(&host);
}

static void a_session_without_fds_left_gives_its_place_back(void **state)
{
	struct host host;
	const struct gm_peer peer = { .pid = 1 };
	struct gm_session *session = NULL;

	(void)state;
	host_init(&host);
	gm_account_set_limit(&host.book.host, GM_RES_FDS, host_used(&host, GM_RES_FDS) + 1);
	assert_int_equal(gm_book_open_session(&host.book, host.acme, (struct gm_session_id){ 1 },
					      &peer, &session, &host.refusal),
			 GM_OVER_LIMIT);
	assert_int_equal(host.refusal.rule, GM_RULE_FDS_MAX);
	assert_string_equal(host.refusal.object, "host");
	assert_int_equal(host.acme->account.used[GM_RES_SESSIONS], 1);
	host_done(&host);
}

static void tenants_cannot_lock_the_operator_out(void **state)
{
	struct host host;

	(void)state;
	host_init(&host);
	gm_account_set_limit(&host.book.host, GM_RES_SESSIONS, 2);
	gm_account_set_limit(&host.book.host, GM_RES_FDS, 2 * GM_SESSION_FDS);
	host_session(&host, NULL);
	assert_int_equal(host.book.admin.used[GM_RES_SESSIONS], 2);
	host_done(&host);
}

static void a_draining_daemon_takes_no_session_but_the_operators(void **state)
{
	struct host host;
	const struct gm_peer peer = { .pid = 1 };
	struct gm_session *session = NULL;

	(void)state;
	host_init(&host);
	host.book.draining = true;
	assert_int_equal(gm_book_open_session(&host.book, host.acme, (struct gm_session_id){ 1 },
					      &peer, &session, &host.refusal),
			 GM_SHUTTING_DOWN);
	assert_int_equal(host.refusal.rule, GM_RULE_DRAINING);
	assert_string_equal(host.refusal.object, "host");
	host_session(&host, NULL);
	host_done(&host);
}

static void a_session_that_is_short_of_memory_leaves_nothing(void **state)
{
	struct host host;
	const struct gm_peer peer = { .pid = 1 };
	struct gm_session *session = NULL;

	(void)state;
	host_init(&host);
	gm_test_fail_allocation(1);
	assert_int_equal(gm_book_open_session(&host.book, host.acme, (struct gm_session_id){ 1 },
					      &peer, &session, &host.refusal),
			 -ENOMEM);
	gm_test_fail_allocation(0);
	assert_int_equal(host.acme->account.used[GM_RES_SESSIONS], 1);
	assert_null(session);
	host_done(&host);
}

static void a_tenant_that_is_short_of_memory_leaves_nothing(void **state)
{
	struct host host;
	struct gm_tenant *tenant = NULL;

	(void)state;
	host_init(&host);
	gm_test_fail_allocation(1);
	assert_int_equal(
		gm_book_add_tenant(&host.book, "third", &host.acme->policy, &tenant, &host.refusal),
		-ENOMEM);
	gm_test_fail_allocation(0);
	assert_null(gm_book_find_tenant(&host.book, "third"));
	host_done(&host);
}

static void a_session_greets_then_is_open_then_closes(void **state)
{
	struct host host;

	(void)state;
	host_init(&host);
	assert_int_equal(host.session->state, GM_SESSION_GREETING);
	gm_session_set_state(host.session, GM_SESSION_OPEN);
	assert_int_equal(host.session->state, GM_SESSION_OPEN);
	gm_session_set_state(host.session, GM_SESSION_CLOSING);
	assert_int_equal(host.session->state, GM_SESSION_CLOSING);
	gm_session_set_state(host.stranger, GM_SESSION_CLOSING);
	assert_string_equal(gm_session_state_name(GM_SESSION_GREETING), "greeting");
	assert_string_equal(gm_session_state_name(GM_SESSION_OPEN), "open");
	assert_string_equal(gm_session_state_name(GM_SESSION_CLOSING), "closing");
	assert_string_equal(gm_session_state_name(GM_SESSION_STATE_N_), "unknown");
	host_done(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_tenant_is_found_by_its_name),
		gm_test(a_tenants_name_is_taken_once),
		gm_test(a_tenants_name_must_fit_the_wire),
		gm_test(a_new_policy_breaks_nothing_that_was_granted),
		gm_test(a_session_is_charged_with_its_fds),
		gm_test(a_session_over_the_limit_is_refused_with_the_numbers),
		gm_test(a_session_without_fds_left_gives_its_place_back),
		gm_test(tenants_cannot_lock_the_operator_out),
		gm_test(a_draining_daemon_takes_no_session_but_the_operators),
		gm_test(a_session_that_is_short_of_memory_leaves_nothing),
		gm_test(a_tenant_that_is_short_of_memory_leaves_nothing),
		gm_test(a_session_greets_then_is_open_then_closes),
	};

	return gm_test_run("book", tests, GM_ARRAY_SIZE(tests));
}
