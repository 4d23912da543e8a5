/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the record into the books. Records are checked here as far as the record goes; what the
 * values mean is checked by the core, which puts them into the books.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"
#include "store_private.h"

/* What the records have become. By record. */
struct load {
	struct gm_store *store;
	struct gm_book *book;
	const struct gm_store_load_ops *ops;
	void *arg;
	uint64_t now_ms;
	struct gm_tenant **tenants;
	struct gm_session **sessions;
	struct gm_domain **domains;
	bool *tenant_is_needed; /* by a record that stays */
};

static const char *const kind_names[GM_MARK_KIND_N_] = { "tenant", "session", "domain", "region" };

static void report_record(const struct load *load, enum gm_mark_kind kind, uint32_t record,
			  const char *why)
{
	char object[GM_OBJECT_MAX];

	snprintf(object, sizeof(object), "%s record %" PRIu32, kind_names[kind], record);
	load->ops->damaged(load->arg, object, why);
}

static void report_object(const struct load *load, enum gm_mark_kind kind, uint64_t id,
			  const char *why)
{
	char object[GM_OBJECT_MAX];

	snprintf(object, sizeof(object), "%s %016" PRIx64, kind_names[kind], id);
	load->ops->damaged(load->arg, object, why);
}

/* 0: had; 1: reported and left out; negative: the load is over. */
static int judge(const struct load *load, enum gm_mark_kind kind, uint64_t id, int r,
		 const struct gm_refusal *refusal)
{
	const char *why;

	if (r == 0 || (r < 0 && r != -EEXIST))
		return r;
	why = refusal->text[0] ? refusal->text : gm_rule_text(refusal->rule);
	report_object(load, kind, id, r == -EEXIST ? "its id or name is another's" : why);
	return 1;
}

/* ---- a table's records, in order ---- */

struct ticket {
	uint64_t sequence;
	uint32_t record;
};

static void sift_down(struct ticket *tickets, uint32_t root, uint32_t n)
{
	for (uint32_t child; (child = 2 * root + 1) < n; root = child) {
		struct ticket swap;

		if (child + 1 < n && tickets[child].sequence < tickets[child + 1].sequence)
			child++;
		if (tickets[root].sequence >= tickets[child].sequence)
			return;
		swap = tickets[root];
		tickets[root] = tickets[child];
		tickets[child] = swap;
	}
}

/* Heapsort: in place, and n log n whatever the order. */
static void sort(struct ticket *tickets, uint32_t n)
{
	for (uint32_t i = n / 2; i-- > 0;)
		sift_down(tickets, i, n);
	for (uint32_t i = n; i-- > 1;) {
		struct ticket swap = tickets[0];

		tickets[0] = tickets[i];
		tickets[i] = swap;
		sift_down(tickets, 0, i);
	}
}

static uint64_t sequence_of(const struct gm_store *store, enum gm_mark_kind kind, uint32_t record)
{
	const void *at = gm_store_record(store, kind, record);

	if (kind == GM_MARK_DOMAIN)
		return ((const struct gm_store_domain *)at)->sequence;
	if (kind == GM_MARK_REGION)
		return ((const struct gm_store_region *)at)->sequence;
	return record;
}

static void set_free(struct gm_store *store, enum gm_mark_kind kind, uint32_t record)
{
	/* Whoever has ended the session may have been killed before this. */
	if (kind == GM_MARK_SESSION)
		gm_store_release_answers(store, record);
	gm_store_table_give(store, kind, record);
}

