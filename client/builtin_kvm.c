/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest_memfd for a process without a daemon. The numbers are those of the kernel's include/uapi/
 * linux/kvm.h; distribution headers may be older than guest_memfd.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "builtin.h"
#include "gm_cleanup.h"

#define GM_KVM_CREATE_VM _IO(0xAE, 0x01)
#define GM_KVM_CHECK_EXTENSION _IO(0xAE, 0x03)
#define GM_KVM_CAP_GUEST_MEMFD 234
#define GM_KVM_CAP_GUEST_MEMFD_FLAGS 244
#define GM_KVM_GUEST_MEMFD_MMAP (UINT64_C(1) << 0)
#define GM_KVM_GUEST_MEMFD_INIT_SHARED (UINT64_C(1) << 1)
#define GM_KVM_GUEST_MEMFD_SHARED (GM_KVM_GUEST_MEMFD_MMAP | GM_KVM_GUEST_MEMFD_INIT_SHARED)

struct gm_kvm_create_guest_memfd {
	uint64_t size;
	uint64_t flags;
	uint64_t reserved[6];
};
#define GM_KVM_CREATE_GUEST_MEMFD _IOWR(0xAE, 0xd4, struct gm_kvm_create_guest_memfd)

_Static_assert(sizeof(struct gm_kvm_create_guest_memfd) == 64, "layout of the kernel's ABI");

int gm_builtin_kvm_open(int *ret_fd)
{
	/* Every ioctl of /dev/kvm works on a read-only fd: kvm_dev_ioctl asks for no mode. */
	int fd = open("/dev/kvm", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int gm_builtin_carrier_open(int *ret_fd, const char **ret_why)
{
	_gm_close_ int kvm_fd = -1;
	_gm_close_ int vm_fd = -1;
	int r;

	r = gm_builtin_kvm_open(&kvm_fd);
	if (r < 0) {
		*ret_why = r == -EACCES ? "no permission to open /dev/kvm" : "no usable /dev/kvm";
		return r;
	}
	vm_fd = ioctl(kvm_fd, GM_KVM_CREATE_VM, 0);
	if (vm_fd < 0) {
		*ret_why = "KVM makes no VM";
		return -errno;
	}
	if (ioctl(vm_fd, GM_KVM_CHECK_EXTENSION, GM_KVM_CAP_GUEST_MEMFD) <= 0) {
		*ret_why = "KVM has no guest_memfd for ordinary VMs (Linux 6.18 has)";
		return -EOPNOTSUPP;
	}
	r = ioctl(vm_fd, GM_KVM_CHECK_EXTENSION, GM_KVM_CAP_GUEST_MEMFD_FLAGS);
	if (r < 0 || ((uint64_t)r & GM_KVM_GUEST_MEMFD_SHARED) != GM_KVM_GUEST_MEMFD_SHARED) {
		*ret_why = "KVM's guest_memfd cannot be mapped (Linux 6.18 can)";
		return -EOPNOTSUPP;
	}
	*ret_fd = gm_take_fd(&vm_fd);
	return 0;
}

int gm_builtin_guest_memfd(int carrier_fd, uint64_t size, int *ret_fd)
{
	struct gm_kvm_create_guest_memfd args = {
		.size = size,
		.flags = GM_KVM_GUEST_MEMFD_SHARED,
	};
	_gm_close_ int fd = ioctl(carrier_fd, GM_KVM_CREATE_GUEST_MEMFD, &args);

	if (fd < 0)
		return -errno;
	/* kvm_gmem_create makes it without O_CLOEXEC. */
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	*ret_fd = gm_take_fd(&fd);
	return 0;
}
