/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random sessions, domains, regions and jobs of three tenants, against a naive model. Every verdict
 * must be the model's; now and then all sums are compared; in the end everything must be zero.
 *
 * Limits are small, so that they are met often; allocations fail now and then.
 */
#include <string.h>

#include "book_model.h"

#define OPERATIONS 1200000

static void open_session(void)
{
	const struct gm_peer peer = { .pid = 1 };
	struct gm_session *real = NULL;
	struct gm_refusal refusal;
	unsigned tenant = (unsigned)model_below(TENANTS + 1);
	int expected = 0;
	int i = (int)model_below(SESSIONS);
	bool was_short;
	int r;

	if (world.sessions[i].real)
		return;
	if (tenant < TENANTS && model_used_sessions(tenant) >= world.policies[tenant].sessions_max)
		expected = GM_OVER_LIMIT;
	was_short = model_maybe_short_of_memory();
	r = gm_book_open_session(&world.book, tenant < TENANTS ? world.tenants[tenant] : NULL,
				 (struct gm_session_id){ ++world.next_id }, &peer, &real, &refusal);
	model_judge(r, expected, was_short, "open a session");
	if (r == 0)
		world.sessions[i] = (struct model_session){ real, tenant };
}

/* As the daemon does it: domains are orphaned or end, jobs end, then the session goes. */
static void close_session(void)
{
	int session = model_any_session();

	if (session < 0)
		return;
	for (int i = 0; i < DOMAINS; i++) {
		if (!world.domains[i].real || world.domains[i].session != session)
			continue;
		gm_book_detach(world.domains[i].real, 0);
		world.domains[i].session = -1;
	}
	for (int i = 0; i < JOBS; i++) {
		if (!world.jobs[i].used || world.jobs[i].session != session)
			continue;
		gm_book_end_job(&world.jobs[i].ticket);
		world.jobs[i].used = false;
	}
	gm_book_close_session(&world.book, world.sessions[session].real);
	world.calls++;
	world.sessions[session].real = NULL;
}

static bool name_is_taken(unsigned tenant, const char *name)
{
	for (int i = 0; i < DOMAINS; i++)
		if (world.domains[i].real && !world.domains[i].ended &&
		    world.domains[i].tenant == tenant && *name &&
		    strcmp(world.domains[i].name, name) == 0)
			return true;
	return false;
}

static struct gm_token token_of(uint64_t id)
{
	struct gm_token token = { .bytes = { 0 } };

	memcpy(token.bytes, &id, sizeof(id));
	return token;
}

static void create_domain(void)
{
	struct model_domain domain = { .id = ++world.next_id };
	struct gm_domain_spec spec = { .name = domain.name, .kind = "memfd" };
	const struct gm_token token = token_of(domain.id);
	struct gm_refusal refusal;
	int i = (int)model_below(DOMAINS);
	int expected = 0;
	bool was_short;
	int r;

	domain.session = model_any_session();
	if (world.domains[i].real || domain.session < 0)
		return;
	domain.tenant = world.sessions[domain.session].tenant;
	if (model_below(2))
		snprintf(domain.name, sizeof(domain.name), "vm%u", (unsigned)model_below(12));
	spec.lifetime = (enum gm_lifetime)model_below(GM_LIFETIME_N_);
	if (domain.tenant == TENANTS)
		expected = GM_DENIED;
	else if (spec.lifetime == GM_LIFETIME_PERSISTENT &&
		 !world.policies[domain.tenant].persistent)
		expected = GM_DENIED;
	else if (name_is_taken(domain.tenant, domain.name))
		expected = GM_EXISTS;
	else if (model_used_domains(domain.tenant) >= world.policies[domain.tenant].domains_max)
		expected = GM_OVER_LIMIT;

	was_short = model_maybe_short_of_memory();
	r = gm_book_create_domain(&world.book, world.sessions[domain.session].real, &spec,
				  (struct gm_domain_id){ domain.id }, &token, 0, &domain.real,
				  &refusal);
	model_judge(r, expected, was_short, "create a domain");
	if (r == 0)
		world.domains[i] = domain;
}

