/* SPDX-License-Identifier: Apache-2.0 */
/* Hugepages: promised is reserved, short is refused with the numbers. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "subject.h"

static struct gm_huge_pool pool_of(const struct subject *subject)
{
	struct gm_huge_pool pool;

	assert_int_equal(gm_huge_pool_read(subject->page_size, &pool), 0);
	return pool;
}

/* Pages that nobody has been promised. */
static uint64_t unpromised(const struct subject *subject)
{
	struct gm_huge_pool pool = pool_of(subject);

	return pool.free - pool.reserved;
}

static int try_create(const struct subject *subject, uint64_t n_pages, int *ret_fd,
		      struct gm_refusal *refusal)
{
	const struct gm_backing want = {
		.size = n_pages * subject->page_size,
		.page_size = subject->page_size,
		.name = "contract",
	};

	return subject->backend->create(subject->state, &want, ret_fd, refusal);
}

static void create_reserves_every_page_and_close_gives_them_back(void **state)
{
	const struct subject *subject = subject_of(state);
	struct gm_huge_pool before = pool_of(subject), with, after;
	int fd = subject_create(subject);

	with = pool_of(subject);
	assert_int_equal(with.reserved, before.reserved + subject->n_pages);
	assert_int_equal(with.free, before.free);
	assert_int_equal(close(fd), 0);
	after = pool_of(subject);
	assert_int_equal(after.reserved, before.reserved);
	assert_int_equal(after.free, before.free);
}

static void too_few_pages_are_a_refusal_with_the_numbers(void **state)
{
	const struct subject *subject = subject_of(state);
	struct gm_huge_pool before = pool_of(subject), after;
	uint64_t asked = unpromised(subject) + 1;
	struct gm_refusal refusal = { 0 };
	char object[16];
	int fd = -1;

	assert_int_equal(try_create(subject, asked, &fd, &refusal), GM_NO_RESOURCE);
	assert_int_equal(fd, -1);
	assert_int_equal(refusal.rule, GM_RULE_HUGE_PAGES_FREE);
	assert_int_equal(refusal.limit, before.total * subject->page_size);
	assert_int_equal(refusal.used,
			 (before.total - before.free + before.reserved) * subject->page_size);
	assert_int_equal(refusal.asked, asked * subject->page_size);
	(void)snprintf(object, sizeof(object), "pool %s",
		       subject->page_size == GM_PAGE_2M ? "2M" : "1G");
	assert_string_equal(refusal.object, object);

	after = pool_of(subject);
	assert_int_equal(after.reserved, before.reserved);
	assert_int_equal(after.free, before.free);
}

static void a_refusal_may_go_unread(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = -1;

	assert_int_equal(try_create(subject, unpromised(subject) + 1, &fd, NULL), GM_NO_RESOURCE);
}

static void what_is_promised_to_one_region_is_refused_to_another(void **state)
{
	const struct subject *subject = subject_of(state);
	uint64_t all = unpromised(subject);
	struct gm_refusal refusal = { 0 };
	int fd = subject_create_pages(subject, all);
	int other = -1;

	assert_int_equal(try_create(subject, 1, &other, &refusal), GM_NO_RESOURCE);
	assert_int_equal(refusal.limit - refusal.used, 0);
	assert_int_equal(close(fd), 0);
}

