/* SPDX-License-Identifier: Apache-2.0 */
#include "conf_value.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DIGITS "0123456789"

/* The mask of a set of nodes has this many bits. */
#define NODES_MAX 64

int gm_value_bad(struct gm_value_fault *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->reason, sizeof(why->reason), format, args);
	va_end(args);
	return GM_INVALID;
}

/* A decimal number with at most six places: whole + part / scale. */
struct decimal {
	uint64_t whole;
	uint64_t part;
	uint64_t scale;
};

static bool push_digit(uint64_t *number, char digit)
{
	return !gm_mul_overflows(*number, 10, number) &&
	       !gm_add_overflows(*number, (uint64_t)(digit - '0'), number);
}

/* Reads a number off the front of *text, which moves past it. */
static int read_whole(const char **text, uint64_t *ret_number, struct gm_value_fault *why)
{
	size_t length = strspn(*text, DIGITS);
	uint64_t number = 0;

	if (length == 0)
		return gm_value_bad(why, "\"%s\" does not start with a number",
				    gm_unit_quote(*text).text);
	for (size_t i = 0; i < length; i++)
		if (!push_digit(&number, (*text)[i]))
			return gm_value_bad(why, "\"%s\" is too large", gm_unit_quote(*text).text);
	*text += length;
	*ret_number = number;
	return 0;
}

static int read_decimal(const char **text, struct decimal *ret_number, struct gm_value_fault *why)
{
	const char *start = *text;
	struct decimal number = { .scale = 1 };
	size_t places;
	int r;

	r = read_whole(text, &number.whole, why);
	if (r)
		return r;
	if (**text == '.') {
		++*text;
		places = strspn(*text, DIGITS);
		if (places == 0 || places > 6)
			return gm_value_bad(why, "\"%s\": one to six digits after the point",
					    gm_unit_quote(start).text);
		for (; places > 0; places--) {
			number.part = number.part * 10 + (uint64_t)(*(*text)++ - '0');
			number.scale *= 10;
		}
	}
	*ret_number = number;
	return 0;
}

/* number * factor, rounded down. */
static bool decimal_times(const struct decimal *number, uint64_t factor, uint64_t *ret_product)
{
	/* part < scale <= 10^6, so neither product of the fraction can overflow. */
	uint64_t fraction = factor / number->scale * number->part +
			    factor % number->scale * number->part / number->scale;
	uint64_t whole;
	uint64_t product;

	if (gm_mul_overflows(number->whole, factor, &whole) ||
	    gm_add_overflows(whole, fraction, &product) || product == GM_UNLIMITED)
		return false;
	*ret_product = product;
	return true;
}

static bool percent_of(const struct decimal *number, uint64_t total, uint64_t *ret_bytes)
{
	struct decimal share = { .scale = number->scale * 100 };

	if (number->whole > 100 || (number->whole == 100 && number->part > 0))
		return false;
	/* A fraction without a whole, part <= scale <= 10^8: nothing here can overflow. */
	share.part = number->whole * number->scale + number->part;
	*ret_bytes =
		total / share.scale * share.part + total % share.scale * share.part / share.scale;
	return true;
}

static const struct {
	const char *suffix;
	uint64_t factor;
} size_suffixes[] = {
	{ "", 1 },
	{ "B", 1 },
	{ "K", UINT64_C(1) << 10 },
	{ "M", UINT64_C(1) << 20 },
	{ "G", UINT64_C(1) << 30 },
	{ "T", UINT64_C(1) << 40 },
	{ "P", UINT64_C(1) << 50 },
	{ "E", UINT64_C(1) << 60 },
};

int gm_value_size(const char *text, uint64_t host_memory, uint64_t *ret_bytes,
		  struct gm_value_fault *why)
{
	const char *at = text;
	struct decimal number = { .scale = 1 };
	int r;

