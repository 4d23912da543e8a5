/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Charges: all accounts of a chain or none, never past a limit, given back exactly once.
 */
#include <string.h>

#include "gm_test.h"
#include "ledger.h"

struct books {
	struct gm_account host;
	struct gm_account tenant;
	struct gm_account neighbour;
};

static void open_books(struct books *books)
{
	gm_account_init(&books->host, "host", NULL);
	gm_account_init(&books->tenant, "tenant acme", &books->host);
	gm_account_init(&books->neighbour, "tenant zeta", &books->host);
}

static int take(struct gm_charge *charge, struct gm_account *account, uint64_t amount,
		struct gm_refusal *refusal)
{
	*charge = (struct gm_charge){ 0 };
	return gm_charge_take(charge, account, GM_RES_MEMORY, amount, refusal);
}

static void a_charge_is_booked_on_the_account_and_on_its_parent(void **state)
{
	struct gm_charge charge;
	struct books books;

	(void)state;
	open_books(&books);
	assert_int_equal(take(&charge, &books.tenant, 100, NULL), 0);
	assert_int_equal(books.tenant.used[GM_RES_MEMORY], 100);
	assert_int_equal(books.host.used[GM_RES_MEMORY], 100);
	assert_true(gm_account_is_zero(&books.neighbour));
	gm_charge_done(&charge);
}

static void a_charge_touches_its_own_resource_only(void **state)
{
	struct gm_charge charge;
	struct books books;

	(void)state;
	open_books(&books);
	assert_int_equal(take(&charge, &books.tenant, 100, NULL), 0);
	for (unsigned i = 0; i < GM_RESOURCE_N_; i++)
		assert_int_equal(books.tenant.used[i], i == GM_RES_MEMORY ? 100 : 0);
	gm_charge_done(&charge);
}

static void a_charge_up_to_the_limit_is_granted(void **state)
{
	struct gm_charge charge;
	struct books books;

	(void)state;
	open_books(&books);
	gm_account_set_limit(&books.tenant, GM_RES_MEMORY, 100);
	assert_int_equal(take(&charge, &books.tenant, 100, NULL), 0);
	gm_charge_done(&charge);
}

static void a_charge_over_the_limit_is_refused_with_the_numbers(void **state)
{
	struct gm_refusal refusal = { 0 };
	struct gm_charge first, second;
	struct books books;

	(void)state;
	open_books(&books);
	gm_account_set_limit(&books.tenant, GM_RES_MEMORY, 100);
	assert_int_equal(take(&first, &books.tenant, 60, NULL), 0);
	assert_int_equal(take(&second, &books.tenant, 41, &refusal), GM_OVER_LIMIT);
	assert_int_equal(refusal.rule, GM_RULE_MEMORY_MAX);
	assert_string_equal(refusal.object, "tenant acme");
	assert_int_equal(refusal.limit, 100);
	assert_int_equal(refusal.used, 60);
	assert_int_equal(refusal.asked, 41);
	gm_charge_done(&first);
}

static void a_refusal_of_the_host_names_the_host(void **state)
{
	struct gm_refusal refusal = { 0 };
	struct gm_charge first, second;
	struct books books;

	(void)state;
	open_books(&books);
	gm_account_set_limit(&books.host, GM_RES_MEMORY, 100);
	assert_int_equal(take(&first, &books.neighbour, 60, NULL), 0);
	assert_int_equal(take(&second, &books.tenant, 41, &refusal), GM_OVER_LIMIT);
	assert_string_equal(refusal.object, "host");
	assert_int_equal(refusal.used, 60);
	gm_charge_done(&first);
}

static void a_refused_charge_books_nothing_anywhere(void **state)
{
	struct gm_charge charge;
	struct books books;

	(void)state;
	open_books(&books);
	gm_account_set_limit(&books.host, GM_RES_MEMORY, 100);
	assert_int_equal(take(&charge, &books.tenant, 101, NULL), GM_OVER_LIMIT);
	assert_true(gm_account_is_zero(&books.tenant));
	assert_true(gm_account_is_zero(&books.host));
	assert_null(charge.account);
}

static void the_account_is_asked_before_its_parent(void **state)
{
	struct gm_refusal refusal = { 0 };
	struct gm_charge charge;
	struct books books;

	(void)state;
	open_books(&books);
	gm_account_set_limit(&books.tenant, GM_RES_MEMORY, 10);
	gm_account_set_limit(&books.host, GM_RES_MEMORY, 10);
	assert_int_equal(take(&charge, &books.tenant, 11, &refusal), GM_OVER_LIMIT);
	assert_string_equal(refusal.object, "tenant acme");
}

static void a_charge_given_back_leaves_nothing(void **state)
{
	struct gm_charge charge;
	struct books books;

	(void)state;
	open_books(&books);
	assert_int_equal(take(&charge, &books.tenant, 100, NULL), 0);
	gm_charge_done(&charge);
	assert_true(gm_account_is_zero(&books.tenant));
	assert_true(gm_account_is_zero(&books.host));
}

static void a_charge_is_given_back_once_however_often_it_is_done(void **state)
{
	struct gm_charge first, second;
	struct books books;

	(void)state;
	open_books(&books);
	assert_int_equal(take(&first, &books.tenant, 100, NULL), 0);
	assert_int_equal(take(&second, &books.tenant, 100, NULL), 0);
	gm_charge_done(&first);
	gm_charge_done(&first);
	assert_int_equal(books.tenant.used[GM_RES_MEMORY], 100);
	gm_charge_done(&second);
}

static void a_charge_that_holds_nothing_may_be_done(void **state)
{
	struct gm_charge charge = { 0 };

	(void)state;
	gm_charge_done(&charge);
	assert_null(charge.account);
}

