/* SPDX-License-Identifier: Apache-2.0 */
/* What a restart finds, and what it costs to write it down. */
#include <errno.h>

#include "book_launch.h"
#include "store_fixture.h"

static void a_session_comes_back_with_peer_client_and_key(void **state)
{
	const struct gm_session_key key = { .bytes = { 1, 2, 3 } };
	struct recorded world;

	(void)state;
	recorded_init(&world);
	recorded_commit(&world);
	recorded_restart(&world, true);
	assert_non_null(world.session);
	assert_int_equal(world.session->state, GM_SESSION_OPEN);
	assert_string_equal(world.session->client, "vmm");
	assert_int_equal(world.session->peer.pid, 100);
	assert_int_equal(world.session->peer.uid, 200);
	assert_int_equal(world.session->peer.gid, 300);
	assert_ptr_equal(gm_book_find_session_by_key(world.tenant, &key), world.session);
	recorded_done(&world);
}

static void a_domain_comes_back_attached_with_token_and_number(void **state)
{
	struct recorded world;
	struct gm_domain *domain;
	uint64_t sequence;

	(void)state;
	recorded_init(&world);
	sequence = recorded_domain(&world, "vm1")->sequence;
	recorded_commit(&world);
	recorded_restart(&world, true);
	domain = recorded_only_domain(&world);
	assert_non_null(domain);
	assert_string_equal(domain->name, "vm1");
	assert_string_equal(domain->kind, "memfd");
	assert_int_equal(domain->lifetime, GM_LIFETIME_PERSISTENT);
	assert_int_equal(domain->token.bytes[2], 7);
	assert_int_equal(domain->created_ms, 1000);
	assert_int_equal(domain->sequence, sequence);
	assert_ptr_equal(domain->session, world.session);
	/* Numbers go on after the last. */
	assert_true(recorded_domain(&world, "vm2")->sequence > sequence);
	recorded_done(&world);
}

static void an_orphan_has_waited_since_it_was_left(void **state)
{
	struct recorded world;

	(void)state;
	recorded_init(&world);
	gm_book_detach(recorded_domain(&world, "vm1"), 5000);
	recorded_commit(&world);
	recorded_restart(&world, true);
	assert_null(recorded_only_domain(&world)->session);
	assert_int_equal(recorded_only_domain(&world)->orphaned_ms, 5000);
	recorded_done(&world);
}

static void a_region_comes_back_with_its_pages_file_and_charges(void **state)
{
	struct recorded world;
	struct gm_region *region;

	(void)state;
	recorded_init(&world);
	region = recorded_region(&world, recorded_domain(&world, ""), GM_GIB, 3 * GM_GIB);
	recorded_pages(region, 5, 2, GM_PAGE_SHARED);
	recorded_pages(region, 262144, 262144, GM_PAGE_PRIVATE);
	recorded_commit(&world);
	recorded_restart(&world, true);
	region = recorded_only_region(&world);
	assert_non_null(region);
	assert_int_equal(region->gpa, GM_GIB);
	assert_int_equal(region->file.device, 3);
	assert_int_equal(region->file.inode, 44);
	assert_int_equal(region->fd, -1);
	assert_int_equal(gm_page_map_get(&region->map, 4 * GM_PAGE_4K), GM_PAGE_ABSENT);
	assert_int_equal(gm_page_map_get(&region->map, 6 * GM_PAGE_4K), GM_PAGE_SHARED);
	assert_int_equal(gm_page_map_get(&region->map, GM_GIB), GM_PAGE_PRIVATE);
	assert_int_equal(region->allocated_bytes, GM_GIB + 2 * GM_PAGE_4K);
	assert_int_equal(world.tenant->account.used[GM_RES_MEMORY], 3 * GM_GIB);
	assert_true(store_rig_adds_up(&world.book));
	recorded_done(&world);
}

static void what_was_granted_comes_back_over_todays_limits(void **state)
{
	struct gm_policy policy;
	struct recorded world;

	(void)state;
	recorded_init(&world);
	recorded_region(&world, recorded_domain(&world, ""), 0, GM_GIB);
	recorded_commit(&world);
	store_rig_clear(&world.book);
	gm_store_close(world.store);
	assert_int_equal(gm_store_open(&world.area, &world.store, NULL), 0);
	gm_book_init(&world.book);
	world.tenant = recorded_tenant(&world, "acme");
	gm_policy_defaults(&policy, GM_TIB);
	policy.memory_max = 0;
	policy.domains_max = 0;
	policy.sessions_max = 0;
	gm_book_set_policy(world.tenant, &policy);
	world.load = (struct store_rig_load){ .book = &world.book };
	assert_int_equal(store_rig_load(&world.load, world.store, 1), 0);
	assert_int_equal(world.tenant->account.used[GM_RES_MEMORY], GM_GIB);
	recorded_done(&world);
}

