/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SEV and SEV-ES: the daemon launches the guest, and this VM takes over what it has launched. The
 * memory is ordinary memory of this process, the firmware is put in by the daemon. With SEV-ES the
 * registers are measured: the VM has as many vCPUs as the daemon is told of, whose registers then
 * are those that it has launched them with.
 */
#include <gmem_kinds.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "launch.h"

#define VM_TYPE_SEV 2
#define VM_TYPE_SEV_ES 3
#define POLICY_NO_DEBUG 1u
#define POLICY_ES 4u

/* 00f771de-1a7e-4fcb-890e-68c77e2fb44e */
static const uint8_t reset_guid[16] = { 0xde, 0x71, 0xf7, 0x00, 0x7e, 0x1a, 0xcb, 0x4f,
					0x89, 0x0e, 0x68, 0xc7, 0x7e, 0x2f, 0xb4, 0x4e };

static int start_with(struct launch *launch, uint32_t policy)
{
	const struct gmem_sev_start parameters = { .policy = policy };

	if (gmem_launch_start(launch->domain, &parameters, sizeof(parameters)) < 0)
		return launch_complain(launch, "start the launch");
	return 0;
}

static int start_sev(struct launch *launch)
{
	return start_with(launch, POLICY_NO_DEBUG);
}

static int start_sev_es(struct launch *launch)
{
	return start_with(launch, POLICY_NO_DEBUG | POLICY_ES);
}

/* Where the guest sees it is this process's to say, and nothing that is measured. */
static int bind(struct launch *launch, gmem_region *region, uint32_t slot)
{
	struct kvm_userspace_memory_region memory = {
		.slot = slot,
		.guest_phys_addr = gmem_region_gpa(region),
		.memory_size = gmem_region_size(region),
	};
	void *at;

	if (gmem_region_map(region, &at) < 0)
		return launch_complain(launch, "map region");
	memory.userspace_addr = (uint64_t)at;
	if (ioctl(launch->vm_fd, KVM_SET_USER_MEMORY_REGION, &memory) < 0)
		return launch_complain_errno("give the VM its memory");
	return 0;
}

static int populate(struct launch *launch)
{
	const struct image *image = &launch->image;

	return launch_put_image(launch, GMEM_PAGE_TYPE_NORMAL, FIRMWARE_TOP - image->size,
				image->size, 0);
}

static int complete(struct launch *launch)
{
	const struct options *options = launch->options;
	const uint8_t *reset;
	size_t size;

	reset = image_entry(&launch->image, reset_guid, &size);
	if (!reset || size != 4)
		return launch_fault("the firmware does not say where all but the first vCPU begin");
	for (unsigned i = 0; i < options->vcpus; i++)
		if (launch_add_vcpu(launch, i) < 0)
			return -1;
	launch->end.vcpus = (struct gmem_vcpus){
		.how = GMEM_VCPUS_MODEL,
		.count = options->vcpus,
		.vmm = "qemu",
		.signature = options->signature,
		.entry = image_le32(reset),
	};
	return 0;
}

const struct platform launch_sev = {
	.kind = "sev",
	.vm_type = VM_TYPE_SEV,
	.start = start_sev,
	.bind = bind,
	.populate = populate,
};

const struct platform launch_sev_es = {
	.kind = "sev-es",
	.vm_type = VM_TYPE_SEV_ES,
	.start = start_sev_es,
	.bind = bind,
	.populate = populate,
	.complete = complete,
};
