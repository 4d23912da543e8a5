/* SPDX-License-Identifier: Apache-2.0 */
/* The beginning of a launch: SEV_INIT2, SNP_LAUNCH_START, TDX_INIT_VM. */
#include "rules.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int start_snp(struct vmm *vmm, const struct gmem_snp_start *parameters)
{
	return gmem_launch_start(vmm->domain, parameters, sizeof(*parameters));
}

static int start_tdx(struct vmm *vmm, const struct gmem_tdx_start *parameters)
{
	return gmem_launch_start(vmm->domain, parameters, sizeof(*parameters));
}

static int with_vcpus(struct vmm *vmm)
{
	vmm->vcpu = ioctl(vmm->vm, KVM_CREATE_VCPU, 0UL);
	must(vmm->vcpu >= 0, "a vCPU");
	return vmm_start(vmm);
}

static int with_unknown_features(struct vmm *vmm)
{
	const struct gmem_snp_start snp = { .policy = 0x30000, .vmsa_features = UINT64_C(1) << 40 };

	return start_snp(vmm, &snp);
}

static int with_a_ghcb_to_come(struct vmm *vmm)
{
	const struct gmem_snp_start snp = { .policy = 0x30000, .ghcb_version = 99 };

	return start_snp(vmm, &snp);
}

static int with_the_old_ghcb(struct vmm *vmm)
{
	const struct gmem_snp_start snp = { .policy = 0x30000, .ghcb_version = 1 };

	return start_snp(vmm, &snp);
}

static int initialised_past_us(struct vmm *vmm)
{
	struct {
		struct gp_tdx_init_vm vm;
		struct kvm_cpuid2 cpuid;
	} tdx = { .vm = { .xfam = 3 } };
	struct gp_sev_init snp = { .ghcb_version = 2 };

	if (vmm->kind == TDX)
		must(raw_tdx(vmm->vm, GP_TDX_INIT_VM, 0, &tdx) == 0, "TDX_INIT_VM");
	else
		must(raw_sev(vmm, GP_SEV_INIT2, &snp) == 0, "SEV_INIT2");
	return vmm_start(vmm);
}

static int on_a_vm_of_type(struct vmm *vmm, unsigned long type)
{
	/* Nothing in it that the older platform would not have. */
	static const struct gmem_snp_start plain = { .policy = 0x30000 };
	int kvm = open("/dev/kvm", O_RDONLY | O_CLOEXEC);

	(void)close(vmm->vm);
	vmm->vm = ioctl(kvm, KVM_CREATE_VM, type);
	must(vmm->vm >= 0, "a VM");
	(void)close(kvm);
	must(gmem_vm_adopt(vmm->domain, vmm->vm) == 0, "adopt");
	return vmm->kind == TDX ? vmm_start(vmm) : start_snp(vmm, &plain);
}

static int on_an_unprotected_vm(struct vmm *vmm)
{
	return on_a_vm_of_type(vmm, GP_VM_SW_PROTECTED);
}

static int on_a_vm_of_the_older_platform(struct vmm *vmm)
{
	return on_a_vm_of_type(vmm, GP_VM_SEV);
}

static int with_an_odd_policy(struct vmm *vmm)
{
	const struct gmem_snp_start snp = { .policy = 0x10000 };

	return start_snp(vmm, &snp);
}

static int with_a_reserved_policy(struct vmm *vmm)
{
	const struct gmem_snp_start snp = { .policy = 0x30000 | UINT64_C(1) << 63 };

	return start_snp(vmm, &snp);
}

static int with_a_migration_agent(struct vmm *vmm)
{
	const struct gmem_snp_start snp = { .policy = 0x30000 | 1 << 18 };

	return start_snp(vmm, &snp);
}

static int with_a_single_socket(struct vmm *vmm)
{
	const struct gmem_snp_start snp = { .policy = 0x30000 | 1 << 20 };

	return start_snp(vmm, &snp);
}

static int with_reserved_parameters(struct vmm *vmm)
{
	const struct gmem_tdx_start tdx = { .xfam = 3, .reserved = 1 };
	const struct gmem_snp_start snp = { .policy = 0x30000, .reserved = { 1 } };

	return vmm->kind == TDX ? start_tdx(vmm, &tdx) : start_snp(vmm, &snp);
}

static int with_half_the_parameters(struct vmm *vmm)
{
	return gmem_launch_start(vmm->domain, &(uint64_t){ 0x30000 }, sizeof(uint64_t));
}

static int with_unknown_attributes(struct vmm *vmm)
{
	const struct gmem_tdx_start tdx = { .xfam = 3, .attributes = UINT64_C(1) << 62 };

	return start_tdx(vmm, &tdx);
}

static int with_an_unknown_xfam(struct vmm *vmm)
{
	const struct gmem_tdx_start tdx = { .xfam = 3 | UINT64_C(1) << 62 };

	return start_tdx(vmm, &tdx);
}

static int without_the_fixed_xfam(struct vmm *vmm)
{
	const struct gmem_tdx_start tdx = { .xfam = 0 };

	return start_tdx(vmm, &tdx);
}

static int with_too_many_cpuid_values(struct vmm *vmm)
{
	static struct {
		struct gmem_tdx_start head;
		struct gmem_tdx_cpuid values[GMEM_TDX_CPUID_MAX + 1];
	} tdx = { .head = { .xfam = 3, .n_cpuid = GMEM_TDX_CPUID_MAX + 1 } };

	return gmem_launch_start(vmm->domain, &tdx, sizeof(tdx));
}