static void locked_memory_and_a_slot_come_back_over_todays_limits(void **state)
{
	const struct gm_slot_use idle = { .capacity = 1, .current = 0 };
	const struct gm_limits base = { .soft = 64, .hard = GM_UNLIMITED };
	struct gm_domain *domain;
	struct recorded world;

	(void)state;
	recorded_init(&world);
	domain = recorded_domain(&world, "vm1");
	gm_account_set_limit(&world.tenant->account, GM_RES_SLOT_1, 1);
	gm_account_set_limit(&world.tenant->account, GM_RES_MEMLOCK, 4096);
	assert_int_equal(gm_book_take_slot(domain, 1, &idle, NULL), 0);
	assert_int_equal(gm_book_set_memlock(domain, 4096, &base, NULL), 0);
	recorded_commit(&world);
	recorded_restart(&world, true);
	domain = recorded_only_domain(&world);
	assert_int_equal(gm_domain_slot(domain), 1);
	assert_int_equal(domain->memlock.amount, 4096);
	assert_int_equal(domain->memlock_base.soft, 64);
	assert_true(domain->memlock_base.hard == GM_UNLIMITED);
	assert_int_equal(world.tenant->account.used[GM_RES_SLOT_1], 1);
	assert_int_equal(world.book.host.used[GM_RES_MEMLOCK], 4096);
	/* Let go of, it is nobody's, and that is recorded, too. */
	gm_book_detach(domain, 5000);
	recorded_commit(&world);
	recorded_restart(&world, true);
	assert_int_equal(recorded_only_domain(&world)->memlock.amount, 0);
	assert_int_equal(world.book.host.used[GM_RES_MEMLOCK], 0);
	assert_int_equal(world.book.host.used[GM_RES_SLOT_1], 1);
	recorded_done(&world);
}

static void a_launch_comes_back_with_its_state_and_step(void **state)
{
	const struct gm_domain_spec spec = { .name = "vm1",
					     .kind = "measured",
					     .lifetime = GM_LIFETIME_BOUND,
					     .traits = GM_TRAIT_PRIVATE | GM_TRAIT_LAUNCH };
	const struct gm_step_spec step = { .id = 77, .deadline_ms = 9000 };
	const uint8_t digest[GM_LAUNCH_DIGEST_SIZE] = { 1 };
	const struct gm_token token = { .bytes = { 9 } };
	struct gm_domain *domain;
	struct recorded world;

	(void)state;
	recorded_init(&world);
	assert_int_equal(gm_book_create_domain(&world.book, world.session, &spec,
					       (struct gm_domain_id){ ++world.next_id }, &token,
					       1000, &domain, NULL),
			 0);
	assert_int_equal(gm_book_begin_launch(domain, &step, digest, NULL), 0);
	recorded_commit(&world);
	recorded_restart(&world, true);
	domain = recorded_only_domain(&world);
	assert_int_equal(gm_domain_launch_state(domain), GM_LAUNCH_STARTING);
	assert_int_equal(gm_book_find_launch_step(domain, 77, NULL), 0);
	assert_int_equal(domain->launch->deadline_ms, 9000);
	/* And what became of it after the restart, once more. */
	gm_book_launch_step_done(domain);
	recorded_commit(&world);
	recorded_restart(&world, true);
	assert_int_equal(gm_domain_launch_state(recorded_only_domain(&world)), GM_LAUNCH_OPEN);
	recorded_done(&world);
}

static struct gm_domain *launching(struct recorded *world, uint8_t digest)
{
	struct gm_domain *domain = recorded_launch(world, "vm1", digest);

	recorded_commit(world);
	return domain;
}

static void assert_digests(const struct recorded *world, uint8_t digest, uint8_t next)
{
	const struct gm_domain *domain = gm_book_next_domain(&world->book, NULL);
	uint8_t bytes[GM_LAUNCH_DIGEST_SIZE];

	memset(bytes, digest, sizeof(bytes));
	assert_memory_equal(domain->launch->digest, bytes, sizeof(bytes));
	memset(bytes, next, sizeof(bytes));
	assert_memory_equal(domain->launch->next_digest, bytes, sizeof(bytes));
}