static void find_domain(void)
{
	struct gm_domain *found = NULL;
	struct gm_refusal refusal;
	int session = model_any_session();
	int i = model_any_domain();
	uint64_t id = i >= 0 ? world.domains[i].id : world.dead_id;
	bool visible = session >= 0 && i >= 0 && model_sees(session, i);
	struct gm_token token = token_of(model_below(8) ? id : id + 1);
	const struct gm_token right = token_of(id);
	int expected;

	if (session < 0)
		return;
	model_judge(gm_book_find_domain(&world.book, world.sessions[session].real,
					(struct gm_domain_id){ id }, &found, &refusal),
		    visible ? 0 : GM_NO_SUCH_OBJECT, false, "find a domain");
	assert_ptr_equal(found, visible ? world.domains[i].real : NULL);

	expected = !visible ? GM_NO_SUCH_OBJECT : world.domains[i].session == session ? 0 : GM_BUSY;
	model_judge(gm_book_find_attached(&world.book, world.sessions[session].real,
					  (struct gm_domain_id){ id }, &found, &refusal),
		    expected, false, "find an attached domain");

	expected = visible && gm_token_equal(&token, &right) ? 0 : GM_NO_SUCH_OBJECT;
	model_judge(gm_book_find_with_token(&world.book, world.sessions[session].real,
					    (struct gm_domain_id){ id }, &token, &found, &refusal),
		    expected, false, "find a domain with its token");
}

static void attach_domain(void)
{
	struct gm_session *loser = NULL;
	struct gm_refusal refusal;
	int session = model_any_session();
	int i = model_any_domain();
	bool take_over = model_below(2);
	int expected = 0;
	int before;

	if (session < 0 || i < 0 || !model_sees(session, i))
		return;
	before = world.domains[i].session;
	if (world.sessions[session].tenant == TENANTS)
		expected = GM_DENIED;
	else if (before >= 0 && before != session && (!take_over || model_jobs_of_domain(i) > 0))
		expected = GM_BUSY;
	model_judge(gm_book_attach(world.sessions[session].real, world.domains[i].real, take_over,
				   &loser, &refusal),
		    expected, false, "attach a domain");
	if (expected)
		return;
	assert_ptr_equal(loser,
			 before >= 0 && before != session ? world.sessions[before].real : NULL);
	world.domains[i].session = session;
}

static void detach_domain(void)
{
	int i = model_any_domain();

	if (i < 0)
		return;
	gm_book_detach(world.domains[i].real, 0);
	world.calls++;
	world.domains[i].session = -1;
}

static void remove_region(int i)
{
	world.dead_id = world.regions[i].id;
	gm_book_remove_region(&world.book, world.regions[i].real);
	world.calls++;
	world.regions[i].real = NULL;
}

static void remove_domain(int i)
{
	for (int r = 0; r < REGIONS; r++)
		if (world.regions[r].real && world.regions[r].domain == i)
			remove_region(r);
	world.dead_id = world.domains[i].id;
	gm_book_remove_domain(&world.book, world.domains[i].real);
	world.calls++;
	world.domains[i].real = NULL;
}

/* Ends it at once; it stays in the books while it has jobs. */
static void end_domain(void)
{
	struct gm_refusal refusal;
	int i = model_any_domain();

	if (i < 0)
		return;
	model_judge(gm_book_may_destroy_domain(world.domains[i].real, &refusal),
		    model_jobs_of_domain(i) ? GM_BUSY : 0, false, "destroy a domain");
	gm_book_end_domain(world.domains[i].real);
	world.domains[i].ended = true;
	world.domains[i].session = -1;
	if (model_jobs_of_domain(i) == 0)
		remove_domain(i);
}

static bool addresses_are_taken(int domain, uint64_t gpa, uint64_t size)
{
	for (int i = 0; i < REGIONS; i++) {
		const struct gm_region *real = world.regions[i].real;

		if (real && world.regions[i].domain == domain && gpa < real->gpa + real->size &&
		    real->gpa < gpa + size)
			return true;
	}
	return false;
}

static int region_verdict(const struct model_region *region, const struct gm_region_spec *spec)
{
	unsigned tenant = world.domains[region->domain].tenant;
	const struct gm_policy *policy = &world.policies[tenant];

	if (spec->size == 0 || spec->size % spec->page_size || spec->gpa % spec->page_size)
		return GM_INVALID;
	if (spec->gpa > GM_ADDRESS_END - spec->size)
		return GM_INVALID;
	if (spec->size > policy->region_max)
		return GM_OVER_LIMIT;
	if (region->huge && policy->huge_2m_max == 0)
		return GM_DENIED;
	if (spec->numa_nodes & ~policy->numa_nodes)
		return GM_DENIED;
	if (addresses_are_taken(region->domain, spec->gpa, spec->size))
		return GM_EXISTS;
	if (model_used_memory(tenant, false) + spec->size > policy->memory_max ||
	    model_used_regions(tenant) >= policy->regions_max)
		return GM_OVER_LIMIT;
	if (region->huge && model_used_memory(tenant, true) + spec->size > policy->huge_2m_max)
		return GM_OVER_LIMIT;
	return 0;
}

