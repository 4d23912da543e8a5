/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm_ioctl.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "gm_cleanup.h"
#include "own_fd.h"

int gm_kvm_api_version(int kvm_fd)
{
	int version = ioctl(kvm_fd, KVM_GET_API_VERSION, 0);

	return version < 0 ? -errno : version;
}

int gm_kvm_check_extension(int fd, unsigned capability)
{
	int value = ioctl(fd, KVM_CHECK_EXTENSION, (unsigned long)capability);

	return value < 0 ? -errno : value;
}

int gm_kvm_create_vm(int kvm_fd, unsigned long type)
{
	int fd;

	/* kvm_create_vm starts a kernel thread and gives up with EINTR when a signal comes. */
	do {
		fd = ioctl(kvm_fd, KVM_CREATE_VM, type);
	} while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : gm_own_fd(fd);
}

int gm_kvm_create_guest_memfd(int vm_fd, uint64_t size, uint64_t flags)
{
	struct gm_kvm_create_guest_memfd args = { .size = size, .flags = flags };
	_gm_close_ int fd = ioctl(vm_fd, GM_KVM_CREATE_GUEST_MEMFD, &args);

	/* __kvm_gmem_create asks for no O_CLOEXEC: it is set before anybody sees the fd. */
	if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return gm_own_fd(gm_take_fd(&fd));
}

int gm_kvm_set_attributes(int vm_fd, uint64_t address, uint64_t size, uint64_t attributes)
{
	struct gm_kvm_memory_attributes args = {
		.address = address,
		.size = size,
		.attributes = attributes,
	};

	return ioctl(vm_fd, GM_KVM_SET_MEMORY_ATTRIBUTES, &args) < 0 ? -errno : 0;
}

/* An offset that is not in the range, or not of a page, says nothing: the range as such is held. */
static uint64_t held_at(const struct gm_kvm_memory_attributes2 *args, uint64_t offset)
{
	uint64_t at = args->error_offset;

	if (at < offset || at - offset >= args->size || !gm_is_aligned(at, GM_PAGE_4K))
		return offset;
	return at;
}

int gm_kvm_convert(int memory_fd, uint64_t offset, uint64_t size, uint64_t attributes,
		   uint64_t *ret_offset)
{
	struct gm_kvm_memory_attributes2 args = {
		.offset = offset,
		.size = size,
		.attributes = attributes,
	};
	int r;

	do {
		r = ioctl(memory_fd, GM_KVM_SET_MEMORY_ATTRIBUTES2, &args);
	} while (r < 0 && errno == EINTR);
	if (r == 0)
		return 0;
	r = -errno;
	if (r == -EAGAIN)
		*ret_offset = held_at(&args, offset);
	return r;
}

int gm_kvm_encrypt_op(int vm_fd, void *envelope)
{
	return ioctl(vm_fd, KVM_MEMORY_ENCRYPT_OP, envelope) < 0 ? -errno : 0;
}

int gm_kvm_pin(int vm_fd, const void *at, uint64_t size)
{
	const struct kvm_enc_region region = { .addr = (uintptr_t)at, .size = size };

	return ioctl(vm_fd, KVM_MEMORY_ENCRYPT_REG_REGION, &region) < 0 ? -errno : 0;
}

int gm_kvm_create_vcpu(int vm_fd, unsigned long id)
{
	int fd = ioctl(vm_fd, KVM_CREATE_VCPU, id);

	return fd < 0 ? -errno : gm_own_fd(fd);
}

int gm_kvm_get_sregs(int vcpu_fd, struct kvm_sregs *ret_sregs)
{
	return ioctl(vcpu_fd, KVM_GET_SREGS, ret_sregs) < 0 ? -errno : 0;
}

int gm_kvm_set_sregs(int vcpu_fd, const struct kvm_sregs *sregs)
{
	return ioctl(vcpu_fd, KVM_SET_SREGS, sregs) < 0 ? -errno : 0;
}

int gm_kvm_set_regs(int vcpu_fd, const struct kvm_regs *regs)
{
	return ioctl(vcpu_fd, KVM_SET_REGS, regs) < 0 ? -errno : 0;
}

bool gm_kvm_is_shortage(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}