static void what_a_launch_has_measured_is_back_with_what_its_step_would_make_of_it(void **state)
{
	const struct gm_step_spec step = { .id = 9, .key = { 1, 2 }, .deadline_ms = 70 };
	const uint8_t next[GM_LAUNCH_DIGEST_SIZE] = { 0 };
	struct recorded world;
	struct gm_domain *domain;

	(void)state;
	recorded_init(&world);
	domain = launching(&world, 5);
	assert_int_equal(gm_book_begin_finish(domain, &step, next, NULL), 0);
	recorded_commit(&world);
	recorded_restart(&world, true);
	assert_digests(&world, 5, 0);
	gm_book_launch_step_done(recorded_only_domain(&world));
	recorded_commit(&world);
	recorded_restart(&world, true);
	assert_digests(&world, 0, 0);
	assert_true(recorded_only_domain(&world)->running);
	assert_int_equal(world.load.n_damaged, 0);
	recorded_done(&world);
}

static void why_a_launch_has_failed_is_back(void **state)
{
	const struct gm_launch_failure why = { .sys_errno = 5,
					       .firmware_error = 26,
					       .text = "a population: it did not like it" };
	const struct gm_launch *launch;
	struct recorded world;

	(void)state;
	recorded_init(&world);
	gm_book_fail_launch(launching(&world, 5), &why);
	recorded_commit(&world);
	recorded_restart(&world, true);
	launch = recorded_only_domain(&world)->launch;
	assert_int_equal(launch->state, GM_LAUNCH_FAILED);
	assert_int_equal(launch->failure.sys_errno, 5);
	assert_int_equal(launch->failure.firmware_error, 26);
	assert_string_equal(launch->failure.text, why.text);
	recorded_done(&world);
}

static void a_launch_takes_a_gib_of_the_maps_and_gives_it_back(void **state)
{
	struct recorded world;
	struct gm_domain *domain;

	(void)state;
	recorded_init(&world);
	for (unsigned i = 0; i < 40; i++) {
		domain = launching(&world, 5);
		assert_int_equal(gm_store_room_for_region(world.store, 16 * GM_GIB, NULL),
				 GM_OVER_LIMIT);
		if (i % 2)
			recorded_restart(&world, true);
		domain = recorded_only_domain(&world);
		gm_book_end_domain(domain);
		recorded_commit(&world);
		gm_book_remove_domain(&world.book, domain);
		assert_int_equal(gm_store_room_for_region(world.store, 16 * GM_GIB, NULL), 0);
	}
	recorded_done(&world);
}

static void a_launch_without_room_is_refused_before_and_keeps_nothing_else_out(void **state)
{
	const struct gm_domain *domain;
	struct recorded world;

	(void)state;
	recorded_init(&world);
	recorded_region(&world, recorded_domain(&world, ""), 0, 16 * GM_GIB);
	recorded_commit(&world);
	assert_int_equal(gm_store_room_for_launch(world.store, &world.refusal), GM_OVER_LIMIT);
	recorded_launch(&world, "vm2", 7);
	recorded_commit(&world);
	recorded_restart(&world, true);
	assert_int_equal(world.book.n_domains, 2);
	assert_int_equal(world.load.n_damaged, 0);
	domain = gm_book_next_domain(&world.book, recorded_only_domain(&world));
	assert_int_equal(gm_domain_launch_state(domain), GM_LAUNCH_OPEN);
	assert_int_equal(domain->launch->digest[0], 0);
	recorded_done(&world);
}

static void what_was_not_committed_is_not_there(void **state)
{
	struct recorded world;

	(void)state;
	recorded_init(&world);
	recorded_commit(&world);
	recorded_domain(&world, "vm1");
	recorded_restart(&world, true);
	assert_null(recorded_only_domain(&world));
	recorded_done(&world);
}

static void a_destroyed_region_stays_gone_and_its_room_is_free(void **state)
{
	struct recorded world;
	struct gm_domain *domain;

	(void)state;
	recorded_init(&world);
	domain = recorded_domain(&world, "");
	for (unsigned i = 0; i < 100; i++) {
		struct gm_region *region = recorded_region(&world, domain, 0, 16 * GM_GIB);

		recorded_pages(region, 0, 1, GM_PAGE_SHARED);
		recorded_commit(&world);
		gm_book_remove_region(&world.book, region);
		recorded_commit(&world);
	}
	recorded_restart(&world, true);
	assert_null(recorded_only_region(&world));
	assert_int_equal(gm_store_room_for_region(world.store, 16 * GM_GIB, NULL), 0);
	recorded_done(&world);
}

