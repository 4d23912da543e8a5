/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs to record: one commit, with few and many regions, with small and large page maps,
 * in memfds as the daemon has them. Both sides of a ratio are measured in turns. And what it takes
 * to read a large record back.
 */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench_place.h"
#include "store.h"

#define ROUNDS 20000u
#define QUICK_ROUNDS 4000u
#define MANY_DOMAINS 1000u
#define FEW_DOMAINS 1u
#define REGIONS_PER_DOMAIN 10u
#define LOADS 5u

#define MAX_RATIO 1.25
#define NS_PER_MS 1e6

struct side {
	struct gm_store_area area;
	struct gm_store *store;
	struct gm_book book;
	struct gm_tenant *tenant;
	struct gm_domain *domain; /* the last */
	uint64_t next_id;
	double *ns;
};

static int map_part(struct gm_store_area *area, enum gm_store_part part, size_t size)
{
	int fd = memfd_create("bench-record", MFD_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0)
		r = -errno;
	if (r == 0) {
		area->at[part] =
			mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, /* offset= */ 0);
		if (area->at[part] == MAP_FAILED) {
			area->at[part] = NULL;
			r = -errno;
		}
	}
	close(fd);
	area->size[part] = size;
	return r;
}

static int add_tenant(struct gm_book *book, struct gm_tenant **ret_tenant)
{
	struct gm_policy policy;

	gm_policy_defaults(&policy, 1024 * GM_TIB);
	policy.domains_max = GM_UNLIMITED;
	policy.regions_max = GM_UNLIMITED;
	return gm_book_add_tenant(book, "bench", &policy, ret_tenant, NULL);
}

static int add_region(struct side *side, uint64_t size, struct gm_region **ret_region)
{
	const struct gm_region_spec spec = { .name = "ram",
					     .gpa = side->domain->n_regions * 2 * GM_TIB,
					     .size = size,
					     .page_size = GM_PAGE_4K };

	return gm_book_create_region(&side->book, side->domain, &spec,
				     (struct gm_region_id){ ++side->next_id }, ret_region, NULL);
}

static int add_domain(struct side *side, struct gm_session *session)
{
	const struct gm_domain_spec spec = { .name = "", .kind = "memfd" };
	const struct gm_token token = { .bytes = { 1 } };
	struct gm_region *region;
	int r;

	r = gm_book_create_domain(&side->book, session, &spec,
				  (struct gm_domain_id){ ++side->next_id }, &token, 1,
				  &side->domain, NULL);
	for (unsigned i = 0; i < REGIONS_PER_DOMAIN && r == 0; i++)
		r = add_region(side, GM_GIB, &region);
	return r == 0 ? gm_store_commit(side->store, &side->book, NULL) : r;
}

static int side_start(struct side *side, unsigned n_domains)
{
	const struct gm_peer peer = { .pid = 1 };
	struct gm_session *session = NULL;
	int r;

	gm_book_init(&side->book);
	r = map_part(&side->area, GM_STORE_STATE, gm_store_state_size(NULL));
	if (r == 0)
		r = map_part(&side->area, GM_STORE_MAPS, gm_store_maps_size(NULL));
	if (r == 0)
		r = gm_store_format(&side->area, NULL, 1);
	if (r == 0)
		r = gm_store_open(&side->area, &side->store, NULL);
	if (r == 0)
		r = add_tenant(&side->book, &side->tenant);
	if (r)
		return r;
	gm_book_start_recording(&side->book);
	r = gm_book_open_session(&side->book, side->tenant, (struct gm_session_id){ 1 }, &peer,
				 &session, NULL);
	if (r)
		return r;
	gm_session_set_state(session, GM_SESSION_OPEN);
	for (unsigned i = 0; i < n_domains && r == 0; i++)
		r = add_domain(side, session);
	return r;
}

