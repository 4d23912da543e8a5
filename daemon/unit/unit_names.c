/* SPDX-License-Identifier: Apache-2.0 */
#include "unit_names.h"

#include <stdio.h>
#include <string.h>

#define PREFIX_CHARS "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:-_.\\"
#define INSTANCE_CHARS PREFIX_CHARS "@"

static const char *const types[] = { "service", "socket", "target", "timer",	 "path", "mount",
				     "device",	"swap",	  "slice",  "automount", "scope" };

static bool is_type(const char *text)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(types); i++)
		if (strcmp(types[i], text) == 0)
			return true;
	return false;
}

enum gm_unit_form gm_unit_name_parse(const char *text, struct gm_unit_name *ret_name)
{
	size_t length = strlen(text);
	const char *dot = strrchr(text, '.');
	const char *at = strchr(text, '@');
	size_t stem = dot ? (size_t)(dot - text) : 0;
	size_t prefix = at && at < dot ? (size_t)(at - text) : stem;

	if (length >= GM_UNIT_NAME_SIZE || !dot || prefix == 0 || !is_type(dot + 1) ||
	    strspn(text, INSTANCE_CHARS) != length || strspn(text, PREFIX_CHARS) < prefix)
		return GM_UNIT_INVALID;

	memset(ret_name, 0, sizeof(*ret_name));
	memcpy(ret_name->id, text, length);
	memcpy(ret_name->prefix, text, prefix);
	snprintf(ret_name->type, sizeof(ret_name->type), "%s", dot + 1);
	ret_name->form = GM_UNIT_PLAIN;
	if (prefix < stem) {
		memcpy(ret_name->instance, text + prefix + 1, stem - prefix - 1);
		ret_name->form = stem - prefix > 1 ? GM_UNIT_INSTANCE : GM_UNIT_TEMPLATE;
	}
	return ret_name->form;
}

bool gm_unit_name_with(const struct gm_unit_name *name, const char *instance,
		       char ret_id[GM_UNIT_NAME_SIZE])
{
	int n = snprintf(ret_id, GM_UNIT_NAME_SIZE, "%s@%s.%s", name->prefix, instance, name->type);

	return n > 0 && n < GM_UNIT_NAME_SIZE;
}

bool gm_unit_name_shorten(const struct gm_unit_name *name, char ret_id[GM_UNIT_NAME_SIZE])
{
	char prefix[GM_UNIT_NAME_SIZE];
	char *dash;
	int n;

	memcpy(prefix, name->prefix, sizeof(prefix));
	dash = strrchr(prefix, '-');
	/* A dash at the end is chopped off, but not more than one. */
	if (dash && dash > prefix && dash[1] == '\0') {
		*dash = '\0';
		dash = strrchr(prefix, '-');
	}
	if (!dash || dash == prefix)
		return false;
	dash[1] = '\0';
	n = snprintf(ret_id, GM_UNIT_NAME_SIZE, "%s%s%s.%s", prefix,
		     name->form == GM_UNIT_INSTANCE ? "@" : "", name->instance, name->type);
	return n > 0 && n < GM_UNIT_NAME_SIZE;
}

static int hex_digit(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	if (digit >= 'A' && digit <= 'F')
		return digit - 'A' + 10;
	return -1;
}

bool gm_unit_unescape(const char *text, char ret_text[GM_UNIT_NAME_SIZE])
{
	size_t used = 0;

	for (; *text && used < GM_UNIT_NAME_SIZE - 1; text++) {
		int byte = *text == '-' ? '/' : *text;

		if (*text == '\\') {
			int high = text[1] == 'x' ? hex_digit(text[2]) : -1;
			int low = high < 0 ? -1 : hex_digit(text[3]);

			byte = high * 16 + low;
			if (low < 0 || byte == 0)
				return false;
			text += 3;
		}
		ret_text[used++] = (char)byte;
	}
	ret_text[used] = '\0';
	return !*text;
}
