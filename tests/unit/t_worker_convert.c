/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversion in place, in a worker: in order, in pieces, and with patience for whoever holds a
 * page; what is reported as converted has been, whichever way the kernel deals with a page that is
 * held.
 */
#include "gm_test.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "convert.h"
#include "worker_backends.h"

#define PAGES 16384 /* 64 MiB: four pieces */
#define PIECE_PAGES 4096

/* The file of a kernel of the test's own. */
static struct {
	bool shared[PAGES];
	unsigned held[PAGES]; /* how many more requests find the page held */
	bool converts_before; /* the pages before one that is held; else none */
	int error;	      /* of every request: -errno */
	unsigned n_calls;
	uint64_t longest; /* request, pages */
} file;

static struct {
	unsigned stop_at; /* question, 0: never */
	unsigned n_questions;
	bool done[PAGES];
	uint64_t last_done;
	struct gm_job_report last;
} heard;

static const struct gm_convert_pace fast = { .first_ms = 1, .most_ms = 4, .patience_ms = 30 };

static int convert(int fd, uint64_t offset, uint64_t length, bool to_private, uint64_t *ret_offset)
{
	uint64_t first = offset / GM_PAGE_4K, n = length / GM_PAGE_4K, i;

	(void)fd;
	assert_true(n > 0 && first + n <= PAGES);
	file.n_calls++;
	file.longest = gm_max_u64(file.longest, n);
	if (file.error)
		return file.error;
	for (i = first; i < first + n && file.held[i] == 0; i++)
		;
	for (uint64_t j = first; j < i; j++)
		if (i == first + n || file.converts_before)
			file.shared[j] = !to_private;
	if (i == first + n)
		return 0;
	file.held[i]--;
	*ret_offset = i * GM_PAGE_4K;
	return -EAGAIN;
}

static const struct gm_backend backend = { .kind = "test", .convert = convert };

static bool is_stopped(void *arg)
{
	(void)arg;
	return ++heard.n_questions == heard.stop_at;
}

static int take_report(void *arg, const struct gm_job_report *report)
{
	(void)arg;
	for (uint32_t i = 0; i < report->n_done; i++) {
		uint64_t first = report->done[i].offset / GM_PAGE_4K;
		uint64_t end = first + report->done[i].length / GM_PAGE_4K;

		assert_true(first >= heard.last_done);
		for (uint64_t page = first; page < end; page++)
			heard.done[page] = true;
		heard.last_done = end;
	}
	if (report->last)
		heard.last = *report;
	return 0;
}

static void begin(bool shared)
{
	memset(&file, 0, sizeof(file));
	memset(&heard, 0, sizeof(heard));
	memset(file.shared, shared, sizeof(file.shared));
}

static int run(enum gm_job_verb verb, const struct gm_job_range *ranges, uint32_t n)
{
	const struct gm_work_sink sink = { .is_stopped = is_stopped, .report = take_report };
	struct gm_job_order order = order_of("test", verb, GM_PAGE_4K, 1);

	order.n_ranges = n;
	memcpy(order.ranges, ranges, n * sizeof(*ranges));
	assert_true(gm_job_order_is_valid(&order, gm_job_order_size(&order)));
	assert_int_equal(gm_convert_run(&order, memory_new(GM_PAGE_4K), &backend, &fast, &sink), 0);
	assert_true(heard.last.last);
	for (unsigned i = 0; i < PAGES; i++)
		if (heard.done[i])
			assert_int_equal(file.shared[i], verb == GM_JOB_MAKE_SHARED);
	return heard.last.error;
}

static const struct gm_job_range all = { 0, PAGES *GM_PAGE_4K };

static uint64_t count_done(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < PAGES; i++)
		n += heard.done[i];
	return n;
}

static void ranges_are_converted_in_order_and_in_pieces(void **state)
{
	const struct gm_job_range some[] = { { GM_PAGE_4K, 2 * GM_PAGE_4K },
					     { 8 * GM_PAGE_4K, 5000 * GM_PAGE_4K } };

	(void)state;
	begin(false);
	assert_int_equal(run(GM_JOB_MAKE_SHARED, some, 2), 0);
	assert_int_equal(count_done(), 5002);
	assert_int_equal(file.longest, PIECE_PAGES);
	assert_false(file.shared[0]);
	assert_true(file.shared[1]);
	assert_false(file.shared[3]);
}

