/* SPDX-License-Identifier: Apache-2.0 */
/* KVM_MEMORY_ENCRYPT_OP of SEV, SEV-ES and SNP, and the launch of the first two. */
#include <errno.h>
#include <string.h>

#include "state.h"

#define FEATURES_KNOWN 0x220 /* debug swap, secure TSC */
#define FEATURE_SNP UINT64_C(1)
#define GHCB_VERSION_MAX 2
#define BLOB_MAX 0x4000
#define MEASURE_SIZE 48
#define REPORT_SIZE 208
#define BLOCK 16
#define ASID_OWNED 0x0c

/* __sev_guest_init. */
static int init2(struct gp_vm *vm, const struct gp_sev_cmd *cmd)
{
	enum gp_pool pool = vm->type == GP_VM_SEV ? GP_POOL_SEV : GP_POOL_SEV_ES;
	uint64_t known = vm->type == GP_VM_SEV ? 0 : FEATURES_KNOWN;
	struct gp_sev_init init;
	int r;

	if (!gp_vm_is_sev(vm) || vm->active)
		return -EINVAL;
	if (gp_copy_in(&init, cmd->data, sizeof(init)) < 0)
		return -EFAULT;
	if (vm->n_vcpus > 0 || init.flags != 0 || (init.vmsa_features & ~known) != 0)
		return -EINVAL;
	if (init.ghcb_version > GHCB_VERSION_MAX ||
	    (vm->type == GP_VM_SEV && init.ghcb_version != 0))
		return -EINVAL;
	/* An SNP guest speaks version 2 or none. */
	if (vm->type == GP_VM_SNP && init.ghcb_version == 1)
		return -EINVAL;
	r = gp_id_take(pool, &vm->id);
	if (r < 0)
		return r;
	vm->active = true;
	vm->pool = pool;
	vm->features = init.vmsa_features | (vm->type == GP_VM_SNP ? FEATURE_SNP : 0);
	(void)SHA256_Init(&vm->sha256);
	gp_write_misc();
	return 0;
}

/* psp_copy_user_blob: there or not. */
static int check_blob(uint64_t addr, uint32_t size)
{
	uint8_t byte;

	if (addr == 0)
		return 0;
	if (size == 0 || size > BLOB_MAX)
		return -EINVAL;
	return gp_copy_in(&byte, addr + size - 1, 1);
}

/* sev_launch_start. */
static int launch_start(struct gp_vm *vm, struct gp_sev_cmd *cmd)
{
	struct gp_sev_start start;
	int r;

	if (gp_copy_in(&start, cmd->data, sizeof(start)) < 0)
		return -EFAULT;
	r = check_blob(start.dh_uaddr, start.dh_len);
	if (r == 0)
		r = check_blob(start.session_uaddr, start.session_len);
	if (r == 0)
		r = gp_firmware_call((int)cmd->sev_fd, &cmd->error);
	if (r < 0)
		return r;
	if (vm->guest_state != GP_GUEST_UNINIT) {
		cmd->error = ASID_OWNED;
		return -EIO;
	}
	vm->context = true;
	vm->policy = start.policy;
	vm->guest_state = GP_GUEST_UPDATE;
	vm->handle = start.handle = ++gp_state->next_handle;
	if (gp_copy_out(cmd->data, &start, sizeof(start)) < 0)
		return -EFAULT;
	vm->sev_fd = (int)cmd->sev_fd;
	return 0;
}

/* Each command but the first: by the number that LAUNCH_START has stored (sev_issue_cmd). */
static int call(const struct gp_vm *vm, uint32_t *error, enum gp_guest_state want)
{
	int r = gp_firmware_call(vm->sev_fd, error);

	if (r == 0 && vm->guest_state != want)
		return gp_firmware_fail(error, GP_FW_INVALID_GUEST_STATE);
	return r;
}

/* In place: what the host sees afterwards is no longer what it has written. */
static void encrypt(uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] ^= (uint8_t)(0x5c + i % 251);
}

static int measure_and_encrypt(struct gp_vm *vm, uint64_t addr, uint64_t size)
{
	uint8_t bytes[GP_PAGE_SIZE];

	for (uint64_t end = addr + size; addr < end;) {
		size_t n = end - addr < sizeof(bytes) ? end - addr : sizeof(bytes);

		if (gp_copy_in(bytes, addr, n) < 0)
			return -ENOMEM;
		if (gp_state->hash)
			(void)SHA256_Update(&vm->sha256, bytes, n);
		encrypt(bytes, n);
		if (gp_copy_out(addr, bytes, n) < 0)
			return -ENOMEM;
		addr += n;
	}
	return 0;
}

