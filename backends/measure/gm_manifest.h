/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A launch step by step: what was put in, its content, and the digest after it. Two manifests tell
 * where two launches part: the first page, register or step.
 */
#ifndef GM_MANIFEST_H
#define GM_MANIFEST_H

#include "gm_launch_digest.h"
#include "gm_vmsa.h"

struct gm_manifest_row {
	enum gm_launch_page type;
	uint64_t gpa;
	uint64_t length;
	uint8_t running[GM_DIGEST_MAX];	  /* after this step */
	size_t n_pages;			  /* 0: contents are not measured; the last may be short */
	uint8_t (*pages)[GM_SHA384_SIZE]; /* SHA-384 of each page; owned */
	uint8_t *vmsa;			  /* its page; NULL: it is none, or not known; owned */
};

struct gm_manifest {
	enum gm_launch_kind kind;
	uint8_t digest[GM_DIGEST_MAX];
	size_t n_rows;
	size_t max_rows;
	struct gm_manifest_row *rows;
};

/* Idempotent; safe on a zeroed struct. */
void gm_manifest_done(struct gm_manifest *manifest);

/* A new empty row at the end, NULL when out of memory. Valid until the next. */
struct gm_manifest_row *gm_manifest_add(struct gm_manifest *manifest);

/* Room for @n_pages digests in @row. 0 or -ENOMEM. */
int gm_manifest_row_pages(struct gm_manifest_row *row, size_t n_pages) GM_WARN_UNUSED;

/* Of a row's content: its page's digest; of several pages, SHA-384 over their digests. */
void gm_manifest_row_content(const struct gm_manifest_row *row, uint8_t ret_digest[GM_SHA384_SIZE]);

/* A digest being computed, with or without rows. */
struct gm_measure {
	struct gm_launch_digest digest;
	unsigned n_threads;
	struct gm_manifest *manifest; /* NULL: no rows are wanted */
};

/* gm_launch_digest_update(), with its row. */
int gm_measure_step(struct gm_measure *measure, const struct gm_launch_range *range,
		    struct gm_refusal *refusal) GM_WARN_UNUSED;

/* gm_launch_digest_finish(), which the manifest gets too. */
int gm_measure_finish(struct gm_measure *measure, uint8_t ret_digest[GM_DIGEST_MAX],
		      struct gm_refusal *refusal) GM_WARN_UNUSED;

/* ---- gm_manifest_diff.c ---- */

#define GM_DIFFERENCE_MAX 400

/*
 * False: they give the same digest. True: @ret_text says where they part first. @ours and @theirs
 * are what they are called there.
 */
bool gm_manifest_differ(const struct gm_manifest *ours, const struct gm_manifest *theirs,
			char ret_text[GM_DIFFERENCE_MAX]);

#endif
