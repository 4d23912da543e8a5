/* SPDX-License-Identifier: Apache-2.0 */
#include "page_node.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "page_cell.h"

#define BLOCK_UNITS 16u
#define UNIFORM GM_NODE_UNIFORM

static_assert(GM_PAGE_STATE_N_ <= GM_CELL_RANKS, "a cell has a rank for every state");
static_assert(GM_NODE_CHUNK_PAGES == GM_CELL_PAGES, "a cell is a chunk");
static_assert(GM_NODE_PAGES == GM_NODE_CHUNKS * GM_NODE_CHUNK_PAGES, "a node is a GiB");

static unsigned bit(unsigned state)
{
	return 1u << state;
}

/* ---- memory ---- */

size_t gm_page_node_block_size(unsigned block, unsigned n_blocks, unsigned last_units)
{
	size_t units = block + 1 == n_blocks ? last_units : BLOCK_UNITS;

	return units * GM_CELL_UNIT;
}

static size_t bare_size(unsigned n_chunks)
{
	return sizeof(struct gm_page_node) + n_chunks * sizeof(uint16_t);
}

uint32_t gm_page_node_bare_cost(unsigned n_chunks)
{
	return gm_page_node_cost(bare_size(n_chunks));
}

void gm_page_node_weigh(struct gm_page_node *node)
{
	node->bytes = gm_page_node_bare_cost(node->n_chunks);
	for (unsigned i = 0; i < node->n_blocks; i++)
		node->bytes += gm_page_node_cost(
			gm_page_node_block_size(i, node->n_blocks, node->last_units));
}

struct gm_page_node *gm_page_node_new(unsigned n_chunks, enum gm_page_state state)
{
	struct gm_page_node *node = calloc(1, bare_size(n_chunks));

	if (!node)
		return NULL;
	node->n_chunks = (uint16_t)n_chunks;
	node->pages[state] = n_chunks * GM_NODE_CHUNK_PAGES;
	for (unsigned i = 0; i < n_chunks; i++)
		node->chunk[i] = (uint16_t)(UNIFORM | state);
	gm_page_node_weigh(node);
	return node;
}

/*
 * The heap writes on both sides of what it frees. On a large map these are cold lines, one after
 * the other, unless they are asked for together.
 */
static void prefetch_ends(const struct gm_page_node *node)
{
	for (unsigned i = 0; i < node->n_blocks; i++) {
		const unsigned char *block = node->blocks[i];

		__builtin_prefetch(block - sizeof(size_t), 1);
		__builtin_prefetch(
			block + gm_page_node_block_size(i, node->n_blocks, node->last_units), 1);
	}
}

void gm_page_node_free(struct gm_page_node *node)
{
	if (!node)
		return;
	prefetch_ends(node);
	for (unsigned i = 0; i < node->n_blocks; i++)
		free(node->blocks[i]);
	free(node);
}

unsigned gm_page_node_capacity(unsigned class, unsigned n_blocks, unsigned last_units)
{
	unsigned units = n_blocks == 0 ? 0 : (n_blocks - 1) * BLOCK_UNITS + last_units;

	return units * gm_cell_classes[class].per_unit;
}

static unsigned char *cell_at(unsigned char *const *blocks, unsigned class, unsigned index)
{
	unsigned per_block = BLOCK_UNITS * gm_cell_classes[class].per_unit;

	size_t before = index % per_block;

	return blocks[index / per_block] + before * gm_cell_classes[class].bytes;
}

static unsigned char *cell_of(const struct gm_page_node *node, unsigned index)
{
	return cell_at(node->blocks, node->class, index);
}

/* Gives memory back, but keeps half a block so that one chunk to and fro does not cost a malloc. */
static void trim(struct gm_page_node *node)
{
	unsigned per_block = BLOCK_UNITS * gm_cell_classes[node->class].per_unit;
	unsigned n_blocks = node->n_blocks;

	if (node->n_cells == 0) {
		while (node->n_blocks > 0)
			free(node->blocks[--node->n_blocks]);
		node->last_units = 0;
		node->class = 0;
		node->states = 0;
	}
	while (node->n_blocks > 1 &&
	       node->n_cells + per_block / 2 <=
		       gm_page_node_capacity(node->class, node->n_blocks - 1u, BLOCK_UNITS)) {
		free(node->blocks[--node->n_blocks]);
		node->last_units = BLOCK_UNITS;
	}
	if (node->n_blocks != n_blocks)
		gm_page_node_weigh(node);
}

