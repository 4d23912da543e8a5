/* SPDX-License-Identifier: Apache-2.0 */
/* What create makes. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/mempolicy.h>

#include "gm_fd.h"
#include "subject.h"

static void the_fd_is_close_on_exec(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);

	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(close(fd), 0);
}

static void the_fd_is_above_stdio_even_when_stdin_is_closed(void **state)
{
	const struct subject *subject = subject_of(state);
	int saved = gm_fd_dup(0);
	bool leaks;
	int fd;

	assert_true(saved > 2);
	assert_int_equal(close(0), 0);
	fd = subject_create(subject);
	/* The number that the kernel gave first is free again. */
	leaks = fcntl(0, F_GETFD) >= 0;
	assert_int_equal(dup2(saved, 0), 0);
	assert_false(leaks);
	assert_true(fd > 2);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(close(fd), 0);
	assert_int_equal(close(saved), 0);
}

static void the_file_has_exactly_the_size_asked_for(void **state)
{
	const struct subject *subject = subject_of(state);
	struct gm_fd_identity identity;

	for (uint64_t n = 1; n <= subject->n_pages; n *= 2) {
		int fd = subject_create_pages(subject, n);

		assert_int_equal(gm_fd_identify(fd, &identity), 0);
		assert_int_equal(identity.size, n * subject->page_size);
		assert_int_equal(close(fd), 0);
	}
}

static void two_regions_are_two_files(void **state)
{
	const struct subject *subject = subject_of(state);
	struct gm_fd_identity one, two;
	int fds[2] = { subject_create_pages(subject, 1), subject_create_pages(subject, 1) };

	assert_int_equal(gm_fd_identify(fds[0], &one), 0);
	assert_int_equal(gm_fd_identify(fds[1], &two), 0);
	assert_false(one.device == two.device && one.inode == two.inode);
	assert_int_equal(close(fds[0]), 0);
	assert_int_equal(close(fds[1]), 0);
}

static void nothing_is_allocated_at_first(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);

	assert_int_equal(subject_present(subject, fd, 0, subject->n_pages), 0);
	assert_int_equal(close(fd), 0);
}

static void all_of_it_reads_as_zero(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);
	unsigned char *map = map_all(fd, subject_size(subject));

	for (uint64_t page = 0; page < subject->n_pages; page++)
		assert_true(page_is_zero(map, subject->page_size, page));
	unmap_all(map, subject_size(subject));
	assert_int_equal(close(fd), 0);
}

static int reads_stamps(void *arg)
{
	const struct subject *subject = ((void **)arg)[0];
	int fd = *(int *)((void **)arg)[1];
	unsigned char *map = mmap(NULL, subject_size(subject), PROT_READ, MAP_SHARED, fd, 0);

	return map != MAP_FAILED && page_has(map, subject->page_size, subject->n_pages - 1, 0xa7);
}

static void what_one_holder_writes_another_process_reads(void **state)
{
	struct subject *subject = subject_of(state);
	int fd = subject_create(subject);
	unsigned char *map = map_all(fd, subject_size(subject));
	void *args[2] = { subject, &fd };

	page_stamp(map, subject->page_size, subject->n_pages - 1, 0xa7);
	assert_int_equal(in_child(65534, reads_stamps, args), 1);
	unmap_all(map, subject_size(subject));
	assert_int_equal(close(fd), 0);
}

static void a_backing_that_breaks_the_rules_is_einval(void **state)
{
	const struct subject *subject = subject_of(state);
	const uint64_t page = subject->page_size;
	const struct gm_backing wrong[] = {
		{ .size = 0, .page_size = page },
		{ .size = page + 1, .page_size = page },
		{ .size = page / 2, .page_size = page },
		{ .size = GM_ADDRESS_END, .page_size = page },
		{ .size = UINT64_MAX & ~(page - 1), .page_size = page },
		{ .size = page, .page_size = 0 },
		{ .size = page * 3, .page_size = page * 3 },
		{ .size = page * 8, .page_size = page * 8 },
	};

	for (size_t i = 0; i < GM_ARRAY_SIZE(wrong); i++) {
		struct gm_backing want = wrong[i];
		struct gm_refusal refusal = { 0 };
		int fd = -1;

		want.name = "contract";
		assert_int_equal(subject->backend->create(subject->state, &want, &fd, &refusal),
				 -EINVAL);
		assert_int_equal(fd, -1);
	}
}

