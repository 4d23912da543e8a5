/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations on the books, recorded; and a kill after every word that a commit writes.
 *
 * The areas are taken to the state that the kill leaves, opened and loaded into fresh books: these
 * must be the books before the commit up to the word that commits, and the books after it from
 * there on. Opening writes too, and is killed in the same way.
 */
#include <string.h>
#include <sys/mman.h>

#include "book_launch.h"
#include "gm_test.h"
#include "store_kill.h"
#include "store_private.h"
#include "store_rig.h"

#define KILLS_MIN (110000 / GM_TEST_SHARE)
#define COMMITS_MIN (6000 / GM_TEST_SHARE)
#define KILLS_OF_A_COMMIT 24 /* of a long one; a short one is killed at every word */
#define SERIALS 4096

#define SESSIONS 6
#define DOMAINS 10
#define REGIONS 24
#define TENANTS 2

static const struct gm_store_limits limits = {
	.tenants = 4,
	.sessions = 12,
	.domains = 24,
	.regions = 48,
	.map_gibs = 64,
};

struct answered {
	uint64_t session_id;
	uint32_t serial;
	uint16_t type;
};

struct release {
	enum gm_store_part part;
	uint64_t offset;
	uint64_t length;
};

static struct {
	struct gm_test_rng rng;
	struct gm_store_area area;
	struct gm_store *store;
	struct gm_book book;
	struct gm_tenant *tenants[TENANTS];
	struct gm_session *sessions[SESSIONS];
	struct gm_domain *domains[DOMAINS];
	struct gm_region *regions[REGIONS];
	struct gm_job_ticket job;
	struct gm_domain *dying; /* the job keeps it */
	struct answered last;	 /* answer of this commit */
	struct release releases[256];
	size_t n_releases;
	uint64_t next_id;
	uint32_t next_serial;
	uint64_t now_ms;
	unsigned long refused;
	unsigned long commits;
	unsigned long kills;
	unsigned long kills_of_recovery;
	unsigned long snapshots;
	uint64_t snapshot_checks[64];
} world;

static uint64_t below(uint64_t n)
{
	return gm_test_random_below(&world.rng, n);
}

static struct gm_session_id next_session_id(void)
{
	return (struct gm_session_id){ ++world.next_id * UINT64_C(0x9e3779b97f4a7c15) };
}

/* ---- operations ---- */

static void open_session(void)
{
	const struct gm_peer peer = { .pid = (pid_t)below(1000) + 1, .uid = 7, .gid = 8 };
	struct gm_session_key key;
	unsigned i = (unsigned)below(SESSIONS);
	struct gm_session *session = NULL;

	if (world.sessions[i])
		return;
	assert_int_equal(gm_book_open_session(&world.book, world.tenants[below(TENANTS)],
					      next_session_id(), &peer, &session, NULL),
			 0);
	world.sessions[i] = session;
	if (below(2)) {
		memset(key.bytes, (int)(world.next_id & 0xff), sizeof(key.bytes));
		gm_session_set_key(session, &key);
	}
	snprintf(session->client, sizeof(session->client), "client-%u", i);
	gm_session_set_state(session, GM_SESSION_OPEN);
}

static struct gm_session *any_session(void)
{
	return world.sessions[below(SESSIONS)];
}

static void close_session(void)
{
	unsigned i = (unsigned)below(SESSIONS);
	struct gm_session *session = world.sessions[i];
	struct gm_domain *domain;

	if (!session || session->n_jobs > 0)
		return;
	while ((domain = TAILQ_FIRST(&session->domains)))
		gm_book_detach(domain, ++world.now_ms);
	gm_book_close_session(&world.book, session);
	world.sessions[i] = NULL;
}

static void create_domain(void)
{
	struct gm_domain_spec spec = { .name = "", .kind = "memfd" };
	const struct gm_domain_id id = { ++world.next_id };
	unsigned i = (unsigned)below(DOMAINS);
	struct gm_session *session = any_session();
	struct gm_token token;
	char name[GM_NAME_SIZE];

	if (world.domains[i] || !session)
		return;
	snprintf(name, sizeof(name), "vm%llu", (unsigned long long)id.v);
	spec.name = below(2) ? name : "";
	spec.lifetime = (enum gm_lifetime)below(GM_LIFETIME_N_);
	spec.traits = below(2) ? GM_TRAIT_LAUNCH : 0;
	memset(token.bytes, (int)(id.v & 0xff), sizeof(token.bytes));
	assert_int_equal(gm_book_create_domain(&world.book, session, &spec, id, &token,
					       ++world.now_ms, &world.domains[i], NULL),
			 0);
}