static void create_region(void)
{
	struct model_region region = { .domain = model_any_domain(), .huge = model_below(8) == 0 };
	struct gm_region_spec spec = { .name = "" };
	struct gm_refusal refusal;
	int i = (int)model_below(REGIONS);
	int expected;
	bool was_short;
	int r;

	if (world.regions[i].real || region.domain < 0 || world.domains[region.domain].ended)
		return;
	region.id = ++world.next_id;
	region.first = model_below(ADDRESSES);
	region.pages = model_below(PAGES_MAX) + (model_below(32) != 0);
	spec.page_size = model_unit_of(&region);
	spec.gpa = region.first * spec.page_size + (model_below(64) == 0);
	spec.size = region.pages * spec.page_size + (model_below(64) == 0) * 512;
	spec.numa_nodes = model_below(4) ? 0 : model_below(16);
	if (model_below(64) == 0)
		spec.gpa = GM_ADDRESS_END - model_below(3) * spec.page_size;
	expected = region_verdict(&region, &spec);

	was_short = model_maybe_short_of_memory();
	r = gm_book_create_region(&world.book, world.domains[region.domain].real, &spec,
				  (struct gm_region_id){ region.id }, &region.real, &refusal);
	model_judge(r, expected, was_short, "create a region");
	if (r == 0)
		world.regions[i] = region;
}

static void find_region(void)
{
	struct gm_region *found = NULL;
	struct gm_refusal refusal;
	int session = model_any_session();
	int i = model_any_region();
	bool visible = session >= 0 && i >= 0 && model_sees(session, world.regions[i].domain);
	uint64_t id = i >= 0 ? world.regions[i].id : world.dead_id;
	int expected;

	if (session < 0)
		return;
	model_judge(gm_book_find_region(&world.book, world.sessions[session].real,
					(struct gm_region_id){ id }, &found, &refusal),
		    visible ? 0 : GM_NO_SUCH_OBJECT, false, "find a region");
	assert_ptr_equal(found, visible ? world.regions[i].real : NULL);

	expected = GM_NO_SUCH_OBJECT;
	if (visible)
		expected = world.domains[world.regions[i].domain].session == session ? 0 : GM_BUSY;
	model_judge(gm_book_find_attached_region(&world.book, world.sessions[session].real,
						 (struct gm_region_id){ id }, &found, &refusal),
		    expected, false, "find an attached region");
}

static void destroy_region(void)
{
	struct gm_refusal refusal;
	int i = model_any_region();
	bool busy = i >= 0 && model_jobs_of_region(i) > 0;

	if (i < 0)
		return;
	model_judge(gm_book_may_destroy_region(world.regions[i].real, &refusal), busy ? GM_BUSY : 0,
		    false, "destroy a region");
	if (!busy)
		remove_region(i);
}

static void begin_job(void)
{
	struct model_job job = { .used = true, .region = model_any_region() };
	const struct model_region *region = &world.regions[job.region < 0 ? 0 : job.region];
	struct gm_refusal refusal;
	struct gm_range range;
	int i = (int)model_below(JOBS);
	int expected = 0;
	unsigned tenant;

	if (world.jobs[i].used || job.region < 0)
		return;
	job.session = world.domains[region->domain].session;
	if (job.session < 0)
		return;
	tenant = world.domains[region->domain].tenant;
	job.op = (enum gm_page_op)model_below(GM_PAGE_OP_JOBS_N_);
	job.first = model_below(region->pages + 1);
	job.pages = model_below(region->pages + 1);
	range.offset = job.first * model_unit_of(region);
	range.length = job.pages * model_unit_of(region);
	if (job.pages == 0 || job.first + job.pages > region->pages)
		expected = GM_INVALID;
	else if (model_used_jobs(tenant) >= world.policies[tenant].jobs_max)
		expected = GM_OVER_LIMIT;
	model_judge(gm_book_begin_job(&world.book, world.sessions[job.session].real, region->real,
				      job.op, &range, 1, &job.ticket, &refusal),
		    expected, false, "begin a job");
	if (expected == 0)
		world.jobs[i] = job;
}

/* A worker reports a part of its range, or all of it. */
static void progress_job(void)
{
	struct model_job *job = &world.jobs[model_below(JOBS)];
	struct model_region *region;
	struct gm_refusal refusal;
	struct gm_range done;
	uint64_t first;
	uint64_t pages;
	bool was_short;
	int r;

	if (!job->used)
		return;
	region = &world.regions[job->region];
	first = job->first + model_below(job->pages);
	pages = 1 + model_below(job->first + job->pages - first);
	done = (struct gm_range){ first * model_unit_of(region), pages * model_unit_of(region) };
	was_short = model_maybe_short_of_memory();
	r = gm_book_job_progress(&job->ticket, &done, &refusal);
	model_judge(r, 0, was_short, "report progress");
	if (r == 0)
		memset(region->present + first, job->op == GM_PAGE_OP_ALLOCATE, pages);
}

