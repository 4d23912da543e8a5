/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest_memfd of any kind, on any kernel since 6.8: what may be bound to a memslot, and what is
 * left of it without its VM. The rules of the kernel's own set_memory_region_test, and
 * kvm_gmem_bind; on Linux 6.12 in VMs with private memory, since 6.18 in ordinary ones too.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvm_probe.h"

#define PAGE GM_PAGE_4K
#define N_PAGES 16

static unsigned long vm_type;

struct subject {
	int vm;
	int gmem;
	void *map; /* what a slot must name for its shared pages */
};

static int create_vm(void)
{
	int kvm = probe_open_kvm();
	int vm = ioctl(kvm, KVM_CREATE_VM, vm_type);

	assert_return_code(vm, errno);
	assert_int_equal(close(kvm), 0);
	return vm;
}

static struct subject open_subject(void)
{
	struct subject s = { .vm = create_vm() };

	s.gmem = probe_create_gmem(s.vm, N_PAGES * PAGE, 0);
	assert_true(s.gmem >= 0);
	s.map = mmap(NULL, N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	assert_ptr_not_equal(s.map, MAP_FAILED);
	return s;
}

static void close_subject(const struct subject *s)
{
	assert_int_equal(munmap(s->map, N_PAGES * PAGE), 0);
	assert_int_equal(close(s->gmem), 0);
	assert_int_equal(close(s->vm), 0);
}

static struct memory_region2 slot_of(const struct subject *s)
{
	return (struct memory_region2){
		.flags = MEM_GUEST_MEMFD,
		.memory_size = N_PAGES * PAGE,
		.userspace_addr = (uintptr_t)s->map,
		.guest_memfd = (uint32_t)s->gmem,
	};
}

static int set_slot(int vm, const struct memory_region2 *slot)
{
	return ioctl(vm, SET_USER_MEMORY_REGION2, slot) < 0 ? errno : 0;
}

static void an_fd_that_is_no_guest_memfd_of_this_vm_is_einval(void **state)
{
	struct subject s = open_subject(), other = open_subject();
	struct memory_region2 slot = slot_of(&s);
	int kvm = probe_open_kvm();
	int memfd = memfd_create("ordinary", MFD_CLOEXEC);
	const int bad[] = { kvm, s.vm, memfd, other.gmem };

	(void)state;
	assert_return_code(memfd, errno);
	for (size_t i = 0; i < GM_ARRAY_SIZE(bad); i++) {
		slot.guest_memfd = (uint32_t)bad[i];
		assert_int_equal(set_slot(s.vm, &slot), EINVAL);
	}
	slot.guest_memfd = 1000000;
	assert_int_equal(set_slot(s.vm, &slot), EBADF);
	assert_int_equal(close(memfd), 0);
	assert_int_equal(close(kvm), 0);
	close_subject(&other);
	close_subject(&s);
}

static void a_part_that_is_not_of_the_file_is_einval(void **state)
{
	struct subject s = open_subject();
	struct memory_region2 slot = slot_of(&s);

	(void)state;
	slot.memory_size = PAGE;
	slot.guest_memfd_offset = 1;
	assert_int_equal(set_slot(s.vm, &slot), EINVAL);
	slot.guest_memfd_offset = N_PAGES * PAGE;
	assert_int_equal(set_slot(s.vm, &slot), EINVAL);
	slot.guest_memfd_offset = 0 - PAGE;
	assert_int_equal(set_slot(s.vm, &slot), EINVAL);
	slot.guest_memfd_offset = (N_PAGES - 1) * PAGE;
	assert_int_equal(set_slot(s.vm, &slot), 0);
	close_subject(&s);
}

static void a_slot_with_a_dirty_log_or_read_only_is_einval(void **state)
{
	struct subject s = open_subject();
	struct memory_region2 slot = slot_of(&s);

	(void)state;
	slot.flags = MEM_GUEST_MEMFD | KVM_MEM_LOG_DIRTY_PAGES;
	assert_int_equal(set_slot(s.vm, &slot), EINVAL);
	slot.flags = MEM_GUEST_MEMFD | KVM_MEM_READONLY;
	assert_int_equal(set_slot(s.vm, &slot), EINVAL);
	slot.flags = MEM_GUEST_MEMFD | 1U << 3;
	assert_int_equal(set_slot(s.vm, &slot), EINVAL);
	close_subject(&s);
}

static void the_older_request_does_not_know_the_flag(void **state)
{
	struct subject s = open_subject();
	struct kvm_userspace_memory_region slot = {
		.flags = MEM_GUEST_MEMFD,
		.memory_size = N_PAGES * PAGE,
		.userspace_addr = (uintptr_t)s.map,
	};

	(void)state;
	assert_int_equal(ioctl(s.vm, KVM_SET_USER_MEMORY_REGION, &slot), -1);
	assert_int_equal(errno, EINVAL);
	close_subject(&s);
}

static void one_file_backs_several_slots_with_a_part_of_it_each(void **state)
{
	struct subject s = open_subject();
	struct memory_region2 slot = slot_of(&s);

	(void)state;
	slot.memory_size = N_PAGES / 2 * PAGE;
	assert_int_equal(set_slot(s.vm, &slot), 0);
	slot.slot = 1;
	slot.guest_phys_addr = GM_GIB;
	slot.guest_memfd_offset = N_PAGES / 2 * PAGE;
	assert_int_equal(set_slot(s.vm, &slot), 0);
	close_subject(&s);
}

/* EINVAL up to 7.1, EEXIST since 7.2: who asks must take both for the same. */
static void a_part_is_bound_once_at_a_time(void **state)
{
	struct subject s = open_subject();
	struct memory_region2 slot = slot_of(&s);
	int error;

	(void)state;
	slot.memory_size = N_PAGES / 2 * PAGE;
	slot.guest_memfd_offset = N_PAGES / 4 * PAGE;
	assert_int_equal(set_slot(s.vm, &slot), 0);
	for (unsigned part = 0; part <= N_PAGES / 2; part += N_PAGES / 2) {
		slot.slot = 1 + part;
		slot.guest_phys_addr = GM_GIB * (1 + part);
		slot.guest_memfd_offset = part * PAGE;
		error = set_slot(s.vm, &slot);
		assert_true(error == EINVAL || error == EEXIST);
	}

	/* Free again with its slot. */
	slot = slot_of(&s);
	slot.memory_size = 0;
	assert_int_equal(set_slot(s.vm, &slot), 0);
	slot.memory_size = N_PAGES * PAGE;
	assert_int_equal(set_slot(s.vm, &slot), 0);
	close_subject(&s);
}

static void guest_addresses_that_a_slot_has_are_eexist(void **state)
{
	struct subject s = open_subject();
	struct memory_region2 slot = slot_of(&s);

	(void)state;
	slot.memory_size = PAGE;
	assert_int_equal(set_slot(s.vm, &slot), 0);
	slot.slot = 1;
	slot.guest_memfd_offset = PAGE;
	assert_int_equal(set_slot(s.vm, &slot), EEXIST);
	close_subject(&s);
}

static void a_bound_slot_is_deleted_and_never_changed(void **state)
{
	struct subject s = open_subject();
	struct memory_region2 slot = slot_of(&s);

	(void)state;
	assert_int_equal(set_slot(s.vm, &slot), 0);
	slot.guest_phys_addr = GM_GIB;
	assert_int_equal(set_slot(s.vm, &slot), EINVAL);
	slot.memory_size = 0;
	assert_int_equal(set_slot(s.vm, &slot), 0);
	close_subject(&s);
}

static void a_slot_number_beyond_the_last_is_einval(void **state)
{
	struct subject s = open_subject();
	struct memory_region2 slot = slot_of(&s);
	int n_slots = ioctl(s.vm, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);

	(void)state;
	assert_true(n_slots > 0);
	slot.slot = (uint32_t)n_slots;
	assert_int_equal(set_slot(s.vm, &slot), EINVAL);
	slot.slot = (uint32_t)n_slots - 1;
	assert_int_equal(set_slot(s.vm, &slot), 0);
	close_subject(&s);
}

static void two_of_them_have_their_own_size_and_inode(void **state)
{
	struct subject s = open_subject();
	int other = probe_create_gmem(s.vm, PAGE, 0);
	struct stat first, second;

	(void)state;
	assert_true(other >= 0);
	assert_return_code(fstat(s.gmem, &first), errno);
	assert_return_code(fstat(other, &second), errno);
	assert_int_equal(first.st_size, N_PAGES * PAGE);
	assert_int_equal(second.st_size, PAGE);
	assert_int_equal(first.st_blksize, PAGE);
	assert_int_not_equal(first.st_ino, second.st_ino);
	assert_int_equal(close(other), 0);
	close_subject(&s);
}

static void without_the_flag_it_cannot_be_mapped_read_or_written(void **state)
{
	struct subject s = open_subject();
	char byte = 0;

	(void)state;
	assert_ptr_equal(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, s.gmem, 0), MAP_FAILED);
	assert_int_equal(errno, ENODEV);
	assert_ptr_equal(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, s.gmem, 0), MAP_FAILED);
	assert_int_equal(read(s.gmem, &byte, 1), -1);
	assert_int_equal(write(s.gmem, &byte, 1), -1);
	assert_int_equal(pread(s.gmem, &byte, 1, 0), -1);
	assert_int_equal(pwrite(s.gmem, &byte, 1, 0), -1);
	close_subject(&s);
}

