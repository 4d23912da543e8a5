/* SPDX-License-Identifier: Apache-2.0 */
#include "measured.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "gm_cleanup.h"
#include "halves.h"
#include "kvm_ioctl.h"

/* ---- is it there? ---- */

/* Makes a page private on a VM of its own, without a launch. 0, or -errno and where it ended. */
static int try_vm(int kvm, const struct gm_measured_platform *platform,
		  struct gm_halves_trial *ret_trial)
{
	int types;

	ret_trial->step = "KVM has no such VMs";
	types = gm_kvm_check_extension(kvm, GM_KVM_CAP_VM_TYPES);
	if (types < 0)
		return types;
	if (!((unsigned)types >> platform->vm_type & 1))
		return -EOPNOTSUPP;
	return gm_halves_try(kvm, platform->vm_type, ret_trial);
}

static int say(struct gm_probe *probe, const struct gm_measured_platform *platform,
	       const char *step, int error)
{
	struct utsname host;

	(void)uname(&host);
	(void)snprintf(probe->reason, sizeof(probe->reason),
		       "no %s: %s: %s; kernel %.48s (needs %s)", platform->name, step,
		       strerror(-error), host.release, platform->wanted);
	return 0;
}

static int try_device(const struct gm_measured_platform *platform, struct gm_probe *probe)
{
	_gm_close_ int fd = -1;
	char reason[GM_TEXT_MAX];
	int r;

	if (!platform->open_device)
		return 0;
	r = platform->open_device(&fd, reason, sizeof(reason));
	if (r < 0)
		(void)snprintf(probe->reason, sizeof(probe->reason), "%s", reason);
	return r;
}

static int probe_platform(const void *what, struct gm_probe *probe)
{
	const struct gm_measured_platform *platform = what;
	_gm_close_ int kvm = -1;
	struct gm_halves_trial trial;
	int r;

	*probe = (struct gm_probe){ 0 };
	r = gm_kvm_device_open(&kvm, probe->reason, sizeof(probe->reason));
	if (r < 0)
		return gm_kvm_is_shortage(r) ? r : 0;
	r = try_vm(kvm, platform, &trial);
	if (r < 0)
		return gm_kvm_is_shortage(r) ? r : say(probe, platform, trial.step, r);
	r = try_device(platform, probe);
	if (r < 0)
		return gm_kvm_is_shortage(r) ? r : 0;
	probe->usable = true;
	probe->caps = platform->caps | GM_CAP_MAPPABLE | GM_CAP_SEALED | GM_CAP_PRIVATE |
		      GM_CAP_PROTECTED_STATE | GM_CAP_DIGEST_BINDS_ADDRESSES | GM_CAP_LAUNCH;
	probe->page_sizes = GM_PAGE_4K;
	(void)snprintf(probe->reason, sizeof(probe->reason), "%s", platform->name);
	gm_halves_tell(&trial, probe);
	return 0;
}

int gm_measured_open(const struct gm_measured_platform *platform,
		     struct gm_backend_state **ret_state, struct gm_probe *ret_probe)
{
	return gm_halves_open(probe_platform, platform, ret_state, ret_probe);
}
