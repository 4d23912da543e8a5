/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kind "tdx": Intel TDX (Linux 6.16). The digest is MRTD: pages that are added and extended with
 * their content, or only added. vCPUs are not in it. KVM keeps a mirror of the secure page table:
 * to zap a page destroys what it holds.
 */
#include "firmware_names.h"
#include "halves.h"
#include "kinds.h"
#include "kvm_ioctl.h"
#include "launch_digest.h"
#include "measured.h"
#include "slot.h"

static void begin(uint8_t ret_blob[GM_LAUNCH_BLOB_SIZE])
{
	gm_launch_begin_kind(GM_LAUNCH_TDX, ret_blob);
}

/* KVM_TDX_INIT_MEM_REGION always takes a source (kvm_gmem_populate, up to 7.3). */
#define WITH_SOURCE (1u << GM_POPULATE_NORMAL | 1u << GM_POPULATE_UNMEASURED)

static const struct gm_launch_rules rules = {
	.slot = GM_SLOT_TDX,
	.types = WITH_SOURCE,
	.sources = WITH_SOURCE,
	.parameters_max = 16384,
	.begin = begin,
	.finish = gm_launch_finish_as_it_is,
	.firmware_name = gm_firmware_name_tdx,
};

static const struct gm_measured_platform platform = {
	.name = "TDX",
	.wanted = "6.16, kvm_intel with tdx=Y, and TDX in the firmware's setup",
	.vm_type = GM_KVM_VM_TYPE_TDX,
	.caps = GM_CAP_MIRRORED_PAGE_TABLE,
};

static const struct gm_private_half private_half = {
	.vm_type = GM_KVM_VM_TYPE_TDX,
	.memory_flags = 0,
	.verify = gm_halves_private_verify,
	.in_place_flags = GM_KVM_GUEST_MEMFD_MMAP,
	.verify_in_place = gm_halves_verify_in_place,
	.kind = "guest-memfd",
	.present = gm_halves_private_present,
};

static int tdx_open(struct gm_backend_state **ret_state, struct gm_probe *ret_probe)
{
	return gm_measured_open(&platform, ret_state, ret_probe);
}

const struct gm_backend gm_tdx_backend = {
	.kind = "tdx",
	.private_half = &private_half,
	.launch = &rules,
	.open = tdx_open,
	GM_HALVES_OPERATIONS,
};
