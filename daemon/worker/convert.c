/* SPDX-License-Identifier: Apache-2.0 */
#include "convert.h"

#include <errno.h>
#include <time.h>

#include "gm_fd.h"

/* As work.c: a stop is seen within milliseconds. */
#define PIECE (UINT64_C(16) * GM_MIB)

const struct gm_convert_pace gm_convert_pace = {
	.first_ms = 1,
	.most_ms = 100,
	.patience_ms = 5000,
};

struct convert {
	int fd;
	bool to_private;
	const struct gm_backend *backend;
	const struct gm_work_sink *sink;
	const struct gm_convert_pace *pace;
	uint32_t wait_ms;     /* the next one */
	uint32_t patience_ms; /* what is left */
	int report_error;
	struct gm_job_report pending;
};

static int flush(struct convert *convert)
{
	int r = convert->sink->report(convert->sink->arg, &convert->pending);

	convert->pending.n_done = 0;
	/* Nobody listens any more. */
	convert->report_error = r;
	return r;
}

static int finished(struct convert *convert, uint64_t offset, uint64_t length)
{
	struct gm_job_report *pending = &convert->pending;

	convert->wait_ms = convert->pace->first_ms;
	pending->done[pending->n_done++] = (struct gm_job_range){ offset, length };
	return pending->n_done == GM_JOB_REPORT_RANGES_MAX ? flush(convert) : 0;
}

static void sleep_ms(uint32_t ms)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		continue;
}

/* For whoever holds the page at @offset. */
static int wait_for(struct convert *convert, uint64_t offset)
{
	uint32_t ms = (uint32_t)gm_min_u64(convert->wait_ms, convert->patience_ms);

	if (ms == 0) {
		convert->pending.held_at = offset;
		return -EAGAIN;
	}
	/* What was converted so far is to be known meanwhile. */
	if (convert->pending.n_done > 0 && flush(convert) != 0)
		return -EPIPE;
	sleep_ms(ms);
	convert->patience_ms -= ms;
	convert->wait_ms = (uint32_t)gm_min_u64(2 * (uint64_t)ms, convert->pace->most_ms);
	return 0;
}

/*
 * One piece. The kernel looks at all pages of a range before it changes the first, and a later one
 * may do otherwise: what is before the page that is held is asked for again as a range of its own,
 * and nothing is taken for converted that was not answered with success.
 */
static int convert_piece(struct convert *convert, uint64_t offset, uint64_t end)
{
	uint64_t until = end;

	while (offset < end) {
		uint64_t held = offset;
		int r;

		if (convert->sink->is_stopped(convert->sink->arg))
			return -ECANCELED;
		r = convert->backend->convert(convert->fd, offset, until - offset,
					      convert->to_private, &held);
		if (r == 0) {
			r = finished(convert, offset, until - offset);
			offset = until;
			until = end;
		} else if (r == -EAGAIN && held > offset) {
			until = held;
			r = 0;
		} else if (r == -EAGAIN) {
			until = end;
			r = wait_for(convert, offset);
		}
		if (r != 0)
			return r;
	}
	return 0;
}

static int convert_all(struct convert *convert, const struct gm_job_order *order)
{
	int r = 0;

	if (!convert->backend->convert)
		return -EOPNOTSUPP;
	for (uint32_t i = 0; i < order->n_ranges && r == 0; i++) {
		uint64_t at = order->ranges[i].offset;
		uint64_t end = at + order->ranges[i].length;

		while (at < end && r == 0) {
			uint64_t length = gm_min_u64(end - at, PIECE);

			r = convert_piece(convert, at, at + length);
			at += length;
		}
	}
	return r;
}

int gm_convert_run(const struct gm_job_order *order, int fd, const struct gm_backend *backend,
		   const struct gm_convert_pace *pace, const struct gm_work_sink *sink)
{
	struct convert convert = {
		.fd = fd,
		.to_private = order->verb == GM_JOB_MAKE_PRIVATE,
		.backend = backend,
		.sink = sink,
		.pace = pace,
		.wait_ms = pace->first_ms,
		.patience_ms = pace->patience_ms,
		.pending = { .job = order->job },
	};
	int error = convert_all(&convert, order);

	gm_fd_close(fd);
	if (convert.report_error)
		return convert.report_error;
	convert.pending.error = error;
	convert.pending.last = true;
	return flush(&convert);
}