static void end_job(void)
{
	struct model_job *job = &world.jobs[model_below(JOBS)];
	int domain;

	if (!job->used)
		return;
	domain = world.regions[job->region].domain;
	gm_book_end_job(&job->ticket);
	gm_book_end_job(&job->ticket);
	world.calls++;
	job->used = false;
	if (world.domains[domain].ended && model_jobs_of_domain(domain) == 0)
		remove_domain(domain);
}

static void change_policy(void)
{
	unsigned tenant = (unsigned)model_below(TENANTS);
	struct gm_policy *policy = &world.policies[tenant];

	policy->memory_max = model_below(8) ? model_below(64 * GM_MIB) : GM_UNLIMITED;
	policy->region_max = model_below(4) ? GM_UNLIMITED : model_below(GM_MIB);
	policy->regions_max = model_below(REGIONS);
	policy->domains_max = model_below(DOMAINS);
	policy->sessions_max = model_below(SESSIONS);
	policy->jobs_max = model_below(JOBS);
	policy->huge_2m_max = model_below(2) * model_below(256 * GM_MIB);
	policy->numa_nodes = model_below(2) ? UINT64_MAX : model_below(15) + 1;
	policy->persistent = model_below(4) != 0;
	gm_book_set_policy(world.tenants[tenant], policy);
}

static void clear(void)
{
	for (int i = 0; i < JOBS; i++)
		gm_book_end_job(&world.jobs[i].ticket);
	for (int i = 0; i < DOMAINS; i++)
		if (world.domains[i].real)
			remove_domain(i);
	for (int i = 0; i < SESSIONS; i++)
		if (world.sessions[i].real)
			gm_book_close_session(&world.book, world.sessions[i].real);
}

static const struct {
	void (*run)(void);
	unsigned weight;
} operations[] = {
	{ open_session, 4 },   { close_session, 1 },  { create_domain, 12 }, { find_domain, 10 },
	{ attach_domain, 20 }, { detach_domain, 1 },  { end_domain, 1 },     { create_region, 30 },
	{ find_region, 10 },   { destroy_region, 4 }, { begin_job, 40 },     { progress_job, 60 },
	{ end_job, 12 },       { change_policy, 1 },
};

static size_t any_operation(void)
{
	unsigned total = 0;
	uint64_t ticket;
	size_t i = 0;

	for (size_t o = 0; o < GM_ARRAY_SIZE(operations); o++)
		total += operations[o].weight;
	for (ticket = model_below(total); ticket >= operations[i].weight; i++)
		ticket -= operations[i].weight;
	return i;
}

static void the_books_are_the_models_books_after_any_operations(void **state)
{
	uint64_t domains_max = 0;
	uint64_t regions_max = 0;

	(void)state;
	gm_book_init(&world.book);
	for (unsigned t = 0; t < TENANTS; t++) {
		char name[] = { (char)('a' + t), '\0' };

		gm_policy_defaults(&world.policies[t], GM_GIB);
		assert_int_equal(gm_book_add_tenant(&world.book, name, &world.policies[t],
						    &world.tenants[t], NULL),
				 0);
	}
	for (unsigned long n = 0; world.calls < OPERATIONS; n++) {
		operations[any_operation()].run();
		if (n % 128 == 0)
			model_compare();
		domains_max = gm_max_u64(domains_max, world.book.n_domains);
		regions_max = gm_max_u64(regions_max, world.book.n_regions);
	}
	model_compare();
	print_message("%lu calls, %lu refused, %lu short of memory; at most %lu domains and %lu "
		      "regions at a time, %lu in all\n",
		      world.calls, world.refused, world.short_of_memory, domains_max, regions_max,
		      world.next_id);
	clear();
	gm_book_done(&world.book);
	/* Otherwise it was a walk over empty books. */
	assert_true(domains_max > DOMAINS / 2 && regions_max > REGIONS / 2);
	assert_true(world.refused > OPERATIONS / 100 && world.refused < OPERATIONS / 4 * 3);
	assert_true(world.short_of_memory > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(the_books_are_the_models_books_after_any_operations),
	};

	return gm_test_run("book against a model", tests, GM_ARRAY_SIZE(tests));
}
