/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's digests: the same as without a worker, in whatever pieces they were taken. */
#include "gm_test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "digest.h"
#include "gm_launch_digest.h"
#include "launch_rules.h"

#define LENGTH (UINT64_C(64) * GM_MIB + GM_PAGE_4K)
#define GPA (UINT64_C(1) << 32)

struct sink {
	unsigned n_questions;
	unsigned stop_at;	     /* 0: never */
	struct gm_job_report report; /* the last */
	unsigned n_reports;
	uint64_t n_tags;
	uint64_t tags[GM_MIB / GM_PAGE_4K + 1];
};

static bool is_stopped(void *arg)
{
	struct sink *sink = arg;

	return ++sink->n_questions == sink->stop_at;
}

static int take_report(void *arg, const struct gm_job_report *report)
{
	struct sink *sink = arg;

	assert_true(gm_job_report_is_valid(report, gm_job_report_size(report)));
	assert_true(sink->n_tags + report->n_tags <= GM_ARRAY_SIZE(sink->tags));
	memcpy(&sink->tags[sink->n_tags], report->digest, report->n_tags * sizeof(uint64_t));
	sink->n_tags += report->n_tags;
	sink->report = *report;
	sink->n_reports += report->n_tags == 0;
	return 0;
}

static int new_source(void)
{
	int fd = memfd_create("source", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint64_t page[GM_PAGE_4K / 8];

	assert_true(fd >= 0);
	for (uint64_t at = 0; at < LENGTH; at += GM_PAGE_4K) {
		for (size_t i = 0; i < GM_ARRAY_SIZE(page); i++)
			page[i] = at + i;
		assert_int_equal(write(fd, page, sizeof(page)), sizeof(page));
	}
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
	return fd;
}

static void begin(enum gm_launch_kind kind, uint8_t blob[GM_LAUNCH_BLOB_SIZE])
{
	struct gm_launch_digest digest;

	assert_int_equal(
		gm_launch_digest_start(&digest, &(struct gm_launch_start){ .kind = kind }, NULL),
		0);
	gm_launch_digest_save(&digest, blob);
}

static struct gm_job_order order_of(enum gm_launch_kind kind, enum gm_populate_type type,
				    uint64_t offset, uint64_t length)
{
	struct gm_job_order order = {
		.job = 5,
		.verb = GM_JOB_DIGEST,
		.n_threads = 2,
		.n_ranges = 1,
		.kind = "memfd",
		.page_size = GM_PAGE_4K,
		.digest = { .type = type, .has_source = 1, .gpa = GPA },
		.ranges = { { offset, length } },
	};

	begin(kind, order.digest.state);
	return order;
}

/* What gmemd would have, if it read the file itself. */
static void expect(const struct gm_job_order *order, int fd, uint8_t ret_blob[GM_LAUNCH_BLOB_SIZE])
{
	const struct gm_job_range *range = &order->ranges[0];
	void *at = mmap(NULL, range->length, PROT_READ, MAP_SHARED, fd, (off_t)range->offset);

	assert_true(at != MAP_FAILED);
	memcpy(ret_blob, order->digest.state, GM_LAUNCH_BLOB_SIZE);
	assert_int_equal(gm_launch_put(ret_blob,
				       &(struct gm_launch_put){
					       .type = (enum gm_populate_type)order->digest.type,
					       .gpa = order->digest.gpa,
					       .length = range->length,
					       .bytes = at,
					       .n_threads = 1 },
				       NULL),
			 0);
	assert_int_equal(munmap(at, range->length), 0);
}

static void run(const struct gm_job_order *order, int fd, struct sink *sink)
{
	const struct gm_work_sink ops = { is_stopped, take_report, sink };

	assert_true(gm_job_order_is_valid(order, gm_job_order_size(order)));
	assert_int_equal(gm_digest_run(order, dup(fd), &ops), 0);
	assert_int_equal(sink->n_reports, 1);
	assert_true(sink->report.last);
	assert_true(gm_job_report_is_valid(&sink->report, gm_job_report_size(&sink->report)));
}

static void assert_same_digest(const uint8_t a[GM_LAUNCH_BLOB_SIZE],
			       const uint8_t b[GM_LAUNCH_BLOB_SIZE])
{
	uint8_t one[GM_LAUNCH_DIGEST_MAX], other[GM_LAUNCH_DIGEST_MAX];
	size_t size, other_size;

	assert_int_equal(gm_launch_peek(a, one, &size, NULL), 0);
	assert_int_equal(gm_launch_peek(b, other, &other_size, NULL), 0);
	assert_int_equal(size, other_size);
	assert_memory_equal(one, other, size);
}

static void a_digest_taken_in_pieces_is_that_of_the_whole(void **state)
{
	static const enum gm_launch_kind kinds[] = { GM_LAUNCH_SNP, GM_LAUNCH_TDX };
	int fd = new_source();

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(kinds); i++) {
		struct gm_job_order order =
			order_of(kinds[i], GM_POPULATE_NORMAL, GM_PAGE_4K, LENGTH - GM_PAGE_4K);
		uint8_t blob[GM_LAUNCH_BLOB_SIZE];
		struct sink sink = { 0 };

		expect(&order, fd, blob);
		run(&order, fd, &sink);
		assert_int_equal(sink.report.error, 0);
		assert_int_equal(sink.report.n_done, 1);
		assert_int_equal(sink.report.done[0].length, LENGTH - GM_PAGE_4K);
		assert_same_digest(sink.report.digest, blob);
	}
	close(fd);
}