/* ---- looking ---- */

enum gm_page_state gm_page_node_get(const struct gm_page_node *node, unsigned page)
{
	unsigned entry = node->chunk[page / GM_NODE_CHUNK_PAGES];

	if (entry & UNIFORM)
		return entry & ~UNIFORM;
	return node->state_of[gm_cell_get(node->class, cell_of(node, entry),
					  page % GM_NODE_CHUNK_PAGES)];
}

/* The states of a bit set as the ranks that stand for them in cells. */
static unsigned ranks_of(const struct gm_page_node *node, unsigned states)
{
	unsigned ranks = 0;

	for (unsigned state = 0; state < GM_PAGE_STATE_N_; state++)
		if (states & node->states & bit(state))
			ranks |= bit(node->rank_of[state]);
	return ranks;
}

/* One chunk's share of a range of pages. */
struct part {
	unsigned chunk;
	unsigned first; /* in the chunk */
	unsigned end;
};

/* The part of the range that starts at @page; returns the page after it. */
static unsigned part_at(unsigned page, unsigned end, struct part *ret_part)
{
	unsigned start = page - page % GM_NODE_CHUNK_PAGES;
	unsigned stop = start + GM_NODE_CHUNK_PAGES;

	if (stop > end)
		stop = end;
	ret_part->chunk = page / GM_NODE_CHUNK_PAGES;
	ret_part->first = page - start;
	ret_part->end = stop - start;
	return stop;
}

static bool is_whole(const struct part *part)
{
	return part->end - part->first == GM_NODE_CHUNK_PAGES;
}

unsigned gm_page_node_find(const struct gm_page_node *node, unsigned first, unsigned end,
			   unsigned states)
{
	unsigned ranks = ranks_of(node, states);
	struct part part;

	for (unsigned next; first < end; first = next) {
		unsigned entry, found;

		next = part_at(first, end, &part);
		entry = node->chunk[part.chunk];
		if (entry & UNIFORM) {
			if (states & bit(entry & ~UNIFORM))
				return first;
			continue;
		}
		if (ranks == 0)
			continue;
		found = gm_cell_find(node->class, cell_of(node, entry), part.first, part.end,
				     ranks);
		if (found < part.end)
			return first + (found - part.first);
	}
	return end;
}

static unsigned count_part(const struct gm_page_node *node, const struct part *part,
			   enum gm_page_state state)
{
	unsigned entry = node->chunk[part->chunk];
	struct gm_cell_tally tally;

	if (entry == (UNIFORM | state))
		return part->end - part->first;
	if (entry & UNIFORM || !(node->states & bit(state)))
		return 0;
	tally = gm_cell_count(node->class, cell_of(node, entry), part->first, part->end);
	return gm_cell_tally_of(tally, node->rank_of[state]);
}

unsigned gm_page_node_count(const struct gm_page_node *node, unsigned first, unsigned end,
			    enum gm_page_state state)
{
	unsigned n = 0;
	struct part part;

	if (end - first == node->n_chunks * GM_NODE_CHUNK_PAGES)
		return node->pages[state];
	while (first < end) {
		first = part_at(first, end, &part);
		n += count_part(node, &part, state);
	}
	return n;
}

/* ---- staging ---- */

/* Notes what one part of the range asks for; returns how many new cells: 0 or 1. */
static unsigned plan_part(struct gm_page_stage *stage, const struct gm_page_node *node,
			  const struct part *part, enum gm_page_state state)
{
	unsigned entry = node->chunk[part->chunk];

	if (is_whole(part) || entry == (UNIFORM | state))
		return 0;
	stage->states |= (uint8_t)bit(state);
	if (!(entry & UNIFORM))
		return 0;
	stage->states |= (uint8_t)bit(entry & ~UNIFORM);
	return 1;
}

