/* SPDX-License-Identifier: Apache-2.0 */
/* guest_memfd and memslots. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state.h"

/*
 * The file itself: one of the host's, on a hidden VM that its guest_memfd keeps alive. The host's
 * has what the profile lacks, or lacks it: contents are the same.
 */
static int make_real(uint64_t size, uint64_t flags)
{
	struct gp_create_gmem args = { .size = size };
	int kvm = gp_fd_real_kvm();
	int vm, fd;

	if (kvm < 0)
		return -ENODEV;
	/* The model tells private from shared: its memory can be mapped throughout. */
	args.flags = flags & GP_GMEM_MMAP ? GP_GMEM_MMAP | GP_GMEM_INIT_SHARED : 0;
	vm = (int)gp_real_ioctl(kvm, KVM_CREATE_VM, GP_VM_DEFAULT);
	(void)close(kvm);
	if (vm < 0)
		return -ENODEV;
	fd = (int)gp_real_ioctl(vm, GP_CREATE_GUEST_MEMFD, (unsigned long)&args);
	(void)close(vm);
	if (fd < 0)
		return -ENODEV;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	(void)close(fd);
	return -ENODEV;
}

static int make_file(uint32_t index, uint64_t size, uint64_t flags)
{
	int fd = make_real(size, flags);
	uint64_t inode;

	if (fd >= 0)
		return fd;
	fd = gp_fd_make("gmem", index, size, &inode);
	/* __kvm_gmem_create: not close-on-exec. */
	if (fd >= 0 && fcntl(fd, F_SETFD, 0) < 0)
		return -errno;
	return fd;
}

/* kvm_gmem_create, kvm_vm_ioctl: reserved[] is not looked at. */
static int check_gmem(const struct gp_vm *vm, const struct gp_create_gmem *args)
{
	int flags = gp_check_extension(vm, GP_CAP_GUEST_MEMFD_FLAGS);

	if (!gp_check_extension(vm, GP_CAP_GUEST_MEMFD))
		return -EINVAL;
	if ((args->flags & ~(uint64_t)flags) != 0)
		return -EINVAL;
	if (args->size == 0 || args->size % GP_PAGE_SIZE != 0 || args->size > INT64_MAX)
		return -EINVAL;
	return 0;
}

int gp_gmem_create(uint32_t vm, unsigned long arg)
{
	struct gp_create_gmem args;
	struct gp_gmem *gmem;
	uint32_t i = 0;
	struct stat st;
	int fd, r;

	if (gp_copy_in(&args, arg, sizeof(args)) < 0)
		return -EFAULT;
	r = check_gmem(&gp_state->vms[vm], &args);
	if (r < 0)
		return r;
	gp_reap();
	while (i < GP_GMEMS && gp_state->gmems[i].used)
		i++;
	if (i == GP_GMEMS)
		return -ENOMEM;
	fd = make_file(i, args.size, args.flags);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0) {
		(void)close(fd);
		return -ENOMEM;
	}
	gmem = &gp_state->gmems[i];
	memset(gmem, 0, sizeof(*gmem));
	*gmem = (struct gp_gmem){ .used = true,
				  .vm = vm,
				  .device = st.st_dev,
				  .inode = st.st_ino,
				  .size = args.size,
				  .flags = args.flags };
	return fd;
}

struct gp_slot *gp_slot_at(struct gp_vm *vm, uint64_t gfn)
{
	for (size_t i = 0; i < GP_SLOTS; i++) {
		struct gp_slot *slot = &vm->slots[i];

		if (slot->used && gfn >= slot->gpa >> GP_PAGE_SHIFT &&
		    gfn < (slot->gpa + slot->size) >> GP_PAGE_SHIFT)
			return slot;
	}
	return NULL;
}

static bool overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

/* kvm_gmem_bind. */
static int check_binding(uint32_t vm, const struct gp_region2 *region, uint32_t *ret_gmem)
{
	struct gp_vm *self = &gp_state->vms[vm];
	const struct gp_gmem *gmem;

	if (fcntl((int)region->guest_memfd, F_GETFD) < 0)
		return -EBADF;
	if (gp_fd_find((int)region->guest_memfd, ret_gmem) != GP_FD_GMEM)
		return -EINVAL;
	gmem = &gp_state->gmems[*ret_gmem];
	if (gmem->vm != vm)
		return -EINVAL;
	if (region->guest_memfd_offset % GP_PAGE_SIZE != 0 ||
	    region->guest_memfd_offset + region->memory_size < region->guest_memfd_offset ||
	    region->guest_memfd_offset + region->memory_size > gmem->size)
		return -EINVAL;
	for (size_t i = 0; i < GP_SLOTS; i++) {
		const struct gp_slot *slot = &self->slots[i];

		if (slot->used && slot->flags & GP_MEM_GUEST_MEMFD && slot->gmem == *ret_gmem &&
		    overlaps(slot->offset, slot->size, region->guest_memfd_offset,
			     region->memory_size))
			return gp_profile()->bind_eexist ? -EEXIST : -EINVAL;
	}
	return 0;
}

