/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a launch: SNP_LAUNCH_FINISH, TDX_FINALIZE_VM, and what comes too late. */
#include "rules.h"

#include <fcntl.h>
#include <unistd.h>

#include "client.h"

static const uint8_t id_block[GMEM_ID_BLOCK_SIZE];
static const uint8_t id_auth[GMEM_ID_AUTH_SIZE];
static const uint8_t host_data[GMEM_HOST_DATA_SIZE];

static int finish_after_the_vmm(struct vmm *vmm)
{
	struct gp_snp_finish snp = { 0 };

	if (vmm->kind == TDX)
		must(raw_tdx(vmm->vm, GP_TDX_FINALIZE_VM, 0, NULL) == 0, "TDX_FINALIZE_VM");
	else
		must(raw_sev(vmm, GP_SNP_LAUNCH_FINISH, &snp) == 0, "SNP_LAUNCH_FINISH");
	return vmm_finish(vmm);
}

static int finish_without_its_device(struct vmm *vmm)
{
	/* Closed under libgmem's feet, and its number given to another file. */
	must(dup3(vmm->vm, vmm->domain->device_fd, O_CLOEXEC) >= 0, "dup3");
	return vmm_finish(vmm);
}

static int finish_with_a_foreign_id_block(struct vmm *vmm)
{
	return gmem_launch_finish(
		vmm->domain, &(struct gmem_launch_end){ .id_block = id_block, .id_auth = id_auth });
}

static int finish_with_half_an_id_block(struct vmm *vmm)
{
	return gmem_launch_finish(vmm->domain, &(struct gmem_launch_end){ .id_block = id_block });
}

static int finish_with_host_data(struct vmm *vmm)
{
	return gmem_launch_finish(vmm->domain, &(struct gmem_launch_end){ .host_data = host_data });
}

static int finish_with_a_foreign_id_block_known(struct vmm *vmm)
{
	vmm_add_vcpu(vmm);
	return gmem_launch_finish(vmm->domain,
				  &(struct gmem_launch_end){ .vcpus = { .how = GMEM_VCPUS_MODEL,
									.count = 1,
									.vmm = "qemu",
									.signature = 0x800f12,
									.features = 1 },
							     .id_block = id_block,
							     .id_auth = id_auth });
}

static int finish_without_a_vcpu(struct vmm *vmm)
{
	return vmm_finish(vmm);
}

static int finish_with_a_hole(struct vmm *vmm)
{
	must(raw_allocate(vmm, FALLOC_FL_PUNCH_HOLE, 0) == 0, "punch");
	return vmm_finish(vmm);
}

static int finish_without_a_slot(struct vmm *vmm)
{
	must(raw_remove_slot(vmm) == 0, "take the memslot away");
	return vmm_finish(vmm);
}

static int finish_what_was_shared(struct vmm *vmm)
{
	must(raw_share(vmm, 1) == 0, "share a page");
	return vmm_finish(vmm);
}

static int finish_when_busy(struct vmm *vmm)
{
	set("busy=3");
	return vmm_finish(vmm);
}

static int finish_refused(struct vmm *vmm)
{
	set("firmware-error=2");
	return vmm_finish(vmm);
}

/* Sources are gone with the end, and no new one is taken. */
static int populate_afterwards(struct vmm *vmm)
{
	uint8_t page[PAGE] = { 0 };
	gmem_source *source;

	if (vmm->kind == SNP)
		return vmm_put(vmm, GMEM_PAGE_TYPE_ZERO, 8, 1);
	return gmem_source_create(vmm->domain, page, sizeof(page), &source);
}

static int populate_after_the_vmm_has_finished(struct vmm *vmm)
{
	struct gp_snp_finish snp = { 0 };

	if (vmm->kind == TDX)
		must(raw_tdx(vmm->vm, GP_TDX_FINALIZE_VM, 0, NULL) == 0, "TDX_FINALIZE_VM");
	else
		must(raw_sev(vmm, GP_SNP_LAUNCH_FINISH, &snp) == 0, "SNP_LAUNCH_FINISH");
	return vmm_put(vmm, GMEM_PAGE_TYPE_NORMAL, 8, 1);
}

