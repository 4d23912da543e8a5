/* SPDX-License-Identifier: Apache-2.0 */
/* TDX: functions of arch/x86/kvm/vmx/tdx.c of 6.16 to 7.2. */
#include <errno.h>
#include <string.h>

#include "state.h"

#define ATTRIBUTES_KNOWN (UINT64_C(1) << 28) /* SEPT_VE_DISABLE */
#define XFAM_KNOWN UINT64_C(0x602e7)
#define XFAM_ALWAYS UINT64_C(3)
#define N_CPUID 1
#define N_CPUID_MAX 256
#define SHARED_BIT (UINT64_C(1) << 47)
#define OPERAND_BUSY UINT64_C(0x8000020000000000) /* TDX_OPERAND_BUSY */

/* tdx_get_capabilities. */
static int capabilities(const struct gp_tdx_cmd *cmd)
{
	struct gp_tdx_capabilities caps = { .supported_attrs = ATTRIBUTES_KNOWN,
					    .supported_xfam = XFAM_KNOWN };
	struct kvm_cpuid_entry2 entry = { .function = 1 };
	struct kvm_cpuid2 head;

	if (cmd->flags != 0)
		return -EINVAL;
	if (gp_copy_in(&head, cmd->data + sizeof(caps), sizeof(head)) < 0)
		return -EFAULT;
	if (head.nent < N_CPUID)
		return -E2BIG;
	head.nent = N_CPUID;
	if (gp_copy_out(cmd->data, &caps, sizeof(caps)) < 0 ||
	    gp_copy_out(cmd->data + sizeof(caps), &head, sizeof(head)) < 0 ||
	    gp_copy_out(cmd->data + sizeof(caps) + sizeof(head), &entry, sizeof(entry)) < 0)
		return -EFAULT;
	return 0;
}

static bool init_is_valid(const struct gp_tdx_init_vm *init, const struct kvm_cpuid2 *cpuid)
{
	for (size_t i = 0; i < sizeof(init->reserved) / sizeof(*init->reserved); i++)
		if (init->reserved[i] != 0)
			return false;
	/* setup_tdparams. */
	return cpuid->padding == 0 && (init->attributes & ~ATTRIBUTES_KNOWN) == 0 &&
	       (init->xfam & ~XFAM_KNOWN) == 0 && (init->xfam & XFAM_ALWAYS) == XFAM_ALWAYS;
}

/* tdx_td_init. */
static int init_vm(struct gp_vm *vm, const struct gp_tdx_cmd *cmd)
{
	struct gp_tdx_init_vm init;
	struct kvm_cpuid2 cpuid;
	int r;

	if (vm->active || cmd->flags != 0)
		return -EINVAL;
	if (gp_copy_in(&init, cmd->data, sizeof(init)) < 0 ||
	    gp_copy_in(&cpuid, cmd->data + sizeof(init), sizeof(cpuid)) < 0)
		return -EFAULT;
	if (cpuid.nent > N_CPUID_MAX)
		return -E2BIG;
	if (!init_is_valid(&init, &cpuid))
		return -EINVAL;
	r = gp_id_take(GP_POOL_TDX, &vm->id);
	if (r < 0)
		return r;
	vm->active = true;
	vm->context = true;
	vm->pool = GP_POOL_TDX;
	(void)SHA384_Init(&vm->sha384);
	gp_write_misc();
	return 0;
}

static bool has_ready_vcpu(uint32_t index)
{
	const struct gp_vcpu *vcpu;

	for (uint32_t i = 0; (vcpu = gp_vcpu_of(index, i)); i++)
		if (vcpu->td_ready)
			return true;
	return false;
}

/* tdx_td_finalize. */
static int finalize(uint32_t index, struct gp_tdx_cmd *cmd)
{
	struct gp_vm *vm = &gp_state->vms[index];

	if (!vm->active || vm->finished || vm->broken)
		return -EINVAL;
	if (gp_state->faults.busy > 0) {
		gp_state->faults.busy--;
		cmd->hw_error = OPERAND_BUSY;
		return -EBUSY;
	}
	/* TDH.MR.FINALIZE wants a vCPU that is initialised. */
	if (!has_ready_vcpu(index))
		return -EIO;
	vm->finished = true;
	return 0;
}

/* tdx_vm_ioctl. */
long gp_tdx_vm_command(uint32_t index, unsigned long arg)
{
	struct gp_vm *vm = &gp_state->vms[index];
	struct gp_tdx_cmd cmd;
	int r;

	if (gp_copy_in(&cmd, arg, sizeof(cmd)) < 0)
		return -EFAULT;
	if (cmd.hw_error != 0)
		return -EINVAL;
	switch (cmd.id) {
	case GP_TDX_CAPABILITIES:
		r = capabilities(&cmd);
		break;
	case GP_TDX_INIT_VM:
		r = init_vm(vm, &cmd);
		break;
	case GP_TDX_FINALIZE_VM:
		r = finalize(index, &cmd);
		break;
	default:
		return -EINVAL;
	}
	/* Done or not: a read-only envelope is EFAULT after the effect. */
	if (gp_copy_out(arg, &cmd, sizeof(cmd)) < 0)
		return -EFAULT;
	return r;
}

