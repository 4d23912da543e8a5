/* SPDX-License-Identifier: Apache-2.0 */
#include "unit_specifiers.h"

#include <stdio.h>
#include <string.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* Those of systemd 252 that a policy may not depend on. */
#define REFUSED "aAbBCdgGhHlLmMoqsTuUvVwW"

static const char *constant_of(char letter)
{
	switch (letter) {
	case 't':
		return "/run";
	case 'E':
		return "/etc";
	case 'S':
		return "/var/lib";
	default:
		return NULL;
	}
}

/* What follows the last dash of the prefix. */
static const char *last_part(const char *prefix)
{
	const char *dash = strrchr(prefix, '-');

	return dash ? dash + 1 : prefix;
}

/* An escaped path, "a-b\x2dc", is "/a/b-c". */
static bool path_of(const struct gm_unit_name *name, char ret_text[GM_UNIT_NAME_SIZE])
{
	const char *from = name->instance[0] ? name->instance : name->prefix;
	char text[GM_UNIT_NAME_SIZE];

	if (!gm_unit_unescape(from, text) || strlen(text) + 2 > GM_UNIT_NAME_SIZE)
		return false;
	ret_text[0] = '/';
	memcpy(ret_text + 1, text, strlen(text) + 1);
	if (strcmp(from, "-") == 0)
		ret_text[1] = '\0';
	return true;
}

/* NULL: an escape is broken, or there is no such specifier. */
static const char *text_of(const struct gm_unit_place *place, char letter,
			   char buffer[GM_UNIT_NAME_SIZE])
{
	const struct gm_unit_name *name = place->name;

	switch (letter) {
	case 'n':
		return name->id;
	case 'N':
		snprintf(buffer, GM_UNIT_NAME_SIZE, "%.*s",
			 (int)(strrchr(name->id, '.') - name->id), name->id);
		return buffer;
	case 'p':
		return name->prefix;
	case 'P':
		return gm_unit_unescape(name->prefix, buffer) ? buffer : NULL;
	case 'i':
		return name->instance;
	case 'I':
		return gm_unit_unescape(name->instance, buffer) ? buffer : NULL;
	case 'j':
		return last_part(name->prefix);
	case 'J':
		return gm_unit_unescape(last_part(name->prefix), buffer) ? buffer : NULL;
	case 'f':
		return path_of(name, buffer) ? buffer : NULL;
	case 'y':
	case 'Y': /* as much of it as length_of() says */
		return place->fragment;
	default:
		return constant_of(letter);
	}
}

static int refuse(char letter, char *ret_reason)
{
	if (strchr(REFUSED, letter))
		snprintf(ret_reason, GM_TEXT_MAX,
			 "%%%c: a policy may not depend on the host, the boot or a user", letter);
	else if (strchr("nNpPiIjJf", letter))
		snprintf(ret_reason, GM_TEXT_MAX, "%%%c: the unit's name has a broken escape",
			 letter);
	else
		snprintf(ret_reason, GM_TEXT_MAX, "%%%c: there is no such specifier", letter);
	return GM_INVALID;
}

static bool append(char *value, size_t size, size_t *used, const char *text, size_t length)
{
	if (length >= size - *used)
		return false;
	memcpy(value + *used, text, length);
	*used += length;
	value[*used] = '\0';
	return true;
}

/* %Y: without the file's name. */
static size_t length_of(char letter, const char *text)
{
	return letter == 'Y' ? (size_t)(strrchr(text, '/') - text) : strlen(text);
}

int gm_unit_expand(const struct gm_unit_place *place, const char *value, char *ret_value,
		   size_t size, char *ret_reason)
{
	size_t used = 0;

	ret_value[0] = '\0';
	for (; *value; value++) {
		char buffer[GM_UNIT_NAME_SIZE];
		const char *text = value;
		size_t length = 1;

		if (value[0] == '%' && value[1] == '%') {
			value++;
		} else if (value[0] == '%' && value[1] && strchr(LETTERS, value[1])) {
			value++;
			text = text_of(place, *value, buffer);
			if (!text)
				return refuse(*value, ret_reason);
			length = length_of(*value, text);
		}
		if (!append(ret_value, size, &used, text, length)) {
			snprintf(ret_reason, GM_TEXT_MAX, "longer than %zu bytes when expanded",
				 size - 1);
			return GM_INVALID;
		}
	}
	return 0;
}