static void plan_layout(struct gm_page_stage *stage, unsigned n_cells)
{
	unsigned per_unit = gm_cell_classes[stage->class].per_unit;
	unsigned units = (n_cells + per_unit - 1) / per_unit;

	stage->n_blocks = (uint8_t)((units + BLOCK_UNITS - 1) / BLOCK_UNITS);
	stage->last_units = BLOCK_UNITS;
	while ((stage->n_blocks - 1u) * BLOCK_UNITS + stage->last_units / 2u >= units)
		stage->last_units /= 2;
}

/* Whether the node's own block of that number will not do. */
static bool is_new(const struct gm_page_stage *stage, const struct gm_page_node *node, unsigned i)
{
	return stage->class != node->class || i >= node->n_blocks ||
	       gm_page_node_block_size(i, stage->n_blocks, stage->last_units) !=
		       gm_page_node_block_size(i, node->n_blocks, node->last_units);
}

void gm_page_stage_plan(struct gm_page_stage *stage, const struct gm_page_node *node,
			unsigned first, unsigned end, enum gm_page_state state)
{
	unsigned n_cells = node->n_cells;
	struct part part;

	*stage = (struct gm_page_stage){ .class = node->class,
					 .last_units = node->last_units,
					 .n_blocks = node->n_blocks,
					 .states = node->states };
	/* Only the first and the last part can be less than a chunk. */
	first = part_at(first, end, &part);
	n_cells += plan_part(stage, node, &part, state);
	if (first < end) {
		(void)part_at(end - 1, end, &part);
		part.first = 0;
		n_cells += plan_part(stage, node, &part, state);
	}
	stage->class = (uint8_t)gm_cell_class_for(gm_count_bits(stage->states));
	if (stage->class != node->class ||
	    n_cells > gm_page_node_capacity(node->class, node->n_blocks, node->last_units))
		plan_layout(stage, n_cells);
	for (unsigned i = 0; i < stage->n_blocks; i++)
		if (is_new(stage, node, i))
			stage->bytes += gm_page_node_cost(
				gm_page_node_block_size(i, stage->n_blocks, stage->last_units));
}

int gm_page_stage_take(struct gm_page_stage *stage, const struct gm_page_node *node)
{
	for (unsigned i = 0; i < stage->n_blocks; i++) {
		if (!is_new(stage, node, i))
			continue;
		stage->blocks[i] =
			malloc(gm_page_node_block_size(i, stage->n_blocks, stage->last_units));
		if (!stage->blocks[i]) {
			gm_page_stage_done(stage);
			return -ENOMEM;
		}
	}
	return 0;
}

void gm_page_stage_done(struct gm_page_stage *stage)
{
	for (unsigned i = 0; i < stage->n_blocks; i++)
		free(stage->blocks[i]);
	*stage = (struct gm_page_stage){ 0 };
}

static void move_cells(struct gm_page_stage *stage, struct gm_page_node *node)
{
	if (stage->class != node->class) {
		for (unsigned i = 0; i < node->n_cells; i++)
			gm_cell_recode(node->class, cell_of(node, i), stage->class,
				       cell_at(stage->blocks, stage->class, i));
		return;
	}
	for (unsigned i = 0; i < node->n_blocks; i++)
		if (stage->blocks[i])
			memcpy(stage->blocks[i], node->blocks[i],
			       gm_page_node_block_size(i, node->n_blocks, node->last_units));
}

static void add_ranks(struct gm_page_node *node, unsigned states)
{
	for (unsigned state = 0; state < GM_PAGE_STATE_N_; state++) {
		unsigned rank = gm_count_bits(node->states);

		if (!(states & ~node->states & bit(state)))
			continue;
		node->rank_of[state] = (uint8_t)rank;
		node->state_of[rank] = (uint8_t)state;
		node->states |= (uint8_t)bit(state);
	}
}

void gm_page_stage_commit(struct gm_page_stage *stage, struct gm_page_node *node)
{
	move_cells(stage, node);
	for (unsigned i = 0; i < GM_NODE_BLOCKS_MAX; i++) {
		if (i < node->n_blocks && (i >= stage->n_blocks || stage->blocks[i]))
			free(node->blocks[i]);
		if (i < stage->n_blocks && stage->blocks[i])
			node->blocks[i] = stage->blocks[i];
	}
	node->n_blocks = stage->n_blocks;
	node->last_units = stage->last_units;
	node->class = stage->class;
	add_ranks(node, stage->states);
	gm_page_node_weigh(node);
	*stage = (struct gm_page_stage){ 0 };
}

