/* SPDX-License-Identifier: Apache-2.0 */
/* kvm_gmem_populate: what both platforms' launch commands go through, page by page. */
#include <errno.h>
#include <string.h>

#include "state.h"

#define BATCH 16

struct batch {
	uint64_t first; /* address of bytes[0] */
	uint64_t size;
	uint8_t bytes[BATCH * GP_PAGE_SIZE];
};

/* The next page of the source, read ahead where that works. */
static int read_source(struct batch *batch, uint64_t addr, uint64_t n_left, const uint8_t **ret)
{
	uint64_t n = n_left < BATCH ? n_left : BATCH;

	if (addr < batch->first || addr + GP_PAGE_SIZE > batch->first + batch->size ||
	    batch->size == 0) {
		batch->first = addr;
		batch->size = n * GP_PAGE_SIZE;
		if (gp_copy_in(batch->bytes, addr, batch->size) < 0) {
			batch->size = GP_PAGE_SIZE;
			if (gp_copy_in(batch->bytes, addr, batch->size) < 0) {
				batch->size = 0;
				return -EFAULT;
			}
		}
	}
	*ret = batch->bytes + (addr - batch->first);
	return 0;
}

struct page_of {
	uint32_t vm;
	struct gp_slot *slot;
	uint64_t gfn;
	uint64_t n_left;
	const struct gp_source *source;
	uint64_t addr;
};

static int populate_page(const struct page_of *at, struct batch *batch, gp_populate_fn fn,
			 void *arg)
{
	struct gp_gmem *gmem = &gp_state->gmems[at->slot->gmem];
	uint64_t page =
		at->slot->offset / GP_PAGE_SIZE + at->gfn - (at->slot->gpa >> GP_PAGE_SHIFT);
	uint8_t state, in_place[GP_PAGE_SIZE];
	const uint8_t *bytes = NULL;
	int r = 0;

	/* 7.0: the source page is pinned before any lock is taken. */
	if (gp_profile()->populate_pins && at->source->addr != 0) {
		r = read_source(batch, at->addr, at->n_left, &bytes);
		if (r == 0 && at->source->may_write_back)
			r = gp_copy_out(at->addr, bytes, GP_PAGE_SIZE);
	}
	if (r < 0)
		return r;
	state = gp_map_get(&gmem->map, page);
	/* 6.11 to 6.19: a folio that is uptodate was faulted in or populated. */
	if (!gp_profile()->populate_pins && state & GP_PAGE_UPTODATE)
		return -EEXIST;
	if (!gp_gfn_is_private(&gp_state->vms[at->vm], at->slot, at->gfn))
		return -EINVAL;
	if (!gp_profile()->populate_pins && at->source->addr != 0)
		r = read_source(batch, at->addr, at->n_left, &bytes);
	if (r == 0 && at->source->addr == 0 && gp_state->in_place) {
		gp_fd_read_gmem(at->slot->gmem, page, in_place);
		bytes = in_place;
	}
	if (r == 0)
		r = fn(at->vm, at->gfn, &state, bytes, arg);
	return r < 0 ? r : gp_map_change(&gmem->map, page, 1, state | GP_PAGE_UPTODATE, 0);
}

static bool interrupted(uint64_t n_done)
{
	if (gp_state->faults.interrupt_after == 0 || n_done + 1 < gp_state->faults.interrupt_after)
		return false;
	gp_state->faults.interrupt_after = 0;
	return true;
}

/* Pages done, or -errno if there is none. */
long gp_populate(uint32_t vm, uint64_t gfn, const struct gp_source *source, uint64_t n_pages,
		 gp_populate_fn fn, void *arg)
{
	struct gp_slot *slot = gp_slot_at(&gp_state->vms[vm], gfn);
	struct batch batch = { 0 };
	uint64_t i, n_slot;
	int r = 0;

	if (!slot || !(slot->flags & GP_MEM_GUEST_MEMFD))
		return -EINVAL;
	if (slot->gmem == GP_NONE)
		return -EFAULT;
	/* Not beyond the end of the slot: success, and short. */
	n_slot = ((slot->gpa + slot->size) >> GP_PAGE_SHIFT) - gfn;
	if (n_pages > n_slot)
		n_pages = n_slot;
	for (i = 0; i < n_pages; i++) {
		const struct page_of at = {
			.vm = vm,
			.slot = slot,
			.gfn = gfn + i,
			.n_left = n_pages - i,
			.source = source,
			.addr = source->addr + i * GP_PAGE_SIZE,
		};

		if (gp_state->faults.short_after != 0 && i == gp_state->faults.short_after)
			break;
		r = interrupted(i) ? -EINTR : populate_page(&at, &batch, fn, arg);
		if (r < 0)
			break;
	}
	return r < 0 && i == 0 ? r : (long)i;
}
