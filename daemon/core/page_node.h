/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A GiB of guest memory that is not all in one state: one 16-bit word for each 2 MiB chunk, and a
 * cell for each chunk that is mixed.
 *
 * Cells lie side by side, without a gap, in blocks of GM_CELL_UNIT bytes times 1, 2, 4, 8 or 16;
 * only the last block is ever smaller than 16. So all cells of all maps come from five sizes of
 * allocation, whatever the class, and no order of requests can tear the heap to pieces.
 *
 * Which rank a state has is decided when the state first comes into a cell and stays until the
 * node has no cells.
 *
 * A set has two parts. Staging takes the memory that it needs and changes nothing; after the
 * commit it cannot fail. All pages are numbered within the GiB. Not thread-safe.
 */
#ifndef GM_PAGE_NODE_H
#define GM_PAGE_NODE_H

#include "gm_num.h"
#include "page_state.h"

#define GM_NODE_CHUNKS 512u
#define GM_NODE_CHUNK_PAGES 512u
#define GM_NODE_PAGES 262144u

/* 512 cells of 6 states: 48 in a block. */
#define GM_NODE_BLOCKS_MAX 11u

struct gm_page_node {
	uint16_t n_chunks; /* fewer than 512 at the end of a region only */
	uint16_t n_cells;
	uint8_t class;	    /* of all cells */
	uint8_t last_units; /* size of the last block */
	uint8_t n_blocks;   /* 0 when there are no cells */
	uint8_t states;	    /* bit set: states that have a rank */
	uint8_t rank_of[GM_PAGE_STATE_N_];
	uint8_t state_of[GM_PAGE_STATE_N_]; /* by rank */
	uint32_t pages[GM_PAGE_STATE_N_];   /* how many are in each state */
	uint32_t bytes; /* all that is allocated, as gm_page_node_cost() counts */
	unsigned char *blocks[GM_NODE_BLOCKS_MAX];
	uint16_t chunk[]; /* a cell's index, or GM_NODE_UNIFORM and a state */
};

#define GM_NODE_UNIFORM 0x8000u

/* What malloc takes for @size bytes: a word before them, and all of it rounded up to 16. */
static inline uint32_t gm_page_node_cost(size_t size)
{
	return (uint32_t)gm_align_down(size + sizeof(size_t) + 15, 16);
}

/* Bytes of block @block when there are @n_blocks. */
size_t gm_page_node_block_size(unsigned block, unsigned n_blocks, unsigned last_units);

/* How many cells of @class the blocks hold. */
unsigned gm_page_node_capacity(unsigned class, unsigned n_blocks, unsigned last_units);

/* Sets node::bytes by its blocks. */
void gm_page_node_weigh(struct gm_page_node *node);

/* What a node without cells costs. */
uint32_t gm_page_node_bare_cost(unsigned n_chunks);

/* NULL: out of memory. */
struct gm_page_node *gm_page_node_new(unsigned n_chunks, enum gm_page_state state);

/* Accepts NULL. */
void gm_page_node_free(struct gm_page_node *node);

static inline bool gm_page_node_is_uniform(const struct gm_page_node *node,
					   enum gm_page_state state)
{
	return node->pages[state] == node->n_chunks * GM_NODE_CHUNK_PAGES;
}

enum gm_page_state gm_page_node_get(const struct gm_page_node *node, unsigned page);

/* The first page from @first on whose state is in the bit set @states, or @end. */
unsigned gm_page_node_find(const struct gm_page_node *node, unsigned first, unsigned end,
			   unsigned states);

/* How many pages from @first up to @end are in @state. */
unsigned gm_page_node_count(const struct gm_page_node *node, unsigned first, unsigned end,
			    enum gm_page_state state);

/*
 * Writes the node as bytes and returns how many: a multiple of 8. What is read back is a node of
 * the same states, the same cells and the same memory.
 */
size_t gm_page_node_export(const struct gm_page_node *node, void *buffer);

/* 0, -ENOMEM, or -EBADMSG for bytes that are not of an export of a node of @n_chunks. */
GM_WARN_UNUSED int gm_page_node_import(unsigned n_chunks, const void *bytes, size_t size,
				       struct gm_page_node **ret_node);

struct gm_page_stage {
	uint8_t class;
	uint8_t last_units;
	uint8_t n_blocks;
	uint8_t states;				   /* that get a rank */
	uint32_t bytes;				   /* cost of the new blocks */
	unsigned char *blocks[GM_NODE_BLOCKS_MAX]; /* NULL where the node's own will do */
};

/* Works out what setting the pages from @first up to @end will need. */
void gm_page_stage_plan(struct gm_page_stage *stage, const struct gm_page_node *node,
			unsigned first, unsigned end, enum gm_page_state state);

/* Allocates what was planned. 0 or -ENOMEM. */
GM_WARN_UNUSED int gm_page_stage_take(struct gm_page_stage *stage, const struct gm_page_node *node);

/* Gives back what was taken and not committed. Idempotent. */
void gm_page_stage_done(struct gm_page_stage *stage);

/* Hands the memory to the node. No page changes its state. */
void gm_page_stage_commit(struct gm_page_stage *stage, struct gm_page_node *node);

/* Sets the pages from @first up to @end. The memory for it has been staged and committed. */
void gm_page_node_set(struct gm_page_node *node, unsigned first, unsigned end,
		      enum gm_page_state state);

/* Sets one page if that needs no memory; its old state, or GM_PAGE_STATE_N_ if it does. */
enum gm_page_state gm_page_node_set_page(struct gm_page_node *node, unsigned page,
					 enum gm_page_state state);

#endif
