/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small recorded world: one tenant with a session, on which a test records, restarts and looks.
 */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

#include <string.h>

#include "book_launch.h"
#include "gm_test.h"
#include "store_private.h"
#include "store_rig.h"

struct recorded {
	struct gm_store_area area;
	struct gm_store *store;
	struct gm_book book;
	struct gm_tenant *tenant;
	struct gm_session *session;
	uint64_t next_id;
	struct gm_refusal refusal;
	struct store_rig_load load; /* of the last restart */
};

static const struct gm_store_limits recorded_limits = {
	.tenants = 2,
	.sessions = 4,
	.domains = 8,
	.regions = 8,
	.map_gibs = 16,
};

static inline struct gm_tenant *recorded_tenant(struct recorded *world, const char *name)
{
	struct gm_tenant *tenant = NULL;
	struct gm_policy policy;

	gm_policy_defaults(&policy, GM_TIB);
	assert_int_equal(gm_book_add_tenant(&world->book, name, &policy, &tenant, NULL), 0);
	return tenant;
}

static inline struct gm_session *recorded_session(struct recorded *world, const char *client)
{
	const struct gm_peer peer = { .pid = 100, .uid = 200, .gid = 300 };
	const struct gm_session_id id = { ++world->next_id };
	const struct gm_session_key key = { .bytes = { 1, 2, 3 } };
	struct gm_session *session = NULL;

	assert_int_equal(gm_book_open_session(&world->book, world->tenant, id, &peer, &session,
					      &world->refusal),
			 0);
	gm_session_set_key(session, &key);
	snprintf(session->client, sizeof(session->client), "%s", client);
	gm_session_set_state(session, GM_SESSION_OPEN);
	return session;
}

static inline void recorded_init(struct recorded *world)
{
	*world = (struct recorded){ .next_id = 0x1000 };
	assert_true(store_rig_map(&world->area, &recorded_limits));
	assert_int_equal(gm_store_format(&world->area, &recorded_limits, 7), 0);
	assert_int_equal(gm_store_open(&world->area, &world->store, &world->refusal), 0);
	gm_book_init(&world->book);
	gm_book_start_recording(&world->book);
	world->tenant = recorded_tenant(world, "acme");
	world->session = recorded_session(world, "vmm");
}

static inline void recorded_done(struct recorded *world)
{
	store_rig_clear(&world->book);
	gm_store_close(world->store);
	store_rig_unmap(&world->area);
}

static inline void recorded_commit(struct recorded *world)
{
	assert_int_equal(gm_store_commit(world->store, &world->book, NULL), 0);
}

/* The books are lost, and another daemon comes; @with_tenant: its configuration has the tenant. */
static inline void recorded_restart(struct recorded *world, bool with_tenant)
{
	store_rig_clear(&world->book);
	gm_store_close(world->store);
	world->store = NULL;
	world->load = (struct store_rig_load){ .book = &world->book };
	assert_int_equal(gm_store_open(&world->area, &world->store, &world->refusal), 0);
	gm_book_init(&world->book);
	if (with_tenant)
		recorded_tenant(world, "acme");
	assert_int_equal(store_rig_load(&world->load, world->store, /* now_ms= */ 9000), 0);
	world->tenant = gm_book_find_tenant(&world->book, "acme");
	world->session = world->tenant ? TAILQ_FIRST(&world->tenant->sessions) : NULL;
}

static inline struct gm_domain *recorded_domain(struct recorded *world, const char *name)
{
	const struct gm_domain_spec spec = { .name = name,
					     .kind = "memfd",
					     .lifetime = GM_LIFETIME_PERSISTENT };
	const struct gm_token token = { .bytes = { 9, 8, 7 } };
	struct gm_domain *domain = NULL;

	assert_int_equal(gm_book_create_domain(&world->book, world->session, &spec,
					       (struct gm_domain_id){ ++world->next_id }, &token,
					       1000, &domain, &world->refusal),
			 0);
	return domain;
}

/* A domain whose launch is open; all bytes of its digest are @digest. */
static inline struct gm_domain *recorded_launch(struct recorded *world, const char *name,
						uint8_t digest)
{
	const struct gm_domain_spec spec = { .name = name,
					     .kind = "measured",
					     .lifetime = GM_LIFETIME_BOUND,
					     .traits = GM_TRAIT_LAUNCH };
	const struct gm_step_spec step = { .id = 8, .key = { 1, 2 }, .deadline_ms = 70 };
	const struct gm_token token = { .bytes = { 9, 8, 7 } };
	uint8_t bytes[GM_LAUNCH_DIGEST_SIZE];
	struct gm_domain *domain = NULL;

	memset(bytes, digest, sizeof(bytes));
	assert_int_equal(gm_book_create_domain(&world->book, world->session, &spec,
					       (struct gm_domain_id){ ++world->next_id }, &token,
					       1000, &domain, &world->refusal),
			 0);
	assert_int_equal(gm_book_begin_launch(domain, &step, bytes, NULL), 0);
	gm_book_launch_step_done(domain);
	return domain;
}

static inline struct gm_region *recorded_region(struct recorded *world, struct gm_domain *domain,
						uint64_t gpa, uint64_t size)
{
	const struct gm_region_spec spec = {
		.name = "ram", .gpa = gpa, .size = size, .page_size = GM_PAGE_4K
	};
	const struct gm_file_id file = { .device = 3, .inode = 44 };
	struct gm_region *region = NULL;

	assert_int_equal(gm_book_create_region(&world->book, domain, &spec,
					       (struct gm_region_id){ ++world->next_id }, &region,
					       &world->refusal),
			 0);
	gm_book_set_file(region, &file);
	return region;
}

static inline void recorded_pages(struct gm_region *region, uint64_t first, uint64_t n,
				  enum gm_page_state state)
{
	const struct gm_range range = { first * GM_PAGE_4K, n * GM_PAGE_4K };

	assert_int_equal(gm_book_restore_pages(region, &range, state, NULL), 0);
}

static inline struct gm_domain *recorded_only_domain(struct recorded *world)
{
	return gm_book_next_domain(&world->book, NULL);
}

static inline struct gm_region *recorded_only_region(struct recorded *world)
{
	return gm_book_next_region(&world->book, NULL);
}

#endif
