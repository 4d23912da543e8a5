/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy file. It is applied whole or not at all; what is said about a fault fits one line of a
 * log; what was applied applies again to the same end.
 */
#include <string.h>

#include "conf.h"
#include "gm_fuzz.h"

#define HOST_MEMORY (64 * GM_GIB)

static void require_printable(const char *text, size_t size)
{
	size_t length = strnlen(text, size);

	gm_fuzz_require(length > 0 && length < size);
	for (size_t i = 0; i < length; i++)
		gm_fuzz_require(text[i] >= ' ' && text[i] <= '~');
}

static void require_sane(const struct gm_policy *policy)
{
	gm_fuzz_require(policy->n_kinds <= GM_KINDS_MAX);
	gm_fuzz_require(!policy->all_kinds || policy->n_kinds == 0);
	gm_fuzz_require(policy->numa_nodes != 0);
	for (unsigned i = 0; i < policy->n_kinds; i++)
		require_printable(policy->kinds[i], sizeof(policy->kinds[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gm_policy defaults;
	struct gm_policy policy;
	struct gm_policy again;
	struct gm_unit_fault fault = { 0 };

	gm_policy_defaults(&defaults, HOST_MEMORY);
	policy = defaults;
	again = defaults;

	if (gm_conf_parse((const char *)data, size, HOST_MEMORY, &policy, &fault) != 0) {
		gm_fuzz_require(memcmp(&policy, &defaults, sizeof(policy)) == 0);
		gm_fuzz_require(fault.line > 0);
		require_printable(fault.key, sizeof(fault.key));
		require_printable(fault.reason, sizeof(fault.reason));
		return 0;
	}
	require_sane(&policy);
	gm_fuzz_require(gm_conf_parse((const char *)data, size, HOST_MEMORY, &again, &fault) == 0);
	gm_fuzz_require(memcmp(&policy, &again, sizeof(policy)) == 0);
	return 0;
}
