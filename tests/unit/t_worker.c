/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One job in one process: what is done, what is reported, and how it stops. The reports must add
 * up to what was done, no more and no less.
 */
#include "gm_test.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"
#include "gm_fd.h"
#include "poll_loop.h"
#include "work.h"
#include "worker.h"
#include "worker_backends.h"

#define PAGES_MAX (256 * 1024)

/* Collects reports; marks each reported page, and so sees what is reported twice. */
struct collector {
	uint8_t *pages;
	uint64_t bytes;
	unsigned n_reports;
	unsigned n_parts;
	unsigned n_twice;
	unsigned n_last;
	uint64_t first_ms; /* when the first report came that was not the last */
	uint64_t min_gap_ms;
	uint64_t newest_ms;
	int error;
	unsigned stop_after_questions; /* 0: never */
	unsigned n_questions;
	int answer; /* of report */
};

static bool collector_is_stopped(void *arg)
{
	struct collector *collector = arg;

	collector->n_questions++;
	return collector->stop_after_questions &&
	       collector->n_questions > collector->stop_after_questions;
}

static void collector_mark(struct collector *collector, const struct gm_job_range *part)
{
	uint64_t end = part->offset + part->length;

	assert_true(part->length > 0 && end <= PAGES_MAX * GM_PAGE_4K);
	for (uint64_t at = part->offset; at < end; at += GM_PAGE_4K)
		collector->n_twice += collector->pages[at / GM_PAGE_4K]++ != 0;
	collector->bytes += part->length;
}

static int collector_report(void *arg, const struct gm_job_report *report)
{
	struct collector *collector = arg;
	uint64_t now = poll_loop_now();

	collector->n_reports++;
	collector->n_parts += report->n_done;
	for (uint32_t i = 0; i < report->n_done; i++)
		collector_mark(collector, &report->done[i]);
	if (report->last) {
		collector->n_last++;
		collector->error = report->error;
		return collector->answer;
	}
	if (!collector->first_ms)
		collector->first_ms = now;
	else if (now - collector->newest_ms < collector->min_gap_ms)
		collector->min_gap_ms = now - collector->newest_ms;
	collector->newest_ms = now;
	return collector->answer;
}

static struct collector collector_new(void)
{
	struct collector collector = { .pages = calloc(PAGES_MAX, 1), .min_gap_ms = UINT64_MAX };

	assert_non_null(collector.pages);
	return collector;
}

/* @fd stays the caller's. */
static int run(const struct gm_job_order *order, int fd, struct collector *collector)
{
	const struct gm_work_sink sink = {
		.is_stopped = collector_is_stopped,
		.report = collector_report,
		.arg = collector,
	};
	int copy = gm_fd_dup(fd);

	assert_true(copy >= 0);
	assert_true(gm_job_order_is_valid(order, gm_job_order_size(order)));
	return gm_work_run(order, copy, gm_backend_find(order->kind), &sink);
}

static void allocates_and_reports_every_byte_once(void **state)
{
	uint64_t size = 5 * CHUNK + 3 * GM_PAGE_4K;
	struct collector collector = collector_new();
	struct gm_job_order order = order_of("memfd", GM_JOB_ALLOCATE, size, 3);
	int fd = memory_new(size);

	(void)state;
	assert_int_equal(run(&order, fd, &collector), 0);
	assert_int_equal(collector.error, 0);
	assert_int_equal(collector.bytes, size);
	assert_int_equal(collector.n_twice, 0);
	assert_int_equal(collector.n_last, 1);
	assert_int_equal(memory_allocated(fd), size);
	gm_fd_close(fd);
	free(collector.pages);
}

static void discards_only_what_is_asked_for(void **state)
{
	struct collector collector = collector_new();
	struct gm_job_order order = order_of("memfd", GM_JOB_ALLOCATE, 4 * CHUNK, 2);
	int fd = memory_new(4 * CHUNK);

	(void)state;
	assert_int_equal(run(&order, fd, &collector), 0);
	order.verb = GM_JOB_DISCARD;
	order.ranges[0] = (struct gm_job_range){ CHUNK, 2 * CHUNK };
	memset(collector.pages, 0, PAGES_MAX);
	collector.bytes = 0;
	assert_int_equal(run(&order, fd, &collector), 0);
	assert_int_equal(collector.bytes, 2 * CHUNK);
	assert_int_equal(memory_allocated(fd), 2 * CHUNK);
	gm_fd_close(fd);
	free(collector.pages);
}

