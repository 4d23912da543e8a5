/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest and the VMM agree on. Included from assembly: plain numbers only.
 */
#ifndef TINYVMM_GUEST_H
#define TINYVMM_GUEST_H

#define GUEST_CODE 0x1000
#define GUEST_STATE 0x4000
#define GUEST_STACK 0x8000
#define GUEST_RAM_LOW 0x100000 /* ticks write from here up */

/* Offsets in the state at GUEST_STATE, 32-bit words. */
#define STATE_MAGIC 0
#define STATE_COUNTER 4
#define STATE_PAGES 8
#define STATE_PRIVATE 12 /* not 0: the memory is private, and the guest may convert it */

#define GUEST_MAGIC 0x6d656d67
#define GUEST_PATTERN 0x5a5a5a5a
/*
 * Prime, so that no page comes twice in as many ticks as there are pages; small enough that
 * stride times pages fits in 32 bits for 2 GiB.
 */
#define GUEST_STRIDE 7919

#define GUEST_SERIAL_PORT 0x3f8
#define GUEST_LOOK_PORT 0x500 /* the VMM says what it sees at the address written here */
#define GUEST_EXIT_PORT 0x501 /* a byte written here ends the VMM with that status */

#endif
