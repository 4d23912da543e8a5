/* SPDX-License-Identifier: Apache-2.0 */
#include "book_launch.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "book_own_launch.h"
#include "book_private.h"

static void mark(struct gm_domain *domain)
{
	gm_mark_dirty(domain->tenant->marks, &domain->mark);
}

static struct gm_object_name name_of(const struct gm_domain *domain)
{
	return gm_book_object("domain", domain->id.v);
}

int gm_book_launch_new(struct gm_domain *domain)
{
	if (!(domain->traits & GM_TRAIT_LAUNCH))
		return 0;
	domain->launch = calloc(1, sizeof(*domain->launch));
	if (!domain->launch)
		return -ENOMEM;
	domain->launch->state = GM_LAUNCH_READY;
	domain->launch->vm_fd = -1;
	return 0;
}

void gm_book_launch_free(struct gm_domain *domain)
{
	/* Their fds are closed by who made them. */
	assert(!domain->launch || domain->launch->n_sources == 0);
	gm_book_drop_trail(domain);
	assert(!domain->launch || domain->launch->vm_fd < 0);
	gm_book_forget_puts(domain);
	if (domain->launch)
		gm_charge_done(&domain->launch->vm_fds);
	free(domain->launch);
	domain->launch = NULL;
}

enum gm_launch_state gm_domain_launch_state(const struct gm_domain *domain)
{
	return domain->launch ? domain->launch->state : GM_LAUNCH_NONE;
}

/* ---- events ---- */

static void name_domain(struct gm_refusal *refusal, const struct gm_domain *domain)
{
	if (refusal)
		snprintf(refusal->object, sizeof(refusal->object), "%s", name_of(domain).text);
}

void gm_book_tell_failure(const struct gm_domain *domain, struct gm_refusal *refusal)
{
	const struct gm_launch_failure *why = &domain->launch->failure;

	if (!refusal)
		return;
	refusal->sys_errno = why->sys_errno;
	refusal->firmware_error = why->firmware_error;
	if (why->firmware_error != 0)
		refusal->rule = GM_RULE_FIRMWARE;
	snprintf(refusal->text, sizeof(refusal->text),
		 "the launch has failed, only the end of the domain is left: %s", why->text);
}

int gm_book_check_launch(const struct gm_domain *domain, enum gm_launch_event event,
			 struct gm_refusal *refusal)
{
	enum gm_launch_intent intent;
	enum gm_launch_state next;
	int r;

	r = gm_book_check_domain_usable(domain, refusal);
	if (r == 0)
		r = gm_launch_after(gm_domain_launch_state(domain), event, &next, &intent, refusal);
	if (r > 0)
		name_domain(refusal, domain);
	if (r > 0 && gm_domain_launch_state(domain) == GM_LAUNCH_FAILED)
		gm_book_tell_failure(domain, refusal);
	if (r == 0 && domain->launch->n_hashing > 0 && event != GM_LAUNCH_ABORT)
		r = gm_refuse(refusal, GM_BUSY, GM_RULE_JOBS_UNDER_WAY, name_of(domain).text);
	return r;
}

/* The state after an event that was checked, or that nothing can forbid. */
static enum gm_launch_intent apply(struct gm_domain *domain, enum gm_launch_event event)
{
	enum gm_launch_intent intent = GM_LAUNCH_DO_NOTHING;
	int r;

	r = gm_launch_after(domain->launch->state, event, &domain->launch->state, &intent, NULL);
	assert(r == 0);
	mark(domain);
	return intent;
}

static void set_digest(struct gm_launch *launch, uint8_t to[GM_LAUNCH_DIGEST_SIZE],
		       const uint8_t from[GM_LAUNCH_DIGEST_SIZE])
{
	memcpy(to, from, GM_LAUNCH_DIGEST_SIZE);
	launch->changed = true;
}

static void set_step(struct gm_domain *domain, enum gm_step_kind kind,
		     const struct gm_step_spec *spec)
{
	assert(spec->id != 0);
	domain->launch->step_kind = kind;
	domain->launch->step_id = spec->id;
	domain->launch->deadline_ms = spec->deadline_ms;
}

static void clear_step(struct gm_domain *domain)
{
	domain->launch->step_kind = GM_STEP_NONE;
	domain->launch->step_id = 0;
	domain->launch->deadline_ms = 0;
}

int gm_book_begin_launch(struct gm_domain *domain, const struct gm_step_spec *spec,
			 const uint8_t digest[GM_LAUNCH_DIGEST_SIZE], struct gm_refusal *refusal)
{
	int r = gm_book_check_launch(domain, GM_LAUNCH_START, refusal);

	if (r)
		return r;
	(void)apply(domain, GM_LAUNCH_START);
	gm_book_replace_digest(domain, digest);
	set_step(domain, GM_STEP_LAUNCH_START, spec);
	return 0;
}

