/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_guest.h"

#include <inttypes.h>
#include <string.h>

#include "gm_le.h"
#include "gm_tdvf.h"

#define GPA_BITS_DEFAULT 48

struct launch {
	const struct gm_guest *guest;
	struct gm_firmware firmware;
	struct gm_firmware svsm;
	const struct gm_firmware *metadata; /* of the two, the one that is launched */
	struct gm_measure measure;
	struct gm_refusal *refusal;
};

static int refuse(const struct launch *launch, const char *object, const char *text)
{
	return gm_refuse_text(launch->refusal, GM_INVALID, GM_RULE_SOURCE, object, "%s", text);
}

static int put(struct launch *launch, enum gm_launch_page type, uint64_t gpa, uint64_t length,
	       struct gm_bytes contents)
{
	struct gm_launch_range range = { .type = type,
					 .gpa = gpa,
					 .length = length,
					 .bytes = contents.bytes,
					 .n_bytes = contents.size };

	return gm_measure_step(&launch->measure, &range, launch->refusal);
}

static int put_image(struct launch *launch, const struct gm_firmware *firmware)
{
	return put(launch, GM_LAUNCH_NORMAL, firmware->gpa, firmware->image.size, firmware->image);
}

/* ---- vCPUs ---- */

static int vcpu_rdx(const struct launch *launch, uint64_t *ret_rdx)
{
	const struct gm_guest *guest = launch->guest;
	bool fixed = gm_vmm_has_fixed_rdx(guest->vmm, ret_rdx) && !guest->svsm.bytes;

	if (guest->rdx)
		*ret_rdx = *guest->rdx;
	else if (!fixed && guest->has_signature)
		*ret_rdx = guest->signature;
	else if (!fixed)
		return refuse(launch, "vCPUs",
			      "the vCPUs' type is not known: their registers hold it");
	return 0;
}

static int vcpu_eips(const struct launch *launch, struct gm_vmsa_spec *boot,
		     struct gm_vmsa_spec *other)
{
	if (launch->guest->svsm.bytes) {
		if (!launch->svsm.has_svsm)
			return refuse(launch, "svsm", "its GUID table tells no entry point");
		boot->eip = (uint32_t)launch->svsm.gpa + launch->svsm.svsm_offset;
		other->eip = boot->eip;
		return 0;
	}
	if (!launch->firmware.has_reset_eip)
		return refuse(launch, "firmware",
			      "its GUID table has no reset address for encrypted vCPUs");
	boot->eip = GM_VMSA_RESET_EIP;
	other->eip = launch->firmware.reset_eip;
	return 0;
}

/* Where a VMM leaves the address at -1, the processor's width cuts it. */
static uint64_t vmsa_gpa(const struct gm_guest *guest)
{
	unsigned bits = guest->gpa_bits ? guest->gpa_bits : GPA_BITS_DEFAULT;

	return guest->vmm == GM_VMM_GCE && !guest->svsm.bytes ? (UINT64_C(1) << bits) - GM_PAGE_4K
							      : GM_LAUNCH_VMSA_GPA;
}

static int put_vcpus(struct launch *launch)
{
	const struct gm_guest *guest = launch->guest;
	struct gm_vmsa_spec boot = { .vmm = guest->vmm,
				     .svsm = guest->svsm.bytes != NULL,
				     .boot = true,
				     .sev_features = guest->guest_features,
				     .fpu = guest->fpu };
	struct gm_vmsa_spec other;
	uint8_t page[GM_VMSA_SIZE];
	int r;

	if (guest->vcpus == 0)
		return 0;
	if (guest->svsm.bytes)
		boot.sev_features = GM_SEV_FEATURE_SNP;
	r = vcpu_rdx(launch, &boot.rdx);
	other = boot;
	other.boot = false;
	if (r == 0)
		r = vcpu_eips(launch, &boot, &other);
	for (unsigned i = 0; r == 0 && i < guest->vcpus; i++) {
		gm_vmsa_build(i == 0 ? &boot : &other, page);
		r = put(launch, GM_LAUNCH_VMSA, vmsa_gpa(guest), GM_VMSA_SIZE,
			(struct gm_bytes){ page, sizeof(page) });
	}
	return r;
}

