/* SPDX-License-Identifier: Apache-2.0 */
#include "digest.h"

#include <errno.h>
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

/* A refusal here is gmemd's mistake: it has asked before. */
static int put(const struct gm_job_order *order, const uint8_t *bytes, uint64_t at, uint64_t length,
	       uint8_t state[GM_JOB_DIGEST_SIZE])
{
	const struct gm_launch_put put = {
		.type = (enum gm_populate_type)order->digest.type,
		.gpa = order->digest.gpa + at,
		.length = length,
		.bytes = bytes ? bytes + at : NULL,
		.n_threads = order->n_threads,
	};
	int r = gm_launch_put(state, &put, NULL);

	return r > 0 ? -EINVAL : r;
}

static int run(const struct gm_job_order *order, int fd, const struct gm_work_sink *sink,
	       uint8_t state[GM_JOB_DIGEST_SIZE])
{
	_gm_cleanup_(mapping_cleanup) struct mapping source = { 0 };
	uint64_t left = order->ranges[0].length;
	uint64_t at = 0;
	int r;

	r = map_source(order, fd, &source);
	while (r == 0 && left > 0) {
		uint64_t length = gm_min_u64(left, PIECE);

		if (sink->is_stopped(sink->arg))
			return -ECANCELED;
		r = put(order, source.at, at, length, state);
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
