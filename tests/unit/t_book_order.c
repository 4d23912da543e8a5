/* SPDX-License-Identifier: Apache-2.0 */
/* Standing orders: room, numbers, and what becomes of a report that no order covers. */
#include "book_fixture.h"
#include "book_order.h"

#define SIZE (16 * GM_MIB)
#define ORDER 0x0d

struct world {
	struct host host;
	struct gm_domain *domain;
	struct gm_region *regions[2];
	uint64_t last_id;
};

static struct gm_step_spec next_step(struct world *w)
{
	return (struct gm_step_spec){ .id = ++w->last_id, .key = { 1, 2 }, .deadline_ms = 5000 };
}

static struct gm_region *unbound_region(struct world *w, uint64_t gpa)
{
	struct gm_region *region = host_region(&w->host, w->domain, gpa, SIZE);
	const struct gm_step_spec spec = next_step(w);
	const struct gm_file_id file = { 7, 70 + spec.id };

	assert_int_equal(gm_book_begin_memory(region, &spec, NULL), 0);
	gm_book_memory_made(region, 3, &file);
	return region;
}

static void bind(struct world *w, struct gm_region *region)
{
	const struct gm_step_spec spec = next_step(w);

	assert_int_equal(gm_book_begin_bind(region, &spec, NULL), 0);
	gm_book_bound(region);
}

static void start_with(struct world *w, unsigned traits)
{
	memset(w, 0, sizeof(*w));
	host_init(&w->host);
	w->domain = host_private_domain(&w->host, traits);
	for (unsigned i = 0; i < 2; i++) {
		w->regions[i] = unbound_region(w, i * GM_GIB);
		bind(w, w->regions[i]);
	}
}

/* Two regions, the first of them with an order. */
static void start(struct world *w, uint64_t shared_max)
{
	start_with(w, GM_TRAIT_PRIVATE);
	w->domain->tenant->policy.shared_max = shared_max;
	assert_true(gm_book_begin_order(w->regions[0], ORDER));
}

static struct gm_conversion conversion(uint64_t offset, uint64_t length, enum gm_page_op op)
{
	return (struct gm_conversion){ .range = { offset, length }, .op = op };
}

static int report(struct world *w, uint64_t offset, uint64_t length, enum gm_page_op op)
{
	const struct gm_conversion one = conversion(offset, length, op);

	return gm_book_report(w->regions[0], &one, 1, &w->host.refusal);
}

static uint64_t lost(const struct world *w)
{
	return w->regions[0]->map.pages[GM_PAGE_LOST] * GM_PAGE_4K;
}

static void expect_no_order(const struct world *w)
{
	assert_int_equal(w->regions[0]->order.id, 0);
	assert_int_equal(w->domain->converting_bytes, 0);
}

/* ---- having one ---- */

static void room_is_taken_from_the_limit_in_advance_and_never_all_of_it(void **state)
{
	struct world w;

	(void)state;
	start(&w, 8 * GM_MIB);
	assert_int_equal(w.regions[0]->order.room, 4 * GM_MIB);
	assert_true(gm_book_begin_order(w.regions[1], ORDER + 1));
	assert_int_equal(w.regions[1]->order.room, 2 * GM_MIB);
	assert_int_equal(w.domain->converting_bytes, 6 * GM_MIB);
	host_done(&w.host);
}

static void room_is_bounded_where_there_is_no_limit(void **state)
{
	struct world w;

	(void)state;
	start(&w, GM_UNLIMITED);
	assert_int_equal(w.regions[0]->order.room, GM_ORDER_ROOM);
	host_done(&w.host);
}

static void a_region_has_none_before_it_is_bound(void **state)
{
	struct gm_region *region;
	struct world w;

	(void)state;
	start(&w, GM_UNLIMITED);
	region = unbound_region(&w, 2 * GM_GIB);
	assert_false(gm_book_begin_order(region, ORDER + 1));
	bind(&w, region);
	assert_true(gm_book_begin_order(region, ORDER + 1));
	host_done(&w.host);
}

static void a_region_has_none_before_its_guest_runs(void **state)
{
	struct world w;

	(void)state;
	start(&w, GM_UNLIMITED);
	w.domain->running = false;
	assert_false(gm_book_begin_order(w.regions[1], ORDER + 1));
	host_done(&w.host);
}

