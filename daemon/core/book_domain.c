/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "book_launch.h"
#include "book_private.h"
#include "gm_cleanup.h"

static struct gm_domain *domain_of(struct gm_hash_node *node)
{
	return node ? GM_CONTAINER_OF(node, struct gm_domain, hash) : NULL;
}

static struct gm_domain *find_by_name(struct gm_tenant *tenant, const char *name)
{
	struct gm_domain *domain = NULL;

	HASH_FIND(by_name, tenant->names, name, strlen(name), domain);
	return domain;
}

static int take_name(struct gm_domain *domain)
{
	struct gm_tenant *tenant = domain->tenant;

	if (!*domain->name)
		return 0;
	HASH_ADD(by_name, tenant->names, name[0], strlen(domain->name), domain);
	return domain->by_name.tbl ? 0 : -ENOMEM;
}

static void release_name(struct gm_domain *domain)
{
	if (!domain->by_name.tbl)
		return;
	HASH_DELETE(by_name, domain->tenant->names, domain);
	domain->by_name.tbl = NULL;
}

void gm_book_domain_free(struct gm_domain *domain)
{
	gm_charge_done(&domain->charge);
	gm_charge_done(&domain->memlock);
	gm_charge_done(&domain->slot);
	explicit_bzero(&domain->token, sizeof(domain->token));
	gm_book_launch_free(domain);
	free(domain->regions);
	if (gm_mark_remove(domain->tenant->marks, &domain->mark))
		free(domain);
}

static void domain_cleanup(struct gm_domain **domain)
{
	if (*domain)
		gm_book_domain_free(*domain);
}

/* Everything that the request can get wrong, before anything is taken. */
static int check_spec(const struct gm_book *book, const struct gm_session *session,
		      const struct gm_domain_spec *spec, struct gm_refusal *refusal)
{
	struct gm_tenant *tenant = session->tenant;

	if (!tenant)
		return gm_refuse(refusal, GM_DENIED, GM_RULE_PERMISSION, "admin");

	if (!gm_policy_allows_kind(&tenant->policy, spec->kind))
		return gm_refuse(refusal, GM_DENIED, GM_RULE_KINDS, tenant->account.name);

	if (spec->lifetime == GM_LIFETIME_PERSISTENT && !tenant->policy.persistent)
		return gm_refuse(refusal, GM_DENIED, GM_RULE_PERSISTENT, tenant->account.name);
	if (spec->lifetime == GM_LIFETIME_PERSISTENT && (spec->traits & GM_TRAITS_OF_VM))
		return gm_refuse_text(refusal, GM_INVALID, GM_RULE_PERSISTENT, spec->kind,
				      "memory of this kind belongs to the VM of the process that "
				      "asks and ends with it");

	/* With kvm.gmem_in_place_conversion KVM has no attributes of the VM: no two halves. */
	if ((spec->traits & GM_TRAIT_IN_PLACE) && !tenant->policy.convert_in_place)
		return gm_refuse_text(refusal, GM_DENIED, GM_RULE_CONVERT_IN_PLACE,
				      tenant->account.name,
				      "this kernel converts memory in place only, and the policy's "
				      "ConvertInPlace= is no");

	if (*spec->name) {
		const struct gm_domain *other = find_by_name(tenant, spec->name);

		if (other)
			return gm_refuse(refusal, GM_EXISTS, GM_RULE_NAME_TAKEN,
					 gm_book_object("domain", other->id.v).text);
	}
	return gm_book_check_draining(book, refusal);
}

static void mark(struct gm_domain *domain)
{
	gm_mark_dirty(domain->tenant->marks, &domain->mark);
}

static void attach(struct gm_session *session, struct gm_domain *domain)
{
	domain->session = session;
	TAILQ_INSERT_TAIL(&session->domains, domain, session_link);
}

int gm_book_enter_domain(struct gm_book *book, struct gm_domain *domain, struct gm_session *session)
{
	struct gm_tenant *tenant = domain->tenant;
	int r;

	if (*domain->name && find_by_name(tenant, domain->name))
		return -EEXIST;
	r = gm_hash_add(&book->domains, &domain->hash,
			(struct gm_hash_key){ domain->id.v, tenant->index });
	if (r)
		return r;
	r = take_name(domain);
	if (r) {
		gm_hash_remove(&book->domains, &domain->hash);
		return r;
	}

	book->n_domains++;
	TAILQ_INSERT_TAIL(&tenant->domains, domain, link);
	if (session)
		attach(session, domain);
	return 0;
}

/* Leases of the pool whose guests have certainly no id of the host's yet. */
static uint64_t count_waiting(const struct gm_book *book, unsigned pool)
{
	const struct gm_domain *domain = NULL;
	uint64_t n = 0;

	while ((domain = gm_book_next_domain(book, domain)) != NULL)
		n += gm_domain_slot(domain) == (int)pool &&
		     gm_domain_launch_state(domain) == GM_LAUNCH_READY;
	return n;
}

