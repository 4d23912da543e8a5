/* SPDX-License-Identifier: Apache-2.0 */
#include "measured.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "gm_cleanup.h"
#include "gm_fd.h"
#include "kinds.h"
#include "kvm_ioctl.h"
#include "memory_file.h"

/* ---- is it there? ---- */

/* Makes a page private on a VM of its own, without a launch. 0, or -errno and where it ended. */
static int try_vm(int kvm, const struct gm_measured_platform *platform, const char **ret_step)
{
	_gm_close_ int vm = -1, memory = -1;
	int types;

	*ret_step = "KVM has no such VMs";
	types = gm_kvm_check_extension(kvm, GM_KVM_CAP_VM_TYPES);
	if (types < 0)
		return types;
	if (!((unsigned)types >> platform->vm_type & 1))
		return -EOPNOTSUPP;
	*ret_step = "creating a VM of this type";
	vm = gm_kvm_create_vm(kvm, platform->vm_type);
	if (vm < 0)
		return vm;
	*ret_step = "creating a guest_memfd";
	memory = gm_kvm_create_guest_memfd(vm, GM_PAGE_4K, 0);
	if (memory < 0)
		return memory;
	*ret_step = "making a page private";
	return gm_kvm_set_attributes(vm, 0, GM_PAGE_4K, GM_KVM_MEMORY_ATTRIBUTE_PRIVATE);
}

static bool is_shortage(int r)
{
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM;
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

static int probe_platform(const struct gm_measured_platform *platform, struct gm_probe *probe)
{
	_gm_close_ int kvm = -1;
	const char *step;
	int r;

	*probe = (struct gm_probe){ 0 };
	r = gm_kvm_device_open(&kvm, probe->reason, sizeof(probe->reason));
	if (r < 0)
		return is_shortage(r) ? r : 0;
	r = try_vm(kvm, platform, &step);
	if (r < 0)
		return is_shortage(r) ? r : say(probe, platform, step, r);
	r = try_device(platform, probe);
	if (r < 0)
		return is_shortage(r) ? r : 0;
	probe->usable = true;
	probe->caps = platform->caps | GM_CAP_MAPPABLE | GM_CAP_SEALED | GM_CAP_PRIVATE |
		      GM_CAP_PROTECTED_STATE | GM_CAP_DIGEST_BINDS_ADDRESSES | GM_CAP_LAUNCH;
	probe->page_sizes = GM_PAGE_4K;
	(void)snprintf(probe->reason, sizeof(probe->reason), "%s", platform->name);
	return 0;
}

int gm_measured_open(const struct gm_measured_platform *platform,
		     struct gm_backend_state **ret_state, struct gm_probe *ret_probe)
{
	struct gm_backend_state *state;
	struct gm_probe result;
	int r;

	r = gm_memfd_backend.open(&state, &result);
	if (r < 0)
		return r;
	if (result.usable)
		r = probe_platform(platform, &result);
	if (r < 0 || !result.usable) {
		gm_memfd_backend.close(state);
		state = NULL;
	}
	if (r < 0)
		return r;
	*ret_state = state;
	*ret_probe = result;
	return 0;
}

/* ---- the shared half ---- */

void gm_measured_close(struct gm_backend_state *state)
{
	gm_memfd_backend.close(state);
}

int gm_measured_create(struct gm_backend_state *state, const struct gm_backing *want, int *ret_fd,
		       struct gm_refusal *refusal)
{
	if (want->page_size != GM_PAGE_4K)
		return -EINVAL;
	return gm_memfd_backend.create(state, want, ret_fd, refusal);
}

int gm_measured_verify(int fd, uint64_t size, uint64_t page_size)
{
	return gm_memfd_backend.verify(fd, size, page_size);
}

int gm_measured_allocate(int fd, uint64_t offset, uint64_t length)
{
	return gm_memfd_backend.allocate(fd, offset, length);
}

int gm_measured_discard(int fd, uint64_t offset, uint64_t length, uint64_t page_size)
{
	return gm_memfd_backend.discard(fd, offset, length, page_size);
}

int gm_measured_present(int fd, uint64_t offset, uint64_t length, uint64_t page_size,
			uint64_t *ret_bytes)
{
	return gm_memfd_backend.present(fd, offset, length, page_size, ret_bytes);
}

/* ---- the private half ---- */

int gm_measured_private_verify(int fd, uint64_t size)
{
	return gm_is_memory_file(fd, size) && !gm_memory_file_is_mappable(fd) ? 0 : -EBADF;
}

int gm_measured_private_present(int fd, uint64_t offset, uint64_t length, uint64_t page_size,
				uint64_t *ret_bytes)
{
	return gm_guest_memfd_backend.present(fd, offset, length, page_size, ret_bytes);
}
