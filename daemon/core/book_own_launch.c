/* SPDX-License-Identifier: Apache-2.0 */
#include "book_own_launch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "book_private.h"

static struct gm_object_name name_of(const struct gm_domain *domain)
{
	return gm_book_object("domain", domain->id.v);
}

bool gm_domain_is_launched_here(const struct gm_domain *domain)
{
	return domain->traits & GM_TRAIT_DAEMON_LAUNCHES;
}

/* An event that has been checked. */
static void apply(struct gm_domain *domain, enum gm_launch_event event)
{
	enum gm_launch_intent intent;
	int r = gm_launch_after(domain->launch->state, event, &domain->launch->state, &intent,
				NULL);

	assert(r == 0);
	gm_mark_dirty(domain->tenant->marks, &domain->mark);
}

/* A step that nobody has to do. */
static void pass(struct gm_domain *domain, enum gm_launch_event event,
		 const uint8_t digest[GM_LAUNCH_DIGEST_SIZE])
{
	apply(domain, event);
	apply(domain, GM_LAUNCH_STEP_DONE);
	gm_book_replace_digest(domain, digest);
}

int gm_book_open_launch(struct gm_domain *domain, const void *parameters, size_t size,
			const uint8_t digest[GM_LAUNCH_DIGEST_SIZE], struct gm_refusal *refusal)
{
	uint8_t *copy;
	int r;

	assert(gm_domain_is_launched_here(domain));
	r = gm_book_check_launch(domain, GM_LAUNCH_START, refusal);
	if (r)
		return r;
	copy = malloc(size + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, parameters, size);
	domain->launch->parameters = copy;
	domain->launch->parameters_size = size;
	pass(domain, GM_LAUNCH_START, digest);
	return 0;
}

/* Room for one more, so that writing it down cannot fail. */
static int make_room(struct gm_domain *domain, struct gm_refusal *refusal)
{
	struct gm_launch *launch = domain->launch;
	struct gm_put *puts;

	if (launch->n_puts == GM_LAUNCH_PUTS_MAX)
		return gm_refuse_numbers(refusal, GM_OVER_LIMIT, GM_RULE_RANGES,
					 name_of(domain).text, GM_LAUNCH_PUTS_MAX, launch->n_puts,
					 1);
	/* Powers of two: the array is full whenever the number is one. */
	if (launch->n_puts & (launch->n_puts - 1))
		return 0;
	puts = reallocarray(launch->puts, launch->n_puts ? 2 * launch->n_puts : 1, sizeof(*puts));
	if (!puts)
		return -ENOMEM;
	launch->puts = puts;
	return 0;
}

int gm_book_write_down(const struct gm_put *put, const uint8_t digest[GM_LAUNCH_DIGEST_SIZE],
		       struct gm_refusal *refusal)
{
	const struct gm_range range = { put->offset, put->length };
	struct gm_domain *domain = put->region->domain;
	int r;

	assert(gm_domain_is_launched_here(domain));
	r = gm_book_check_populate(put->region, GM_PAGE_OP_POPULATE, &range, refusal);
	if (r == 0)
		r = make_room(domain, refusal);
	if (r == 0)
		r = gm_book_apply(put->region, GM_PAGE_OP_POPULATE, &range, refusal);
	gm_book_allocated(put->region);
	if (r)
		return r;
	domain->launch->puts[domain->launch->n_puts++] = *put;
	pass(domain, GM_LAUNCH_POPULATE, digest);
	return 0;
}

int gm_book_check_own_finish(const struct gm_book *book, const struct gm_domain *domain,
			     struct gm_refusal *refusal)
{
	int r = gm_book_check_launch(domain, GM_LAUNCH_FINISH, refusal);