static void a_short_job_sends_one_report(void **state)
{
	struct collector collector = collector_new();
	struct gm_job_order order = order_of("memfd", GM_JOB_ALLOCATE, 64 * GM_PAGE_4K, 1);
	int fd = memory_new(64 * GM_PAGE_4K);

	(void)state;
	assert_int_equal(run(&order, fd, &collector), 0);
	assert_int_equal(collector.n_reports, 1);
	gm_fd_close(fd);
	free(collector.pages);
}

static void chunks_that_touch_are_reported_as_one_part(void **state)
{
	struct collector collector = collector_new();
	/* Nothing is there: it is over before a report is due. */
	struct gm_job_order order = order_of("memfd", GM_JOB_DISCARD, 16 * CHUNK, 2);
	int fd = memory_new(16 * CHUNK);

	(void)state;
	assert_int_equal(run(&order, fd, &collector), 0);
	assert_int_equal(collector.bytes, 16 * CHUNK);
	assert_int_equal(collector.n_parts, 1);
	gm_fd_close(fd);
	free(collector.pages);
}

static void a_long_job_reports_at_most_every_50_ms(void **state)
{
	struct collector collector = collector_new();
	struct gm_job_order order = order_of("slow", GM_JOB_ALLOCATE, 30 * CHUNK, 2);
	int fd = memory_new(30 * CHUNK);
	uint64_t start = poll_loop_now();

	(void)state;
	assert_int_equal(run(&order, fd, &collector), 0);
	assert_int_equal(collector.bytes, 30 * CHUNK);
	assert_int_equal(collector.n_twice, 0);
	assert_true(collector.n_reports >= 3);
	assert_true(collector.first_ms - start >= GM_WORK_REPORT_INTERVAL_MS);
	/* Two clocks are read one after the other. */
	assert_true(collector.min_gap_ms >= GM_WORK_REPORT_INTERVAL_MS - 5);
	gm_fd_close(fd);
	free(collector.pages);
}

static void a_thousand_scattered_ranges_are_all_done_and_reported(void **state)
{
	struct collector collector = collector_new();
	struct gm_job_order order = order_of("memfd", GM_JOB_ALLOCATE, GM_PAGE_4K, 4);
	int fd = memory_new(2 * GM_JOB_RANGES_MAX * GM_PAGE_4K);

	(void)state;
	order.n_ranges = GM_JOB_RANGES_MAX;
	for (uint32_t i = 0; i < GM_JOB_RANGES_MAX; i++)
		order.ranges[i] = (struct gm_job_range){ 2 * i * GM_PAGE_4K, GM_PAGE_4K };
	assert_int_equal(run(&order, fd, &collector), 0);
	assert_int_equal(collector.bytes, GM_JOB_RANGES_MAX * GM_PAGE_4K);
	assert_int_equal(collector.n_twice, 0);
	assert_int_equal(memory_allocated(fd), GM_JOB_RANGES_MAX * GM_PAGE_4K);
	/* Batched: they do not come one by one. */
	assert_true(collector.n_reports <= 2 * GM_JOB_RANGES_MAX / GM_JOB_REPORT_RANGES_MAX);
	gm_fd_close(fd);
	free(collector.pages);
}

static void threads_share_the_chunks(void **state)
{
	struct collector collector = collector_new();
	struct gm_job_order order = order_of("slow", GM_JOB_ALLOCATE, 16 * CHUNK, 8);
	int fd = memory_new(16 * CHUNK);
	uint64_t start = poll_loop_now();

	(void)state;
	assert_int_equal(run(&order, fd, &collector), 0);
	/* 16 sleeps one after the other, or two rows of eight. */
	assert_true(poll_loop_now() - start < 16 * SLOW_CHUNK_MS / 2);
	/* The calling thread has its share of them, and asks once before that. */
	assert_in_range(collector.n_questions, 2, 8);
	gm_fd_close(fd);
	free(collector.pages);
}

static void a_failed_chunk_ends_the_job_and_is_not_reported(void **state)
{
	struct collector collector = collector_new();
	struct gm_job_order order = order_of("failing", GM_JOB_ALLOCATE, 8 * CHUNK, 2);
	int fd = memory_new(8 * CHUNK);

	(void)state;
	assert_int_equal(run(&order, fd, &collector), 0);
	assert_int_equal(collector.error, -ENOSPC);
	assert_int_equal(collector.n_last, 1);
	assert_true(collector.bytes <= FAILING_FROM);
	assert_int_equal(collector.bytes, memory_allocated(fd));
	gm_fd_close(fd);
	free(collector.pages);
}