static void pages_of_a_region_are_not_seen_by_the_next_one_in_its_place(void **state)
{
	struct recorded world;
	struct gm_region *region;
	struct gm_domain *domain;

	(void)state;
	recorded_init(&world);
	domain = recorded_domain(&world, "");
	region = recorded_region(&world, domain, 0, GM_GIB);
	recorded_pages(region, 3, 9, GM_PAGE_SHARED);
	recorded_commit(&world);
	gm_book_remove_region(&world.book, region);
	recorded_commit(&world);
	recorded_region(&world, domain, 0, GM_GIB);
	recorded_commit(&world);
	recorded_restart(&world, true);
	assert_int_equal(recorded_only_region(&world)->allocated_bytes, 0);
	recorded_done(&world);
}

static void a_dying_domain_is_gone_with_its_regions_while_jobs_still_end(void **state)
{
	struct gm_job_ticket ticket;
	struct gm_range range = { 0, GM_PAGE_4K };
	struct recorded world;
	struct gm_region *region;
	struct gm_domain *domain;

	(void)state;
	recorded_init(&world);
	domain = recorded_domain(&world, "");
	region = recorded_region(&world, domain, 0, GM_GIB);
	assert_int_equal(gm_book_begin_job(&world.book, world.session, region, GM_PAGE_OP_ALLOCATE,
					   &range, 1, &ticket, NULL),
			 0);
	recorded_commit(&world);
	gm_book_end_domain(domain);
	recorded_commit(&world);
	assert_int_equal(gm_book_job_progress(&ticket, &range, NULL), 0);
	recorded_commit(&world);
	gm_book_end_job(&ticket);
	recorded_restart(&world, true);
	assert_null(recorded_only_domain(&world));
	assert_null(recorded_only_region(&world));
	assert_int_equal(world.load.n_damaged, 0);
	recorded_done(&world);
}

static void a_job_under_way_is_known_after_the_restart_and_forgotten_by_the_next(void **state)
{
	struct gm_job_ticket ticket;
	struct gm_range range = { 0, GM_PAGE_4K };
	struct recorded world;
	struct gm_region *region;

	(void)state;
	recorded_init(&world);
	region = recorded_region(&world, recorded_domain(&world, ""), 0, GM_GIB);
	assert_int_equal(gm_book_begin_job(&world.book, world.session, region, GM_PAGE_OP_ALLOCATE,
					   &range, 1, &ticket, NULL),
			 0);
	recorded_commit(&world);
	gm_book_end_job(&ticket);
	recorded_restart(&world, true);
	region = recorded_only_region(&world);
	assert_int_equal(region->n_jobs_of[GM_PAGE_OP_ALLOCATE], 1);
	assert_int_equal(region->n_jobs_of[GM_PAGE_OP_DISCARD], 0);
	region->n_jobs_of[GM_PAGE_OP_ALLOCATE] = 0;
	recorded_commit(&world);
	recorded_restart(&world, true);
	assert_int_equal(recorded_only_region(&world)->n_jobs_of[GM_PAGE_OP_ALLOCATE], 0);
	recorded_done(&world);
}

static void a_session_that_is_closing_does_not_come_back(void **state)
{
	struct recorded world;

	(void)state;
	recorded_init(&world);
	recorded_commit(&world);
	gm_session_set_state(world.session, GM_SESSION_CLOSING);
	recorded_commit(&world);
	recorded_restart(&world, true);
	assert_null(world.session);
	recorded_done(&world);
}

static void a_tenant_without_configuration_is_asked_for(void **state)
{
	struct recorded world;

	(void)state;
	recorded_init(&world);
	recorded_domain(&world, "vm1");
	recorded_commit(&world);
	recorded_restart(&world, false);
	assert_int_equal(world.load.n_tenants, 1);
	assert_non_null(world.tenant);
	assert_non_null(recorded_only_domain(&world));
	recorded_done(&world);
}

static void a_tenant_of_which_nothing_is_left_gives_its_record_back(void **state)
{
	struct recorded world;

	(void)state;
	recorded_init(&world);
	recorded_commit(&world);
	gm_book_close_session(&world.book, world.session);
	recorded_commit(&world);
	for (unsigned i = 0; i < 6; i++) {
		char name[8];

		recorded_restart(&world, false);
		assert_int_equal(world.load.n_tenants, 0);
		snprintf(name, sizeof(name), "t%u", i);
		recorded_tenant(&world, name);
		/* There is room for two: those before have to go. */
		recorded_commit(&world);
	}
	recorded_done(&world);
}

