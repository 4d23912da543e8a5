/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One population: the daemon hashes and orders, the kind's steps put the pages in, and what went in
 * is reported.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "gm_cleanup.h"
#include "gm_verdict.h"
#include "remote.h"

static_assert((int)GMEM_PAGE_TYPE_NORMAL == (int)GM_STEP_PAGE_NORMAL &&
		      (int)GMEM_PAGE_TYPE_CPUID == (int)GM_STEP_PAGE_CPUID &&
		      (int)GMEM_PAGE_TYPE_CPUID == (int)GMEM__PAGE_TYPE__PAGE_TYPE_CPUID,
	      "page types have one set of numbers");

/* A private mapping of what goes in. */
struct view {
	void *bytes; /* NULL: nothing does */
	size_t size;
};

static void end_view(struct view *view)
{
	if (view->bytes)
		(void)munmap(view->bytes, view->size);
}

static int open_view(struct gmem_client *client, const struct gmem_population *what,
		     struct view *ret_view)
{
	/* CPUID values come back corrected, into this process's own copy of the page. */
	int access = PROT_READ | (what->type == GMEM_PAGE_TYPE_CPUID ? PROT_WRITE : 0);
	void *bytes;

	if (!what->source)
		return 0;
	bytes = mmap(NULL, what->length, access, MAP_PRIVATE, what->source->fd,
		     (off_t)what->source_offset);
	if (bytes == MAP_FAILED)
		return gm_fail_errno(client, errno, "mapping a source");
	*ret_view = (struct view){ bytes, what->length };
	return 0;
}

static int ask_once(struct gmem_client *client, uint64_t region, const struct gmem_population *what,
		    struct gm_reply *reply)
{
	Gmem__PopulateRequest request = GMEM__POPULATE_REQUEST__INIT;
	struct gm_pending *pending;
	bool had_report;
	int r;

	request.has_region = request.has_offset = request.has_length = request.has_type = true;
	request.region = region;
	request.offset = what->offset;
	request.length = what->length;
	request.type = (Gmem__PageType)what->type;
	if (what->source) {
		request.has_source = request.has_source_offset = true;
		request.source = what->source->id;
		request.source_offset = what->source_offset;
	}
	do {
		had_report = gm_remote_is_reporting(client, region);
		r = gm_remote_post(client, GM_PENDING_CALL, GM_MSG_POPULATE, &request.base,
				   &pending);
		if (r == 0)
			r = gm_remote_finish(client, pending, GM_NO_DEADLINE, reply);
	} while (gm_remote_was_early(client, region, had_report, &r));
	return r;
}

/* A daemon that was started again has forgotten the source, and may be so again meanwhile. */
static int ask(struct gmem_client *client, uint64_t domain, uint64_t region,
	       const struct gmem_population *what, struct gm_reply *reply)
{
	int r = ask_once(client, region, what, reply);

	for (int i = 0; i < GM_SOURCE_TRIES && r < 0 && what->source; i++) {
		if (!gm_remote_source_is_gone(client))
			return r;
		r = gm_remote_source_again(client, domain, what->source);
		if (r == 0)
			r = ask_once(client, region, what, reply);
	}
	return r;
}

static void tell_correction(const struct gmem_population *what, const struct view *view,
			    bool corrected)
{
	if (what->type != GMEM_PAGE_TYPE_CPUID)
		return;
	if (what->ret_corrected)
		*what->ret_corrected = corrected;
	if (what->ret_page && view->bytes)
		memcpy(what->ret_page, view->bytes, view->size);
}

static int perform(struct gmem_region *region, const struct gm_launch_steps *steps,
		   const struct gmem_population *what, const struct view *view,
		   struct gm_report *done)
{
	const struct gm_launch_vm vm = gm_remote_launch_vm(region->domain);
	struct gmem_client *client = region->domain->client;
	const struct gm_launch_pages pages = {
		.type = (enum gm_step_page)what->type,
		.gpa = region->gpa + what->offset,
		.length = what->length,
		.source = view->bytes,
	};
	struct gm_launch_progress progress = { 0 };
	struct gm_launch_fault fault = { 0 };
	int error, r;

	error = steps->populate(&vm, &pages, &progress, &fault);
	done->error = -error;
	done->firmware_error = fault.firmware;
	done->done = progress.bytes / GM_PAGE_4K;
	/*
	 * What has worked is not waited for: the next request is sent right behind, and is refused
	 * if the launch has failed meanwhile.
	 */
	r = error < 0 ? gm_remote_report(client, done) : gm_remote_report_only(client, done);
	if (error < 0 && client->remote->link.state != GM_LINK_OVER)
		return gm_remote_fail_step(client, steps, &fault, -error);
	if (r == 0)
		tell_correction(what, view, progress.corrected);
	return r;
}

static int carry_out(struct gmem_client *client, const struct gm_launch_steps *steps,
		     const struct gmem_population *what, const struct view *view,
		     const struct gm_reply *reply, struct gm_report *done)
{
	const Gmem__PopulateReply *answer = (const Gmem__PopulateReply *)reply->message;
	struct gmem_region *region;
	int r;

	/* The daemon puts it in itself, at the end of the launch. */
	if (steps->take_over)
		return 0;
	/* Whoever was not refused was answered. */
	assert(answer);
	r = gm_remote_check_order(client, answer->step, GMEM__STEP_KIND__STEP_POPULATE);
	if (r < 0)
		return r;
	done->step = answer->step->step;
	region = gm_client_find_region(client, done->region);
	if (region)
		return perform(region, steps, what, view, done);
	done->error = ECANCELED;
	(void)gm_remote_report_only(client, done);
	return gm_fail(client, GMEM_NO_SUCH_OBJECT, 0,
		       "The region was destroyed while the daemon was asked about it.");
}

int gm_remote_region_populate(struct gmem_region *region, const struct gmem_population *what)
{
	const struct gm_launch_steps *steps = gm_remote_steps(region->domain);
	_gm_cleanup_(end_view) struct view view = { 0 };
	struct gmem_client *client = region->domain->client;
	_gm_reply_ struct gm_reply reply = { 0 };
	Gmem__Range range = GMEM__RANGE__INIT;
	Gmem__Range *ranges = &range;
	struct gm_report done = { .region = region->id, .ranges = &ranges, .n_ranges = 1 };
	int r;

	if (!steps)
		return -client->failure.status;
	if (steps->has_vcpu && region->domain->vcpu_fd < 0)
		return gm_fail(client, GMEM_WRONG_STATE, 0,
			       "Guests of this kind are populated by a vCPU: name one first "
			       "(gmem_launch_set_vcpu).");
	range.has_offset = range.has_length = true;
	range.offset = what->offset;
	range.length = what->length;
	r = open_view(client, what, &view);
	if (r == 0)
		r = ask(client, region->domain->id, region->id, what, &reply);
	return r != 0 ? r : carry_out(client, steps, what, &view, &reply, &done);
}