/* Calls @visit for each sound record, in order of creation. Empty ones become free. */
static int each_record(struct load *load, enum gm_mark_kind kind,
		       int (*visit)(struct load *load, uint32_t record))
{
	struct gm_store *store = load->store;
	uint32_t n_ever = store->tables[kind].n_ever;
	_gm_free_ struct ticket *tickets = calloc(n_ever + 1, sizeof(*tickets));
	uint32_t n = 0;
	int r = 0;

	if (!tickets)
		return -ENOMEM;
	/* From the last to the first: free records are then taken from the first on. */
	for (uint32_t record = n_ever; record > 0; record--) {
		enum gm_store_found found = gm_store_look(store, kind, record);

		if (found == GM_STORE_EMPTY)
			set_free(store, kind, record);
		else if (found == GM_STORE_DAMAGED)
			report_record(load, kind, record, "its checksum is wrong");
		else
			tickets[n++] = (struct ticket){ sequence_of(store, kind, record), record };
	}
	sort(tickets, n);
	for (uint32_t i = 0; i < n && r >= 0; i++)
		r = visit(load, tickets[i].record);
	return r < 0 ? r : 0;
}

/* ---- tenants ---- */

static bool is_text(const char *text, size_t size)
{
	return strnlen(text, size) < size;
}

/* A tenant that the daemon has anyway. Others are made when something of them turns up. */
static int visit_tenant(struct load *load, uint32_t record)
{
	const struct gm_store_tenant *from = gm_store_record(load->store, GM_MARK_TENANT, record);
	struct gm_tenant *tenant;

	if (!is_text(from->name, sizeof(from->name))) {
		load->tenant_is_needed[record - 1] = true;
		report_record(load, GM_MARK_TENANT, record, "its name does not end");
		return 0;
	}
	tenant = gm_book_find_tenant(load->book, from->name);
	if (!tenant || tenant->mark.record != 0)
		return 0;
	tenant->mark.record = record;
	load->tenants[record - 1] = tenant;
	load->tenant_is_needed[record - 1] = true;
	return 0;
}

static int make_tenant(struct load *load, uint32_t record, struct gm_tenant **ret_tenant)
{
	const struct gm_store_tenant *from = gm_store_record(load->store, GM_MARK_TENANT, record);
	struct gm_refusal refusal = { 0 };
	struct gm_tenant *tenant = NULL;
	int r;

	if (!is_text(from->name, sizeof(from->name)))
		return 1;
	r = load->ops->tenant(load->arg, from->name, &tenant, &refusal);
	if (r < 0 && r != -EEXIST)
		return r;
	if (r || tenant->mark.record != 0) {
		report_record(load, GM_MARK_TENANT, record,
			      r == 0		? "it is there twice"
			      : refusal.text[0] ? refusal.text
						: gm_rule_text(refusal.rule));
		return 1;
	}
	tenant->mark.record = record;
	load->tenants[record - 1] = tenant;
	*ret_tenant = tenant;
	return 0;
}

/* 0; 1: there is no such tenant; negative. */
static int find_tenant(struct load *load, uint32_t record, struct gm_tenant **ret_tenant)
{
	if (record == 0 || record > load->store->tables[GM_MARK_TENANT].n_ever ||
	    gm_store_look(load->store, GM_MARK_TENANT, record) != GM_STORE_SOUND)
		return 1;
	load->tenant_is_needed[record - 1] = true;
	if (!load->tenants[record - 1])
		return make_tenant(load, record, ret_tenant);
	*ret_tenant = load->tenants[record - 1];
	return 0;
}

/* Tenants that have gone from the configuration and of which nothing is left. */
static void find_stale_tenants(struct load *load)
{
	struct gm_store *store = load->store;

	for (uint32_t record = 1; record <= store->tables[GM_MARK_TENANT].n_ever; record++)
		if (gm_store_look(store, GM_MARK_TENANT, record) == GM_STORE_SOUND &&
		    !load->tenant_is_needed[record - 1])
			store->stale_tenants[store->n_stale_tenants++] = record;
}

/* ---- sessions ---- */

