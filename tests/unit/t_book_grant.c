/* SPDX-License-Identifier: Apache-2.0 */
/* Locked memory and hardware slots: what the books grant, refuse, sum up and take back. */
#include "book_fixture.h"
#include "book_restore.h"

static const struct gm_limits base = { .soft = 64, .hard = 1000 };

static void allow(struct host *host, uint64_t memlock_max, uint64_t slots_max)
{
	struct gm_policy policy = host->acme->policy;

	policy.memlock_max = memlock_max;
	for (unsigned pool = 0; pool < GM_SLOT_POOLS; pool++)
		policy.slots_max[pool] = slots_max;
	gm_book_set_policy(host->acme, &policy);
}

static void locked_memory_is_charged_up_to_the_policys_limit(void **state)
{
	struct gm_domain *domain;
	struct host host;

	(void)state;
	host_init(&host);
	allow(&host, 100, 0);
	domain = host_domain(&host, host.session);
	assert_int_equal(gm_book_set_memlock(domain, 100, &base, &host.refusal), 0);
	assert_int_equal(host.acme->account.used[GM_RES_MEMLOCK], 100);
	assert_int_equal(gm_book_set_memlock(domain, 101, &base, &host.refusal), GM_OVER_LIMIT);
	assert_int_equal(host.refusal.rule, GM_RULE_MEMLOCK_MAX);
	assert_int_equal(host.refusal.limit, 100);
	assert_int_equal(host.refusal.asked, 101);
	/* What was granted stays granted. */
	assert_int_equal(domain->memlock.amount, 100);
	assert_int_equal(host.acme->account.used[GM_RES_MEMLOCK], 100);
	host_done(&host);
}

static void asking_again_is_no_second_grant(void **state)
{
	struct gm_domain *domain;
	struct host host;

	(void)state;
	host_init(&host);
	allow(&host, 100, 0);
	domain = host_domain(&host, host.session);
	assert_int_equal(gm_book_set_memlock(domain, 80, &base, &host.refusal), 0);
	assert_int_equal(gm_book_set_memlock(domain, 80, &base, &host.refusal), 0);
	assert_int_equal(gm_book_set_memlock(domain, 30, &base, &host.refusal), 0);
	assert_int_equal(host.acme->account.used[GM_RES_MEMLOCK], 30);
	host_done(&host);
}

static void the_grants_of_one_process_add_up(void **state)
{
	struct gm_memlock sum;
	struct gm_limits limits;
	struct host host;

	(void)state;
	host_init(&host);
	allow(&host, 10000, 0);
	assert_int_equal(
		gm_book_set_memlock(host_domain(&host, host.session), 30, &base, &host.refusal), 0);
	assert_int_equal(
		gm_book_set_memlock(host_domain(&host, host.session), 1000, &base, &host.refusal),
		0);
	sum = gm_book_memlock_of(&host.book, host.session->peer.pid);
	assert_int_equal(sum.granted, 1030);
	assert_true(sum.has_base);
	limits = gm_memlock_limits(&sum);
	assert_int_equal(limits.soft, 1094);
	assert_int_equal(limits.hard, 1094);
	sum = gm_book_memlock_of(&host.book, host.session->peer.pid + 1);
	assert_int_equal(sum.granted, 0);
	assert_false(sum.has_base);
	host_done(&host);
}

static void a_hard_limit_that_is_high_enough_is_left_alone(void **state)
{
	const struct gm_memlock sum = { .granted = 900, .has_base = true, .base = base };
	struct gm_limits limits = gm_memlock_limits(&sum);

	(void)state;
	assert_int_equal(limits.soft, 964);
	assert_int_equal(limits.hard, 1000);
}

static void no_limit_stays_no_limit(void **state)
{
	const struct gm_memlock sum = { .granted = 900,
					.base = { GM_UNLIMITED - 1, GM_UNLIMITED } };
	struct gm_limits limits = gm_memlock_limits(&sum);

	(void)state;
	assert_true(limits.soft == GM_UNLIMITED);
	assert_true(limits.hard == GM_UNLIMITED);
}

static void a_domain_that_is_let_go_of_has_no_locked_memory(void **state)
{
	struct gm_domain *domain;
	struct host host;

	(void)state;
	host_init(&host);
	allow(&host, 100, 0);
	domain = host_domain(&host, host.session);
	assert_int_equal(gm_book_set_memlock(domain, 100, &base, &host.refusal), 0);
	gm_book_detach(domain, 5);
	assert_int_equal(host.acme->account.used[GM_RES_MEMLOCK], 0);
	gm_book_drop_memlock(domain);
	host_done(&host);
}

