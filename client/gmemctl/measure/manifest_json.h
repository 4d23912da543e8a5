/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A manifest as JSON: {name, kind, digest, rows: [{type, gpa, length, content, running, pages,
 * vmsa, registers}]}. What --json writes, --diff reads.
 */
#ifndef MEASURE_MANIFEST_JSON_H
#define MEASURE_MANIFEST_JSON_H

#include "gm_manifest.h"
#include "input.h"

/* NULL when out of memory. */
json_object *manifest_to_json(const char *name, const struct gm_manifest *manifest);

/* @ret_manifest is to be done in any case. 0, GM_INVALID or -ENOMEM. */
int manifest_from_json(json_object *tree, struct gm_manifest *ret_manifest,
		       struct gm_refusal *refusal) GM_WARN_UNUSED;

/* @text gets 2 * @size + 1 characters. */
void manifest_hex(const uint8_t *bytes, size_t size, char *text);

#endif
