/* SPDX-License-Identifier: Apache-2.0 */
/* A VMM in little: launches an SNP guest by the kernel's interface and nothing else. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "abi.h"

static _Alignas(GP_PAGE_SIZE) uint8_t source[GP_PAGE_SIZE];

static int command(int vm, int sev, uint32_t id, void *data)
{
	struct gp_sev_cmd cmd = { .id = id,
				  .data = (uint64_t)(uintptr_t)data,
				  .sev_fd = (uint32_t)sev };

	return ioctl(vm, GP_ENCRYPT_OP, &cmd);
}

static int launch(int vm, int sev)
{
	struct gp_create_gmem create = { .size = GP_PAGE_SIZE };
	struct gp_region2 slot = { .flags = GP_MEM_GUEST_MEMFD, .memory_size = GP_PAGE_SIZE };
	struct gp_attributes set = { .size = GP_PAGE_SIZE, .attributes = GP_ATTRIBUTE_PRIVATE };
	struct gp_sev_init init = { .ghcb_version = 2 };
	struct gp_snp_start start = { .policy = 0x30000 };
	struct gp_snp_finish finish = { 0 };
	struct gp_snp_update update = { .uaddr = (uint64_t)(uintptr_t)source,
					.len = GP_PAGE_SIZE,
					.type = GP_SNP_NORMAL };
	int gmem;

	if (command(vm, sev, GP_SEV_INIT2, &init) < 0)
		return -1;
	gmem = ioctl(vm, GP_CREATE_GUEST_MEMFD, &create);
	slot.guest_memfd = (uint32_t)gmem;
	if (gmem < 0 || ioctl(vm, GP_SET_REGION2, &slot) < 0 ||
	    ioctl(vm, GP_SET_ATTRIBUTES, &set) < 0)
		return -1;
	if (ioctl(vm, KVM_CREATE_VCPU, 0UL) < 0)
		return -1;
	if (command(vm, sev, GP_SNP_LAUNCH_START, &start) < 0 ||
	    command(vm, sev, GP_SNP_LAUNCH_UPDATE, &update) < 0)
		return -1;
	return command(vm, sev, GP_SNP_LAUNCH_FINISH, &finish);
}

int main(void)
{
	int kvm = open("/dev/kvm", O_RDONLY | O_CLOEXEC);
	int sev = open("/dev/sev", O_RDONLY | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, (unsigned long)GP_VM_SNP);

	if (vm < 0 || launch(vm, sev) < 0) {
		perror("bare_launch");
		return 1;
	}
	return 0;
}
