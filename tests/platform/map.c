/* SPDX-License-Identifier: Apache-2.0 */
/* One byte a page, in chunks of 512 pages; a chunk that was never touched is all zeros. */
#include <errno.h>
#include <string.h>

#include "state.h"

static struct gp_chunk *chunk_of(uint32_t number)
{
	return number == 0 ? NULL : &gp_state->chunks[number - 1];
}

static struct gp_chunk *find(struct gp_map *map, uint64_t base)
{
	struct gp_chunk *chunk = chunk_of(map->last);

	if (chunk && chunk->base == base)
		return chunk;
	for (uint32_t at = map->first; at != 0; at = chunk->next) {
		chunk = chunk_of(at);
		if (chunk->base == base) {
			map->last = at;
			return chunk;
		}
	}
	return NULL;
}

static struct gp_chunk *make(struct gp_map *map, uint64_t base)
{
	struct gp_chunk *chunk = find(map, base);
	uint32_t number;

	if (chunk)
		return chunk;
	if (gp_state->free_chunk != 0) {
		number = gp_state->free_chunk;
		gp_state->free_chunk = chunk_of(number)->next;
	} else if (gp_state->n_chunks < GP_CHUNKS) {
		number = ++gp_state->n_chunks;
	} else {
		return NULL;
	}
	chunk = chunk_of(number);
	memset(chunk, 0, sizeof(*chunk));
	chunk->base = base;
	chunk->next = map->first;
	map->first = number;
	map->last = number;
	return chunk;
}

static uint64_t base_of(uint64_t page)
{
	return page - page % GP_CHUNK_PAGES;
}

uint8_t gp_map_get(struct gp_map *map, uint64_t page)
{
	struct gp_chunk *chunk = find(map, base_of(page));

	return chunk ? chunk->page[page % GP_CHUNK_PAGES] : 0;
}

int gp_map_change(struct gp_map *map, uint64_t page, uint64_t n_pages, uint8_t set, uint8_t clear)
{
	for (uint64_t end = page + n_pages; page < end;) {
		uint64_t base = base_of(page);
		uint64_t to = end - base < GP_CHUNK_PAGES ? end - base : GP_CHUNK_PAGES;
		struct gp_chunk *chunk = set ? make(map, base) : find(map, base);

		if (!chunk && set)
			return -ENOMEM;
		for (uint64_t i = page - base; chunk && i < to; i++)
			chunk->page[i] = (uint8_t)((chunk->page[i] & ~clear) | set);
		page = base + to;
	}
	return 0;
}

void gp_map_each(struct gp_map *map, uint64_t page, uint64_t n_pages, uint8_t any,
		 void (*fn)(void *arg, uint64_t page, uint8_t *state), void *arg)
{
	uint64_t end = page + n_pages;
	struct gp_chunk *chunk;

	for (uint32_t at = map->first; at != 0; at = chunk->next) {
		chunk = chunk_of(at);
		for (uint64_t i = 0; i < GP_CHUNK_PAGES; i++)
			if (chunk->base + i >= page && chunk->base + i < end &&
			    (chunk->page[i] & any) != 0)
				fn(arg, chunk->base + i, &chunk->page[i]);
	}
}

void gp_map_clear(struct gp_map *map)
{
	while (map->first != 0) {
		struct gp_chunk *chunk = chunk_of(map->first);
		uint32_t number = map->first;

		map->first = chunk->next;
		chunk->next = gp_state->free_chunk;
		gp_state->free_chunk = number;
	}
	map->last = 0;
}
