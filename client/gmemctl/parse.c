/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gmemctl.h"

int parse_size(const char *text, uint64_t *ret_bytes)
{
	static const char suffixes[] = "KMGTP";
	unsigned long long n;
	const char *suffix;
	char *end;
	int shift = 0;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno != 0)
		return -EINVAL;
	if (*end != '\0') {
		suffix = strchr(suffixes, toupper((unsigned char)*end));
		if (!suffix || end[1] != '\0')
			return -EINVAL;
		shift = 10 * (int)(suffix - suffixes + 1);
	}
	if (n > UINT64_MAX >> shift)
		return -EINVAL;
	*ret_bytes = (uint64_t)n << shift;
	return 0;
}

int parse_id(const char *text, uint64_t *ret_id)
{
	size_t length = strlen(text);
	uint64_t id;

	if (length == 0 || length > 16 || strspn(text, "0123456789abcdefABCDEF") != length)
		return -EINVAL;
	id = strtoull(text, NULL, 16);
	if (id == 0)
		return -EINVAL;
	*ret_id = id;
	return 0;
}

static int parse_node(const char **text, unsigned long *ret_node)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return -EINVAL;
	*ret_node = strtoul(*text, &end, 10);
	*text = end;
	return *ret_node < 64 ? 0 : -EINVAL;
}

int parse_nodes(const char *text, uint64_t *ret_bits)
{
	unsigned long first, last;
	uint64_t bits = 0;

	for (;;) {
		if (parse_node(&text, &first) < 0)
			return -EINVAL;
		last = first;
		if (*text == '-') {
			text++;
			if (parse_node(&text, &last) < 0 || last < first)
				return -EINVAL;
		}
		for (unsigned long node = first; node <= last; node++)
			bits |= UINT64_C(1) << node;
		if (*text == '\0')
			break;
		if (*text++ != ',')
			return -EINVAL;
	}
	*ret_bits = bits;
	return 0;
}

int parse_count(const char *text, uint64_t least, uint64_t most, uint64_t *ret_count)
{
	uint64_t count;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	count = strtoull(text, &end, 10);
	if (errno || *end != '\0' || count < least || count > most)
		return -EINVAL;
	*ret_count = count;
	return 0;
}