static int visit_session(struct load *load, uint32_t record)
{
	const struct gm_store_session *at = gm_store_record(load->store, GM_MARK_SESSION, record);
	struct gm_session_restore from = {
		.record = record,
		.id = { at->id },
		.peer = { .pid = at->pid, .uid = at->uid, .gid = at->gid },
		.has_key = at->has_key != 0,
	};
	struct gm_refusal refusal = { 0 };
	struct gm_session *session = NULL;
	struct gm_tenant *tenant = NULL;
	int r;

	memcpy(from.key.bytes, at->key, sizeof(from.key.bytes));
	memcpy(from.client, at->client, sizeof(from.client));
	r = find_tenant(load, at->tenant, &tenant);
	if (r > 0)
		report_object(load, GM_MARK_SESSION, at->id, "its tenant is not there");
	if (r)
		return r;
	r = load->ops->session(load->arg, tenant, &from, &session, &refusal);
	r = judge(load, GM_MARK_SESSION, at->id, r, &refusal);
	if (r)
		return r;
	load->sessions[record - 1] = session;
	if (gm_store_load_answers(load->store, record, at->id) > 0)
		report_object(load, GM_MARK_SESSION, at->id, "some of its answers are damaged");
	return 0;
}

/* ---- domains ---- */

/* The session that a reference leads to, if it is still that one. */
static struct gm_session *find_session(const struct load *load, const struct gm_store_domain *at)
{
	struct gm_session *session;

	if (at->session == 0 || at->session > load->store->tables[GM_MARK_SESSION].n_ever)
		return NULL;
	session = load->sessions[at->session - 1];
	return session && session->id.v == at->session_id &&
			       session->tenant->mark.record == at->tenant
		       ? session
		       : NULL;
}

/* Into @from, which points to @launch then. */
static void load_launch(struct load *load, uint32_t record, const struct gm_store_domain *at,
			struct gm_store_launch *launch, struct gm_launch_failure *failure,
			struct gm_domain_restore *from)
{
	int r = gm_store_load_launch(load->store, record, at, launch);

	if (r < 0)
		report_object(load, GM_MARK_DOMAIN, at->id,
			      "what its launch has measured is damaged");
	if (r)
		return;
	failure->sys_errno = launch->sys_errno;
	failure->firmware_error = launch->firmware_error;
	memcpy(failure->text, launch->failure, sizeof(failure->text));
	from->launch.digest = launch->digest;
	from->launch.next_digest = launch->next_digest;
	from->launch.failure = failure;
}

static int visit_domain(struct load *load, uint32_t record)
{
	const struct gm_store_domain *at = gm_store_record(load->store, GM_MARK_DOMAIN, record);
	struct gm_session *session = find_session(load, at);
	struct gm_domain_restore from = {
		.record = record,
		.id = { at->id },
		.sequence = at->sequence,
		.lifetime = (enum gm_lifetime)at->lifetime,
		.created_ms = at->created_ms,
		.orphaned_ms = at->orphaned_ms,
		.quarantined = at->flags & GM_STORE_QUARANTINED,
		.slot = at->slot,
		.memlock_bytes = at->memlock_bytes,
		.memlock_base = { .soft = at->memlock_soft, .hard = at->memlock_hard },
		.traits = at->traits,
		.launch = { .state = (enum gm_launch_state)at->launch_state,
			    .step_kind = (enum gm_step_kind)at->launch_step_kind,
			    .step_id = at->launch_step_id,
			    .deadline_ms = at->launch_deadline_ms },
	};
	struct gm_launch_failure failure = { 0 };
	struct gm_refusal refusal = { 0 };
	struct gm_domain *domain = NULL;
	struct gm_tenant *tenant = NULL;
	struct gm_store_launch launch;
	int r;

	load_launch(load, record, at, &launch, &failure, &from);
	memcpy(from.token.bytes, at->token, sizeof(from.token.bytes));
	memcpy(from.kind, at->kind, sizeof(from.kind));
	memcpy(from.name, at->name, sizeof(from.name));
	/* Nobody knows since when: the time that it may wait starts anew. */
	if (load->store->version < 1 || (!session && at->session != 0))
		from.orphaned_ms = load->now_ms;
	r = find_tenant(load, at->tenant, &tenant);
	if (r > 0)
		report_object(load, GM_MARK_DOMAIN, at->id, "its tenant is not there");
	if (r)
		return r;
	r = load->ops->domain(load->arg, tenant, session, &from, &domain, &refusal);
	explicit_bzero(&from.token, sizeof(from.token));
	r = judge(load, GM_MARK_DOMAIN, at->id, r, &refusal);
	if (r)
		return r;
	load->domains[record - 1] = domain;
	/* It was attached and is orphaned now. */
	if (!session && at->session != 0)
		gm_mark_dirty(&load->book->marks, &domain->mark);
	return 0;
}