static void what_the_daemon_converts_itself_needs_none(void **state)
{
	struct world w;

	(void)state;
	start_with(&w, GM_TRAIT_PRIVATE | GM_TRAIT_IN_PLACE);
	assert_false(gm_book_begin_order(w.regions[0], ORDER));
	host_done(&w.host);
}

static void an_order_is_renewed_and_not_replaced(void **state)
{
	struct world w;

	(void)state;
	start(&w, 8 * GM_MIB);
	assert_int_equal(report(&w, 0, GM_MIB, GM_PAGE_OP_TO_SHARED), 0);
	assert_true(gm_book_begin_order(w.regions[0], ORDER + 1));
	assert_int_equal(w.regions[0]->order.id, ORDER);
	assert_int_equal(w.regions[0]->order.last, 1);
	assert_int_equal(gm_order_limit(&w.regions[0]->order), 4 * GM_MIB + GM_MIB / 2);
	host_done(&w.host);
}

static void under_another_granularity_it_is_not_renewed_and_then_replaced(void **state)
{
	struct gm_order *order;
	struct world w;

	(void)state;
	start(&w, GM_UNLIMITED);
	order = &w.regions[0]->order;
	w.domain->tenant->policy.conversion_granularity = GM_PAGE_2M;
	/* What was granted stays granted. */
	assert_int_equal(report(&w, 0, GM_PAGE_4K, GM_PAGE_OP_TO_SHARED), 0);
	gm_book_renew_order(w.regions[0]);
	assert_int_equal(gm_order_limit(order), GM_ORDER_ROOM);
	assert_true(gm_book_begin_order(w.regions[0], ORDER + 1));
	assert_int_equal(order->id, ORDER + 1);
	assert_int_equal(order->last, 0);
	assert_int_equal(order->granularity, GM_PAGE_2M);
	assert_int_equal(w.domain->converting_bytes, GM_ORDER_ROOM);
	host_done(&w.host);
}

static void its_room_goes_back_with_the_region(void **state)
{
	struct world w;

	(void)state;
	start(&w, GM_UNLIMITED);
	assert_int_equal(report(&w, 0, GM_MIB, GM_PAGE_OP_TO_SHARED), 0);
	gm_book_remove_region(&w.host.book, w.regions[0]);
	assert_int_equal(w.domain->converting_bytes, 0);
	assert_int_equal(w.domain->shared_bytes, 0);
	host_done(&w.host);
}

/* ---- reports ---- */

static void a_report_is_booked_and_uses_up_room(void **state)
{
	struct world w;

	(void)state;
	start(&w, 8 * GM_MIB);
	assert_int_equal(report(&w, 0, GM_MIB, GM_PAGE_OP_TO_SHARED), 0);
	assert_int_equal(w.domain->shared_bytes, GM_MIB);
	assert_int_equal(w.domain->converting_bytes, 3 * GM_MIB);
	assert_int_equal(report(&w, 0, GM_MIB, GM_PAGE_OP_TO_PRIVATE), 0);
	assert_int_equal(w.domain->shared_bytes, 0);
	assert_int_equal(w.regions[0]->map.pages[GM_PAGE_PRIVATE], GM_MIB / GM_PAGE_4K);
	gm_book_renew_order(w.regions[0]);
	assert_int_equal(w.domain->converting_bytes, 4 * GM_MIB);
	host_done(&w.host);
}

static void a_page_may_go_to_and_fro_in_one_report(void **state)
{
	const struct gm_conversion three[] = {
		conversion(0, 2 * GM_PAGE_4K, GM_PAGE_OP_TO_SHARED),
		conversion(0, GM_PAGE_4K, GM_PAGE_OP_TO_PRIVATE),
		conversion(GM_PAGE_4K, GM_PAGE_4K, GM_PAGE_OP_TO_SHARED),
	};
	struct world w;

	(void)state;
	start(&w, 8 * GM_MIB);
	assert_int_equal(gm_book_report(w.regions[0], three, 3, NULL), 0);
	assert_int_equal(gm_page_map_get(&w.regions[0]->map, 0), GM_PAGE_PRIVATE);
	assert_int_equal(gm_page_map_get(&w.regions[0]->map, GM_PAGE_4K), GM_PAGE_SHARED);
	/* All that was made shared counts, however often. */
	assert_int_equal(w.regions[0]->order.spent, 3 * GM_PAGE_4K);
	host_done(&w.host);
}

