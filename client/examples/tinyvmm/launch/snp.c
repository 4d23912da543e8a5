/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SEV-SNP: the firmware and what it lists goes in, then the vCPUs are made, whose registers KVM
 * measures at the end.
 */
#include <gmem_kinds.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "launch.h"

#define VM_TYPE_SNP 4
#define POLICY 0x30000 /* SMT is allowed, and bit 17 */
#define SNP_ACTIVE 1   /* of SEV_FEATURES */
#define RESET_VECTOR 0xfffffff0u
#define SECTION_SIZE 12

enum section_type {
	SECTION_SEC_MEM = 1,
	SECTION_SECRETS = 2,
	SECTION_CPUID = 3,
	SECTION_CAA = 4,
	SECTION_KERNEL_HASHES = 0x10,
};

/* dc886566-984a-4798-a75e-5585a7bf67cc */
static const uint8_t sections_guid[16] = { 0x66, 0x65, 0x88, 0xdc, 0x4a, 0x98, 0x98, 0x47,
					   0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc };
/* 00f771de-1a7e-4fcb-890e-68c77e2fb44e */
static const uint8_t reset_guid[16] = { 0xde, 0x71, 0xf7, 0x00, 0x7e, 0x1a, 0xcb, 0x4f,
					0x89, 0x0e, 0x68, 0xc7, 0x7e, 0x2f, 0xb4, 0x4e };

static int start(struct launch *launch)
{
	const struct gmem_snp_start parameters = { .policy = POLICY, .ghcb_version = 2 };

	if (gmem_launch_start(launch->domain, &parameters, sizeof(parameters)) < 0)
		return launch_complain(launch, "start the launch");
	return 0;
}

/* ---- memory */

/* The firmware's table of CPUID values ("CPUID Page" of the SNP ABI), with one function in it. */
static int put_cpuid(struct launch *launch, uint64_t gpa, uint64_t length)
{
	uint8_t page[PAGE_SIZE] = { [0] = 1 };
	uint32_t signature = launch->options->signature;

	page[16] = 1; /* function 1: from here on entries of 48 bytes */
	memcpy(page + 16 + 24, &signature, sizeof(signature));
	return launch_put(launch, GMEM_PAGE_TYPE_CPUID, gpa, length, page, sizeof(page));
}

static int put_hashes(struct launch *launch, uint64_t gpa, uint64_t length)
{
	const struct image *hashes = &launch->options->hashes;

	if (hashes->size == 0)
		return launch_put(launch, GMEM_PAGE_TYPE_ZERO, gpa, length, NULL, 0);
	return launch_put(launch, GMEM_PAGE_TYPE_NORMAL, gpa, length, hashes->bytes, hashes->size);
}

static int put_section(struct launch *launch, const uint8_t *section)
{
	uint64_t gpa = image_le32(section);
	uint64_t length = image_le32(section + 4);

	switch (image_le32(section + 8)) {
	case SECTION_SEC_MEM:
	case SECTION_CAA:
		return launch_put(launch, GMEM_PAGE_TYPE_ZERO, gpa, length, NULL, 0);
	case SECTION_SECRETS:
		return launch_put(launch, GMEM_PAGE_TYPE_SECRETS, gpa, length, NULL, 0);
	case SECTION_CPUID:
		return put_cpuid(launch, gpa, length);
	case SECTION_KERNEL_HASHES:
		return put_hashes(launch, gpa, length);
	default:
		return launch_fault("the firmware has a section of a type that is not known");
	}
}

static int populate(struct launch *launch)
{
	const struct image *image = &launch->image;
	const uint8_t *section;
	uint32_t count;

	section = image_sections(image, sections_guid, "ASEV", SECTION_SIZE, &count);
	if (!section)
		return launch_fault("the firmware lists no sections for SEV");
	if (launch_put_image(launch, GMEM_PAGE_TYPE_NORMAL, FIRMWARE_TOP - image->size, image->size,
			     0) < 0)
		return -1;
	for (uint32_t i = 0; i < count; i++, section += SECTION_SIZE)
		if (put_section(launch, section) < 0)
			return -1;
	return 0;
}

/* ---- vCPUs, as QEMU leaves them after reset */

static int set_registers(const struct launch *launch, int vcpu, uint32_t entry)
{
	const struct kvm_regs regs = {
		.rip = entry & 0xffff,
		.rflags = 2,
		.rdx = launch->options->signature,
	};
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return launch_complain_errno("read the registers of a vCPU");
	sregs.cs.base = entry & 0xffff0000;
	sregs.cs.type = sregs.tr.type = 11;
	sregs.ss.type = sregs.ds.type = sregs.es.type = sregs.fs.type = sregs.gs.type = 3;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
		return launch_complain_errno("set the registers of a vCPU");
	return 0;
}

static int complete(struct launch *launch)
{
	const struct options *options = launch->options;
	const uint8_t *reset;
	uint32_t entry;
	size_t size;

	reset = image_entry(&launch->image, reset_guid, &size);
	if (!reset || size != 4)
		return launch_fault("the firmware does not say where all but the first vCPU begin");
	entry = image_le32(reset);
	for (unsigned i = 0; i < options->vcpus; i++)
		if (launch_add_vcpu(launch, i) < 0 ||
		    set_registers(launch, launch->vcpu_fds[i], i == 0 ? RESET_VECTOR : entry) < 0)
			return -1;
	launch->end.vcpus = (struct gmem_vcpus){
		.how = GMEM_VCPUS_MODEL,
		.count = options->vcpus,
		.vmm = "qemu",
		.signature = options->signature,
		.entry = entry,
		.features = SNP_ACTIVE,
	};
	launch->end.id_block = options->id_block.bytes;
	launch->end.id_auth = options->id_auth.bytes;
	return 0;
}

const struct platform launch_snp = {
	.kind = "snp",
	.vm_type = VM_TYPE_SNP,
	.start = start,
	.populate = populate,
	.complete = complete,
};
