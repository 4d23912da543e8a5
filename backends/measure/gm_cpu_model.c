/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_cpu_model.h"

#include <errno.h>
#include <string.h>

#define FAMILY_MAX (0xf + 0xff)
#define MODEL_MAX 0xff
#define STEPPING_MAX 0xf

/* Family, model and stepping of the EPYC models in builtin_x86_defs of QEMU's target/i386/cpu.c. */
#define EPYC_NAPLES 0x800f12
#define EPYC_ROME 0x830f10
#define EPYC_MILAN 0xa00f11
#define EPYC_GENOA 0xa10f10
#define EPYC_TURIN 0xb00f00

static const struct {
	const char *name;
	uint32_t signature;
} models[] = {
	{ "EPYC", EPYC_NAPLES },	 { "EPYC-v1", EPYC_NAPLES },
	{ "EPYC-v2", EPYC_NAPLES },	 { "EPYC-IBPB", EPYC_NAPLES },
	{ "EPYC-v3", EPYC_NAPLES },	 { "EPYC-v4", EPYC_NAPLES },
	{ "EPYC-v5", EPYC_NAPLES },	 { "EPYC-Rome", EPYC_ROME },
	{ "EPYC-Rome-v1", EPYC_ROME },	 { "EPYC-Rome-v2", EPYC_ROME },
	{ "EPYC-Rome-v3", EPYC_ROME },	 { "EPYC-Rome-v4", EPYC_ROME },
	{ "EPYC-Rome-v5", EPYC_ROME },	 { "EPYC-Milan", EPYC_MILAN },
	{ "EPYC-Milan-v1", EPYC_MILAN }, { "EPYC-Milan-v2", EPYC_MILAN },
	{ "EPYC-Milan-v3", EPYC_MILAN }, { "EPYC-Genoa", EPYC_GENOA },
	{ "EPYC-Genoa-v1", EPYC_GENOA }, { "EPYC-Genoa-v2", EPYC_GENOA },
	{ "EPYC-Turin", EPYC_TURIN },	 { "EPYC-Turin-v1", EPYC_TURIN },
};

int gm_cpu_signature(unsigned family, unsigned model, unsigned stepping, uint32_t *ret_signature)
{
	unsigned base = family < 0xf ? family : 0xf;

	if (family > FAMILY_MAX || model > MODEL_MAX || stepping > STEPPING_MAX)
		return -EINVAL;
	*ret_signature = (uint32_t)((family - base) << 20 | (model >> 4) << 16 | base << 8 |
				    (model & 0xf) << 4 | stepping);
	return 0;
}

int gm_cpu_model_find(const char *name, uint32_t *ret_signature)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(models); i++) {
		if (strcmp(models[i].name, name) == 0) {
			*ret_signature = models[i].signature;
			return 0;
		}
	}
	return -ENOENT;
}

const char *gm_cpu_model_name(size_t i)
{
	return i < GM_ARRAY_SIZE(models) ? models[i].name : NULL;
}
