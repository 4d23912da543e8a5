/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_manifest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gm_page_hash.h"

void gm_manifest_done(struct gm_manifest *manifest)
{
	for (size_t i = 0; i < manifest->n_rows; i++) {
		free(manifest->rows[i].pages);
		free(manifest->rows[i].vmsa);
	}
	free(manifest->rows);
	*manifest = (struct gm_manifest){ 0 };
}

struct gm_manifest_row *gm_manifest_add(struct gm_manifest *manifest)
{
	size_t max = manifest->max_rows ? 2 * manifest->max_rows : 16;
	struct gm_manifest_row *rows;

	if (manifest->n_rows == manifest->max_rows) {
		rows = reallocarray(manifest->rows, max, sizeof(*rows));
		if (!rows)
			return NULL;
		manifest->rows = rows;
		manifest->max_rows = max;
	}
	memset(&manifest->rows[manifest->n_rows], 0, sizeof(*manifest->rows));
	return &manifest->rows[manifest->n_rows++];
}

int gm_manifest_row_pages(struct gm_manifest_row *row, size_t n_pages)
{
	row->pages = calloc(n_pages, sizeof(*row->pages));
	if (!row->pages)
		return -ENOMEM;
	row->n_pages = n_pages;
	return 0;
}

void gm_manifest_row_content(const struct gm_manifest_row *row, uint8_t ret_digest[GM_SHA384_SIZE])
{
	if (row->n_pages == 1)
		memcpy(ret_digest, row->pages[0], GM_SHA384_SIZE);
	else
		gm_hash_bytes(GM_HASH_SHA384, row->pages, row->n_pages * GM_SHA384_SIZE,
			      ret_digest);
}

static bool is_measured(enum gm_launch_page type)
{
	return type == GM_LAUNCH_NORMAL || type == GM_LAUNCH_VMSA;
}

static int fill_contents(struct gm_manifest_row *row, const struct gm_launch_range *range,
			 unsigned n_threads)
{
	int r = gm_manifest_row_pages(row, (range->length + GM_PAGE_4K - 1) / GM_PAGE_4K);

	if (r < 0)
		return r;
	if (range->digests) {
		memcpy(row->pages, range->digests, row->n_pages * sizeof(*row->pages));
		return 0;
	}
	if (range->type == GM_LAUNCH_VMSA) {
		row->vmsa = calloc(1, GM_VMSA_SIZE);
		if (!row->vmsa)
			return -ENOMEM;
		if (range->n_bytes > 0)
			memcpy(row->vmsa, range->bytes, gm_min_u64(range->n_bytes, GM_VMSA_SIZE));
	}
	return gm_hash_pages(range->bytes, range->n_bytes, row->n_pages, n_threads, NULL,
			     row->pages);
}

static int add_row(struct gm_measure *measure, const struct gm_launch_range *range)
{
	struct gm_manifest_row *row = gm_manifest_add(measure->manifest);

	if (!row)
		return -ENOMEM;
	row->type = range->type;
	row->gpa = range->gpa;
	row->length = range->length;
	return is_measured(range->type) ? fill_contents(row, range, measure->n_threads) : 0;
}

int gm_measure_step(struct gm_measure *measure, const struct gm_launch_range *range,
		    struct gm_refusal *refusal)
{
	struct gm_launch_digest before = measure->digest;
	struct gm_manifest *manifest = measure->manifest;
	int r = gm_launch_digest_update(&measure->digest, range, measure->n_threads, refusal);

	if (r != 0 || !manifest)
		return r;
	r = add_row(measure, range);
	if (r < 0) {
		measure->digest = before;
		return r;
	}
	/* Of a digest that is not known any more there is nothing to show. */
	(void)!gm_launch_digest_peek(&measure->digest, manifest->rows[manifest->n_rows - 1].running,
				     NULL);
	return 0;
}

int gm_measure_finish(struct gm_measure *measure, uint8_t ret_digest[GM_DIGEST_MAX],
		      struct gm_refusal *refusal)
{
	int r = gm_launch_digest_finish(&measure->digest, ret_digest, refusal);

	if (r != 0 || !measure->manifest)
		return r;
	measure->manifest->kind = measure->digest.kind;
	memcpy(measure->manifest->digest, ret_digest, gm_launch_digest_size(measure->digest.kind));
	return 0;
}