static void a_sum_that_wraps_is_refused_even_without_a_limit(void **state)
{
	struct gm_refusal refusal = { 0 };
	struct gm_charge first, second;
	struct books books;

	(void)state;
	open_books(&books);
	assert_int_equal(take(&first, &books.tenant, UINT64_MAX - 1, NULL), 0);
	assert_int_equal(take(&second, &books.tenant, 2, &refusal), GM_OVER_LIMIT);
	assert_true(refusal.limit == GM_UNLIMITED);
	assert_true(books.tenant.used[GM_RES_MEMORY] == UINT64_MAX - 1);
	gm_charge_done(&first);
}

static void a_limit_below_the_use_breaks_no_grant_and_refuses_new_ones(void **state)
{
	struct gm_charge first, second;
	struct books books;

	(void)state;
	open_books(&books);
	assert_int_equal(take(&first, &books.tenant, 100, NULL), 0);
	gm_account_set_limit(&books.tenant, GM_RES_MEMORY, 50);
	assert_int_equal(books.tenant.used[GM_RES_MEMORY], 100);
	assert_int_equal(take(&second, &books.tenant, 1, NULL), GM_OVER_LIMIT);
	gm_charge_done(&first);
	assert_int_equal(take(&second, &books.tenant, 50, NULL), 0);
	gm_charge_done(&second);
}

static void a_charge_of_nothing_is_granted_over_the_limit(void **state)
{
	struct gm_charge first, second;
	struct books books;

	(void)state;
	open_books(&books);
	assert_int_equal(take(&first, &books.tenant, 100, NULL), 0);
	gm_account_set_limit(&books.tenant, GM_RES_MEMORY, 50);
	assert_int_equal(take(&second, &books.tenant, 0, NULL), 0);
	gm_charge_done(&second);
	gm_charge_done(&first);
	assert_true(gm_account_is_zero(&books.tenant));
}

static void one_tenant_at_its_limit_leaves_the_neighbour_alone(void **state)
{
	struct gm_charge first, second;
	struct books books;

	(void)state;
	open_books(&books);
	gm_account_set_limit(&books.tenant, GM_RES_MEMORY, 100);
	assert_int_equal(take(&first, &books.tenant, 100, NULL), 0);
	assert_int_equal(take(&second, &books.neighbour, 100, NULL), 0);
	gm_charge_done(&first);
	gm_charge_done(&second);
}

static void an_account_with_anything_booked_is_not_zero(void **state)
{
	struct gm_charge charge = { 0 };
	struct books books;

	(void)state;
	open_books(&books);
	for (unsigned i = 0; i < GM_RESOURCE_N_; i++) {
		assert_int_equal(gm_charge_take(&charge, &books.tenant, i, 1, NULL), 0);
		assert_false(gm_account_is_zero(&books.tenant));
		gm_charge_done(&charge);
	}
	assert_true(gm_account_is_zero(&books.tenant));
}

static void a_new_account_has_no_limit(void **state)
{
	struct books books;

	(void)state;
	open_books(&books);
	for (unsigned i = 0; i < GM_RESOURCE_N_; i++)
		assert_true(books.tenant.limits[i] == GM_UNLIMITED);
}

static void a_name_too_long_is_cut(void **state)
{
	char name[GM_OBJECT_MAX + 20];
	struct gm_account account;

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	gm_account_init(&account, name, NULL);
	assert_int_equal(strlen(account.name), GM_OBJECT_MAX - 1);
}

static void every_resource_has_a_name_and_a_rule(void **state)
{
	(void)state;
	for (unsigned i = 0; i < GM_RESOURCE_N_; i++) {
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(gm_resource_name(i), gm_resource_name(j));
		/* For a worker one waits. */
		assert_int_equal(gm_resource_rule(i) == GM_RULE_NONE, i == GM_RES_WORKERS);
	}
	assert_string_equal(gm_resource_name(GM_RES_HUGE_2M), "hugepages-2M");
	assert_int_equal(gm_resource_rule(GM_RES_HUGE_2M), GM_RULE_HUGE_PAGES);
	assert_int_equal(gm_resource_rule(GM_RES_FDS), GM_RULE_FDS_MAX);
	assert_int_equal(gm_resource_rule(GM_RES_JOBS), GM_RULE_JOBS_MAX);
	assert_string_equal(gm_resource_name(GM_RESOURCE_N_), "unknown");
	assert_int_equal(gm_resource_rule(GM_RESOURCE_N_), GM_RULE_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_charge_is_booked_on_the_account_and_on_its_parent),
		gm_test(a_charge_touches_its_own_resource_only),
		gm_test(a_charge_up_to_the_limit_is_granted),
		gm_test(a_charge_over_the_limit_is_refused_with_the_numbers),
		gm_test(a_refusal_of_the_host_names_the_host),
		gm_test(a_refused_charge_books_nothing_anywhere),
		gm_test(the_account_is_asked_before_its_parent),
		gm_test(a_charge_given_back_leaves_nothing),
		gm_test(a_charge_is_given_back_once_however_often_it_is_done),
		gm_test(a_charge_that_holds_nothing_may_be_done),
		gm_test(a_sum_that_wraps_is_refused_even_without_a_limit),
		gm_test(a_limit_below_the_use_breaks_no_grant_and_refuses_new_ones),
		gm_test(a_charge_of_nothing_is_granted_over_the_limit),
		gm_test(one_tenant_at_its_limit_leaves_the_neighbour_alone),
		gm_test(an_account_with_anything_booked_is_not_zero),
		gm_test(a_new_account_has_no_limit),
		gm_test(a_name_too_long_is_cut),
		gm_test(every_resource_has_a_name_and_a_rule),
	};

	return gm_test_run("ledger", tests, GM_ARRAY_SIZE(tests));
}
