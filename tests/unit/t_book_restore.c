/* SPDX-License-Identifier: Apache-2.0 */
/* Putting objects back into the books: what was granted comes back, what cannot be does not. */
#include "book_fixture.h"
#include "book_launch.h"
#include "book_restore.h"

static struct gm_domain_restore a_domain(uint64_t id)
{
	return (struct gm_domain_restore){ .record = 3,
					   .id = { id },
					   .sequence = 10,
					   .name = "vm1",
					   .kind = "memfd",
					   .orphaned_ms = 77 };
}

static struct gm_region_restore a_region(uint64_t id, uint64_t gpa)
{
	return (struct gm_region_restore){ .record = 4,
					   .id = { id },
					   .sequence = 11,
					   .gpa = gpa,
					   .size = GM_GIB,
					   .page_size = GM_PAGE_2M };
}

static struct gm_domain *restored_domain(struct host *host)
{
	const struct gm_domain_restore from = a_domain(1);
	struct gm_domain *domain = NULL;

	assert_int_equal(gm_book_restore_domain(&host->book, host->acme, NULL, &from, &domain,
						&host->refusal),
			 0);
	return domain;
}

static int try_region(struct host *host, struct gm_domain *domain,
		      const struct gm_region_restore *from, struct gm_region **ret_region)
{
	struct gm_page_map map;
	int r;

	assert_int_equal(gm_page_map_init(&map, from->size, GM_PAGE_SHARED), 0);
	r = gm_book_restore_region(&host->book, domain, from, &map, 9, ret_region, &host->refusal);
	gm_page_map_done(&map);
	return r;
}

static void charges_come_back_whatever_the_limits_are(void **state)
{
	struct gm_policy policy = { .all_kinds = true };
	struct gm_region_restore from = a_region(2, 0);
	struct gm_region *region = NULL;
	struct host host;

	(void)state;
	host_init(&host);
	gm_book_set_policy(host.acme, &policy);
	gm_account_set_limit(&host.book.host, GM_RES_FDS, 0);
	assert_int_equal(try_region(&host, restored_domain(&host), &from, &region), 0);
	assert_int_equal(host.acme->account.used[GM_RES_DOMAINS], 1);
	assert_int_equal(host.acme->account.used[GM_RES_REGIONS], 1);
	assert_int_equal(host.acme->account.used[GM_RES_MEMORY], GM_GIB);
	assert_int_equal(host.acme->account.used[GM_RES_HUGE_2M], GM_GIB);
	assert_int_equal(region->allocated_bytes, GM_GIB);
	assert_int_equal(host.acme->allocated_bytes, GM_GIB);
	assert_int_equal(region->fd, 9);
	assert_int_equal(region->mark.record, 4);
	host_done(&host);
}

static void charges_that_pass_64_bits_are_refused_and_leave_no_trace(void **state)
{
	struct gm_charge much = { 0 };
	struct gm_region_restore from = a_region(2, 0);
	struct gm_region *region = NULL;
	struct gm_domain *domain;
	struct host host;

	(void)state;
	host_init(&host);
	domain = restored_domain(&host);
	assert_int_equal(gm_charge_force(&much, &host.book.host, GM_RES_HUGE_2M, UINT64_MAX), 0);
	assert_int_equal(try_region(&host, domain, &from, &region), GM_INVALID);
	assert_int_equal(host.acme->account.used[GM_RES_MEMORY], 0);
	gm_charge_done(&much);
	host_done(&host);
}

static void a_region_that_overlaps_another_is_refused(void **state)
{
	struct gm_region_restore first = a_region(2, 0);
	struct gm_region_restore second = a_region(3, GM_GIB / 2);
	struct gm_region *region = NULL;
	struct gm_domain *domain;
	struct host host;

	(void)state;
	host_init(&host);
	domain = restored_domain(&host);
	assert_int_equal(try_region(&host, domain, &first, &region), 0);
	assert_int_equal(try_region(&host, domain, &second, &region), GM_EXISTS);
	assert_int_equal(domain->n_regions, 1);
	host_done(&host);
}

