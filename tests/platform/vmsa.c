/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's registers after reset, and as sev_es_sync_vmsa puts them into the page that is measured.
 */
#include <string.h>

#include "state.h"

#define CR0_CD_NW 0x60000000ULL
#define CR4_MCE 0x40ULL
#define EFER_SVME 0x1000ULL
#define PAT_RESET 0x0007040600070406ULL

static void put(uint8_t *page, size_t offset, uint64_t value, size_t size)
{
	memcpy(page + offset, &value, size); /* little-endian, as the page is */
}

/* svm_set_segment: the attributes as a VMCB packs them. */
static void put_segment(uint8_t *page, size_t offset, const struct kvm_segment *segment)
{
	unsigned attrib = segment->type | (unsigned)segment->s << 4 | (unsigned)segment->dpl << 5 |
			  (unsigned)(segment->present && !segment->unusable) << 7 |
			  (unsigned)segment->avl << 8 | (unsigned)segment->l << 9 |
			  (unsigned)segment->db << 10 | (unsigned)segment->g << 11;

	put(page, offset, segment->selector, 2);
	put(page, offset + 2, attrib, 2);
	put(page, offset + 4, segment->limit, 4);
	put(page, offset + 8, segment->base, 8);
}

static void put_table(uint8_t *page, size_t offset, const struct kvm_dtable *table)
{
	put(page, offset + 4, table->limit, 4);
	put(page, offset + 8, table->base, 8);
}

static void put_general(uint8_t *page, const struct kvm_regs *regs)
{
	const uint64_t upper[8] = { regs->r8,  regs->r9,  regs->r10, regs->r11,
				    regs->r12, regs->r13, regs->r14, regs->r15 };

	put(page, 0x170, regs->rflags, 8);
	put(page, 0x178, regs->rip, 8);
	put(page, 0x1d8, regs->rsp, 8);
	put(page, 0x1f8, regs->rax, 8);
	put(page, 0x308, regs->rcx, 8);
	put(page, 0x310, regs->rdx, 8);
	put(page, 0x318, regs->rbx, 8);
	put(page, 0x328, regs->rbp, 8);
	put(page, 0x330, regs->rsi, 8);
	put(page, 0x338, regs->rdi, 8);
	memcpy(page + 0x340, upper, sizeof(upper));
}

static void put_system(uint8_t *page, const struct gp_vcpu *vcpu)
{
	const struct kvm_sregs *sregs = &vcpu->sregs;

	put_segment(page, 0x00, &sregs->es);
	put_segment(page, 0x10, &sregs->cs);
	put_segment(page, 0x20, &sregs->ss);
	put_segment(page, 0x30, &sregs->ds);
	put_segment(page, 0x40, &sregs->fs);
	put_segment(page, 0x50, &sregs->gs);
	put_table(page, 0x60, &sregs->gdt);
	put_segment(page, 0x70, &sregs->ldt);
	put_table(page, 0x80, &sregs->idt);
	put_segment(page, 0x90, &sregs->tr);
	put(page, 0x0cb, sregs->ss.dpl, 1);
	put(page, 0x0d0, sregs->efer | EFER_SVME, 8);
	put(page, 0x140, vcpu->xss, 8);
	put(page, 0x148, sregs->cr4 | CR4_MCE, 8);
	put(page, 0x150, sregs->cr3, 8);
	/* svm_set_cr0: KVM_X86_QUIRK_CD_NW_CLEARED. */
	put(page, 0x158, sregs->cr0 & ~CR0_CD_NW, 8);
	put(page, 0x160, vcpu->debugregs.dr7, 8);
	put(page, 0x168, vcpu->debugregs.dr6, 8);
	put(page, 0x240, sregs->cr2, 8);
	put(page, 0x268, vcpu->pat, 8);
	put(page, 0x2ec, vcpu->tsc_aux, 4);
	put(page, 0x3e8, vcpu->xcr0, 8);
}

/* FXSAVE's abridged tag word has one bit a register, the page two: all empty is all ones. */
static void put_fpu(uint8_t *page, const struct kvm_fpu *fpu)
{
	put(page, 0x408, fpu->mxcsr, 4);
	put(page, 0x40c, fpu->ftwx, 2);
	put(page, 0x40e, fpu->fsw, 2);
	put(page, 0x410, fpu->fcw, 2);
	put(page, 0x412, fpu->last_opcode, 2);
	put(page, 0x418, fpu->last_ip, 8);
	put(page, 0x400, fpu->last_dp, 8);
	memcpy(page + 0x470, fpu->xmm, 256);
}

void gp_vmsa_build(const struct gp_vm *vm, const struct gp_vcpu *vcpu, uint8_t page[GP_PAGE_SIZE])
{
	memset(page, 0, GP_PAGE_SIZE);
	put_system(page, vcpu);
	put_general(page, &vcpu->regs);
	/* Not for VMs of the default type; the model has none of those. */
	put_fpu(page, &vcpu->fpu);
	put(page, 0x3b0, vm->features, 8);
}

static struct kvm_segment segment(unsigned type, unsigned s)
{
	return (struct kvm_segment){
		.limit = 0xffff, .type = (uint8_t)type, .s = (uint8_t)s, .present = 1
	};
}

/* init_vmcb and kvm_vcpu_reset. */
void gp_vcpu_reset(struct gp_vcpu *vcpu)
{
	struct kvm_sregs *sregs = &vcpu->sregs;

	memset(sregs, 0, sizeof(*sregs));
	sregs->es = sregs->ss = sregs->ds = sregs->fs = sregs->gs = segment(2, 1);
	sregs->cs = segment(10, 1);
	sregs->cs.selector = 0xf000;
	sregs->cs.base = 0xffff0000;
	sregs->ldt = segment(2, 0);
	sregs->tr = segment(3, 0);
	sregs->gdt.limit = sregs->idt.limit = 0xffff;
	sregs->cr0 = 0x60000010;
	vcpu->regs = (struct kvm_regs){ .rip = 0xfff0, .rflags = 2 };
	vcpu->regs.rdx = vcpu->signature != 0 ? vcpu->signature : 0x600;
	vcpu->debugregs = (struct kvm_debugregs){ .dr6 = 0xffff0ff0, .dr7 = 0x400 };
	vcpu->fpu = (struct kvm_fpu){ .fcw = 0x37f, .mxcsr = 0x1f80 };
	vcpu->xcr0 = 1;
	vcpu->pat = PAT_RESET;
}