static void what_is_not_measured_is_not_read_but_its_address_counts(void **state)
{
	struct gm_job_order order = order_of(GM_LAUNCH_SNP, GM_POPULATE_ZERO, 0, GM_MIB);
	struct sink first = { 0 }, second = { 0 };
	int fd = memfd_create("empty", MFD_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	order.digest.has_source = 0;
	run(&order, fd, &first);
	assert_int_equal(first.report.error, 0);
	order.digest.gpa += GM_PAGE_4K;
	run(&order, fd, &second);
	assert_memory_not_equal(first.report.digest, second.report.digest, GM_LAUNCH_BLOB_SIZE);
	close(fd);
}

static void each_page_of_registers_is_put_in_at_the_one_address_of_the_platform(void **state)
{
	struct gm_job_order order = order_of(GM_LAUNCH_SNP, GM_POPULATE_VCPU, 0, 2 * GM_PAGE_4K);
	uint8_t blob[GM_LAUNCH_BLOB_SIZE];
	struct sink sink = { 0 };
	int fd = new_source();

	(void)state;
	run(&order, fd, &sink);
	memcpy(blob, order.digest.state, sizeof(blob));
	for (unsigned i = 0; i < 2; i++) {
		struct gm_job_order one = order;

		one.ranges[0] = (struct gm_job_range){ i * GM_PAGE_4K, GM_PAGE_4K };
		one.digest.gpa = 0;
		memcpy(one.digest.state, blob, sizeof(blob));
		expect(&one, fd, blob);
	}
	assert_same_digest(sink.report.digest, blob);
	close(fd);
}

static uint64_t tag_of(int fd, uint64_t offset)
{
	uint8_t page[GM_PAGE_4K], digest[GM_SHA384_SIZE];

	assert_int_equal(pread(fd, page, sizeof(page), (off_t)offset), sizeof(page));
	gm_hash_bytes(GM_HASH_SHA384, page, sizeof(page), digest);
	return gm_launch_tag(digest);
}

static void tags_of_pages_are_told_in_order_and_no_more_than_are_wanted(void **state)
{
	static const struct {
		enum gm_launch_kind kind;
		enum gm_populate_type type;
		uint64_t wanted, told;
	} cases[] = {
		{ GM_LAUNCH_SNP, GM_POPULATE_NORMAL, 256, 256 },
		{ GM_LAUNCH_SNP, GM_POPULATE_NORMAL, 100, 100 },
		{ GM_LAUNCH_TDX, GM_POPULATE_NORMAL, 256, 256 },
		{ GM_LAUNCH_TDX, GM_POPULATE_NORMAL, 3, 3 },
		{ GM_LAUNCH_SNP, GM_POPULATE_VCPU, 256, 256 },
		{ GM_LAUNCH_SNP, GM_POPULATE_UNMEASURED, 256, 0 },
		{ GM_LAUNCH_SNP, GM_POPULATE_NORMAL, 0, 0 },
	};
	int fd = new_source();

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(cases); i++) {
		struct gm_job_order order =
			order_of(cases[i].kind, cases[i].type, GM_PAGE_4K, GM_MIB);
		uint8_t blob[GM_LAUNCH_BLOB_SIZE];
		struct sink sink = { 0 };

		expect(&order, fd, blob);
		order.digest.max_tags = cases[i].wanted;
		run(&order, fd, &sink);
		assert_same_digest(sink.report.digest, blob);
		assert_int_equal(sink.n_tags, cases[i].told);
		for (uint64_t page = 0; page < sink.n_tags; page++)
			assert_int_equal(sink.tags[page], tag_of(fd, (page + 1) * GM_PAGE_4K));
	}
	close(fd);
}

