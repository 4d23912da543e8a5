/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VMM does for private memory, besides the two calls in its exit loop.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "guest.h"
#include "tinyvmm.h"

#define SW_PROTECTED_VM 1UL
#define HYPERCALL_MAP_GPA_RANGE 12

static int complain(const struct machine *machine, const char *what)
{
	fprintf(stderr, "tinyvmm: %s: %s\n", what, gmem_error(machine->client)->text);
	return -1;
}

static int complain_errno(const char *what)
{
	fprintf(stderr, "tinyvmm: %s: %s\n", what, strerror(errno));
	return -1;
}

int private_open_vm(struct machine *machine, int kvm_fd)
{
	struct kvm_enable_cap exits = {
		.cap = KVM_CAP_EXIT_HYPERCALL,
		.args = { 1 << HYPERCALL_MAP_GPA_RANGE },
	};

	machine->vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, SW_PROTECTED_VM);
	if (machine->vm_fd < 0)
		return complain_errno("create a VM with private memory");
	if (ioctl(machine->vm_fd, KVM_ENABLE_CAP, &exits) < 0)
		return complain_errno("have the guest's hypercalls");
	if (gmem_vm_adopt(machine->domain, machine->vm_fd) < 0)
		return complain(machine, "adopt the VM");
	return 0;
}

int private_bind(struct machine *machine)
{
	const struct gmem_range boot = { .offset = 0, .length = GUEST_RAM_LOW };

	if (gmem_region_bind(machine->region, 0) < 0)
		return complain(machine, "bind the RAM");
	if (gmem_region_convert(machine->region, &boot, 1, GMEM_PAGE_SHARED) < 0)
		return complain(machine, "share the first MiB");
	return 0;
}

void private_look(const struct machine *machine, uint64_t gpa)
{
	uint32_t word = 0;

	/* Read from the file: to touch the mapping would allocate a page of the shared half. */
	if (pread(gmem_region_fd(machine->region), &word, sizeof(word), (off_t)gpa) < 0)
		perror("tinyvmm: look at the guest's page");
	else
		printf("tinyvmm: where the guest has its page I see %#x\n", word);
}
