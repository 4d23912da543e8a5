/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private memory that gmemd hands out keeps the rules of the kernel's own
 * private_mem_conversions_test, and gmemd's page map says what the guest sees, also when the daemon
 * is killed again and again meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "served.h"

#define SIZE (16 * GM_MIB)
#define PAGE GM_PAGE_4K
#define HUGE GM_PAGE_2M
#define N_PAGES (SIZE / PAGE)
#define DATA (4 * GM_MIB)
#define SECRET 0x5e
#define PUBLIC 0xb1

/* Conversions of the random walk: what the test machine does in a few seconds. */
#define WALK_DEFAULT 1000
#define DEATHS 4

static struct served served;

/* A byte of the shared half, without touching it. */
static unsigned char host_sees(const struct served_guest *guest, uint64_t gpa)
{
	unsigned char value;

	assert_int_equal(pread(gmem_region_fd(guest->region), &value, 1, (off_t)gpa), 1);
	return value;
}

static void what_the_guest_writes_to_a_private_page_is_not_in_the_shared_half(void **state)
{
	struct served_guest guest;

	(void)state;
	served_start(&served, false);
	served_guest_open(&guest, &served, SIZE);
	served_write(&guest, DATA, SECRET);
	assert_int_equal(host_sees(&guest, DATA), 0);
	assert_int_equal(guest.vm.shared[DATA], 0);
	assert_int_equal(served_read(&guest, DATA), SECRET);
	served_guest_close(&guest);
	served_stop(&served);
}

static void a_shared_page_is_seen_by_both(void **state)
{
	struct served_guest guest;

	(void)state;
	served_start(&served, false);
	served_guest_open(&guest, &served, SIZE);
	assert_int_equal(served_call(&guest, DATA, 1, false), 0);
	served_write(&guest, DATA, PUBLIC);
	assert_int_equal(host_sees(&guest, DATA), PUBLIC);
	guest.vm.shared[DATA + 1] = PUBLIC + 1;
	assert_int_equal(served_read(&guest, DATA + 1), PUBLIC + 1);
	served_guest_close(&guest);
	served_stop(&served);
}

static void a_private_page_that_becomes_shared_reads_as_zero_on_both_sides(void **state)
{
	struct served_guest guest;

	(void)state;
	served_start(&served, false);
	served_guest_open(&guest, &served, SIZE);
	served_write(&guest, DATA, SECRET);
	assert_int_equal(served_call(&guest, DATA, 1, false), 0);
	assert_int_equal(host_sees(&guest, DATA), 0);
	assert_int_equal(served_read(&guest, DATA), 0);
	assert_int_equal(served_call(&guest, DATA, 1, true), 0);
	assert_int_equal(served_read(&guest, DATA), 0);
	served_guest_close(&guest);
	served_stop(&served);
}

static void a_shared_page_that_becomes_private_leaves_nothing_behind(void **state)
{
	struct served_guest guest;

	(void)state;
	served_start(&served, false);
	served_guest_open(&guest, &served, SIZE);
	assert_int_equal(served_call(&guest, DATA, 512, false), 0);
	served_write(&guest, DATA, PUBLIC);
	assert_int_equal(served_call(&guest, DATA, 512, true), 0);
	assert_int_equal(served_read(&guest, DATA), 0);
	assert_int_equal(host_sees(&guest, DATA), 0);
	served_guest_close(&guest);
	served_stop(&served);
}

static void a_page_that_is_so_already_keeps_its_contents(void **state)
{
	struct served_guest guest;

	(void)state;
	served_start(&served, false);
	served_guest_open(&guest, &served, SIZE);
	served_write(&guest, DATA, SECRET);
	assert_int_equal(served_call(&guest, DATA, 1, true), 0);
	assert_int_equal(served_read(&guest, DATA), SECRET);
	assert_int_equal(served_call(&guest, DATA + PAGE, 1, false), 0);
	served_write(&guest, DATA + PAGE, PUBLIC);
	assert_int_equal(served_call(&guest, DATA + PAGE, 1, false), 0);
	assert_int_equal(served_read(&guest, DATA + PAGE), PUBLIC);
	served_guest_close(&guest);
	served_stop(&served);
}

