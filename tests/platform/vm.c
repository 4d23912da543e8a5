/* SPDX-License-Identifier: Apache-2.0 */
/* /dev/kvm, VMs, and what a VM fd is asked. */
#include <errno.h>
#include <string.h>

#include "state.h"

#define DEVICE_GROUP_SEV 1	 /* KVM_X86_GRP_SEV: 6.10 */
#define SEV_FEATURES_KNOWN 0x221 /* SNP active, debug swap, secure TSC */

bool gp_vm_has_private(const struct gp_vm *vm)
{
	return vm->type == GP_VM_SW_PROTECTED || vm->type == GP_VM_SNP || vm->type == GP_VM_TDX;
}

bool gp_vm_is_sev(const struct gp_vm *vm)
{
	return vm->type >= GP_VM_SEV && vm->type <= GP_VM_SNP;
}

static int vm_types(void)
{
	int types = 1 << GP_VM_DEFAULT | 1 << GP_VM_SW_PROTECTED;

	/* A machine without ids of a class has not got the type (sev_hardware_setup). */
	if (gp_state->capacity[GP_POOL_SEV] > 0)
		types |= 1 << GP_VM_SEV;
	if (gp_state->capacity[GP_POOL_SEV_ES] > 0)
		types |= 1 << GP_VM_SEV_ES | 1 << GP_VM_SNP;
	if (gp_profile()->tdx && gp_state->capacity[GP_POOL_TDX] > 0)
		types |= 1 << GP_VM_TDX;
	return types;
}

/* kvm_gmem_get_valid_flags: no INIT_SHARED where memory can be private (6.18 to 7.3). */
static int gmem_flags(const struct gp_vm *vm)
{
	if (!gp_profile()->gmem_flags)
		return 0;
	return vm && gp_vm_has_private(vm) ? GP_GMEM_MMAP : GP_GMEM_MMAP | GP_GMEM_INIT_SHARED;
}

/* @vm is NULL for /dev/kvm. -1: the model has no opinion. */
int gp_check_extension(const struct gp_vm *vm, unsigned long capability)
{
	bool private = !vm || gp_vm_has_private(vm);

	switch (capability) {
	case GP_CAP_COPY_ENC_CONTEXT:
	case GP_CAP_MOVE_ENC_CONTEXT:
	case GP_CAP_USER_MEMORY2:
	case GP_CAP_MEMORY_FAULT_INFO:
		return 1;
	case GP_CAP_MEMORY_ATTRIBUTES:
		return private && !gp_state->in_place ? (int)GP_ATTRIBUTE_PRIVATE : 0;
	case GP_CAP_GUEST_MEMFD_ATTRIBUTES:
		return private && gp_state->in_place ? (int)GP_ATTRIBUTE_PRIVATE : 0;
	case GP_CAP_GUEST_MEMFD:
		return private || gp_profile()->gmem_flags;
	case GP_CAP_GUEST_MEMFD_FLAGS:
		return gmem_flags(vm);
	case GP_CAP_VM_TYPES:
		return vm_types();
	case GP_CAP_PRE_FAULT_MEMORY:
		return private;
	default:
		return -1;
	}
}

static int vm_create(unsigned long type)
{
	uint32_t i = 0;
	struct gp_vm *vm;
	uint64_t inode;
	int fd;

	if (type >= 8 || (vm_types() & 1 << type) == 0)
		return -EINVAL;
	gp_reap();
	while (i < GP_VMS && gp_state->vms[i].used)
		i++;
	if (i == GP_VMS)
		return -ENOMEM;
	fd = gp_fd_make("vm", i, 0, &inode);
	if (fd < 0)
		return fd;
	vm = &gp_state->vms[i];
	memset(vm, 0, sizeof(*vm));
	vm->used = true;
	vm->type = (uint8_t)type;
	vm->inode = inode;
	/* kvm_create_vm: the caller's, not the opener's of /dev/kvm. */
	vm->owner = gp_address_space();
	vm->mirror_of = GP_NONE;
	vm->sev_fd = -1;
	return fd;
}

