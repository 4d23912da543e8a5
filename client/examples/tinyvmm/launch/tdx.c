/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TDX: vCPUs come first, for memory is added by one; then what the firmware lists, measured as it
 * says. Registers are not measured.
 */
#include <gmem_kinds.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "launch.h"

#define VM_TYPE_TDX 5
#define XFAM 3 /* x87 and SSE */
#define SECTION_SIZE 32
#define ATTRIBUTE_MEASURE 1u
#define ATTRIBUTE_LATER 2u /* the guest accepts it; no part of the launch */

/* struct kvm_tdx_cmd */
struct tdx_command {
	uint32_t id;
	uint32_t flags;
	uint64_t data;
	uint64_t hw_error;
};

#define TDX_INIT_VCPU 2

/* e47a6535-984a-4798-865e-4685a7bf8ec2 */
static const uint8_t sections_guid[16] = { 0x35, 0x65, 0x7a, 0xe4, 0x4a, 0x98, 0x98, 0x47,
					   0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e, 0xc2 };

static int start(struct launch *launch)
{
	const struct gmem_tdx_start parameters = { .xfam = XFAM };

	if (gmem_launch_start(launch->domain, &parameters, sizeof(parameters)) < 0)
		return launch_complain(launch, "start the launch");
	return 0;
}

static int prepare(struct launch *launch)
{
	struct tdx_command init = { .id = TDX_INIT_VCPU };

	for (unsigned i = 0; i < launch->options->vcpus; i++) {
		if (launch_add_vcpu(launch, i) < 0)
			return -1;
		if (ioctl(launch->vcpu_fds[i], KVM_MEMORY_ENCRYPT_OP, &init) < 0)
			return launch_complain_errno("KVM_TDX_INIT_VCPU");
	}
	if (gmem_launch_set_vcpu(launch->domain, 0, launch->vcpu_fds[0]) < 0)
		return launch_complain(launch, "name a vCPU");
	return 0;
}

static int put_section(struct launch *launch, const uint8_t *section)
{
	uint32_t from = image_le32(section);
	uint32_t size = image_le32(section + 4);
	uint64_t gpa = image_le64(section + 8);
	uint64_t length = image_le64(section + 16);
	uint32_t attributes = image_le32(section + 28);
	enum gmem_page_type type =
		attributes & ATTRIBUTE_MEASURE ? GMEM_PAGE_TYPE_NORMAL : GMEM_PAGE_TYPE_UNMEASURED;

	if (attributes & ATTRIBUTE_LATER)
		return 0;
	if (from > launch->image.size || size > launch->image.size - from || size > length)
		return launch_fault("the firmware lists a section that is not in its image");
	return launch_put(launch, type, gpa, length, launch->image.bytes + from, size);
}

static int populate(struct launch *launch)
{
	const uint8_t *section;
	uint32_t count;

	section = image_sections(&launch->image, sections_guid, "TDVF", SECTION_SIZE, &count);
	if (!section)
		return launch_fault("the firmware lists no sections for TDX");
	for (uint32_t i = 0; i < count; i++, section += SECTION_SIZE)
		if (put_section(launch, section) < 0)
			return -1;
	return 0;
}

const struct platform launch_tdx = {
	.kind = "tdx",
	.vm_type = VM_TYPE_TDX,
	.start = start,
	.prepare = prepare,
	.populate = populate,
};
