/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kind "sw-protected": KVM_X86_SW_PROTECTED_VM (Linux 6.8, CONFIG_KVM_SW_PROTECTED_VM). Private
 * pages as the confidential kinds have them, on any processor and without their protection: for
 * development, and for tests of all that is the same everywhere.
 *
 * The shared half is a memfd that gmemd makes, the private half a guest_memfd that the VMM makes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "gm_cleanup.h"
#include "gm_fd.h"
#include "kinds.h"
#include "kvm_ioctl.h"
#include "memory_file.h"

/* Without the MMAP flag nobody can look into it. */
static int private_verify(int fd, uint64_t size)
{
	return gm_is_memory_file(fd, size) && !gm_memory_file_is_mappable(fd) ? 0 : -EBADF;
}

static int private_present(int fd, uint64_t offset, uint64_t length, uint64_t page_size,
			   uint64_t *ret_bytes)
{
	return gm_guest_memfd_backend.present(fd, offset, length, page_size, ret_bytes);
}

static const struct gm_private_half private_half = {
	.vm_type = GM_KVM_VM_TYPE_SW_PROTECTED,
	.memory_flags = 0,
	.verify = private_verify,
	.kind = "guest-memfd",
	.present = private_present,
};

/* Makes a page private on a VM of its own. 0, or -errno and where it ended. */
static int try_private(int kvm, const char **ret_step)
{
	_gm_close_ int vm = -1, memory = -1;

	*ret_step = "creating a VM of this type";
	vm = gm_kvm_create_vm(kvm, GM_KVM_VM_TYPE_SW_PROTECTED);
	if (vm < 0)
		return vm;
	*ret_step = "creating a guest_memfd";
	memory = gm_kvm_create_guest_memfd(vm, GM_PAGE_4K, private_half.memory_flags);
	if (memory < 0)
		return memory;
	*ret_step = "making a page private";
	return gm_kvm_set_attributes(vm, 0, GM_PAGE_4K, GM_KVM_MEMORY_ATTRIBUTE_PRIVATE);
}

static bool is_shortage(int r)
{
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}

static int probe(struct gm_probe *probe)
{
	_gm_close_ int kvm = -1;
	struct utsname host;
	const char *step;
	int r;

	*probe = (struct gm_probe){ 0 };
	r = gm_kvm_device_open(&kvm, probe->reason, sizeof(probe->reason));
	if (r < 0)
		return is_shortage(r) ? r : 0;
	r = try_private(kvm, &step);
	if (is_shortage(r))
		return r;
	(void)uname(&host);
	if (r < 0) {
		(void)snprintf(probe->reason, sizeof(probe->reason),
			       "kernel %.64s (needs 6.8 with KVM_SW_PROTECTED_VM): %s: %s",
			       host.release, step, strerror(-r));
		return 0;
	}
	probe->usable = true;
	probe->caps = GM_CAP_MAPPABLE | GM_CAP_SEALED | GM_CAP_PRIVATE;
	probe->page_sizes = GM_PAGE_4K;
	(void)snprintf(probe->reason, sizeof(probe->reason),
		       "private pages without protection: for development only");
	return 0;
}

static int sw_open(struct gm_backend_state **ret_state, struct gm_probe *ret_probe)
{
	struct gm_backend_state *state;
	struct gm_probe result;
	int r;

	r = gm_memfd_backend.open(&state, &result);
	if (r < 0)
		return r;
	if (result.usable)
		r = probe(&result);
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

static void sw_close(struct gm_backend_state *state)
{
	gm_memfd_backend.close(state);
}

static int sw_create(struct gm_backend_state *state, const struct gm_backing *want, int *ret_fd,
		     struct gm_refusal *refusal)
{
	if (want->page_size != GM_PAGE_4K)
		return -EINVAL;
	return gm_memfd_backend.create(state, want, ret_fd, refusal);
}

static int sw_verify(int fd, uint64_t size, uint64_t page_size)
{
	return gm_memfd_backend.verify(fd, size, page_size);
}

static int sw_allocate(int fd, uint64_t offset, uint64_t length)
{
	return gm_memfd_backend.allocate(fd, offset, length);
}

static int sw_discard(int fd, uint64_t offset, uint64_t length, uint64_t page_size)
{
	return gm_memfd_backend.discard(fd, offset, length, page_size);
}

static int sw_present(int fd, uint64_t offset, uint64_t length, uint64_t page_size,
		      uint64_t *ret_bytes)
{
	return gm_memfd_backend.present(fd, offset, length, page_size, ret_bytes);
}

const struct gm_backend gm_sw_protected_backend = {
	.kind = "sw-protected",
	.private_half = &private_half,
	.open = sw_open,
	.close = sw_close,
	.create = sw_create,
	.verify = sw_verify,
	.allocate = sw_allocate,
	.discard = sw_discard,
	.present = sw_present,
};