	if (r)
		return r;
	if (domain->n_regions == 0)
		return gm_refuse_text(refusal, GM_WRONG_STATE, GM_RULE_LAUNCH_STATE,
				      name_of(domain).text, "the domain has no region");
	if (domain->n_regions > GM_OWN_LAUNCH_REGIONS_MAX)
		return gm_refuse_numbers(refusal, GM_OVER_LIMIT, GM_RULE_REGIONS_MAX,
					 name_of(domain).text, GM_OWN_LAUNCH_REGIONS_MAX,
					 domain->n_regions, 0);
	if (domain->n_jobs > 0)
		return gm_refuse(refusal, GM_BUSY, GM_RULE_JOBS_UNDER_WAY, name_of(domain).text);
	for (uint32_t i = 0; i < domain->n_regions; i++) {
		r = gm_book_check_usable(domain->regions[i], refusal);
		if (r)
			return r;
	}
	return gm_book_check_draining(book, refusal);
}

int gm_book_begin_own_finish(struct gm_book *book, struct gm_session *session,
			     struct gm_domain *domain, struct gm_job_ticket *ret_ticket,
			     struct gm_refusal *refusal)
{
	struct gm_job_ticket ticket = { .session = session, .launches = true };
	struct gm_launch *launch = domain->launch;
	int r;

	r = gm_book_check_own_finish(book, domain, refusal);
	if (r == 0)
		r = gm_charge_take(&launch->vm_fds, &domain->tenant->account, GM_RES_FDS, 1,
				   refusal);
	if (r)
		return r;
	r = gm_charge_take(&ticket.charge, &domain->tenant->account, GM_RES_JOBS, 1, refusal);
	if (r) {
		gm_charge_done(&launch->vm_fds);
		return r;
	}
	ticket.region = domain->regions[0];
	gm_book_enter_job(&ticket);
	*ret_ticket = ticket;
	return 0;
}

void gm_book_own_finish_begun(struct gm_domain *domain, const uint8_t digest[GM_LAUNCH_DIGEST_SIZE])
{
	apply(domain, GM_LAUNCH_FINISH);
	memcpy(domain->launch->next_digest, digest, GM_LAUNCH_DIGEST_SIZE);
	domain->launch->changed = true;
}

/* Pinned memory is there. */
static void book_memory(struct gm_region *region)
{
	const struct gm_range all = { 0, region->size };

	(void)gm_book_apply_or_lose(region, GM_PAGE_OP_ALLOCATE, &all);
	gm_book_allocated(region);
}

void gm_book_launched(struct gm_domain *domain, int vm_fd, const struct gm_step_spec *spec)
{
	struct gm_launch *launch = domain->launch;

	assert(launch->state == GM_LAUNCH_FINISHING && launch->vm_fd < 0 && spec->id != 0);
	launch->vm_fd = vm_fd;
	launch->step_kind = GM_STEP_MOVE;
	launch->step_id = spec->id;
	launch->deadline_ms = spec->deadline_ms;
	gm_mark_dirty(domain->tenant->marks, &domain->mark);
	for (uint32_t i = 0; i < domain->n_regions; i++)
		book_memory(domain->regions[i]);
}

void gm_book_restore_vm(struct gm_domain *domain, int vm_fd)
{
	struct gm_launch *launch = domain->launch;
	int r = gm_charge_force(&launch->vm_fds, &domain->tenant->account, GM_RES_FDS, 1);

	/* One more of what is counted by the thousand. */
	assert(r == 0);
	launch->vm_fd = vm_fd;
}

void gm_book_forget_puts(struct gm_domain *domain)
{
	struct gm_launch *launch = domain->launch;

	if (!launch)
		return;
	free(launch->puts);
	launch->puts = NULL;
	launch->n_puts = 0;
	if (launch->parameters)
		explicit_bzero(launch->parameters, launch->parameters_size);
	free(launch->parameters);
	launch->parameters = NULL;
	launch->parameters_size = 0;
}

int gm_book_take_vm(struct gm_domain *domain)
{
	int fd;

	if (!domain->launch)
		return -1;
	fd = domain->launch->vm_fd;
	domain->launch->vm_fd = -1;
	gm_charge_done(&domain->launch->vm_fds);
	return fd;
}