/* The next thing in a launch: a step begins, is done, or fails. */
static void launch(void)
{
	struct gm_domain *domain = world.domains[below(DOMAINS)];
	const struct gm_step_spec step = { .id = ++world.next_id, .deadline_ms = world.now_ms };
	const struct gm_launch_failure why = { .firmware_error = (uint32_t)below(99),
					       .text = "why" };
	uint8_t digest[GM_LAUNCH_DIGEST_SIZE];
	struct gm_refusal refusal;

	if (!domain || !domain->launch)
		return;
	memset(digest, (int)(world.next_id & 0xff), sizeof(digest));
	if (below(16) == 0 && !domain->running)
		gm_book_fail_launch(domain, &why);
	else if (domain->launch->step_id != 0)
		gm_book_launch_step_done(domain);
	else if (gm_book_begin_launch(domain, &step, digest, &refusal) != 0)
		world.refused += gm_book_begin_finish(domain, &step, digest, &refusal) != 0;
}

static void attach_domain(void)
{
	struct gm_domain *domain = world.domains[below(DOMAINS)];
	struct gm_session *session = any_session();
	struct gm_session *loser;
	struct gm_refusal refusal;

	if (!domain)
		return;
	if (below(3) == 0)
		gm_book_detach(domain, ++world.now_ms);
	else if (session && session->tenant == domain->tenant)
		world.refused += gm_book_attach(session, domain, /* take_over= */ true, &loser,
						&refusal) != 0;
}

static void quarantine(void)
{
	struct gm_domain *domain = world.domains[below(DOMAINS)];
	struct gm_region *region = world.regions[below(REGIONS)];

	if (below(2) && domain)
		gm_book_quarantine_domain(domain);
	else if (region)
		gm_book_quarantine_region(region);
}

static void forget_regions_of(const struct gm_domain *domain)
{
	for (unsigned i = 0; i < REGIONS; i++)
		if (world.regions[i] && world.regions[i]->domain == domain)
			world.regions[i] = NULL;
}

static void remove_domain(struct gm_domain *domain)
{
	while (domain->n_regions > 0)
		gm_book_remove_region(&world.book, domain->regions[0]);
	gm_book_remove_domain(&world.book, domain);
}

static void end_domain(void)
{
	unsigned i = (unsigned)below(DOMAINS);
	struct gm_domain *domain = world.domains[i];

	if (!domain || (domain->n_jobs > 0 && world.dying))
		return;
	world.domains[i] = NULL;
	forget_regions_of(domain);
	gm_book_end_domain(domain);
	if (domain->n_jobs > 0)
		world.dying = domain;
	else
		remove_domain(domain);
}

static uint64_t any_size(void)
{
	switch (below(4)) {
	case 0:
		return (below(3) + 1) * GM_GIB + below(600) * GM_PAGE_4K;
	case 1:
		return (below(4) + 1) * GM_GIB;
	default:
		return (below(2000) + 1) * GM_PAGE_4K;
	}
}

static void create_region(void)
{
	struct gm_region_spec spec = { .name = "", .page_size = GM_PAGE_4K };
	unsigned i = (unsigned)below(REGIONS);
	struct gm_domain *domain = world.domains[below(DOMAINS)];
	struct gm_refusal refusal;
	struct gm_file_id file;

	if (world.regions[i] || !domain)
		return;
	if (below(4) == 0)
		spec.page_size = GM_PAGE_2M;
	spec.size = gm_align_down(any_size() + spec.page_size - 1, spec.page_size);
	spec.gpa = below(64) * 8 * GM_GIB;
	spec.name = below(2) ? "ram" : "";
	if (gm_store_room_for_region(world.store, spec.size, &refusal) != 0)
		return;
	if (gm_book_create_region(&world.book, domain, &spec,
				  (struct gm_region_id){ ++world.next_id }, &world.regions[i],
				  &refusal) != 0)
		return;
	file = (struct gm_file_id){ .device = 5, .inode = world.next_id };
	gm_book_set_file(world.regions[i], &file);
}

static void destroy_region(void)
{
	unsigned i = (unsigned)below(REGIONS);

	if (!world.regions[i] || world.regions[i]->n_jobs > 0)
		return;
	gm_book_remove_region(&world.book, world.regions[i]);
	world.regions[i] = NULL;
}