static int take_slot(const struct gm_book *book, struct gm_domain *domain,
		     const struct gm_domain_spec *spec, struct gm_refusal *refusal)
{
	struct gm_slot_use host = spec->slot_use;

	host.waiting = count_waiting(book, spec->slot);
	return gm_book_take_slot(domain, spec->slot, &host, refusal);
}

int gm_book_create_domain(struct gm_book *book, struct gm_session *session,
			  const struct gm_domain_spec *spec, struct gm_domain_id id,
			  const struct gm_token *token, uint64_t now_ms,
			  struct gm_domain **ret_domain, struct gm_refusal *refusal)
{
	_gm_cleanup_(domain_cleanup) struct gm_domain *domain = NULL;
	struct gm_tenant *tenant = session->tenant;
	int r;

	assert(id.v != 0);
	assert(strlen(spec->name) < sizeof(domain->name));
	assert(strlen(spec->kind) < sizeof(domain->kind));
	assert((unsigned)spec->lifetime < GM_LIFETIME_N_);

	r = check_spec(book, session, spec, refusal);
	if (r)
		return r;

	domain = calloc(1, sizeof(*domain));
	if (!domain)
		return -ENOMEM;

	gm_mark_init(&domain->mark, GM_MARK_DOMAIN);
	domain->tenant = tenant;
	r = gm_charge_take(&domain->charge, &tenant->account, GM_RES_DOMAINS, 1, refusal);
	if (r == 0 && spec->has_slot)
		r = take_slot(book, domain, spec, refusal);
	if (r)
		return r;

	domain->id = id;
	domain->lifetime = spec->lifetime;
	domain->traits = spec->traits;
	domain->running = !(spec->traits & GM_TRAIT_LAUNCH);
	r = gm_book_launch_new(domain);
	if (r)
		return r;
	domain->token = *token;
	domain->created_ms = now_ms;
	snprintf(domain->name, sizeof(domain->name), "%s", spec->name);
	snprintf(domain->kind, sizeof(domain->kind), "%s", spec->kind);

	r = gm_book_enter_domain(book, domain, session);
	if (r)
		return r;
	domain->sequence = ++book->next_sequence;
	mark(domain);

	*ret_domain = gm_take_ptr(&domain);
	return 0;
}

static struct gm_domain *lookup_live(const struct gm_book *book, const struct gm_session *session,
				     struct gm_domain_id id)
{
	struct gm_domain *domain;

	domain = domain_of(gm_book_lookup(book, book->domains, session, id.v));
	return domain && !domain->dying ? domain : NULL;
}

/* The one answer to every id that leads nowhere: it may not tell why. */
static int refuse_unknown(struct gm_refusal *refusal)
{
	return gm_refuse(refusal, GM_NO_SUCH_OBJECT, GM_RULE_NONE, "domain");
}

int gm_book_find_domain(struct gm_book *book, const struct gm_session *session,
			struct gm_domain_id id, struct gm_domain **ret_domain,
			struct gm_refusal *refusal)
{
	struct gm_domain *domain = lookup_live(book, session, id);

	if (!domain)
		return refuse_unknown(refusal);
	*ret_domain = domain;
	return 0;
}

int gm_book_check_attached(const struct gm_domain *domain, const struct gm_session *session,
			   struct gm_refusal *refusal)
{
	if (domain->session == session)
		return 0;
	return gm_refuse(refusal, GM_BUSY, GM_RULE_ATTACHED,
			 gm_book_object("domain", domain->id.v).text);
}

int gm_book_find_attached(struct gm_book *book, const struct gm_session *session,
			  struct gm_domain_id id, struct gm_domain **ret_domain,
			  struct gm_refusal *refusal)
{
	struct gm_domain *domain = lookup_live(book, session, id);
	int r;

	if (!domain)
		return refuse_unknown(refusal);
	r = gm_book_check_attached(domain, session, refusal);
	if (r)
		return r;
	*ret_domain = domain;
	return 0;
}

int gm_book_find_with_token(struct gm_book *book, const struct gm_session *session,
			    struct gm_domain_id id, const struct gm_token *token,
			    struct gm_domain **ret_domain, struct gm_refusal *refusal)
{
	static const struct gm_token nobodys;
	struct gm_domain *domain = lookup_live(book, session, id);
	bool equal = gm_token_equal(token, domain ? &domain->token : &nobodys);

	/* The comparison comes first: an unknown id must not be answered any sooner. */
	if (!equal || !domain)
		return refuse_unknown(refusal);
	*ret_domain = domain;
	return 0;
}

