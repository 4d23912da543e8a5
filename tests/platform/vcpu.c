/* SPDX-License-Identifier: Apache-2.0 */
/* vCPUs: an fd to map, and the registers that a launch measures. They never run. */
#include <errno.h>
#include <string.h>

#include "state.h"

#define MSR_TSC_AUX 0xc0000103
#define MSR_EFER 0xc0000080
#define MSR_PAT 0x277
#define MSR_XSS 0xda0
#define N_MSRS_MAX 256
#define N_CPUID_MAX 256

int gp_vcpu_create(uint32_t index, unsigned long id)
{
	struct gp_vm *vm = &gp_state->vms[index];
	struct gp_vcpu *vcpu;
	uint32_t i = 0;
	uint64_t inode;
	int fd;

	if (id >= GP_VCPUS)
		return -EINVAL;
	/* tdx_vcpu_create: only on a TD that is initialised. sev_vcpu_create has no such rule. */
	if (vm->type == GP_VM_TDX && !vm->active)
		return -EIO;
	for (uint32_t j = 0; j < GP_VCPUS; j++)
		if (gp_state->vcpus[j].used && gp_state->vcpus[j].vm == index &&
		    gp_state->vcpus[j].id == id)
			return -EEXIST;
	while (i < GP_VCPUS && gp_state->vcpus[i].used)
		i++;
	if (i == GP_VCPUS)
		return -ENOMEM;
	fd = gp_fd_make("vcpu", i, 3 * GP_PAGE_SIZE, &inode);
	if (fd < 0)
		return fd;
	vcpu = &gp_state->vcpus[i];
	memset(vcpu, 0, sizeof(*vcpu));
	vcpu->used = true;
	vcpu->vm = index;
	vcpu->id = (uint32_t)id;
	vcpu->inode = inode;
	vcpu->sequence = vm->n_vcpus++;
	gp_vcpu_reset(vcpu);
	return fd;
}

struct gp_vcpu *gp_vcpu_of(uint32_t vm, uint32_t sequence)
{
	for (uint32_t i = 0; i < GP_VCPUS; i++) {
		struct gp_vcpu *vcpu = &gp_state->vcpus[i];

		if (vcpu->used && vcpu->vm == vm && vcpu->sequence == sequence)
			return vcpu;
	}
	return NULL;
}

static int set_cpuid(struct gp_vcpu *vcpu, unsigned long arg)
{
	struct kvm_cpuid_entry2 entry;
	struct kvm_cpuid2 head;

	if (gp_copy_in(&head, arg, sizeof(head)) < 0)
		return -EFAULT;
	if (head.nent > N_CPUID_MAX)
		return -E2BIG;
	for (uint32_t i = 0; i < head.nent; i++) {
		if (gp_copy_in(&entry, arg + sizeof(head) + i * sizeof(entry), sizeof(entry)) < 0)
			return -EFAULT;
		if (entry.function == 1)
			vcpu->signature = entry.eax;
	}
	return 0;
}

static void set_msr(struct gp_vcpu *vcpu, const struct kvm_msr_entry *msr)
{
	switch (msr->index) {
	case MSR_PAT:
		vcpu->pat = msr->data;
		break;
	case MSR_EFER:
		vcpu->sregs.efer = msr->data;
		break;
	case MSR_XSS:
		vcpu->xss = msr->data;
		break;
	case MSR_TSC_AUX:
		vcpu->tsc_aux = msr->data;
		break;
	default:
		break; /* not in the page */
	}
}

static int set_msrs(struct gp_vcpu *vcpu, unsigned long arg)
{
	struct kvm_msr_entry entry;
	struct kvm_msrs head;

	if (gp_copy_in(&head, arg, sizeof(head)) < 0)
		return -EFAULT;
	if (head.nmsrs > N_MSRS_MAX)
		return -E2BIG;
	for (uint32_t i = 0; i < head.nmsrs; i++) {
		if (gp_copy_in(&entry, arg + sizeof(head) + i * sizeof(entry), sizeof(entry)) < 0)
			return -EFAULT;
		set_msr(vcpu, &entry);
	}
	return (int)head.nmsrs;
}

/* svm_get_segment sets the accessed bit of data segments, and KVM_SET_SREGS puts it back so. */
static void get_sregs(const struct gp_vcpu *vcpu, struct kvm_sregs *sregs)
{
	*sregs = vcpu->sregs;
	sregs->ds.type |= !sregs->ds.unusable;
	sregs->es.type |= !sregs->es.unusable;
	sregs->fs.type |= !sregs->fs.unusable;
	sregs->gs.type |= !sregs->gs.unusable;
	sregs->tr.type |= 2;
	sregs->efer &= ~0x1000ULL;
}