static int allocate(int fd, int mode, uint64_t offset, uint64_t size)
{
	return fallocate(fd, FALLOC_FL_KEEP_SIZE | mode, (off_t)offset, (off_t)size) < 0 ? errno
											 : 0;
}

static void it_is_filled_and_punched_in_pages_with_and_without_its_vm(void **state)
{
	struct subject s = open_subject();

	(void)state;
	assert_int_equal(close(s.vm), 0);
	assert_int_equal(allocate(s.gmem, 0, 0, N_PAGES * PAGE), 0);
	assert_int_equal(allocate(s.gmem, FALLOC_FL_PUNCH_HOLE, PAGE, PAGE), 0);
	assert_int_equal(allocate(s.gmem, 0, PAGE, PAGE), 0);
	assert_int_equal(allocate(s.gmem, 0, PAGE - 1, PAGE), EINVAL);
	assert_int_equal(allocate(s.gmem, 0, 0, PAGE - 1), EINVAL);
	assert_int_equal(allocate(s.gmem, 0, N_PAGES * PAGE, PAGE), EINVAL);
	assert_int_equal(allocate(s.gmem, FALLOC_FL_PUNCH_HOLE, 1, PAGE), EINVAL);
	assert_int_equal(allocate(s.gmem, FALLOC_FL_PUNCH_HOLE, 0, PAGE + 1), EINVAL);
	assert_int_equal(allocate(s.gmem, FALLOC_FL_PUNCH_HOLE, N_PAGES * PAGE, PAGE), 0);
	s.vm = create_vm();
	close_subject(&s);
}

