/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The level of GiBs. A region need not end on a 2 MiB boundary: the pages between its end and
 * that boundary are kept in the state of its last page, so that below this file every chunk is
 * whole. They are never counted and never reported.
 */
#include "page_map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "page_node.h"

/* What the heap loses between blocks comes on top, and together they stay under 64 KiB. */
#define BUDGET_PER_GIB (60 * GM_KIB)
#define BUDGET_MIN GM_MIB

/* ---- the tagged word of a GiB ---- */

static uintptr_t word_of(enum gm_page_state state)
{
	return (uintptr_t)state << 1 | 1;
}

static bool word_is_uniform(uintptr_t word)
{
	return word & 1;
}

static enum gm_page_state word_state(uintptr_t word)
{
	return (enum gm_page_state)(word >> 1);
}

static struct gm_page_node *word_node(uintptr_t word)
{
	return (struct gm_page_node *)word; /* NOLINT(performance-no-int-to-ptr): it was one */
}

/* ---- pages and GiBs ---- */

/* A range of pages within one GiB. */
struct span {
	uint64_t gib;
	unsigned first;
	unsigned end;
	bool whole; /* all that the region has of this GiB */
};

static uint64_t all_pages(const struct gm_page_map *map)
{
	return (map->size + GM_PAGE_2M - 1) / GM_PAGE_2M * GM_NODE_CHUNK_PAGES;
}

/* Pages past the end of the region that its last chunk has. */
static unsigned surplus_pages(const struct gm_page_map *map)
{
	return (unsigned)(all_pages(map) - map->size / GM_PAGE_4K);
}

static unsigned gib_pages(const struct gm_page_map *map, uint64_t gib)
{
	return (unsigned)gm_min_u64(all_pages(map) - gib * GM_NODE_PAGES, GM_NODE_PAGES);
}

/* The part of the pages from @page up to @end that lies in the GiB of @page. */
static struct span span_at(const struct gm_page_map *map, uint64_t page, uint64_t end)
{
	uint64_t gib = page / GM_NODE_PAGES;
	uint64_t start = gib * GM_NODE_PAGES;
	struct span span = { .gib = gib, .first = (unsigned)(page - start) };

	span.end = (unsigned)gm_min_u64(end - start, GM_NODE_PAGES);
	span.whole = span.first == 0 && span.end == gib_pages(map, gib);
	return span;
}

static void assert_range(const struct gm_page_map *map, uint64_t offset, uint64_t length)
{
	assert(gm_is_aligned(offset | length, GM_PAGE_4K));
	assert(offset <= map->size && length <= map->size - offset);
}

/* The page after the last of a range; with the surplus when the range ends where the region does.
 */
static uint64_t end_page(const struct gm_page_map *map, uint64_t end)
{
	return end == map->size ? all_pages(map) : end / GM_PAGE_4K;
}

/* ---- life ---- */

int gm_page_map_init(struct gm_page_map *map, uint64_t size, enum gm_page_state state)
{
	struct gm_page_map fresh = { .size = size, .n_gib = (size - 1) / GM_GIB + 1 };

	assert(size > 0 && gm_is_aligned(size, GM_PAGE_4K));
	fresh.budget_bytes = gm_max_u64(fresh.n_gib * BUDGET_PER_GIB, BUDGET_MIN);
	fresh.pages[state] = size / GM_PAGE_4K;
	if (fresh.n_gib > GM_ARRAY_SIZE(fresh.inline_gib)) {
		fresh.gib = calloc(fresh.n_gib, sizeof(*fresh.gib));
		if (!fresh.gib)
			return -ENOMEM;
		fresh.heap_bytes = gm_page_node_cost(fresh.n_gib * sizeof(*fresh.gib));
	}
	*map = fresh;
	if (!map->gib)
		map->gib = map->inline_gib;
	for (uint64_t i = 0; i < map->n_gib; i++)
		map->gib[i] = word_of(state);
	return 0;
}

void gm_page_map_done(struct gm_page_map *map)
{
	for (uint64_t i = 0; i < map->n_gib; i++)
		if (!word_is_uniform(map->gib[i]))
			gm_page_node_free(word_node(map->gib[i]));
	if (map->gib != map->inline_gib)
		free(map->gib);
	*map = (struct gm_page_map){ 0 };
}

void gm_page_map_move(struct gm_page_map *map, struct gm_page_map *from)
{
	*map = *from;
	if (from->gib == from->inline_gib)
		map->gib = map->inline_gib;
	*from = (struct gm_page_map){ 0 };
}

uint64_t gm_page_map_bytes(const struct gm_page_map *map)
{
	return map->heap_bytes;
}

/* ---- setting ---- */