static int with_no_id_left(struct vmm *vmm)
{
	int r;

	set("full=1");
	r = vmm_start(vmm);
	set("full=0");
	return r;
}

const struct rule start_rules[] = {
	{ "start a VM that has vCPUs", "__sev_guest_init: created_vcpus, EINVAL (6.11)", ADOPTED,
	  with_vcpus, SNP, GMEM_FAILED, "firmware", "failed" },
	{ "start with features that KVM does not know",
	  "__sev_guest_init: sev_supported_vmsa_features, EINVAL (6.11)", ADOPTED,
	  with_unknown_features, SNP, GMEM_FAILED, "firmware", "failed" },
	{ "start with a GHCB version that KVM does not speak",
	  "__sev_guest_init: GHCB_VERSION_MAX, EINVAL (6.11)", ADOPTED, with_a_ghcb_to_come, SNP,
	  GMEM_FAILED, "firmware", "failed" },
	{ "start with a GHCB version that SNP does not speak",
	  "__sev_guest_init: SNP and ghcb_version 1, EINVAL (6.11)", ADOPTED, with_the_old_ghcb,
	  SNP, GMEM_FAILED, "firmware", "failed" },
	{ "start a VM that the VMM has initialised itself",
	  "sev_mem_enc_ioctl: an SNP guest takes SNP commands only, EPERM (6.11); tdx_td_init: "
	  "TD_STATE_UNINITIALIZED, EINVAL (6.16)",
	  ADOPTED, initialised_past_us, BOTH, GMEM_FAILED, "firmware", "failed" },
	{ "start a VM of an unprotected type", "sev_guest_init2: need_init, EINVAL (6.11)", ADOPTED,
	  on_an_unprotected_vm, SNP, GMEM_FAILED, "firmware", "failed" },
	{ "start a VM of an unprotected type",
	  "kvm_arch_vm_ioctl: no mem_enc_ioctl for it, ENOTTY (6.16)", ADOPTED,
	  on_an_unprotected_vm, TDX, GMEM_FAILED, "firmware", "failed" },
	{ "start a VM of the older platform", "snp_launch_start: not an SNP guest, ENOTTY (6.11)",
	  ADOPTED, on_a_vm_of_the_older_platform, SNP, GMEM_FAILED, "firmware", "failed" },
	{ "start with a policy that lacks its fixed bit",
	  "snp_launch_start: SNP_POLICY_MASK_RSVD_MBO, EINVAL (6.11)", ADOPTED, with_an_odd_policy,
	  SNP, GMEM_FAILED, "firmware", "failed" },
	{ "start with a policy that has reserved bits",
	  "snp_launch_start: ~SNP_POLICY_MASK_VALID, EINVAL (6.11)", ADOPTED,
	  with_a_reserved_policy, SNP, GMEM_FAILED, "firmware", "failed" },
	{ "start with a policy that KVM cannot keep",
	  "snp_launch_start: ~SNP_POLICY_MASK_VALID, EINVAL (6.11)", ADOPTED,
	  with_a_migration_agent, SNP, GMEM_FAILED, "firmware", "failed" },
	{ "start with a policy for one socket",
	  "snp_launch_start: SNP_POLICY_MASK_SINGLE_SOCKET, EINVAL (6.11)", ADOPTED,
	  with_a_single_socket, SNP, GMEM_FAILED, "firmware", "failed" },
	{ "start with reserved parameters", "flags and reserved fields are zero, EINVAL (6.11)",
	  ADOPTED, with_reserved_parameters, BOTH, GMEM_INVALID, "firmware", "failed" },
	{ "start with half the parameters", "copy_from_user of the whole struct (6.11)", ADOPTED,
	  with_half_the_parameters, BOTH, GMEM_INVALID, "firmware", "failed" },
	{ "start with attributes that the module does not know",
	  "setup_tdparams: attributes, EINVAL (6.16)", ADOPTED, with_unknown_attributes, TDX,
	  GMEM_FAILED, "firmware", "failed" },
	{ "start with an XFAM that the module does not know", "setup_tdparams: xfam, EINVAL (6.16)",
	  ADOPTED, with_an_unknown_xfam, TDX, GMEM_FAILED, "firmware", "failed" },
	{ "start without what XFAM always has", "setup_tdparams: XFAM_FIXED1, EINVAL (6.16)",
	  ADOPTED, without_the_fixed_xfam, TDX, GMEM_FAILED, "firmware", "failed" },
	{ "start with too many CPUID values", "tdx_td_init: KVM_MAX_CPUID_ENTRIES, E2BIG (6.16)",
	  ADOPTED, with_too_many_cpuid_values, TDX, GMEM_INVALID, "firmware", "failed" },
	{ "start when no id is left",
	  "sev_asid_new: EBUSY (6.11); tdx_guest_keyid_alloc: ENOSPC (6.16)", ADOPTED,
	  with_no_id_left, BOTH, GMEM_NO_RESOURCE, "firmware", "failed" },
	{ "start twice", "snp_launch_start: snp_context, EINVAL (6.11); tdx_td_init: EINVAL (6.16)",
	  STARTED, vmm_start, BOTH, GMEM_WRONG_STATE, "launch-state", "open" },
};
const size_t n_start_rules = GM_ARRAY_SIZE(start_rules);
