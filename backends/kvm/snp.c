/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kind "snp": AMD SEV-SNP (Linux 6.11). The digest is a chain over pages, their types and
 * addresses; KVM adds the registers of each vCPU when the launch is finished
 * (snp_launch_update_vmsa).
 */
#include "firmware_names.h"
#include "gm_vmsa.h"
#include "halves.h"
#include "kinds.h"
#include "kvm_ioctl.h"
#include "launch_digest.h"
#include "measured.h"
#include "sev_device.h"
#include "sev_vcpu.h"
#include "slot.h"

static void begin(uint8_t ret_blob[GM_LAUNCH_BLOB_SIZE])
{
	gm_launch_begin_kind(GM_LAUNCH_SNP, ret_blob);
}

static int put_vcpu(struct gm_launch_digest *digest, const uint8_t hash[1][GM_SHA384_SIZE],
		    struct gm_refusal *refusal)
{
	return gm_launch_digest_update(digest,
				       &(struct gm_launch_range){ .type = GM_LAUNCH_VMSA,
								  .gpa = GM_LAUNCH_VMSA_GPA,
								  .length = GM_PAGE_4K,
								  .digests = hash },
				       1, refusal);
}

/* All vCPUs but the first begin alike: two pages, however many there are. */
static int hash_model(const struct gm_launch_vcpus *vcpus, uint8_t ret_hashes[2][1][GM_SHA384_SIZE],
		      struct gm_refusal *refusal)
{
	struct gm_vmsa_spec spec;
	uint8_t page[GM_VMSA_SIZE];
	int r;

	r = gm_sev_first_vcpu(vcpus, &spec, refusal);
	if (r != 0)
		return r;
	spec.sev_features |= GM_SEV_FEATURE_SNP;
	for (int i = 0; i < 2; i++) {
		gm_vmsa_build(&spec, page);
		gm_hash_bytes(GM_HASH_SHA384, page, sizeof(page), ret_hashes[i][0]);
		spec.boot = false;
		spec.eip = (uint32_t)vcpus->entry;
	}
	return 0;
}

static int put_model(struct gm_launch_digest *digest, const struct gm_launch_vcpus *vcpus,
		     struct gm_refusal *refusal)
{
	uint8_t hashes[2][1][GM_SHA384_SIZE];
	int r = hash_model(vcpus, hashes, refusal);

	for (uint32_t i = 0; r == 0 && i < vcpus->count; i++)
		r = put_vcpu(digest, hashes[i == 0 ? 0 : 1], refusal);
	return r;
}

static int vcpu_tags(const struct gm_launch_vcpus *vcpus, uint64_t ret_tags[2])
{
	uint8_t hashes[2][1][GM_SHA384_SIZE] = { 0 };
	int r = hash_model(vcpus, hashes, NULL);

	for (int i = 0; r == 0 && i < 2; i++)
		ret_tags[i] = gm_launch_tag(hashes[i][0]);
	return r;
}

static int finish(uint8_t blob[GM_LAUNCH_BLOB_SIZE], const struct gm_launch_vcpus *vcpus,
		  struct gm_refusal *refusal)
{
	struct gm_launch_digest digest;
	int r;

	r = gm_launch_digest_load(blob, &digest);
	if (r == 0 && vcpus->how == GM_VCPUS_MODEL)
		r = put_model(&digest, vcpus, refusal);
	if (r == 0 && vcpus->how == GM_VCPUS_UNKNOWN)
		gm_launch_digest_spoil(&digest, "nobody has said what the registers of the vCPUs "
						"hold, and they are measured");
	if (r == 0)
		r = gm_launch_close(&digest, blob);
	return r;
}

/* ID_BLOCK begins with LD (SEV-SNP ABI, SNP_LAUNCH_FINISH). */
static const uint8_t *id_block_digest(const uint8_t *id_block)
{
	return id_block;
}

#define WITH_SOURCE \
	(1u << GM_POPULATE_NORMAL | 1u << GM_POPULATE_UNMEASURED | 1u << GM_POPULATE_CPUID)

static const struct gm_launch_rules rules = {
	.slot = GM_SLOT_ES,
	.types = WITH_SOURCE | 1u << GM_POPULATE_ZERO | 1u << GM_POPULATE_SECRETS,
	.sources = WITH_SOURCE,
	.parameters_max = 16384,
	.id_block_size = 96,
	.id_auth_size = 4096,
	.host_data_size = 32,
	.measures_vcpus = true,
	.device_name = "sev",
	.open_device = gm_sev_device_open,
	.begin = begin,
	.finish = finish,
	.id_block_digest = id_block_digest,
	.vcpu_tags = vcpu_tags,
	.firmware_name = gm_firmware_name_sev,
};

static const struct gm_measured_platform platform = {
	.name = "SEV-SNP",
	.wanted = "6.11, kvm_amd with sev_snp=Y, and SNP in the firmware's setup",
	.vm_type = GM_KVM_VM_TYPE_SNP,
	.open_device = gm_sev_device_open,
};

static const struct gm_private_half private_half = {
	.vm_type = GM_KVM_VM_TYPE_SNP,
	.memory_flags = 0,
	.verify = gm_halves_private_verify,
	.in_place_flags = GM_KVM_GUEST_MEMFD_MMAP,
	.verify_in_place = gm_halves_verify_in_place,
	.kind = "guest-memfd",
	.present = gm_halves_private_present,
};

static int snp_open(struct gm_backend_state **ret_state, struct gm_probe *ret_probe)
{
	return gm_measured_open(&platform, ret_state, ret_probe);
}

const struct gm_backend gm_snp_backend = {
	.kind = "snp",
	.private_half = &private_half,
	.launch = &rules,
	.open = snp_open,
	GM_HALVES_OPERATIONS,
};