static void what_the_guest_does_not_have_it_cannot_convert_and_runs_on(void **state)
{
	struct served_guest guest;

	(void)state;
	served_start(&served, false);
	served_guest_open(&guest, &served, SIZE);
	assert_int_equal((uint32_t)served_call(&guest, SIZE, 1, false), (uint32_t)-EINVAL);
	assert_int_equal((uint32_t)served_call(&guest, SIZE - PAGE, 2, false), (uint32_t)-EINVAL);
	served_write(&guest, SIZE - PAGE, SECRET);
	assert_int_equal(served_read(&guest, SIZE - PAGE), SECRET);
	served_guest_close(&guest);
	served_stop(&served);
}

/* The library's fd of it goes with the domain: this is a copy. */
static void without_its_vm_the_private_half_can_still_be_allocated_and_freed(void **state)
{
	const int keep = FALLOC_FL_KEEP_SIZE;
	struct served_guest guest;
	int copy;

	(void)state;
	served_start(&served, false);
	served_guest_open(&guest, &served, SIZE);
	copy = fcntl(guest.private_fd, F_DUPFD_CLOEXEC, 3);
	assert_return_code(copy, errno);
	served_guest_close(&guest);
	assert_return_code(fallocate(copy, keep, 0, PAGE), errno);
	assert_return_code(fallocate(copy, keep | FALLOC_FL_PUNCH_HOLE, 0, SIZE), errno);
	assert_return_code(close(copy), errno);
	served_stop(&served);
}

static void two_guests_have_nothing_of_each_other(void **state)
{
	struct served_guest one;
	struct served_guest other;

	(void)state;
	served_start(&served, false);
	served_guest_open(&one, &served, SIZE);
	served_guest_open(&other, &served, SIZE);
	assert_int_equal(served_call(&one, DATA, 1, false), 0);
	served_write(&one, DATA, PUBLIC);
	served_write(&other, DATA, SECRET);
	assert_int_equal(served_read(&one, DATA), PUBLIC);
	assert_int_equal(served_call(&other, DATA, 1, false), 0);
	assert_int_equal(served_read(&other, DATA), 0);
	assert_int_equal(served_read(&one, DATA), PUBLIC);
	served_guest_close(&one);
	served_guest_close(&other);
	served_stop(&served);
}

/* ---- a random walk, beside a model */

struct model {
	struct served_guest guest;
	uint64_t random;
	bool shared[N_PAGES];
	unsigned char first[N_PAGES]; /* byte of each page */
};

static uint64_t draw(struct model *model, uint64_t n)
{
	model->random =
		model->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (model->random >> 33) % n;
}

static void convert(struct model *model, uint64_t page, uint64_t n_pages, bool to_private)
{
	assert_int_equal(served_call(&model->guest, page * PAGE, n_pages, to_private), 0);
	for (uint64_t i = page; i < page + n_pages; i++) {
		if (model->shared[i] == to_private)
			model->first[i] = 0;
		model->shared[i] = !to_private;
	}
}

/* 4 KiB, 2 MiB, and anything between; never the guest's own code, which is below the first 2 MiB.
 */
static void step(struct model *model)
{
	const uint64_t first = HUGE / PAGE;
	bool to_private = draw(model, 2);
	uint64_t page = first + draw(model, N_PAGES - first);

	switch (draw(model, 4)) {
	case 0:
		convert(model, page - page % first, first, to_private);
		break;
	case 1:
		convert(model, page, 1 + draw(model, gm_min_u64(64, N_PAGES - page)), to_private);
		break;
	default:
		convert(model, page, 1, to_private);
		break;
	}
}

