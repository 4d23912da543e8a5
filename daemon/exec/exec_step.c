/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon does itself when the VMM has reported a step: looks at what came of it.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "exec_job.h"
#include "gm_fd.h"

/* The capabilities of kinds and the traits of domains say the same, each to its own layer. */
static const struct {
	enum gm_backend_cap cap;
	enum gm_trait trait;
} traits[] = {
	{ GM_CAP_PRIVATE, GM_TRAIT_PRIVATE },
	{ GM_CAP_MIRRORED_PAGE_TABLE, GM_TRAIT_MIRRORED },
	{ GM_CAP_IN_PLACE_CONVERSION, GM_TRAIT_IN_PLACE },
	{ GM_CAP_LAUNCH, GM_TRAIT_LAUNCH },
	{ GM_CAP_DAEMON_LAUNCHES, GM_TRAIT_DAEMON_LAUNCHES },
};

unsigned gm_exec_traits(const struct gm_exec_backend *slot)
{
	unsigned found = 0;

	for (size_t i = 0; i < GM_ARRAY_SIZE(traits); i++)
		if (slot->probe.caps & traits[i].cap)
			found |= traits[i].trait;
	return found;
}

static const struct gm_backend *backend_of(const struct gm_exec *exec,
					   const struct gm_region *region)
{
	const struct gm_exec_backend *slot = gm_exec_find(exec, region->domain->kind);

	assert(slot != NULL && slot->backend->private_half != NULL);
	return slot->backend;
}

static bool is_in_place(const struct gm_region *region)
{
	return region->domain->traits & GM_TRAIT_IN_PLACE;
}

int gm_exec_shared_fd(const struct gm_region *region)
{
	return is_in_place(region) ? region->private_fd : region->fd;
}

static int refuse_fd(const struct gm_region *region, struct gm_refusal *refusal)
{
	int verdict =
		gm_refuse_text(refusal, GM_INVALID, GM_RULE_FD, "fd",
			       "this is no guest_memfd of the region's size that %s",
			       is_in_place(region) ? "can be mapped" : "only its VM can read");

	refusal->asked = region->size;
	return verdict;
}

static int adopt(struct gm_exec *exec, struct gm_region *region, int fd, struct gm_refusal *refusal)
{
	struct gm_fd_identity identity;
	struct gm_file_id file;
	int r;

	if (gm_exec_verify_half(backend_of(exec, region)->private_half, is_in_place(region), fd,
				region->size) != 0)
		return refuse_fd(region, refusal);
	r = gm_fd_identify(fd, &identity);
	if (r < 0)
		return r;
	file = (struct gm_file_id){ identity.device, identity.inode };
	r = gm_book_check_memory(exec->book, region, &file, refusal);
	if (r == 0 && exec->keep_ops != NULL)
		r = exec->keep_ops->keep_half(exec->keep_arg, region, fd, refusal);
	if (r != 0)
		return r;
	gm_book_memory_made(region, fd, &file);
	return 0;
}

int gm_exec_adopt_memory(struct gm_exec *exec, struct gm_region *region, int fd,
			 struct gm_refusal *refusal)
{
	int r = adopt(exec, region, fd, refusal);

	/* It may be any file. */
	if (r != 0)
		gm_exec_dispose(exec, region->domain->tenant, fd);
	return r;
}

/*
 * To look at pages that are there takes the kernel time for each (about 20 us for 2 MiB), and a
 * VMM may have left all of them there: the look ends with the first, and is never long at once.
 */
#define LOOK_FIRST GM_PAGE_2M
#define LOOK_MOST (64 * GM_PAGE_2M)

static int present(const struct gm_backend *backend, const struct gm_region *region,
		   bool private_half, uint64_t offset, uint64_t length, uint64_t *ret_bytes)
{
	if (private_half)
		return backend->private_half->present(region->private_fd, offset, length,
						      region->page_size, ret_bytes);
	return backend->present(region->fd, offset, length, region->page_size, ret_bytes);
}

/* In one of the two halves: 1, 0 or -errno. Nobody looks any more when *looks is 0. */
static int range_is_free(const struct gm_backend *backend, const struct gm_region *region,
			 bool private_half, const struct gm_range *range, unsigned *looks)
{
	uint64_t end = range->offset + range->length;
	uint64_t at = range->offset;
	uint64_t piece = LOOK_FIRST;

	while (at<end && * looks> 0) {
		uint64_t length = gm_min_u64(piece, end - at);
		uint64_t bytes;
		int r = present(backend, region, private_half, at, length, &bytes);

		if (r < 0 || bytes > 0)
			return r;
		--*looks;
		at += length;
		piece = gm_min_u64(2 * piece, LOOK_MOST);
	}
	return 1;
}

int gm_exec_half_is_free(const struct gm_exec *exec, const struct gm_region *region,
			 const struct gm_range *ranges, size_t n_ranges)
{
	const struct gm_backend *backend = backend_of(exec, region);
	bool private_half = region->step->op == GM_PAGE_OP_TO_SHARED;
	unsigned looks = UINT_MAX;

	for (size_t i = 0; i < n_ranges; i++) {
		int r = range_is_free(backend, region, private_half, &ranges[i], &looks);

		if (r <= 0)
			return r;
	}
	return 1;
}

/* ---- reports under a standing order ---- */

