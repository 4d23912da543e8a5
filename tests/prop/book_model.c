/* SPDX-License-Identifier: Apache-2.0 */
#include "book_model.h"

#include <errno.h>

struct world world;

uint64_t model_below(uint64_t n)
{
	return gm_test_random_below(&world.rng, n);
}

uint64_t model_used_domains(unsigned tenant)
{
	uint64_t n = 0;

	for (int i = 0; i < DOMAINS; i++)
		n += world.domains[i].real && world.domains[i].tenant == tenant;
	return n;
}

static unsigned tenant_of_region(int region)
{
	return world.domains[world.regions[region].domain].tenant;
}

uint64_t model_used_regions(unsigned tenant)
{
	uint64_t n = 0;

	for (int i = 0; i < REGIONS; i++)
		n += world.regions[i].real && tenant_of_region(i) == tenant;
	return n;
}

uint64_t model_used_memory(unsigned tenant, bool huge_only)
{
	uint64_t n = 0;

	for (int i = 0; i < REGIONS; i++)
		if (world.regions[i].real && tenant_of_region(i) == tenant &&
		    (!huge_only || world.regions[i].huge))
			n += world.regions[i].real->size;
	return n;
}

uint64_t model_used_sessions(unsigned tenant)
{
	uint64_t n = 0;

	for (int i = 0; i < SESSIONS; i++)
		n += world.sessions[i].real && world.sessions[i].tenant == tenant;
	return n;
}

uint64_t model_used_jobs(unsigned tenant)
{
	uint64_t n = 0;

	for (int i = 0; i < JOBS; i++)
		n += world.jobs[i].used && tenant_of_region(world.jobs[i].region) == tenant;
	return n;
}

unsigned model_jobs_of_domain(int domain)
{
	unsigned n = 0;

	for (int i = 0; i < JOBS; i++)
		n += world.jobs[i].used && world.regions[world.jobs[i].region].domain == domain;
	return n;
}

unsigned model_jobs_of_region(int region)
{
	unsigned n = 0;

	for (int i = 0; i < JOBS; i++)
		n += world.jobs[i].used && world.jobs[i].region == region;
	return n;
}

static unsigned jobs_of_session(int session)
{
	unsigned n = 0;

	for (int i = 0; i < JOBS; i++)
		n += world.jobs[i].used && world.jobs[i].session == session;
	return n;
}

uint64_t model_unit_of(const struct model_region *region)
{
	return region->huge ? GM_PAGE_2M : GM_PAGE_4K;
}

static uint64_t present_bytes(const struct model_region *region)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < region->pages; i++)
		n += region->present[i];
	return n * model_unit_of(region);
}

bool model_sees(int session, int domain)
{
	unsigned tenant = world.sessions[session].tenant;

	return !world.domains[domain].ended &&
	       (tenant == TENANTS || tenant == world.domains[domain].tenant);
}

int model_any_session(void)
{
	int i = (int)model_below(SESSIONS);

	return world.sessions[i].real ? i : -1;
}

int model_any_domain(void)
{
	int i = (int)model_below(DOMAINS);

	return world.domains[i].real ? i : -1;
}

int model_any_region(void)
{
	int i = (int)model_below(REGIONS);

	return world.regions[i].real ? i : -1;
}

bool model_maybe_short_of_memory(void)
{
	if (model_below(32) != 0)
		return false;
	gm_test_fail_allocation((long)model_below(5) + 1);
	return true;
}

void model_judge(int r, int expected, bool was_short, const char *what)
{
	gm_test_fail_allocation(0);
	world.calls++;
	if (was_short && r == -ENOMEM && (expected == 0 || expected == GM_OVER_LIMIT)) {
		world.short_of_memory++;
		return;
	}
	if (r != expected)
		fail_msg("%s: %d, the model says %d", what, r, expected);
	world.refused += r > 0;
}

static void compare_region(int i)
{
	const struct model_region *region = &world.regions[i];

	assert_int_equal(region->real->allocated_bytes, present_bytes(region));
	assert_int_equal(region->real->n_jobs, model_jobs_of_region(i));
	for (uint64_t page = 0; page < region->pages; page++)
		assert_int_equal(gm_page_map_get(&region->real->map, page * model_unit_of(region)),
				 region->present[page] ? GM_PAGE_SHARED : GM_PAGE_ABSENT);
}

static void compare_domain(int i)
{
	const struct gm_domain *real = world.domains[i].real;
	uint64_t reserved = 0;
	uint64_t allocated = 0;
	uint32_t regions = 0;

	for (int r = 0; r < REGIONS; r++) {
		if (!world.regions[r].real || world.regions[r].domain != i)
			continue;
		regions++;
		reserved += world.regions[r].real->size;
		allocated += present_bytes(&world.regions[r]);
	}
	assert_int_equal(real->n_regions, regions);
	assert_int_equal(real->reserved_bytes, reserved);
	assert_int_equal(real->allocated_bytes, allocated);
	assert_int_equal(real->n_jobs, model_jobs_of_domain(i));
	for (uint32_t r = 1; r < real->n_regions; r++)
		assert_true(real->regions[r - 1]->gpa + real->regions[r - 1]->size <=
			    real->regions[r]->gpa);
}

static void compare_tenant(unsigned t)
{
	const uint64_t *used = world.tenants[t]->account.used;
	uint64_t allocated = 0;

	for (int i = 0; i < REGIONS; i++)
		if (world.regions[i].real && tenant_of_region(i) == t)
			allocated += present_bytes(&world.regions[i]);
	assert_int_equal(used[GM_RES_MEMORY], model_used_memory(t, false));
	assert_int_equal(used[GM_RES_HUGE_2M], model_used_memory(t, true));
	assert_int_equal(used[GM_RES_REGIONS], model_used_regions(t));
	assert_int_equal(used[GM_RES_DOMAINS], model_used_domains(t));
	assert_int_equal(used[GM_RES_SESSIONS], model_used_sessions(t));
	assert_int_equal(used[GM_RES_JOBS], model_used_jobs(t));
	assert_int_equal(used[GM_RES_FDS],
			 model_used_regions(t) + model_used_sessions(t) * GM_SESSION_FDS);
	assert_int_equal(world.tenants[t]->allocated_bytes, allocated);
}

static void compare_walks(void)
{
	const struct gm_domain *domain = NULL;
	const struct gm_region *region = NULL;
	uint64_t last = 0;
	int domains = 0;
	int regions = 0;

	while ((domain = gm_book_next_domain(&world.book, domain))) {
		assert_true(domain->sequence > last);
		last = domain->sequence;
		domains++;
	}
	last = 0;
	while ((region = gm_book_next_region(&world.book, region))) {
		assert_true(region->sequence > last);
		last = region->sequence;
		regions++;
	}
	for (int i = 0; i < DOMAINS; i++)
		domains -= world.domains[i].real && !world.domains[i].ended;
	for (int i = 0; i < REGIONS; i++)
		regions -= world.regions[i].real && !world.domains[world.regions[i].domain].ended;
	assert_int_equal(domains, 0);
	assert_int_equal(regions, 0);
}

void model_compare(void)
{
	for (unsigned t = 0; t < TENANTS; t++)
		compare_tenant(t);
	for (int i = 0; i < DOMAINS; i++)
		if (world.domains[i].real)
			compare_domain(i);
	for (int i = 0; i < REGIONS; i++)
		if (world.regions[i].real)
			compare_region(i);
	for (int i = 0; i < SESSIONS; i++)
		if (world.sessions[i].real)
			assert_int_equal(world.sessions[i].real->n_jobs, jobs_of_session(i));
	compare_walks();
}
