/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy files as the operator names them.
 */
#ifndef GM_POLICY_FILE_H
#define GM_POLICY_FILE_H

#include "policy.h"

/* Room for a path, a line number, a key and a reason. */
#define GM_POLICY_FAULT_MAX 600

/*
 * Applies the file over @policy. 0; or -EINVAL with "FILE:LINE: KEY: REASON" or "FILE: REASON" in
 * @ret_fault and @policy untouched.
 */
GM_WARN_UNUSED int gm_policy_file_apply(const char *path, uint64_t host_memory,
					struct gm_policy *policy,
					char ret_fault[GM_POLICY_FAULT_MAX]);

#endif
