/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger against plain sums: a host and a few tenants, charges taken, given back and refused at
 * random, limits moved up and down. What an account has booked must always be the sum of the
 * charges that are held under it.
 */
#include <string.h>

#include "gm_test.h"
#include "ledger.h"

#define N_TENANTS 4u
#define N_ACCOUNTS (N_TENANTS + 1)
#define HOST N_TENANTS
#define N_CHARGES 300u
#define N_OPERATIONS 2000000u

/* A charge as the model knows it. */
struct held {
	bool is_held;
	unsigned tenant; /* or HOST: charged to the host alone */
	enum gm_resource resource;
	uint64_t amount;
};

struct books {
	struct gm_account accounts[N_ACCOUNTS];
	struct gm_charge charges[N_CHARGES];
	struct held held[N_CHARGES];
	uint64_t limits[N_ACCOUNTS][GM_RESOURCE_N_];
};

static struct gm_test_rng rng;

static uint64_t below(uint64_t n)
{
	return gm_test_random_below(&rng, n);
}

/* Now and then so large that sums would wrap; seldom, as one of these fills an account. */
static uint64_t random_amount(void)
{
	if (below(200) == 0)
		return GM_UNLIMITED - below(3);
	if (below(200) == 0)
		return (UINT64_C(1) << 63) + below(3) - 1;
	return below(below(8) == 0 ? 3 : 1000);
}

/* In a number so wide that it cannot wrap, which is the point. */
static unsigned __int128 model_used(const struct books *books, unsigned account,
				    enum gm_resource resource)
{
	unsigned __int128 sum = 0;

	for (unsigned i = 0; i < N_CHARGES; i++) {
		const struct held *held = &books->held[i];

		if (held->is_held && held->resource == resource &&
		    (account == HOST || held->tenant == account))
			sum += held->amount;
	}
	return sum;
}

/* The first account of the chain that has no room, or N_ACCOUNTS. */
static unsigned model_refuser(const struct books *books, unsigned account,
			      enum gm_resource resource, uint64_t amount)
{
	unsigned chain[2] = { account, HOST };

	for (unsigned i = account == HOST; amount > 0 && i < 2; i++)
		if (model_used(books, chain[i], resource) + amount >
		    books->limits[chain[i]][resource])
			return chain[i];
	return N_ACCOUNTS;
}

static void take(struct books *books, unsigned i)
{
	struct held wish = { true, (unsigned)below(N_ACCOUNTS), below(GM_RESOURCE_N_),
			     random_amount() };
	unsigned refuser = model_refuser(books, wish.tenant, wish.resource, wish.amount);
	struct gm_refusal refusal = { 0 };
	int r = gm_charge_take(&books->charges[i], &books->accounts[wish.tenant], wish.resource,
			       wish.amount, &refusal);

	if (refuser == N_ACCOUNTS) {
		assert_int_equal(r, 0);
		books->held[i] = wish;
		return;
	}
	assert_int_equal(r, GM_OVER_LIMIT);
	assert_null(books->charges[i].account);
	assert_int_equal(refusal.rule, gm_resource_rule(wish.resource));
	assert_string_equal(refusal.object, books->accounts[refuser].name);
	assert_true(refusal.limit == books->limits[refuser][wish.resource]);
	assert_true(refusal.used == model_used(books, refuser, wish.resource));
	assert_true(refusal.asked == wish.amount);
}

static void give_back(struct books *books, unsigned i)
{
	gm_charge_done(&books->charges[i]);
	books->held[i].is_held = false;
}

static void move_limit(struct books *books)
{
	unsigned account = (unsigned)below(N_ACCOUNTS);
	enum gm_resource resource = below(GM_RESOURCE_N_);
	uint64_t limit = below(3) == 0 ? GM_UNLIMITED : below(20000);

	gm_account_set_limit(&books->accounts[account], resource, limit);
	books->limits[account][resource] = limit;
}

static void compare(const struct books *books)
{
	for (unsigned account = 0; account < N_ACCOUNTS; account++)
		for (unsigned resource = 0; resource < GM_RESOURCE_N_; resource++)
			assert_true(books->accounts[account].used[resource] ==
				    model_used(books, account, resource));
}

static void open_books(struct books *books)
{
	char name[] = "tenant 0";

	memset(books, 0, sizeof(*books));
	gm_account_init(&books->accounts[HOST], "host", NULL);
	for (unsigned i = 0; i < N_TENANTS; i++) {
		name[sizeof(name) - 2] = (char)('0' + i);
		gm_account_init(&books->accounts[i], name, &books->accounts[HOST]);
	}
	memset(books->limits, 0xff, sizeof(books->limits));
}

static void charges_agree_with_plain_sums(void **state)
{
	static struct books books;

	(void)state;
	open_books(&books);
	for (unsigned n = 0; n < N_OPERATIONS; n++) {
		unsigned i = (unsigned)below(N_CHARGES);

		if (below(64) == 0)
			move_limit(&books);
		else if (books.held[i].is_held)
			give_back(&books, i);
		else
			take(&books, i);
		if (n % 1000 == 0)
			compare(&books);
	}
	for (unsigned i = 0; i < N_CHARGES; i++)
		give_back(&books, i);
	for (unsigned i = 0; i < N_ACCOUNTS; i++)
		assert_true(gm_account_is_zero(&books.accounts[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(charges_agree_with_plain_sums),
	};

	return gm_test_run("ledger, random", tests, GM_ARRAY_SIZE(tests));
}
