/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon does itself when the VMM has reported a step: looks at what came of it.
 */
#include <assert.h>
#include <errno.h>

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

/* In the half that the step gives up. */
static int present(const struct gm_backend *backend, const struct gm_region *region,
		   uint64_t offset, uint64_t length, uint64_t *ret_bytes)
{
	if (region->step->op == GM_PAGE_OP_TO_SHARED)
		return backend->private_half->present(region->private_fd, offset, length,
						      region->page_size, ret_bytes);
	return backend->present(region->fd, offset, length, region->page_size, ret_bytes);
}

static int range_is_free(const struct gm_backend *backend, const struct gm_region *region,
			 const struct gm_range *range)
{
	uint64_t end = range->offset + range->length;
	uint64_t at = range->offset;
	uint64_t piece = LOOK_FIRST;

	while (at < end) {
		uint64_t length = gm_min_u64(piece, end - at);
		uint64_t bytes;
		int r = present(backend, region, at, length, &bytes);

		if (r < 0 || bytes > 0)
			return r;
		at += length;
		piece = gm_min_u64(2 * piece, LOOK_MOST);
	}
	return 1;
}

int gm_exec_half_is_free(const struct gm_exec *exec, const struct gm_region *region,
			 const struct gm_range *ranges, size_t n_ranges)
{
	const struct gm_backend *backend = backend_of(exec, region);

	for (size_t i = 0; i < n_ranges; i++) {
		int r = range_is_free(backend, region, &ranges[i]);

		if (r <= 0)
			return r;
	}
	return 1;
}
