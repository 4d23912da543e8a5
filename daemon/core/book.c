/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "book_private.h"
#include "gm_cleanup.h"

struct gm_object_name gm_book_object(const char *what, uint64_t id)
{
	struct gm_object_name name;

	snprintf(name.text, sizeof(name.text), "%s %016" PRIx64, what, id);
	return name;
}

int gm_book_check_draining(const struct gm_book *book, struct gm_refusal *refusal)
{
	if (!book->draining)
		return 0;
	return gm_refuse(refusal, GM_SHUTTING_DOWN, GM_RULE_DRAINING, "host");
}

struct gm_hash_node *gm_book_lookup(const struct gm_book *book, struct gm_hash_node *table,
				    const struct gm_session *session, uint64_t id)
{
	const struct gm_tenant *tenant;

	if (session->tenant)
		return gm_hash_find(table, (struct gm_hash_key){ id, session->tenant->index });

	TAILQ_FOREACH(tenant, &book->tenants, link) {
		struct gm_hash_node *node;

		node = gm_hash_find(table, (struct gm_hash_key){ id, tenant->index });
		if (node)
			return node;
	}
	return NULL;
}

void gm_book_init(struct gm_book *book)
{
	*book = (struct gm_book){ 0 };
	gm_account_init(&book->host, "host", /* parent= */ NULL);
	gm_account_init(&book->admin, "admin", /* parent= */ NULL);
	TAILQ_INIT(&book->tenants);
	TAILQ_INIT(&book->admin_sessions);
	TAILQ_INIT(&book->steps);
	gm_marks_init(&book->marks);
}

static void tenant_free(struct gm_tenant *tenant)
{
	assert(TAILQ_EMPTY(&tenant->domains));
	assert(TAILQ_EMPTY(&tenant->sessions));
	assert(!tenant->names);
	assert(tenant->allocated_bytes == 0);
	assert(gm_account_is_zero(&tenant->account));
	free(tenant);
}

void gm_book_done(struct gm_book *book)
{
	struct gm_tenant *tenant;

	gm_marks_done(&book->marks);
	while ((tenant = TAILQ_FIRST(&book->tenants))) {
		TAILQ_REMOVE(&book->tenants, tenant, link);
		tenant_free(tenant);
	}

	assert(TAILQ_EMPTY(&book->admin_sessions));
	assert(!book->domains && book->n_domains == 0);
	assert(!book->regions && book->n_regions == 0);
	assert(gm_account_is_zero(&book->admin));
	assert(gm_account_is_zero(&book->host));
}

/* The character set of names on the wire: a tenant's name travels in answers and logs. */
static bool tenant_name_is_valid(const char *name)
{
	size_t length = strnlen(name, GM_NAME_SIZE);

	return length > 0 && length < GM_NAME_SIZE &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-") ==
		       length;
}

int gm_book_add_tenant(struct gm_book *book, const char *name, const struct gm_policy *policy,
		       struct gm_tenant **ret_tenant, struct gm_refusal *refusal)
{
	struct gm_tenant *tenant;
	char object[GM_OBJECT_MAX];

	if (!tenant_name_is_valid(name))
		return gm_refuse(refusal, GM_INVALID, GM_RULE_NAME, "tenant");

	snprintf(object, sizeof(object), "tenant %s", name);
	if (gm_book_find_tenant(book, name))
		return gm_refuse(refusal, GM_EXISTS, GM_RULE_NAME_TAKEN, object);

	tenant = calloc(1, sizeof(*tenant));
	if (!tenant)
		return -ENOMEM;