static void clear_book(struct gm_book *book, struct gm_tenant *tenant)
{
	struct gm_session *session;
	struct gm_domain *domain;

	while (tenant && (domain = TAILQ_FIRST(&tenant->domains))) {
		while (domain->n_regions > 0)
			gm_book_remove_region(book, domain->regions[domain->n_regions - 1]);
		gm_book_remove_domain(book, domain);
	}
	while (tenant && (session = TAILQ_FIRST(&tenant->sessions)))
		gm_book_close_session(book, session);
	gm_book_done(book);
}

static void side_end(struct side *side)
{
	clear_book(&side->book, side->tenant);
	gm_store_close(side->store);
	for (unsigned part = 0; part < GM_STORE_PART_N_; part++)
		if (side->area.at[part])
			munmap(side->area.at[part], side->area.size[part]);
	free(side->ns);
}

static int time_commit(struct side *side, const struct gm_store_answer *answer, double *ret_ns)
{
	uint64_t start = bench_now();
	int r = gm_store_commit(side->store, &side->book, answer);

	*ret_ns = (double)(bench_now() - start);
	return r;
}

/* Records a region that is made and answered, then takes it away again. */
static int round_of_create(struct side *side, uint64_t size, double *ret_ns)
{
	struct gm_store_answer answer = { .serial = (uint32_t)side->next_id,
					  .type = 8,
					  .length = 20 };
	struct gm_region *region = NULL;
	int r = add_region(side, size, &region);

	if (r)
		return r;
	answer.session = side->domain->session;
	r = time_commit(side, &answer, ret_ns);
	gm_book_remove_region(&side->book, region);
	return r == 0 ? gm_store_commit(side->store, &side->book, NULL) : r;
}

/* Records that one page of the first GiB has changed: the caches hold as much of either map. */
static int round_of_pages(struct side *side, struct gm_region *region, double *ret_ns)
{
	uint64_t page = ++side->next_id * UINT64_C(0x9e3779b97f4a7c15) % (GM_GIB / GM_PAGE_4K);
	const struct gm_range range = { page * GM_PAGE_4K, GM_PAGE_4K };
	int r = gm_book_restore_pages(region, &range, (enum gm_page_state)(side->next_id % 3),
				      NULL);

	return r == 0 ? time_commit(side, NULL, ret_ns) : r;
}

static int compare(struct bench_report *report, const char *figure, struct side *more,
		   struct side *less, unsigned n)
{
	double measured = bench_median(more->ns, n);
	double floor = bench_median(less->ns, n);

	return bench_report_ratio(report, figure, measured, floor, "ns", measured / floor,
				  MAX_RATIO);
}

static int bench_creates(struct bench_report *report, struct side *few, struct side *many,
			 unsigned n)
{
	int r = 0;

	for (unsigned i = 0; i < n && r == 0; i++) {
		r = round_of_create(many, GM_GIB, &many->ns[i]);
		if (r == 0)
			r = round_of_create(few, GM_GIB, &few->ns[i]);
	}
	if (r == 0)
		r = compare(report, "record: a new region beside 10,000, beside 10, p50", many, few,
			    n);
	for (unsigned i = 0; i < n && r == 0; i++) {
		r = round_of_create(few, GM_TIB, &many->ns[i]);
		if (r == 0)
			r = round_of_create(few, GM_GIB, &few->ns[i]);
	}
	return r == 0 ? compare(report, "record: a new region of 1 TiB, of 1 GiB, p50", many, few,
				n)
		      : r;
}

static int bench_pages(struct bench_report *report, struct side *few, struct side *many, unsigned n)
{
	struct gm_region *large = NULL;
	struct gm_region *small = NULL;
	double mean = 0;
	int r;

	r = add_region(many, GM_TIB, &large);
	if (r == 0)
		r = add_region(few, GM_GIB, &small);
	for (unsigned i = 0; i < n && r == 0; i++) {
		r = round_of_pages(many, large, &many->ns[i]);
		if (r == 0)
			r = round_of_pages(few, small, &few->ns[i]);
		mean += few->ns[i] / n;
	}
	if (r)
		return r;
	r = bench_report_value(report, "record: a changed page of 1 GiB, mean with snapshots", mean,
			       "ns", BENCH_NO_LIMIT);
	if (r)
		return r;
	return compare(report, "record: a changed page of 1 TiB, of 1 GiB, p50", many, few, n);
}

