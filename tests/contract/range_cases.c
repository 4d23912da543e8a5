/* SPDX-License-Identifier: Apache-2.0 */
/* What allocate, discard and present do to ranges. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "subject.h"

#define N_THREADS 4

static int allocate(const struct subject *subject, int fd, uint64_t page, uint64_t n_pages)
{
	return subject->backend->allocate(fd, page * subject->page_size,
					  n_pages * subject->page_size);
}

static int discard(const struct subject *subject, int fd, uint64_t page, uint64_t n_pages)
{
	return subject->backend->discard(fd, page * subject->page_size,
					 n_pages * subject->page_size, subject->page_size);
}

/* Where the backend does not tell, whatever is right will do. */
static void assert_present(const struct subject *subject, int fd, uint64_t page, uint64_t n_pages,
			   uint64_t n_present)
{
	uint64_t bytes = subject_present(subject, fd, page, n_pages);

	if (bytes != UINT64_MAX)
		assert_int_equal(bytes, n_present * subject->page_size);
}

static void allocate_makes_exactly_the_range_present(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);

	assert_int_equal(allocate(subject, fd, 1, 1), 0);
	assert_present(subject, fd, 0, 1, 0);
	assert_present(subject, fd, 1, 1, 1);
	assert_present(subject, fd, 0, subject->n_pages, 1);
	assert_int_equal(allocate(subject, fd, 0, subject->n_pages), 0);
	assert_present(subject, fd, 0, subject->n_pages, subject->n_pages);
	assert_int_equal(close(fd), 0);
}

static void allocate_keeps_what_is_there_and_zeroes_the_rest(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);
	unsigned char *map = map_all(fd, subject_size(subject));

	page_stamp(map, subject->page_size, 0, 0x11);
	assert_int_equal(allocate(subject, fd, 0, 2), 0);
	assert_true(page_has(map, subject->page_size, 0, 0x11));
	assert_true(page_is_zero(map, subject->page_size, 1));
	unmap_all(map, subject_size(subject));
	assert_int_equal(close(fd), 0);
}

static void allocate_twice_is_allocate_once(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);

	assert_int_equal(allocate(subject, fd, 0, subject->n_pages), 0);
	assert_int_equal(allocate(subject, fd, 0, subject->n_pages), 0);
	assert_present(subject, fd, 0, subject->n_pages, subject->n_pages);
	assert_int_equal(close(fd), 0);
}

static void nothing_to_do_is_done(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);

	assert_int_equal(allocate(subject, fd, 1, 0), 0);
	assert_int_equal(discard(subject, fd, 1, 0), 0);
	assert_present(subject, fd, 0, 0, 0);
	assert_present(subject, fd, 0, subject->n_pages, 0);
	assert_int_equal(close(fd), 0);
}

static void allocate_outside_the_region_fails_and_allocates_nothing(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);

	assert_true(allocate(subject, fd, subject->n_pages, 1) < 0);
	assert_present(subject, fd, 0, subject->n_pages, 0);
	assert_int_equal(close(fd), 0);
}

static void discard_reads_as_zero_and_touches_no_neighbour(void **state)
{
	const struct subject *subject = subject_of(state);
	uint64_t last = subject->n_pages - 1;
	int fd = subject_create(subject);
	unsigned char *map = map_all(fd, subject_size(subject));

	assert_int_equal(allocate(subject, fd, 0, subject->n_pages), 0);
	for (uint64_t page = 0; page < subject->n_pages; page++)
		page_stamp(map, subject->page_size, page, 0x22);
	assert_int_equal(discard(subject, fd, 0, last), 0);
	assert_present(subject, fd, 0, subject->n_pages, 1);
	for (uint64_t page = 0; page < last; page++)
		assert_true(page_is_zero(map, subject->page_size, page));
	assert_true(page_has(map, subject->page_size, last, 0x22));
	unmap_all(map, subject_size(subject));
	assert_int_equal(close(fd), 0);
}

static void discard_twice_is_discard_once(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);

	assert_int_equal(discard(subject, fd, 0, subject->n_pages), 0);
	assert_int_equal(allocate(subject, fd, 0, subject->n_pages), 0);
	assert_int_equal(discard(subject, fd, 0, subject->n_pages), 0);
	assert_int_equal(discard(subject, fd, 0, subject->n_pages), 0);
	assert_present(subject, fd, 0, subject->n_pages, 0);
	assert_int_equal(close(fd), 0);
}

static void a_discarded_range_can_be_allocated_and_written_again(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);
	unsigned char *map = map_all(fd, subject_size(subject));

	page_stamp(map, subject->page_size, 0, 0x33);
	assert_int_equal(discard(subject, fd, 0, 1), 0);
	assert_int_equal(allocate(subject, fd, 0, 1), 0);
	assert_true(page_is_zero(map, subject->page_size, 0));
	page_stamp(map, subject->page_size, 0, 0x44);
	assert_true(page_has(map, subject->page_size, 0, 0x44));
	unmap_all(map, subject_size(subject));
	assert_int_equal(close(fd), 0);
}

