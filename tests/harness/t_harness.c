/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The harness itself: each case runs this program again with a case that must fail (or be skipped),
 * and looks at how it ended.
 */
#include "gm_test.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum ending {
	ENDED_WELL,
	ENDED_SKIPPED,
	ENDED_BADLY,
};

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

/* Address sanitizer brings LeakSanitizer; other sanitizers watch no heap. */
#if !defined(GMEMD_SANITIZED) || defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define HEAP_IS_WATCHED 1
#endif

/* Through here, so that the compiler believes in each allocation. */
static void *volatile seen;

static void *make(size_t size)
{
	seen = malloc(size);
	return seen;
}

static void lose(void *block)
{
	assert_non_null(block);
	seen = block;
	seen = NULL;
}

static void bad_fd_left_open(void **state)
{
	(void)state;
	assert_true(open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0);
}

static void bad_fd_closed_twice(void **state)
{
	(void)state;
	assert_int_equal(close(STDIN_FILENO), 0);
}

static void bad_malloc_not_freed(void **state)
{
	(void)state;
	lose(make(100));
}

static void bad_realloc_not_freed(void **state)
{
	(void)state;
	lose(realloc(make(10), 100));
}

static void bad_text_not_freed(void **state)
{
	char *text;

	(void)state;
	assert_true(asprintf(&text, "%d", 1) > 0);
	lose(text);
}

static void bad_assertion(void **state)
{
	(void)state;
	assert_int_equal(1, 2);
}

static void skipped_case(void **state)
{
	(void)state;
	printf("skipped: to see what comes of it\n");
	skip();
}

static void good_case(void **state)
{
	(void)state;
	free(make(100));
}

static void skipped_program(void **state)
{
	(void)state;
	gm_test_skip_all("to see what comes of it");
}

static const struct CMUnitTest inner[] = {
	gm_test(bad_fd_left_open),	gm_test(bad_fd_closed_twice), gm_test(bad_malloc_not_freed),
	gm_test(bad_realloc_not_freed), gm_test(bad_text_not_freed),  gm_test(bad_assertion),
	gm_test(skipped_case),		gm_test(good_case),	      gm_test(skipped_program),
};

static int run_inner(const char *name)
{
	for (size_t i = 0; i < sizeof(inner) / sizeof(inner[0]); i++) {
		if (strcmp(inner[i].name, name) == 0)
			return gm_test_run("inner", &inner[i], 1);
	}
	return 2;
}

/* How this program ends when it runs only the case @name. */
static enum ending ending_of(const char *name)
{
	char *argv[] = { (char *)"t_harness", (char *)name, NULL };
	posix_spawn_file_actions_t actions;
	int status;
	pid_t pid;

	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	assert_int_equal(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		return ENDED_SKIPPED;
	return WEXITSTATUS(status) == 0 ? ENDED_WELL : ENDED_BADLY;
}

#define ENDS(inner_case, how)                                  \
	static void inner_case##_ends(void **state)            \
	{                                                      \
		(void)state;                                   \
		assert_int_equal(ending_of(#inner_case), how); \
	}

ENDS(bad_fd_left_open, ENDED_BADLY)
ENDS(bad_fd_closed_twice, ENDED_BADLY)
ENDS(bad_assertion, ENDED_BADLY)
ENDS(skipped_case, ENDED_SKIPPED)
ENDS(skipped_program, ENDED_SKIPPED)
ENDS(good_case, ENDED_WELL)
#ifdef HEAP_IS_WATCHED
ENDS(bad_malloc_not_freed, ENDED_BADLY)
ENDS(bad_realloc_not_freed, ENDED_BADLY)
ENDS(bad_text_not_freed, ENDED_BADLY)
#endif

static void a_block_of_libc_may_be_freed_here(void **state)
{
	char *line = NULL;
	size_t size = 0;
	FILE *file = fopen("/proc/self/status", "re");

	(void)state;
	assert_non_null(file);
	assert_true(getline(&line, &size, file) > 0);
	free(line);
	fclose(file);
}

static void only_the_nth_allocation_fails(void **state)
{
	void *first, *second, *third;

	(void)state;
	gm_test_fail_allocation(2);
	first = make(1);
	second = make(1);
	third = make(1);
	assert_non_null(first);
	assert_null(second);
	assert_non_null(third);
	free(third);
	free(first);
}

static void a_seed_repeats_its_numbers(void **state)
{
	struct gm_test_rng a = { 42 };
	struct gm_test_rng b = { 42 };

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(gm_test_random(&a), gm_test_random(&b));
	assert_int_not_equal(gm_test_random(&a), gm_test_random(&a));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		gm_test(bad_fd_left_open_ends),
		gm_test(bad_fd_closed_twice_ends),
		gm_test(bad_assertion_ends),
		gm_test(skipped_case_ends),
		gm_test(skipped_program_ends),
		gm_test(good_case_ends),
#ifdef HEAP_IS_WATCHED
		gm_test(bad_malloc_not_freed_ends),
		gm_test(bad_realloc_not_freed_ends),
		gm_test(bad_text_not_freed_ends),
#endif
		gm_test(a_block_of_libc_may_be_freed_here),
		gm_test(only_the_nth_allocation_fails),
		gm_test(a_seed_repeats_its_numbers),
	};

	return argc > 1 ? run_inner(argv[1])
			: gm_test_run("harness", tests, sizeof(tests) / sizeof(tests[0]));
}