static struct gm_store_answer answer_to(struct recorded *world, uint32_t serial)
{
	struct gm_store_answer answer = {
		.session = world->session, .serial = serial, .type = 12, .flags = 1, .length = 3
	};

	memcpy(answer.body, &serial, 3);
	return answer;
}

static void an_answer_is_found_after_a_restart(void **state)
{
	struct gm_store_answer answer;
	struct gm_store_answer found;
	struct recorded world;

	(void)state;
	recorded_init(&world);
	answer = answer_to(&world, 500);
	assert_int_equal(gm_store_commit(world.store, &world.book, &answer), 0);
	recorded_restart(&world, true);
	assert_true(gm_store_find_answer(world.store, world.session, 500, &found));
	assert_int_equal(found.type, 12);
	assert_int_equal(found.flags, 1);
	assert_int_equal(found.length, 3);
	assert_memory_equal(found.body, answer.body, 3);
	assert_false(gm_store_find_answer(world.store, world.session, 501, &found));
	recorded_done(&world);
}

static void the_last_answers_are_kept_and_older_ones_go(void **state)
{
	struct gm_store_answer found;
	struct recorded world;

	(void)state;
	recorded_init(&world);
	for (uint32_t serial = 1; serial <= 700; serial++) {
		struct gm_store_answer answer = answer_to(&world, serial);

		if (serial == 400) {
			recorded_restart(&world, true);
			answer.session = world.session;
		}
		assert_int_equal(gm_store_commit(world.store, &world.book, &answer), 0);
	}
	recorded_restart(&world, true);
	for (uint32_t serial = 1; serial <= 700; serial++)
		assert_int_equal(gm_store_find_answer(world.store, world.session, serial, &found),
				 serial > 700 - GM_STORE_ANSWERS);
	recorded_done(&world);
}

static void answers_of_a_session_are_not_the_next_ones(void **state)
{
	struct gm_store_answer answer;
	struct gm_store_answer found;
	struct recorded world;

	(void)state;
	recorded_init(&world);
	answer = answer_to(&world, 1);
	assert_int_equal(gm_store_commit(world.store, &world.book, &answer), 0);
	gm_book_close_session(&world.book, world.session);
	recorded_commit(&world);
	world.session = recorded_session(&world, "next");
	recorded_commit(&world);
	assert_false(gm_store_find_answer(world.store, world.session, 1, &found));
	recorded_restart(&world, true);
	assert_false(gm_store_find_answer(world.store, world.session, 1, &found));
	recorded_done(&world);
}

static void a_full_record_refuses_before_and_fails_without_a_trace(void **state)
{
	struct recorded world;
	struct gm_domain *domain;
	struct gm_region *region;

	(void)state;
	recorded_init(&world);
	domain = recorded_domain(&world, "");
	recorded_region(&world, domain, 0, 9 * GM_GIB);
	recorded_commit(&world);
	assert_int_equal(gm_store_room_for_region(world.store, GM_GIB, &world.refusal),
			 GM_OVER_LIMIT);
	region = recorded_region(&world, domain, 64 * GM_GIB, GM_GIB);
	recorded_domain(&world, "vm2");
	assert_int_equal(gm_store_commit(world.store, &world.book, NULL), -ENOSPC);
	assert_int_equal(gm_store_commit(world.store, &world.book, NULL), -ENOSPC);
	/* Without what does not fit, the rest is recorded after all. */
	gm_book_remove_region(&world.book, region);
	recorded_commit(&world);
	recorded_restart(&world, true);
	assert_int_equal(world.book.n_domains, 2);
	assert_int_equal(world.book.n_regions, 1);
	assert_int_equal(world.load.n_damaged, 0);
	recorded_done(&world);
}

static uint64_t released[GM_STORE_PART_N_];

static void count_released(void *arg, enum gm_store_part part, uint64_t offset, uint64_t length)
{
	(void)arg;
	assert_true(gm_is_aligned(offset | length, GM_PAGE_4K));
	released[part] += length;
}

