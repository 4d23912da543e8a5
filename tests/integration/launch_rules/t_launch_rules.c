/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Breaks every rule in turn and looks at what the client is told: which status, which rule, which
 * state the launch is in. What is still good has the digest of the model's firmware.
 *
 * usage: t_launch_rules SOCKET KIND, on the machine $GM_PLATFORM. One line a rule:
 * "KIND: NAME: STATUS/RULE, STATE: TEXT". 1 when one differs from its row.
 */
#include <stdio.h>
#include <string.h>

#include "gm_platform.h"
#include "rules.h"

static const struct {
	const struct rule *rules;
	const size_t *n;
} tables[] = {
	{ start_rules, &n_start_rules },
	{ populate_rules, &n_populate_rules },
	{ finish_rules, &n_finish_rules },
	{ sev_rules, &n_sev_rules },
};

/* "REQUEST: the errno's words" explains nothing; as an addition in brackets they may be there. */
static bool is_explained(const struct gmem_error *error)
{
	const char *words = error->sys_errno ? strerrordesc_np(error->sys_errno) : NULL;
	char bare[128];

	if (!error->text[0] || error->firmware_error || !words)
		return error->text[0];
	(void)snprintf(bare, sizeof(bare), ": %s", words);
	return !strstr(error->text, bare);
}

/* Of a launch that has not failed. */
static bool has_digest_of_firmware(const struct vmm *vmm, const struct gmem_domain_info *info)
{
	uint8_t models[GM_PLATFORM_DIGEST_MAX];
	int size;

	if (strcmp(info->launch, "open") != 0 && strcmp(info->launch, "running") != 0)
		return true;
	/* Written down, and not done. */
	if (vmm->kind & OWN && strcmp(info->launch, "open") == 0)
		return true;
	/* Nobody has told gmemd of the registers. */
	if (vmm->kind == SNP && strcmp(info->launch, "running") == 0)
		return info->measurement_size == 0 && info->measurement_reason[0];
	size = gm_platform_digest(vmm->vm, models);
	return size > 0 && info->measurement_size == (uint32_t)size &&
	       memcmp(info->measurement, models, (size_t)size) == 0;
}

static bool try_rule(gmem_client *client, unsigned kind, const struct rule *rule)
{
	static const struct gmem_error none = { .rule = "", .text = "" };
	struct gmem_domain_info info;
	struct gmem_error error;
	const char *fault = "";
	char text[512];
	struct vmm vmm;
	int status;

	vmm_open(&vmm, client, kind, rule->from);
	status = -rule->breach(&vmm);
	error = status ? *gmem_error(client) : none;
	(void)snprintf(text, sizeof(text), "%s", error.text);
	error.text = text;
	must(gmem_get_domain(client, gmem_domain_id(vmm.domain), &info) == 0, "look at it");
	if (status != rule->status || strcmp(error.rule, rule->rule) != 0)
		fault = " (another answer than wanted)";
	else if (strcmp(info.launch, rule->launch) != 0)
		fault = " (another state than wanted)";
	else if (status && !is_explained(&error))
		fault = " (not explained)";
	else if (!has_digest_of_firmware(&vmm, &info))
		fault = " (another digest than the firmware's)";
	(void)printf("%s: %s: %s/%s, %s: %s%s\n", vmm_kind_name(kind), rule->name,
		     gmem_status_name(status), error.rule, info.launch, text, fault);
	vmm_close(&vmm);
	return !fault[0];
}

int main(int argc, char *argv[])
{
	gmem_client *client;
	unsigned kind = SNP;
	bool good = true;

	must(argc == 3, "arguments");
	while (strcmp(vmm_kind_name(kind), argv[2]) != 0)
		kind <<= 1;
	must(gmem_connect(argv[1], NULL, &client) == 0, "connect to gmemd");
	for (size_t i = 0; i < GM_ARRAY_SIZE(tables); i++)
		for (size_t j = 0; j < *tables[i].n; j++)
			if (tables[i].rules[j].kinds & kind)
				good &= try_rule(client, kind, &tables[i].rules[j]);
	gmem_disconnect(client);
	return good ? 0 : 1;
}
