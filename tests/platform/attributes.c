/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private or shared, by one of two models that exclude each other: the VM's attributes by gfn
 * (6.8), or, with in-place conversion, the file's own by page.
 */
#include <errno.h>

#include "state.h"

/* kvm_vm_ioctl_set_mem_attributes. */
int gp_attributes_set(uint32_t index, unsigned long arg)
{
	struct gp_vm *vm = &gp_state->vms[index];
	struct gp_attributes set;
	uint64_t gfn, n_pages;
	bool private;

	if (gp_state->in_place)
		return -ENOTTY;
	if (gp_copy_in(&set, arg, sizeof(set)) < 0)
		return -EFAULT;
	if (set.flags != 0)
		return -EINVAL;
	if ((set.attributes & ~(uint64_t)gp_check_extension(vm, GP_CAP_MEMORY_ATTRIBUTES)) != 0)
		return -EINVAL;
	if (set.size == 0 || set.address + set.size < set.address)
		return -EINVAL;
	if (set.address % GP_PAGE_SIZE != 0 || set.size % GP_PAGE_SIZE != 0)
		return -EINVAL;
	gfn = set.address >> GP_PAGE_SHIFT;
	n_pages = set.size >> GP_PAGE_SHIFT;
	private = set.attributes & GP_ATTRIBUTE_PRIVATE;
	/* kvm_arch_pre_set_memory_attributes: a leaf of the secure EPT goes, contents and all. */
	if (!private)
		for (size_t i = 0; i < GP_SLOTS; i++) {
			const struct gp_slot *slot = &vm->slots[i];
			uint64_t from = slot->gpa >> GP_PAGE_SHIFT;
			uint64_t to = from + slot->size / GP_PAGE_SIZE;

			if (!slot->used || !(slot->flags & GP_MEM_GUEST_MEMFD) ||
			    slot->gmem == GP_NONE || gfn >= to || gfn + n_pages <= from)
				continue;
			if (gfn > from)
				from = gfn;
			if (gfn + n_pages < to)
				to = gfn + n_pages;
			gp_zap(slot->gmem,
			       slot->offset / GP_PAGE_SIZE + from - (slot->gpa >> GP_PAGE_SHIFT),
			       to - from);
		}
	return gp_map_change(&vm->map, gfn, n_pages, private ? GP_GFN_PRIVATE : 0,
			     private ? 0 : GP_GFN_PRIVATE);
}

/*
 * kvm_gmem_set_attributes of the series for in-place conversion, version 12: whoever holds the
 * file may ask, nothing is copied back but the offset of an error.
 */
int gp_attributes2_set(uint32_t index, unsigned long arg)
{
	struct gp_gmem *gmem = &gp_state->gmems[index];
	struct gp_attributes2 set;
	uint64_t first, n_pages;

	if (!gp_state->in_place)
		return -ENOTTY;
	if (gp_copy_in(&set, arg, sizeof(set)) < 0)
		return -EFAULT;
	if (set.flags != 0 || (set.attributes & ~GP_ATTRIBUTE_PRIVATE) != 0)
		return -EINVAL;
	for (size_t i = 0; i < sizeof(set.reserved) / sizeof(*set.reserved); i++)
		if (set.reserved[i] != 0)
			return -EINVAL;
	if (!gp_vm_has_private(&gp_state->vms[gmem->vm]))
		return -EINVAL;
	if (set.size == 0 || set.offset + set.size < set.offset || set.offset % GP_PAGE_SIZE != 0 ||
	    set.size % GP_PAGE_SIZE != 0 || set.offset + set.size > gmem->size)
		return -EINVAL;
	first = set.offset / GP_PAGE_SIZE;
	n_pages = set.size / GP_PAGE_SIZE;
	if (gp_state->faults.busy > 0 && set.attributes & GP_ATTRIBUTE_PRIVATE) {
		gp_state->faults.busy--;
		set.error_offset = set.offset;
		return gp_copy_out(arg, &set, sizeof(set)) < 0 ? -EFAULT : -EAGAIN;
	}
	if (set.attributes & GP_ATTRIBUTE_PRIVATE)
		return gp_map_change(&gmem->map, first, n_pages, 0, GP_PAGE_SHARED);
	gp_gmem_punched(index, set.offset, set.size);
	return gp_map_change(&gmem->map, first, n_pages, GP_PAGE_SHARED, 0);
}

bool gp_gfn_is_private(struct gp_vm *vm, const struct gp_slot *slot, uint64_t gfn)
{
	uint64_t page;

	if (!gp_state->in_place)
		return gp_map_get(&vm->map, gfn) & GP_GFN_PRIVATE;
	page = slot->offset / GP_PAGE_SIZE + gfn - (slot->gpa >> GP_PAGE_SHIFT);
	return !(gp_map_get(&gp_state->gmems[slot->gmem].map, page) & GP_PAGE_SHARED);
}
