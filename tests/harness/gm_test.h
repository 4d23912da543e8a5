/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every test program stands on: cmocka cases with an fd and heap balance around each of them,
 * allocation failure on demand, and repeatable random numbers.
 *
 *	static void a_rule_written_out(void **state) { ... }
 *
 *	int main(void)
 *	{
 *		const struct CMUnitTest tests[] = { gm_test(a_rule_written_out) };
 *
 *		return gm_test_run("area", tests, GM_ARRAY_SIZE(tests));
 *	}
 *
 * Heap: only what code linked into the test program allocates is seen (the linker wraps the malloc
 * family); what libc or another shared library allocates is not. Under sanitizers the heap is left
 * to LeakSanitizer, the fds are checked all the same.
 * GM_TEST_FILTER runs the cases whose name matches (with '*'), GM_TEST_SEED repeats a random run.
 */
#ifndef GM_TEST_H
#define GM_TEST_H

#ifdef NDEBUG
#error "tests and the code under test rely on assert(): do not define NDEBUG"
#endif

/* cmocka.h wants these five before it, in any order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

int gm_test_setup(void **state);
int gm_test_teardown(void **state);

/* One case, balanced. */
#define gm_test(fn) cmocka_unit_test_setup_teardown(fn, gm_test_setup, gm_test_teardown)

/* Runs the cases; what main() returns: 0, 1, or 77 when every case was skipped. */
int gm_test_run(const char *suite, const struct CMUnitTest *tests, size_t n_tests);

/* The whole program cannot run here: says why and ends with 77. */
void gm_test_skip_all(const char *why) __attribute__((noreturn));

/* One case cannot run here: print why first. Counted, so that a run of nothing is a skip. */
void gm_test_skip_one(const char *file, int line);
#undef skip
#define skip() gm_test_skip_one(__FILE__, __LINE__)

/* The @nth allocation from now (1: the next one) returns NULL; 0 switches it off. */
void gm_test_fail_allocation(long nth);

/* Starts at 0: draws its own seed (or takes GM_TEST_SEED) at the first use, and prints it. */
struct gm_test_rng {
	uint64_t state;
};

uint64_t gm_test_random(struct gm_test_rng *rng);

/* 0 .. @n - 1; @n not 0. */
uint64_t gm_test_random_below(struct gm_test_rng *rng, uint64_t n);

/*
 * What share of a long random run an instrumented build makes: the plain build proves the
 * numbers, this one looks for what only a sanitizer sees.
 */
#ifdef GMEMD_SANITIZED
#define GM_TEST_SHARE 5
#else
#define GM_TEST_SHARE 1
#endif

#endif