static void a_report_is_known_by_its_number(void **state)
{
	struct gm_region *region;
	struct world w;

	(void)state;
	start(&w, GM_UNLIMITED);
	region = w.regions[0];
	assert_int_equal(gm_book_place_report(region, ORDER, 1), GM_REPORT_NEXT);
	assert_int_equal(gm_book_place_report(region, ORDER, 2), GM_REPORT_WRONG);
	assert_int_equal(gm_book_place_report(region, ORDER, 0), GM_REPORT_WRONG);
	assert_int_equal(gm_book_place_report(region, ORDER + 1, 1), GM_REPORT_WRONG);
	assert_int_equal(report(&w, 0, GM_MIB, GM_PAGE_OP_TO_SHARED), 0);
	assert_int_equal(gm_book_place_report(region, ORDER, 1), GM_REPORT_KNOWN);
	assert_int_equal(gm_book_place_report(region, ORDER, 2), GM_REPORT_NEXT);
	region->order.frees = true;
	assert_int_equal(gm_book_place_report(region, ORDER, 1), GM_REPORT_EARLY);
	assert_int_equal(gm_book_place_report(region, ORDER, 3), GM_REPORT_EARLY);
	assert_int_equal(gm_book_place_report(region, ORDER, 99), GM_REPORT_WRONG);
	region->order.frees = false;
	host_done(&w.host);
}

static void without_an_order_no_report_is_right(void **state)
{
	struct world w;

	(void)state;
	start(&w, GM_UNLIMITED);
	assert_int_equal(gm_book_place_report(w.regions[1], 0, 1), GM_REPORT_WRONG);
	host_done(&w.host);
}

static void during_a_step_no_report_is_right(void **state)
{
	struct gm_range page = { 0, GM_PAGE_4K };
	struct gm_step_spec spec;
	struct world w;

	(void)state;
	start(&w, GM_UNLIMITED);
	spec = next_step(&w);
	assert_int_equal(
		gm_book_begin_convert(w.regions[0], GM_PAGE_OP_TO_SHARED, &page, 1, &spec, NULL),
		0);
	assert_int_equal(gm_book_place_report(w.regions[0], ORDER, 1), GM_REPORT_WRONG);
	gm_book_end_step(w.regions[0]);
	host_done(&w.host);
}

static void what_goes_beyond_the_room_is_lost_and_ends_the_order(void **state)
{
	const struct gm_conversion two[] = {
		conversion(0, 3 * GM_MIB, GM_PAGE_OP_TO_SHARED),
		conversion(4 * GM_MIB, 2 * GM_MIB, GM_PAGE_OP_TO_SHARED),
	};
	struct world w;

	(void)state;
	start(&w, 8 * GM_MIB);
	assert_int_equal(gm_book_report(w.regions[0], two, 2, &w.host.refusal), GM_INVALID);
	assert_int_equal(w.host.refusal.rule, GM_RULE_ORDER);
	assert_int_equal(w.host.refusal.offset, 4 * GM_MIB);
	assert_int_equal(w.domain->shared_bytes, 3 * GM_MIB);
	assert_int_equal(lost(&w), 2 * GM_MIB);
	expect_no_order(&w);
	host_done(&w.host);
}

static void a_finer_range_than_was_granted_is_lost(void **state)
{
	struct world w;

	(void)state;
	start_with(&w, GM_TRAIT_PRIVATE);
	w.domain->tenant->policy.conversion_granularity = GM_PAGE_2M;
	assert_true(gm_book_begin_order(w.regions[0], ORDER));
	assert_int_equal(report(&w, GM_PAGE_2M, GM_PAGE_4K, GM_PAGE_OP_TO_PRIVATE), GM_INVALID);
	assert_int_equal(lost(&w), GM_PAGE_4K);
	expect_no_order(&w);
	host_done(&w.host);
}

