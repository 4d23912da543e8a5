/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kind "sw-protected": KVM_X86_SW_PROTECTED_VM (Linux 6.8, CONFIG_KVM_SW_PROTECTED_VM). Private
 * pages as the confidential kinds have them, on any processor and without their protection: for
 * development, and for tests of all that is the same everywhere.
 */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "gm_cleanup.h"
#include "halves.h"
#include "kinds.h"
#include "kvm_ioctl.h"

static const struct gm_private_half private_half = {
	.vm_type = GM_KVM_VM_TYPE_SW_PROTECTED,
	.memory_flags = 0,
	.verify = gm_halves_private_verify,
	.in_place_flags = GM_KVM_GUEST_MEMFD_MMAP,
	.verify_in_place = gm_halves_verify_in_place,
	.kind = "guest-memfd",
	.present = gm_halves_private_present,
};

static int probe_kvm(const void *platform, struct gm_probe *probe)
{
	_gm_close_ int kvm = -1;
	struct utsname host;
	struct gm_halves_trial trial;
	int r;

	(void)platform;
	*probe = (struct gm_probe){ 0 };
	r = gm_kvm_device_open(&kvm, probe->reason, sizeof(probe->reason));
	if (r < 0)
		return gm_kvm_is_shortage(r) ? r : 0;
	r = gm_halves_try(kvm, private_half.vm_type, &trial);
	if (gm_kvm_is_shortage(r))
		return r;
	(void)uname(&host);
	if (r < 0) {
		(void)snprintf(probe->reason, sizeof(probe->reason),
			       "kernel %.64s (needs 6.8 with KVM_SW_PROTECTED_VM): %s: %s",
			       host.release, trial.step, strerror(-r));
		return 0;
	}
	probe->usable = true;
	probe->caps = GM_CAP_MAPPABLE | GM_CAP_SEALED | GM_CAP_PRIVATE;
	probe->page_sizes = GM_PAGE_4K;
	(void)snprintf(probe->reason, sizeof(probe->reason),
		       "private pages without protection: for development only");
	gm_halves_tell(&trial, probe);
	return 0;
}

static int sw_open(struct gm_backend_state **ret_state, struct gm_probe *ret_probe)
{
	return gm_halves_open(probe_kvm, NULL, ret_state, ret_probe);
}

const struct gm_backend gm_sw_protected_backend = {
	.kind = "sw-protected",
	.private_half = &private_half,
	.open = sw_open,
	GM_HALVES_OPERATIONS,
};
