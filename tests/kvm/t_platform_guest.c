/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole chain at its smallest: the daemon's side makes a guest_memfd through the backend and
 * opens /dev/kvm read-only; an unprivileged process runs a guest in that memory. x86-64 only.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend.h"
#include "gm_fd.h"
#include "kvm_probe.h"

#define GUEST_SIZE (16 * GM_PAGE_4K)
#define CODE_AT 0x1000
#define COUNTER_AT 0x2000
#define OUT_PORT 0xe9
#define ROUNDS 200

/*
 * 16-bit real mode, cs = ds = 0:
 *	again:	incw [0x2000]
 *		mov $'g', %al
 *		out %al, $0xe9
 *		cmpw $200, [0x2000]
 *		jne again
 *		hlt
 */
static const unsigned char guest_code[] = {
	0xff, 0x06, 0x00, 0x20, 0xb0, 0x67, 0xe6, 0xe9, 0x81,
	0x3e, 0x00, 0x20, 0xc8, 0x00, 0x75, 0xf0, 0xf4,
};

struct chain {
	int kvm;
	int memory;
	unsigned start; /* value of the counter that the guest must find */
	bool dies;	/* the VMM is killed half way */
};

static int set_registers(int vcpu)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rip = CODE_AT, .rflags = 2 };

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	sregs.ds.base = 0;
	sregs.ds.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0)
		return -1;
	return ioctl(vcpu, KVM_SET_REGS, &regs);
}

/* 0: the guest halted. *ret_output: how many characters it printed. */
static int run(int vcpu, struct kvm_run *run_page, const struct chain *chain, unsigned *ret_output)
{
	*ret_output = 0;
	for (;;) {
		if (ioctl(vcpu, KVM_RUN, 0) < 0) {
			if (errno == EINTR)
				continue;
			return 10;
		}
		if (run_page->exit_reason == KVM_EXIT_HLT)
			return 0;
		if (run_page->exit_reason != KVM_EXIT_IO || run_page->io.port != OUT_PORT)
			return 11;
		if (*((const char *)run_page + run_page->io.data_offset) != 'g')
			return 12;
		if (++*ret_output == ROUNDS / 2 && chain->dies)
			(void)raise(SIGKILL);
	}
}

static int make_vcpu(int kvm, void *memory, int *ret_vcpu, struct kvm_run **ret_run)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = GUEST_SIZE,
		.userspace_addr = (uintptr_t)memory,
	};
	int vm = ioctl(kvm, KVM_CREATE_VM, GM_KVM_VM_TYPE_DEFAULT);
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	void *map;

	if (vm < 0 || size < 0 || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return 20;
	*ret_vcpu = ioctl(vm, KVM_CREATE_VCPU, 0UL);
	if (*ret_vcpu < 0)
		return 21;
	map = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, *ret_vcpu, 0);
	if (map == MAP_FAILED || set_registers(*ret_vcpu) < 0)
		return 22;
	*ret_run = map;
	return 0;
}

/* An unprivileged VMM: it has two fds and nothing else. */
static int vmm(void *arg)
{
	const struct chain *chain = arg;
	struct kvm_run *run_page;
	unsigned char *memory;
	unsigned output;
	int vcpu, r;

	if (geteuid() == 0)
		return 30;
	memory = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, chain->memory, 0);
	if (memory == MAP_FAILED || memory[COUNTER_AT] != chain->start)
		return 31;
	memcpy(memory + CODE_AT, guest_code, sizeof(guest_code));
	r = make_vcpu(chain->kvm, memory, &vcpu, &run_page);
	if (r)
		return r;
	r = run(vcpu, run_page, chain, &output);
	if (r)
		return r;
	return output == ROUNDS - chain->start ? 0 : 32;
}

static int make_memory(void)
{
	const struct gm_backend *backend = gm_backend_find("guest-memfd");
	const struct gm_backing want = {
		.size = GUEST_SIZE,
		.page_size = GM_PAGE_4K,
		.name = "ram",
	};
	struct gm_backend_state *state;
	struct gm_probe probe;
	int fd = -1;

	assert_int_equal(backend->open(&state, &probe), 0);
	assert_true(probe.usable);
	assert_int_equal(backend->create(state, &want, &fd, NULL), 0);
	/* The carrier is not needed by memory that is there. */
	backend->close(state);
	return fd;
}

static unsigned counter_in(int fd)
{
	unsigned char *map = mmap(NULL, GUEST_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	unsigned counter;

	assert_ptr_not_equal(map, MAP_FAILED);
	counter = map[COUNTER_AT];
	assert_int_equal(munmap(map, GUEST_SIZE), 0);
	return counter;
}

static struct chain make_chain(void)
{
	struct chain chain = { .memory = make_memory() };
	char reason[GM_TEXT_MAX];

	assert_int_equal(gm_kvm_device_open(&chain.kvm, reason, sizeof(reason)), 0);
	return chain;
}

static void an_unprivileged_vmm_runs_a_guest_in_the_daemons_guest_memfd(void **state)
{
	struct chain chain = make_chain();

	(void)state;
	assert_int_equal(probe_child(65534, vmm, &chain), 0);
	assert_int_equal(counter_in(chain.memory), ROUNDS);
	gm_fd_close(chain.kvm);
	gm_fd_close(chain.memory);
}

static void a_killed_vmm_leaves_the_memory_and_the_next_one_goes_on_from_it(void **state)
{
	struct chain chain = make_chain();

	(void)state;
	chain.dies = true;
	assert_int_equal(probe_child(65534, vmm, &chain), -SIGKILL);
	chain.start = counter_in(chain.memory);
	assert_int_equal(chain.start, ROUNDS / 2);
	chain.dies = false;
	assert_int_equal(probe_child(65534, vmm, &chain), 0);
	assert_int_equal(counter_in(chain.memory), ROUNDS);
	gm_fd_close(chain.kvm);
	gm_fd_close(chain.memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(an_unprivileged_vmm_runs_a_guest_in_the_daemons_guest_memfd),
		gm_test(a_killed_vmm_leaves_the_memory_and_the_next_one_goes_on_from_it),
	};

	if (geteuid() != 0)
		gm_test_skip_all("needs root: the point is to run a guest without");
	probe_needs_guest_memfd();
	return gm_test_run("a guest", tests, GM_ARRAY_SIZE(tests));
}
