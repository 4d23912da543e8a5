/* SPDX-License-Identifier: Apache-2.0 */
/* vCPUs' registers after reset, and CPU models, against pages that public tools made. */
#include <errno.h>
#include <string.h>

#include "firmware_image.h"
#include "gm_cpu_model.h"
#include "gm_digest.h"
#include "gm_le.h"
#include "gm_test.h"
#include "gm_vmsa.h"

#define NAPLES 0x800f12

static void assert_page(const struct gm_vmsa_spec *spec, const char *sha384)
{
	uint8_t page[GM_VMSA_SIZE], digest[GM_SHA384_SIZE];

	gm_vmsa_build(spec, page);
	gm_hash_bytes(GM_HASH_SHA384, page, sizeof(page), digest);
	assert_hex(digest, sha384);
}

/* Pages of virtee/sev-snp-measure for EPYC-v4, as their SHA-384. */
static void qemus_registers_are_those_of_the_tools(void **state)
{
	struct gm_vmsa_spec spec = { .vmm = GM_VMM_QEMU,
				     .boot = true,
				     .eip = GM_VMSA_RESET_EIP,
				     .rdx = NAPLES,
				     .sev_features = 0x1 };

	(void)state;
	assert_page(&spec, "77920c4c629ff47e90c0e174fc1ad0eb6fa664f88cd4739488058a8c6cb1a77b"
			   "3856f55378e9518d0da99452d51c553a");
	spec.sev_features = 0x21;
	assert_page(&spec, "ae79efa6efbe1594a2717dfd42af495a0e4ed37b00e529a5fdf349bea04c3513"
			   "962ffb0c74cf65b0d9a1857271833d6e");
	spec.sev_features = 0;
	assert_page(&spec, "69c94ea0886388820b7d37645642a46a4751bf5209f779d6a05337d11698a66c"
			   "b6021b9aeacaad1bb92475944344f6f8");
	spec = (struct gm_vmsa_spec){
		.vmm = GM_VMM_QEMU, .eip = 0x80b004, .rdx = NAPLES, .sev_features = 0x1
	};
	assert_page(&spec, "8413b852790765a310d95867a8b00bfca3a802b5a80830044b45e253fe96222657e1"
			   "1e53fcf63eb0e0afd722385bf7b4");
}

struct wanted {
	uint16_t offset;
	uint16_t size;
	uint64_t value;
};

static void assert_registers(const struct gm_vmsa_spec *spec, const struct wanted *wanted,
			     size_t n_wanted)
{
	uint8_t page[GM_VMSA_SIZE], number[8];

	gm_vmsa_build(spec, page);
	for (size_t i = 0; i < n_wanted; i++) {
		memset(number, 0, sizeof(number));
		memcpy(number, page + wanted[i].offset, wanted[i].size);
		assert_int_equal(gm_get_le64(number), wanted[i].value);
	}
}

#define REGISTERS(spec, ...)                                                         \
	do {                                                                         \
		const struct wanted wanted[] = { __VA_ARGS__ };                      \
		assert_registers(&(spec), wanted, sizeof(wanted) / sizeof(*wanted)); \
	} while (0)

static void each_vmm_has_its_own(void **state)
{
	struct gm_vmsa_spec spec = { .vmm = GM_VMM_EC2, .boot = true, .eip = GM_VMSA_RESET_EIP };

	(void)state;
	REGISTERS(spec, { 0x012, 2, 0x9a }, { 0x022, 2, 0x92 }, { 0x002, 2, 0x93 },
		  { 0x092, 2, 0x83 }, { 0x268, 8, 0x0007040600070406 }, { 0x408, 4, 0 },
		  { 0x410, 2, 0 });
	spec.boot = false;
	REGISTERS(spec, { 0x012, 2, 0x9b }, { 0x022, 2, 0x92 });
	spec.vmm = GM_VMM_GCE;
	REGISTERS(spec, { 0x012, 2, 0x9b }, { 0x022, 2, 0x93 }, { 0x092, 2, 0x8b },
		  { 0x268, 8, 0x70106 }, { 0x408, 4, 0 });
	spec.vmm = GM_VMM_KVM;
	REGISTERS(spec, { 0x012, 2, 0x9a }, { 0x022, 2, 0x92 }, { 0x002, 2, 0x92 },
		  { 0x092, 2, 0x83 }, { 0x408, 4, 0x1f80 }, { 0x410, 2, 0x37f });
}

