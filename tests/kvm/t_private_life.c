/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What private memory costs and how long its VM lives: who is charged, what gives it back, and
 * that the last holder of a guest_memfd keeps the VM. Facts of kvm_gmem_release and
 * kvm_gmem_fallocate, Linux 6.12, seen in cgroup v2 and in KVM's debugfs.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "private_vm.h"

#define SIZE (64 * GM_MIB)
/* Charges are taken from a processor's stock, and page tables are charged too. */
#define SLACK (2 * GM_MIB)
#define GROUP "/sys/fs/cgroup/gm-private"
#define DEBUGFS "/sys/kernel/debug/kvm"
#define NO_GROUP 78

/* Everything this process has been charged for, in its group of one. */
static uint64_t charged(void)
{
	char text[32] = "";
	int fd = open(GROUP "/memory.current", O_RDONLY | O_CLOEXEC);

	assert_return_code(fd, errno);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	assert_int_equal(close(fd), 0);
	return strtoull(text, NULL, 10);
}

static bool about(uint64_t got, uint64_t want)
{
	if (got <= want + SLACK && want <= got + SLACK)
		return true;
	(void)fprintf(stderr, "%llu bytes charged, not about %llu\n", (unsigned long long)got,
		      (unsigned long long)want);
	return false;
}

static bool enter_group(void)
{
	int fd = open(GROUP "/cgroup.procs", O_WRONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0 || access(GROUP "/memory.current", R_OK) < 0)
		return false;
	ok = write(fd, "0", 1) == 1;
	(void)close(fd);
	return ok;
}

/* Runs @fn in a process of its own that is charged to the group alone. */
static void in_a_group(int (*fn)(void *arg))
{
	int r;

	if (mkdir(GROUP, 0755) < 0 || access(GROUP "/memory.current", R_OK) < 0) {
		(void)rmdir(GROUP);
		print_message("no memory controller in cgroup v2 here\n");
		skip();
	}
	r = probe_child(0, fn, NULL);
	assert_return_code(rmdir(GROUP), errno);
	assert_int_equal(r, 0);
}

static int allocates_and_punches(void *arg)
{
	struct private_vm vm;
	uint64_t before;

	(void)arg;
	if (!enter_group())
		return NO_GROUP;
	private_vm_open(&vm, SIZE);
	before = charged();
	assert_return_code(fallocate(vm.gmem, FALLOC_FL_KEEP_SIZE, 0, SIZE), errno);
	if (!about(charged(), before + SIZE))
		return 1;
	private_vm_punch(&vm, 0, SIZE / 2);
	if (!about(charged(), before + SIZE / 2))
		return 2;
	private_vm_close(&vm);
	return about(charged(), before) ? 0 : 3;
}

static void private_pages_are_charged_when_allocated_and_given_back_when_punched(void **state)
{
	(void)state;
	in_a_group(allocates_and_punches);
}

static int converts_and_back(void *arg)
{
	struct private_vm vm;
	uint64_t before;

	(void)arg;
	if (!enter_group())
		return NO_GROUP;
	private_vm_open(&vm, SIZE);
	before = charged();
	for (uint64_t gpa = SIZE / 2; gpa < SIZE; gpa += GM_PAGE_4K)
		vm.shared[gpa] = 1;
	private_vm_convert(&vm, SIZE / 2, SIZE / 2, true);
	for (uint64_t gpa = SIZE / 2; gpa < SIZE; gpa += GM_PAGE_4K) {
		if (private_vm_write(&vm, gpa, 2) != KVM_EXIT_HLT)
			return 1;
	}
	/* Both halves are there: a conversion alone frees nothing. */
	if (!about(charged(), before + SIZE))
		return 2;
	if (madvise(vm.shared + SIZE / 2, SIZE / 2, MADV_REMOVE) < 0)
		return 3;
	if (!about(charged(), before + SIZE / 2))
		return 4;
	private_vm_convert(&vm, SIZE / 2, SIZE / 2, false);
	if (!about(charged(), before + SIZE / 2))
		return 5;
	private_vm_punch(&vm, SIZE / 2, SIZE / 2);
	if (!about(charged(), before))
		return 6;
	private_vm_close(&vm);
	return 0;
}

/* So a converted page costs twice until somebody frees the half that is not seen. */
static void a_conversion_frees_neither_half(void **state)
{
	(void)state;
	in_a_group(converts_and_back);
}

/* The VMs of this process that KVM knows: their folders are named PID-FD. */
static unsigned count_vms(void)
{
	char prefix[32];
	struct dirent *entry;
	unsigned n = 0;
	DIR *dir = opendir(DEBUGFS);

	assert_non_null(dir);
	(void)snprintf(prefix, sizeof(prefix), "%d-", (int)getpid());
	while ((entry = readdir(dir)) != NULL)
		n += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
	assert_int_equal(closedir(dir), 0);
	return n;
}

static void needs_debugfs(void)
{
	if (access(DEBUGFS, R_OK) < 0) {
		print_message("%s: %s\n", DEBUGFS, strerror(errno));
		skip();
	}
}

/* Why the fd must be closed when the VMM dies: it keeps what the VM holds, above all its key. */
static void a_guest_memfd_keeps_its_vm_alive_until_the_last_of_it_is_closed(void **state)
{
	struct private_vm vm;
	int gmem;

	(void)state;
	needs_debugfs();
	private_vm_open(&vm, GM_MIB);
	assert_int_equal(count_vms(), 1);
	gmem = fcntl(vm.gmem, F_DUPFD_CLOEXEC, 3);
	assert_return_code(gmem, errno);
	private_vm_close(&vm);
	assert_int_equal(count_vms(), 1);
	assert_int_equal(close(gmem), 0);
	assert_int_equal(count_vms(), 0);
}

static void a_closed_guest_memfd_does_not_keep_its_vm(void **state)
{
	struct private_vm vm;

	(void)state;
	needs_debugfs();
	private_vm_open(&vm, GM_MIB);
	private_vm_close(&vm);
	assert_int_equal(count_vms(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(private_pages_are_charged_when_allocated_and_given_back_when_punched),
		gm_test(a_conversion_frees_neither_half),
		gm_test(a_guest_memfd_keeps_its_vm_alive_until_the_last_of_it_is_closed),
		gm_test(a_closed_guest_memfd_does_not_keep_its_vm),
	};

	private_vm_needed();
	return gm_test_run("the life of private memory", tests, GM_ARRAY_SIZE(tests));
}