static void a_stopped_job_reports_exactly_what_it_has_done(void **state)
{
	struct collector collector = collector_new();
	struct gm_job_order order = order_of("memfd", GM_JOB_ALLOCATE, 16 * CHUNK, 1);
	int fd = memory_new(16 * CHUNK);

	(void)state;
	collector.stop_after_questions = 4;
	assert_int_equal(run(&order, fd, &collector), 0);
	assert_int_equal(collector.error, -ECANCELED);
	/* The first question is asked before any thread starts. */
	assert_int_equal(collector.bytes, 3 * CHUNK);
	assert_int_equal(memory_allocated(fd), 3 * CHUNK);
	gm_fd_close(fd);
	free(collector.pages);
}

static void a_stop_that_is_there_before_the_start_does_nothing(void **state)
{
	struct collector collector = collector_new();
	struct gm_job_order order = order_of("memfd", GM_JOB_ALLOCATE, 4 * CHUNK, 4);
	int fd = memory_new(4 * CHUNK);

	(void)state;
	collector.stop_after_questions = 1;
	collector.n_questions = 1;
	assert_int_equal(run(&order, fd, &collector), 0);
	assert_int_equal(collector.error, -ECANCELED);
	assert_int_equal(memory_allocated(fd), 0);
	gm_fd_close(fd);
	free(collector.pages);
}

static void a_stop_after_the_last_chunk_is_no_cancellation(void **state)
{
	struct collector collector = collector_new();
	struct gm_job_order order = order_of("memfd", GM_JOB_ALLOCATE, 4 * CHUNK, 1);
	int fd = memory_new(4 * CHUNK);

	(void)state;
	/* One question at the start and one before each chunk; the next finds nothing to stop. */
	collector.stop_after_questions = 5;
	assert_int_equal(run(&order, fd, &collector), 0);
	assert_int_equal(collector.error, 0);
	assert_int_equal(collector.bytes, 4 * CHUNK);
	gm_fd_close(fd);
	free(collector.pages);
}

static void a_job_that_nobody_listens_to_stops(void **state)
{
	struct collector collector = collector_new();
	struct gm_job_order order = order_of("slow", GM_JOB_ALLOCATE, 60 * CHUNK, 2);
	int fd = memory_new(60 * CHUNK);

	(void)state;
	collector.answer = -EPIPE;
	assert_int_equal(run(&order, fd, &collector), -EPIPE);
	assert_int_equal(collector.n_reports, 1);
	assert_true(memory_allocated(fd) < 30 * GM_PAGE_4K);
	gm_fd_close(fd);
	free(collector.pages);
}

static void hugepages_are_worked_on_in_whole_pages(void **state)
{
	struct collector collector = collector_new();
	struct gm_job_order order = order_of("slow", GM_JOB_ALLOCATE, GM_PAGE_1G, 1);
	int fd = memory_new(GM_PAGE_1G);

	(void)state;
	order.page_size = GM_PAGE_1G;
	assert_int_equal(run(&order, fd, &collector), 0);
	assert_int_equal(collector.bytes, GM_PAGE_1G);
	/* "slow" touches one small page a chunk: there was one chunk. */
	assert_int_equal(memory_allocated(fd), GM_PAGE_4K);
	gm_fd_close(fd);
	free(collector.pages);
}

static void memory_is_bound_to_the_nodes_asked_for(void **state)
{
	struct collector collector = collector_new();
	struct gm_job_order order = order_of("memfd", GM_JOB_ALLOCATE, 2 * CHUNK, 2);
	int fd = memory_new(2 * CHUNK);

	(void)state;
	order.numa_nodes = 1;
	assert_int_equal(run(&order, fd, &collector), 0);
	assert_int_equal(collector.error, 0);
	order.numa_nodes = UINT64_C(1) << 63;
	assert_int_equal(run(&order, fd, &collector), 0);
	/* This host has no node 63. */
	assert_int_equal(collector.error, -EINVAL);
	gm_fd_close(fd);
	free(collector.pages);
}