static void look(struct model *model)
{
	uint64_t page = HUGE / PAGE + draw(model, N_PAGES - HUGE / PAGE);
	unsigned char value = (unsigned char)(1 + draw(model, 255));

	assert_int_equal(served_read(&model->guest, page * PAGE), model->first[page]);
	served_write(&model->guest, page * PAGE, value);
	model->first[page] = value;
	assert_int_equal(host_sees(&model->guest, page * PAGE), model->shared[page] ? value : 0);
}

static int compare_run(void *arg, const struct gmem_page_run *run)
{
	const struct model *model = arg;

	for (uint64_t at = run->offset; at < run->offset + run->length; at += PAGE) {
		bool shared = run->state == GMEM_PAGE_SHARED;

		if (shared == model->shared[at / PAGE] && run->state != GMEM_PAGE_LOST)
			continue;
		print_message("page %#lx is %s in the page map\n", (unsigned long)at,
			      gmem_page_state_name(run->state));
		return -1000;
	}
	return 0;
}

/* All of it: what the books say, what the host sees, what the guest sees. */
static void compare(struct model *model)
{
	struct served_guest *guest = &model->guest;

	assert_int_equal(
		gmem_get_page_map(guest->client, gmem_region_id(guest->region), compare_run, model),
		0);
	for (uint64_t page = HUGE / PAGE; page < N_PAGES; page++) {
		unsigned char in_shared = model->shared[page] ? model->first[page] : 0;

		assert_int_equal(host_sees(guest, page * PAGE), in_shared);
		assert_int_equal(served_read(guest, page * PAGE), model->first[page]);
	}
}

static unsigned walk_length(void)
{
	const char *text = getenv("GMEMD_CONVERSIONS");

	return text ? (unsigned)strtoul(text, NULL, 10) : WALK_DEFAULT;
}

static struct model *open_model(void)
{
	struct model *model = calloc(1, sizeof(*model));

	assert_non_null(model);
	model->random = 1;
	served_guest_open(&model->guest, &served, SIZE);
	model->shared[0] = model->shared[1] = true;
	return model;
}

static void close_model(struct model *model)
{
	served_guest_close(&model->guest);
	free(model);
}

static void after_many_conversions_page_map_host_and_guest_agree(void **state)
{
	struct model *model;
	unsigned n = walk_length();

	(void)state;
	served_start(&served, false);
	model = open_model();
	for (unsigned i = 0; i < n; i++) {
		step(model);
		look(model);
	}
	compare(model);
	print_message("%u conversions\n", n);
	close_model(model);
	served_stop(&served);
}

static void a_guest_that_converts_does_not_notice_that_gmemd_is_killed(void **state)
{
	struct model *model;

	(void)state;
	served_start(&served, true);
	model = open_model();
	for (unsigned death = 0; death < DEATHS; death++) {
		served_kill(&served);
		for (unsigned i = 0; i < 40; i++) {
			step(model);
			look(model);
		}
	}
	compare(model);
	close_model(model);
	served_stop(&served);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(what_the_guest_writes_to_a_private_page_is_not_in_the_shared_half),
		gm_test(a_shared_page_is_seen_by_both),
		gm_test(a_private_page_that_becomes_shared_reads_as_zero_on_both_sides),
		gm_test(a_shared_page_that_becomes_private_leaves_nothing_behind),
		gm_test(a_page_that_is_so_already_keeps_its_contents),
		gm_test(what_the_guest_does_not_have_it_cannot_convert_and_runs_on),
		gm_test(without_its_vm_the_private_half_can_still_be_allocated_and_freed),
		gm_test(two_guests_have_nothing_of_each_other),
		gm_test(after_many_conversions_page_map_host_and_guest_agree),
		gm_test(a_guest_that_converts_does_not_notice_that_gmemd_is_killed),
	};

	served_needed();
	return gm_test_run("private memory from gmemd", tests, GM_ARRAY_SIZE(tests));
}