/* Most changes meet in a few pages at either end: maps get many changes but few runs. */
static void change_pages(void)
{
	struct gm_region *region = world.regions[below(below(8) ? 2 : REGIONS)];
	uint64_t pages, first, n;
	struct gm_range range;

	if (!region)
		return;
	pages = region->size / GM_PAGE_4K;
	first = below(gm_min_u64(pages, 96));
	if (below(3) == 0)
		first = pages - 1 - first;
	n = below(256) ? below(gm_min_u64(pages - first, 40)) + 1 : pages - first;
	if (below(1024) == 0) {
		first = 0;
		n = pages;
	}
	range = (struct gm_range){ first * GM_PAGE_4K, n * GM_PAGE_4K };
	assert_int_equal(gm_book_restore_pages(region, &range,
					       (enum gm_page_state)below(GM_PAGE_STATE_N_), NULL),
			 0);
}

static void change_many_pages(void)
{
	unsigned n = below(8) ? (unsigned)below(200) : (unsigned)below(600);

	while (n-- > 0)
		change_pages();
}

static void run_job(void)
{
	struct gm_region *region = world.regions[below(REGIONS)];
	struct gm_range range = { 0 };
	struct gm_refusal refusal;

	if (world.job.region) {
		gm_book_end_job(&world.job);
		if (world.dying)
			remove_domain(world.dying);
		world.dying = NULL;
		return;
	}
	if (!region || !region->domain->session)
		return;
	range.length = region->page_size;
	if (gm_book_begin_job(&world.book, region->domain->session, region, GM_PAGE_OP_ALLOCATE,
			      &range, 1, &world.job, &refusal) == 0)
		assert_int_equal(gm_book_job_progress(&world.job, &range, &refusal), 0);
}

static void (*const operations[])(void) = {
	open_session,
	open_session,
	close_session,
	create_domain,
	create_domain,
	create_domain,
	attach_domain,
	quarantine,
	end_domain,
	create_region,
	launch,
	launch,
	create_region,
	create_region,
	change_pages,
	change_pages,
	change_many_pages,
	run_job,
	change_many_pages,
	change_many_pages,
	change_many_pages,
	destroy_region,
};

/* ---- kills ---- */

static void note_release(void *arg, enum gm_store_part part, uint64_t offset, uint64_t length)
{
	(void)arg;
	assert_true(world.n_releases < GM_ARRAY_SIZE(world.releases));
	assert_true(gm_is_aligned(offset | length, GM_PAGE_4K) && length > 0);
	world.releases[world.n_releases++] = (struct release){ part, offset, length };
}

/* As the caller would, once the commit is over. */
static void release(void)
{
	for (size_t i = 0; i < world.n_releases; i++) {
		const struct release *at = &world.releases[i];

		assert_int_equal(madvise((char *)world.area.at[at->part] + at->offset, at->length,
					 MADV_DONTNEED),
				 0);
	}
	world.n_releases = 0;
}

static void add_tenants(struct gm_book *book, struct gm_tenant **tenants)
{
	static const char *const names[TENANTS] = { "acme", "other" };
	struct gm_policy policy;

	gm_policy_defaults(&policy, 64 * GM_TIB);
	policy.huge_2m_max = GM_UNLIMITED;
	for (unsigned i = 0; i < TENANTS; i++)
		assert_int_equal(gm_book_add_tenant(book, names[i], &policy, &tenants[i], NULL), 0);
}

static bool has_last_answer(const struct gm_store *store, const struct gm_book *book)
{
	const struct gm_tenant *tenant;
	struct gm_store_answer answer;

	TAILQ_FOREACH(tenant, &book->tenants, link) {
		const struct gm_session *session;

		TAILQ_FOREACH(session, &tenant->sessions, link)
			if (session->id.v == world.last.session_id &&
			    gm_store_find_answer(store, session, world.last.serial, &answer))
				return answer.type == world.last.type && answer.length == 4 &&
				       memcmp(answer.body, &world.last.serial, 4) == 0;
	}
	return false;
}

/* What a daemon finds that is started now. */
static uint64_t look(bool has_answer)
{
	struct gm_tenant *tenants[TENANTS];
	struct store_rig_load load = { 0 };
	struct gm_store *store = NULL;
	struct gm_refusal refusal;
	struct gm_book book;
	uint64_t digest;

	gm_book_init(&book);
	add_tenants(&book, tenants);
	load.book = &book;
	assert_int_equal(gm_store_open(&world.area, &store, &refusal), 0);
	assert_int_equal(store_rig_load(&load, store, world.now_ms), 0);
	if (load.n_damaged)
		print_error("%s: %s\n", load.object, load.why);
	assert_int_equal(load.n_damaged, 0);
	assert_true(store_rig_adds_up(&book));
	if (world.last.session_id)
		assert_int_equal(has_last_answer(store, &book), has_answer);
	digest = store_rig_digest(&book);
	store_rig_clear(&book);
	gm_store_close(store);
	return digest;
}

