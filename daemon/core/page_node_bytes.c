/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node as bytes: a header of fixed size, the words of the chunks, and the cells as they lie. All
 * numbers are of the machine: the bytes are for the next process on the same host.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "page_cell.h"
#include "page_map.h"
#include "page_node.h"

struct node_bytes {
	uint16_t n_chunks;
	uint16_t n_cells;
	uint8_t class;
	uint8_t last_units;
	uint8_t n_blocks;
	uint8_t states;
	uint8_t state_of[GM_PAGE_STATE_N_];
	uint8_t zero[2];
};
static_assert(sizeof(struct node_bytes) == 16, "no padding");
static_assert(sizeof(struct node_bytes) + GM_NODE_CHUNKS * (sizeof(uint16_t) + 171) + 7 <=
		      GM_PAGE_GIB_BYTES_MAX,
	      "a node in which every chunk has a cell of the widest class fits");

static size_t round_up(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

static size_t chunks_size(unsigned n_chunks)
{
	return n_chunks * sizeof(uint16_t);
}

/* The bytes of the cells in a block, when @cells_left are in it and those after it. */
static size_t cells_in_block(const struct gm_page_node *node, unsigned block, size_t cells_left)
{
	const struct gm_cell_class *class = &gm_cell_classes[node->class];
	size_t room = gm_page_node_block_size(block, node->n_blocks, node->last_units) /
		      GM_CELL_UNIT * class->per_unit;

	return (cells_left < room ? cells_left : room) * class->bytes;
}

size_t gm_page_node_export(const struct gm_page_node *node, void *buffer)
{
	struct node_bytes header = {
		.n_chunks = node->n_chunks,
		.n_cells = node->n_cells,
		.class = node->class,
		.last_units = node->last_units,
		.n_blocks = node->n_blocks,
		.states = node->states,
	};
	unsigned char *at = buffer;
	size_t left = node->n_cells;
	size_t size;

	memcpy(header.state_of, node->state_of, sizeof(header.state_of));
	memcpy(at, &header, sizeof(header));
	at += sizeof(header);
	memcpy(at, node->chunk, chunks_size(node->n_chunks));
	at += chunks_size(node->n_chunks);
	for (unsigned i = 0; i < node->n_blocks && left > 0; i++) {
		size_t bytes = cells_in_block(node, i, left);

		memcpy(at, node->blocks[i], bytes);
		at += bytes;
		left -= bytes / gm_cell_classes[node->class].bytes;
	}
	size = (size_t)(at - (unsigned char *)buffer);
	memset(at, 0, round_up(size) - size);
	return round_up(size);
}

/* ---- reading ---- */

static bool is_block_size(unsigned units)
{
	return units <= 16 && gm_is_power_of_two(units);
}

/* Everything in the header that the rest relies on. */
static bool header_is_sound(const struct node_bytes *header, unsigned n_chunks, size_t size)
{
	unsigned n_states = gm_count_bits(header->states);
	unsigned seen = 0;
	size_t cells;

	if (header->n_chunks != n_chunks || header->n_cells > n_chunks ||
	    header->class >= GM_CELL_CLASS_N_ || header->n_blocks > GM_NODE_BLOCKS_MAX)
		return false;
	if (header->n_blocks == 0 ? header->n_cells != 0 || header->last_units != 0
				  : header->n_cells == 0 || !is_block_size(header->last_units))
		return false;
	if (header->n_cells >
	    gm_page_node_capacity(header->class, header->n_blocks, header->last_units))
		return false;
	if (header->states >> GM_PAGE_STATE_N_ != 0 ||
	    n_states > gm_cell_classes[header->class].base)
		return false;
	for (unsigned rank = 0; rank < n_states; rank++) {
		if (header->state_of[rank] >= GM_PAGE_STATE_N_)
			return false;
		seen |= 1u << header->state_of[rank];
	}
	cells = (size_t)header->n_cells * gm_cell_classes[header->class].bytes;
	return seen == header->states &&
	       size == round_up(sizeof(*header) + chunks_size(n_chunks) + cells);
}

static int take_blocks(struct gm_page_node *node, const struct node_bytes *header)
{
	node->class = header->class;
	node->last_units = header->last_units;
	node->states = header->states;
	for (unsigned rank = 0; rank < gm_count_bits(header->states); rank++) {
		node->state_of[rank] = header->state_of[rank];
		node->rank_of[header->state_of[rank]] = (uint8_t)rank;
	}
	for (unsigned i = 0; i < header->n_blocks; i++) {
		node->blocks[i] =
			malloc(gm_page_node_block_size(i, header->n_blocks, header->last_units));
		if (!node->blocks[i])
			return -ENOMEM;
		node->n_blocks++;
	}
	node->n_cells = header->n_cells;
	gm_page_node_weigh(node);
	return 0;
}

/*
 * A cell of digits that its class has, of ranks that stand for a state, counted into @node. Digits
 * past the last page are made to repeat it, as everything that sets pages relies on.
 */
static bool cell_is_sound(struct gm_page_node *node, unsigned char *cell)
{
	const struct gm_cell_class *class = &gm_cell_classes[node->class];
	unsigned n_states = gm_count_bits(node->states);
	unsigned top = class->power[class->digits - 1u] * class->base;
	struct gm_cell_tally tally;
	unsigned counted = 0;

	for (unsigned i = 0; i < class->bytes; i++)
		if (cell[i] >= top)
			return false;
	tally = gm_cell_count(node->class, cell, 0, GM_CELL_PAGES);
	for (unsigned rank = 0; rank < n_states; rank++) {
		unsigned pages = gm_cell_tally_of(tally, rank);

		if (pages == GM_CELL_PAGES)
			return false;
		node->pages[node->state_of[rank]] += pages;
		counted += pages;
	}
	if (counted != GM_CELL_PAGES)
		return false;
	(void)gm_cell_swap(node->class, cell, GM_CELL_PAGES - 1,
			   gm_cell_get(node->class, cell, GM_CELL_PAGES - 1));
	return true;
}

static bool take_cells(struct gm_page_node *node, const unsigned char *bytes)
{
	size_t left = node->n_cells;

	for (unsigned i = 0; i < node->n_blocks; i++) {
		size_t size = cells_in_block(node, i, left);

		memcpy(node->blocks[i], bytes, size);
		bytes += size;
		for (size_t at = 0; at < size; at += gm_cell_classes[node->class].bytes, left--)
			if (!cell_is_sound(node, node->blocks[i] + at))
				return false;
	}
	return true;
}

/* Every chunk is in one state, or has a cell that no other chunk has. */
static bool take_chunks(struct gm_page_node *node, const unsigned char *bytes)
{
	bool is_taken[GM_NODE_CHUNKS] = { 0 };
	unsigned n_taken = 0;

	memcpy(node->chunk, bytes, chunks_size(node->n_chunks));
	for (unsigned i = 0; i < node->n_chunks; i++) {
		unsigned entry = node->chunk[i];

		if (entry & GM_NODE_UNIFORM) {
			unsigned state = entry & ~GM_NODE_UNIFORM;

			if (state >= GM_PAGE_STATE_N_)
				return false;
			node->pages[state] += GM_NODE_CHUNK_PAGES;
			continue;
		}
		if (entry >= node->n_cells || is_taken[entry])
			return false;
		is_taken[entry] = true;
		n_taken++;
	}
	return n_taken == node->n_cells;
}

int gm_page_node_import(unsigned n_chunks, const void *bytes, size_t size,
			struct gm_page_node **ret_node)
{
	const unsigned char *at = bytes;
	struct node_bytes header;
	struct gm_page_node *node;
	int r;

	if (size < sizeof(header))
		return -EBADMSG;
	memcpy(&header, at, sizeof(header));
	if (!header_is_sound(&header, n_chunks, size))
		return -EBADMSG;
	node = gm_page_node_new(n_chunks, GM_PAGE_ABSENT);
	if (!node)
		return -ENOMEM;
	node->pages[GM_PAGE_ABSENT] = 0;
	r = take_blocks(node, &header);
	at += sizeof(header);
	if (r == 0 && (!take_chunks(node, at) || !take_cells(node, at + chunks_size(n_chunks))))
		r = -EBADMSG;
	if (r != 0) {
		gm_page_node_free(node);
		return r;
	}
	*ret_node = node;
	return 0;
}