static void an_svsm_starts_in_flat_protected_mode(void **state)
{
	struct gm_vmsa_spec spec = { .svsm = true, .eip = 0xff801234, .sev_features = 1 };

	(void)state;
	REGISTERS(spec, { 0x000, 2, 0x10 }, { 0x002, 2, 0xc93 }, { 0x004, 4, 0xffffffff },
		  { 0x010, 2, 0x08 }, { 0x012, 2, 0xc9b }, { 0x018, 8, 0 }, { 0x052, 2, 0x93 },
		  { 0x158, 8, 0x11 }, { 0x178, 8, 0xff801234 }, { 0x3b0, 8, 1 }, { 0x408, 4, 0 });
}

static void x87_and_sse_state_are_as_asked(void **state)
{
	struct gm_vmsa_spec spec = { .vmm = GM_VMM_QEMU, .fpu = GM_FPU_ZERO };

	(void)state;
	REGISTERS(spec, { 0x408, 4, 0 }, { 0x410, 2, 0 });
	spec = (struct gm_vmsa_spec){ .vmm = GM_VMM_EC2, .fpu = GM_FPU_RESET };
	REGISTERS(spec, { 0x408, 4, 0x1f80 }, { 0x410, 2, 0x37f });
}

static void every_byte_of_the_save_area_has_a_name(void **state)
{
	struct gm_vmsa_register reg;
	char name[16];

	(void)state;
	for (size_t i = 0; i < GM_VMSA_SIZE; i++) {
		reg = gm_vmsa_register_at(i);
		assert_true(reg.offset <= i && i < (size_t)reg.offset + reg.size);
		assert_true(strlen(gm_vmsa_register_name(&reg, name, sizeof(name))) > 0);
	}
	reg = gm_vmsa_register_at(0x3b3);
	assert_string_equal(reg.name, "sev_features");
	reg = gm_vmsa_register_at(0x01f);
	assert_string_equal(reg.name, "cs.base");
	reg = gm_vmsa_register_at(0x66f);
	assert_string_equal(reg.name, "ymm15_high");
	reg = gm_vmsa_register_at(0x675);
	assert_string_equal(gm_vmsa_register_name(&reg, name, sizeof(name)), "0x670");
}

static void models_have_signatures(void **state)
{
	static const struct {
		const char *name;
		uint32_t signature;
	} models[] = { { "EPYC", NAPLES },	   { "EPYC-v4", NAPLES },
		       { "EPYC-IBPB", NAPLES },	   { "EPYC-Rome-v2", 0x830f10 },
		       { "EPYC-Milan", 0xa00f11 }, { "EPYC-Genoa-v1", 0xa10f10 },
		       { "EPYC-Turin", 0xb00f00 } };
	uint32_t signature;

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(models); i++) {
		assert_int_equal(gm_cpu_model_find(models[i].name, &signature), 0);
		assert_int_equal(signature, models[i].signature);
	}
	assert_int_equal(gm_cpu_model_find("epyc", &signature), -ENOENT);
	assert_int_equal(gm_cpu_model_find("", &signature), -ENOENT);
	assert_int_equal(gm_cpu_model_find("EPYC-v44", &signature), -ENOENT);
}

static void signatures_are_put_together_as_cpuid_does(void **state)
{
	uint32_t signature;

	(void)state;
	assert_int_equal(gm_cpu_signature(23, 49, 0, &signature), 0);
	assert_int_equal(signature, 0x830f10);
	assert_int_equal(gm_cpu_signature(6, 0x2a, 7, &signature), 0);
	assert_int_equal(signature, 0x206a7);
	assert_int_equal(gm_cpu_signature(15, 0, 0, &signature), 0);
	assert_int_equal(signature, 0xf00);
	assert_int_equal(gm_cpu_signature(271, 0, 0, &signature), -EINVAL);
	assert_int_equal(gm_cpu_signature(23, 256, 0, &signature), -EINVAL);
	assert_int_equal(gm_cpu_signature(23, 1, 16, &signature), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(qemus_registers_are_those_of_the_tools),
		gm_test(each_vmm_has_its_own),
		gm_test(an_svsm_starts_in_flat_protected_mode),
		gm_test(x87_and_sse_state_are_as_asked),
		gm_test(every_byte_of_the_save_area_has_a_name),
		gm_test(models_have_signatures),
		gm_test(signatures_are_put_together_as_cpuid_does),
	};

	return gm_test_run("vmsa", tests, GM_ARRAY_SIZE(tests));
}