static void the_space_of_what_has_gone_is_given_back(void **state)
{
	struct gm_store_answer answer;
	struct recorded world;
	struct gm_region *region;

	(void)state;
	recorded_init(&world);
	memset(released, 0, sizeof(released));
	gm_store_set_release(world.store, count_released, NULL);
	answer = answer_to(&world, 1);
	region = recorded_region(&world, recorded_domain(&world, ""), 0, 2 * GM_GIB);
	recorded_pages(region, 0, 1, GM_PAGE_SHARED);
	assert_int_equal(gm_store_commit(world.store, &world.book, &answer), 0);
	gm_book_remove_region(&world.book, region);
	gm_book_detach(recorded_only_domain(&world), 1);
	gm_book_close_session(&world.book, world.session);
	recorded_commit(&world);
	assert_int_equal(released[GM_STORE_MAPS], 2 * GM_STORE_GIB_SIZE);
	assert_int_equal(released[GM_STORE_STATE],
			 GM_STORE_ANSWERS * sizeof(struct gm_store_answer_slot));
	recorded_done(&world);
}

static void a_commit_of_nothing_writes_nothing(void **state)
{
	struct recorded world;
	unsigned char *before;

	(void)state;
	recorded_init(&world);
	recorded_commit(&world);
	before = malloc(world.area.size[GM_STORE_STATE]);
	assert_non_null(before);
	memcpy(before, world.area.at[GM_STORE_STATE], world.area.size[GM_STORE_STATE]);
	recorded_commit(&world);
	assert_memory_equal(before, world.area.at[GM_STORE_STATE], world.area.size[GM_STORE_STATE]);
	free(before);
	recorded_done(&world);
}

static void a_commit_writes_as_much_however_large_the_region_is(void **state)
{
	uint64_t words[2];
	const uint64_t sizes[2] = { GM_GIB, 16 * GM_GIB };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		const struct gm_store_log *log;
		struct recorded world;

		recorded_init(&world);
		recorded_domain(&world, "");
		recorded_commit(&world);
		recorded_region(&world, recorded_only_domain(&world), 0, sizes[i]);
		memset((char *)world.area.at[GM_STORE_STATE] + world.store->layout.log, 0, 8192);
		recorded_commit(&world);
		log = (const void *)((char *)world.area.at[GM_STORE_STATE] +
				     world.store->layout.log);
		words[i] = 0;
		for (unsigned w = 0; w < 1024; w++)
			words[i] += ((const uint64_t *)(const void *)log)[w] != 0;
		recorded_done(&world);
	}
	assert_int_equal(words[0], words[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_session_comes_back_with_peer_client_and_key),
		gm_test(a_domain_comes_back_attached_with_token_and_number),
		gm_test(an_orphan_has_waited_since_it_was_left),
		gm_test(a_region_comes_back_with_its_pages_file_and_charges),
		gm_test(what_was_granted_comes_back_over_todays_limits),
		gm_test(locked_memory_and_a_slot_come_back_over_todays_limits),
		gm_test(a_launch_comes_back_with_its_state_and_step),
		gm_test(what_a_launch_has_measured_is_back_with_what_its_step_would_make_of_it),
		gm_test(why_a_launch_has_failed_is_back),
		gm_test(a_launch_takes_a_gib_of_the_maps_and_gives_it_back),
		gm_test(a_launch_without_room_is_refused_before_and_keeps_nothing_else_out),
		gm_test(what_was_not_committed_is_not_there),
		gm_test(a_destroyed_region_stays_gone_and_its_room_is_free),
		gm_test(pages_of_a_region_are_not_seen_by_the_next_one_in_its_place),
		gm_test(a_dying_domain_is_gone_with_its_regions_while_jobs_still_end),
		gm_test(a_job_under_way_is_known_after_the_restart_and_forgotten_by_the_next),
		gm_test(a_session_that_is_closing_does_not_come_back),
		gm_test(a_tenant_without_configuration_is_asked_for),
		gm_test(a_tenant_of_which_nothing_is_left_gives_its_record_back),
		gm_test(an_answer_is_found_after_a_restart),
		gm_test(the_last_answers_are_kept_and_older_ones_go),
		gm_test(answers_of_a_session_are_not_the_next_ones),
		gm_test(a_full_record_refuses_before_and_fails_without_a_trace),
		gm_test(the_space_of_what_has_gone_is_given_back),
		gm_test(a_commit_of_nothing_writes_nothing),
		gm_test(a_commit_writes_as_much_however_large_the_region_is),
	};

	return gm_test_run("record", tests, GM_ARRAY_SIZE(tests));
}
