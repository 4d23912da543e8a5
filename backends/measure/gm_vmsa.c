/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_vmsa.h"

#include <errno.h>
#include <string.h>

#include "gm_le.h"

enum at {
	AT_ES = 0x000,
	AT_CS = 0x010,
	AT_SS = 0x020,
	AT_DS = 0x030,
	AT_FS = 0x040,
	AT_GS = 0x050,
	AT_GDTR = 0x060,
	AT_LDTR = 0x070,
	AT_IDTR = 0x080,
	AT_TR = 0x090,
	AT_EFER = 0x0d0,
	AT_CR4 = 0x148,
	AT_CR0 = 0x158,
	AT_DR7 = 0x160,
	AT_DR6 = 0x168,
	AT_RFLAGS = 0x170,
	AT_RIP = 0x178,
	AT_G_PAT = 0x268,
	AT_RDX = 0x310,
	AT_SEV_FEATURES = 0x3b0,
	AT_XCR0 = 0x3e8,
	AT_MXCSR = 0x408,
	AT_FCW = 0x410,
};

#define EFER_SVME 0x1000 /* KVM keeps it set for itself */
#define CR4_MCE 0x40	 /* and this */
#define CR0_ET 0x10	 /* CD and NW are cleared by KVM_X86_QUIRK_CD_NW_CLEARED */
#define CR0_PE 0x01
#define PAT_RESET UINT64_C(0x0007040600070406)
#define PAT_GCE UINT64_C(0x0000000000070106)
#define RDX_DEFAULT 0x600 /* KVM's, when CPUID.1 is not set; the others chose the same */
#define MXCSR_RESET 0x1f80
#define FCW_RESET 0x37f

struct segment {
	uint16_t selector;
	uint16_t attrib;
	uint32_t limit;
	uint64_t base;
};

/* What differs between VMMs. */
static const struct vmm {
	const char *name;
	uint64_t pat;
	uint16_t cs_boot, cs_other, ss, data, tr;
	bool fixed_rdx;
	bool fpu;
} vmms[GM_VMM_N_] = {
	[GM_VMM_QEMU] = { "qemu", PAT_RESET, 0x9b, 0x9b, 0x93, 0x93, 0x8b, false, true },
	[GM_VMM_EC2] = { "ec2", PAT_RESET, 0x9a, 0x9b, 0x92, 0x93, 0x83, true, false },
	[GM_VMM_GCE] = { "gce", PAT_GCE, 0x9b, 0x9b, 0x93, 0x93, 0x8b, true, false },
	/* init_vmcb() and kvm_vcpu_reset(): SVM's reset values, untouched. */
	[GM_VMM_KVM] = { "kvm", PAT_RESET, 0x9a, 0x9a, 0x92, 0x92, 0x83, false, true },
};

int gm_vmm_find(const char *name, enum gm_vmm *ret_vmm)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(vmms); i++) {
		if (strcmp(vmms[i].name, name) == 0) {
			*ret_vmm = (enum gm_vmm)i;
			return 0;
		}
	}
	return -ENOENT;
}

const char *gm_vmm_name(enum gm_vmm vmm)
{
	return vmms[vmm].name;
}

bool gm_vmm_has_fixed_rdx(enum gm_vmm vmm, uint64_t *ret_rdx)
{
	*ret_rdx = RDX_DEFAULT;
	return vmms[vmm].fixed_rdx;
}

static void put_segment(uint8_t *page, enum at at, struct segment segment)
{
	gm_put_le16(page + at, segment.selector);
	gm_put_le16(page + at + 2, segment.attrib);
	gm_put_le32(page + at + 4, segment.limit);
	gm_put_le64(page + at + 8, segment.base);
}

static void put_real_mode(const struct gm_vmsa_spec *spec, uint8_t *page)
{
	static const enum at data[] = { AT_ES, AT_DS, AT_FS, AT_GS };
	const struct vmm *vmm = &vmms[spec->vmm];
	uint16_t cs = spec->boot ? vmm->cs_boot : vmm->cs_other;

	for (size_t i = 0; i < GM_ARRAY_SIZE(data); i++)
		put_segment(page, data[i], (struct segment){ 0, vmm->data, 0xffff, 0 });
	put_segment(page, AT_CS,
		    (struct segment){ 0xf000, cs, 0xffff, spec->eip & UINT32_C(0xffff0000) });
	put_segment(page, AT_SS, (struct segment){ 0, vmm->ss, 0xffff, 0 });
	put_segment(page, AT_TR, (struct segment){ 0, vmm->tr, 0xffff, 0 });
	gm_put_le64(page + AT_CR0, CR0_ET);
	gm_put_le64(page + AT_RIP, spec->eip & 0xffff);
	gm_put_le64(page + AT_G_PAT, vmm->pat);
}

static void put_flat_mode(const struct gm_vmsa_spec *spec, uint8_t *page)
{
	static const enum at data[] = { AT_ES, AT_SS, AT_DS, AT_FS };

	for (size_t i = 0; i < GM_ARRAY_SIZE(data); i++)
		put_segment(page, data[i], (struct segment){ 0x10, 0xc93, UINT32_MAX, 0 });
	put_segment(page, AT_CS, (struct segment){ 0x08, 0xc9b, UINT32_MAX, 0 });
	put_segment(page, AT_GS, (struct segment){ 0, 0x93, 0xffff, 0 });
	put_segment(page, AT_TR, (struct segment){ 0, 0x8b, 0xffff, 0 });
	gm_put_le64(page + AT_CR0, CR0_ET | CR0_PE);
	gm_put_le64(page + AT_RIP, spec->eip);
	gm_put_le64(page + AT_G_PAT, PAT_RESET);
}

static void put_fpu(const struct gm_vmsa_spec *spec, uint8_t *page)
{
	/* What hardware has shown for guests under an SVSM has no x87 and SSE state. */
	bool of_vmm = !spec->svsm && vmms[spec->vmm].fpu;

	if (spec->fpu == GM_FPU_ZERO || (spec->fpu == GM_FPU_OF_VMM && !of_vmm))
		return;
	gm_put_le32(page + AT_MXCSR, MXCSR_RESET);
	gm_put_le16(page + AT_FCW, FCW_RESET);
}

void gm_vmsa_build(const struct gm_vmsa_spec *spec, uint8_t ret_page[GM_VMSA_SIZE])
{
	memset(ret_page, 0, GM_VMSA_SIZE);
	put_segment(ret_page, AT_GDTR, (struct segment){ 0, 0, 0xffff, 0 });
	put_segment(ret_page, AT_IDTR, (struct segment){ 0, 0, 0xffff, 0 });
	put_segment(ret_page, AT_LDTR, (struct segment){ 0, 0x82, 0xffff, 0 });
	if (spec->svsm)
		put_flat_mode(spec, ret_page);
	else
		put_real_mode(spec, ret_page);
	gm_put_le64(ret_page + AT_EFER, EFER_SVME);
	gm_put_le64(ret_page + AT_CR4, CR4_MCE);
	gm_put_le64(ret_page + AT_DR7, 0x400);
	gm_put_le64(ret_page + AT_DR6, 0xffff0ff0);
	gm_put_le64(ret_page + AT_RFLAGS, 0x2);
	gm_put_le64(ret_page + AT_RDX, spec->rdx);
	gm_put_le64(ret_page + AT_SEV_FEATURES, spec->sev_features);
	gm_put_le64(ret_page + AT_XCR0, 0x1);
	put_fpu(spec, ret_page);
}