/* sev_launch_update_data: pinned while it is encrypted, so the limit on locked memory counts. */
static int update_data(struct gp_vm *vm, struct gp_sev_cmd *cmd)
{
	struct gp_sev_blob data;
	long n;
	int r;

	if (gp_copy_in(&data, cmd->data, sizeof(data)) < 0)
		return -EFAULT;
	n = gp_pin(vm, data.uaddr, data.len);
	if (n < 0)
		return (int)n;
	r = call(vm, &cmd->error, GP_GUEST_UPDATE);
	if (r == 0 && data.uaddr % BLOCK != 0)
		r = gp_firmware_fail(&cmd->error, GP_FW_INVALID_ADDRESS);
	if (r == 0 && data.len % BLOCK != 0)
		r = gp_firmware_fail(&cmd->error, GP_FW_INVALID_LEN);
	if (r == 0)
		r = measure_and_encrypt(vm, data.uaddr, data.len);
	vm->pages_locked -= (uint64_t)n;
	return r;
}

/* sev_launch_update_vmsa: every vCPU's page; from then on its registers are out of reach. */
static int update_vmsa(uint32_t index, struct gp_sev_cmd *cmd)
{
	struct gp_vm *vm = &gp_state->vms[index];
	uint8_t page[GP_PAGE_SIZE];
	struct gp_vcpu *vcpu;

	if (vm->type != GP_VM_SEV_ES)
		return -ENOTTY;
	for (uint32_t i = 0; (vcpu = gp_vcpu_of(index, i)); i++) {
		int r = call(vm, &cmd->error, GP_GUEST_UPDATE);

		if (r < 0)
			return r;
		gp_vmsa_build(vm, vcpu, page);
		if (gp_state->hash)
			(void)SHA256_Update(&vm->sha256, page, sizeof(page));
		vcpu->protected = true;
	}
	return 0;
}

/* sev_launch_measure: with too little room the firmware says how much it needs. */
static int measure(struct gp_vm *vm, struct gp_sev_cmd *cmd)
{
	uint8_t blob[MEASURE_SIZE];
	struct gp_sev_blob out;
	int r;

	if (gp_copy_in(&out, cmd->data, sizeof(out)) < 0)
		return -EFAULT;
	if (out.len > BLOB_MAX)
		return -EINVAL;
	r = gp_firmware_call(vm->sev_fd, &cmd->error);
	if (r == 0 && out.len < MEASURE_SIZE) {
		r = gp_firmware_fail(&cmd->error, GP_FW_INVALID_LEN);
	} else if (r == 0 && vm->guest_state != GP_GUEST_UPDATE &&
		   vm->guest_state != GP_GUEST_SECRET) {
		return gp_firmware_fail(&cmd->error, GP_FW_INVALID_GUEST_STATE);
	} else if (r == 0) {
		gp_sev_measure(vm, blob);
		vm->guest_state = GP_GUEST_SECRET;
		if (gp_copy_out(out.uaddr, blob, sizeof(blob)) < 0)
			return -EFAULT;
	}
	out.len = MEASURE_SIZE;
	if (gp_copy_out(cmd->data, &out, sizeof(out)) < 0)
		return -EFAULT;
	return r;
}

/* sev_launch_secret. */
static int inject_secret(struct gp_vm *vm, struct gp_sev_cmd *cmd)
{
	struct gp_sev_secret secret;
	long n;
	int r;

	if (gp_copy_in(&secret, cmd->data, sizeof(secret)) < 0)
		return -EFAULT;
	n = gp_pin(vm, secret.guest_uaddr, secret.guest_len);
	if (n < 0)
		return (int)n;
	r = check_blob(secret.trans_uaddr, secret.trans_len);
	if (r == 0)
		r = check_blob(secret.hdr_uaddr, secret.hdr_len);
	if (r == 0)
		r = call(vm, &cmd->error, GP_GUEST_SECRET);
	vm->pages_locked -= (uint64_t)n;
	return r;
}

/* sev_launch_finish. */
static int launch_finish(struct gp_vm *vm, struct gp_sev_cmd *cmd)
{
	int r = call(vm, &cmd->error, GP_GUEST_SECRET);

	if (r == 0) {
		vm->guest_state = GP_GUEST_RUNNING;
		vm->finished = true;
	}
	return r;
}

/* sev_guest_status. */
static int guest_status(struct gp_vm *vm, struct gp_sev_cmd *cmd)
{
	struct gp_sev_status status = { .handle = vm->handle,
					.policy = (uint32_t)vm->policy,
					.state = vm->guest_state };
	int r = gp_firmware_call(vm->sev_fd, &cmd->error);

	return r < 0 ? r : gp_copy_out(cmd->data, &status, sizeof(status));
}

