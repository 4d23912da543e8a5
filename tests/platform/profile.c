/* SPDX-License-Identifier: Apache-2.0 */
#include "profile.h"

#include "gm_platform.h"

const char *const gm_platform_versions[GM_PLATFORM_VERSIONS] = {
	"6.11", "6.12", "6.16", "6.18", "7.0", "7.2",
};

const struct gp_profile gp_profiles[GM_PLATFORM_VERSIONS] = {
	{ .version = "6.11" },
	{ .version = "6.12" },
	{ .version = "6.16", .tdx = true },
	{ .version = "6.18", .tdx = true, .gmem_flags = true },
	{ .version = "7.0",
	  .tdx = true,
	  .gmem_flags = true,
	  .populate_pins = true,
	  .certificates = true,
	  .snp_policy_more = true },
	{ .version = "7.2",
	  .tdx = true,
	  .gmem_flags = true,
	  .populate_pins = true,
	  .certificates = true,
	  .snp_policy_more = true,
	  .bind_eexist = true,
	  .cpuid_for_write = true },
};