	if (strcmp(text, "infinity") == 0) {
		*ret_bytes = GM_UNLIMITED;
		return 0;
	}
	r = read_decimal(&at, &number, why);
	if (r)
		return r;
	at += strspn(at, GM_VALUE_BLANKS);

	if (strcmp(at, "%") == 0) {
		if (!percent_of(&number, host_memory, ret_bytes))
			return gm_value_bad(why, "\"%s\" is more than the host has",
					    gm_unit_quote(text).text);
		return 0;
	}
	for (size_t i = 0; i < GM_ARRAY_SIZE(size_suffixes); i++) {
		if (strcmp(at, size_suffixes[i].suffix) != 0)
			continue;
		if (!decimal_times(&number, size_suffixes[i].factor, ret_bytes))
			return gm_value_bad(why, "\"%s\" is too large", gm_unit_quote(text).text);
		return 0;
	}
	return gm_value_bad(why, "\"%s\" is no unit of size: use K, M, G, T, P, E or %%",
			    gm_unit_quote(at).text);
}

int gm_value_count(const char *text, uint64_t *ret_count, struct gm_value_fault *why)
{
	const char *at = text;
	uint64_t count;
	int r;

	if (strcmp(text, "infinity") == 0) {
		*ret_count = GM_UNLIMITED;
		return 0;
	}
	r = read_whole(&at, &count, why);
	if (r)
		return r;
	if (*at)
		return gm_value_bad(why, "\"%s\" is not a whole number", gm_unit_quote(text).text);
	if (count == GM_UNLIMITED)
		return gm_value_bad(why, "\"%s\" is too large", gm_unit_quote(text).text);
	*ret_count = count;
	return 0;
}

#define USEC_PER_SEC UINT64_C(1000000)

/* systemd.time(7), "Parsing Time Spans"; a month is 30.44 days, a year 365.25. */
static const struct {
	const char *name;
	uint64_t usec;
} time_units[] = {
	{ "", USEC_PER_SEC },
	{ "us", 1 },
	{ "usec", 1 },
	{ "\302\265s", 1 }, /* U+00B5, micro sign */
	{ "\316\274s", 1 }, /* U+03BC, Greek mu */
	{ "ms", 1000 },
	{ "msec", 1000 },
	{ "s", USEC_PER_SEC },
	{ "sec", USEC_PER_SEC },
	{ "second", USEC_PER_SEC },
	{ "seconds", USEC_PER_SEC },
	{ "m", 60 * USEC_PER_SEC },
	{ "min", 60 * USEC_PER_SEC },
	{ "minute", 60 * USEC_PER_SEC },
	{ "minutes", 60 * USEC_PER_SEC },
	{ "h", 3600 * USEC_PER_SEC },
	{ "hr", 3600 * USEC_PER_SEC },
	{ "hour", 3600 * USEC_PER_SEC },
	{ "hours", 3600 * USEC_PER_SEC },
	{ "d", 86400 * USEC_PER_SEC },
	{ "day", 86400 * USEC_PER_SEC },
	{ "days", 86400 * USEC_PER_SEC },
	{ "w", 604800 * USEC_PER_SEC },
	{ "week", 604800 * USEC_PER_SEC },
	{ "weeks", 604800 * USEC_PER_SEC },
	{ "M", 2629800 * USEC_PER_SEC },
	{ "month", 2629800 * USEC_PER_SEC },
	{ "months", 2629800 * USEC_PER_SEC },
	{ "y", 31557600 * USEC_PER_SEC },
	{ "year", 31557600 * USEC_PER_SEC },
	{ "years", 31557600 * USEC_PER_SEC },
};

/* 0: there is no such unit. */
static uint64_t time_unit(const char *name, size_t length)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(time_units); i++)
		if (strlen(time_units[i].name) == length &&
		    memcmp(time_units[i].name, name, length) == 0)
			return time_units[i].usec;
	return 0;
}