	gm_mark_init(&tenant->mark, GM_MARK_TENANT);
	tenant->marks = &book->marks;
	tenant->steps = &book->steps;
	snprintf(tenant->name, sizeof(tenant->name), "%s", name);
	tenant->index = book->next_tenant_index++;
	gm_account_init(&tenant->account, object, &book->host);
	gm_bucket_init(&tenant->requests, GM_UNLIMITED, 0);
	gm_bucket_init(&tenant->bytes, GM_UNLIMITED, 0);
	gm_bucket_init(&tenant->conversions, GM_UNLIMITED, 0);
	TAILQ_INIT(&tenant->domains);
	TAILQ_INIT(&tenant->sessions);
	gm_book_set_policy(tenant, policy);
	TAILQ_INSERT_TAIL(&book->tenants, tenant, link);
	gm_mark_dirty(&book->marks, &tenant->mark);

	*ret_tenant = tenant;
	return 0;
}

struct gm_tenant *gm_book_find_tenant(struct gm_book *book, const char *name)
{
	struct gm_tenant *tenant;

	TAILQ_FOREACH(tenant, &book->tenants, link)
		if (strcmp(tenant->name, name) == 0)
			return tenant;
	return NULL;
}

void gm_book_set_policy(struct gm_tenant *tenant, const struct gm_policy *policy)
{
	struct gm_account *account = &tenant->account;

	tenant->policy = *policy;
	gm_account_set_limit(account, GM_RES_MEMORY, policy->memory_max);
	gm_account_set_limit(account, GM_RES_HUGE_2M, policy->huge_2m_max);
	gm_account_set_limit(account, GM_RES_HUGE_1G, policy->huge_1g_max);
	gm_account_set_limit(account, GM_RES_REGIONS, policy->regions_max);
	gm_account_set_limit(account, GM_RES_DOMAINS, policy->domains_max);
	gm_account_set_limit(account, GM_RES_SESSIONS, policy->sessions_max);
	gm_account_set_limit(account, GM_RES_JOBS, policy->jobs_max);
	gm_account_set_limit(account, GM_RES_MEMLOCK, policy->memlock_max);
	for (unsigned pool = 0; pool < GM_SLOT_POOLS; pool++)
		gm_account_set_limit(account, gm_slot_resource(pool), policy->slots_max[pool]);
}

static void session_free(struct gm_session *session)
{
	gm_charge_done(&session->fds);
	gm_charge_done(&session->charge);
	explicit_bzero(&session->key, sizeof(session->key));
	if (!session->tenant || gm_mark_remove(session->tenant->marks, &session->mark))
		free(session);
}

static void session_cleanup(struct gm_session **session)
{
	if (*session)
		session_free(*session);
}

static int charge_session(struct gm_session *session, struct gm_account *account,
			  struct gm_refusal *refusal)
{
	int r;

	r = gm_charge_take(&session->charge, account, GM_RES_SESSIONS, 1, refusal);
	if (r)
		return r;
	return gm_charge_take(&session->fds, account, GM_RES_FDS, GM_SESSION_FDS, refusal);
}

static int charge_session_over(struct gm_session *session, struct gm_account *account)
{
	int r;

	r = gm_charge_force(&session->charge, account, GM_RES_SESSIONS, 1);
	if (r)
		return r;
	return gm_charge_force(&session->fds, account, GM_RES_FDS, GM_SESSION_FDS);
}

static int open_session(struct gm_book *book, struct gm_tenant *tenant, struct gm_session_id id,
			const struct gm_peer *peer, bool over, struct gm_session **ret_session,
			struct gm_refusal *refusal)
{
	_gm_cleanup_(session_cleanup) struct gm_session *session = NULL;
	struct gm_account *account = tenant ? &tenant->account : &book->admin;
	int r;

	assert(id.v != 0);

	if (tenant) {
		r = gm_book_check_draining(book, refusal);
		if (r)
			return r;
	}

	session = calloc(1, sizeof(*session));
	if (!session)
		return -ENOMEM;

	r = over ? charge_session_over(session, account)
		 : charge_session(session, account, refusal);
	if (r)
		return r;

	gm_mark_init(&session->mark, GM_MARK_SESSION);
	session->id = id;
	session->state = GM_SESSION_GREETING;
	session->tenant = tenant;
	session->peer = *peer;
	TAILQ_INIT(&session->domains);
	if (tenant)
		TAILQ_INSERT_TAIL(&tenant->sessions, session, link);
	else
		TAILQ_INSERT_TAIL(&book->admin_sessions, session, link);