/* ---- reading back ---- */

static int get_tenant(void *arg, const char *name, struct gm_tenant **ret_tenant,
		      struct gm_refusal *refusal)
{
	(void)arg;
	(void)name;
	(void)ret_tenant;
	(void)refusal;
	return -ENOENT; /* there is but one, and it is there */
}

static int get_session(void *arg, struct gm_tenant *tenant, const struct gm_session_restore *from,
		       struct gm_session **ret_session, struct gm_refusal *refusal)
{
	return gm_book_restore_session(arg, tenant, from, ret_session, refusal);
}

static int get_domain(void *arg, struct gm_tenant *tenant, struct gm_session *session,
		      const struct gm_domain_restore *from, struct gm_domain **ret_domain,
		      struct gm_refusal *refusal)
{
	return gm_book_restore_domain(arg, tenant, session, from, ret_domain, refusal);
}

static int get_region(void *arg, struct gm_domain *domain, const struct gm_region_restore *from,
		      struct gm_page_map *map, struct gm_region **ret_region,
		      struct gm_refusal *refusal)
{
	return gm_book_restore_region(arg, domain, from, map, /* fd= */ -1, ret_region, refusal);
}

static void ignore_damage(void *arg, const char *object, const char *why)
{
	(void)arg;
	(void)object;
	(void)why;
}

static int load_once(const struct side *side, double *ret_ns)
{
	static const struct gm_store_load_ops ops = {
		.tenant = get_tenant,
		.session = get_session,
		.domain = get_domain,
		.region = get_region,
		.damaged = ignore_damage,
	};
	struct gm_tenant *tenant = NULL;
	struct gm_store *store = NULL;
	struct gm_book book;
	uint64_t start = bench_now();
	int r;

	gm_book_init(&book);
	r = add_tenant(&book, &tenant);
	if (r == 0)
		r = gm_store_open(&side->area, &store, NULL);
	if (r == 0) {
		gm_book_start_recording(&book);
		r = gm_store_load(store, &book, &ops, &book, 1);
	}
	*ret_ns = (double)(bench_now() - start);
	if (r == 0 && book.n_regions != side->book.n_regions)
		r = -EBADMSG;
	clear_book(&book, tenant);
	gm_store_close(store);
	return r;
}

static int bench_load(struct bench_report *report, struct side *many)
{
	double ns[LOADS];
	int r = 0;

	for (unsigned i = 0; i < LOADS && r == 0; i++)
		r = load_once(many, &ns[i]);
	if (r)
		return r;
	return bench_report_value(report, "record: read back 10,000 regions in 1,000 domains, p50",
				  bench_median(ns, LOADS) / NS_PER_MS, "ms", BENCH_NO_LIMIT);
}

int bench_store(const struct bench_options *options, struct bench_report *report)
{
	unsigned n = options->quick ? QUICK_ROUNDS : ROUNDS;
	struct side many = { 0 };
	struct side few = { 0 };
	int r;

	many.ns = calloc(n, sizeof(*many.ns));
	few.ns = calloc(n, sizeof(*few.ns));
	r = many.ns && few.ns ? 0 : -ENOMEM;
	if (r == 0)
		r = side_start(&many, MANY_DOMAINS);
	if (r == 0)
		r = side_start(&few, FEW_DOMAINS);
	if (r == 0)
		r = bench_load(report, &many);
	if (r == 0)
		r = bench_creates(report, &few, &many, n);
	if (r == 0)
		r = bench_pages(report, &few, &many, n);
	side_end(&few);
	side_end(&many);
	return r;
}