static void ranges_that_are_not_there_change_no_page(void **state)
{
	static const struct gm_range wrong[] = {
		{ SIZE, GM_PAGE_4K },
		{ SIZE - GM_PAGE_4K, 2 * GM_PAGE_4K },
		{ 0, 0 },
		{ 0, GM_PAGE_4K + 1 },
		{ 0, -GM_PAGE_4K },
		{ 2 * GM_PAGE_4K, UINT64_MAX - GM_PAGE_4K + 1 },
	};
	struct world w;

	(void)state;
	start(&w, GM_UNLIMITED);
	for (size_t i = 0; i < GM_ARRAY_SIZE(wrong); i++) {
		assert_true(gm_book_begin_order(w.regions[0], ORDER + i));
		assert_int_equal(
			report(&w, wrong[i].offset, wrong[i].length, GM_PAGE_OP_TO_PRIVATE),
			GM_INVALID);
		assert_int_equal(w.regions[0]->map.pages[GM_PAGE_ABSENT], SIZE / GM_PAGE_4K);
		expect_no_order(&w);
	}
	host_done(&w.host);
}

static void a_lost_page_stays_lost_and_ends_no_order(void **state)
{
	const struct gm_range lost_page = { 2 * GM_PAGE_4K, GM_PAGE_4K };
	struct world w;

	(void)state;
	start(&w, GM_UNLIMITED);
	gm_book_lose_ranges(w.regions[0], &lost_page, 1);
	assert_int_equal(report(&w, GM_PAGE_4K, 4 * GM_PAGE_4K, GM_PAGE_OP_TO_SHARED), 0);
	assert_int_equal(lost(&w), GM_PAGE_4K);
	assert_int_equal(w.domain->shared_bytes, 3 * GM_PAGE_4K);
	assert_int_equal(w.regions[0]->order.id, ORDER);
	host_done(&w.host);
}

/* Whoever loses every other page, and then reports all of them over and over. */
static void lost_pages_part_a_report_into_few_pieces(void **state)
{
	struct gm_conversion whole[128];
	struct world w;

	(void)state;
	for (unsigned i = 0; i < 128; i++)
		whole[i] = conversion(0, SIZE, GM_PAGE_OP_TO_PRIVATE);
	start(&w, GM_UNLIMITED);
	for (uint64_t at = 0; at < SIZE; at += 2 * GM_PAGE_4K)
		gm_book_lose_ranges(w.regions[0], &(struct gm_range){ at, GM_PAGE_4K }, 1);
	assert_int_equal(gm_book_report(w.regions[0], whole, 4, &w.host.refusal), 0);
	assert_int_equal(lost(&w), SIZE / 2);
	assert_int_equal(gm_book_report(w.regions[0], whole, 128, &w.host.refusal), GM_INVALID);
	assert_int_equal(w.host.refusal.rule, GM_RULE_ORDER);
	assert_int_equal(lost(&w), SIZE);
	expect_no_order(&w);
	host_done(&w.host);
}

/* ---- beside requests ---- */

static void room_that_is_only_set_aside_makes_nothing_be_refused(void **state)
{
	struct gm_range most = { 0, 8 * GM_MIB };
	struct gm_step_spec spec;
	struct world w;

	(void)state;
	start(&w, 8 * GM_MIB);
	spec = next_step(&w);
	assert_int_equal(gm_book_begin_convert(w.regions[1], GM_PAGE_OP_TO_SHARED, &most, 1, &spec,
					       &w.host.refusal),
			 0);
	assert_int_equal(w.domain->n_rooms_ended, 1);
	assert_int_equal(w.regions[0]->order.room, 0);
	assert_int_equal(w.regions[0]->order.id, ORDER);
	assert_int_equal(w.domain->converting_bytes, 8 * GM_MIB);
	gm_book_end_step(w.regions[1]);
	host_done(&w.host);
}

static void a_refusal_names_what_is_used_and_not_what_is_set_aside(void **state)
{
	struct gm_range most = { 0, 8 * GM_MIB };
	struct gm_step_spec spec;
	struct world w;

	(void)state;
	start(&w, 8 * GM_MIB);
	assert_int_equal(report(&w, 0, GM_MIB, GM_PAGE_OP_TO_SHARED), 0);
	spec = next_step(&w);
	assert_int_equal(gm_book_begin_convert(w.regions[1], GM_PAGE_OP_TO_SHARED, &most, 1, &spec,
					       &w.host.refusal),
			 GM_OVER_LIMIT);
	assert_int_equal(w.host.refusal.used, GM_MIB);
	host_done(&w.host);
}

