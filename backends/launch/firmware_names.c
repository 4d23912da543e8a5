/* SPDX-License-Identifier: Apache-2.0 */
#include "firmware_names.h"

#include <stddef.h>

/* Tables are ended by a NULL name. */
struct firmware_name {
	uint32_t code;
	const char *name;
};

static const char *name_of(const struct firmware_name *names, uint32_t code)
{
	while (names->name != NULL && names->code != code)
		names++;
	return names->name != NULL ? names->name : "unknown";
}

static const struct firmware_name sev_names[] = {
	{ 0x01, "INVALID_PLATFORM_STATE" },
	{ 0x02, "INVALID_GUEST_STATE" },
	{ 0x03, "INVALID_PLATFORM_CONFIG" },
	{ 0x04, "INVALID_LEN" },
	{ 0x05, "ALREADY_OWNED" },
	{ 0x06, "INVALID_CERTIFICATE" },
	{ 0x07, "POLICY_FAILURE" },
	{ 0x08, "INACTIVE" },
	{ 0x09, "INVALID_ADDRESS" },
	{ 0x0a, "BAD_SIGNATURE" },
	{ 0x0b, "BAD_MEASUREMENT" },
	{ 0x0c, "ASID_OWNED" },
	{ 0x0d, "INVALID_ASID" },
	{ 0x0e, "WBINVD_REQUIRED" },
	{ 0x0f, "DFFLUSH_REQUIRED" },
	{ 0x10, "INVALID_GUEST" },
	{ 0x11, "INVALID_COMMAND" },
	{ 0x12, "ACTIVE" },
	{ 0x13, "HWERROR_PLATFORM" },
	{ 0x14, "HWERROR_UNSAFE" },
	{ 0x15, "UNSUPPORTED" },
	{ 0x16, "INVALID_PARAM" },
	{ 0x17, "RESOURCE_LIMIT" },
	{ 0x18, "SECURE_DATA_INVALID" },
	{ 0x19, "INVALID_PAGE_SIZE" },
	{ 0x1a, "INVALID_PAGE_STATE" },
	{ 0x1b, "INVALID_MDATA_ENTRY" },
	{ 0x1c, "INVALID_PAGE_OWNER" },
	{ 0x1d, "AEAD_OFLOW" },
	{ 0x1f, "EXIT_RING_BUFFER" },
	{ 0x20, "RMP_INIT_REQUIRED" },
	{ 0x21, "BAD_SVN" },
	{ 0x22, "BAD_VERSION" },
	{ 0x23, "SHUTDOWN_REQUIRED" },
	{ 0x24, "UPDATE_FAILED" },
	{ 0x25, "RESTORE_REQUIRED" },
	{ 0x26, "RMP_INITIALIZATION_FAILED" },
	{ 0x27, "INVALID_KEY" },
	{ 0, NULL },
};

const char *gm_firmware_name_sev(uint32_t code)
{
	return name_of(sev_names, code);
}

/* Upper halves of what a SEAMCALL returns (tdx_errno.h); the lower ones name an operand. */
static const struct firmware_name tdx_names[] = {
	{ 0x40000001, "NON_RECOVERABLE_VCPU" },
	{ 0x40000002, "NON_RECOVERABLE_TD" },
	{ 0x80000003, "INTERRUPTED_RESUMABLE" },
	{ 0xc0000100, "OPERAND_INVALID" },
	{ 0x80000200, "OPERAND_BUSY" },
	{ 0x80000201, "PREVIOUS_TLB_EPOCH_BUSY" },
	{ 0xc0000300, "PAGE_METADATA_INCORRECT" },
	{ 0x80000702, "VCPU_NOT_ASSOCIATED" },
	{ 0x80000800, "KEY_GENERATION_FAILED" },
	{ 0xc0000810, "KEY_STATE_INCORRECT" },
	{ 0x00000815, "KEY_CONFIGURED" },
	{ 0x00000821, "NO_HKID_READY_TO_WBCACHE" },
	{ 0x80000824, "FLUSHVP_NOT_DONE" },
	{ 0xc0000b00, "EPT_WALK_FAILED" },
	{ 0xc0000b0d, "EPT_ENTRY_STATE_INCORRECT" },
	{ 0xc0000c02, "METADATA_FIELD_NOT_READABLE" },
	{ 0, NULL },
};

const char *gm_firmware_name_tdx(uint32_t code)
{
	return name_of(tdx_names, code);
}