static void ids_and_names_that_are_taken_are_refused(void **state)
{
	struct gm_domain_restore from = a_domain(1);
	struct gm_domain *domain = NULL;
	struct host host;

	(void)state;
	host_init(&host);
	restored_domain(&host);
	snprintf(from.name, sizeof(from.name), "vm2");
	assert_int_equal(gm_book_restore_domain(&host.book, host.acme, NULL, &from, &domain, NULL),
			 -EEXIST);
	from = a_domain(2);
	assert_int_equal(gm_book_restore_domain(&host.book, host.acme, NULL, &from, &domain, NULL),
			 -EEXIST);
	assert_int_equal(host.book.n_domains, 1);
	host_done(&host);
}

static void what_has_no_id_no_number_or_no_end_of_name_is_refused(void **state)
{
	struct gm_domain_restore from[4];
	struct gm_domain *domain = NULL;
	struct host host;

	(void)state;
	host_init(&host);
	for (unsigned i = 0; i < GM_ARRAY_SIZE(from); i++)
		from[i] = a_domain(1);
	from[0].id.v = 0;
	from[1].sequence = 0;
	memset(from[2].name, 'x', sizeof(from[2].name));
	from[3].lifetime = (enum gm_lifetime)9;
	for (unsigned i = 0; i < GM_ARRAY_SIZE(from); i++)
		assert_int_equal(gm_book_restore_domain(&host.book, host.acme, NULL, &from[i],
							&domain, &host.refusal),
				 GM_INVALID);
	assert_int_equal(host.acme->account.used[GM_RES_DOMAINS], 0);
	host_done(&host);
}

static void a_restored_session_is_open_and_can_hold_domains(void **state)
{
	const struct gm_session_restore from = {
		.record = 2, .id = { 0x77 }, .client = "vmm", .has_key = true, .key = { { 5 } }
	};
	const struct gm_domain_restore domain_from = a_domain(1);
	struct gm_session *session = NULL;
	struct gm_domain *domain = NULL;
	struct host host;

	(void)state;
	host_init(&host);
	assert_int_equal(gm_book_restore_session(&host.book, host.acme, &from, &session, NULL), 0);
	assert_int_equal(session->state, GM_SESSION_OPEN);
	assert_null(session->owner);
	assert_ptr_equal(gm_book_find_session_by_key(host.acme, &from.key), session);
	assert_int_equal(
		gm_book_restore_domain(&host.book, host.acme, session, &domain_from, &domain, NULL),
		0);
	assert_ptr_equal(domain->session, session);
	assert_int_equal(gm_book_restore_session(&host.book, host.acme, &from, &session, NULL),
			 -EEXIST);
	host_done(&host);
}

static void being_short_of_memory_changes_nothing(void **state)
{
	struct gm_domain_restore from = a_domain(1);
	struct gm_domain *domain = NULL;
	struct host host;

	(void)state;
	host_init(&host);
	for (long nth = 1;; nth++) {
		int r;

		gm_test_fail_allocation(nth);
		r = gm_book_restore_domain(&host.book, host.acme, NULL, &from, &domain, NULL);
		gm_test_fail_allocation(0);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_int_equal(host.acme->account.used[GM_RES_DOMAINS], 0);
		assert_int_equal(host.book.n_domains, 0);
	}
	host_done(&host);
}

static int restore_launch(struct host *host, enum gm_launch_state state, enum gm_step_kind kind,
			  uint64_t step, struct gm_domain **ret_domain)
{
	const struct gm_domain_restore from = {
		.record = 1,
		.id = { 5 },
		.sequence = 1,
		.kind = "measured",
		.traits = GM_TRAIT_PRIVATE | GM_TRAIT_LAUNCH,
		.launch = { .state = state, .step_kind = kind, .step_id = step, .deadline_ms = 9 },
	};

	return gm_book_restore_domain(&host->book, host->acme, NULL, &from, ret_domain, NULL);
}

