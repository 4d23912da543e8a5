/* SPDX-License-Identifier: Apache-2.0 */
/* What a holder of the fd cannot change, and what verify believes. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake.h"
#include "gm_fd.h"
#include "subject.h"

static void no_holder_can_change_the_size(void **state)
{
	const struct subject *subject = subject_of(state);
	off_t size = (off_t)subject_size(subject);
	int fd = subject_create(subject);
	struct stat st;

	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(fd, size - (off_t)subject->page_size), -1);
	assert_int_equal(ftruncate(fd, size + (off_t)subject->page_size), -1);
	assert_int_equal(fallocate(fd, 0, size, (off_t)subject->page_size), -1);
	assert_int_equal(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, (off_t)subject->page_size), -1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, size);
	assert_int_equal(close(fd), 0);
}

/* A holder that could add F_SEAL_WRITE would take the memory from the others. */
static void no_holder_can_add_a_seal(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);

	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
	assert_int_equal(close(fd), 0);
}

static int reopens(void *arg)
{
	char path[32];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", *(int *)arg);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? errno : 0;
}

static void an_unprivileged_holder_may_open_it_anew_by_path(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);

	assert_int_equal(in_child(65534, reopens, &fd), 0);
	assert_int_equal(close(fd), 0);
}

static void verify_accepts_what_create_made(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);
	int copy = gm_fd_dup(fd);

	assert_int_equal(subject->backend->verify(fd, subject_size(subject), subject->page_size),
			 0);
	assert_int_equal(subject->backend->verify(copy, subject_size(subject), subject->page_size),
			 0);
	assert_int_equal(subject_present(subject, fd, 0, subject->n_pages), 0);
	assert_int_equal(close(copy), 0);
	assert_int_equal(close(fd), 0);
}

static void verify_rejects_another_size(void **state)
{
	const struct subject *subject = subject_of(state);
	uint64_t size = subject_size(subject);
	int fd = subject_create(subject);

	assert_int_equal(
		subject->backend->verify(fd, size + subject->page_size, subject->page_size),
		-EBADF);
	assert_int_equal(
		subject->backend->verify(fd, size - subject->page_size, subject->page_size),
		-EBADF);
	assert_int_equal(subject->backend->verify(fd, 0, subject->page_size), -EBADF);
	assert_int_equal(close(fd), 0);
}

static void verify_rejects_another_page_size(void **state)
{
	static const uint64_t sizes[] = { 0, 1, GM_PAGE_4K, GM_PAGE_2M, GM_PAGE_1G };
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);

	for (size_t i = 0; i < GM_ARRAY_SIZE(sizes); i++) {
		if (sizes[i] == subject->page_size)
			continue;
		assert_int_equal(subject->backend->verify(fd, subject_size(subject), sizes[i]),
				 -EBADF);
	}
	assert_int_equal(close(fd), 0);
}

static void assert_rejected(const struct subject *subject, int fd)
{
	struct stat st = { 0 };

	if (fd >= 0)
		assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(subject->backend->verify(fd, subject_size(subject), subject->page_size),
			 -EBADF);
	assert_int_equal(subject->backend->verify(fd, (uint64_t)st.st_size, subject->page_size),
			 -EBADF);
}

static int make_file(char *template, uint64_t size)
{
	int fd = mkostemp(template, O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(unlink(template), 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/* Each one of the right size where it can have one. */
static int make_impostor(unsigned which, uint64_t size)
{
	char tmpfs[] = "/dev/shm/gmemd-contract-XXXXXX";
	char disk[] = "/var/tmp/gmemd-contract-XXXXXX";
	int fd;

	switch (which) {
	case 0: /* tmpfs, as a memfd is, but nothing seals it */
		return make_file(tmpfs, size);
	case 1:
		return make_file(disk, size);
	case 2:
		fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		assert_int_equal(ftruncate(fd, (off_t)size), 0);
		return fd;
	case 3:
		fd = memfd_create("read-only", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		assert_int_equal(ftruncate(fd, (off_t)size), 0);
		assert_int_equal(fcntl(fd, F_ADD_SEALS,
				       F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
				 0);
		return fd;
	case 4:
		return eventfd(0, EFD_CLOEXEC);
	case 5:
		return open("/dev/zero", O_RDWR | O_CLOEXEC);
	case 6:
		return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	default:
		return -2;
	}
}

static void verify_rejects_what_only_looks_like_it(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd;

	assert_rejected(subject, -1);
	for (unsigned i = 0; (fd = make_impostor(i, subject_size(subject))) != -2; i++) {
		assert_true(fd >= 0);
		assert_rejected(subject, fd);
		assert_int_equal(close(fd), 0);
	}
}

static void verify_rejects_a_pipe_and_its_own_memory_without_write_access(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);
	int ends[2], weak;
	char path[32];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_rejected(subject, ends[0]);
	assert_int_equal(close(ends[0]), 0);
	assert_int_equal(close(ends[1]), 0);

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	weak = open(path, O_RDONLY | O_CLOEXEC);
	if (weak >= 0) {
		assert_rejected(subject, weak);
		assert_int_equal(close(weak), 0);
	}
	weak = open(path, O_PATH | O_CLOEXEC);
	assert_true(weak >= 0);
	assert_rejected(subject, weak);
	assert_int_equal(close(weak), 0);
	assert_int_equal(close(fd), 0);
}

/* The fake passes for a memfd of 4K pages: it is one. */
static void verify_rejects_memory_of_another_kind(void **state)
{
	const struct subject *subject = subject_of(state);
	const struct gm_backing want = {
		.size = subject_size(subject),
		.page_size = GM_PAGE_4K,
		.name = "contract",
	};

	for (size_t i = 0; gm_backends[i]; i++) {
		struct gm_backend_state *other;
		struct gm_refusal refusal;
		struct gm_probe probe;
		int fd = -1;

		if (gm_backends[i] == subject->backend || gm_backends[i] == &gm_fake_backend)
			continue;
		assert_int_equal(gm_backends[i]->open(&other, &probe), 0);
		if (!probe.usable)
			continue;
		assert_int_equal(gm_backends[i]->create(other, &want, &fd, &refusal), 0);
		assert_rejected(subject, fd);
		assert_int_equal(close(fd), 0);
		gm_backends[i]->close(other);
	}
}

#define CASE(fn, filter)        \
	{                       \
#fn, fn, filter \
	}

const struct contract_case fd_cases[] = {
	CASE(no_holder_can_change_the_size, FOR_ALL),
	CASE(no_holder_can_add_a_seal, FOR_ALL),
	CASE(an_unprivileged_holder_may_open_it_anew_by_path, FOR_SEALED),
	CASE(verify_accepts_what_create_made, FOR_ALL),
	CASE(verify_rejects_another_size, FOR_ALL),
	CASE(verify_rejects_another_page_size, FOR_ALL),
	CASE(verify_rejects_what_only_looks_like_it, FOR_ALL),
	CASE(verify_rejects_a_pipe_and_its_own_memory_without_write_access, FOR_ALL),
	CASE(verify_rejects_memory_of_another_kind, FOR_ALL),
	{ 0 },
};
