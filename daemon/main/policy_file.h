/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy files as the operator names them.
 */
#ifndef GM_POLICY_FILE_H
#define GM_POLICY_FILE_H

#include "conf.h"

/* Room for a path, a line number, a key and a reason. */
#define GM_POLICY_FAULT_MAX 600

/* What holds for somebody, and where each key of it comes from. */
struct gm_policy_view {
	struct gm_policy policy;
	struct gm_conf_sources sources;
};

/*
 * Applies the file over @view. 0; or -EINVAL with "FILE:LINE: KEY: REASON" or "FILE: REASON" in
 * @ret_fault and @view untouched.
 */
GM_WARN_UNUSED int gm_policy_file_apply(const char *path, uint64_t host_memory,
					struct gm_policy_view *view,
					char ret_fault[GM_POLICY_FAULT_MAX]);

#endif