int gm_book_begin_finish(struct gm_domain *domain, const struct gm_step_spec *spec,
			 const uint8_t digest[GM_LAUNCH_DIGEST_SIZE], struct gm_refusal *refusal)
{
	int r = gm_book_check_launch(domain, GM_LAUNCH_FINISH, refusal);

	if (r)
		return r;
	(void)apply(domain, GM_LAUNCH_FINISH);
	set_digest(domain->launch, domain->launch->next_digest, digest);
	set_step(domain, GM_STEP_LAUNCH_FINISH, spec);
	return 0;
}

int gm_book_find_launch_step(const struct gm_domain *domain, uint64_t id,
			     struct gm_refusal *refusal)
{
	if (domain->launch && id != 0 && domain->launch->step_id == id)
		return 0;
	return gm_refuse_text(refusal, GM_INVALID, GM_RULE_STEP, name_of(domain).text,
			      "no such step is under way");
}

void gm_book_launch_step_done(struct gm_domain *domain)
{
	struct gm_launch *launch = domain->launch;

	assert(launch->step_kind != GM_STEP_NONE);
	set_digest(launch, launch->digest, launch->next_digest);
	clear_step(domain);
	if (apply(domain, GM_LAUNCH_STEP_DONE) == GM_LAUNCH_DO_RUN)
		domain->running = true;
}

void gm_book_keep_trail(struct gm_domain *domain)
{
	if (!domain->launch->trail)
		domain->launch->trail = gm_trail_new();
}

void gm_book_drop_trail(struct gm_domain *domain)
{
	if (!domain->launch)
		return;
	free(domain->launch->trail);
	domain->launch->trail = NULL;
}

static void note_failure(struct gm_launch *launch, const struct gm_launch_failure *why)
{
	if (launch->state == GM_LAUNCH_FAILED)
		return;
	launch->failure = *why;
	launch->changed = true;
}

void gm_book_replace_digest(struct gm_domain *domain, const uint8_t digest[GM_LAUNCH_DIGEST_SIZE])
{
	set_digest(domain->launch, domain->launch->digest, digest);
	set_digest(domain->launch, domain->launch->next_digest, digest);
	mark(domain);
}

void gm_book_fail_launch(struct gm_domain *domain, const struct gm_launch_failure *why)
{
	note_failure(domain->launch, why);
	clear_step(domain);
	(void)apply(domain, GM_LAUNCH_ABORT);
}

struct gm_domain *gm_book_overdue_launch(const struct gm_book *book, uint64_t now_ms)
{
	struct gm_domain *domain = NULL;

	while ((domain = gm_book_next_domain(book, domain)) != NULL)
		if (domain->launch && domain->launch->step_id != 0 &&
		    domain->launch->deadline_ms <= now_ms)
			return domain;
	return NULL;
}

/* ---- sources ---- */

int gm_book_may_add_source(const struct gm_domain *domain, struct gm_refusal *refusal)
{
	enum gm_launch_state state = gm_domain_launch_state(domain);

	if (state >= GM_LAUNCH_READY && state <= GM_LAUNCH_POPULATING)
		return gm_book_check_domain_usable(domain, refusal);
	return gm_book_check_launch(domain, GM_LAUNCH_POPULATE, refusal);
}

static int refuse_source(const struct gm_domain *domain, struct gm_refusal *refusal)
{
	return gm_refuse_text(refusal, GM_INVALID, GM_RULE_SOURCE, name_of(domain).text,
			      "the memory of a region is no source");
}

int gm_book_add_source(struct gm_book *book, struct gm_domain *domain, uint64_t id, int fd,
		       uint64_t size, const struct gm_file_id *file, struct gm_refusal *refusal)
{
	struct gm_launch *launch = domain->launch;
	struct gm_source *source;
	int r;

	assert(launch && id != 0);
	if (launch->n_sources == GM_LAUNCH_SOURCES_MAX)
		return gm_refuse_numbers(refusal, GM_OVER_LIMIT, GM_RULE_SOURCE,
					 name_of(domain).text, GM_LAUNCH_SOURCES_MAX,
					 launch->n_sources, 1);
	if (gm_book_has_file(book, file))
		return refuse_source(domain, refusal);
	source = &launch->sources[launch->n_sources];
	*source = (struct gm_source){ .id = id, .fd = fd, .size = size };
	r = gm_charge_take(&source->fds, &domain->tenant->account, GM_RES_FDS, 1, refusal);
	if (r)
		return r;
	launch->n_sources++;
	return 0;
}

const struct gm_source *gm_book_find_source(const struct gm_domain *domain, uint64_t id)
{
	const struct gm_launch *launch = domain->launch;

	for (unsigned i = 0; launch && i < launch->n_sources; i++)
		if (launch->sources[i].id == id)
			return &launch->sources[i];
	return NULL;
}

int gm_book_drop_source(struct gm_domain *domain)
{
	struct gm_launch *launch = domain->launch;
	struct gm_source *source;

	if (!launch || launch->n_sources == 0)
		return -1;
	source = &launch->sources[--launch->n_sources];
	gm_charge_done(&source->fds);
	return source->fd;
}

