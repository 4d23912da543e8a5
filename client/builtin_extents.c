/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "builtin.h"

static uint64_t end_of(const struct gm_extent *extent)
{
	return extent->offset + extent->length;
}

/* Room for one more. */
static int make_room(struct gm_builtin_memory *memory)
{
	size_t room = memory->room ? memory->room * 2 : 8;
	struct gm_extent *extents;

	if (memory->n_extents < memory->room)
		return 0;
	extents = reallocarray(memory->extents, room, sizeof(*extents));
	if (!extents)
		return -ENOMEM;
	memory->extents = extents;
	memory->room = room;
	return 0;
}

/* Puts @n extents in the place of those from @first up to @last (not included). */
static void replace(struct gm_builtin_memory *memory, size_t first, size_t last,
		    const struct gm_extent *with, size_t n)
{
	struct gm_extent *extents = memory->extents;

	memmove(extents + first + n, extents + last, (memory->n_extents - last) * sizeof(*extents));
	memcpy(extents + first, with, n * sizeof(*extents));
	memory->n_extents = memory->n_extents - (last - first) + n;
}

int gm_extents_add(struct gm_builtin_memory *memory, uint64_t offset, uint64_t length)
{
	struct gm_extent merged = { .offset = offset, .length = length };
	const struct gm_extent *extents;
	size_t first = 0;
	size_t last;

	if (make_room(memory) < 0)
		return -ENOMEM;
	extents = memory->extents;
	while (first < memory->n_extents && end_of(&extents[first]) < offset)
		first++;
	last = first;
	while (last < memory->n_extents && extents[last].offset <= offset + length)
		last++;
	if (last > first) {
		uint64_t end = gm_max_u64(end_of(&extents[last - 1]), offset + length);

		merged.offset = gm_min_u64(extents[first].offset, offset);
		merged.length = end - merged.offset;
	}
	replace(memory, first, last, &merged, 1);
	return 0;
}

int gm_extents_remove(struct gm_builtin_memory *memory, uint64_t offset, uint64_t length)
{
	const struct gm_extent *extents;
	struct gm_extent left[2];
	size_t first = 0;
	size_t n = 0;
	size_t last;

	if (make_room(memory) < 0)
		return -ENOMEM;
	extents = memory->extents;
	while (first < memory->n_extents && end_of(&extents[first]) <= offset)
		first++;
	last = first;
	while (last < memory->n_extents && extents[last].offset < offset + length)
		last++;
	if (last == first)
		return 0;
	if (extents[first].offset < offset)
		left[n++] = (struct gm_extent){
			.offset = extents[first].offset,
			.length = offset - extents[first].offset,
		};
	if (end_of(&extents[last - 1]) > offset + length)
		left[n++] = (struct gm_extent){
			.offset = offset + length,
			.length = end_of(&extents[last - 1]) - (offset + length),
		};
	replace(memory, first, last, left, n);
	return 0;
}

uint64_t gm_extents_bytes(const struct gm_builtin_memory *memory)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < memory->n_extents; i++)
		bytes += memory->extents[i].length;
	return bytes;
}

void gm_builtin_memory_free(struct gm_builtin_memory *memory)
{
	if (!memory)
		return;
	free(memory->extents);
	free(memory);
}