static int get_registers(const struct gp_vcpu *vcpu, unsigned long request, unsigned long arg)
{
	struct kvm_sregs sregs;

	switch (request) {
	case KVM_GET_REGS:
		return gp_copy_out(arg, &vcpu->regs, sizeof(vcpu->regs));
	case KVM_GET_SREGS:
		get_sregs(vcpu, &sregs);
		return gp_copy_out(arg, &sregs, sizeof(sregs));
	case KVM_GET_FPU:
		return gp_copy_out(arg, &vcpu->fpu, sizeof(vcpu->fpu));
	case KVM_GET_DEBUGREGS:
		return gp_copy_out(arg, &vcpu->debugregs, sizeof(vcpu->debugregs));
	default:
		return -ENOTTY;
	}
}

static int set_registers(struct gp_vcpu *vcpu, unsigned long request, unsigned long arg)
{
	struct kvm_xcrs xcrs;

	switch (request) {
	case KVM_SET_REGS:
		return gp_copy_in(&vcpu->regs, arg, sizeof(vcpu->regs));
	case KVM_SET_SREGS:
		return gp_copy_in(&vcpu->sregs, arg, sizeof(vcpu->sregs));
	case KVM_SET_FPU:
		return gp_copy_in(&vcpu->fpu, arg, sizeof(vcpu->fpu));
	case KVM_SET_DEBUGREGS:
		return gp_copy_in(&vcpu->debugregs, arg, sizeof(vcpu->debugregs));
	case KVM_SET_XCRS:
		if (gp_copy_in(&xcrs, arg, sizeof(xcrs)) < 0)
			return -EFAULT;
		if (xcrs.nr_xcrs > 0 && xcrs.xcrs[0].xcr == 0)
			vcpu->xcr0 = xcrs.xcrs[0].value;
		return 0;
	case KVM_SET_MSRS:
		return set_msrs(vcpu, arg);
	case KVM_SET_CPUID2:
		return set_cpuid(vcpu, arg);
	default:
		return -ENOTTY;
	}
}

/* kvm_vcpu_pre_fault_memory: not before the launch is finished (pre_fault_allowed). */
static int pre_fault(const struct gp_vm *vm, unsigned long arg)
{
	struct gp_pre_fault range;

	if (gp_copy_in(&range, arg, sizeof(range)) < 0)
		return -EFAULT;
	if (range.flags != 0 || range.gpa % GP_PAGE_SIZE != 0 || range.size % GP_PAGE_SIZE != 0 ||
	    range.gpa + range.size < range.gpa)
		return -EINVAL;
	if (range.size == 0)
		return 0;
	if (vm->type != GP_VM_SW_PROTECTED && !vm->finished)
		return -EOPNOTSUPP;
	range.gpa += range.size;
	range.size = 0;
	return gp_copy_out(arg, &range, sizeof(range));
}

long gp_vcpu_request(uint32_t index, unsigned long request, unsigned long arg)
{
	struct gp_vcpu *vcpu = &gp_state->vcpus[index];
	struct gp_vm *vm = &gp_state->vms[vcpu->vm];
	int r;

	/* kvm_vcpu_ioctl. */
	if (vm->owner != gp_address_space() || vm->dead)
		return -EIO;
	switch (request) {
	case KVM_RUN:
		/* pre_sev_run and tdx_vcpu_pre_run: not before it is launched. After: it halts. */
		return vm->type == GP_VM_SW_PROTECTED || vm->finished ? 0 : -EINVAL;
	case GP_PRE_FAULT_MEMORY:
		return pre_fault(vm, arg);
	case GP_ENCRYPT_OP:
		return vm->type == GP_VM_TDX ? gp_tdx_vcpu_command(index, arg) : -ENOTTY;
	case KVM_GET_MP_STATE:
	case KVM_SET_MP_STATE:
	case KVM_SET_TSC_KHZ:
		return 0;
	default:
		break;
	}
	/* kvm_arch_vcpu_ioctl_set_regs and the like, for a guest that is not KVM's to look into. */
	if ((vcpu->protected || vm->type == GP_VM_TDX) && request != KVM_SET_CPUID2)
		return -EINVAL;
	r = get_registers(vcpu, request, arg);
	return r != -ENOTTY ? r : set_registers(vcpu, request, arg);
}
