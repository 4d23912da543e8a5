/* SPDX-License-Identifier: Apache-2.0 */
#include "input.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_DEPTH 8

void input_bytes_done(struct input_bytes *input)
{
	free(input->bytes);
	*input = (struct input_bytes){ 0 };
}

int input_refuse(struct gm_refusal *refusal, const char *object, const char *format, ...)
{
	char text[GM_TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return gm_refuse_text(refusal, GM_INVALID, GM_RULE_SOURCE, object, "%s", text);
}

int input_number(const char *text, uint64_t *ret_number)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *digits = hex ? text + 2 : text;
	char *end;
	uint64_t number;

	/* strtoull takes signs, blanks and a second 0x. */
	if (hex ? !isxdigit((unsigned char)digits[0]) : !isdigit((unsigned char)digits[0]))
		return -EINVAL;
	if (hex && (digits[1] == 'x' || digits[1] == 'X'))
		return -EINVAL;
	errno = 0;
	number = strtoull(digits, &end, hex ? 16 : 10);
	if (errno != 0 || *end != '\0')
		return -EINVAL;
	*ret_number = number;
	return 0;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int input_hex(const char *text, uint8_t *ret_bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		int high = digit(text[2 * i]);
		int low = high < 0 ? -1 : digit(text[2 * i + 1]);

		if (low < 0)
			return -EINVAL;
		ret_bytes[i] = (uint8_t)(high << 4 | low);
	}
	return text[2 * size] == '\0' ? 0 : -EINVAL;
}

/* A member that is null counts as absent. */
static json_object *member(json_object *object, const char *key)
{
	json_object *value = NULL;

	(void)json_object_object_get_ex(object, key, &value);
	return value;
}

int input_get_number(json_object *object, const char *key, bool *ret_has, uint64_t *ret_number,
		     struct gm_refusal *refusal)
{
	json_object *value = member(object, key);

	*ret_has = value != NULL;
	if (!value)
		return 0;
	if (json_object_is_type(value, json_type_int) && json_object_get_int64(value) >= 0) {
		*ret_number = json_object_get_uint64(value);
		return 0;
	}
	if (json_object_is_type(value, json_type_string) &&
	    input_number(json_object_get_string(value), ret_number) == 0)
		return 0;
	return input_refuse(refusal, key, "is no number: 4096 and \"0x1000\" are");
}

int input_get_text(json_object *object, const char *key, const char **ret_text,
		   struct gm_refusal *refusal)
{
	json_object *value = member(object, key);

	*ret_text = NULL;
	if (!value)
		return 0;
	if (!json_object_is_type(value, json_type_string))
		return input_refuse(refusal, key, "is no string");
	if (strlen(json_object_get_string(value)) != (size_t)json_object_get_string_len(value))
		return input_refuse(refusal, key, "has a NUL in it");
	*ret_text = json_object_get_string(value);
	return 0;
}

int input_get_truth(json_object *object, const char *key, bool *ret_truth,
		    struct gm_refusal *refusal)
{
	json_object *value = member(object, key);

	if (!value)
		return 0;
	if (!json_object_is_type(value, json_type_boolean))
		return input_refuse(refusal, key, "is neither true nor false");
	*ret_truth = json_object_get_boolean(value);
	return 0;
}

int input_get_hex(json_object *object, const char *key, struct input_bytes *ret_bytes,
		  struct gm_refusal *refusal)
{
	struct input_bytes bytes = { 0 };
	const char *text;
	size_t length;
	int r = input_get_text(object, key, &text, refusal);

	*ret_bytes = bytes;
	if (r != 0 || !text)
		return r;
	length = strlen(text);
	bytes.size = length / 2;
	bytes.bytes = malloc(bytes.size + 1); /* never NULL for empty ones */
	if (!bytes.bytes)
		return -ENOMEM;
	if (length % 2 != 0 || input_hex(text, bytes.bytes, bytes.size) < 0) {
		input_bytes_done(&bytes);
		return input_refuse(refusal, key, "is not made of pairs of hex digits");
	}
	*ret_bytes = bytes;
	return 0;
}

int input_need_hex(json_object *object, const char *key, uint8_t *ret_bytes, size_t size,
		   struct gm_refusal *refusal)
{
	const char *text;
	int r = input_get_text(object, key, &text, refusal);

	if (r != 0)
		return r;
	if (!text)
		return input_refuse(refusal, key, "is not there");
	if (strlen(text) != 2 * size || input_hex(text, ret_bytes, size) < 0)
		return input_refuse(refusal, key, "is not %zu hex digits", 2 * size);
	return 0;
}

static int count_lines(const uint8_t *text, size_t size)
{
	int n = 1;

	for (size_t i = 0; i < size; i++)
		n += text[i] == '\n';
	return n;
}

int input_parse_json(const char *name, const struct input_bytes *text, json_object **ret_tree,
		     struct gm_refusal *refusal)
{
	json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH);
	enum json_tokener_error error;
	json_object *tree;
	size_t end;

	if (!tokener)
		return -ENOMEM;
	if (text->size >= INT_MAX) {
		json_tokener_free(tokener);
		return input_refuse(refusal, name, "is too long");
	}
	/* One byte more: the NUL behind it tells the parser that numbers end. */
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	tree = json_tokener_parse_ex(tokener, (const char *)text->bytes, (int)text->size + 1);
	error = json_tokener_get_error(tokener);
	end = json_tokener_get_parse_end(tokener);
	json_tokener_free(tokener);
	if (error == json_tokener_success && tree) {
		while (end < text->size && isspace(text->bytes[end]))
			end++;
		if (end >= text->size) {
			*ret_tree = tree;
			return 0;
		}
		error = json_tokener_error_parse_unexpected;
	}
	json_object_put(tree);
	return input_refuse(refusal, name, "line %d is no JSON: %s",
			    count_lines(text->bytes, gm_min_u64(end, text->size)),
			    error == json_tokener_continue ? "it ends too early"
							   : json_tokener_error_desc(error));
}
