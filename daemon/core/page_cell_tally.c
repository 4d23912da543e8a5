/* SPDX-License-Identifier: Apache-2.0 */
#include "page_cell_tally.h"

#include <string.h>

#define LANE(rank) (UINT64_C(1) << 10 * (rank))

/* All that one, two... digits may add to @n. The preprocessor expands no macro within itself. */
#define ADD_3(n) (n) + LANE(0), (n) + LANE(1), (n) + LANE(2)
#define ADD_3_2(n) ADD_3((n) + LANE(0)), ADD_3((n) + LANE(1)), ADD_3((n) + LANE(2))
#define ADD_3_3(n) ADD_3_2((n) + LANE(0)), ADD_3_2((n) + LANE(1)), ADD_3_2((n) + LANE(2))
#define ADD_3_4(n) ADD_3_3((n) + LANE(0)), ADD_3_3((n) + LANE(1)), ADD_3_3((n) + LANE(2))

#define ADD_4(n) (n) + LANE(0), (n) + LANE(1), (n) + LANE(2), (n) + LANE(3)
#define ADD_4_2(n) \
	ADD_4((n) + LANE(0)), ADD_4((n) + LANE(1)), ADD_4((n) + LANE(2)), ADD_4((n) + LANE(3))
#define ADD_4_3(n)                                                              \
	ADD_4_2((n) + LANE(0)), ADD_4_2((n) + LANE(1)), ADD_4_2((n) + LANE(2)), \
		ADD_4_2((n) + LANE(3))

#define ADD_6(n) ADD_4(n), (n) + LANE(4), (n) + LANE(5)
#define ADD_6_2(n)                                                                              \
	ADD_6((n) + LANE(0)), ADD_6((n) + LANE(1)), ADD_6((n) + LANE(2)), ADD_6((n) + LANE(3)), \
		ADD_6((n) + LANE(4)), ADD_6((n) + LANE(5))

/* By byte; the last digit of a byte is the outermost here. */
static const uint64_t base_3[243] = { ADD_3_4(LANE(0)), ADD_3_4(LANE(1)), ADD_3_4(LANE(2)) };
static const uint64_t base_4[256] = { ADD_4_3(LANE(0)), ADD_4_3(LANE(1)), ADD_4_3(LANE(2)),
				      ADD_4_3(LANE(3)) };
static const uint64_t base_6[216] = { ADD_6_2(LANE(0)), ADD_6_2(LANE(1)), ADD_6_2(LANE(2)),
				      ADD_6_2(LANE(3)), ADD_6_2(LANE(4)), ADD_6_2(LANE(5)) };

static uint64_t look_up(const uint64_t *table, const unsigned char *bytes, unsigned n)
{
	uint64_t lanes = 0;

	for (unsigned i = 0; i < n; i++)
		lanes += table[bytes[i]];
	return lanes;
}

/* Pairs, nibbles, bytes; a multiplication adds up the bytes. */
static unsigned count_ones(uint64_t word)
{
	const uint64_t every = UINT64_MAX / 255;

	word -= word >> 1 & every * 0x55;
	word = (word & every * 0x33) + (word >> 2 & every * 0x33);
	word = (word + (word >> 4)) & every * 0x0f;
	return (unsigned)(word * every >> 56);
}

static uint64_t count_bits(const unsigned char *bytes, unsigned n)
{
	uint64_t word, ones = 0;
	unsigned i = 0;

	for (; i + sizeof(word) <= n; i += sizeof(word)) {
		memcpy(&word, bytes + i, sizeof(word));
		ones += count_ones(word);
	}
	for (; i < n; i++)
		ones += count_ones(bytes[i]);
	return ones * LANE(1) + (UINT64_C(8) * n - ones) * LANE(0);
}

uint64_t gm_cell_tally_bytes(unsigned class, const unsigned char *bytes, unsigned n)
{
	switch (class) {
	case 0:
		return count_bits(bytes, n);
	case 1:
		return look_up(base_3, bytes, n);
	case 2:
		return look_up(base_4, bytes, n);
	default:
		return look_up(base_6, bytes, n);
	}
}