static void room_stays_while_there_is_enough_for_all(void **state)
{
	struct gm_range some = { 0, GM_MIB };
	struct gm_step_spec spec;
	struct world w;

	(void)state;
	start(&w, 8 * GM_MIB);
	spec = next_step(&w);
	assert_int_equal(
		gm_book_begin_convert(w.regions[1], GM_PAGE_OP_TO_SHARED, &some, 1, &spec, NULL),
		0);
	assert_int_equal(w.domain->n_rooms_ended, 0);
	assert_int_equal(w.regions[0]->order.room, 4 * GM_MIB);
	gm_book_end_step(w.regions[1]);
	host_done(&w.host);
}

static void room_stays_where_reports_have_yet_to_be_booked(void **state)
{
	struct world w;

	(void)state;
	start(&w, 8 * GM_MIB);
	w.regions[0]->order.n_waiting = 1;
	gm_book_take_rooms(w.domain);
	assert_int_equal(w.regions[0]->order.room, 4 * GM_MIB);
	w.regions[0]->order.n_waiting = 0;
	gm_book_take_rooms(w.domain);
	assert_int_equal(w.domain->converting_bytes, 0);
	host_done(&w.host);
}

static void while_a_half_is_freed_nothing_else_begins(void **state)
{
	struct gm_range page = { 0, GM_PAGE_4K };
	struct gm_job_ticket ticket;
	struct gm_region *region;
	struct gm_step_spec spec;
	struct world w;

	(void)state;
	start(&w, GM_UNLIMITED);
	region = w.regions[0];
	spec = next_step(&w);
	region->order.frees = true;
	assert_int_equal(gm_book_begin_convert(region, GM_PAGE_OP_TO_SHARED, &page, 1, &spec,
					       &w.host.refusal),
			 GM_BUSY);
	assert_int_equal(w.host.refusal.rule, GM_RULE_STEP_UNDER_WAY);
	assert_int_equal(gm_book_begin_job(&w.host.book, w.host.session, region, GM_PAGE_OP_DISCARD,
					   &page, 1, &ticket, &w.host.refusal),
			 GM_BUSY);
	assert_int_equal(gm_book_may_destroy_region(region, &w.host.refusal), GM_BUSY);
	region->order.frees = false;
	assert_int_equal(gm_book_may_destroy_region(region, NULL), 0);
	host_done(&w.host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(room_is_taken_from_the_limit_in_advance_and_never_all_of_it),
		gm_test(room_is_bounded_where_there_is_no_limit),
		gm_test(a_region_has_none_before_it_is_bound),
		gm_test(a_region_has_none_before_its_guest_runs),
		gm_test(what_the_daemon_converts_itself_needs_none),
		gm_test(an_order_is_renewed_and_not_replaced),
		gm_test(under_another_granularity_it_is_not_renewed_and_then_replaced),
		gm_test(its_room_goes_back_with_the_region),
		gm_test(a_report_is_booked_and_uses_up_room),
		gm_test(a_page_may_go_to_and_fro_in_one_report),
		gm_test(a_report_is_known_by_its_number),
		gm_test(without_an_order_no_report_is_right),
		gm_test(during_a_step_no_report_is_right),
		gm_test(what_goes_beyond_the_room_is_lost_and_ends_the_order),
		gm_test(a_finer_range_than_was_granted_is_lost),
		gm_test(ranges_that_are_not_there_change_no_page),
		gm_test(a_lost_page_stays_lost_and_ends_no_order),
		gm_test(lost_pages_part_a_report_into_few_pieces),
		gm_test(room_that_is_only_set_aside_makes_nothing_be_refused),
		gm_test(a_refusal_names_what_is_used_and_not_what_is_set_aside),
		gm_test(room_stays_while_there_is_enough_for_all),
		gm_test(room_stays_where_reports_have_yet_to_be_booked),
		gm_test(while_a_half_is_freed_nothing_else_begins),
	};

	return gm_test_run("standing orders", tests, GM_ARRAY_SIZE(tests));
}
