/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Types of policy keys: how a value is read, and how it is shown.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "conf_private.h"

static uint64_t *number_field(struct gm_conf *conf, const struct gm_conf_key *key)
{
	return (uint64_t *)(void *)((char *)&conf->policy + key->offset);
}

static int assign_size(struct gm_conf *conf, const struct gm_conf_key *key, bool first, char *value,
		       struct gm_value_fault *why)
{
	(void)first;
	return gm_value_size(value, conf->host_memory, number_field(conf, key), why);
}

/* What a page table has entries of. */
static int assign_granule(struct gm_conf *conf, const struct gm_conf_key *key, bool first,
			  char *value, struct gm_value_fault *why)
{
	uint64_t bytes;
	int r;

	(void)first;
	r = gm_value_size(value, conf->host_memory, &bytes, why);
	if (r)
		return r;
	if (bytes != GM_PAGE_4K && bytes != GM_PAGE_2M && bytes != GM_PAGE_1G)
		return gm_value_bad(why, "is 4K, 2M or 1G");
	*number_field(conf, key) = bytes;
	return 0;
}

static int assign_count(struct gm_conf *conf, const struct gm_conf_key *key, bool first,
			char *value, struct gm_value_fault *why)
{
	(void)first;
	return gm_value_count(value, number_field(conf, key), why);
}

static int assign_time(struct gm_conf *conf, const struct gm_conf_key *key, bool first, char *value,
		       struct gm_value_fault *why)
{
	(void)first;
	return gm_value_time(value, number_field(conf, key), why);
}

static int assign_boolean(struct gm_conf *conf, const struct gm_conf_key *key, bool first,
			  char *value, struct gm_value_fault *why)
{
	(void)first;
	return gm_value_boolean(value, (bool *)((char *)&conf->policy + key->offset), why);
}

static int assign_nodes(struct gm_conf *conf, const struct gm_conf_key *key, bool first,
			char *value, struct gm_value_fault *why)
{
	uint64_t *field = number_field(conf, key);
	uint64_t nodes;
	int r;

	r = gm_value_nodes(value, &nodes, why);
	if (r)
		return r;
	*field = first ? nodes : *field | nodes;
	return 0;
}