/* The type of VM that has guest_memfd here, or the end of the program. */
static unsigned long type_with_guest_memfd(void)
{
	char why[128];
	int kvm = open("/dev/kvm", O_RDONLY | O_CLOEXEC);
	int types, has;

	if (kvm < 0) {
		(void)snprintf(why, sizeof(why), "/dev/kvm: %s", strerror(errno));
		gm_test_skip_all(why);
	}
	types = ioctl(kvm, KVM_CHECK_EXTENSION, CAP_VM_TYPES);
	has = ioctl(kvm, KVM_CHECK_EXTENSION, GM_KVM_CAP_GUEST_MEMFD);
	(void)close(kvm);
	if (types > 0 && types & 1 << SW_PROTECTED_VM)
		return SW_PROTECTED_VM;
	if (has <= 0)
		gm_test_skip_all("no VM of this kernel has guest_memfd");
	return GM_KVM_VM_TYPE_DEFAULT;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(an_fd_that_is_no_guest_memfd_of_this_vm_is_einval),
		gm_test(a_part_that_is_not_of_the_file_is_einval),
		gm_test(a_slot_with_a_dirty_log_or_read_only_is_einval),
		gm_test(the_older_request_does_not_know_the_flag),
		gm_test(one_file_backs_several_slots_with_a_part_of_it_each),
		gm_test(a_part_is_bound_once_at_a_time),
		gm_test(guest_addresses_that_a_slot_has_are_eexist),
		gm_test(a_bound_slot_is_deleted_and_never_changed),
		gm_test(a_slot_number_beyond_the_last_is_einval),
		gm_test(two_of_them_have_their_own_size_and_inode),
		gm_test(without_the_flag_it_cannot_be_mapped_read_or_written),
		gm_test(it_is_filled_and_punched_in_pages_with_and_without_its_vm),
	};

	vm_type = type_with_guest_memfd();
	return gm_test_run("guest_memfd and memslots", tests, GM_ARRAY_SIZE(tests));
}
