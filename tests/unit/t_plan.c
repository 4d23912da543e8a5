/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: the first step that differs is named, and no text that claims to be a plan does harm. */
#include <stdlib.h>
#include <string.h>

#include "exec_plan.h"
#include "gm_test.h"

#define HEAD "gmemd-plan 1 measured 00\n"

/* Four pages with contents, nine without, one more; two vCPUs. */
static const char plan[] = HEAD "normal 0x10000 000000000000000a 000000000000000b 000000000000000c "
				"000000000000000d\n"
				"zero 0x800000 *9\n"
				"normal 0x20000 000000000000000e\n"
				"vcpu 0xfff000 00000000000000f0\n"
				"vcpu 0xfff000 00000000000000f1\n";

static const uint64_t vcpu_tags[2] = { 0xf0, 0xf1 };

struct world {
	struct gm_trail *trail;
	struct gm_launch_vcpus vcpus;
	struct gm_plan_launch launch;
	size_t step;
	char text[GM_PLAN_TEXT_MAX];
};

static void add(struct world *w, enum gm_populate_type type, uint64_t gpa, uint64_t n_pages,
		const uint64_t *tags)
{
	const struct gm_trail_row row = {
		.gpa = gpa, .n_pages = n_pages, .n_tags = tags ? (uint32_t)n_pages : 0, .type = type
	};

	gm_trail_set_next(w->trail, &row, tags);
	gm_trail_book(w->trail);
}

static void start(struct world *w)
{
	*w = (struct world){ .trail = gm_trail_new() };
	assert_non_null(w->trail);
	w->vcpus = (struct gm_launch_vcpus){ .how = GM_VCPUS_MODEL, .count = 2, .vmm = "vmm" };
	w->launch = (struct gm_plan_launch){ w->trail, &w->vcpus, vcpu_tags };
}

/* As planned, split in another way. */
static void start_planned(struct world *w)
{
	start(w);
	add(w, GM_POPULATE_NORMAL, 0x10000, 1, (const uint64_t[]){ 0xa });
	add(w, GM_POPULATE_NORMAL, 0x11000, 3, (const uint64_t[]){ 0xb, 0xc, 0xd });
	add(w, GM_POPULATE_ZERO, 0x800000, 4, NULL);
	add(w, GM_POPULATE_ZERO, 0x804000, 5, NULL);
	add(w, GM_POPULATE_NORMAL, 0x20000, 1, (const uint64_t[]){ 0xe });
}

static void stop(struct world *w)
{
	free(w->trail);
}

static bool differs(struct world *w, const char *text)
{
	return gm_plan_differ(text, strlen(text), &w->launch, &w->step, w->text);
}

static void assert_says(struct world *w, size_t step, const char *what)
{
	assert_true(differs(w, plan));
	assert_string_equal(w->text, what);
	assert_int_equal(w->step, step);
}

static void steps_that_are_split_in_another_way_are_the_same(void **state)
{
	struct world w;

	(void)state;
	start_planned(&w);
	assert_false(differs(&w, plan));
	stop(&w);
}

static void other_contents_are_named_by_page_and_step(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	add(&w, GM_POPULATE_NORMAL, 0x10000, 1, (const uint64_t[]){ 0xa });
	add(&w, GM_POPULATE_NORMAL, 0x11000, 3, (const uint64_t[]){ 0xb, 0xbad, 0xd });
	assert_says(&w, 2,
		    "step 2, normal page 0x12000: contents 0000000000000bad..., not "
		    "000000000000000c...");
	stop(&w);
}

static void another_type_or_address_is_named_with_the_planned_one(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	add(&w, GM_POPULATE_UNMEASURED, 0x10000, 1, NULL);
	assert_says(&w, 1, "step 1, unmeasured page 0x10000: the plan has normal page 0x10000");
	stop(&w);
	start(&w);
	add(&w, GM_POPULATE_NORMAL, 0x10000, 4, (const uint64_t[]){ 0xa, 0xb, 0xc, 0xd });
	add(&w, GM_POPULATE_ZERO, 0x800000, 4, NULL);
	add(&w, GM_POPULATE_ZERO, 0x900000, 5, NULL);
	assert_says(&w, 3, "step 3, zero page 0x900000: the plan has zero page 0x804000");
	stop(&w);
}

static void addresses_that_the_plan_does_not_tell_are_not_compared(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	w.launch.vcpu_tags = NULL;
	add(&w, GM_POPULATE_NORMAL, 0x77000, 1, (const uint64_t[]){ 0xa });
	assert_false(differs(&w, HEAD "normal - 000000000000000a\n"));
	assert_true(differs(&w, HEAD "normal - 000000000000000b\n"));
	stop(&w);
}

static void a_launch_that_ends_early_or_goes_on_is_named(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	add(&w, GM_POPULATE_NORMAL, 0x10000, 4, (const uint64_t[]){ 0xa, 0xb, 0xc, 0xd });
	assert_says(&w, 2, "the launch ends before step 2: the plan has zero page 0x800000");
	stop(&w);
	start_planned(&w);
	add(&w, GM_POPULATE_CPUID, 0x30000, 1, NULL);
	assert_says(&w, 6, "step 6, cpuid page 0x30000: the plan has a vCPU");
	assert_true(differs(&w, HEAD "normal 0x10000 000000000000000a\n"));
	assert_string_equal(w.text, "step 2, normal page 0x11000: the plan has nothing more");
	stop(&w);
}