static int add_kind(struct gm_policy *policy, const char *kind, struct gm_value_fault *why)
{
	size_t length = strlen(kind);

	if (length > GM_KIND_NAME_MAX)
		return gm_value_bad(why, "kind \"%s\" is longer than %d characters",
				    gm_unit_quote(kind).text, GM_KIND_NAME_MAX);
	if (strspn(kind, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-") !=
	    length)
		return gm_value_bad(why, "kind \"%s\" has a character that no kind's name has",
				    gm_unit_quote(kind).text);
	if (gm_policy_allows_kind(policy, kind))
		return 0;
	if (policy->n_kinds == GM_KINDS_MAX)
		return gm_value_bad(why, "more than %d kinds", GM_KINDS_MAX);
	memcpy(policy->kinds[policy->n_kinds++], kind, length + 1);
	return 0;
}

static int assign_kinds(struct gm_conf *conf, const struct gm_conf_key *key, bool first,
			char *value, struct gm_value_fault *why)
{
	struct gm_policy *policy = &conf->policy;
	char *rest = NULL;

	if (first)
		memset((char *)policy + key->offset, 0, key->size);
	for (char *kind = strtok_r(value, GM_VALUE_BLANKS, &rest); kind;
	     kind = strtok_r(NULL, GM_VALUE_BLANKS, &rest)) {
		int r = add_kind(policy, kind, why);

		if (r)
			return r;
	}
	return 0;
}

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* SHA-256 or SHA-384, by the number of digits. */
static int add_measurement(struct gm_policy *policy, const char *word, struct gm_value_fault *why)
{
	struct gm_measurement *measurement = &policy->measurements[policy->n_measurements];
	size_t n = strlen(word);

	if (n != 64 && n != 96)
		return gm_value_bad(why, "\"%s\" is no digest: 64 or 96 hexadecimal digits",
				    gm_unit_quote(word).text);
	if (policy->n_measurements == GM_MEASUREMENTS_MAX)
		return gm_value_bad(why, "more than %d digests", GM_MEASUREMENTS_MAX);
	for (size_t i = 0; i < n / 2; i++) {
		int high = hex_digit(word[2 * i]), low = hex_digit(word[2 * i + 1]);

		if (high < 0 || low < 0)
			return gm_value_bad(why, "\"%s\" is no hexadecimal number",
					    gm_unit_quote(word).text);
		measurement->bytes[i] = (uint8_t)(high << 4 | low);
	}
	measurement->size = (uint8_t)(n / 2);
	policy->n_measurements++;
	return 0;
}

static int assign_measurements(struct gm_conf *conf, const struct gm_conf_key *key, bool first,
			       char *value, struct gm_value_fault *why)
{
	char *rest = NULL;

	if (first)
		memset((char *)&conf->policy + key->offset, 0, key->size);
	for (char *word = strtok_r(value, GM_VALUE_BLANKS, &rest); word;
	     word = strtok_r(NULL, GM_VALUE_BLANKS, &rest)) {
		int r = add_measurement(&conf->policy, word, why);

		if (r)
			return r;
	}
	return 0;
}

/* Of a folder that the daemon reads from: no way out of it, and no relative one. */
static int assign_path(struct gm_conf *conf, const struct gm_conf_key *key, bool first, char *value,
		       struct gm_value_fault *why)
{
	char *to = (char *)&conf->policy + key->offset;
	size_t size = strlen(value);

	(void)first;
	if (size > 0 && value[0] != '/')
		return gm_value_bad(why, "\"%s\" is no absolute path", gm_unit_quote(value).text);
	if (size >= key->size)
		return gm_value_bad(why, "the path is longer than %zu", key->size - 1);
	/* All of it counts where two policies are compared. */
	memset(to, 0, key->size);
	(void)snprintf(to, key->size, "%s", value);
	return 0;
}

/* "2M" or "2M:8G" */
static int add_huge(struct gm_conf *conf, char *word, struct gm_value_fault *why)
{
	char *limit = strchr(word, ':');
	uint64_t bytes = GM_UNLIMITED;

	if (limit) {
		int r;

		*limit++ = '\0';
		r = gm_value_size(limit, conf->host_memory, &bytes, why);
		if (r)
			return r;
	}
	if (strcmp(word, "2M") == 0)
		conf->policy.huge_2m_max = bytes;
	else if (strcmp(word, "1G") == 0)
		conf->policy.huge_1g_max = bytes;
	else
		return gm_value_bad(why, "\"%s\" is no size of hugepages: use 2M or 1G",
				    gm_unit_quote(word).text);
	return 0;
}

static int assign_huge(struct gm_conf *conf, const struct gm_conf_key *key, bool first, char *value,
		       struct gm_value_fault *why)
{
	char *rest = NULL;

	if (first)
		memset((char *)&conf->policy + key->offset, 0, key->size);
	for (char *word = strtok_r(value, GM_VALUE_BLANKS, &rest); word;
	     word = strtok_r(NULL, GM_VALUE_BLANKS, &rest)) {
		int r = add_huge(conf, word, why);

		if (r)
			return r;
	}
	return 0;
}

/* ---- values as text, which reads as the same value again ---- */

static uint64_t number_of(const struct gm_policy *policy, const struct gm_conf_key *key)
{
	return *(const uint64_t *)(const void *)((const char *)policy + key->offset);
}

static void put(char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(char *text, const char *format, ...)
{
	size_t used = strlen(text);
	va_list args;

	va_start(args, format);
	vsnprintf(text + used, GM_CONF_VALUE_MAX - used, format, args);
	va_end(args);
}

static void put_size(char *text, uint64_t bytes)
{
	static const char suffixes[] = { '\0', 'K', 'M', 'G', 'T', 'P', 'E' };
	unsigned i = 0;

	if (bytes == GM_UNLIMITED) {
		put(text, "infinity");
		return;
	}
	while (bytes != 0 && bytes % 1024 == 0 && i + 1 < GM_ARRAY_SIZE(suffixes)) {
		bytes /= 1024;
		i++;
	}
	put(text, "%" PRIu64 "%.1s", bytes, &suffixes[i]);
}

static void show_size(const struct gm_policy *policy, const struct gm_conf_key *key, char *text)
{
	put_size(text, number_of(policy, key));
}

static void show_count(const struct gm_policy *policy, const struct gm_conf_key *key, char *text)
{
	uint64_t count = number_of(policy, key);

	if (count == GM_UNLIMITED)
		put(text, "infinity");
	else
		put(text, "%" PRIu64, count);
}

/* In the largest unit that divides it. */
static void show_time(const struct gm_policy *policy, const struct gm_conf_key *key, char *text)
{
	static const struct {
		uint64_t ms;
		const char *name;
	} units[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "min" }, { 1000, "s" } };
	uint64_t ms = number_of(policy, key);

	if (ms == GM_UNLIMITED) {
		put(text, "infinity");
		return;
	}
	for (size_t i = 0; i < GM_ARRAY_SIZE(units); i++) {
		if (ms != 0 && ms % units[i].ms == 0) {
			put(text, "%" PRIu64 "%s", ms / units[i].ms, units[i].name);
			return;
		}
	}
	put(text, "%" PRIu64 "ms", ms);
}

static void show_boolean(const struct gm_policy *policy, const struct gm_conf_key *key, char *text)
{
	put(text, *(const bool *)((const char *)policy + key->offset) ? "yes" : "no");
}

static void show_nodes(const struct gm_policy *policy, const struct gm_conf_key *key, char *text)
{
	uint64_t nodes = number_of(policy, key);

	if (nodes == UINT64_MAX) {
		put(text, "all");
		return;
	}
	for (unsigned first = 0; first < 64; first++) {
		unsigned last = first;

		if (!(nodes >> first & 1))
			continue;
		while (last < 63 && nodes >> (last + 1) & 1)
			last++;
		put(text, "%s%u", text[0] ? "," : "", first);
		if (last > first)
			put(text, "-%u", last);
		first = last;
	}
}

static void show_kinds(const struct gm_policy *policy, const struct gm_conf_key *key, char *text)
{
	(void)key;
	for (unsigned i = 0; !policy->all_kinds && i < policy->n_kinds; i++)
		put(text, "%s%s", i ? " " : "", policy->kinds[i]);
}

static void show_measurements(const struct gm_policy *policy, const struct gm_conf_key *key,
			      char *text)
{
	(void)key;
	for (unsigned i = 0; i < policy->n_measurements; i++) {
		put(text, "%s", i ? " " : "");
		for (unsigned j = 0; j < policy->measurements[i].size; j++)
			put(text, "%02x", policy->measurements[i].bytes[j]);
	}
}

static void show_path(const struct gm_policy *policy, const struct gm_conf_key *key, char *text)
{
	put(text, "%s", (const char *)policy + key->offset);
}

static void put_huge(char *text, const char *page, uint64_t bytes)
{
	if (bytes == 0)
		return;
	put(text, "%s%s", text[0] ? " " : "", page);
	if (bytes == GM_UNLIMITED)
		return;
	put(text, ":");
	put_size(text, bytes);
}

static void show_huge(const struct gm_policy *policy, const struct gm_conf_key *key, char *text)
{
	(void)key;
	put_huge(text, "2M", policy->huge_2m_max);
	put_huge(text, "1G", policy->huge_1g_max);
}

const struct gm_conf_type gm_conf_size = { assign_size, show_size };
const struct gm_conf_type gm_conf_granule = { assign_granule, show_size };
const struct gm_conf_type gm_conf_count = { assign_count, show_count };
const struct gm_conf_type gm_conf_time = { assign_time, show_time };
const struct gm_conf_type gm_conf_boolean = { assign_boolean, show_boolean };
const struct gm_conf_type gm_conf_nodes = { assign_nodes, show_nodes };
const struct gm_conf_type gm_conf_kinds = { assign_kinds, show_kinds };
const struct gm_conf_type gm_conf_measurements = { assign_measurements, show_measurements };
const struct gm_conf_type gm_conf_path = { assign_path, show_path };
const struct gm_conf_type gm_conf_huge = { assign_huge, show_huge };
