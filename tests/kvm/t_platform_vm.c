/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose a VM is, and what is left to others. Facts of kvm_vm_ioctl and kvm_gmem_bind, Linux 6.18.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm_probe.h"

static int answer(int r)
{
	return r < 0 ? errno : 0;
}

static int asks_for_an_extension(void *arg)
{
	return answer(ioctl(*(int *)arg, KVM_CHECK_EXTENSION, GM_KVM_CAP_GUEST_MEMFD));
}

static int makes_a_gmem(void *arg)
{
	return -probe_create_gmem(*(int *)arg, GM_PAGE_4K, MAPPED_SHARED);
}

static int makes_a_vcpu(void *arg)
{
	return answer(ioctl(*(int *)arg, KVM_CREATE_VCPU, 0UL));
}

static int issues_nonsense(void *arg)
{
	return answer(ioctl(*(int *)arg, _IO(KVMIO, 0xff), 0));
}

/* kvm->mm is compared before the request is looked at, and root is no exception. */
static void a_forked_child_gets_eio_for_every_vm_request(void **state)
{
	int vm = probe_create_vm();

	(void)state;
	assert_int_equal(probe_child(0, asks_for_an_extension, &vm), EIO);
	assert_int_equal(probe_child(0, makes_a_gmem, &vm), EIO);
	assert_int_equal(probe_child(0, makes_a_vcpu, &vm), EIO);
	assert_int_equal(probe_child(0, issues_nonsense, &vm), EIO);
	assert_int_equal(close(vm), 0);
}

static int creates_a_vm(void *arg)
{
	return answer(ioctl(*(int *)arg, KVM_CREATE_VM, GM_KVM_VM_TYPE_DEFAULT));
}

/* The VM is the caller's, not the opener's: so /dev/kvm can be opened for somebody else. */
static void an_fd_of_the_device_opened_read_only_by_root_makes_vms_for_anybody(void **state)
{
	int kvm = probe_open_kvm();

	(void)state;
	assert_int_equal(probe_child(65534, creates_a_vm, &kvm), 0);
	assert_int_equal(close(kvm), 0);
}

static int fills_and_punches(void *arg)
{
	int fd = *(int *)arg;

	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, GM_PAGE_4K) < 0)
		return 1;
	return fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, GM_PAGE_4K) < 0;
}

/* The fd is full power: no VM request is needed to fill or to empty it. */
static void any_holder_fills_and_punches_after_the_vm_is_closed(void **state)
{
	int fd = probe_gmem(1);

	(void)state;
	assert_int_equal(probe_child(65534, fills_and_punches, &fd), 0);
	assert_int_equal(close(fd), 0);
}

static int bind_gmem(int vm, int fd)
{
	struct memory_region2 region = {
		.flags = MEM_GUEST_MEMFD,
		.memory_size = GM_PAGE_4K,
		.guest_memfd = (uint32_t)fd,
	};

	return answer(ioctl(vm, SET_USER_MEMORY_REGION2, &region));
}

/* So a daemon's guest_memfd reaches another VM by its mapping only. */
static void a_guest_memfd_binds_to_the_vm_that_made_it_and_to_no_other(void **state)
{
	int vm = probe_create_vm(), other = probe_create_vm();
	int fd = probe_create_gmem(vm, GM_PAGE_4K, MAPPED_SHARED);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(bind_gmem(other, fd), EINVAL);
	assert_int_equal(bind_gmem(vm, fd), 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(close(other), 0);
	assert_int_equal(close(vm), 0);
}

static void its_mapping_is_ordinary_memory_to_another_vm(void **state)
{
	int fd = probe_gmem(4), vm = probe_create_vm();
	void *map = mmap(NULL, 4 * GM_PAGE_4K, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct kvm_userspace_memory_region region = {
		.memory_size = 4 * GM_PAGE_4K,
		.userspace_addr = (uintptr_t)map,
	};

	(void)state;
	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	assert_int_equal(close(vm), 0);
	assert_int_equal(munmap(map, 4 * GM_PAGE_4K), 0);
	assert_int_equal(close(fd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_forked_child_gets_eio_for_every_vm_request),
		gm_test(an_fd_of_the_device_opened_read_only_by_root_makes_vms_for_anybody),
		gm_test(any_holder_fills_and_punches_after_the_vm_is_closed),
		gm_test(a_guest_memfd_binds_to_the_vm_that_made_it_and_to_no_other),
		gm_test(its_mapping_is_ordinary_memory_to_another_vm),
	};

	probe_needs_guest_memfd();
	return gm_test_run("whose a VM is", tests, GM_ARRAY_SIZE(tests));
}