/* An end of a range: a GiB of which only a part is set. Holds the memory that this will need. */
struct edge {
	struct gm_page_node *node; /* NULL: nothing to do */
	bool is_new;		   /* the node is not in the map yet */
	struct gm_page_stage stage;
	uint64_t bytes; /* asked for */
};

static bool is_within_budget(const struct gm_page_map *map, uint64_t bytes)
{
	return map->heap_bytes <= map->budget_bytes && bytes <= map->budget_bytes - map->heap_bytes;
}

/*
 * @before: bytes asked for by the other end of the range. 0, -ENOMEM or GM_OVER_LIMIT. What was
 * taken is @edge's in any case.
 */
static int edge_take(struct edge *edge, const struct gm_page_map *map, const struct span *span,
		     enum gm_page_state state, uint64_t before)
{
	uintptr_t word = map->gib[span->gib];

	if (span->whole || word == word_of(state))
		return 0;
	if (word_is_uniform(word)) {
		unsigned n_chunks = gib_pages(map, span->gib) / GM_NODE_CHUNK_PAGES;

		edge->bytes = gm_page_node_bare_cost(n_chunks);
		if (!is_within_budget(map, before + edge->bytes))
			return GM_OVER_LIMIT;
		edge->node = gm_page_node_new(n_chunks, word_state(word));
		if (!edge->node)
			return -ENOMEM;
		edge->is_new = true;
	} else {
		edge->node = word_node(word);
	}
	gm_page_stage_plan(&edge->stage, edge->node, span->first, span->end, state);
	edge->bytes += edge->stage.bytes;
	if (!is_within_budget(map, before + edge->bytes))
		return GM_OVER_LIMIT;
	return gm_page_stage_take(&edge->stage, edge->node);
}

static void edge_done(struct edge *edge)
{
	gm_page_stage_done(&edge->stage);
	if (edge->is_new)
		gm_page_node_free(edge->node);
	*edge = (struct edge){ 0 };
}

static void set_whole(struct gm_page_map *map, uint64_t gib, enum gm_page_state state)
{
	uintptr_t word = map->gib[gib];

	if (word_is_uniform(word)) {
		map->pages[word_state(word)] -= gib_pages(map, gib);
	} else {
		struct gm_page_node *node = word_node(word);

		for (unsigned old = 0; old < GM_PAGE_STATE_N_; old++)
			map->pages[old] -= node->pages[old];
		map->heap_bytes -= node->bytes;
		gm_page_node_free(node);
	}
	map->pages[state] += gib_pages(map, gib);
	map->gib[gib] = word_of(state);
}

/* A node whose pages all came to be in one state is a word again. */
static void fold(struct gm_page_map *map, uint64_t gib, enum gm_page_state state)
{
	struct gm_page_node *node = word_node(map->gib[gib]);

	if (!gm_page_node_is_uniform(node, state))
		return;
	map->heap_bytes -= node->bytes;
	map->gib[gib] = word_of(state);
	gm_page_node_free(node);
}

static void set_part(struct gm_page_map *map, struct edge *edge, const struct span *span,
		     enum gm_page_state state)
{
	struct gm_page_node *node = edge->node;

	if (!node)
		return;
	if (!edge->is_new)
		map->heap_bytes -= node->bytes;
	for (unsigned i = 0; i < GM_PAGE_STATE_N_; i++)
		map->pages[i] -= node->pages[i];
	gm_page_stage_commit(&edge->stage, node);
	map->gib[span->gib] = (uintptr_t)node;
	edge->is_new = false;
	gm_page_node_set(node, span->first, span->end, state);
	for (unsigned i = 0; i < GM_PAGE_STATE_N_; i++)
		map->pages[i] += node->pages[i];
	map->heap_bytes += node->bytes;
	fold(map, span->gib, state);
}

/* The common case, with nothing to be taken first. False when the general way has to be gone. */
static bool set_page(struct gm_page_map *map, uint64_t page, enum gm_page_state state)
{
	uint64_t gib = page / GM_NODE_PAGES;
	uintptr_t word = map->gib[gib];
	struct gm_page_node *node;
	enum gm_page_state old;
	uint64_t bytes;

	if (word_is_uniform(word))
		return word == word_of(state);
	node = word_node(word);
	bytes = node->bytes;
	old = gm_page_node_set_page(node, page % GM_NODE_PAGES, state);
	if (old == GM_PAGE_STATE_N_)
		return false;
	map->pages[old]--;
	map->pages[state]++;
	map->heap_bytes -= bytes - node->bytes;
	fold(map, gib, state);
	return true;
}

static int refuse(const struct gm_page_map *map, uint64_t offset, uint64_t asked,
		  struct gm_refusal *refusal)
{
	int verdict = gm_refuse_numbers(refusal, GM_OVER_LIMIT, GM_RULE_PAGE_MAP, "page map",
					map->budget_bytes, map->heap_bytes, asked);