static void touching_makes_present_too(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);
	unsigned char *map = map_all(fd, subject_size(subject));

	page_stamp(map, subject->page_size, 1, 0x55);
	/* The fake's larger pages are a pretence: two bytes touch two 4K pages of them. */
	if (subject->page_size == GM_PAGE_4K) {
		assert_present(subject, fd, 1, 1, 1);
		assert_present(subject, fd, 0, subject->n_pages, 1);
	} else {
		assert_int_not_equal(subject_present(subject, fd, 0, subject->n_pages), 0);
	}
	unmap_all(map, subject_size(subject));
	assert_int_equal(close(fd), 0);
}

static void asking_what_is_present_allocates_nothing(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);

	assert_int_equal(allocate(subject, fd, 0, 1), 0);
	for (uint64_t page = 0; page < subject->n_pages; page++)
		(void)subject_present(subject, fd, page, 1);
	assert_present(subject, fd, 0, subject->n_pages, 1);
	assert_int_equal(close(fd), 0);
}

struct thread_job {
	const struct subject *subject;
	int fd;
	uint64_t first;
	int allocated;
	int discarded;
	pthread_t thread;
};

/* Every fourth page is this thread's. */
static void *allocate_and_discard(void *arg)
{
	struct thread_job *job = arg;
	const struct subject *subject = job->subject;

	for (unsigned round = 0; round < 8; round++) {
		for (uint64_t page = job->first; page < subject->n_pages; page += N_THREADS) {
			job->discarded |= discard(subject, job->fd, page, 1);
			job->allocated |= allocate(subject, job->fd, page, 1);
		}
	}
	return NULL;
}

static void many_threads_work_on_disjoint_ranges(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);
	struct thread_job jobs[N_THREADS] = { 0 };

	for (unsigned i = 0; i < N_THREADS; i++) {
		jobs[i].subject = subject;
		jobs[i].fd = fd;
		jobs[i].first = i;
		assert_int_equal(
			pthread_create(&jobs[i].thread, NULL, allocate_and_discard, &jobs[i]), 0);
	}
	for (unsigned i = 0; i < N_THREADS; i++) {
		assert_int_equal(pthread_join(jobs[i].thread, NULL), 0);
		assert_int_equal(jobs[i].allocated, 0);
		assert_int_equal(jobs[i].discarded, 0);
	}
	assert_present(subject, fd, 0, subject->n_pages, subject->n_pages);
	assert_int_equal(close(fd), 0);
}

static int works_on_it(void *arg)
{
	const struct subject *subject = ((void **)arg)[0];
	int fd = *(int *)((void **)arg)[1];

	if (allocate(subject, fd, 0, subject->n_pages) != 0)
		return 1;
	return discard(subject, fd, 1, subject->n_pages - 1) != 0 ? 2 : 0;
}

static void an_unprivileged_process_that_holds_the_fd_allocates_and_discards(void **state)
{
	struct subject *subject = subject_of(state);
	int fd = subject_create(subject);
	void *args[2] = { subject, &fd };

	assert_int_equal(in_child(65534, works_on_it, args), 0);
	assert_present(subject, fd, 0, subject->n_pages, 1);
	assert_int_equal(close(fd), 0);
}

static int dies_half_way(void *arg)
{
	const struct subject *subject = ((void **)arg)[0];
	int fd = *(int *)((void **)arg)[1];

	if (allocate(subject, fd, 0, subject->n_pages / 2) != 0)
		return 1;
	abort();
}

static void what_a_dead_worker_had_done_is_counted(void **state)
{
	struct subject *subject = subject_of(state);
	int fd = subject_create(subject);
	void *args[2] = { subject, &fd };

	assert_int_equal(in_child(0, dies_half_way, args), -SIGABRT);
	assert_present(subject, fd, 0, subject->n_pages, subject->n_pages / 2);
	assert_present(subject, fd, 0, subject->n_pages / 2, subject->n_pages / 2);
	assert_int_equal(close(fd), 0);
}

#define CASE(fn)                 \
	{                        \
#fn, fn, FOR_ALL \
	}

const struct contract_case range_cases[] = {
	CASE(allocate_makes_exactly_the_range_present),
	CASE(allocate_keeps_what_is_there_and_zeroes_the_rest),
	CASE(allocate_twice_is_allocate_once),
	CASE(nothing_to_do_is_done),
	CASE(allocate_outside_the_region_fails_and_allocates_nothing),
	CASE(discard_reads_as_zero_and_touches_no_neighbour),
	CASE(discard_twice_is_discard_once),
	CASE(a_discarded_range_can_be_allocated_and_written_again),
	CASE(touching_makes_present_too),
	CASE(asking_what_is_present_allocates_nothing),
	CASE(many_threads_work_on_disjoint_ranges),
	CASE(an_unprivileged_process_that_holds_the_fd_allocates_and_discards),
	CASE(what_a_dead_worker_had_done_is_counted),
	{ 0 },
};
