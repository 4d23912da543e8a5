/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person or a script gives: numbers, hex, files and members of JSON objects. All of it is
 * untrusted; what is wrong is told with the name of the member.
 */
#ifndef MEASURE_INPUT_H
#define MEASURE_INPUT_H

#include <json-c/json.h>

#include "gm_firmware.h"

/* Bytes that are owned. Empty and absent differ: bytes is NULL for absent ones. */
struct input_bytes {
	uint8_t *bytes;
	size_t size;
};

static inline struct gm_bytes input_view(const struct input_bytes *input)
{
	return (struct gm_bytes){ input->bytes, input->size };
}

void input_bytes_done(struct input_bytes *input); /* idempotent */

/* GM_INVALID, with a text about @object. */
int input_refuse(struct gm_refusal *refusal, const char *object, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* "0x1000", "4096"; nothing else is taken. -EINVAL. */
int input_number(const char *text, uint64_t *ret_number) GM_WARN_UNUSED;

/* An even number of hex digits, @size of them halved. -EINVAL. */
int input_hex(const char *text, uint8_t *ret_bytes, size_t size) GM_WARN_UNUSED;

/* ---- input_file.c: 0, GM_INVALID with what was wrong with the file, or -ENOMEM ---- */

#define INPUT_ALL UINT64_MAX

struct input_range {
	uint64_t offset;
	uint64_t length; /* INPUT_ALL: to the end */
	uint64_t max;	 /* of bytes that are read */
};

/* A whole file, or what comes out of a pipe; "-": standard input. */
int input_read(const char *path, uint64_t max, struct input_bytes *ret_bytes,
	       struct gm_refusal *refusal) GM_WARN_UNUSED;

/* A part of a regular file, which has to have all of it. */
int input_read_range(const char *path, const struct input_range *range,
		     struct input_bytes *ret_bytes, struct gm_refusal *refusal) GM_WARN_UNUSED;

/* ---- members of JSON objects: *ret_has false, and the rest untouched, when it is not there ----
 */

int input_get_number(json_object *object, const char *key, bool *ret_has, uint64_t *ret_number,
		     struct gm_refusal *refusal) GM_WARN_UNUSED;
int input_get_text(json_object *object, const char *key, const char **ret_text,
		   struct gm_refusal *refusal) GM_WARN_UNUSED; /* NULL: not there */
int input_get_truth(json_object *object, const char *key, bool *ret_truth,
		    struct gm_refusal *refusal) GM_WARN_UNUSED; /* untouched: not there */

/* Of any length. @ret_bytes has bytes NULL when it is not there. */
int input_get_hex(json_object *object, const char *key, struct input_bytes *ret_bytes,
		  struct gm_refusal *refusal) GM_WARN_UNUSED;

/* Of exactly @size bytes, and required. */
int input_need_hex(json_object *object, const char *key, uint8_t *ret_bytes, size_t size,
		   struct gm_refusal *refusal) GM_WARN_UNUSED;

/* A text with JSON in it. GM_INVALID tells the line. The caller's to put. */
int input_parse_json(const char *name, const struct input_bytes *text, json_object **ret_tree,
		     struct gm_refusal *refusal) GM_WARN_UNUSED;

#endif