	if (refusal)
		refusal->offset = offset;
	return verdict;
}

/* Cannot fail: the ends hold what they need, and whole GiBs need nothing. */
static void apply(struct gm_page_map *map, uint64_t page, uint64_t end, enum gm_page_state state,
		  struct edge edges[2])
{
	bool to_the_end = end == all_pages(map);
	struct edge *edge = &edges[0];

	/* Counted while they change with the rest, so that the pages of every GiB add up. */
	if (to_the_end)
		map->pages[gm_page_map_get(map, map->size - GM_PAGE_4K)] += surplus_pages(map);
	while (page < end) {
		struct span span = span_at(map, page, end);

		if (span.whole)
			set_whole(map, span.gib, state);
		else
			set_part(map, edge, &span, state);
		edge = &edges[1];
		page += span.end - span.first;
	}
	if (to_the_end)
		map->pages[state] -= surplus_pages(map);
}

int gm_page_map_set(struct gm_page_map *map, uint64_t offset, uint64_t length,
		    enum gm_page_state state, struct gm_refusal *refusal)
{
	uint64_t page = offset / GM_PAGE_4K;
	uint64_t end = end_page(map, offset + length);
	struct edge edges[2] = { 0 };
	struct span head, tail;
	int r;

	assert_range(map, offset, length);
	assert((unsigned)state < GM_PAGE_STATE_N_);
	if (length == 0 || (end - page == 1 && set_page(map, page, state)))
		return 0;
	head = span_at(map, page, end);
	tail = span_at(map, gm_align_down(end - 1, GM_NODE_PAGES), end);
	r = edge_take(&edges[0], map, &head, state, 0);
	if (r == 0 && tail.gib != head.gib)
		r = edge_take(&edges[1], map, &tail, state, edges[0].bytes);
	if (r == 0)
		apply(map, page, end, state, edges);
	else if (r > 0)
		r = refuse(map, offset, edges[0].bytes + edges[1].bytes, refusal);
	edge_done(&edges[0]);
	edge_done(&edges[1]);
	return r;
}

/* Sets the pages around the range too, up to multiples of @align. */
static int set_lost_around(struct gm_page_map *map, uint64_t offset, uint64_t end, uint64_t align)
{
	uint64_t from = gm_align_down(offset, align);
	uint64_t to = gm_min_u64(gm_align_down(end + align - 1, align), map->size);

	return gm_page_map_set(map, from, to - from, GM_PAGE_LOST, NULL);
}

void gm_page_map_set_lost(struct gm_page_map *map, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;

	assert_range(map, offset, length);
	if (length == 0 || set_lost_around(map, offset, end, GM_PAGE_4K) == 0)
		return;
	/* Whole chunks need no cell; only a GiB that was uniform still needs a node. */
	if (set_lost_around(map, offset, end, GM_PAGE_2M) == 0)
		return;
	if (set_lost_around(map, offset, end, GM_PAGE_1G) != 0)
		assert(!"whole GiBs need no memory");
}

/* ---- looking ---- */

enum gm_page_state gm_page_map_get(const struct gm_page_map *map, uint64_t offset)
{
	uintptr_t word;

	assert(offset < map->size);
	word = map->gib[offset / GM_PAGE_1G];
	if (word_is_uniform(word))
		return word_state(word);
	return gm_page_node_get(word_node(word), offset % GM_PAGE_1G / GM_PAGE_4K);
}

/* Whether a node has a page in one of the states of a bit set. */
static bool has_any(const struct gm_page_node *node, unsigned states)
{
	for (unsigned state = 0; state < GM_PAGE_STATE_N_; state++)
		if (states >> state & 1 && node->pages[state] > 0)
			return true;
	return false;
}

/* The first page from @page on that is in one of the states of a bit set, or @end. */
static uint64_t find(const struct gm_page_map *map, uint64_t page, uint64_t end, unsigned states)
{
	while (page < end) {
		struct span span = span_at(map, page, end);
		uintptr_t word = map->gib[span.gib];
		unsigned found = span.end;

		if (word_is_uniform(word)) {
			if (states >> word_state(word) & 1)
				return page;
		} else if (has_any(word_node(word), states)) {
			found = gm_page_node_find(word_node(word), span.first, span.end, states);
		}
		page += found - span.first;
		if (found < span.end)
			return page;
	}
	return end;
}

void gm_page_map_run(const struct gm_page_map *map, uint64_t offset, uint64_t end,
		     struct gm_page_run *ret_run)
{
	enum gm_page_state state = gm_page_map_get(map, offset);
	uint64_t stop;

