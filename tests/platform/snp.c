/* SPDX-License-Identifier: Apache-2.0 */
/* SEV-SNP: start, update, finish. Functions of arch/x86/kvm/svm/sev.c of 6.11 to 7.2. */
#include <errno.h>
#include <string.h>

#include "state.h"

#define POLICY_ONE (UINT64_C(1) << 17)	   /* SNP_POLICY_MASK_RSVD_MBO */
#define POLICY_VALID UINT64_C(0x1bffff)	   /* SNP_POLICY_MASK_VALID: not bit 18, nor from 21 */
#define POLICY_MORE (UINT64_C(0x1f) << 21) /* of firmwares that have them */
#define POLICY_SINGLE_SOCKET (UINT64_C(1) << 20) /* valid, and refused */

static bool policy_is_good(uint64_t policy)
{
	uint64_t valid = POLICY_VALID | (gp_profile()->snp_policy_more ? POLICY_MORE : 0);

	return (policy & ~valid) == 0 && (policy & POLICY_ONE) != 0 &&
	       (policy & POLICY_SINGLE_SOCKET) == 0;
}

/* snp_launch_start. */
static int launch_start(struct gp_vm *vm, struct gp_sev_cmd *cmd)
{
	struct gp_snp_start start;
	int r;

	if (gp_copy_in(&start, cmd->data, sizeof(start)) < 0)
		return -EFAULT;
	if (vm->context)
		return -EINVAL;
	if (start.flags != 0 || !policy_is_good(start.policy))
		return -EINVAL;
	r = gp_firmware_call((int)cmd->sev_fd, &cmd->error);
	if (r < 0)
		return r;
	vm->context = true;
	vm->policy = start.policy;
	vm->sev_fd = (int)cmd->sev_fd;
	vm->guest_state = GP_GUEST_UPDATE;
	memset(vm->chain, 0, sizeof(vm->chain));
	return 0;
}

struct update {
	const struct gp_snp_update *params;
	struct gp_sev_cmd *cmd;
	uint64_t gfn; /* of the source's first page */
	uint32_t error;
};

/* The firmware puts right what a CPUID page claims too much, and the kernel copies that back. */
static int correct_cpuid(const struct update *update, uint64_t gfn, const uint8_t *bytes)
{
	uint64_t at = update->params->uaddr + (gfn - update->gfn) * GP_PAGE_SIZE;
	uint8_t page[GP_PAGE_SIZE];

	gp_state->faults.correct_cpuid--;
	memcpy(page, bytes, sizeof(page));
	/* The first function's EDX: any register will do. */
	page[16 + 36] ^= 0x01;
	if (gp_copy_out(at, page, sizeof(page)) < 0)
		return -EFAULT;
	return -EIO;
}

/* sev_gmem_post_populate. */
static int update_page(uint32_t index, uint64_t gfn, uint8_t *state, const uint8_t *bytes,
		       void *arg)
{
	struct gp_vm *vm = &gp_state->vms[index];
	struct update *update = arg;
	int r;

	if (update->params->type != GP_SNP_ZERO && !bytes)
		return -EINVAL;
	/* snp_lookup_rmpentry: not in its initial state. */
	if (*state & GP_PAGE_ASSIGNED)
		return -EEXIST;
	r = gp_firmware_call((int)update->cmd->sev_fd, &update->error);
	if (r < 0)
		return r;
	if (update->params->type == GP_SNP_CPUID && gp_state->faults.correct_cpuid > 0) {
		update->error = GP_FW_INVALID_PARAM;
		return correct_cpuid(update, gfn, bytes);
	}
	gp_snp_extend(vm, gfn << GP_PAGE_SHIFT, update->params->type, bytes);
	*state |= GP_PAGE_ASSIGNED;
	gp_state->n_assigned++;
	return 0;
}

static bool type_is_known(uint8_t type)
{
	return type == GP_SNP_NORMAL || type == GP_SNP_ZERO || type == GP_SNP_UNMEASURED ||
	       type == GP_SNP_SECRETS || type == GP_SNP_CPUID;
}