static void short_of_fds_is_emfile_and_leaves_nothing(void **state)
{
	const struct subject *subject = subject_of(state);
	const struct gm_backing want = {
		.size = subject_size(subject),
		.page_size = subject->page_size,
		.name = "contract",
	};
	struct gm_refusal refusal = { 0 };
	struct rlimit usual, tight;
	int fds[64], n = 0, fd = -1, r;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
	tight = usual;
	tight.rlim_cur = GM_ARRAY_SIZE(fds);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	while (n < (int)GM_ARRAY_SIZE(fds) && (fds[n] = gm_fd_dup(0)) >= 0)
		n++;
	r = subject->backend->create(subject->state, &want, &fd, &refusal);
	while (n > 0)
		gm_fd_close(fds[--n]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
	assert_int_equal(r, -EMFILE);
	assert_int_equal(fd, -1);
}

static void the_inode_is_bound_to_the_nodes_for_whoever_allocates(void **state)
{
	const struct subject *subject = subject_of(state);
	struct gm_backing want = {
		.size = subject_size(subject),
		.page_size = subject->page_size,
		.numa_nodes = 1,
		.name = "contract",
	};
	unsigned long mask[32] = { 0 };
	struct gm_refusal refusal = { 0 };
	unsigned char *map;
	int fd = -1, mode = -1;

	assert_int_equal(subject->backend->create(subject->state, &want, &fd, &refusal), 0);
	map = map_all(fd, want.size);
	assert_int_equal(syscall(SYS_get_mempolicy, &mode, mask, sizeof(mask) * 8,
				 map + want.size - GM_PAGE_4K, MPOL_F_ADDR),
			 0);
	assert_int_equal(mode, MPOL_BIND);
	assert_int_equal(mask[0], 1);
	assert_int_equal(subject_present(subject, fd, 0, subject->n_pages), 0);
	unmap_all(map, want.size);
	assert_int_equal(close(fd), 0);
}

static void nodes_that_are_not_there_are_refused(void **state)
{
	const struct subject *subject = subject_of(state);
	const struct gm_backing want = {
		.size = subject_size(subject),
		.page_size = subject->page_size,
		.numa_nodes = UINT64_C(1) << 63,
		.name = "contract",
	};
	struct gm_refusal refusal = { 0 };
	int fd = -1;

	if (access("/sys/devices/system/node/node63", F_OK) == 0) {
		print_message("this host has 64 nodes\n");
		skip();
	}
	assert_int_equal(subject->backend->create(subject->state, &want, &fd, &refusal),
			 GM_INVALID);
	assert_int_equal(refusal.rule, GM_RULE_NUMA_NODES);
	assert_int_equal(fd, -1);
}

#define CASE(fn, filter)        \
	{                       \
#fn, fn, filter \
	}

const struct contract_case create_cases[] = {
	CASE(the_fd_is_close_on_exec, FOR_ALL),
	CASE(the_fd_is_above_stdio_even_when_stdin_is_closed, FOR_ALL),
	CASE(the_file_has_exactly_the_size_asked_for, FOR_ALL),
	CASE(two_regions_are_two_files, FOR_ALL),
	CASE(nothing_is_allocated_at_first, FOR_ALL),
	CASE(all_of_it_reads_as_zero, FOR_ALL),
	CASE(what_one_holder_writes_another_process_reads, FOR_ALL),
	CASE(a_backing_that_breaks_the_rules_is_einval, FOR_ALL),
	CASE(short_of_fds_is_emfile_and_leaves_nothing, FOR_ALL),
	CASE(the_inode_is_bound_to_the_nodes_for_whoever_allocates, FOR_NUMA),
	CASE(nodes_that_are_not_there_are_refused, FOR_NUMA),
	CASE(nodes_that_are_not_there_are_refused, FOR_HUGE),
	{ 0 },
};