/* One "20s" off the front of *text. */
static int read_span(const char **text, uint64_t *total, struct gm_value_fault *why)
{
	const char *start = *text;
	struct decimal number = { .scale = 1 };
	uint64_t unit;
	uint64_t usec;
	size_t length;
	int r;

	r = read_decimal(text, &number, why);
	if (r)
		return r;
	*text += strspn(*text, GM_VALUE_BLANKS);
	length = strcspn(*text, GM_VALUE_BLANKS DIGITS);
	unit = time_unit(*text, length);
	if (unit == 0)
		return gm_value_bad(why, "\"%s\" is no unit of time: use ms, s, min, h, d or w",
				    gm_unit_quote(*text).text);
	if (!decimal_times(&number, unit, &usec) || gm_add_overflows(*total, usec, total))
		return gm_value_bad(why, "\"%s\" is too long a time", gm_unit_quote(start).text);
	*text += length;
	*text += strspn(*text, GM_VALUE_BLANKS);
	return 0;
}

int gm_value_time(const char *text, uint64_t *ret_ms, struct gm_value_fault *why)
{
	uint64_t usec = 0;

	if (strcmp(text, "infinity") == 0) {
		*ret_ms = GM_UNLIMITED;
		return 0;
	}
	do {
		int r = read_span(&text, &usec, why);

		if (r)
			return r;
	} while (*text);

	/* Up: a time that was asked for never shrinks to none. */
	*ret_ms = usec / 1000 + (usec % 1000 ? 1 : 0);
	return 0;
}

int gm_value_boolean(const char *text, bool *ret_value, struct gm_value_fault *why)
{
	static const char *const yes[] = { "1", "yes", "y", "true", "t", "on" };
	static const char *const no[] = { "0", "no", "n", "false", "f", "off" };

	for (size_t i = 0; i < GM_ARRAY_SIZE(yes); i++) {
		if (strcasecmp(text, yes[i]) == 0) {
			*ret_value = true;
			return 0;
		}
		if (strcasecmp(text, no[i]) == 0) {
			*ret_value = false;
			return 0;
		}
	}
	return gm_value_bad(why, "\"%s\" is neither yes nor no", gm_unit_quote(text).text);
}

static int read_node(const char **text, uint64_t *ret_node, struct gm_value_fault *why)
{
	int r;

	r = read_whole(text, ret_node, why);
	if (r)
		return r;
	if (*ret_node >= NODES_MAX)
		return gm_value_bad(why, "node %" PRIu64 ": nodes go from 0 to %d", *ret_node,
				    NODES_MAX - 1);
	return 0;
}

/* One "5" or "0-3" off the front of *text. */
static int read_nodes(const char **text, uint64_t *nodes, struct gm_value_fault *why)
{
	uint64_t first = 0;
	uint64_t last;
	int r;

	r = read_node(text, &first, why);
	if (r)
		return r;
	last = first;
	if (**text == '-') {
		++*text;
		r = read_node(text, &last, why);
		if (r)
			return r;
	}
	if (last < first)
		return gm_value_bad(why,
				    "nodes %" PRIu64 "-%" PRIu64 ": the last is before the first",
				    first, last);
	for (uint64_t node = first; node <= last; node++)
		*nodes |= UINT64_C(1) << node;
	return 0;
}

int gm_value_nodes(const char *text, uint64_t *ret_nodes, struct gm_value_fault *why)
{
	const char *const separators = GM_VALUE_BLANKS ",";
	uint64_t nodes = 0;

	if (strcmp(text, "all") == 0) {
		*ret_nodes = UINT64_MAX;
		return 0;
	}
	text += strspn(text, separators);
	do {
		int r = read_nodes(&text, &nodes, why);

		if (r)
			return r;
		if (*text && !strchr(separators, *text))
			return gm_value_bad(why, "\"%s\" is not a list of nodes like 0-3,5",
					    gm_unit_quote(text).text);
		text += strspn(text, separators);
	} while (*text);
	*ret_nodes = nodes;
	return 0;
}
