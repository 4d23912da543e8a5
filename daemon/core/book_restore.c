/* SPDX-License-Identifier: Apache-2.0 */
#include "book_restore.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "book_order.h"
#include "book_private.h"
#include "gm_cleanup.h"

static int refuse(struct gm_refusal *refusal, enum gm_rule rule, const char *what, uint64_t id,
		  const char *why)
{
	gm_refuse_text(refusal, GM_INVALID, rule, gm_book_object(what, id).text, "%s", why);
	return GM_INVALID;
}

static int refuse_charges(struct gm_refusal *refusal, const char *what, uint64_t id)
{
	return refuse(refusal, GM_RULE_OVERFLOW, what, id, "its charges pass 64 bits");
}

/* No more than that it can be printed: what a name may be is not decided again. */
static bool text_is_sound(const char *text, size_t size)
{
	size_t length = strnlen(text, size);

	if (length == size)
		return false;
	for (size_t i = 0; i < length; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			return false;
	return true;
}

/* In the shape of gm_charge_take(). */
static int force_charge(struct gm_charge *charge, struct gm_account *account,
			enum gm_resource resource, uint64_t amount, struct gm_refusal *refusal)
{
	(void)refusal;
	return gm_charge_force(charge, account, resource, amount);
}

/* ---- sessions ---- */

static void session_cleanup(struct gm_session **session)
{
	if (!*session)
		return;
	gm_charge_done(&(*session)->fds);
	gm_charge_done(&(*session)->charge);
	free(*session);
}

static bool session_is_there(const struct gm_tenant *tenant, struct gm_session_id id)
{
	const struct gm_session *session;

	TAILQ_FOREACH(session, &tenant->sessions, link)
		if (session->id.v == id.v)
			return true;
	return false;
}

int gm_book_restore_session(struct gm_book *book, struct gm_tenant *tenant,
			    const struct gm_session_restore *from, struct gm_session **ret_session,
			    struct gm_refusal *refusal)
{
	_gm_cleanup_(session_cleanup) struct gm_session *session = NULL;
	int r;

	assert(tenant->marks == &book->marks);
	if (from->id.v == 0 || !text_is_sound(from->client, sizeof(from->client)))
		return refuse(refusal, GM_RULE_NAME, "session", from->id.v,
			      "it has no id, or no name that can be printed");
	if (session_is_there(tenant, from->id))
		return -EEXIST;
	session = calloc(1, sizeof(*session));
	if (!session)
		return -ENOMEM;

	r = gm_charge_force(&session->charge, &tenant->account, GM_RES_SESSIONS, 1);
	if (r == 0)
		r = gm_charge_force(&session->fds, &tenant->account, GM_RES_FDS, GM_SESSION_FDS);
	if (r)
		return refuse_charges(refusal, "session", from->id.v);

	gm_mark_init(&session->mark, GM_MARK_SESSION);
	session->mark.record = from->record;
	session->id = from->id;
	session->state = GM_SESSION_OPEN;
	session->tenant = tenant;
	session->peer = from->peer;
	session->has_key = from->has_key;
	session->key = from->key;
	memcpy(session->client, from->client, sizeof(session->client));
	TAILQ_INIT(&session->domains);
	TAILQ_INSERT_TAIL(&tenant->sessions, session, link);

	*ret_session = gm_take_ptr(&session);
	return 0;
}

/* ---- domains ---- */

static void domain_cleanup(struct gm_domain **domain)
{
	if (*domain)
		gm_book_domain_free(*domain);
}

/* Nothing is asked of the VMM before the job at the end has ended. */
static bool own_launch_is_sound(const struct gm_domain_restore *from)
{
	bool finishing = from->launch.state == GM_LAUNCH_FINISHING;

	if (!(from->traits & GM_TRAIT_LAUNCH) || from->launch.state <= GM_LAUNCH_NONE ||
	    from->launch.state >= GM_LAUNCH_STATE_N_)
		return false;
	if (from->launch.step_id == 0)
		return from->launch.step_kind == GM_STEP_NONE;
	return finishing && from->launch.step_kind == GM_STEP_MOVE;
}

static bool launch_is_sound(const struct gm_domain_restore *from)
{
	bool starting = from->launch.state == GM_LAUNCH_STARTING;
	bool finishing = from->launch.state == GM_LAUNCH_FINISHING;

	if (from->launch.failure && !text_is_sound(from->launch.failure->text, GM_LAUNCH_WHY_MAX))
		return false;
	if (from->traits & GM_TRAIT_DAEMON_LAUNCHES)
		return own_launch_is_sound(from);
	if (!(from->traits & GM_TRAIT_LAUNCH))
		return from->launch.state == GM_LAUNCH_NONE;
	if (from->launch.state <= GM_LAUNCH_NONE || from->launch.state >= GM_LAUNCH_STATE_N_)
		return false;
	if ((from->launch.step_id != 0) != (starting || finishing))
		return false;
	return from->launch.step_kind == (starting    ? GM_STEP_LAUNCH_START
					  : finishing ? GM_STEP_LAUNCH_FINISH
						      : GM_STEP_NONE);
}

static int check_domain(const struct gm_domain_restore *from, struct gm_refusal *refusal)
{
	if (from->id.v == 0 || from->sequence == 0)
		return refuse(refusal, GM_RULE_NONE, "domain", from->id.v,
			      "it has no id or no number");
	if ((unsigned)from->lifetime >= GM_LIFETIME_N_)
		return refuse(refusal, GM_RULE_FLAGS, "domain", from->id.v,
			      "its lifetime is not known");
	if (from->traits >= GM_TRAITS_END)
		return refuse(refusal, GM_RULE_KIND, "domain", from->id.v,
			      "what its kind is like is not known");
	if (from->slot > GM_SLOT_POOLS)
		return refuse(refusal, GM_RULE_SLOTS, "domain", from->id.v,
			      "its pool of slots is not known");
	if (!launch_is_sound(from))
		return refuse(refusal, GM_RULE_LAUNCH_STATE, "domain", from->id.v,
			      "its launch is in no state that there is");
	if (!text_is_sound(from->name, sizeof(from->name)) ||
	    !text_is_sound(from->kind, sizeof(from->kind)) || !*from->kind)
		return refuse(refusal, GM_RULE_NAME, "domain", from->id.v,
			      "its name or kind is none that can be printed");
	return 0;
}

/* Whose limit was raised is gone where there is no session: nothing is granted any more. */
static int charge_domain(struct gm_domain *domain, bool is_attached,
			 const struct gm_domain_restore *from)
{
	struct gm_account *account = &domain->tenant->account;
	int r;

	r = gm_charge_force(&domain->charge, account, GM_RES_DOMAINS, 1);
	if (r == 0 && from->slot > 0)
		r = gm_charge_force(&domain->slot, account, gm_slot_resource(from->slot - 1), 1);
	if (r || !is_attached || from->memlock_bytes == 0)
		return r;
	domain->memlock_base = from->memlock_base;
	return gm_charge_force(&domain->memlock, account, GM_RES_MEMLOCK, from->memlock_bytes);
}

static int restore_launch(struct gm_domain *domain, const struct gm_domain_restore *from)
{
	int r = gm_book_launch_new(domain);

	if (r || !domain->launch)
		return r;
	domain->launch->state = from->launch.state;
	domain->launch->step_kind = from->launch.step_kind;
	domain->launch->step_id = from->launch.step_id;
	domain->launch->deadline_ms = from->launch.deadline_ms;
	if (from->launch.digest && from->launch.next_digest) {
		memcpy(domain->launch->digest, from->launch.digest, GM_LAUNCH_DIGEST_SIZE);
		memcpy(domain->launch->next_digest, from->launch.next_digest,
		       GM_LAUNCH_DIGEST_SIZE);
	}
	if (from->launch.failure)
		domain->launch->failure = *from->launch.failure;
	domain->running = from->launch.state == GM_LAUNCH_RUNNING;
	return 0;
}

int gm_book_restore_domain(struct gm_book *book, struct gm_tenant *tenant,
			   struct gm_session *session, const struct gm_domain_restore *from,
			   struct gm_domain **ret_domain, struct gm_refusal *refusal)
{
	_gm_cleanup_(domain_cleanup) struct gm_domain *domain = NULL;
	int r;

	assert(!session || session->tenant == tenant);
	r = check_domain(from, refusal);
	if (r)
		return r;
	domain = calloc(1, sizeof(*domain));
	if (!domain)
		return -ENOMEM;

	gm_mark_init(&domain->mark, GM_MARK_DOMAIN);
	domain->tenant = tenant;
	if (charge_domain(domain, session != NULL, from))
		return refuse_charges(refusal, "domain", from->id.v);

	domain->id = from->id;
	domain->sequence = from->sequence;
	domain->lifetime = from->lifetime;
	domain->token = from->token;
	domain->created_ms = from->created_ms;
	domain->orphaned_ms = from->orphaned_ms;
	domain->quarantined = from->quarantined;
	domain->traits = from->traits;
	domain->running = !(from->traits & GM_TRAIT_LAUNCH);
	memcpy(domain->name, from->name, sizeof(domain->name));
	memcpy(domain->kind, from->kind, sizeof(domain->kind));
	r = restore_launch(domain, from);
	if (r == 0)
		r = gm_book_enter_domain(book, domain, session);
	if (r)
		return r;
	domain->mark.record = from->record;
	book->next_sequence = gm_max_u64(book->next_sequence, from->sequence);

	*ret_domain = gm_take_ptr(&domain);
	return 0;
}

/* ---- regions ---- */

static void region_cleanup(struct gm_region **region)
{
	if (*region)
		gm_book_region_free(*region);
}

static bool step_is_sound(const struct gm_domain *domain, const struct gm_region_restore *from)
{
	const struct gm_step_restore *step = &from->step;
	bool converts = step->kind == GM_STEP_CONVERT;

	if (step->id == 0)
		return true;
	if (step->kind == GM_STEP_POPULATE)
		return domain->launch && !step->reported && step->op >= GM_PAGE_OP_POPULATE &&
		       step->op < GM_PAGE_OP_N_;
	if (!(domain->traits & GM_TRAIT_PRIVATE) || step->kind <= GM_STEP_NONE ||
	    step->kind > GM_STEP_CONVERT || (step->reported && !converts))
		return false;
	return !converts || step->op == GM_PAGE_OP_TO_SHARED || step->op == GM_PAGE_OP_TO_PRIVATE;
}

static bool order_is_sound(const struct gm_domain *domain, const struct gm_region_restore *from)
{
	if (from->order.id == 0)
		return true;
	return domain->traits & GM_TRAIT_PRIVATE && from->order.room <= GM_ORDER_ROOM &&
	       from->order.spent <= UINT64_MAX / 2 && from->order.last <= UINT64_MAX / 2 &&
	       gm_is_power_of_two(from->order.granularity);
}

static int check_region(struct gm_domain *domain, const struct gm_region_restore *from,
			struct gm_refusal *refusal)
{
	const struct gm_region_spec spec = {
		.name = from->name,
		.gpa = from->gpa,
		.size = from->size,
		.page_size = from->page_size,
	};

	if (from->id.v == 0 || from->sequence == 0)
		return refuse(refusal, GM_RULE_NONE, "region", from->id.v,
			      "it has no id or no number");
	if (!text_is_sound(from->name, sizeof(from->name)))
		return refuse(refusal, GM_RULE_NAME, "region", from->id.v,
			      "its name cannot be printed");
	if (from->page_size != GM_PAGE_4K && from->page_size != GM_PAGE_2M &&
	    from->page_size != GM_PAGE_1G)
		return refuse(refusal, GM_RULE_PAGE_SIZE, "region", from->id.v,
			      "there are no pages of its page size");
	if (!step_is_sound(domain, from))
		return refuse(refusal, GM_RULE_STEP, "region", from->id.v,
			      "the step under way is none that there is");
	if (!order_is_sound(domain, from))
		return refuse(refusal, GM_RULE_ORDER, "region", from->id.v,
			      "its standing order is none that there is");
	return gm_book_check_place(domain, &spec, refusal);
}

static int new_region(struct gm_domain *domain, const struct gm_region_restore *from,
		      struct gm_region **ret_region, struct gm_refusal *refusal)
{
	_gm_cleanup_(region_cleanup) struct gm_region *region = calloc(1, sizeof(*region));

	if (!region)
		return -ENOMEM;
	gm_mark_init(&region->mark, GM_MARK_REGION);
	region->id = from->id;
	region->domain = domain;
	region->sequence = from->sequence;
	region->gpa = from->gpa;
	region->size = from->size;
	region->page_size = from->page_size;
	region->numa_nodes = from->numa_nodes;
	region->file = from->file;
	region->quarantined = from->quarantined;
	region->fd = -1;
	region->private_fd = -1;
	region->private_file = from->private_file;
	region->bound = from->bound;
	region->unanswered = from->unanswered;
	memcpy(region->name, from->name, sizeof(region->name));
	if (gm_book_charge_region(region, force_charge, NULL))
		return refuse_charges(refusal, "region", from->id.v);

	*ret_region = gm_take_ptr(&region);
	return 0;
}

int gm_book_restore_region(struct gm_book *book, struct gm_domain *domain,
			   const struct gm_region_restore *from, struct gm_page_map *map, int fd,
			   struct gm_region **ret_region, struct gm_refusal *refusal)
{
	_gm_cleanup_(region_cleanup) struct gm_region *region = NULL;
	_gm_free_ struct gm_step *step = NULL;
	int r;

	assert(map->size == from->size && !domain->dying);
	r = check_region(domain, from, refusal);
	if (r)
		return r;
	r = new_region(domain, from, &region, refusal);
	if (r)
		return r;
	if (from->step.id != 0) {
		r = gm_book_restore_step(&from->step, &step);
		if (r)
			return r;
	}
	r = gm_book_enter_region(book, region);
	if (r)
		return r;
	region->mark.record = from->record;
	region->fd = fd;
	region->private_fd = from->private_file.inode != 0 ? from->private_fd : -1;
	if (step)
		gm_book_enter_step(region, gm_take_ptr(&step));
	region->order.id = from->order.id;
	region->order.last = from->order.last;
	region->order.spent = from->order.spent;
	region->order.room = from->order.id != 0 ? from->order.room : 0;
	region->order.granularity = from->order.granularity;
	domain->converting_bytes += region->order.room;
	gm_page_map_move(&region->map, map);
	gm_book_allocated(region);
	book->next_sequence = gm_max_u64(book->next_sequence, from->sequence);
	if (from->ops_under_way)
		gm_mark_dirty(&book->marks, &region->mark);

	*ret_region = gm_take_ptr(&region);
	return 0;
}

int gm_book_restore_pages(struct gm_region *region, const struct gm_range *range,
			  enum gm_page_state state, struct gm_refusal *refusal)
{
	int r;

	assert(gm_is_aligned(range->offset | range->length, GM_PAGE_4K));
	assert(range->offset <= region->size && range->length <= region->size - range->offset);
	r = gm_book_set_pages(region, range->offset, range->length, state, refusal);
	gm_book_allocated(region);
	return r;
}