/*
 * sev_get_attestation_report: the digest as it is, once nothing can be put in any more. Signed with
 * a key of the platform's, which the model has not.
 */
static int get_report(struct gp_vm *vm, struct gp_sev_cmd *cmd)
{
	uint8_t report[REPORT_SIZE] = { 0 }, digest[SHA384_DIGEST_LENGTH];
	uint32_t policy = (uint32_t)vm->policy;
	struct gp_sev_get_report get;
	int r;

	if (gp_copy_in(&get, cmd->data, sizeof(get)) < 0)
		return -EFAULT;
	if (get.len > BLOB_MAX)
		return -EINVAL;
	r = gp_firmware_call(vm->sev_fd, &cmd->error);
	if (r == 0 && vm->guest_state != GP_GUEST_SECRET && vm->guest_state != GP_GUEST_RUNNING)
		return gp_firmware_fail(&cmd->error, GP_FW_INVALID_GUEST_STATE);
	if (r == 0 && get.len < sizeof(report)) {
		r = gp_firmware_fail(&cmd->error, GP_FW_INVALID_LEN);
	} else if (r == 0) {
		memcpy(report, get.mnonce, sizeof(get.mnonce));
		(void)gp_digest_now(vm, digest);
		memcpy(report + 16, digest, SHA256_DIGEST_LENGTH);
		memcpy(report + 48, &policy, sizeof(policy));
		if (gp_copy_out(get.uaddr, report, sizeof(report)) < 0)
			return -EFAULT;
	}
	get.len = sizeof(report);
	if (gp_copy_out(cmd->data, &get, sizeof(get)) < 0)
		return -EFAULT;
	return r;
}

long gp_sev_command(uint32_t index, struct gp_sev_cmd *cmd)
{
	struct gp_vm *vm = &gp_state->vms[index];

	switch (cmd->id) {
	case GP_SEV_INIT:
	case GP_SEV_ES_INIT:
		return -EINVAL; /* sev_guest_init: for the default type, which the model has not */
	case GP_SEV_INIT2:
		return init2(vm, cmd);
	default:
		break;
	}
	if (!vm->active)
		return -ENOTTY;
	switch (cmd->id) {
	case GP_SEV_LAUNCH_START:
		return launch_start(vm, cmd);
	case GP_SEV_LAUNCH_UPDATE_DATA:
		return update_data(vm, cmd);
	case GP_SEV_LAUNCH_UPDATE_VMSA:
		return update_vmsa(index, cmd);
	case GP_SEV_LAUNCH_MEASURE:
		return measure(vm, cmd);
	case GP_SEV_LAUNCH_SECRET:
		return inject_secret(vm, cmd);
	case GP_SEV_LAUNCH_FINISH:
		return launch_finish(vm, cmd);
	case GP_SEV_GUEST_STATUS:
		return guest_status(vm, cmd);
	case GP_SEV_GET_ATTESTATION_REPORT:
		return get_report(vm, cmd);
	default:
		return -EINVAL;
	}
}

/* is_cmd_allowed_from_mirror. */
static bool mirror_may(uint32_t id)
{
	return id == GP_SEV_LAUNCH_UPDATE_VMSA || id == GP_SEV_GUEST_STATUS ||
	       id == GP_SEV_DBG_DECRYPT || id == GP_SEV_DBG_ENCRYPT;
}

/* sev_mem_enc_ioctl. */
static long sev_op(uint32_t index, unsigned long arg)
{
	const struct gp_vm *vm = &gp_state->vms[index];
	struct gp_sev_cmd cmd;
	long r;

	if (gp_state->capacity[GP_POOL_SEV] == 0 && gp_state->capacity[GP_POOL_SEV_ES] == 0)
		return -ENOTTY;
	if (arg == 0)
		return 0;
	if (gp_copy_in(&cmd, arg, sizeof(cmd)) < 0)
		return -EFAULT;
	if (vm->mirror_of != GP_NONE && !mirror_may(cmd.id))
		r = -EINVAL;
	else if (vm->type == GP_VM_SNP && vm->active && cmd.id < GP_SNP_LAUNCH_START)
		r = -EPERM;
	else if (cmd.id >= GP_SNP_LAUNCH_START)
		r = gp_snp_command(index, &cmd);
	else
		r = gp_sev_command(index, &cmd);
	/* Done or not, the envelope goes back: a read-only one is EFAULT after the effect. */
	if (gp_copy_out(arg, &cmd, sizeof(cmd)) < 0)
		return -EFAULT;
	return r;
}

long gp_encrypt_op(uint32_t index, unsigned long arg)
{
	return gp_state->vms[index].type == GP_VM_TDX ? gp_tdx_vm_command(index, arg)
						      : sev_op(index, arg);
}
