/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standing orders: conversions without asking.
 *
 * The address space of the VMM can convert pages whether it was told to or not, so asking first
 * protects nobody. What asking is good for is that limits hold and that the books are right, and
 * both can be had for many conversions at once: the region has an order, with room that was taken
 * from SharedMax= in advance; the VMM converts within it, and reports afterwards. Each report has a
 * number and is booked once, whatever is repeated after a restart.
 *
 * What is reported has happened. So a report that the order does not cover is refused, and the
 * books still say the truth: nobody knows why these pages are as they are, they are lost, and the
 * order has ended. What was asked for (book_step.h) comes after all reports that were sent before
 * it.
 */
#ifndef GM_BOOK_ORDER_H
#define GM_BOOK_ORDER_H

#include "book_step.h"

/* The most that one region may make shared before it hears of us again. */
#define GM_ORDER_ROOM (64 * GM_MIB)

/* So many reports of a region may be unanswered. */
#define GM_ORDER_REPORTS 16u

/* What has been done with a range. */
struct gm_conversion {
	struct gm_range range;
	enum gm_page_op op; /* GM_PAGE_OP_TO_SHARED or GM_PAGE_OP_TO_PRIVATE */
};

/*
 * A conversion, or the binding, has just ended as it should: the region has an order from here on,
 * if it may have one, with as much room as there is. One whose policy has changed is replaced.
 * @id: random, not 0. True: it has one.
 */
bool gm_book_begin_order(struct gm_region *region, uint64_t id);

/* As much room as there is, unless its policy has changed since. */
void gm_book_renew_order(struct gm_region *region);

/* What is left of its room is given back. Without one: nothing. */
void gm_book_end_order(struct gm_region *region);

/*
 * The room of all orders of the domain is given back: of those with no report that waits. Only on
 * a request of the VMM's, which tells it: all that it has done before has been reported by then.
 */
void gm_book_take_rooms(struct gm_domain *domain);

/* What the client is told: all that it may have made shared under the order. */
uint64_t gm_order_limit(const struct gm_order *order);

/* Something that a report has left over is being freed, or reports wait for that. */
bool gm_book_is_freeing(const struct gm_region *region);

enum gm_report_place {
	GM_REPORT_NEXT,	 /* to be booked */
	GM_REPORT_KNOWN, /* it is booked: it comes again */
	GM_REPORT_EARLY, /* another one's other half is still being freed: it waits */
	GM_REPORT_WRONG, /* nothing that the order covers */
};

enum gm_report_place gm_book_place_report(const struct gm_region *region, uint64_t order,
					  uint64_t number);

/* Could a report that is booked have had them? Nobody knows any more what was in it. */
bool gm_book_may_come_again(const struct gm_region *region, const struct gm_conversion *conversions,
			    size_t n);

/*
 * Books a report, which is the next. 0; or GM_INVALID (GM_RULE_ORDER): the conversions up to the
 * offset that it names are booked, the rest is lost, and so is the order.
 */
GM_WARN_UNUSED int gm_book_report(struct gm_region *region, const struct gm_conversion *conversions,
				  size_t n, struct gm_refusal *refusal);

/* The report is none that an order covers: its pages are lost, the order ends. GM_INVALID. */
int gm_book_lose_report(struct gm_region *region, const struct gm_conversion *conversions, size_t n,
			struct gm_refusal *refusal);

#endif
