/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake does what its script says, also across a fork.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fake.h"
#include "gm_test.h"

static struct gm_fake_script *script;

static struct gm_backend_state *open_fake(void)
{
	struct gm_backend_state *opened;
	struct gm_probe probe;

	assert_int_equal(gm_fake_backend.open(&opened, &probe), 0);
	return opened;
}

static int create(struct gm_backend_state *opened, uint64_t size, uint64_t page_size, int *ret_fd,
		  struct gm_refusal *refusal)
{
	const struct gm_backing want = { .size = size, .page_size = page_size, .name = "fake" };

	return gm_fake_backend.create(opened, &want, ret_fd, refusal);
}

static void the_fake_is_in_the_table_of_a_program_that_uses_it(void **state)
{
	(void)state;
	assert_ptr_equal(gm_backend_find("fake"), &gm_fake_backend);
	assert_non_null(gm_backend_find("memfd"));
	assert_non_null(gm_backend_find("guest-memfd"));
}

static void the_nth_call_fails_and_no_other(void **state)
{
	struct gm_backend_state *opened = open_fake();
	int fd = -1;

	(void)state;
	script = gm_fake_reset();
	assert_int_equal(create(opened, GM_MIB, GM_PAGE_4K, &fd, NULL), 0);
	gm_fake_fail(&script->allocate, 2, -EIO);
	gm_fake_fail(&script->discard, 1, -ENOMEM);
	assert_int_equal(gm_fake_backend.allocate(fd, 0, GM_PAGE_4K), 0);
	assert_int_equal(gm_fake_backend.allocate(fd, 0, GM_PAGE_4K), -EIO);
	assert_int_equal(gm_fake_backend.allocate(fd, 0, GM_PAGE_4K), 0);
	assert_int_equal(gm_fake_backend.discard(fd, 0, GM_PAGE_4K, GM_PAGE_4K), -ENOMEM);
	assert_int_equal(gm_fake_backend.discard(fd, 0, GM_PAGE_4K, GM_PAGE_4K), 0);
	assert_int_equal(script->n_allocates, 3);
	assert_int_equal(script->n_discards, 2);
	assert_int_equal(close(fd), 0);
	gm_fake_backend.close(opened);
}

static void create_and_open_fail_as_told(void **state)
{
	struct gm_backend_state *opened = open_fake(), *other = NULL;
	struct gm_refusal refusal = { 0 };
	struct gm_probe probe;
	int fd = -1;

	(void)state;
	script = gm_fake_reset();
	gm_fake_fail(&script->create, 1, -EMFILE);
	assert_int_equal(create(opened, GM_MIB, GM_PAGE_4K, &fd, &refusal), -EMFILE);
	gm_fake_fail(&script->create, 1, GM_NO_RESOURCE);
	assert_int_equal(create(opened, GM_MIB, GM_PAGE_4K, &fd, &refusal), GM_NO_RESOURCE);
	assert_int_equal(refusal.rule, GM_RULE_HUGE_PAGES_FREE);
	assert_int_equal(refusal.asked, GM_MIB);
	gm_fake_fail(&script->open, 1, -ENFILE);
	assert_int_equal(gm_fake_backend.open(&other, &probe), -ENFILE);
	script->unusable = true;
	assert_int_equal(gm_fake_backend.open(&other, &probe), 0);
	assert_false(probe.usable);
	assert_null(other);
	assert_int_equal(fd, -1);
	gm_fake_backend.close(opened);
}

static void a_size_without_pages_is_refused_and_others_are_not(void **state)
{
	struct gm_backend_state *opened = open_fake();
	struct gm_refusal refusal = { 0 };
	int fd = -1;

	(void)state;
	script = gm_fake_reset();
	script->missing_page_sizes = GM_PAGE_1G;
	assert_int_equal(create(opened, GM_GIB, GM_PAGE_1G, &fd, &refusal), GM_NO_RESOURCE);
	assert_int_equal(create(opened, GM_GIB, GM_PAGE_2M, &fd, &refusal), 0);
	assert_int_equal(close(fd), 0);
	gm_fake_backend.close(opened);
}

static void it_dawdles_and_forgets_when_told(void **state)
{
	struct gm_backend_state *opened = open_fake();
	struct timespec from, to;
	uint64_t bytes;
	int fd = -1;

	(void)state;
	script = gm_fake_reset();
	assert_int_equal(create(opened, 2 * GM_MIB, GM_PAGE_4K, &fd, NULL), 0);
	script->slow_us_per_mib = 10000;
	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &from), 0);
	assert_int_equal(gm_fake_backend.allocate(fd, 0, 2 * GM_MIB), 0);
	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &to), 0);
	assert_true((to.tv_sec - from.tv_sec) * 1000000000L + to.tv_nsec - from.tv_nsec >=
		    20000000L);
	assert_int_equal(gm_fake_backend.present(fd, 0, GM_MIB, GM_PAGE_4K, &bytes), 0);
	assert_int_equal(bytes, GM_MIB);
	script->loses_track = true;
	assert_int_equal(gm_fake_backend.present(fd, 0, GM_MIB, GM_PAGE_4K, &bytes), -EOPNOTSUPP);
	assert_int_equal(close(fd), 0);
	gm_fake_backend.close(opened);
}

static void the_script_holds_for_a_child_that_is_there_already(void **state)
{
	struct gm_backend_state *opened = open_fake();
	int fd = -1, go[2], status;
	char byte = 0;
	pid_t pid;

	(void)state;
	script = gm_fake_reset();
	assert_int_equal(create(opened, GM_MIB, GM_PAGE_4K, &fd, NULL), 0);
	assert_int_equal(pipe(go), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (read(go[0], &byte, 1) != 1)
			_exit(99);
		_exit(-gm_fake_backend.allocate(fd, 0, GM_PAGE_4K));
	}
	gm_fake_fail(&script->allocate, 1, -EIO);
	assert_int_equal(write(go[1], &byte, 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EIO);
	assert_int_equal(script->n_allocates, 1);
	assert_int_equal(gm_fake_backend.allocate(fd, 0, GM_PAGE_4K), 0);
	assert_int_equal(close(go[0]), 0);
	assert_int_equal(close(go[1]), 0);
	assert_int_equal(close(fd), 0);
	gm_fake_backend.close(opened);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(the_fake_is_in_the_table_of_a_program_that_uses_it),
		gm_test(the_nth_call_fails_and_no_other),
		gm_test(create_and_open_fail_as_told),
		gm_test(a_size_without_pages_is_refused_and_others_are_not),
		gm_test(it_dawdles_and_forgets_when_told),
		gm_test(the_script_holds_for_a_child_that_is_there_already),
	};

	if (!gm_fake_reset())
		return EXIT_FAILURE;
	return gm_test_run("fake", tests, GM_ARRAY_SIZE(tests));
}