/* Touches all of it; a page that is not there kills. */
static int touches_all(void *arg)
{
	const struct subject *subject = ((void **)arg)[0];
	int fd = *(int *)((void **)arg)[1];
	unsigned char *map =
		mmap(NULL, subject_size(subject), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return 1;
	for (uint64_t page = 0; page < subject->n_pages; page++)
		page_stamp(map, subject->page_size, page, 0x66);
	return 0;
}

static void a_region_can_be_touched_when_the_rest_of_the_pool_is_gone(void **state)
{
	struct subject *subject = subject_of(state);
	int fd = subject_create(subject);
	int rest = subject_create_pages(subject, unpromised(subject));
	void *args[2] = { subject, &fd };

	assert_int_equal(unpromised(subject), 0);
	assert_int_equal(in_child(65534, touches_all, args), 0);
	assert_int_equal(close(rest), 0);
	assert_int_equal(close(fd), 0);
}

static void discard_keeps_the_promise(void **state)
{
	struct subject *subject = subject_of(state);
	uint64_t size = subject_size(subject);
	int fd = subject_create(subject), rest;
	void *args[2] = { subject, &fd };
	uint64_t before = unpromised(subject);

	assert_int_equal(subject->backend->allocate(fd, 0, size), 0);
	assert_int_equal(subject->backend->discard(fd, 0, size, subject->page_size), 0);
	assert_int_equal(unpromised(subject), before);

	rest = subject_create_pages(subject, before);
	assert_int_equal(in_child(65534, touches_all, args), 0);
	assert_int_equal(close(rest), 0);
	assert_int_equal(close(fd), 0);
}

static void discard_of_a_range_that_was_never_there_reserves_nothing_twice(void **state)
{
	const struct subject *subject = subject_of(state);
	int fd = subject_create(subject);
	struct gm_huge_pool before = pool_of(subject), after;

	assert_int_equal(
		subject->backend->discard(fd, 0, subject_size(subject), subject->page_size), 0);
	after = pool_of(subject);
	assert_int_equal(after.reserved, before.reserved);
	assert_int_equal(close(fd), 0);
}

/* With no address space left the hole cannot be reserved anew: as when another took the pages. */
static int discards_without_address_space(void *arg)
{
	const struct subject *subject = ((void **)arg)[0];
	int fd = *(int *)((void **)arg)[1];
	const struct rlimit none = { 0, RLIM_INFINITY };

	if (setrlimit(RLIMIT_AS, &none) < 0)
		return 1;
	return -subject->backend->discard(fd, 0, subject->page_size, subject->page_size);
}

static void discard_that_cannot_keep_the_promise_is_enomem_and_can_be_repeated(void **state)
{
	struct subject *subject = subject_of(state);
	int fd = subject_create(subject);
	void *args[2] = { subject, &fd };
	uint64_t before = unpromised(subject);

	assert_int_equal(subject->backend->allocate(fd, 0, subject->page_size), 0);
	assert_int_equal(in_child(0, discards_without_address_space, args), ENOMEM);
	assert_int_equal(unpromised(subject), before + 1);
	assert_int_equal(subject->backend->discard(fd, 0, subject->page_size, subject->page_size),
			 0);
	assert_int_equal(unpromised(subject), before);
	assert_int_equal(close(fd), 0);
}

static int creates_without_address_space(void *arg)
{
	const struct subject *subject = ((void **)arg)[0];
	const struct rlimit none = { 0, RLIM_INFINITY };
	struct gm_refusal refusal = { 0 };
	int fd = -1;

	if (setrlimit(RLIMIT_AS, &none) < 0)
		return 100;
	if (try_create(subject, 1, &fd, &refusal) != GM_NO_RESOURCE)
		return 101;
	return strstr(refusal.text, "address space") ? 0 : 102;
}

static void a_refusal_though_the_pool_has_room_names_the_other_limits(void **state)
{
	struct subject *subject = subject_of(state);
	void *args[1] = { subject };

	assert_int_equal(in_child(0, creates_without_address_space, args), 0);
}

static void too_few_pages_on_the_nodes_are_a_refusal_that_names_them(void **state)
{
	const struct subject *subject = subject_of(state);
	struct gm_backing want = {
		.size = subject->page_size,
		.page_size = subject->page_size,
		.numa_nodes = 1,
		.name = "contract",
	};
	struct gm_refusal refusal = { 0 };
	int fd = -1;

	assert_int_equal(subject->backend->create(subject->state, &want, &fd, &refusal), 0);
	assert_int_equal(close(fd), 0);

	want.size = (pool_of(subject).free + 1) * subject->page_size;
	fd = -1;
	assert_int_equal(subject->backend->create(subject->state, &want, &fd, &refusal),
			 GM_NO_RESOURCE);
	assert_int_equal(fd, -1);
	assert_int_equal(refusal.rule, GM_RULE_HUGE_PAGES_FREE);
	assert_int_equal(refusal.asked, want.size);
	assert_non_null(strstr(refusal.object, " on nodes 0x1"));
}

static void pages_of_a_node_that_others_were_promised_are_not_promised_twice(void **state)
{
	const struct subject *subject = subject_of(state);
	struct gm_backing want = {
		.size = subject->page_size,
		.page_size = subject->page_size,
		.numa_nodes = 1,
		.promised = pool_of(subject).free * subject->page_size,
		.name = "contract",
	};
	struct gm_huge_pool before = pool_of(subject);
	struct gm_refusal refusal = { 0 };
	int fd = -1;

	assert_int_equal(subject->backend->create(subject->state, &want, &fd, &refusal),
			 GM_NO_RESOURCE);
	assert_int_equal(fd, -1);
	assert_int_equal(refusal.rule, GM_RULE_HUGE_PAGES_FREE);
	assert_non_null(strstr(refusal.object, " on nodes 0x1"));
	assert_int_equal(refusal.used, refusal.limit);
	assert_int_equal(refusal.asked, want.size);
	/* The reservation was had, and is given back. */
	assert_int_equal(pool_of(subject).reserved, before.reserved);
}

#define CASE(fn)                  \
	{                         \
#fn, fn, FOR_HUGE \
	}

const struct contract_case huge_cases[] = {
	CASE(create_reserves_every_page_and_close_gives_them_back),
	CASE(too_few_pages_are_a_refusal_with_the_numbers),
	CASE(a_refusal_may_go_unread),
	CASE(what_is_promised_to_one_region_is_refused_to_another),
	CASE(a_region_can_be_touched_when_the_rest_of_the_pool_is_gone),
	CASE(discard_keeps_the_promise),
	CASE(discard_of_a_range_that_was_never_there_reserves_nothing_twice),
	CASE(discard_that_cannot_keep_the_promise_is_enomem_and_can_be_repeated),
	CASE(a_refusal_though_the_pool_has_room_names_the_other_limits),
	CASE(too_few_pages_on_the_nodes_are_a_refusal_that_names_them),
	CASE(pages_of_a_node_that_others_were_promised_are_not_promised_twice),
	{ 0 },
};