static void who_holds_a_page_is_waited_for(void **state)
{
	(void)state;
	for (int before = 0; before < 2; before++) {
		begin(true);
		file.converts_before = before;
		file.held[100] = 5;
		file.held[PIECE_PAGES] = 2;
		assert_int_equal(run(GM_JOB_MAKE_PRIVATE, &all, 1), 0);
		assert_int_equal(count_done(), PAGES);
		assert_int_equal(file.held[100] + file.held[PIECE_PAGES], 0);
	}
}

static void what_is_before_a_page_that_is_held_is_converted_first(void **state)
{
	(void)state;
	begin(true);
	file.held[100] = 1;
	assert_int_equal(run(GM_JOB_MAKE_PRIVATE, &all, 1), 0);
	/* All of the first piece, what is before the page, the rest; and three more pieces. */
	assert_int_equal(file.n_calls, 6);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void patience_has_an_end_and_names_the_page(void **state)
{
	uint64_t began = now_ms();

	(void)state;
	for (int before = 0; before < 2; before++) {
		begin(true);
		file.converts_before = before;
		file.held[5000] = 1000000;
		assert_int_equal(run(GM_JOB_MAKE_PRIVATE, &all, 1), -EAGAIN);
		assert_int_equal(heard.last.held_at, 5000 * GM_PAGE_4K);
		assert_int_equal(count_done(), 5000);
		assert_true(file.shared[5000]);
		/* 1, 2, 4, 4... ms: 10 waits, and what is asked between them. */
		assert_true(file.n_calls <= 16);
	}
	assert_true(now_ms() - began >= 2 * fast.patience_ms);
}

static void a_job_that_is_stopped_stops_waiting(void **state)
{
	(void)state;
	begin(true);
	file.held[0] = 1000000;
	heard.stop_at = 3;
	assert_int_equal(run(GM_JOB_MAKE_PRIVATE, &all, 1), -ECANCELED);
	assert_int_equal(file.n_calls, 2);
	assert_int_equal(count_done(), 0);
}

static void any_other_error_ends_the_job_at_once(void **state)
{
	(void)state;
	begin(true);
	file.error = -ENOMEM;
	assert_int_equal(run(GM_JOB_MAKE_PRIVATE, &all, 1), -ENOMEM);
	assert_int_equal(file.n_calls, 1);
}

static void many_small_ranges_are_all_reported(void **state)
{
	struct gm_job_range some[GM_JOB_RANGES_MAX];

	(void)state;
	begin(true);
	for (unsigned i = 0; i < GM_JOB_RANGES_MAX; i++)
		some[i] = (struct gm_job_range){ 2 * i * GM_PAGE_4K, GM_PAGE_4K };
	assert_int_equal(run(GM_JOB_MAKE_PRIVATE, some, GM_JOB_RANGES_MAX), 0);
	assert_int_equal(count_done(), GM_JOB_RANGES_MAX);
	assert_true(file.shared[1]);
}

static void a_kind_that_is_not_converted_in_place_says_so(void **state)
{
	const struct gm_work_sink sink = { .is_stopped = is_stopped, .report = take_report };
	struct gm_job_order order = order_of("memfd", GM_JOB_MAKE_SHARED, GM_PAGE_4K, 1);

	(void)state;
	begin(true);
	assert_int_equal(gm_convert_run(&order, memory_new(GM_PAGE_4K), gm_backend_find("memfd"),
					&fast, &sink),
			 0);
	assert_int_equal(heard.last.error, -EOPNOTSUPP);
}

static void workers_wait_from_1_to_100_ms_and_5_s_in_all(void **state)
{
	(void)state;
	assert_int_equal(gm_convert_pace.first_ms, 1);
	assert_int_equal(gm_convert_pace.most_ms, 100);
	assert_int_equal(gm_convert_pace.patience_ms, 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(ranges_are_converted_in_order_and_in_pieces),
		gm_test(who_holds_a_page_is_waited_for),
		gm_test(what_is_before_a_page_that_is_held_is_converted_first),
		gm_test(patience_has_an_end_and_names_the_page),
		gm_test(a_job_that_is_stopped_stops_waiting),
		gm_test(any_other_error_ends_the_job_at_once),
		gm_test(many_small_ranges_are_all_reported),
		gm_test(a_kind_that_is_not_converted_in_place_says_so),
		gm_test(workers_wait_from_1_to_100_ms_and_5_s_in_all),
	};

	return gm_test_run("worker convert", tests, GM_ARRAY_SIZE(tests));
}
