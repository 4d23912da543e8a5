/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_check.h"

#include <string.h>

#include "gm_version.h"

/* Not isalnum(): that depends on the locale. */
static bool name_char(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == ':' || c == '-';
}

static bool name_check(const unsigned char *bytes, size_t length, size_t max, bool slash_allowed)
{
	if (length < 1 || length > max)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!name_char(bytes[i]) && !(slash_allowed && bytes[i] == '/'))
			return false;
	}
	return true;
}

bool gm_name_is_valid(const void *data, size_t length, size_t max)
{
	return name_check(data, length, max, false);
}

bool gm_client_name_is_valid(const void *data, size_t length)
{
	return name_check(data, length, GM_CLIENT_NAME_MAX, true);
}

bool gm_name_copy(const ProtobufCBinaryData *name, char *buffer, size_t max)
{
	if (!gm_name_is_valid(name->data, name->len, max))
		return false;
	memcpy(buffer, name->data, name->len);
	buffer[name->len] = '\0';
	return true;
}
