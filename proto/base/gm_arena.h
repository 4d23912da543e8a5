/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounded bump allocator for one untrusted message: protobuf-c has no limit of its own, and a
 * 60,000-byte body of empty strings unpacks into 30,000 allocations.
 *
 * Not thread-safe. Memory is aligned to 16 bytes and freed all at once. The struct may not move
 * while it is in use: the allocator points at it.
 */
#ifndef GM_ARENA_H
#define GM_ARENA_H

#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

#include "gm_num.h"

struct gm_arena {
	size_t size;
	size_t used;
	unsigned char *memory;
	ProtobufCAllocator allocator; /* hand this to protobuf-c */
};

/* Allocates @size bytes once; pages are touched only as they are used. 0 or -ENOMEM. */
GM_WARN_UNUSED int gm_arena_init(struct gm_arena *arena, size_t size);

/* NULL when the budget is spent. */
void *gm_arena_alloc(struct gm_arena *arena, size_t size);

/* Forget everything; with @wipe the used bytes are zeroed first. */
void gm_arena_clear(struct gm_arena *arena, bool wipe);

/* Idempotent. */
void gm_arena_done(struct gm_arena *arena);

#endif
