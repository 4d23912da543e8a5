/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cell: 512 digits that tell the states of the 4 KiB pages of one 2 MiB chunk.
 *
 * A digit is a rank, not a state: which state a rank stands for is the business of the node that
 * owns the cell. Cells of one class have the same base and the same size:
 *
 *   class  base  digits per byte  bytes of a cell  cells in a unit of 515 bytes
 *   0      2     8                 64              8
 *   1      3     5                103              5
 *   2      4     4                128              4
 *   3      6     3                171              3
 *
 * Where the digits of the last byte pass 512, those too many repeat the digit of page 511. A cell
 * of one rank is therefore one byte value from end to end.
 */
#ifndef GM_PAGE_CELL_H
#define GM_PAGE_CELL_H

#include "gm_num.h"

#define GM_CELL_PAGES 512u
#define GM_CELL_RANKS 6u
#define GM_CELL_CLASS_N_ 4u

/* Memory for cells comes in units: a unit holds whole cells of every class with hardly a rest. */
#define GM_CELL_UNIT 515u

struct gm_cell_class {
	uint8_t base;
	uint8_t digits;	  /* in a byte */
	uint8_t bytes;	  /* of a cell */
	uint8_t per_unit; /* cells in GM_CELL_UNIT bytes */
	uint8_t ones;	  /* the byte whose digits are all 1 */
	uint8_t power[8]; /* of the base, by position in a byte */
};

extern const struct gm_cell_class gm_cell_classes[GM_CELL_CLASS_N_];

/* How many digits have each rank: six counters of 10 bits, added and subtracted as one number. */
struct gm_cell_tally {
	uint64_t lanes;
};

static inline unsigned gm_cell_tally_of(struct gm_cell_tally tally, unsigned rank)
{
	return tally.lanes >> (10 * rank) & 1023;
}

/* The narrowest class for @n_ranks different ranks. */
unsigned gm_cell_class_for(unsigned n_ranks);

void gm_cell_fill(unsigned class, unsigned char *cell, unsigned rank);

unsigned gm_cell_get(unsigned class, const unsigned char *cell, unsigned page);

/* Sets one page and returns its old rank. */
unsigned gm_cell_swap(unsigned class, unsigned char *cell, unsigned page, unsigned rank);

/* Sets the pages from @first up to @end. */
void gm_cell_set(unsigned class, unsigned char *cell, unsigned first, unsigned end, unsigned rank);

/* Whether every page has @rank; @page: any of them, looked at first. */
bool gm_cell_is_uniform(unsigned class, const unsigned char *cell, unsigned page, unsigned rank);

/* Counts the pages from @first up to @end by rank. */
struct gm_cell_tally gm_cell_count(unsigned class, const unsigned char *cell, unsigned first,
				   unsigned end);

/* The first page from @first on whose rank is in the bit set @ranks, or @end. */
unsigned gm_cell_find(unsigned class, const unsigned char *cell, unsigned first, unsigned end,
		      unsigned ranks);

/* Writes @cell again in a class that has room for all its ranks. */
void gm_cell_recode(unsigned class, const unsigned char *cell, unsigned to_class,
		    unsigned char *to_cell);

#endif