/* check_memory_region_flags and the first tests of kvm_set_memory_region. */
static int check_region(const struct gp_vm *vm, const struct gp_region2 *region)
{
	uint32_t known = GP_MEM_LOG_DIRTY | GP_MEM_READONLY;

	if (gp_check_extension(vm, GP_CAP_GUEST_MEMFD))
		known |= GP_MEM_GUEST_MEMFD;
	/* Dirty logging and read-only do not go with guest_memfd, read-only not with private. */
	if (region->flags & GP_MEM_GUEST_MEMFD)
		known &= ~(GP_MEM_LOG_DIRTY | GP_MEM_READONLY);
	if (gp_vm_has_private(vm))
		known &= ~GP_MEM_READONLY;
	if ((region->flags & ~known) != 0)
		return -EINVAL;
	if (region->memory_size % GP_PAGE_SIZE != 0 || region->guest_phys_addr % GP_PAGE_SIZE != 0)
		return -EINVAL;
	if (region->userspace_addr % GP_PAGE_SIZE != 0 || region->userspace_addr > INT64_MAX)
		return -EINVAL;
	if (region->guest_phys_addr + region->memory_size < region->guest_phys_addr)
		return -EINVAL;
	return (region->slot & 0xffff) >= GP_SLOTS ? -EINVAL : 0;
}

static void delete_slot(struct gp_slot *slot)
{
	/* kvm_arch_flush_shadow_memslot: what is mapped through it goes. */
	if (slot->flags & GP_MEM_GUEST_MEMFD && slot->gmem != GP_NONE)
		gp_zap(slot->gmem, slot->offset / GP_PAGE_SIZE, slot->size / GP_PAGE_SIZE);
	memset(slot, 0, sizeof(*slot));
}

static int change_slot(struct gp_slot *slot, const struct gp_region2 *region)
{
	/* kvm_set_memory_region: private slots are immutable, and none changes its size. */
	if ((region->flags | slot->flags) & GP_MEM_GUEST_MEMFD)
		return -EINVAL;
	if (region->memory_size != slot->size || region->userspace_addr != slot->uaddr ||
	    ((region->flags ^ slot->flags) & GP_MEM_READONLY) != 0)
		return -EINVAL;
	slot->gpa = region->guest_phys_addr;
	slot->flags = region->flags;
	return 0;
}

int gp_slot_set(uint32_t index, unsigned long arg, bool second)
{
	struct gp_vm *vm = &gp_state->vms[index];
	size_t size =
		second ? sizeof(struct gp_region2) : sizeof(struct kvm_userspace_memory_region);
	struct gp_region2 region = { 0 };
	uint32_t gmem = GP_NONE;
	struct gp_slot *slot;
	int r;

	if (gp_copy_in(&region, arg, size) < 0)
		return -EFAULT;
	/* kvm_vm_ioctl: flags of version 2 are not for version 1. */
	if (!second && region.flags & ~(GP_MEM_LOG_DIRTY | GP_MEM_READONLY))
		return -EINVAL;
	r = check_region(vm, &region);
	if (r < 0)
		return r;
	slot = &vm->slots[region.slot & 0xffff];
	if (region.memory_size == 0) {
		if (!slot->used)
			return -EINVAL;
		delete_slot(slot);
		return 0;
	}
	for (size_t i = 0; i < GP_SLOTS; i++)
		if (vm->slots[i].used && &vm->slots[i] != slot &&
		    overlaps(vm->slots[i].gpa, vm->slots[i].size, region.guest_phys_addr,
			     region.memory_size))
			return -EEXIST;
	if (slot->used)
		return change_slot(slot, &region);
	if (region.flags & GP_MEM_GUEST_MEMFD)
		r = check_binding(index, &region, &gmem);
	if (r < 0)
		return r;
	*slot = (struct gp_slot){ .used = 1,
				  .id = region.slot,
				  .flags = region.flags,
				  .gmem = gmem,
				  .gpa = region.guest_phys_addr,
				  .size = region.memory_size,
				  .uaddr = region.userspace_addr,
				  .offset = region.guest_memfd_offset };
	return 0;
}

static void unmap_page(void *arg, uint64_t gfn, uint8_t *state)
{
	struct gp_vm *vm = arg;

	(void)gfn;
	/* What was added is measured and cannot come back: the launch is lost. */
	vm->broken |= !vm->finished;
	*state &= (uint8_t)~GP_GFN_MAPPED;
	gp_state->n_assigned--;
}

/* kvm_gmem_invalidate_begin: no guest maps these pages of the file any more. */
void gp_zap(uint32_t gmem, uint64_t first, uint64_t n_pages)
{
	struct gp_vm *vm = &gp_state->vms[gp_state->gmems[gmem].vm];

	for (size_t i = 0; i < GP_SLOTS; i++) {
		const struct gp_slot *slot = &vm->slots[i];
		uint64_t base = slot->offset / GP_PAGE_SIZE;
		uint64_t end = base + slot->size / GP_PAGE_SIZE;
		uint64_t from = first > base ? first : base;
		uint64_t to = first + n_pages < end ? first + n_pages : end;

		if (slot->used && slot->flags & GP_MEM_GUEST_MEMFD && slot->gmem == gmem &&
		    from < to)
			gp_map_each(&vm->map, (slot->gpa >> GP_PAGE_SHIFT) + from - base, to - from,
				    GP_GFN_MAPPED, unmap_page, vm);
	}
}

static void forget_page(void *arg, uint64_t page, uint8_t *state)
{
	(void)arg;
	(void)page;
	gp_state->n_assigned -= (*state & GP_PAGE_ASSIGNED) != 0;
	*state &= GP_PAGE_SHARED;
}

/*
 * kvm_gmem_punch_hole: mappings go, folios go, and with them uptodate; sev_gmem_invalidate makes
 * their RMP entries shared again. What the digest has had of them stays in it.
 */
void gp_gmem_punched(uint32_t gmem, uint64_t offset, uint64_t length)
{
	uint64_t first = offset / GP_PAGE_SIZE;

	gp_zap(gmem, first, length / GP_PAGE_SIZE);
	gp_map_each(&gp_state->gmems[gmem].map, first, length / GP_PAGE_SIZE,
		    GP_PAGE_UPTODATE | GP_PAGE_ASSIGNED, forget_page, NULL);
}
