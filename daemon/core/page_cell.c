/* SPDX-License-Identifier: Apache-2.0 */
#include "page_cell.h"

#include <string.h>

#include "page_cell_tally.h"

const struct gm_cell_class gm_cell_classes[GM_CELL_CLASS_N_] = {
	{ 2, 8, 64, 8, 255, { 1, 2, 4, 8, 16, 32, 64, 128 } },
	{ 3, 5, 103, 5, 121, { 1, 3, 9, 27, 81 } },
	{ 4, 4, 128, 4, 85, { 1, 4, 16, 64 } },
	{ 6, 3, 171, 3, 43, { 1, 6, 36 } },
};

unsigned gm_cell_class_for(unsigned n_ranks)
{
	unsigned class = 0;

	while (gm_cell_classes[class].base < n_ranks)
		class ++;
	return class;
}

void gm_cell_fill(unsigned class, unsigned char *cell, unsigned rank)
{
	const struct gm_cell_class *c = &gm_cell_classes[class];

	memset(cell, (int)(rank * c->ones), c->bytes);
}

static unsigned digit_of(const struct gm_cell_class *c, unsigned byte, unsigned position)
{
	return byte / c->power[position] % c->base;
}

unsigned gm_cell_get(unsigned class, const unsigned char *cell, unsigned page)
{
	const struct gm_cell_class *c = &gm_cell_classes[class];

	return digit_of(c, cell[page / c->digits], page % c->digits);
}

static unsigned swap_digit(const struct gm_cell_class *c, unsigned char *cell, unsigned digit,
			   unsigned rank)
{
	unsigned char *byte = &cell[digit / c->digits];
	unsigned position = digit % c->digits;
	unsigned old = digit_of(c, *byte, position);

	*byte = (unsigned char)(*byte + rank * c->power[position] - old * c->power[position]);
	return old;
}

unsigned gm_cell_swap(unsigned class, unsigned char *cell, unsigned page, unsigned rank)
{
	const struct gm_cell_class *c = &gm_cell_classes[class];
	unsigned n_digits = c->bytes * c->digits;
	unsigned old = swap_digit(c, cell, page, rank);

	if (page == GM_CELL_PAGES - 1)
		for (unsigned digit = GM_CELL_PAGES; digit < n_digits; digit++)
			(void)swap_digit(c, cell, digit, rank);
	return old;
}

/* The digits of a byte from position @from up to @to; divisions are dear, so it is done in one go.
 */
static void set_digits(const struct gm_cell_class *c, unsigned char *byte, unsigned from,
		       unsigned to, unsigned rank)
{
	unsigned below = *byte % c->power[from];
	unsigned ones = c->ones;
	unsigned above = 0;

	if (to < c->digits) {
		above = *byte - *byte % c->power[to];
		ones %= c->power[to];
	}
	*byte = (unsigned char)(above + rank * (ones - ones % c->power[from]) + below);
}

void gm_cell_set(unsigned class, unsigned char *cell, unsigned first, unsigned end, unsigned rank)
{
	const struct gm_cell_class *c = &gm_cell_classes[class];
	unsigned at = first / c->digits, from = first % c->digits;
	unsigned last = end == GM_CELL_PAGES ? c->bytes : end / c->digits;
	unsigned to = end == GM_CELL_PAGES ? 0 : end % c->digits;

	if (first >= end)
		return;
	if (at == last) {
		set_digits(c, &cell[at], from, to, rank);
		return;
	}
	if (from != 0)
		set_digits(c, &cell[at++], from, c->digits, rank);
	memset(cell + at, (int)(rank * c->ones), last - at);
	if (to != 0)
		set_digits(c, &cell[last], 0, to, rank);
}

bool gm_cell_is_uniform(unsigned class, const unsigned char *cell, unsigned page, unsigned rank)
{
	const struct gm_cell_class *c = &gm_cell_classes[class];
	unsigned char byte = (unsigned char)(rank * c->ones);

	return cell[page / c->digits] == byte && memcmp(cell, cell + 1, c->bytes - 1u) == 0;
}

/* As gm_cell_tally_bytes() of the digits of a byte from position @from up to @to. */
static uint64_t tally_digits(unsigned class, unsigned char byte, unsigned from, unsigned to)
{
	const struct gm_cell_class *c = &gm_cell_classes[class];

	if (to < c->digits)
		byte %= c->power[to];
	byte /= c->power[from];
	/* The other digits have become noughts, which are counted in the lowest lane. */
	return gm_cell_tally_bytes(class, &byte, 1) - (c->digits - (to - from));
}

struct gm_cell_tally gm_cell_count(unsigned class, const unsigned char *cell, unsigned first,
				   unsigned end)
{
	const struct gm_cell_class *c = &gm_cell_classes[class];
	unsigned at = first / c->digits, from = first % c->digits;
	unsigned last = end / c->digits, to = end % c->digits;
	struct gm_cell_tally tally = { 0 };

	if (first >= end)
		return tally;
	if (at == last) {
		tally.lanes = tally_digits(class, cell[at], from, to);
		return tally;
	}
	if (from != 0)
		tally.lanes += tally_digits(class, cell[at++], from, c->digits);
	tally.lanes += gm_cell_tally_bytes(class, cell + at, last - at);
	if (to != 0)
		tally.lanes += tally_digits(class, cell[last], 0, to);
	return tally;
}

unsigned gm_cell_find(unsigned class, const unsigned char *cell, unsigned first, unsigned end,
		      unsigned ranks)
{
	const struct gm_cell_class *c = &gm_cell_classes[class];
	unsigned barren = 256; /* the last byte that was read in full and had no such rank */

	while (first < end) {
		unsigned position = first % c->digits;
		unsigned byte = cell[first / c->digits];
		bool in_full = position == 0;

		if (byte == barren) {
			first += c->digits - position;
			continue;
		}
		for (; position < c->digits && first < end; position++, first++)
			if (ranks >> digit_of(c, byte, position) & 1)
				return first;
		if (in_full)
			barren = byte;
	}
	return end;
}

void gm_cell_recode(unsigned class, const unsigned char *cell, unsigned to_class,
		    unsigned char *to_cell)
{
	const struct gm_cell_class *to = &gm_cell_classes[to_class];
	unsigned page = 0;

	for (unsigned i = 0; i < to->bytes; i++) {
		unsigned byte = 0;

		for (unsigned position = 0; position < to->digits; position++) {
			byte += gm_cell_get(class, cell, page) * to->power[position];
			if (page < GM_CELL_PAGES - 1)
				page++;
		}
		to_cell[i] = (unsigned char)byte;
	}
}