/* ---- population ---- */

/* Whoever puts it in has to be able to: the VMM where it is bound to its VM, or the daemon. */
static int check_place(const struct gm_region *region, struct gm_refusal *refusal)
{
	int r;

	if (gm_domain_is_launched_here(region->domain)) {
		if (region->n_jobs > 0)
			return gm_refuse(refusal, GM_BUSY, GM_RULE_JOBS_UNDER_WAY,
					 gm_book_object("region", region->id.v).text);
		return gm_book_check_usable(region, refusal);
	}
	r = gm_book_check_step_idle(region, refusal);
	if (r == 0 && !region->bound)
		r = gm_refuse_text(refusal, GM_WRONG_STATE, GM_RULE_STEP,
				   gm_book_object("region", region->id.v).text,
				   "the region is not bound to a VM yet");
	return r;
}

int gm_book_check_populate(const struct gm_region *region, enum gm_page_op op,
			   const struct gm_range *range, struct gm_refusal *refusal)
{
	struct gm_range copy = *range;
	int r;

	assert(op >= GM_PAGE_OP_POPULATE && op < GM_PAGE_OP_N_);
	r = gm_book_check_launch(region->domain, GM_LAUNCH_POPULATE, refusal);
	if (r == 0)
		r = check_place(region, refusal);
	if (r == 0)
		r = gm_book_check_ranges(region, &copy, 1, refusal);
	if (r == 0)
		r = gm_book_check_pages(region, op, &copy, 1, refusal);
	return r;
}

int gm_book_begin_hashing(struct gm_book *book, struct gm_session *session,
			  struct gm_region *region, struct gm_job_ticket *ret_ticket,
			  struct gm_refusal *refusal)
{
	struct gm_job_ticket ticket = { .region = region, .session = session, .hashes = true };
	int r;

	r = gm_book_check_draining(book, refusal);
	if (r == 0)
		r = gm_charge_take(&ticket.charge, &region->domain->tenant->account, GM_RES_JOBS, 1,
				   refusal);
	if (r)
		return r;
	gm_book_enter_job(&ticket);
	*ret_ticket = ticket;
	return 0;
}

int gm_book_begin_populate(struct gm_region *region, enum gm_page_op op,
			   const struct gm_range *range, const struct gm_step_spec *spec,
			   const uint8_t digest[GM_LAUNCH_DIGEST_SIZE], struct gm_refusal *refusal)
{
	struct gm_domain *domain = region->domain;
	int r;

	r = gm_book_check_populate(region, op, range, refusal);
	if (r == 0)
		r = gm_book_enter_populate(region, op, range, spec);
	if (r)
		return r;
	(void)apply(domain, GM_LAUNCH_POPULATE);
	set_digest(domain->launch, domain->launch->next_digest, digest);
	return 0;
}

void gm_book_drop_populate(struct gm_domain *domain)
{
	if (domain->launch->state == GM_LAUNCH_POPULATING)
		(void)apply(domain, GM_LAUNCH_STEP_DONE);
}

int gm_book_populated(struct gm_region *region, const struct gm_range *range, uint64_t n_done,
		      const struct gm_launch_failure *failure, struct gm_refusal *refusal)
{
	static const struct gm_launch_failure unbooked = {
		.text = "pages that were populated could not be booked"
	};
	const struct gm_step *step = region->step;
	struct gm_domain *domain = region->domain;
	struct gm_range done = { range->offset, n_done };
	struct gm_range rest = { range->offset + n_done, range->length - n_done };

	assert(step);
	assert(step->kind == GM_STEP_POPULATE);
	if (gm_siphash(&step->key, range, sizeof(*range)) != step->digest ||
	    n_done > range->length || !gm_is_aligned(n_done, GM_PAGE_4K))
		return gm_book_refuse_report(region, "this is not the range of the step", refusal);
	if (!failure && n_done != range->length)
		return gm_book_refuse_report(
			region, "the command is repeated until all pages are in, or has failed",
			refusal);
	/* Pages that could not be booked: the launch has failed as well. */
	if (!gm_book_apply_or_lose(region, step->op, &done))
		failure = failure ? failure : &unbooked;
	if (failure && rest.length > 0)
		gm_book_lose_pages(region, &rest);
	gm_book_allocated(region);
	gm_book_end_step(region);
	if (domain->launch->state != GM_LAUNCH_POPULATING)
		return 0;
	if (failure) {
		note_failure(domain->launch, failure);
		(void)apply(domain, GM_LAUNCH_STEP_FAILED);
		return 0;
	}
	set_digest(domain->launch, domain->launch->digest, domain->launch->next_digest);
	if (domain->launch->trail)
		gm_trail_book(domain->launch->trail);
	(void)apply(domain, GM_LAUNCH_STEP_DONE);
	return 0;
}