static void an_order_that_makes_no_sense_is_invalid(void **state)
{
	struct gm_job_order order = order_of("memfd", GM_JOB_ALLOCATE, GM_PAGE_4K, 1);
	struct gm_job_order bad;
	size_t size = gm_job_order_size(&order);

	(void)state;
	assert_true(gm_job_order_is_valid(&order, size));
	assert_false(gm_job_order_is_valid(&order, size - 1));
	assert_false(gm_job_order_is_valid(&order, size + 1));
	assert_false(gm_job_order_is_valid(&order, 0));
#define INVALID_WITH(change)                                                        \
	do {                                                                        \
		bad = order;                                                        \
		change;                                                             \
		assert_false(gm_job_order_is_valid(&bad, gm_job_order_size(&bad))); \
	} while (0)
	INVALID_WITH(bad.n_ranges = 0);
	INVALID_WITH(bad.n_ranges = GM_JOB_RANGES_MAX + 1);
	INVALID_WITH(bad.n_threads = 0);
	INVALID_WITH(bad.n_threads = GM_JOB_THREADS_MAX + 1);
	INVALID_WITH(bad.verb = GM_JOB_VERB_N_);
	INVALID_WITH(bad.page_size = 0);
	INVALID_WITH(bad.page_size = 3 * GM_PAGE_4K);
	INVALID_WITH(bad.ranges[0].length = 0);
	INVALID_WITH(bad.ranges[0].offset = 1);
	INVALID_WITH(bad.ranges[0].offset = UINT64_MAX - GM_PAGE_4K + 1);
	INVALID_WITH(bad.ranges[0].offset = INT64_MAX - GM_PAGE_4K + 1);
	INVALID_WITH(memset(bad.kind, 'x', sizeof(bad.kind)));
#undef INVALID_WITH
}

/* The worker's main function, in a thread of the test. */

struct hired {
	pthread_t thread;
	int channel;
	int theirs;
	int status;
};

static void *hired_main(void *arg)
{
	struct hired *hired = arg;

	hired->status = gm_worker_main(hired->theirs);
	gm_fd_close(hired->theirs);
	return NULL;
}

static void hire(struct hired *hired)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	hired->channel = pair[0];
	hired->theirs = pair[1];
	assert_int_equal(pthread_create(&hired->thread, NULL, hired_main, hired), 0);
}

static int dismiss(struct hired *hired)
{
	gm_fd_close(hired->channel);
	assert_int_equal(pthread_join(hired->thread, NULL), 0);
	return hired->status;
}

static void give(const struct hired *hired, const struct gm_job_order *order, int fd)
{
	assert_int_equal(gm_channel_send(hired->channel, order, gm_job_order_size(order), fd, 0),
			 0);
}

/* Reads the rest of a job; returns its error, and its bytes. */
static int await(const struct hired *hired, uint64_t *ret_bytes)
{
	struct gm_job_report report;
	ssize_t n;

	*ret_bytes = 0;
	do {
		n = gm_channel_recv(hired->channel, &report, sizeof(report), NULL, 0);
		assert_true(n > 0 && gm_job_report_is_valid(&report, (size_t)n));
		for (uint32_t i = 0; i < report.n_done; i++)
			*ret_bytes += report.done[i].length;
	} while (!report.last);
	return report.error;
}

static void a_worker_does_orders_until_its_channel_closes(void **state)
{
	struct gm_job_order order = order_of("memfd", GM_JOB_ALLOCATE, 2 * CHUNK, 2);
	int fd = memory_new(2 * CHUNK);
	struct hired hired;
	uint64_t bytes;

	(void)state;
	hire(&hired);
	give(&hired, &order, fd);
	assert_int_equal(await(&hired, &bytes), 0);
	assert_int_equal(bytes, 2 * CHUNK);
	order.verb = GM_JOB_DISCARD;
	give(&hired, &order, fd);
	assert_int_equal(await(&hired, &bytes), 0);
	assert_int_equal(memory_allocated(fd), 0);
	assert_int_equal(dismiss(&hired), 0);
	gm_fd_close(fd);
}

static void a_stop_ends_the_job_that_it_names_and_no_other(void **state)
{
	struct gm_job_order order = order_of("slow", GM_JOB_ALLOCATE, 20 * CHUNK, 1);
	struct gm_job_stop stop = { .job = order.job - 1 };
	int fd = memory_new(20 * CHUNK);
	struct hired hired;
	uint64_t bytes;

	(void)state;
	hire(&hired);
	/* One that comes too late for its job, before and inside the next. */
	assert_int_equal(gm_channel_send(hired.channel, &stop, sizeof(stop), -1, 0), 0);
	give(&hired, &order, fd);
	assert_int_equal(gm_channel_send(hired.channel, &stop, sizeof(stop), -1, 0), 0);
	usleep(4 * SLOW_CHUNK_MS * 1000);
	stop.job = order.job;
	assert_int_equal(gm_channel_send(hired.channel, &stop, sizeof(stop), -1, 0), 0);
	assert_int_equal(await(&hired, &bytes), -ECANCELED);
	assert_in_range(bytes, CHUNK, 19 * CHUNK);
	assert_int_equal(memory_allocated(fd), bytes / CHUNK * GM_PAGE_4K);
	assert_int_equal(dismiss(&hired), 0);
	gm_fd_close(fd);
}

