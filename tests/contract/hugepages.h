/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Borrows hugepages from the host for the time of a test program. The old pool sizes come back when
 * the program ends, however it ends: a guardian process waits for that.
 */
#ifndef HUGEPAGES_H
#define HUGEPAGES_H

#include "gm_num.h"

/* Waits for other programs that borrow. 0, or -errno when the host does not let us. */
int hugepages_open(void);

/* Has the pool hold @n_pages free ones if it can be done. How many are free for the taking. */
uint64_t hugepages_want(uint64_t page_size, uint64_t n_pages);

/* Gives everything back, and only then returns. */
void hugepages_close(void);

#endif