/* ---- regions ---- */

static struct gm_domain *find_domain(const struct load *load, const struct gm_store_region *at)
{
	struct gm_domain *domain;

	if (at->domain == 0 || at->domain > load->store->tables[GM_MARK_DOMAIN].n_ever)
		return NULL;
	domain = load->domains[at->domain - 1];
	return domain && domain->id.v == at->domain_id ? domain : NULL;
}

static void map_cleanup(struct gm_page_map *map)
{
	gm_page_map_done(map);
}

/* The map of a region whose numbers can be right. 0, 1: reported, negative. */
static int load_map(struct load *load, const struct gm_store_region *at, uint32_t record,
		    struct gm_page_map *map, uint64_t *ret_lost)
{
	struct gm_store *store = load->store;
	struct gm_store_place *place = &store->places[record - 1];
	int r;

	if (at->size == 0 || !gm_is_aligned(at->size, GM_PAGE_4K) || at->size > GM_ADDRESS_END) {
		report_object(load, GM_MARK_REGION, at->id, "its size cannot be right");
		return 1;
	}
	if (at->map_order != gm_ranges_order((at->size - 1) / GM_GIB + 1) ||
	    !gm_ranges_claim(&store->ranges, at->map_order, at->map_first)) {
		report_object(load, GM_MARK_REGION, at->id, "its page map cannot be there");
		return 1;
	}
	*place = (struct gm_store_place){ .first = at->map_first, .order = (uint8_t)at->map_order };
	r = gm_page_map_init(map, at->size, GM_PAGE_ABSENT);
	if (r == 0)
		r = gm_store_load_map(store, at, place, map, ret_lost);
	return r;
}

static void report_lost(const struct load *load, uint64_t id, uint64_t lost)
{
	char why[GM_TEXT_MAX];

	snprintf(why, sizeof(why),
		 "the page map is damaged: the pages of %" PRIu64 " GiB are booked as lost", lost);
	report_object(load, GM_MARK_REGION, id, why);
}

static int visit_region(struct load *load, uint32_t record)
{
	const struct gm_store_region *at = gm_store_record(load->store, GM_MARK_REGION, record);
	struct gm_domain *domain = find_domain(load, at);
	struct gm_region_restore from = {
		.record = record,
		.id = { at->id },
		.sequence = at->sequence,
		.gpa = at->gpa,
		.size = at->size,
		.page_size = at->page_size,
		.numa_nodes = at->numa_nodes,
		.file = { .device = at->device, .inode = at->inode },
		.quarantined = at->flags & GM_STORE_QUARANTINED,
		.ops_under_way = at->ops_under_way & ((1u << GM_PAGE_OP_JOBS_N_) - 1),
		.private_file = { .device = at->private_device, .inode = at->private_inode },
		.private_fd = -1,
		.bound = at->flags & GM_STORE_BOUND,
		.unanswered = at->flags & GM_STORE_UNANSWERED,
		.step = { .id = at->step_id,
			  .kind = (enum gm_step_kind)at->step_kind,
			  .op = (enum gm_page_op)at->step_op,
			  .reported = at->step_reported != 0,
			  .key = { at->step_key[0], at->step_key[1] },
			  .digest = at->step_digest,
			  .deadline_ms = at->step_deadline_ms },
		.order = { .id = at->order_id,
			   .last = at->order_last,
			   .spent = at->order_spent,
			   .room = at->order_room * GM_PAGE_4K,
			   .granularity = UINT64_C(1) << (at->order_granularity & 63) },
	};
	_gm_cleanup_(map_cleanup) struct gm_page_map map = { 0 };
	struct gm_refusal refusal = { 0 };
	struct gm_region *region = NULL;
	uint64_t lost = 0;
	int r;

	memcpy(from.name, at->name, sizeof(from.name));
	if (!domain) {
		report_object(load, GM_MARK_REGION, at->id, "its domain is not there");
		return 0;
	}
	r = load_map(load, at, record, &map, &lost);
	if (r)
		return r;
	r = load->ops->region(load->arg, domain, &from, &map, &region, &refusal);
	r = judge(load, GM_MARK_REGION, at->id, r, &refusal);
	if (r || lost == 0)
		return r;
	report_lost(load, at->id, lost);
	gm_mark_whole_map(&load->book->marks, region);
	return 0;
}

