/* SPDX-License-Identifier: Apache-2.0 */
/* sev_pin_memory and the regions that a VM keeps pinned. Not for guest_memfd, and not for TDX. */
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state.h"

static bool may_lock_any(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &head, data) < 0)
		return false;
	return data[CAP_IPC_LOCK / 32].effective & 1U << CAP_IPC_LOCK % 32;
}

/* Pages, all of them counted in the VM, or -errno. The limit is per VM, not per process or user. */
long gp_pin(struct gp_vm *vm, uint64_t addr, uint64_t size)
{
	uint64_t first = addr / GP_PAGE_SIZE, last = (addr + size - 1) / GP_PAGE_SIZE;
	uint64_t n_pages = last - first + 1;
	struct rlimit limit;

	if (size == 0 || addr + size < addr)
		return -EINVAL;
	if (n_pages > INT_MAX || getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return -EINVAL;
	if (vm->pages_locked + n_pages > limit.rlim_cur / GP_PAGE_SIZE && !may_lock_any())
		return -ENOMEM;
	/* FOLL_WRITE: where a write would fault, fewer pages are pinned than were asked for. */
	if (madvise((void *)(uintptr_t)(first * GP_PAGE_SIZE), n_pages * GP_PAGE_SIZE,
		    MADV_POPULATE_WRITE) < 0)
		return -ENOMEM;
	vm->pages_locked += n_pages;
	return (long)n_pages;
}

static int register_region(struct gp_vm *vm, const struct kvm_enc_region *range)
{
	for (size_t i = 0; i < GP_REGIONS; i++) {
		struct gp_region *region = &vm->regions[i];
		long n;

		if (region->size != 0)
			continue;
		n = gp_pin(vm, range->addr, range->size);
		if (n < 0)
			return (int)n;
		*region = (struct gp_region){ .addr = range->addr, .size = range->size };
		return 0;
	}
	return -ENOMEM;
}

static int unregister_region(struct gp_vm *vm, const struct kvm_enc_region *range)
{
	for (size_t i = 0; i < GP_REGIONS; i++) {
		struct gp_region *region = &vm->regions[i];

		if (region->size == 0 || region->size != range->size || region->addr != range->addr)
			continue;
		vm->pages_locked -= (range->addr + range->size - 1) / GP_PAGE_SIZE -
				    range->addr / GP_PAGE_SIZE + 1;
		region->size = 0;
		return 0;
	}
	return -EINVAL;
}

/* sev_mem_enc_register_region, sev_mem_enc_unregister_region. */
long gp_region_request(uint32_t index, unsigned long request, unsigned long arg)
{
	struct gp_vm *vm = &gp_state->vms[index];
	struct kvm_enc_region range;

	if (gp_copy_in(&range, arg, sizeof(range)) < 0)
		return -EFAULT;
	if (!gp_vm_is_sev(vm) || !vm->active)
		return -ENOTTY;
	if (vm->mirror_of != GP_NONE)
		return -EINVAL;
	return request == KVM_MEMORY_ENCRYPT_REG_REGION ? register_region(vm, &range)
							: unregister_region(vm, &range);
}