/*
 * Ranges that are this near to one another are looked at as one: if there is nothing between them
 * either, that is one system call instead of many. It finds at most so many pages in vain.
 */
#define GROUP_GAP (16 * GM_PAGE_4K)
#define GROUP_SPAN GM_PAGE_2M

/*
 * At runs of pages and pieces of them, for one report: some milliseconds. An honest one of 2 TiB
 * needs no more; one that says that all of a region was converted, over and over, would have the
 * loop for minutes. What nobody looks at is held twice by who has said so.
 */
#define LOOKS_MAX 16384u

struct group {
	const struct gm_backend *backend;
	const struct gm_region *region;
	struct gm_exec_left *left;
	unsigned looks; /* that are left */
	size_t n;
	struct gm_range ranges[GM_EXEC_LEFT_MAX];
};

static bool is_full(const struct gm_exec_left *left)
{
	return left->n_ranges == GM_ARRAY_SIZE(left->ranges);
}

static int is_free(struct group *group, const struct gm_range *range)
{
	return range_is_free(group->backend, group->region, group->left->private_half, range,
			     &group->looks);
}

static void look_at(struct group *group)
{
	const struct gm_range *last = &group->ranges[group->n - 1];
	const struct gm_range *first = &group->ranges[0];
	const struct gm_range all = { first->offset, last->offset + last->length - first->offset };
	size_t n = group->n;

	group->n = 0;
	if (n > 1 && is_free(group, &all) == 1)
		return;
	for (size_t i = 0; i < n && !is_full(group->left); i++)
		if (is_free(group, &group->ranges[i]) != 1)
			group->left->ranges[group->left->n_ranges++] = group->ranges[i];
}

static bool is_near(const struct group *group, const struct gm_range *range)
{
	const struct gm_range *last = &group->ranges[group->n - 1];
	uint64_t end = last->offset + last->length;

	return range->offset >= end && range->offset - end <= GROUP_GAP &&
	       range->offset + range->length - group->ranges[0].offset <= GROUP_SPAN;
}

/* The same page to and fro in one report: it is looked at once. */
static bool is_repeated(const struct group *group, const struct gm_range *range)
{
	const struct gm_range *last = &group->ranges[group->n - 1];

	return range->offset == last->offset && range->length == last->length;
}

static void add(struct group *group, const struct gm_range *range)
{
	if (group->n > 0 && is_repeated(group, range))
		return;
	if (group->n > 0 && (!is_near(group, range) || group->n == GM_ARRAY_SIZE(group->ranges)))
		look_at(group);
	group->ranges[group->n++] = *range;
}

/* No page is in there twice, and none is lost: all are as they were reported. */
static bool are_as_reported(const struct gm_region *region, const struct gm_conversion *conversions,
			    size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (conversions[i].range.offset <
		    conversions[i - 1].range.offset + conversions[i - 1].range.length)
			return false;
	return region->map.pages[GM_PAGE_LOST] == 0;
}

/*
 * Later conversions of the same report may have changed a part of it again: the map knows. A lost
 * page may be in either half: nobody touches it.
 */
static void add_runs(struct group *group, const struct gm_range *range)
{
	uint64_t end = range->offset + range->length;
	uint64_t at = range->offset;

	while (at < end && !is_full(group->left) && group->looks > 0) {
		struct gm_page_run run;

		group->looks--;
		gm_page_map_run(&group->region->map, at, end, &run);
		if (run.state != GM_PAGE_LOST &&
		    (run.state == GM_PAGE_SHARED) == group->left->private_half)
			add(group, &(struct gm_range){ run.offset, run.length });
		at = run.offset + run.length;
	}
}

static int by_offset(const void *a, const void *b)
{
	const struct gm_range *left = a;
	const struct gm_range *right = b;

	return (left->offset > right->offset) - (left->offset < right->offset);
}

/* A report has its ranges in the order of time, and parts of them again; a job wants neither. */
static void put_in_order(struct gm_exec_left *left)
{
	size_t n = 0;

	qsort(left->ranges, left->n_ranges, sizeof(left->ranges[0]), by_offset);
	for (size_t i = 0; i < left->n_ranges; i++) {
		const struct gm_range next = left->ranges[i];
		struct gm_range *last = n > 0 ? &left->ranges[n - 1] : NULL;

		if (last && next.offset <= last->offset + last->length)
			last->length =
				gm_max_u64(last->length, next.offset + next.length - last->offset);
		else
			left->ranges[n++] = next;
	}
	left->n_ranges = n;
}

bool gm_exec_find_left(const struct gm_exec *exec, const struct gm_region *region,
		       bool private_half, const struct gm_conversion *conversions, size_t n,
		       struct gm_exec_left *left)
{
	bool simple = are_as_reported(region, conversions, n);
	struct group group = { .left = left, .looks = LOOKS_MAX };

	group.backend = backend_of(exec, region);
	group.region = region;
	left->private_half = private_half;
	left->n_ranges = 0;
	for (size_t i = 0; i < n && !is_full(left); i++) {
		if ((conversions[i].op == GM_PAGE_OP_TO_SHARED) != private_half)
			continue;
		if (simple)
			add(&group, &conversions[i].range);
		else
			add_runs(&group, &conversions[i].range);
	}
	if (group.n > 0)
		look_at(&group);
	left->more = is_full(left);
	put_in_order(left);
	return left->n_ranges > 0;
}
