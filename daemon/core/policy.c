/* SPDX-License-Identifier: Apache-2.0 */
#include "policy.h"

#include <string.h>

void gm_policy_defaults(struct gm_policy *policy, uint64_t host_memory)
{
	uint64_t memory_max = gm_align_down(host_memory / 5 * 4, GM_PAGE_4K);

	*policy = (struct gm_policy){
		.all_kinds = true,
		.memory_max = memory_max,
		.region_max = memory_max,
		.regions_max = 4096,
		.domains_max = 256,
		.sessions_max = 64,
		.jobs_max = 8,
		.numa_nodes = UINT64_MAX,
		.persistent = true,
		.persistent_ttl_ms = GM_POLICY_TTL_MS,
	};
}

bool gm_policy_allows_kind(const struct gm_policy *policy, const char *kind)
{
	if (policy->all_kinds)
		return true;

	for (unsigned i = 0; i < policy->n_kinds; i++)
		if (strcmp(policy->kinds[i], kind) == 0)
			return true;
	return false;
}