/* ---- SNP ---- */

static int put_kernel_hashes(struct launch *launch, const struct gm_section *section)
{
	uint32_t gpa = launch->firmware.hashes_gpa;
	uint8_t page[GM_PAGE_4K] = { 0 };
	uint32_t offset = gpa % GM_PAGE_4K;
	int r;

	if (section->size != GM_PAGE_4K || gpa - offset != section->gpa ||
	    offset > GM_PAGE_4K - GM_KERNEL_HASHES_SIZE)
		return refuse(launch, "firmware",
			      "the kernel hashes' table is not in the page that is kept for it");
	r = gm_kernel_hashes_build(&launch->guest->kernel, page + offset);
	if (r < 0)
		return r;
	return put(launch, GM_LAUNCH_NORMAL, section->gpa, section->size,
		   (struct gm_bytes){ page, sizeof(page) });
}

static int put_section(struct launch *launch, const struct gm_section *section)
{
	const struct gm_guest *guest = launch->guest;
	enum gm_launch_page type = GM_LAUNCH_ZERO;

	switch (section->type) {
	case GM_SECTION_SEC_MEM:
		if (guest->vmm == GM_VMM_GCE)
			type = GM_LAUNCH_UNMEASURED;
		break;
	case GM_SECTION_SECRETS:
		type = GM_LAUNCH_SECRETS;
		break;
	case GM_SECTION_CPUID:
		type = GM_LAUNCH_CPUID;
		break;
	case GM_SECTION_KERNEL_HASHES:
		if (guest->kernel.kernel.bytes)
			return put_kernel_hashes(launch, section);
		break;
	case GM_SECTION_SVSM_CAA:
		break;
	}
	return put(launch, type, section->gpa, section->size, (struct gm_bytes){ 0 });
}

static int put_sections(struct launch *launch)
{
	const struct gm_firmware *metadata = launch->metadata;
	bool cpuid_last = launch->guest->vmm == GM_VMM_EC2;
	int r = 0;

	for (size_t i = 0; r == 0 && i < metadata->n_sections; i++)
		if (!cpuid_last || metadata->sections[i].type != GM_SECTION_CPUID)
			r = put_section(launch, &metadata->sections[i]);
	for (size_t i = 0; r == 0 && cpuid_last && i < metadata->n_sections; i++)
		if (metadata->sections[i].type == GM_SECTION_CPUID)
			r = put_section(launch, &metadata->sections[i]);
	return r;
}

static int read_svsm(struct launch *launch)
{
	const struct gm_guest *guest = launch->guest;
	int r;

	if (guest->kernel.kernel.bytes)
		return refuse(launch, "svsm", "kernel hashes are not measured under an SVSM");
	if (guest->svsm_vars_size > launch->firmware.gpa)
		return refuse(launch, "svsm", "the variables' size is impossible");
	r = gm_firmware_parse(guest->svsm, launch->firmware.gpa - guest->svsm_vars_size,
			      &launch->svsm, launch->refusal);
	launch->metadata = &launch->svsm;
	return r;
}

static int check_snp(struct launch *launch)
{
	const struct gm_guest *guest = launch->guest;
	struct gm_firmware *metadata = &launch->firmware;
	int r;

	if (!(guest->guest_features & GM_SEV_FEATURE_SNP))
		return refuse(launch, "guest features", "bit 0, SNP itself, is not set");
	if (guest->svsm.bytes) {
		r = read_svsm(launch);
		if (r != 0)
			return r;
		metadata = &launch->svsm;
	}
	r = gm_firmware_read_sections(metadata, launch->refusal);
	if (r != 0 || !guest->kernel.kernel.bytes)
		return r;
	if (!gm_firmware_has_section(metadata, GM_SECTION_KERNEL_HASHES) || !metadata->has_hashes)
		return refuse(launch, "kernel",
			      "the firmware has no room for kernel hashes: it would not check it");
	return 0;
}

