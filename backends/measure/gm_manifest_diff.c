/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gm_manifest.h"

/* A page of a manifest: steps that were split in another way give the same pages. */
struct cursor {
	const struct gm_manifest *manifest;
	size_t row;
	uint64_t offset; /* into the row */
};

static const struct gm_manifest_row *cursor_row(const struct cursor *cursor)
{
	return cursor->row < cursor->manifest->n_rows ? &cursor->manifest->rows[cursor->row] : NULL;
}

static void cursor_next(struct cursor *cursor)
{
	cursor->offset += GM_PAGE_4K;
	if (cursor->offset >= cursor_row(cursor)->length) {
		cursor->row++;
		cursor->offset = 0;
	}
}

static const char *describe(const struct cursor *cursor, char *buffer, size_t size)
{
	const struct gm_manifest_row *row = cursor_row(cursor);

	if (!row)
		return "nothing more";
	(void)snprintf(buffer, size, "step %zu, %s page 0x%" PRIx64, cursor->row,
		       gm_launch_page_name(row->type), row->gpa + cursor->offset);
	return buffer;
}

static uint64_t read_register(const uint8_t *vmsa, const struct gm_vmsa_register *reg)
{
	uint64_t value = 0;

	for (size_t i = reg->size < 8 ? reg->size : 8; i > 0; i--)
		value = value << 8 | vmsa[reg->offset + i - 1];
	return value;
}

static size_t next_register(const uint8_t *a, const uint8_t *b, size_t from,
			    struct gm_vmsa_register *ret_register)
{
	for (size_t i = from; i < GM_VMSA_SIZE; i++) {
		if (a[i] != b[i]) {
			*ret_register = gm_vmsa_register_at(i);
			return (size_t)ret_register->offset + ret_register->size;
		}
	}
	return 0;
}

static void describe_registers(const uint8_t *ours, const uint8_t *theirs, char *buffer,
			       size_t size)
{
	struct gm_vmsa_register reg;
	char name[16];
	size_t at = 0;
	size_t n = 0;
	int written;

	for (at = next_register(ours, theirs, at, &reg); at != 0;
	     at = next_register(ours, theirs, at, &reg)) {
		written = snprintf(buffer, size, "%s%s is 0x%" PRIx64 ", not 0x%" PRIx64,
				   n++ > 0 ? "; " : ": ",
				   gm_vmsa_register_name(&reg, name, sizeof(name)),
				   read_register(ours, &reg), read_register(theirs, &reg));
		if (written < 0 || (size_t)written >= size)
			return;
		buffer += written;
		size -= (size_t)written;
	}
}

static bool differ_in_shape(const struct cursor *ours, const struct cursor *theirs)
{
	const struct gm_manifest_row *a = cursor_row(ours);
	const struct gm_manifest_row *b = cursor_row(theirs);

	return !a || !b || a->type != b->type || a->gpa + ours->offset != b->gpa + theirs->offset ||
	       (a->n_pages == 0) != (b->n_pages == 0) ||
	       gm_min_u64(a->length - ours->offset, GM_PAGE_4K) !=
		       gm_min_u64(b->length - theirs->offset, GM_PAGE_4K);
}

/* True: they part here, and @text says how. */
static bool differ_at(const struct cursor *ours, const struct cursor *theirs,
		      char text[GM_DIFFERENCE_MAX])
{
	const struct gm_manifest_row *a = cursor_row(ours);
	const struct gm_manifest_row *b = cursor_row(theirs);
	char a_text[80], b_text[80];
	int n;

	if (differ_in_shape(ours, theirs)) {
		(void)snprintf(text, GM_DIFFERENCE_MAX, "%s, where the manifest has %s",
			       describe(ours, a_text, sizeof(a_text)),
			       describe(theirs, b_text, sizeof(b_text)));
		return true;
	}
	if (a->n_pages == 0 || memcmp(a->pages[ours->offset / GM_PAGE_4K],
				      b->pages[theirs->offset / GM_PAGE_4K], GM_SHA384_SIZE) == 0)
		return false;
	n = snprintf(text, GM_DIFFERENCE_MAX, "%s: its contents differ",
		     describe(ours, a_text, sizeof(a_text)));
	if (a->vmsa && b->vmsa && n > 0)
		describe_registers(a->vmsa, b->vmsa, text + n, GM_DIFFERENCE_MAX - (size_t)n);
	return true;
}

bool gm_manifest_differ(const struct gm_manifest *ours, const struct gm_manifest *theirs,
			char ret_text[GM_DIFFERENCE_MAX])
{
	struct cursor a = { .manifest = ours };
	struct cursor b = { .manifest = theirs };

	if (ours->kind != theirs->kind) {
		(void)snprintf(ret_text, GM_DIFFERENCE_MAX, "this is %s, the manifest is of %s",
			       gm_launch_kind_name(ours->kind), gm_launch_kind_name(theirs->kind));
		return true;
	}
	if (memcmp(ours->digest, theirs->digest, gm_launch_digest_size(ours->kind)) == 0)
		return false;
	while (cursor_row(&a) || cursor_row(&b)) {
		if (differ_at(&a, &b, ret_text))
			return true;
		cursor_next(&a);
		cursor_next(&b);
	}
	(void)snprintf(ret_text, GM_DIFFERENCE_MAX,
		       "all steps are the same: the digests were begun from different seeds");
	return true;
}