static void a_stopped_job_says_so_and_has_done_nothing(void **state)
{
	struct gm_job_order order = order_of(GM_LAUNCH_SNP, GM_POPULATE_NORMAL, 0, LENGTH);
	struct sink sink = { .stop_at = 2 };
	int fd = new_source();

	(void)state;
	run(&order, fd, &sink);
	assert_int_equal(sink.report.error, -ECANCELED);
	assert_int_equal(sink.report.n_done, 0);
	close(fd);
}

static void a_state_that_is_none_fails_the_job(void **state)
{
	struct gm_job_order order = order_of(GM_LAUNCH_SNP, GM_POPULATE_NORMAL, 0, GM_PAGE_4K);
	struct sink sink = { 0 };
	int fd = new_source();

	(void)state;
	memset(order.digest.state, 0xff, sizeof(order.digest.state));
	run(&order, fd, &sink);
	assert_int_equal(sink.report.error, -EBADMSG);
	close(fd);
}

static void an_order_of_two_ranges_or_of_no_type_is_no_order(void **state)
{
	struct gm_job_order order = order_of(GM_LAUNCH_SNP, GM_POPULATE_NORMAL, 0, GM_PAGE_4K);

	(void)state;
	order.digest.type = GM_POPULATE_NONE;
	assert_false(gm_job_order_is_valid(&order, gm_job_order_size(&order)));
	order.digest.type = GM_POPULATE_N_;
	assert_false(gm_job_order_is_valid(&order, gm_job_order_size(&order)));
	order.digest.type = GM_POPULATE_NORMAL;
	order.digest.gpa = UINT64_MAX;
	assert_false(gm_job_order_is_valid(&order, gm_job_order_size(&order)));
	order.digest.gpa = 0;
	order.n_ranges = 2;
	order.ranges[1] = (struct gm_job_range){ GM_MIB, GM_PAGE_4K };
	assert_false(gm_job_order_is_valid(&order, gm_job_order_size(&order)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_digest_taken_in_pieces_is_that_of_the_whole),
		gm_test(what_is_not_measured_is_not_read_but_its_address_counts),
		gm_test(each_page_of_registers_is_put_in_at_the_one_address_of_the_platform),
		gm_test(tags_of_pages_are_told_in_order_and_no_more_than_are_wanted),
		gm_test(a_stopped_job_says_so_and_has_done_nothing),
		gm_test(a_state_that_is_none_fails_the_job),
		gm_test(an_order_of_two_ranges_or_of_no_type_is_no_order),
	};

	return gm_test_run("worker_digest", tests, GM_ARRAY_SIZE(tests));
}