/* sev_dev_get_attr: the SEV_FEATURES that INIT2 takes. */
static int get_device_attr(unsigned long arg)
{
	static const uint64_t features = SEV_FEATURES_KNOWN & ~UINT64_C(1);
	struct kvm_device_attr attr;

	if (gp_copy_in(&attr, arg, sizeof(attr)) < 0)
		return -EFAULT;
	if (attr.group != DEVICE_GROUP_SEV || attr.attr != 0)
		return -ENXIO;
	return gp_copy_out(attr.addr, &features, sizeof(features));
}

/* *ret_passed: it is the host's own /dev/kvm that answers, where there is one. */
long gp_kvm_request(int fd, unsigned long request, unsigned long arg, bool *ret_passed)
{
	int value;

	(void)fd;
	switch (request) {
	case KVM_GET_API_VERSION:
		return KVM_API_VERSION;
	case KVM_GET_VCPU_MMAP_SIZE:
		return 3 * GP_PAGE_SIZE;
	case KVM_CHECK_EXTENSION:
		value = gp_check_extension(NULL, arg);
		*ret_passed = value < 0;
		return value < 0 ? 0 : value;
	case KVM_CREATE_VM:
		*ret_passed = arg == GP_VM_DEFAULT;
		return *ret_passed ? -EINVAL : vm_create(arg);
	case KVM_GET_DEVICE_ATTR:
		return get_device_attr(arg);
	default:
		*ret_passed = true;
		return -ENOTTY;
	}
}

static int enable_cap(uint32_t vm, unsigned long arg)
{
	struct kvm_enable_cap cap;

	if (gp_copy_in(&cap, arg, sizeof(cap)) < 0)
		return -EFAULT;
	if (cap.flags != 0)
		return -EINVAL;
	switch (cap.cap) {
	case GP_CAP_MOVE_ENC_CONTEXT:
	case GP_CAP_COPY_ENC_CONTEXT:
		return (int)gp_context_take(vm, cap.cap, cap.args[0]);
	case GP_CAP_EXIT_HYPERCALL:
		return (cap.args[0] & ~UINT64_C(0x1000)) != 0 ? -EINVAL : 0;
	default:
		/* Of the rest (split irqchip, TSC...) a launch needs only that they are taken. */
		return 0;
	}
}

static int vm_extension(const struct gp_vm *vm, unsigned long capability)
{
	int value = gp_check_extension(vm, capability);

	if (value >= 0)
		return value;
	switch (capability) {
	case GP_CAP_NR_MEMSLOTS:
		return GP_SLOTS;
	case GP_CAP_NR_VCPUS:
	case GP_CAP_MAX_VCPUS:
		return GP_VCPUS;
	case GP_CAP_SYNC_MMU:
	case KVM_CAP_USER_MEMORY:
		return 1;
	default:
		return 0;
	}
}

long gp_vm_request(uint32_t index, unsigned long request, unsigned long arg)
{
	struct gp_vm *vm = &gp_state->vms[index];

	/* kvm_vm_ioctl: before anything is decoded. */
	if (vm->owner != gp_address_space() || vm->dead)
		return -EIO;
	switch (request) {
	case KVM_CHECK_EXTENSION:
		return vm_extension(vm, arg);
	case KVM_CREATE_VCPU:
		return gp_vcpu_create(index, arg);
	case KVM_SET_USER_MEMORY_REGION:
		return gp_slot_set(index, arg, false);
	case GP_SET_REGION2:
		return gp_slot_set(index, arg, true);
	case GP_SET_ATTRIBUTES:
		return gp_attributes_set(index, arg);
	case GP_CREATE_GUEST_MEMFD:
		return gp_gmem_create(index, arg);
	case KVM_ENABLE_CAP:
		return enable_cap(index, arg);
	case GP_ENCRYPT_OP:
		return gp_encrypt_op(index, arg);
	case KVM_MEMORY_ENCRYPT_REG_REGION:
	case KVM_MEMORY_ENCRYPT_UNREG_REGION:
		return gp_region_request(index, request, arg);
	/* What a VMM does besides, to a machine that never runs: taken and forgotten. */
	case KVM_CREATE_IRQCHIP:
	case KVM_SET_TSS_ADDR:
	case KVM_SET_IDENTITY_MAP_ADDR:
	case KVM_CREATE_PIT2:
	case KVM_SET_TSC_KHZ:
		return 0;
	default:
		return -ENOTTY;
	}
}
