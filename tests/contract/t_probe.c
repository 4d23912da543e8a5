/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probing: every kind says what this host can do, or why not; and the table of kinds.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend.h"
#include "gm_cleanup.h"
#include "gm_test.h"

static void every_kind_is_found_by_its_name(void **state)
{
	(void)state;
	for (size_t i = 0; gm_backends[i]; i++)
		assert_ptr_equal(gm_backend_find(gm_backends[i]->kind), gm_backends[i]);
	assert_ptr_equal(gm_backends[0], gm_backend_find("memfd"));
	assert_ptr_equal(gm_backends[1], gm_backend_find("guest-memfd"));
	assert_ptr_equal(gm_backends[2], gm_backend_find("sw-protected"));
	assert_ptr_equal(gm_backends[3], gm_backend_find("sev"));
	assert_ptr_equal(gm_backends[4], gm_backend_find("sev-es"));
	assert_ptr_equal(gm_backends[5], gm_backend_find("snp"));
	assert_ptr_equal(gm_backends[6], gm_backend_find("tdx"));
	for (size_t i = 0; i < 7; i++)
		assert_non_null(gm_backends[i]);
	assert_null(gm_backends[7]);
}

static void an_unknown_kind_is_not_found(void **state)
{
	(void)state;
	assert_null(gm_backend_find(""));
	assert_null(gm_backend_find("memf"));
	assert_null(gm_backend_find("memfd2"));
	assert_null(gm_backend_find("fake"));
}

static void every_capability_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (unsigned i = 0; i < GM_BACKEND_CAPS_N; i++) {
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(gm_backend_cap_name(i), gm_backend_cap_name(j));
	}
	assert_string_equal(gm_backend_cap_name(0), "daemon-creates");
	assert_string_equal(gm_backend_cap_name(3), "numa");
	assert_string_equal(gm_backend_cap_name(GM_BACKEND_CAPS_N), "unknown");
	assert_string_equal(gm_backend_cap_name(UINT32_MAX), "unknown");
}

static void a_probe_explains_itself(void **state)
{
	(void)state;
	for (size_t i = 0; gm_backends[i]; i++) {
		struct gm_backend_state *opened;
		struct gm_probe probe;

		assert_int_equal(gm_backends[i]->open(&opened, &probe), 0);
		assert_true(strlen(probe.reason) > 0);
		assert_int_equal(opened != NULL, probe.usable);
		assert_int_equal(probe.page_sizes != 0, probe.usable);
		assert_int_equal(probe.caps != 0, probe.usable);
		gm_backends[i]->close(opened);
		gm_backends[i]->close(NULL);
	}
}

static void memfd_offers_the_sizes_whose_pool_exists(void **state)
{
	static const uint64_t sizes[] = { GM_PAGE_2M, GM_PAGE_1G };
	const struct gm_backend *memfd = gm_backend_find("memfd");
	struct gm_backend_state *opened;
	struct gm_huge_pool pool;
	struct gm_probe probe;

	(void)state;
	assert_int_equal(memfd->open(&opened, &probe), 0);
	assert_true(probe.usable);
	assert_true(probe.page_sizes & GM_PAGE_4K);
	for (size_t i = 0; i < GM_ARRAY_SIZE(sizes); i++)
		assert_int_equal((probe.page_sizes & sizes[i]) != 0,
				 gm_huge_pool_read(sizes[i], &pool) == 0);
	memfd->close(opened);
}

static void a_pool_that_the_host_has_not_got_is_enoent(void **state)
{
	struct gm_huge_pool pool;

	(void)state;
	assert_int_equal(gm_huge_pool_read(GM_PAGE_4K, &pool), -ENOENT);
	assert_int_equal(gm_huge_pool_read(0, &pool), -ENOENT);
}

static void out_of_heap_is_enomem_and_leaves_nothing(void **state)
{
	(void)state;
#ifdef GMEMD_SANITIZED
	print_message("the sanitizer has the heap\n");
	skip();
#endif
	for (size_t i = 0; gm_backends[i]; i++) {
		struct gm_backend_state *opened = NULL;
		struct gm_probe probe;

		assert_int_equal(gm_backends[i]->open(&opened, &probe), 0);
		gm_backends[i]->close(gm_take_ptr(&opened));
		if (!probe.usable)
			continue;
		gm_test_fail_allocation(1);
		assert_int_equal(gm_backends[i]->open(&opened, &probe), -ENOMEM);
		gm_test_fail_allocation(0);
		assert_null(opened);
	}
}

/* Runs @fn as uid 65534; what it printed is in @text. */
static int unprivileged(int (*fn)(int out), char *text, size_t size)
{
	int ends[2], status;
	ssize_t n;
	pid_t pid;

	fflush(NULL);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
			_exit(99);
		_exit(fn(ends[1]));
	}
	assert_int_equal(close(ends[1]), 0);
	n = read(ends[0], text, size - 1);
	text[n < 0 ? 0 : n] = '\0';
	assert_int_equal(close(ends[0]), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static int opens_guest_memfd(int out)
{
	struct gm_backend_state *opened = NULL;
	struct gm_probe probe;

	if (gm_backend_find("guest-memfd")->open(&opened, &probe) != 0 || opened || probe.usable)
		return 1;
	dprintf(out, "%s", probe.reason);
	return 0;
}

static int opens_device(int out)
{
	char reason[GM_TEXT_MAX] = "";
	int fd = -1, r;

	r = gm_kvm_device_open(&fd, reason, sizeof(reason));
	dprintf(out, "%s", reason);
	return fd == -1 ? -r : 97;
}

static void need_closed_device(void)
{
	if (geteuid() != 0 || access("/dev/kvm", F_OK) < 0) {
		print_message("needs root and a /dev/kvm\n");
		skip();
	}
}

static void without_permission_on_the_device_the_reason_says_so(void **state)
{
	char text[GM_TEXT_MAX];
	int r;

	(void)state;
	need_closed_device();
	r = unprivileged(opens_device, text, sizeof(text));
	if (r == 0) {
		print_message("/dev/kvm is open to everybody\n");
		skip();
	}
	assert_int_equal(r, EACCES);
	assert_string_equal(text, "/dev/kvm: Permission denied");
	assert_int_equal(unprivileged(opens_guest_memfd, text, sizeof(text)), 0);
	assert_string_equal(text, "/dev/kvm: Permission denied");
}

static void the_device_is_opened_for_reading_only_and_close_on_exec(void **state)
{
	char reason[GM_TEXT_MAX] = "";
	int fd = -1;

	(void)state;
	if (gm_kvm_device_open(&fd, reason, sizeof(reason)) < 0) {
		print_message("%s\n", reason);
		skip();
	}
	assert_true(fd > 2);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(close(fd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(every_kind_is_found_by_its_name),
		gm_test(an_unknown_kind_is_not_found),
		gm_test(every_capability_has_a_name_of_its_own),
		gm_test(a_probe_explains_itself),
		gm_test(memfd_offers_the_sizes_whose_pool_exists),
		gm_test(a_pool_that_the_host_has_not_got_is_enoent),
		gm_test(out_of_heap_is_enomem_and_leaves_nothing),
		gm_test(without_permission_on_the_device_the_reason_says_so),
		gm_test(the_device_is_opened_for_reading_only_and_close_on_exec),
	};

	return gm_test_run("probe", tests, GM_ARRAY_SIZE(tests));
}