/* ---- setting ---- */

static void free_cell(struct gm_page_node *node, unsigned chunk, enum gm_page_state state)
{
	unsigned cell = node->chunk[chunk];
	unsigned last = --node->n_cells;
	unsigned owner = 0;

	node->chunk[chunk] = (uint16_t)(UNIFORM | state);
	if (cell == last)
		return;
	/* Looking for it costs less than to keep, for every cell, whose it is. */
	while (node->chunk[owner] != last)
		owner++;
	memcpy(cell_of(node, cell), cell_of(node, last), gm_cell_classes[node->class].bytes);
	node->chunk[owner] = (uint16_t)cell;
}

static unsigned make_cell(struct gm_page_node *node, unsigned chunk)
{
	unsigned state = node->chunk[chunk] & ~UNIFORM;
	unsigned cell = node->n_cells++;

	assert(cell < gm_page_node_capacity(node->class, node->n_blocks, node->last_units));
	gm_cell_fill(node->class, cell_of(node, cell), node->rank_of[state]);
	node->chunk[chunk] = (uint16_t)cell;
	return cell;
}

/* Moves the counts of a mixed chunk's part over to @state. */
static void recount(struct gm_page_node *node, unsigned cell, const struct part *part,
		    enum gm_page_state state)
{
	struct gm_cell_tally tally =
		gm_cell_count(node->class, cell_of(node, cell), part->first, part->end);

	for (unsigned old = 0; old < GM_PAGE_STATE_N_; old++)
		if (node->states & bit(old))
			node->pages[old] -= gm_cell_tally_of(tally, node->rank_of[old]);
	node->pages[state] += part->end - part->first;
}

static void set_part(struct gm_page_node *node, const struct part *part, enum gm_page_state state)
{
	unsigned entry = node->chunk[part->chunk];
	unsigned rank;

	if (entry == (UNIFORM | state))
		return;
	if (is_whole(part) && entry & UNIFORM) {
		node->pages[entry & ~UNIFORM] -= GM_NODE_CHUNK_PAGES;
		node->pages[state] += GM_NODE_CHUNK_PAGES;
		node->chunk[part->chunk] = (uint16_t)(UNIFORM | state);
		return;
	}
	if (entry & UNIFORM)
		entry = make_cell(node, part->chunk);
	recount(node, entry, part, state);
	if (is_whole(part)) {
		free_cell(node, part->chunk, state);
		return;
	}
	rank = node->rank_of[state];
	gm_cell_set(node->class, cell_of(node, entry), part->first, part->end, rank);
	if (gm_cell_is_uniform(node->class, cell_of(node, entry), part->first, rank))
		free_cell(node, part->chunk, state);
}

void gm_page_node_set(struct gm_page_node *node, unsigned first, unsigned end,
		      enum gm_page_state state)
{
	struct part part;

	while (first < end) {
		first = part_at(first, end, &part);
		set_part(node, &part, state);
	}
	trim(node);
}

enum gm_page_state gm_page_node_set_page(struct gm_page_node *node, unsigned page,
					 enum gm_page_state state)
{
	unsigned entry = node->chunk[page / GM_NODE_CHUNK_PAGES];
	unsigned in_cell = page % GM_NODE_CHUNK_PAGES;
	enum gm_page_state old;
	unsigned char *cell;
	unsigned rank;

	if (entry & UNIFORM)
		return entry == (UNIFORM | state) ? state : GM_PAGE_STATE_N_;
	if (!(node->states & bit(state)))
		return GM_PAGE_STATE_N_;
	cell = cell_of(node, entry);
	rank = node->rank_of[state];
	old = node->state_of[gm_cell_swap(node->class, cell, in_cell, rank)];
	node->pages[old]--;
	node->pages[state]++;
	if (gm_cell_is_uniform(node->class, cell, in_cell, rank)) {
		free_cell(node, page / GM_NODE_CHUNK_PAGES, state);
		trim(node);
	}
	return old;
}