/* tdx_gmem_post_populate: added, then extended in sixteen pieces, then the next page. */
static int add_page(uint32_t index, uint64_t gfn, uint8_t *state, const uint8_t *bytes, void *arg)
{
	struct gp_vm *vm = &gp_state->vms[index];
	const struct gp_tdx_cmd *cmd = arg;
	int r;

	(void)state;
	/* 7.0 says what it is; before, the address is one that cannot be pinned. */
	if (!bytes)
		return gp_profile()->populate_pins ? -EOPNOTSUPP : -ENOMEM;
	if (gp_state->faults.busy > 0) {
		gp_state->faults.busy--;
		return -EBUSY;
	}
	/* TDH.MEM.PAGE.ADD on a leaf that is there. */
	if (gp_map_get(&vm->map, gfn) & GP_GFN_MAPPED)
		return -EIO;
	r = gp_map_change(&vm->map, gfn, 1, GP_GFN_MAPPED, 0);
	if (r < 0)
		return r;
	gp_state->n_assigned++;
	gp_td_add(vm, gfn << GP_PAGE_SHIFT);
	if (cmd->flags & GP_TDX_MEASURE)
		gp_td_extend(vm, gfn << GP_PAGE_SHIFT, bytes);
	return 0;
}

static bool is_private_gpa(uint64_t gpa)
{
	return gpa < SHARED_BIT;
}

/* A signal after so many pages; a short run is one too: here the kernel has no short success. */
static bool is_interrupted(uint64_t n_done)
{
	struct gp_faults *faults = &gp_state->faults;

	if (faults->short_after != 0 && n_done == faults->short_after)
		return true;
	if (faults->interrupt_after == 0 || n_done + 1 < faults->interrupt_after)
		return false;
	faults->interrupt_after = 0;
	return true;
}

static int add_one(uint32_t index, const struct gp_tdx_region *region, struct gp_tdx_cmd *cmd)
{
	const struct gp_source source = { .addr = region->source_addr };
	uint64_t gfn = region->gpa >> GP_PAGE_SHIFT;
	const struct gp_slot *slot = gp_slot_at(&gp_state->vms[index], gfn);
	long n = gp_populate(index, gfn, &source, 1, add_page, cmd);

	/* Before 7.0 the source was pinned here, and a failure to pin was ENOMEM. */
	if (n == -EFAULT && !gp_profile()->populate_pins && slot && slot->gmem != GP_NONE)
		return -ENOMEM;
	return n < 0 ? (int)n : 0;
}

/* tdx_vcpu_init_mem_region. */
static int init_mem_region(uint32_t index, const struct gp_vcpu *vcpu, struct gp_tdx_cmd *cmd)
{
	struct gp_tdx_region region;
	uint64_t size, done = 0;
	int r = 0;

	if (!vcpu->td_ready)
		return -EINVAL;
	if (cmd->flags & ~GP_TDX_MEASURE)
		return -EINVAL;
	if (gp_copy_in(&region, cmd->data, sizeof(region)) < 0)
		return -EFAULT;
	size = region.nr_pages << GP_PAGE_SHIFT;
	if (region.source_addr % GP_PAGE_SIZE != 0 || region.gpa % GP_PAGE_SIZE != 0 ||
	    region.nr_pages == 0 || region.gpa + size <= region.gpa ||
	    !is_private_gpa(region.gpa) || !is_private_gpa(region.gpa + size - 1))
		return -EINVAL;
	if (gp_state->vms[index].broken)
		return -EIO;
	while (region.nr_pages > 0) {
		r = is_interrupted(done) ? -EINTR : add_one(index, &region, cmd);
		if (r < 0)
			break;
		if (region.source_addr != 0)
			region.source_addr += GP_PAGE_SIZE;
		region.gpa += GP_PAGE_SIZE;
		region.nr_pages--;
		done++;
	}
	/* Also after an error: how far it came. */
	return gp_copy_out(cmd->data, &region, sizeof(region)) < 0 ? -EFAULT : r;
}

static int get_cpuid(const struct gp_tdx_cmd *cmd)
{
	struct kvm_cpuid_entry2 entry = { .function = 1 };
	struct kvm_cpuid2 head;

	if (gp_copy_in(&head, cmd->data, sizeof(head)) < 0)
		return -EFAULT;
	if (head.nent < N_CPUID) {
		head.nent = N_CPUID;
		return gp_copy_out(cmd->data, &head, sizeof(head)) < 0 ? -EFAULT : -E2BIG;
	}
	head.nent = N_CPUID;
	if (gp_copy_out(cmd->data, &head, sizeof(head)) < 0)
		return -EFAULT;
	return gp_copy_out(cmd->data + sizeof(head), &entry, sizeof(entry));
}

/* tdx_vcpu_ioctl: its envelope does not go back. */
long gp_tdx_vcpu_command(uint32_t number, unsigned long arg)
{
	struct gp_vcpu *vcpu = &gp_state->vcpus[number];
	const struct gp_vm *vm = &gp_state->vms[vcpu->vm];
	struct gp_tdx_cmd cmd;

	if (!vm->active || vm->finished)
		return -EINVAL;
	if (gp_copy_in(&cmd, arg, sizeof(cmd)) < 0)
		return -EFAULT;
	if (cmd.hw_error != 0)
		return -EINVAL;
	switch (cmd.id) {
	case GP_TDX_INIT_VCPU:
		if (cmd.flags != 0 || vcpu->td_ready)
			return -EINVAL;
		vcpu->td_ready = true;
		return 0;
	case GP_TDX_INIT_MEM_REGION:
		return init_mem_region(vcpu->vm, vcpu, &cmd);
	case GP_TDX_GET_CPUID:
		return vcpu->td_ready ? get_cpuid(&cmd) : -EINVAL;
	default:
		return -EINVAL;
	}
}
