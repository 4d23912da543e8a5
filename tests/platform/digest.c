/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the firmware measures: a second opinion on backends/measure, with which it shares nothing
 * but the specification.
 */
#include "state.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "gm_platform.h"

static const uint8_t zeros[GP_PAGE_SIZE];

/* PAGE_INFO of the SNP firmware's ABI, all little-endian. */
struct page_info {
	uint8_t digest[48];
	uint8_t contents[48];
	uint16_t length;
	uint8_t type;
	uint8_t imi;
	uint8_t reserved;
	uint8_t vmpl_perms[3];
	uint64_t gpa;
};
GP_SIZE(struct page_info, 0x70);
GP_LAYOUT(struct page_info, gpa, 0x68);

/* SNP_LAUNCH_UPDATE: one link of the chain for each 4 KiB page. */
void gp_snp_extend(struct gp_vm *vm, uint64_t gpa, enum gp_snp_page type, const uint8_t *bytes)
{
	struct page_info info = { .length = sizeof(info), .type = (uint8_t)type, .gpa = gpa };

	if (!gp_state->hash)
		return;
	memcpy(info.digest, vm->chain, sizeof(info.digest));
	if (type == GP_SNP_NORMAL || type == GP_SNP_VMSA)
		(void)SHA384(bytes ? bytes : zeros, GP_PAGE_SIZE, info.contents);
	(void)SHA384((const uint8_t *)&info, sizeof(info), vm->chain);
}

static void td_record(struct gp_vm *vm, const char *what, uint64_t gpa)
{
	uint8_t record[128] = { 0 };

	memcpy(record, what, strlen(what));
	memcpy(record + 16, &gpa, sizeof(gpa));
	(void)SHA384_Update(&vm->sha384, record, sizeof(record));
}

/* TDH.MEM.PAGE.ADD: the address, not the contents. */
void gp_td_add(struct gp_vm *vm, uint64_t gpa)
{
	if (gp_state->hash)
		td_record(vm, "MEM.PAGE.ADD", gpa);
}

/* TDH.MR.EXTEND, sixteen times. */
void gp_td_extend(struct gp_vm *vm, uint64_t gpa, const uint8_t *bytes)
{
	for (uint64_t i = 0; i < GP_PAGE_SIZE && gp_state->hash; i += 256) {
		td_record(vm, "MR.EXTEND", gpa + i);
		(void)SHA384_Update(&vm->sha384, bytes + i, 256);
	}
}

/* Its size. A running one is finished in a copy. */
int gp_digest_now(const struct gp_vm *vm, uint8_t ret_digest[SHA384_DIGEST_LENGTH])
{
	SHA256_CTX sha256 = vm->sha256;
	SHA512_CTX sha384 = vm->sha384;

	switch (vm->type) {
	case GP_VM_SNP:
		memcpy(ret_digest, vm->chain, SHA384_DIGEST_LENGTH);
		return SHA384_DIGEST_LENGTH;
	case GP_VM_TDX:
		(void)SHA384_Final(ret_digest, &sha384);
		return SHA384_DIGEST_LENGTH;
	case GP_VM_SEV:
	case GP_VM_SEV_ES:
		(void)SHA256_Final(ret_digest, &sha256);
		return SHA256_DIGEST_LENGTH;
	default:
		return 0;
	}
}

/* LAUNCH_MEASURE: the MAC under the owner's key, then the nonce. Here all have one owner. */
void gp_sev_measure(const struct gp_vm *vm, uint8_t ret_blob[48])
{
	static const uint8_t tik[16] = "platform's owner";
	uint32_t policy = (uint32_t)vm->policy;
	uint8_t message[56] = { 0x04, 1, 55, 0 };
	unsigned size = 32;

	memcpy(message + 4, &policy, sizeof(policy));
	(void)gp_digest_now(vm, message + 8);
	memset(message + 40, 0x5a, 16);
	(void)HMAC(EVP_sha256(), tik, sizeof(tik), message, sizeof(message), ret_blob, &size);
	memset(ret_blob + 32, 0x5a, 16);
}
