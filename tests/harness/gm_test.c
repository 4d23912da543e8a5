/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_test.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "gm_balance.h"

#define GM_TEST_SKIPPED 77

static size_t n_skipped;

int gm_test_setup(void **state)
{
	(void)state;
	gm_test_fail_allocation(0);
	gm_balance_open_fds();
	gm_balance_open_heap();
	return 0;
}

int gm_test_teardown(void **state)
{
	size_t faults;

	(void)state;
	gm_test_fail_allocation(0);
	faults = gm_balance_close_heap() + gm_balance_close_fds();
	return faults ? -1 : 0;
}

int gm_test_run(const char *suite, const struct CMUnitTest *tests, size_t n_tests)
{
	const char *filter = getenv("GM_TEST_FILTER");
	int n_failed;

	n_skipped = 0;
	if (filter)
		cmocka_set_test_filter(filter);
	n_failed = _cmocka_run_group_tests(suite, tests, n_tests, NULL, NULL);
	if (n_failed)
		return EXIT_FAILURE;
	return n_tests && n_skipped == n_tests ? GM_TEST_SKIPPED : EXIT_SUCCESS;
}

void gm_test_skip_all(const char *why)
{
	printf("skipped: %s\n", why);
	exit(GM_TEST_SKIPPED);
}

void gm_test_skip_one(const char *file, int line)
{
	n_skipped++;
	_skip(file, line);
}

static uint64_t rng_seed(void)
{
	const char *given = getenv("GM_TEST_SEED");
	uint64_t seed = 0;

	if (given)
		seed = strtoull(given, NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		fail_msg("getrandom: %d", errno);
	if (!seed)
		seed = 1;
	/* At once and not at the end: a run that dies on an assert says it too. */
	printf("random seed: GM_TEST_SEED=0x%016llx\n", (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

/* xorshift64*, Vigna 2016: never reaches state 0 from another. */
uint64_t gm_test_random(struct gm_test_rng *rng)
{
	if (!rng->state)
		rng->state = rng_seed();
	rng->state ^= rng->state >> 12;
	rng->state ^= rng->state << 25;
	rng->state ^= rng->state >> 27;
	return rng->state * UINT64_C(0x2545f4914f6cdd1d);
}

uint64_t gm_test_random_below(struct gm_test_rng *rng, uint64_t n)
{
	return gm_test_random(rng) % n;
}
