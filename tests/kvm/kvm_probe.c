/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

void probe_needs_guest_memfd(void)
{
	char why[128];
	int kvm = open("/dev/kvm", O_RDONLY | O_CLOEXEC);
	int flags;

	if (kvm < 0) {
		(void)snprintf(why, sizeof(why), "/dev/kvm: %s", strerror(errno));
		gm_test_skip_all(why);
	}
	flags = ioctl(kvm, KVM_CHECK_EXTENSION, GM_KVM_CAP_GUEST_MEMFD_FLAGS);
	(void)close(kvm);
	if (flags < 0 || ((uint64_t)flags & MAPPED_SHARED) != MAPPED_SHARED)
		gm_test_skip_all("no mappable guest_memfd in this kernel (needs 6.18)");
}

int probe_open_kvm(void)
{
	int kvm = open("/dev/kvm", O_RDONLY | O_CLOEXEC);

	assert_true(kvm >= 0);
	return kvm;
}

int probe_create_vm(void)
{
	int kvm = probe_open_kvm();
	int vm = ioctl(kvm, KVM_CREATE_VM, GM_KVM_VM_TYPE_DEFAULT);

	assert_true(vm >= 0);
	assert_int_equal(close(kvm), 0);
	return vm;
}

int probe_create_gmem(int vm, uint64_t size, uint64_t flags)
{
	struct gm_kvm_create_guest_memfd args = { .size = size, .flags = flags };
	int fd = ioctl(vm, GM_KVM_CREATE_GUEST_MEMFD, &args);

	return fd < 0 ? -errno : fd;
}

int probe_gmem(uint64_t n_pages)
{
	int vm = probe_create_vm();
	int fd = probe_create_gmem(vm, n_pages * GM_PAGE_4K, MAPPED_SHARED);

	assert_true(fd >= 0);
	assert_int_equal(close(vm), 0);
	return fd;
}

int probe_child(unsigned uid, int (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (uid != 0 && geteuid() == 0 &&
		    (setgroups(0, NULL) < 0 || setgid(uid) < 0 || setuid(uid) < 0))
			_exit(99);
		_exit(fn(arg));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}
