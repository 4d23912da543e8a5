/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that is its own firmware: 64 KiB of 16-bit code at the top of the address space, for
 * `qemu-system-x86_64 -bios`. Nothing but it ever writes to its RAM.
 *
 * It keeps a counter in its RAM and another in a register, and for each tick writes the counter to
 * the next byte of its pattern. Started on fresh memory it says "fresh"; on memory that it has
 * been in before it checks the pattern and says "back at N". Then "tick N" every 10 ms or so, and
 * "lost at N" when register and memory differ, which they must not even when the state of its
 * processor is taken away and brought to another QEMU.
 */
#define STATE 0x1000		/* the segment of what it keeps: 64 KiB into the RAM */
#define MAGIC 0x4d47
#define AT_MAGIC 0
#define AT_COUNTER 2
#define PATTERN 0x2000		/* the segment of the pattern: byte n is n ^ 0x5a */
#define STACK 0x7000

#define COM1 0x3f8
#define LINE_STATUS 5
#define THR_EMPTY 0x20
#define PIT_COUNTER 0x40
#define PIT_CONTROL 0x43
#define PIT_TICKS 11932		/* of 1193182 a second */

	.code16
	.text
	.globl _start
_start:
	cli
	cld
	xorw	%ax, %ax
	movw	%ax, %ss
	movw	$STACK, %sp
	movw	$STATE, %ax
	movw	%ax, %ds
	movw	$PATTERN, %ax
	movw	%ax, %es
	/* Counter 0: both bytes, mode 2, from 65536 down for ever. */
	movb	$0x34, %al
	outb	%al, $PIT_CONTROL
	xorb	%al, %al
	outb	%al, $PIT_COUNTER
	outb	%al, $PIT_COUNTER

	cmpw	$MAGIC, AT_MAGIC
	je	back
	movw	$0, AT_COUNTER
	movw	$MAGIC, AT_MAGIC
	xorw	%bx, %bx
	movw	$text_fresh, %si
	call	print
	jmp	tick

back:
	movw	AT_COUNTER, %bx
	movw	%bx, %di
check:
	movw	%di, %ax
	xorb	$0x5a, %al
	cmpb	%al, %es:(%di)
	jne	lost
	decw	%di
	jns	check
	movw	$text_back, %si
	call	print
	call	print_number

tick:
	/* The pattern first: a death between the two costs a tick, never a wrong byte. */
	cmpw	AT_COUNTER, %bx
	jne	lost
	testw	%bx, %bx
	jnz	next
	movb	$0x5a, %es:0
next:
	incw	%bx
	andw	$0x7fff, %bx
	movw	%bx, %ax
	xorb	$0x5a, %al
	movb	%al, %es:(%bx)
	movw	%bx, AT_COUNTER
	movw	$text_tick, %si
	call	print
	call	print_number
	call	pause
	jmp	tick

lost:
	movw	$text_lost, %si
	call	print
	call	print_number
halt:
	hlt
	jmp	halt

/* Changes ax, cx, dx, si. */
print:
	movb	%cs:(%si), %al
	testb	%al, %al
	jz	printed
	call	print_byte
	incw	%si
	jmp	print
printed:
	ret

/* bx in decimal, and a line feed. */
print_number:
	movw	%bx, %ax
	movw	$10, %cx
	pushw	$0
digit:
	xorw	%dx, %dx
	divw	%cx
	addw	$'0', %dx
	pushw	%dx
	testw	%ax, %ax
	jnz	digit
digits:
	popw	%ax
	testw	%ax, %ax
	jz	line_end
	call	print_byte
	jmp	digits
line_end:
	movb	$'\n', %al

print_byte:
	movb	%al, %ah
	movw	$(COM1 + LINE_STATUS), %dx
full:
	inb	%dx, %al
	testb	$THR_EMPTY, %al
	jz	full
	movb	%ah, %al
	movw	$COM1, %dx
	outb	%al, %dx
	ret

/* Until the timer has gone down by PIT_TICKS. Changes ax, cx, di. */
pause:
	call	latch
	movw	%ax, %di
wait:
	call	latch
	movw	%di, %cx
	subw	%ax, %cx
	cmpw	$PIT_TICKS, %cx
	jb	wait
	ret

latch:
	xorb	%al, %al
	outb	%al, $PIT_CONTROL
	inb	$PIT_COUNTER, %al
	movb	%al, %ah
	inb	$PIT_COUNTER, %al
	xchgb	%al, %ah
	ret

text_fresh:
	.asciz	"fresh\n"
text_back:
	.asciz	"back at "
text_tick:
	.asciz	"tick "
text_lost:
	.asciz	"lost at "

	/* Where the processor starts: 16 bytes under 4 GiB, in the segment at 0xffff0000. */
	.org	0xfff0
	ljmp	$0xf000, $_start
	.org	0x10000