static int run_snp(struct launch *launch)
{
	const struct gm_guest *guest = launch->guest;
	int r = guest->firmware_only ? 0 : check_snp(launch);

	if (r == 0 && !guest->seed)
		r = put_image(launch, &launch->firmware);
	if (r != 0 || guest->firmware_only)
		return r;
	if (guest->svsm.bytes)
		r = put_image(launch, &launch->svsm);
	if (r == 0)
		r = put_sections(launch);
	return r == 0 ? put_vcpus(launch) : r;
}

/* ---- SEV, SEV-ES ---- */

static int run_sev(struct launch *launch)
{
	const struct gm_guest *guest = launch->guest;
	uint8_t table[GM_KERNEL_HASHES_SIZE];
	int r;

	if (guest->kernel.kernel.bytes && !launch->firmware.has_hashes)
		return refuse(launch, "kernel",
			      "the firmware has no room for kernel hashes: it would not check it");
	if (guest->guest_features & GM_SEV_FEATURE_SNP)
		return refuse(launch, "guest features", "bit 0 is for snp only");
	r = put_image(launch, &launch->firmware);
	if (r == 0 && guest->kernel.kernel.bytes) {
		r = gm_kernel_hashes_build(&guest->kernel, table);
		if (r == 0)
			r = put(launch, GM_LAUNCH_NORMAL, launch->firmware.hashes_gpa,
				sizeof(table), (struct gm_bytes){ table, sizeof(table) });
	}
	if (r == 0 && guest->kind == GM_LAUNCH_SEV_ES)
		r = put_vcpus(launch);
	return r;
}

/* ---- TDX ---- */

static int run_tdx(struct launch *launch)
{
	struct gm_tdvf tdvf;
	const struct gm_tdvf_section *section;
	enum gm_launch_page type;
	int r = gm_tdvf_parse(launch->guest->firmware, &tdvf, launch->refusal);

	for (size_t i = 0; r == 0 && i < tdvf.n_sections; i++) {
		section = &tdvf.sections[i];
		type = section->extend ? GM_LAUNCH_NORMAL : GM_LAUNCH_UNMEASURED;
		if (section->page_aug)
			continue;
		r = put(launch, type, section->gpa, section->size, section->contents);
		if (section->extend && section->type == GM_TDVF_TD_HOB)
			gm_launch_digest_spoil(&launch->measure.digest,
					       "this firmware has the list of the guest's memory "
					       "measured, which is the VMM's");
	}
	return r;
}

static int run(struct launch *launch)
{
	int r;

	if (launch->guest->kind == GM_LAUNCH_TDX)
		return run_tdx(launch);
	if (launch->guest->vcpus > GM_GUEST_VCPUS_MAX)
		return refuse(launch, "vCPUs", "a guest has at most 4096");
	r = gm_firmware_parse(launch->guest->firmware, GM_FIRMWARE_TOP, &launch->firmware,
			      launch->refusal);
	if (r != 0)
		return r;
	return launch->guest->kind == GM_LAUNCH_SNP ? run_snp(launch) : run_sev(launch);
}

int gm_guest_measure(const struct gm_guest *guest, unsigned n_threads, struct gm_manifest *manifest,
		     uint8_t ret_digest[GM_DIGEST_MAX], struct gm_refusal *refusal)
{
	struct launch launch = { .guest = guest, .refusal = refusal };
	struct gm_launch_start start = { .kind = guest->kind,
					 .seed = guest->seed,
					 .gpa_bits = guest->gpa_bits };
	int r;

	launch.metadata = &launch.firmware;
	launch.measure.n_threads = n_threads;
	launch.measure.manifest = manifest;
	r = gm_launch_digest_start(&launch.measure.digest, &start, refusal);
	if (r == 0)
		r = run(&launch);
	return r == 0 ? gm_measure_finish(&launch.measure, ret_digest, refusal) : r;
}
