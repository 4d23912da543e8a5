/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SEV and SEV-ES guests: the daemon launches them, and the VMM's VM takes over what came of it
 * (sev_vm_move_enc_context_from in arch/x86/kvm/svm/sev.c).
 */
#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "firmware_names.h"
#include "launch_call.h"

#define CAP_MOVE_ENC_CONTEXT_FROM 206

static int take_over(const struct gm_launch_vm *vm, int from_fd, struct gm_launch_fault *fault)
{
	struct kvm_enable_cap move = {
		.cap = CAP_MOVE_ENC_CONTEXT_FROM,
		.args = { (uint64_t)from_fd },
	};
	struct gm_launch_patience patience = { 0 };
	int r;

	fault->request = "KVM_CAP_VM_MOVE_ENC_CONTEXT_FROM";
	do {
		r = ioctl(vm->vm_fd, KVM_ENABLE_CAP, &move) < 0 ? -errno : 0;
		/* EBUSY: a vCPU is just being made, on one side or the other. */
	} while (gm_launch_again(&patience, r, /* busy= */ true));
	if (r == -EINVAL)
		fault->explanation =
			"the VM is of another type, has been launched already, or has not "
			"as many vCPUs as were launched";
	else if (r == -EBUSY)
		fault->explanation = "the cgroup's misc.max is reached, or vCPUs are being made";
	return r;
}

const struct gm_launch_steps gm_sev_steps = {
	.kind = "sev",
	.take_over = take_over,
	.firmware_name = gm_firmware_name_sev,
};

const struct gm_launch_steps gm_sev_es_steps = {
	.kind = "sev-es",
	.take_over = take_over,
	.firmware_name = gm_firmware_name_sev,
};
