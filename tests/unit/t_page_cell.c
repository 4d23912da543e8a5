/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cells: that many pages are counted and set as they are one by one.
 */
#include <string.h>

#include "gm_test.h"
#include "page_cell.h"

/* A cell all of one byte, which is @base digits to the power of their places. */
static void assert_counts(unsigned class, unsigned byte, unsigned first, unsigned end)
{
	unsigned char cell[GM_CELL_PAGES];
	unsigned ranks[GM_CELL_RANKS] = { 0 };
	struct gm_cell_tally tally;

	memset(cell, (int)byte, sizeof(cell));
	for (unsigned page = first; page < end; page++)
		ranks[gm_cell_get(class, cell, page)]++;
	tally = gm_cell_count(class, cell, first, end);
	for (unsigned rank = 0; rank < GM_CELL_RANKS; rank++)
		assert_int_equal(gm_cell_tally_of(tally, rank), ranks[rank]);
}

static void every_byte_of_every_class_counts_as_its_digits(void **state)
{
	(void)state;
	for (unsigned class = 0; class < GM_CELL_CLASS_N_; class ++) {
		const struct gm_cell_class *c = &gm_cell_classes[class];
		unsigned n_bytes = c->base * c->power[c->digits - 1];

		for (unsigned byte = 0; byte < n_bytes; byte++) {
			assert_counts(class, byte, 0, GM_CELL_PAGES);
			assert_counts(class, byte, 1, GM_CELL_PAGES - 1);
			assert_counts(class, byte, 7, 7 + 9 * c->digits);
			for (unsigned first = 0; first < 9; first++)
				assert_counts(class, byte, first, first + byte % 10);
		}
	}
}

/* All digits are @from but for those that a set has changed. */
static void assert_sets(unsigned class, unsigned from, unsigned to, unsigned first, unsigned end)
{
	unsigned char cell[GM_CELL_PAGES], wanted[GM_CELL_PAGES];

	gm_cell_fill(class, cell, from);
	gm_cell_fill(class, wanted, from);
	gm_cell_set(class, cell, first, end, to);
	for (unsigned page = first; page < end; page++)
		(void)gm_cell_swap(class, wanted, page, to);
	assert_memory_equal(cell, wanted, gm_cell_classes[class].bytes);
}

static void a_set_of_many_pages_is_that_of_each(void **state)
{
	(void)state;
	for (unsigned class = 0; class < GM_CELL_CLASS_N_; class ++) {
		unsigned most = gm_cell_classes[class].base - 1u;

		for (unsigned first = 0; first < 18; first++) {
			for (unsigned end = first; end < 36; end++)
				assert_sets(class, most, 0, first, end);
			assert_sets(class, 0, most, first, GM_CELL_PAGES - 7 + first % 8);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(every_byte_of_every_class_counts_as_its_digits),
		gm_test(a_set_of_many_pages_is_that_of_each),
	};

	return gm_test_run("page cells", tests, GM_ARRAY_SIZE(tests));
}
