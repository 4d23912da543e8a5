/* SPDX-License-Identifier: Apache-2.0 */
#include "policy.h"

#include <string.h>

void gm_policy_defaults(struct gm_policy *policy, uint64_t host_memory)
{
	uint64_t memory_max = gm_align_down(host_memory / 5 * 4, GM_PAGE_4K);

	/* Padding too: policies are compared as bytes. */
	memset(policy, 0, sizeof(*policy));
	policy->all_kinds = true;
	policy->memory_max = memory_max;
	policy->region_max = memory_max;
	policy->regions_max = 4096;
	policy->domains_max = 256;
	policy->sessions_max = 64;
	policy->jobs_max = 8;
	policy->numa_nodes = UINT64_MAX;
	policy->persistent = true;
	policy->persistent_ttl_ms = GM_POLICY_TTL_MS;
	policy->requests_rate = GM_UNLIMITED;
	policy->allocate_rate = GM_UNLIMITED;
	policy->shared_max = GM_UNLIMITED;
	policy->conversion_rate = GM_UNLIMITED;
	policy->conversion_granularity = GM_PAGE_4K;
	policy->convert_in_place = true;
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

bool gm_policy_allows_measurement(const struct gm_policy *policy, const uint8_t *digest,
				  size_t size)
{
	for (unsigned i = 0; i < policy->n_measurements; i++)
		if (policy->measurements[i].size == size &&
		    memcmp(policy->measurements[i].bytes, digest, size) == 0)
			return true;
	return policy->n_measurements == 0;
}
