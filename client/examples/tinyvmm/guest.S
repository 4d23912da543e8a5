/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest: 32-bit flat code without paging, loaded at GUEST_CODE. It counts, and keeps all that
 * it knows in its own memory, so that whoever maps that memory next can let it go on.
 *
 * For each tick i it writes i ^ PATTERN to one page of its RAM, a different page each time, and
 * prints "tick i". When it starts and finds its state already there, it reads back every page that
 * the last ticks wrote before it goes on.
 *
 * On private memory the ticks' pages are private at first. Each tick then makes its page shared and
 * private again, asking for it by hypercall, and looks whether a page that changes reads as zero.
 *
 * Entered with ecx = bytes of RAM, edx = 1 if it is private.
 */
#include "guest.h"

/* Of the kernel's linux/kvm_para.h and asm/kvm_para.h. */
#define KVM_MAP_GPA_RANGE 12
#define KVM_MAP_ENCRYPTED (1 << 4)

	.section .rodata
	.code32
	.globl guest_image, guest_image_size
guest_image:
	movl	$GUEST_STACK, %esp
	movl	$GUEST_STATE, %ebx
	/* Pages that the ticks go round: all from 1 MiB up. */
	subl	$GUEST_RAM_LOW, %ecx
	shrl	$12, %ecx
	movl	%ecx, STATE_PAGES(%ebx)
	movl	%edx, STATE_PRIVATE(%ebx)

	cmpl	$GUEST_MAGIC, STATE_MAGIC(%ebx)
	je	resumed
	movl	$GUEST_MAGIC, STATE_MAGIC(%ebx)
	movl	$0, STATE_COUNTER(%ebx)
	movl	$(text_fresh - guest_image + GUEST_CODE), %esi
	call	print_text
	jmp	tick

resumed:
	movl	$(text_resumed - guest_image + GUEST_CODE), %esi
	call	print_text
	movl	STATE_COUNTER(%ebx), %eax
	call	print_number
	movl	STATE_COUNTER(%ebx), %edi
	xorl	%ebp, %ebp
check:
	testl	%edi, %edi
	jz	intact
	cmpl	STATE_PAGES(%ebx), %ebp
	je	intact
	movl	%edi, %eax
	call	page_of_tick
	movl	%edi, %eax
	xorl	$GUEST_PATTERN, %eax
	cmpl	%eax, (%edx)
	jne	damaged
	incl	%ebp
	decl	%edi
	jmp	check
intact:
	movl	$(text_intact - guest_image + GUEST_CODE), %esi
	call	print_text
	movl	%ebp, %eax
	call	print_number
	movl	$(text_end - guest_image + GUEST_CODE), %esi
	call	print_text

tick:
	movl	STATE_COUNTER(%ebx), %eax
	incl	%eax
	call	page_of_tick
	movl	%eax, %edi
	xorl	$GUEST_PATTERN, %edi
	movl	%edi, (%edx)
	/* The counter last: a death between the two stores costs a tick, never a wrong page. */
	movl	%eax, STATE_COUNTER(%ebx)
	movl	$(text_tick - guest_image + GUEST_CODE), %esi
	call	print_text
	call	print_number
	movl	$(text_end - guest_image + GUEST_CODE), %esi
	call	print_text
	cmpl	$0, STATE_PRIVATE(%ebx)
	je	rest
	call	convert_and_back
rest:
	hlt
	jmp	tick

/* eax = tick, whose page has just been written; ebx = state. Keeps ebx. */
convert_and_back:
	call	page_of_tick
	movl	%edx, %edi
	call	look
	xorl	%ebp, %ebp
	call	convert
	cmpl	$0, (%edi)
	jne	damaged
	movl	$GUEST_PATTERN, (%edi)
	call	look
	movl	$KVM_MAP_ENCRYPTED, %ebp
	call	convert
	cmpl	$0, (%edi)
	jne	damaged
	movl	$(text_converted - guest_image + GUEST_CODE), %esi
	jmp	print_text

/* edi = address of a page, ebp = how it is to be. Clobbers eax, ecx, edx. */
convert:
	pushl	%ebx
	movl	$KVM_MAP_GPA_RANGE, %eax
	movl	%edi, %ebx
	movl	$1, %ecx
	movl	%ebp, %edx
	/* KVM puts the other maker's instruction here, where it is that one. */
	vmmcall
	popl	%ebx
	testl	%eax, %eax
	jnz	refused
	ret
refused:
	movl	$(text_refused - guest_image + GUEST_CODE), %esi
	call	print_text
	movw	$GUEST_EXIT_PORT, %dx
	movb	$2, %al
	outb	%al, %dx
	hlt

/* edi = address. Clobbers eax, edx. */
look:
	movl	%edi, %eax
	movw	$GUEST_LOOK_PORT, %dx
	outl	%eax, %dx
	ret

damaged:
	movl	$(text_damaged - guest_image + GUEST_CODE), %esi
	call	print_text
	movw	$GUEST_EXIT_PORT, %dx
	movb	$1, %al
	outb	%al, %dx
	hlt

/* eax = tick; edx = address of its page. Keeps all but edx. */
page_of_tick:
	pushl	%eax
	pushl	%ecx
	xorl	%edx, %edx
	divl	STATE_PAGES(%ebx)
	imull	$GUEST_STRIDE, %edx, %eax
	xorl	%edx, %edx
	divl	STATE_PAGES(%ebx)
	shll	$12, %edx
	addl	$GUEST_RAM_LOW, %edx
	popl	%ecx
	popl	%eax
	ret

/* esi = text, NUL-ended. Keeps eax, ebx, edi, ebp. */
print_text:
	pushl	%eax
1:	lodsb
	testb	%al, %al
	jz	2f
	call	print_character
	jmp	1b
2:	popl	%eax
	ret

/* eax = number, printed in decimal. Keeps eax, ebx, edi, ebp. */
print_number:
	pushl	%eax
	movl	$10, %ecx
	pushl	$0
1:	xorl	%edx, %edx
	divl	%ecx
	addl	$'0', %edx
	pushl	%edx
	testl	%eax, %eax
	jnz	1b
2:	popl	%eax
	testl	%eax, %eax
	jz	3f
	call	print_character
	jmp	2b
3:	popl	%eax
	ret

/* al = character: wait until the UART's holding register is empty, then send. Clobbers edx, ah. */
print_character:
	movb	%al, %ah
	movw	$(GUEST_SERIAL_PORT + 5), %dx
1:	inb	%dx, %al
	testb	$0x20, %al
	jz	1b
	movw	$GUEST_SERIAL_PORT, %dx
	movb	%ah, %al
	outb	%al, %dx
	ret

text_fresh:
	.asciz	"guest: hello, this is a fresh boot\n"
text_resumed:
	.asciz	"guest: my memory is back, counter was "
text_intact:
	.asciz	", pages checked and intact: "
text_damaged:
	.asciz	"\nguest: my memory is damaged\n"
text_tick:
	.asciz	"guest: tick "
text_converted:
	.asciz	"guest: my page was private, then shared, then private again\n"
text_refused:
	.asciz	"guest: my page was not converted\n"
text_end:
	.asciz	"\n"
guest_image_end:
	.balign 4
guest_image_size:
	.long	guest_image_end - guest_image

	.section .note.GNU-stack, "", @progbits