static void other_vcpus_are_named_with_what_was_told_of_them(void **state)
{
	static const uint64_t others[2] = { 0xf0, 0xf2 };
	struct world w;

	(void)state;
	start_planned(&w);
	w.vcpus.signature = 0x800f12;
	w.launch.vcpu_tags = others;
	assert_says(&w, 6,
		    "vCPU 1: other registers than planned; told: vmm, signature 0x800f12, entry 0, "
		    "features 0");
	w.launch.vcpu_tags = vcpu_tags;
	w.vcpus.count = 3;
	assert_says(&w, 6, "after 2 of 3 vCPUs the plan has nothing more");
	w.vcpus.count = 1;
	assert_says(&w, 6, "1 vCPUs, then the plan has a vCPU");
	stop(&w);
}

static void of_vcpus_that_nobody_has_described_no_more_is_said(void **state)
{
	struct world w;

	(void)state;
	start_planned(&w);
	w.launch.vcpu_tags = NULL;
	assert_says(&w, 6,
		    "all pages are as planned: the vCPUs' registers, or their number, are not");
	stop(&w);
}

static void a_step_that_was_not_reported_is_not_in_the_trail(void **state)
{
	const struct gm_trail_row row = { .gpa = 0x66000, .n_pages = 1, .type = GM_POPULATE_ZERO };
	struct world w;

	(void)state;
	start_planned(&w);
	gm_trail_set_next(w.trail, &row, NULL);
	assert_false(differs(&w, plan));
	stop(&w);
}

static void what_a_full_trail_has_not_kept_is_not_guessed(void **state)
{
	static uint64_t tags[GM_TRAIL_TAGS_MAX];
	struct world w;

	(void)state;
	start_planned(&w);
	add(&w, GM_POPULATE_NORMAL, 0x1000000, GM_TRAIL_TAGS_MAX, tags);
	assert_true(w.trail->cut);
	assert_int_equal(gm_trail_room(w.trail), 0);
	add(&w, GM_POPULATE_ZERO, 0x800000, 1, NULL);
	assert_int_equal(w.trail->n_rows, 5);
	assert_says(&w, 6, "after step 5, from where on nothing was kept");
	stop(&w);
	start(&w);
	for (unsigned i = 0; i < GM_TRAIL_ROWS_MAX; i++)
		add(&w, GM_POPULATE_ZERO, i * GM_PAGE_4K, 1, NULL);
	assert_false(w.trail->cut);
	add(&w, GM_POPULATE_ZERO, 0x800000, 1, NULL);
	assert_true(w.trail->cut);
	stop(&w);
}

static void without_a_trail_nothing_is_named(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	w.launch.trail = NULL;
	assert_false(differs(&w, plan));
	stop(&w);
}

static void what_is_no_plan_is_not_believed(void **state)
{
	static const char *const bad[] = {
		"",
		"gmemd-plan 1 measured 00",
		"gmemd-plan 2 measured 00\nzero 0x0 *1\n",
		HEAD "zero 0x10000\n",
		HEAD "zero 0x10000 *0\n",
		HEAD "zero 0x10000 *1",
		HEAD "normal 0x10000 \n",
		HEAD "normal 10000 000000000000000a\n",
		HEAD "other 0x10000 *1\n",
		HEAD "normal 0x10000 000000000000000a 00000000000000zz\n",
	};
	struct world w;

	(void)state;
	start_planned(&w);
	for (size_t i = 0; i < GM_ARRAY_SIZE(bad); i++)
		assert_false(differs(&w, bad[i]));
	stop(&w);
}

/* The text is in a block of its own size: a byte too far is seen by sanitizers. */
static void no_text_does_harm(void **state)
{
	struct gm_test_rng rng = { 0 };
	struct world w;

	(void)state;
	start_planned(&w);
	for (unsigned i = 0; i < 20000; i++) {
		size_t length = gm_test_random_below(&rng, sizeof(plan));
		char *text = malloc(length + 1);

		assert_non_null(text);
		memcpy(text, plan, length);
		for (unsigned j = (unsigned)gm_test_random_below(&rng, 4); j > 0 && length > 0; j--)
			text[gm_test_random_below(&rng, length)] =
				" \n0x*-azvf9"[gm_test_random_below(&rng, 11)];
		(void)gm_plan_differ(text, length, &w.launch, &w.step, w.text);
		free(text);
	}
	stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(steps_that_are_split_in_another_way_are_the_same),
		gm_test(other_contents_are_named_by_page_and_step),
		gm_test(another_type_or_address_is_named_with_the_planned_one),
		gm_test(addresses_that_the_plan_does_not_tell_are_not_compared),
		gm_test(a_launch_that_ends_early_or_goes_on_is_named),
		gm_test(other_vcpus_are_named_with_what_was_told_of_them),
		gm_test(of_vcpus_that_nobody_has_described_no_more_is_said),
		gm_test(a_step_that_was_not_reported_is_not_in_the_trail),
		gm_test(what_a_full_trail_has_not_kept_is_not_guessed),
		gm_test(without_a_trail_nothing_is_named),
		gm_test(what_is_no_plan_is_not_believed),
		gm_test(no_text_does_harm),
	};

	return gm_test_run("plan", tests, GM_ARRAY_SIZE(tests));
}