static void kill_at(size_t n, size_t committed, uint64_t before, uint64_t after)
{
	bool is_after = n >= committed;

	store_kill_at(n);
	store_kill_aside();
	assert_int_equal(look(is_after), is_after ? after : before);
	world.kills++;
	if (store_kill_aside_words() > 0 && below(4) == 0) {
		store_kill_aside_at(below(store_kill_aside_words()));
		assert_int_equal(look(is_after), is_after ? after : before);
		world.kills_of_recovery++;
	}
	store_kill_aside_end();
}

/* The number of words after which the transaction has happened. */
static size_t find_committed(size_t n_words)
{
	const uint64_t *committed = (const void *)((char *)world.area.at[GM_STORE_STATE] +
						   world.store->layout.log_control);

	store_kill_at(0);
	for (size_t n = 0; n < n_words; n++) {
		store_kill_at(n);
		if (*committed)
			return n;
	}
	return n_words + 1;
}

static void kill_commit(uint64_t before, uint64_t after)
{
	size_t n_words = store_kill_words();
	size_t committed = find_committed(n_words);

	assert_true(n_words == 0 || committed <= n_words);
	if (n_words <= 2 * KILLS_OF_A_COMMIT) {
		for (size_t n = 0; n <= n_words; n++)
			kill_at(n, committed, before, after);
	} else {
		kill_at(committed - 1, committed, before, after);
		kill_at(committed, committed, before, after);
		kill_at(n_words - 1, committed, before, after);
		for (unsigned i = 0; i < KILLS_OF_A_COMMIT; i++)
			kill_at(below(n_words + 1), committed, before, after);
	}
	store_kill_at(n_words);
}

static void count_snapshots(void)
{
	for (uint32_t i = 0; i < limits.map_gibs; i++) {
		const struct gm_store_gib *gib = &world.store->gibs[i];

		world.snapshots += gib->base == GM_STORE_SNAPSHOT &&
				   gib->snapshot_check != world.snapshot_checks[i];
		world.snapshot_checks[i] = gib->snapshot_check;
	}
}

static void commit(uint64_t before)
{
	struct gm_session *session = any_session();
	struct gm_store_answer answer = { .session = session };
	bool has_answer = session && session->state == GM_SESSION_OPEN && below(2);
	uint64_t after;

	world.last = (struct answered){ 0 };
	if (has_answer) {
		answer.serial = ++world.next_serial;
		answer.type = (uint16_t)below(40);
		answer.length = 4;
		memcpy(answer.body, &answer.serial, 4);
		world.last = (struct answered){ session->id.v, answer.serial, answer.type };
	}
	store_kill_start();
	assert_int_equal(gm_store_commit(world.store, &world.book, has_answer ? &answer : NULL), 0);
	world.commits++;
	count_snapshots();
	after = store_rig_digest(&world.book);
	kill_commit(before, after);
	release();
	if (world.commits % 16 == 0) {
		store_kill_aside();
		assert_int_equal(look(has_answer), after);
		store_kill_aside_end();
	}
}

/* The daemon goes on, or another one has been started. */
static void restart(void)
{
	gm_store_close(world.store);
	assert_int_equal(gm_store_open(&world.area, &world.store, NULL), 0);
	gm_store_set_release(world.store, note_release, NULL);
}

static void clear_world(void)
{
	if (world.job.region)
		run_job();
	store_rig_clear(&world.book);
	gm_store_close(world.store);
	store_rig_unmap(&world.area);
}

static void a_kill_after_any_word_leaves_the_books_before_or_after_the_commit(void **state)
{
	uint64_t before;

	(void)state;
	gm_book_init(&world.book);
	add_tenants(&world.book, world.tenants);
	assert_true(store_rig_map(&world.area, &limits));
	assert_int_equal(gm_store_format(&world.area, &limits, 42), 0);
	restart();
	gm_book_start_recording(&world.book);
	before = store_rig_digest(&world.book);
	while (world.kills < KILLS_MIN || world.commits < COMMITS_MIN) {
		for (uint64_t n = below(3) + 1; n > 0; n--)
			operations[below(GM_ARRAY_SIZE(operations))]();
		commit(before);
		before = store_rig_digest(&world.book);
	}
	print_message("%lu commits, %lu snapshots; %lu kills, %lu more in recovery\n",
		      world.commits, world.snapshots, world.kills, world.kills_of_recovery);
	clear_world();
	assert_true(world.snapshots > 50 / GM_TEST_SHARE);
	assert_true(world.kills_of_recovery > 1000 / GM_TEST_SHARE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_kill_after_any_word_leaves_the_books_before_or_after_the_commit),
	};

	return gm_test_run("record and kills", tests, GM_ARRAY_SIZE(tests));
}
