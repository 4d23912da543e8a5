/* SPDX-License-Identifier: Apache-2.0 */
#include "vmsa_registers.h"

#include <errno.h>
#include <string.h>

#define EFER_SVME UINT64_C(0x1000)     /* KVM keeps it set for itself, */
#define CR4_MCE UINT64_C(0x40)	       /* and this, */
#define CR0_CD_NW UINT64_C(0x60000000) /* and clears these (KVM_X86_QUIRK_CD_NW_CLEARED) */
#define RFLAGS_FIXED UINT64_C(0x2)
#define ATTRIB_END 0x1000

/* Takes the bytes out of the copy: what is left in the end is what nobody has understood. */
static uint64_t take(uint8_t *page, size_t at, size_t size)
{
	uint64_t value = 0;

	for (size_t i = size; i-- > 0;)
		value = value << 8 | page[at + i];
	memset(page + at, 0, size);
	return value;
}

static bool expect(uint8_t *page, size_t at, size_t size, uint64_t value)
{
	return take(page, at, size) == value;
}

/* As a VMCB packs them (svm_set_segment). */
static bool take_segment(uint8_t *page, size_t at, struct kvm_segment *segment)
{
	unsigned attrib;

	segment->selector = (uint16_t)take(page, at, 2);
	attrib = (unsigned)take(page, at + 2, 2);
	segment->limit = (uint32_t)take(page, at + 4, 4);
	segment->base = take(page, at + 8, 8);
	segment->type = attrib & 0xf;
	segment->s = attrib >> 4 & 1;
	segment->dpl = attrib >> 5 & 3;
	segment->present = attrib >> 7 & 1;
	segment->avl = attrib >> 8 & 1;
	segment->l = attrib >> 9 & 1;
	segment->db = attrib >> 10 & 1;
	segment->g = attrib >> 11 & 1;
	segment->unusable = 0;
	return attrib < ATTRIB_END;
}

static bool take_table(uint8_t *page, size_t at, struct kvm_dtable *table)
{
	uint64_t limit = take(page, at + 4, 4);

	table->limit = (uint16_t)limit;
	table->base = take(page, at + 8, 8);
	return limit <= UINT16_MAX;
}

static bool take_segments(uint8_t *page, struct kvm_sregs *sregs)
{
	return take_segment(page, 0x00, &sregs->es) && take_segment(page, 0x10, &sregs->cs) &&
	       take_segment(page, 0x20, &sregs->ss) && take_segment(page, 0x30, &sregs->ds) &&
	       take_segment(page, 0x40, &sregs->fs) && take_segment(page, 0x50, &sregs->gs) &&
	       take_table(page, 0x60, &sregs->gdt) && take_segment(page, 0x70, &sregs->ldt) &&
	       take_table(page, 0x80, &sregs->idt) && take_segment(page, 0x90, &sregs->tr) &&
	       expect(page, 0xcb, 1, sregs->ss.dpl);
}

static bool take_control(uint8_t *page, struct kvm_sregs *sregs)
{
	uint64_t efer = take(page, 0xd0, 8), cr4 = take(page, 0x148, 8);

	sregs->efer = efer & ~EFER_SVME;
	sregs->cr4 = cr4 & ~CR4_MCE;
	sregs->cr3 = take(page, 0x150, 8);
	sregs->cr0 = take(page, 0x158, 8);
	sregs->cr2 = take(page, 0x240, 8);
	return (efer & EFER_SVME) && (cr4 & CR4_MCE) && !(sregs->cr0 & CR0_CD_NW);
}

static bool take_general(uint8_t *page, struct kvm_regs *regs)
{
	__u64 *const upper[] = { &regs->r8,  &regs->r9,	 &regs->r10, &regs->r11,
				 &regs->r12, &regs->r13, &regs->r14, &regs->r15 };

	regs->rflags = take(page, 0x170, 8);
	regs->rip = take(page, 0x178, 8);
	regs->rsp = take(page, 0x1d8, 8);
	regs->rax = take(page, 0x1f8, 8);
	regs->rcx = take(page, 0x308, 8);
	regs->rdx = take(page, 0x310, 8);
	regs->rbx = take(page, 0x318, 8);
	regs->rbp = take(page, 0x328, 8);
	regs->rsi = take(page, 0x330, 8);
	regs->rdi = take(page, 0x338, 8);
	for (size_t i = 0; i < GM_ARRAY_SIZE(upper); i++)
		*upper[i] = take(page, 0x340 + 8 * i, 8);
	return regs->rflags & RFLAGS_FIXED;
}

/* What a vCPU has after reset and is not told here: DR7, DR6, G_PAT, XCR0, MXCSR, FCW. */
static bool is_after_reset(uint8_t *page, uint64_t features)
{
	return expect(page, 0x160, 8, 0x400) && expect(page, 0x168, 8, 0xffff0ff0) &&
	       expect(page, 0x268, 8, UINT64_C(0x0007040600070406)) && expect(page, 0x3e8, 8, 1) &&
	       expect(page, 0x408, 4, 0x1f80) && expect(page, 0x410, 2, 0x37f) &&
	       expect(page, 0x3b0, 8, features);
}

int gm_vmsa_to_registers(const uint8_t page[GM_VMSA_SIZE], uint64_t features,
			 struct kvm_sregs *sregs, struct kvm_regs *ret_regs)
{
	static const uint8_t nothing[GM_VMSA_SIZE];
	struct kvm_sregs wanted = *sregs;
	struct kvm_regs regs = { 0 };
	uint8_t left[GM_VMSA_SIZE];

	memcpy(left, page, sizeof(left));
	if (!take_segments(left, &wanted) || !take_control(left, &wanted) ||
	    !take_general(left, &regs) || !is_after_reset(left, features) ||
	    memcmp(left, nothing, sizeof(left)) != 0)
		return -EINVAL;
	*sregs = wanted;
	*ret_regs = regs;
	return 0;
}
