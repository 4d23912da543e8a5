/* SPDX-License-Identifier: Apache-2.0 */
#include "store_ranges.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static void link_range(struct gm_ranges *ranges, unsigned order, uint32_t first)
{
	uint32_t head = ranges->free[order];

	ranges->order[first] = (uint8_t)(order + 1);
	ranges->next[first] = head;
	ranges->previous[first] = 0;
	if (head)
		ranges->previous[head - 1] = first + 1;
	ranges->free[order] = first + 1;
}

static void unlink_range(struct gm_ranges *ranges, uint32_t first)
{
	unsigned order = ranges->order[first] - 1u;
	uint32_t next = ranges->next[first];
	uint32_t previous = ranges->previous[first];

	if (next)
		ranges->previous[next - 1] = previous;
	if (previous)
		ranges->next[previous - 1] = next;
	else
		ranges->free[order] = next;
	ranges->order[first] = 0;
}

int gm_ranges_init(struct gm_ranges *ranges, uint32_t n)
{
	assert(gm_is_power_of_two(n) && gm_ranges_order(n) < GM_RANGE_ORDERS);
	*ranges = (struct gm_ranges){ .n = n };
	ranges->next = calloc(n, sizeof(*ranges->next));
	ranges->previous = calloc(n, sizeof(*ranges->previous));
	ranges->order = calloc(n, sizeof(*ranges->order));
	if (!ranges->next || !ranges->previous || !ranges->order) {
		gm_ranges_done(ranges);
		return -ENOMEM;
	}
	link_range(ranges, gm_ranges_order(n), 0);
	return 0;
}

void gm_ranges_done(struct gm_ranges *ranges)
{
	free(ranges->next);
	free(ranges->previous);
	free(ranges->order);
	*ranges = (struct gm_ranges){ 0 };
}

unsigned gm_ranges_order(uint64_t n)
{
	unsigned order = 0;

	while (order < GM_RANGE_ORDERS && UINT64_C(1) << order < n)
		order++;
	return order;
}

/* The smallest order from @order on that has a free range, or GM_RANGE_ORDERS. */
static unsigned find_order(const struct gm_ranges *ranges, unsigned order)
{
	while (order < GM_RANGE_ORDERS && !ranges->free[order])
		order++;
	return order;
}

bool gm_ranges_has(const struct gm_ranges *ranges, unsigned order)
{
	return find_order(ranges, order) < GM_RANGE_ORDERS;
}

bool gm_ranges_take(struct gm_ranges *ranges, unsigned order, uint32_t *ret_first)
{
	unsigned from = find_order(ranges, order);
	uint32_t first;

	if (from >= GM_RANGE_ORDERS)
		return false;
	first = ranges->free[from] - 1;
	unlink_range(ranges, first);
	while (from > order) {
		from--;
		link_range(ranges, from, first + (1u << from));
	}
	*ret_first = first;
	return true;
}

bool gm_ranges_claim(struct gm_ranges *ranges, unsigned order, uint32_t first)
{
	uint32_t block = first;
	unsigned from = order;

	if (order >= GM_RANGE_ORDERS || first >= ranges->n || 1u << order > ranges->n - first ||
	    !gm_is_aligned(first, 1u << order))
		return false;
	while (ranges->order[block] != from + 1) {
		if (++from >= GM_RANGE_ORDERS)
			return false;
		block = first & ~((1u << from) - 1);
	}
	unlink_range(ranges, block);
	while (from > order) {
		uint32_t upper;

		from--;
		upper = block + (1u << from);
		if (first >= upper) {
			link_range(ranges, from, block);
			block = upper;
		} else {
			link_range(ranges, from, upper);
		}
	}
	return true;
}

void gm_ranges_give(struct gm_ranges *ranges, unsigned order, uint32_t first)
{
	while (1u << order < ranges->n) {
		uint32_t buddy = first ^ 1u << order;

		if (ranges->order[buddy] != order + 1)
			break;
		unlink_range(ranges, buddy);
		first &= ~(1u << order);
		order++;
	}
	link_range(ranges, order, first);
}

void gm_ranges_each_free(const struct gm_ranges *ranges,
			 void (*visit)(void *arg, uint32_t first, uint32_t n), void *arg)
{
	for (unsigned order = 0; order < GM_RANGE_ORDERS; order++)
		for (uint32_t at = ranges->free[order]; at; at = ranges->next[at - 1])
			visit(arg, at - 1, 1u << order);
}
