/* SPDX-License-Identifier: Apache-2.0 */
#include "job.h"

#include <assert.h>
#include <string.h>

#include "launch_rules.h"

static_assert(GM_JOB_DIGEST_SIZE == GM_LAUNCH_BLOB_SIZE, "the blob rides with the order");

#define ORDER_HEADER_SIZE offsetof(struct gm_job_order, ranges)
#define REPORT_HEADER_SIZE offsetof(struct gm_job_report, done)

size_t gm_job_order_size(const struct gm_job_order *order)
{
	return ORDER_HEADER_SIZE + order->n_ranges * sizeof(order->ranges[0]);
}

static bool range_is_valid(const struct gm_job_range *range, uint64_t page_size)
{
	uint64_t end;

	if (range->length == 0 || gm_add_overflows(range->offset, range->length, &end))
		return false;
	return end <= INT64_MAX && gm_is_aligned(range->offset, page_size) &&
	       gm_is_aligned(range->length, page_size);
}

/* A digest is of pages that lie side by side in the guest. */
static bool digest_is_valid(const struct gm_job_order *order)
{
	uint64_t end;

	return order->n_ranges == 1 && order->digest.type > GM_POPULATE_NONE &&
	       order->digest.type < GM_POPULATE_N_ &&
	       !gm_add_overflows(order->digest.gpa, order->ranges[0].length, &end);
}

bool gm_job_order_is_valid(const struct gm_job_order *order, size_t size)
{
	if (size < ORDER_HEADER_SIZE || order->n_ranges > GM_JOB_RANGES_MAX ||
	    size != gm_job_order_size(order))
		return false;
	if ((order->n_ranges == 0) != (order->verb == GM_JOB_RECEIVE))
		return false;
	if (order->verb >= GM_JOB_VERB_N_ || order->n_threads == 0 ||
	    order->n_threads > GM_JOB_THREADS_MAX)
		return false;
	if (!gm_is_power_of_two(order->page_size) || order->page_size < GM_PAGE_4K)
		return false;
	if (order->verb == GM_JOB_DIGEST && !digest_is_valid(order))
		return false;
	if (order->verb == GM_JOB_LAUNCH && order->n_ranges != 1)
		return false;
	if (!memchr(order->kind, '\0', sizeof(order->kind)))
		return false;
	for (uint32_t i = 0; i < order->n_ranges; i++)
		if (!range_is_valid(&order->ranges[i], order->page_size))
			return false;
	return true;
}

size_t gm_job_report_size(const struct gm_job_report *report)
{
	return REPORT_HEADER_SIZE + report->n_done * sizeof(report->done[0]);
}

bool gm_job_report_is_valid(const struct gm_job_report *report, size_t size)
{
	return size >= REPORT_HEADER_SIZE && report->n_done <= GM_JOB_REPORT_RANGES_MAX &&
	       report->n_tags <= (report->last ? 0 : GM_JOB_REPORT_TAGS_MAX) &&
	       size == gm_job_report_size(report);
}