	*ret_session = gm_take_ptr(&session);
	return 0;
}

int gm_book_open_session(struct gm_book *book, struct gm_tenant *tenant, struct gm_session_id id,
			 const struct gm_peer *peer, struct gm_session **ret_session,
			 struct gm_refusal *refusal)
{
	return open_session(book, tenant, id, peer, /* over= */ false, ret_session, refusal);
}

int gm_book_open_session_over(struct gm_book *book, struct gm_tenant *tenant,
			      struct gm_session_id id, const struct gm_peer *peer,
			      struct gm_session **ret_session, struct gm_refusal *refusal)
{
	return open_session(book, tenant, id, peer, /* over= */ true, ret_session, refusal);
}

void gm_book_close_session(struct gm_book *book, struct gm_session *session)
{
	assert(TAILQ_EMPTY(&session->domains));
	assert(session->n_jobs == 0);

	if (session->tenant)
		TAILQ_REMOVE(&session->tenant->sessions, session, link);
	else
		TAILQ_REMOVE(&book->admin_sessions, session, link);
	session_free(session);
}

/* Marks what has no record yet. */
static void mark_new(struct gm_marks *marks, struct gm_mark *mark)
{
	if (mark->record == 0)
		gm_mark_dirty(marks, mark);
}

void gm_book_start_recording(struct gm_book *book)
{
	struct gm_region *region = NULL;
	struct gm_domain *domain = NULL;
	struct gm_tenant *tenant;

	book->marks.recording = true;
	TAILQ_FOREACH(tenant, &book->tenants, link) {
		struct gm_session *session;

		mark_new(&book->marks, &tenant->mark);
		TAILQ_FOREACH(session, &tenant->sessions, link)
			if (session->state == GM_SESSION_OPEN)
				mark_new(&book->marks, &session->mark);
	}
	while ((domain = gm_book_next_domain(book, domain)))
		mark_new(&book->marks, &domain->mark);
	while ((region = gm_book_next_region(book, region)))
		if (region->mark.record == 0)
			gm_mark_whole_map(&book->marks, region);
}

static const char *const session_state_names[GM_SESSION_STATE_N_] = {
	[GM_SESSION_GREETING] = "greeting",
	[GM_SESSION_OPEN] = "open",
	[GM_SESSION_CLOSING] = "closing",
};

const char *gm_session_state_name(enum gm_session_state state)
{
	if ((unsigned)state >= GM_SESSION_STATE_N_)
		return "unknown";
	return session_state_names[state];
}

void gm_session_set_state(struct gm_session *session, enum gm_session_state state)
{
	/* A session only ever moves on: nothing leads back from a connection that is gone. */
	assert(state > session->state && state < GM_SESSION_STATE_N_);
	session->state = state;
	if (session->tenant)
		gm_mark_dirty(session->tenant->marks, &session->mark);
}

void gm_session_set_key(struct gm_session *session, const struct gm_session_key *key)
{
	assert(session->state == GM_SESSION_GREETING);
	session->has_key = true;
	session->key = *key;
}

/* In one time, however many bytes are right. */
static bool keys_are_equal(const struct gm_session_key *a, const struct gm_session_key *b)
{
	unsigned char different = 0;

	for (size_t i = 0; i < sizeof(a->bytes); i++)
		different |= a->bytes[i] ^ b->bytes[i];
	return different == 0;
}

struct gm_session *gm_book_find_session_by_key(struct gm_tenant *tenant,
					       const struct gm_session_key *key)
{
	struct gm_session *session;
	struct gm_session *found = NULL;

	TAILQ_FOREACH(session, &tenant->sessions, link)
		if (session->state == GM_SESSION_OPEN && session->has_key &&
		    keys_are_equal(&session->key, key))
			found = session;
	return found;
}
