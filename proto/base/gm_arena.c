/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_arena.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_ALIGN 16

static void *arena_allocator_alloc(void *data, size_t size)
{
	return gm_arena_alloc(data, size);
}

/* Memory comes back all at once, when the message is done with. */
static void arena_allocator_free(void *data, void *block)
{
	(void)data;
	(void)block;
}

int gm_arena_init(struct gm_arena *arena, size_t size)
{
	unsigned char *memory = malloc(size);

	if (!memory)
		return -ENOMEM;
	*arena = (struct gm_arena){
		.size = size,
		.memory = memory,
		.allocator = {
			.alloc = arena_allocator_alloc,
			.free = arena_allocator_free,
			.allocator_data = arena,
		},
	};
	return 0;
}

void *gm_arena_alloc(struct gm_arena *arena, size_t size)
{
	size_t left = arena->size - arena->used;
	size_t padded;

	if (size > left)
		return NULL;
	padded = (size_t)gm_align_down((uint64_t)size + ARENA_ALIGN - 1, ARENA_ALIGN);
	if (padded > left)
		return NULL;
	arena->used += padded;
	return arena->memory + arena->used - padded;
}

void gm_arena_clear(struct gm_arena *arena, bool wipe)
{
	if (wipe && arena->used)
		explicit_bzero(arena->memory, arena->used);
	arena->used = 0;
}

void gm_arena_done(struct gm_arena *arena)
{
	free(arena->memory);
	*arena = (struct gm_arena){ 0 };
}