int gm_book_may_attach(const struct gm_session *session, const struct gm_domain *domain,
		       bool take_over, struct gm_refusal *refusal)
{
	const struct gm_session *loser = domain->session;
	int r;

	assert(!domain->dying);

	/* Its jobs are charged to a tenant, its memory is a guest's: an operator has neither. */
	if (!session->tenant)
		return gm_refuse(refusal, GM_DENIED, GM_RULE_PERMISSION, "admin");
	assert(session->tenant == domain->tenant);

	r = gm_book_check_domain_usable(domain, refusal);
	if (r)
		return r;
	if (loser == session)
		return 0;
	if (domain->traits & GM_TRAITS_OF_VM)
		return gm_refuse_text(refusal, GM_WRONG_STATE, GM_RULE_ATTACHED,
				      gm_book_object("domain", domain->id.v).text,
				      "its memory belongs to the VM of the process that made it");
	if (!loser)
		return 0;
	if (!take_over)
		return gm_refuse(refusal, GM_BUSY, GM_RULE_ATTACHED,
				 gm_book_object("domain", domain->id.v).text);
	if (domain->n_jobs > 0)
		return gm_refuse(refusal, GM_BUSY, GM_RULE_JOBS_UNDER_WAY,
				 gm_book_object("domain", domain->id.v).text);
	return 0;
}

int gm_book_attach(struct gm_session *session, struct gm_domain *domain, bool take_over,
		   struct gm_session **ret_loser, struct gm_refusal *refusal)
{
	struct gm_session *loser = domain->session;
	int r;

	r = gm_book_may_attach(session, domain, take_over, refusal);
	if (r)
		return r;
	*ret_loser = NULL;
	if (loser == session)
		return 0;
	if (loser) {
		gm_book_drop_memlock(domain);
		TAILQ_REMOVE(&loser->domains, domain, session_link);
	}
	attach(session, domain);
	mark(domain);
	*ret_loser = loser;
	return 0;
}

void gm_book_detach(struct gm_domain *domain, uint64_t now_ms)
{
	if (!domain->session)
		return;
	gm_book_drop_memlock(domain);
	TAILQ_REMOVE(&domain->session->domains, domain, session_link);
	domain->session = NULL;
	domain->orphaned_ms = now_ms;
	mark(domain);
}

uint64_t gm_domain_ttl_left(const struct gm_domain *domain, uint64_t now_ms)
{
	uint64_t ttl_ms = domain->tenant->policy.persistent_ttl_ms;
	uint64_t waited_ms = 0;

	if (domain->session || ttl_ms == GM_UNLIMITED)
		return GM_UNLIMITED;
	if (now_ms > domain->orphaned_ms)
		waited_ms = now_ms - domain->orphaned_ms;
	return waited_ms < ttl_ms ? ttl_ms - waited_ms : 0;
}

int gm_book_may_destroy_domain(const struct gm_domain *domain, struct gm_refusal *refusal)
{
	if (domain->n_jobs == 0)
		return 0;
	return gm_refuse(refusal, GM_BUSY, GM_RULE_JOBS_UNDER_WAY,
			 gm_book_object("domain", domain->id.v).text);
}

void gm_book_quarantine_domain(struct gm_domain *domain)
{
	domain->quarantined = true;
	mark(domain);
}

int gm_book_check_domain_usable(const struct gm_domain *domain, struct gm_refusal *refusal)
{
	if (!domain->quarantined)
		return 0;
	return gm_refuse(refusal, GM_WRONG_STATE, GM_RULE_QUARANTINE,
			 gm_book_object("domain", domain->id.v).text);
}

void gm_book_end_domain(struct gm_domain *domain)
{
	if (domain->dying)
		return;
	gm_book_detach(domain, domain->orphaned_ms);
	release_name(domain);
	domain->dying = true;
	mark(domain);
	for (uint32_t i = 0; i < domain->n_regions; i++)
		gm_mark_dirty(domain->tenant->marks, &domain->regions[i]->mark);
}

void gm_book_remove_domain(struct gm_book *book, struct gm_domain *domain)
{
	assert(domain->n_regions == 0);
	assert(domain->n_jobs == 0);
	assert(domain->reserved_bytes == 0);
	assert(domain->allocated_bytes == 0);

	gm_book_end_domain(domain);
	TAILQ_REMOVE(&domain->tenant->domains, domain, link);
	gm_hash_remove(&book->domains, &domain->hash);
	book->n_domains--;
	gm_book_domain_free(domain);
}

struct gm_domain *gm_book_next_domain(const struct gm_book *book, const struct gm_domain *previous)
{
	const struct gm_hash_node *node = previous ? &previous->hash : NULL;
	struct gm_domain *domain;

	do {
		struct gm_hash_node *next = gm_hash_next(book->domains, node);

		domain = domain_of(next);
		node = next;
	} while (domain && domain->dying);
	return domain;
}