	assert_range(map, offset, end - offset);
	assert(offset < end);
	stop = find(map, offset / GM_PAGE_4K, end / GM_PAGE_4K, ~(1u << state));
	*ret_run = (struct gm_page_run){ .offset = offset,
					 .length = stop * GM_PAGE_4K - offset,
					 .state = state };
}

uint64_t gm_page_map_stretch(const struct gm_page_map *map, uint64_t offset, uint64_t end,
			     unsigned states)
{
	assert_range(map, offset, end - offset);
	assert(offset < end);
	return find(map, offset / GM_PAGE_4K, end / GM_PAGE_4K, ~states) * GM_PAGE_4K;
}

int gm_page_map_allows(const struct gm_page_map *map, uint64_t offset, uint64_t length,
		       enum gm_page_op op, unsigned conditions, struct gm_refusal *refusal)
{
	uint64_t end = (offset + length) / GM_PAGE_4K;
	unsigned forbidden = 0;
	enum gm_page_state next;
	uint64_t page;
	int verdict;

	assert_range(map, offset, length);
	for (unsigned state = 0; state < GM_PAGE_STATE_N_; state++)
		if (gm_page_state_after(state, op, conditions, &next, NULL) != 0)
			forbidden |= 1u << state;
	page = find(map, offset / GM_PAGE_4K, end, forbidden);
	if (page == end)
		return 0;
	offset = page * GM_PAGE_4K;
	verdict = gm_page_state_after(gm_page_map_get(map, offset), op, conditions, &next, refusal);
	if (refusal)
		refusal->offset = offset;
	return verdict;
}

uint64_t gm_page_map_count(const struct gm_page_map *map, uint64_t offset, uint64_t length,
			   enum gm_page_state state)
{
	uint64_t page = offset / GM_PAGE_4K;
	uint64_t end = end_page(map, offset + length);
	uint64_t n = 0;

	assert_range(map, offset, length);
	if (length == 0)
		return 0;
	if (end == all_pages(map) && gm_page_map_get(map, map->size - GM_PAGE_4K) == state)
		n -= surplus_pages(map); /* which the loop counts in, so this comes out right */
	while (page < end) {
		struct span span = span_at(map, page, end);
		uintptr_t word = map->gib[span.gib];

		if (!word_is_uniform(word))
			n += gm_page_node_count(word_node(word), span.first, span.end, state);
		else if (word_state(word) == state)
			n += span.end - span.first;
		page += span.end - span.first;
	}
	return n * GM_PAGE_4K;
}

/* ---- GiBs as bytes ---- */

bool gm_page_map_gib_state(const struct gm_page_map *map, uint64_t gib,
			   enum gm_page_state *ret_state)
{
	uintptr_t word;

	assert(gib < map->n_gib);
	word = map->gib[gib];
	if (!word_is_uniform(word))
		return false;
	*ret_state = word_state(word);
	return true;
}

size_t gm_page_map_export(const struct gm_page_map *map, uint64_t gib, void *buffer)
{
	assert(gib < map->n_gib && !word_is_uniform(map->gib[gib]));
	return gm_page_node_export(word_node(map->gib[gib]), buffer);
}

/* The pages past the end of the region, which are not counted. */
static unsigned surplus_of(const struct gm_page_map *map, uint64_t gib)
{
	return gib == map->n_gib - 1 ? surplus_pages(map) : 0;
}

int gm_page_map_import(struct gm_page_map *map, uint64_t gib, const void *bytes, size_t size)
{
	unsigned pages = gib_pages(map, gib);
	unsigned surplus = surplus_of(map, gib);
	struct gm_page_node *node;
	enum gm_page_state last;
	int r;

	assert(gib < map->n_gib && word_is_uniform(map->gib[gib]));
	r = gm_page_node_import(pages / GM_NODE_CHUNK_PAGES, bytes, size, &node);
	if (r != 0)
		return r;
	last = gm_page_node_get(node, pages - 1);
	if (gm_page_node_count(node, pages - surplus - 1, pages, last) != surplus + 1) {
		gm_page_node_free(node);
		return -EBADMSG;
	}
	map->pages[word_state(map->gib[gib])] -= pages - surplus;
	for (unsigned state = 0; state < GM_PAGE_STATE_N_; state++)
		map->pages[state] += node->pages[state];
	map->pages[last] -= surplus;
	map->heap_bytes += node->bytes;
	map->gib[gib] = (uintptr_t)node;
	fold(map, gib, last);
	return 0;
}

int gm_page_map_replay(struct gm_page_map *map, uint64_t offset, uint64_t length,
		       enum gm_page_state state)
{
	uint64_t budget_bytes = map->budget_bytes;
	int r;

	map->budget_bytes = UINT64_MAX;
	r = gm_page_map_set(map, offset, length, state, /* refusal= */ NULL);
	map->budget_bytes = budget_bytes;
	return r;
}