/* ---- all of it ---- */

static void mark_all(struct gm_book *book)
{
	struct gm_region *region = NULL;
	struct gm_domain *domain = NULL;
	struct gm_tenant *tenant;

	TAILQ_FOREACH(tenant, &book->tenants, link) {
		struct gm_session *session;

		gm_mark_dirty(&book->marks, &tenant->mark);
		TAILQ_FOREACH(session, &tenant->sessions, link)
			gm_mark_dirty(&book->marks, &session->mark);
	}
	while ((domain = gm_book_next_domain(book, domain)))
		gm_mark_dirty(&book->marks, &domain->mark);
	while ((region = gm_book_next_region(book, region)))
		gm_mark_dirty(&book->marks, &region->mark);
}

static void release_range(void *arg, uint32_t first, uint32_t n)
{
	struct gm_store *store = arg;

	store->release(store->release_arg, GM_STORE_MAPS, gm_store_slot_at(store, first),
		       (uint64_t)n * GM_STORE_GIB_SIZE);
}

static int load_tables(struct load *load)
{
	int r;

	r = each_record(load, GM_MARK_TENANT, visit_tenant);
	if (r == 0)
		r = each_record(load, GM_MARK_SESSION, visit_session);
	if (r == 0)
		r = each_record(load, GM_MARK_DOMAIN, visit_domain);
	if (r == 0)
		r = each_record(load, GM_MARK_REGION, visit_region);
	return r;
}

int gm_store_load(struct gm_store *store, struct gm_book *book, const struct gm_store_load_ops *ops,
		  void *arg, uint64_t now_ms)
{
	const struct gm_store_table *tables = store->tables;
	_gm_free_ struct gm_tenant **tenants =
		calloc(tables[GM_MARK_TENANT].n_ever + 1, sizeof(*tenants));
	_gm_free_ struct gm_session **sessions =
		calloc(tables[GM_MARK_SESSION].n_ever + 1, sizeof(*sessions));
	_gm_free_ struct gm_domain **domains =
		calloc(tables[GM_MARK_DOMAIN].n_ever + 1, sizeof(*domains));
	_gm_free_ bool *tenant_is_needed =
		calloc(tables[GM_MARK_TENANT].n_ever + 1, sizeof(*tenant_is_needed));
	struct load load = { .store = store,
			     .book = book,
			     .ops = ops,
			     .arg = arg,
			     .now_ms = now_ms,
			     .tenants = tenants,
			     .sessions = sessions,
			     .domains = domains,
			     .tenant_is_needed = tenant_is_needed };
	int r;

	if (!tenants || !sessions || !domains || !tenant_is_needed)
		return -ENOMEM;
	r = load_tables(&load);
	if (r)
		return r;
	find_stale_tenants(&load);
	if (store->version != GM_STORE_VERSION)
		mark_all(book);
	/* A daemon that was killed while it gave space back has not given back all of it. */
	if (store->release)
		gm_ranges_each_free(&store->ranges, release_range, store);
	return 0;
}