const struct rule finish_rules[] = {
	{ "finish what was not started",
	  "snp_launch_finish: no context, EINVAL (6.11); tdx_td_finalize: no HKID, EINVAL (6.16)",
	  ADOPTED, vmm_finish, BOTH, GMEM_WRONG_STATE, "launch-state", "ready" },
	{ "finish twice",
	  "SNP_LAUNCH_FINISH: INVALID_GUEST_STATE (6.11); tdx_td_finalize: EINVAL (6.16)", FINISHED,
	  vmm_finish, BOTH, GMEM_WRONG_STATE, "launch-state", "running" },
	{ "finish what the VMM has finished itself", "the same, behind gmemd's back", POPULATED,
	  finish_after_the_vmm, BOTH, GMEM_FAILED, "firmware", "failed" },
	{ "finish without the platform's device",
	  "__sev_issue_cmd: the number of LAUNCH_START, EBADF (6.11)", POPULATED,
	  finish_without_its_device, SNP, GMEM_FAILED, "firmware", "failed" },
	{ "finish with the ID block of another guest, unpredicted",
	  "SNP_LAUNCH_FINISH: BAD_MEASUREMENT, EIO (6.11)", POPULATED,
	  finish_with_a_foreign_id_block, SNP, GMEM_FAILED, "firmware", "failed" },
	{ "finish with the ID block of another guest, predicted",
	  "SNP_LAUNCH_FINISH: BAD_MEASUREMENT, before the firmware is asked (6.11)", POPULATED,
	  finish_with_a_foreign_id_block_known, SNP, GMEM_INVALID, "RequireIdBlock", "open" },
	{ "finish with half an ID block",
	  "snp_launch_finish: id_block_en reads both, EFAULT (6.11)", POPULATED,
	  finish_with_half_an_id_block, BOTH, GMEM_INVALID, "RequireIdBlock", "open" },
	{ "finish with an ID block where there is none", "KVM_TDX_FINALIZE_VM has no data (6.16)",
	  POPULATED, finish_with_a_foreign_id_block, TDX, GMEM_INVALID, "RequireIdBlock", "open" },
	{ "finish with host data where there are none", "KVM_TDX_FINALIZE_VM has no data (6.16)",
	  POPULATED, finish_with_host_data, TDX, GMEM_INVALID, "size", "open" },
	{ "finish without a vCPU",
	  "snp_launch_update_vmsa: of every vCPU, and there is none (6.11)", POPULATED,
	  finish_without_a_vcpu, SNP, GMEM_OK, "", "running" },
	{ "finish after a page was punched",
	  "kvm_gmem_punch_hole: what was measured stays measured (6.11)", POPULATED,
	  finish_with_a_hole, SNP, GMEM_OK, "", "running" },
	{ "finish after a page was punched",
	  "tdx_td_finalize: a page that was added is gone, EINVAL (6.16)", POPULATED,
	  finish_with_a_hole, TDX, GMEM_FAILED, "firmware", "failed" },
	{ "finish after the memslot was taken away",
	  "tdx_sept_remove_private_spte before the end, EINVAL (6.16)", POPULATED,
	  finish_without_a_slot, TDX, GMEM_FAILED, "firmware", "failed" },
	{ "finish after a page was made shared",
	  "kvm_arch_pre_set_memory_attributes zaps it, EINVAL (6.16)", POPULATED,
	  finish_what_was_shared, TDX, GMEM_FAILED, "firmware", "failed" },
	{ "finish while the module is busy", "tdx_td_finalize: TDX_OPERAND_BUSY, EBUSY (6.16)",
	  POPULATED, finish_when_busy, TDX, GMEM_OK, "", "running" },
	{ "finish what the firmware refuses", "sev_issue_cmd: EIO with the firmware's code (6.11)",
	  POPULATED, finish_refused, SNP, GMEM_FAILED, "firmware", "failed" },
	{ "populate what is finished",
	  "SNP_LAUNCH_UPDATE: INVALID_GUEST_STATE (6.11); tdx_vcpu_init_mem_region: EINVAL (6.16)",
	  FINISHED, populate_afterwards, BOTH, GMEM_WRONG_STATE, "launch-state", "running" },
	{ "populate what the VMM has finished itself", "the same, behind gmemd's back", POPULATED,
	  populate_after_the_vmm_has_finished, BOTH, GMEM_FAILED, "firmware", "failed" },
};
const size_t n_finish_rules = GM_ARRAY_SIZE(finish_rules);