static void a_worker_whose_channel_closes_stops_within_a_chunk(void **state)
{
	struct gm_job_order order = order_of("slow", GM_JOB_ALLOCATE, 60 * CHUNK, 2);
	int fd = memory_new(60 * CHUNK);
	struct hired hired;
	uint64_t start;

	(void)state;
	hire(&hired);
	give(&hired, &order, fd);
	usleep(2 * SLOW_CHUNK_MS * 1000);
	start = poll_loop_now();
	assert_int_equal(dismiss(&hired), 0);
	assert_true(poll_loop_now() - start < 5 * SLOW_CHUNK_MS);
	gm_fd_close(fd);
}

static void nonsense_is_refused_and_the_worker_lives_on(void **state)
{
	struct gm_job_order order = order_of("memfd", GM_JOB_ALLOCATE, CHUNK, 1);
	struct gm_job_order bad = order_of("no-such-kind", GM_JOB_ALLOCATE, CHUNK, 1);
	int fd = memory_new(CHUNK);
	struct hired hired;
	uint64_t bytes;

	(void)state;
	hire(&hired);
	give(&hired, &bad, fd);
	assert_int_equal(await(&hired, &bytes), -EOPNOTSUPP);
	bad = order;
	bad.page_size = 1;
	give(&hired, &bad, fd);
	assert_int_equal(await(&hired, &bytes), -EINVAL);
	/* Without its fd. */
	give(&hired, &order, -1);
	assert_int_equal(await(&hired, &bytes), -EINVAL);
	give(&hired, &order, fd);
	assert_int_equal(await(&hired, &bytes), 0);
	assert_int_equal(dismiss(&hired), 0);
	gm_fd_close(fd);
}

static void what_a_peer_sent_before_it_died_is_read(void **state)
{
	char packet[8];
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(gm_channel_send(pair[1], "last", 4, -1, 0), 0);
	/* Unread when the other end closes, which this end learns as ECONNRESET, and first. */
	assert_int_equal(gm_channel_send(pair[0], "stop", 4, -1, 0), 0);
	gm_fd_close(pair[1]);
	assert_int_equal(gm_channel_recv(pair[0], packet, sizeof(packet), NULL, 0), 4);
	assert_memory_equal(packet, "last", 4);
	assert_int_equal(gm_channel_recv(pair[0], packet, sizeof(packet), NULL, 0), 0);
	gm_fd_close(pair[0]);
}

static void a_packet_that_does_not_fit_loses_its_fds(void **state)
{
	char packet[8];
	int fd = memory_new(GM_PAGE_4K);
	int received = -1;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(gm_channel_send(pair[1], "123456789", 9, fd, 0), 0);
	assert_int_equal(gm_channel_recv(pair[0], packet, sizeof(packet), &received, 0), -EBADMSG);
	assert_int_equal(received, -1);
	/* Where no fd is wanted, none comes in. */
	assert_int_equal(gm_channel_send(pair[1], "1", 1, fd, 0), 0);
	assert_int_equal(gm_channel_recv(pair[0], packet, sizeof(packet), NULL, 0), 1);
	gm_fd_close(pair[0]);
	gm_fd_close(pair[1]);
	gm_fd_close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(allocates_and_reports_every_byte_once),
		gm_test(discards_only_what_is_asked_for),
		gm_test(a_short_job_sends_one_report),
		gm_test(chunks_that_touch_are_reported_as_one_part),
		gm_test(a_long_job_reports_at_most_every_50_ms),
		gm_test(a_thousand_scattered_ranges_are_all_done_and_reported),
		gm_test(threads_share_the_chunks),
		gm_test(a_failed_chunk_ends_the_job_and_is_not_reported),
		gm_test(a_stopped_job_reports_exactly_what_it_has_done),
		gm_test(a_stop_that_is_there_before_the_start_does_nothing),
		gm_test(a_stop_after_the_last_chunk_is_no_cancellation),
		gm_test(a_job_that_nobody_listens_to_stops),
		gm_test(hugepages_are_worked_on_in_whole_pages),
		gm_test(memory_is_bound_to_the_nodes_asked_for),
		gm_test(an_order_that_makes_no_sense_is_invalid),
		gm_test(a_worker_does_orders_until_its_channel_closes),
		gm_test(a_stop_ends_the_job_that_it_names_and_no_other),
		gm_test(a_worker_whose_channel_closes_stops_within_a_chunk),
		gm_test(nonsense_is_refused_and_the_worker_lives_on),
		gm_test(what_a_peer_sent_before_it_died_is_read),
		gm_test(a_packet_that_does_not_fit_loses_its_fds),
	};

	return gm_test_run("worker", tests, GM_ARRAY_SIZE(tests));
}
