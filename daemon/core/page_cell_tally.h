/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many digits of each rank whole bytes of a cell have. What one byte has is looked up: to take
 * it apart costs ten times as much, and a conversion counts up to 512 pages twice.
 */
#ifndef GM_PAGE_CELL_TALLY_H
#define GM_PAGE_CELL_TALLY_H

#include "gm_num.h"

/* The lanes of a struct gm_cell_tally. The bytes are a cell's of @class, or a part of it. */
uint64_t gm_cell_tally_bytes(unsigned class, const unsigned char *bytes, unsigned n);

#endif
