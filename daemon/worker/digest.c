/* SPDX-License-Identifier: Apache-2.0 */
#include "digest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "gm_cleanup.h"
#include "launch_rules.h"

/* Some 20 ms of hashing on two cores: a stop is seen by then, and threads are made seldom. */
#define PIECE (UINT64_C(32) * GM_MIB)

struct mapping {
	void *at;
	uint64_t length;
};

static void mapping_cleanup(struct mapping *mapping)
{
	if (mapping->at)
		(void)munmap(mapping->at, mapping->length);
}

static int map_source(const struct gm_job_order *order, int fd, struct mapping *ret_mapping)
{
	const struct gm_job_range *range = &order->ranges[0];
	void *at;

	if (!order->digest.has_source)
		return 0;
	at = mmap(NULL, range->length, PROT_READ, MAP_SHARED, fd, (off_t)range->offset);
	if (at == MAP_FAILED)
		return -errno;
	*ret_mapping = (struct mapping){ at, range->length };
	return 0;
}

struct digesting {
	const struct gm_job_order *order;
	const struct gm_work_sink *sink;
	const uint8_t *bytes; /* NULL: no source */
	uint64_t *tags;	      /* of one piece; NULL: nobody wants them */
	uint64_t n_told;
	uint8_t *state;
};

static int tell_tags(struct digesting *digesting, size_t n)
{
	struct gm_job_report report = { .job = digesting->order->job };
	int r = 0;

	for (size_t at = 0; at < n && r == 0; at += report.n_tags) {
		report.n_tags = (uint32_t)gm_min_u64(n - at, GM_JOB_REPORT_TAGS_MAX);
		memcpy(report.digest, &digesting->tags[at], report.n_tags * sizeof(uint64_t));
		r = digesting->sink->report(digesting->sink->arg, &report);
	}
	digesting->n_told += n;
	return r;
}

static bool has_contents(const struct gm_job_order *order)
{
	return order->digest.type == GM_POPULATE_NORMAL || order->digest.type == GM_POPULATE_VCPU;
}

/* A refusal here is gmemd's mistake: it has asked before. */
static int put(struct digesting *digesting, uint64_t at, uint64_t length)
{
	const struct gm_job_order *order = digesting->order;
	uint64_t left = order->digest.max_tags - digesting->n_told;
	const struct gm_launch_put put = {
		.type = (enum gm_populate_type)order->digest.type,
		.gpa = order->digest.gpa + at,
		.length = length,
		.bytes = digesting->bytes ? digesting->bytes + at : NULL,
		.n_threads = order->n_threads,
		.ret_tags = digesting->tags,
		.max_tags = gm_min_u64(left, length / GM_PAGE_4K),
	};
	int r = gm_launch_put(digesting->state, &put, NULL);

	if (r == 0 && digesting->tags)
		r = tell_tags(digesting, put.max_tags);
	return r > 0 ? -EINVAL : r;
}

static int run(const struct gm_job_order *order, int fd, const struct gm_work_sink *sink,
	       uint8_t state[GM_JOB_DIGEST_SIZE])
{
	_gm_cleanup_(mapping_cleanup) struct mapping source = { 0 };
	_gm_free_ uint64_t *tags = NULL;
	struct digesting digesting = { .order = order, .sink = sink, .state = state };
	uint64_t left = order->ranges[0].length;
	uint64_t at = 0;
	int r;

	r = map_source(order, fd, &source);
	digesting.bytes = source.at;
	if (r == 0 && order->digest.max_tags > 0 && has_contents(order) && source.at) {
		tags = calloc(PIECE / GM_PAGE_4K, sizeof(*tags));
		r = tags ? 0 : -ENOMEM;
		digesting.tags = tags;
	}
	while (r == 0 && left > 0) {
		uint64_t length = gm_min_u64(left, PIECE);

		if (sink->is_stopped(sink->arg))
			return -ECANCELED;
		r = put(&digesting, at, length);
		at += length;
		left -= length;
	}
	return r;
}

int gm_digest_run(const struct gm_job_order *order, int fd, const struct gm_work_sink *sink)
{
	struct gm_job_report report = { .job = order->job, .last = true };

	memcpy(report.digest, order->digest.state, sizeof(report.digest));
	report.error = run(order, fd, sink, report.digest);
	if (report.error == 0) {
		report.n_done = 1;
		report.done[0] = order->ranges[0];
	}
	gm_fd_close(fd);
	return sink->report(sink->arg, &report);
}