static void a_launch_comes_back_where_it_was_with_its_step(void **state)
{
	struct gm_domain *domain = NULL;
	struct host host;

	(void)state;
	host_init(&host);
	assert_int_equal(
		restore_launch(&host, GM_LAUNCH_FINISHING, GM_STEP_LAUNCH_FINISH, 7, &domain), 0);
	assert_int_equal(gm_book_find_launch_step(domain, 7, NULL), 0);
	assert_false(domain->running);
	gm_book_launch_step_done(domain);
	assert_int_equal(gm_domain_launch_state(domain), GM_LAUNCH_RUNNING);
	host_done(&host);

	host_init(&host);
	assert_int_equal(restore_launch(&host, GM_LAUNCH_RUNNING, GM_STEP_NONE, 0, &domain), 0);
	assert_true(domain->running);
	host_done(&host);
}

static void a_failure_without_an_end_does_not_come_back(void **state)
{
	static const unsigned traits[] = { GM_TRAIT_PRIVATE, GM_TRAIT_DAEMON_LAUNCHES };
	struct gm_domain *domain = NULL;
	struct gm_launch_failure why;
	struct host host;

	(void)state;
	memset(&why, 'x', sizeof(why));
	host_init(&host);
	for (unsigned i = 0; i < GM_ARRAY_SIZE(traits); i++) {
		const struct gm_domain_restore from = {
			.record = 1,
			.id = { 5 },
			.sequence = 1,
			.kind = "measured",
			.traits = traits[i] | GM_TRAIT_LAUNCH,
			.launch = { .state = GM_LAUNCH_FAILED, .failure = &why },
		};

		assert_int_equal(
			gm_book_restore_domain(&host.book, host.acme, NULL, &from, &domain, NULL),
			GM_INVALID);
	}
	host_done(&host);
}

static void a_launch_in_no_state_that_there_is_does_not_come_back(void **state)
{
	struct gm_domain *domain = NULL;
	struct host host;

	(void)state;
	host_init(&host);
	assert_int_equal(restore_launch(&host, GM_LAUNCH_NONE, GM_STEP_NONE, 0, &domain),
			 GM_INVALID);
	assert_int_equal(restore_launch(&host, GM_LAUNCH_STATE_N_, GM_STEP_NONE, 0, &domain),
			 GM_INVALID);
	assert_int_equal(restore_launch(&host, GM_LAUNCH_STARTING, GM_STEP_NONE, 0, &domain),
			 GM_INVALID);
	assert_int_equal(
		restore_launch(&host, GM_LAUNCH_STARTING, GM_STEP_LAUNCH_FINISH, 7, &domain),
		GM_INVALID);
	assert_int_equal(restore_launch(&host, GM_LAUNCH_OPEN, GM_STEP_NONE, 7, &domain),
			 GM_INVALID);
	host_done(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(charges_come_back_whatever_the_limits_are),
		gm_test(charges_that_pass_64_bits_are_refused_and_leave_no_trace),
		gm_test(a_region_that_overlaps_another_is_refused),
		gm_test(ids_and_names_that_are_taken_are_refused),
		gm_test(what_has_no_id_no_number_or_no_end_of_name_is_refused),
		gm_test(a_restored_session_is_open_and_can_hold_domains),
		gm_test(a_launch_comes_back_where_it_was_with_its_step),
		gm_test(a_failure_without_an_end_does_not_come_back),
		gm_test(a_launch_in_no_state_that_there_is_does_not_come_back),
		gm_test(being_short_of_memory_changes_nothing),
	};

	return gm_test_run("restored books", tests, GM_ARRAY_SIZE(tests));
}