/* snp_launch_update. */
static int launch_update(uint32_t index, struct gp_sev_cmd *cmd)
{
	struct gp_vm *vm = &gp_state->vms[index];
	struct gp_snp_update params;
	struct update update = { .params = &params, .cmd = cmd };
	struct gp_source source = { 0 };
	const struct gp_slot *slot;
	long count;

	if (!vm->context)
		return -EINVAL;
	if (gp_copy_in(&params, cmd->data, sizeof(params)) < 0)
		return -EFAULT;
	if (params.len == 0 || params.len % GP_PAGE_SIZE != 0 || params.flags != 0 ||
	    !type_is_known(params.type))
		return -EINVAL;
	if (params.type != GP_SNP_ZERO)
		source.addr = params.uaddr;
	if (gp_profile()->populate_pins && source.addr % GP_PAGE_SIZE != 0)
		return -EINVAL;
	source.may_write_back = params.type == GP_SNP_CPUID && gp_profile()->cpuid_for_write;
	slot = gp_slot_at(vm, params.gfn_start);
	if (!slot || !(slot->flags & GP_MEM_GUEST_MEMFD))
		return -EINVAL;
	update.gfn = params.gfn_start;
	count = gp_populate(index, params.gfn_start, &source, params.len / GP_PAGE_SIZE,
			    update_page, &update);
	/* Whatever it was, and EEXIST too: the caller sees EIO. */
	if (count < 0) {
		cmd->error = update.error;
		return -EIO;
	}
	params.gfn_start += (uint64_t)count;
	params.len -= (uint64_t)count * GP_PAGE_SIZE;
	if (source.addr != 0)
		params.uaddr += (uint64_t)count * GP_PAGE_SIZE;
	return gp_copy_out(cmd->data, &params, sizeof(params));
}

/* snp_launch_update_vmsa: all of them at one address, in the order of creation. */
static int measure_vcpus(uint32_t index, struct gp_sev_cmd *cmd)
{
	struct gp_vm *vm = &gp_state->vms[index];
	uint8_t page[GP_PAGE_SIZE];
	struct gp_vcpu *vcpu;

	for (uint32_t i = 0; (vcpu = gp_vcpu_of(index, i)); i++) {
		int r = gp_firmware_call((int)cmd->sev_fd, &cmd->error);

		if (r < 0)
			return r;
		gp_vmsa_build(vm, vcpu, page);
		gp_snp_extend(vm, GP_VMSA_GPA, GP_SNP_VMSA, page);
		vcpu->protected = true;
	}
	return 0;
}

/* SNP_LAUNCH_FINISH: the ID block allows one digest. */
static int check_id_block(const struct gp_vm *vm, const struct gp_snp_finish *finish,
			  uint32_t *error)
{
	uint8_t block[GP_ID_BLOCK_SIZE], auth[GP_ID_AUTH_SIZE];

	if (!finish->id_block_en)
		return 0;
	if (gp_copy_in(block, finish->id_block_uaddr, sizeof(block)) < 0 ||
	    gp_copy_in(auth, finish->id_auth_uaddr, sizeof(auth)) < 0)
		return -EFAULT;
	if (memcmp(block, vm->chain, sizeof(vm->chain)) != 0)
		return gp_firmware_fail(error, GP_FW_BAD_MEASUREMENT);
	return 0;
}

/* snp_launch_finish. */
static int launch_finish(uint32_t index, struct gp_sev_cmd *cmd)
{
	struct gp_vm *vm = &gp_state->vms[index];
	struct gp_snp_finish finish;
	int r;

	if (!vm->context)
		return -EINVAL;
	if (gp_copy_in(&finish, cmd->data, sizeof(finish)) < 0)
		return -EFAULT;
	if (finish.flags != 0)
		return -EINVAL;
	if (vm->finished)
		return gp_firmware_fail(&cmd->error, GP_FW_INVALID_GUEST_STATE);
	r = measure_vcpus(index, cmd);
	if (r == 0)
		r = gp_firmware_call(vm->sev_fd, &cmd->error);
	if (r == 0)
		r = check_id_block(vm, &finish, &cmd->error);
	if (r < 0)
		return r;
	vm->finished = true;
	vm->guest_state = GP_GUEST_RUNNING;
	return 0;
}

/* sev_snp_enable_req_certs: before the first vCPU. */
static int enable_certificates(struct gp_vm *vm)
{
	if (!gp_profile()->certificates || vm->n_vcpus > 0)
		return -EINVAL;
	vm->certificates = true;
	return 0;
}

long gp_snp_command(uint32_t index, struct gp_sev_cmd *cmd)
{
	struct gp_vm *vm = &gp_state->vms[index];

	if (vm->type != GP_VM_SNP)
		return -ENOTTY;
	if (!vm->active)
		return -EINVAL;
	switch (cmd->id) {
	case GP_SNP_LAUNCH_START:
		return launch_start(vm, cmd);
	case GP_SNP_LAUNCH_UPDATE:
		/* The digest is closed: the firmware says so, page by page. */
		if (vm->finished)
			return gp_firmware_fail(&cmd->error, GP_FW_INVALID_GUEST_STATE);
		return launch_update(index, cmd);
	case GP_SNP_LAUNCH_FINISH:
		return launch_finish(index, cmd);
	case GP_SNP_ENABLE_REQ_CERTS:
		return enable_certificates(vm);
	default:
		return -EINVAL;
	}
}