static void a_slot_is_refused_by_the_policy_before_the_host_is_looked_at(void **state)
{
	const struct gm_slot_use none = { 0 };
	struct gm_domain *domain;
	struct host host;

	(void)state;
	host_init(&host);
	allow(&host, 0, 0);
	domain = host_domain(&host, host.session);
	assert_int_equal(gm_book_take_slot(domain, 1, &none, &host.refusal), GM_OVER_LIMIT);
	assert_int_equal(host.refusal.rule, GM_RULE_SLOTS);
	assert_string_equal(host.refusal.object, "tenant acme");
	assert_int_equal(gm_domain_slot(domain), -1);
	host_done(&host);
}

static void a_slot_that_the_host_has_not_got_is_refused_with_its_numbers(void **state)
{
	const struct gm_slot_use full = { .capacity = 15, .current = 15 };
	struct gm_domain *domain;
	struct host host;

	(void)state;
	host_init(&host);
	allow(&host, 0, 4);
	domain = host_domain(&host, host.session);
	assert_int_equal(gm_book_take_slot(domain, 0, &full, &host.refusal), GM_NO_RESOURCE);
	assert_string_equal(host.refusal.object, "host");
	assert_int_equal(host.refusal.limit, 15);
	assert_int_equal(host.refusal.used, 15);
	assert_int_equal(host.refusal.asked, 1);
	assert_int_equal(host.acme->account.used[GM_RES_SLOT_0], 0);
	host_done(&host);
}

static void leases_that_no_guest_uses_yet_count(void **state)
{
	const struct gm_slot_use idle = { .capacity = 2, .current = 0 };
	struct host host;

	(void)state;
	host_init(&host);
	allow(&host, 0, 4);
	assert_int_equal(
		gm_book_take_slot(host_domain(&host, host.session), 2, &idle, &host.refusal), 0);
	assert_int_equal(
		gm_book_take_slot(host_domain(&host, host.session), 2, &idle, &host.refusal), 0);
	assert_int_equal(
		gm_book_take_slot(host_domain(&host, host.session), 2, &idle, &host.refusal),
		GM_NO_RESOURCE);
	assert_int_equal(host.refusal.used, 2);
	host_done(&host);
}

/* One is a stranger's; the host does not know of the other yet. */
static void a_guest_that_waits_to_be_started_is_counted_beside_those_that_run(void **state)
{
	struct gm_slot_use use = { .capacity = 2, .current = 1, .waiting = 1 };
	struct host host;

	(void)state;
	host_init(&host);
	allow(&host, 0, 4);
	assert_int_equal(
		gm_book_take_slot(host_domain(&host, host.session), 2, &use, &host.refusal),
		GM_NO_RESOURCE);
	assert_int_equal(host.refusal.used, 2);
	use.waiting = 0;
	assert_int_equal(
		gm_book_take_slot(host_domain(&host, host.session), 2, &use, &host.refusal), 0);
	host_done(&host);
}

static void a_slot_is_the_domains_until_it_leaves_the_books(void **state)
{
	const struct gm_slot_use idle = { .capacity = 1, .current = 0 };
	struct gm_domain *domain;
	struct host host;

	(void)state;
	host_init(&host);
	allow(&host, 0, 1);
	domain = host_domain(&host, host.session);
	assert_int_equal(gm_book_take_slot(domain, 1, &idle, &host.refusal), 0);
	assert_int_equal(gm_domain_slot(domain), 1);
	gm_book_end_domain(domain);
	assert_int_equal(host.acme->account.used[GM_RES_SLOT_1], 1);
	gm_book_remove_domain(&host.book, domain);
	assert_int_equal(host.acme->account.used[GM_RES_SLOT_1], 0);
	host_done(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(locked_memory_is_charged_up_to_the_policys_limit),
		gm_test(asking_again_is_no_second_grant),
		gm_test(the_grants_of_one_process_add_up),
		gm_test(a_hard_limit_that_is_high_enough_is_left_alone),
		gm_test(no_limit_stays_no_limit),
		gm_test(a_domain_that_is_let_go_of_has_no_locked_memory),
		gm_test(a_slot_is_refused_by_the_policy_before_the_host_is_looked_at),
		gm_test(a_slot_that_the_host_has_not_got_is_refused_with_its_numbers),
		gm_test(leases_that_no_guest_uses_yet_count),
		gm_test(a_guest_that_waits_to_be_started_is_counted_beside_those_that_run),
		gm_test(a_slot_is_the_domains_until_it_leaves_the_books),
	};

	return gm_test_run("book_grant", tests, GM_ARRAY_SIZE(tests));
}
