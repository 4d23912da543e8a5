/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "gmemctl.h"

#define JSON_STYLE (JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE)

static void print_error_json(const struct gmem_error *error, const char *what)
{
	json_object *tree = json_object_new_object();
	json_object *inner = json_object_new_object();

	json_object_object_add(inner, "what", json_object_new_string(what));
	json_object_object_add(inner, "status",
			       json_object_new_string(gmem_status_name(error->status)));
	json_object_object_add(inner, "rule", json_object_new_string(error->rule));
	json_object_object_add(inner, "object", json_object_new_string(error->object));
	json_object_object_add(inner, "offset", json_object_new_uint64(error->offset));
	json_object_object_add(inner, "limit", ctl_json_limit(error->limit));
	json_object_object_add(inner, "used", json_object_new_uint64(error->used));
	json_object_object_add(inner, "asked", json_object_new_uint64(error->asked));
	json_object_object_add(inner, "errno", json_object_new_int(error->sys_errno));
	json_object_object_add(inner, "text", json_object_new_string(error->text));
	json_object_object_add(tree, "error", inner);
	fprintf(stderr, "%s\n", json_object_to_json_string_ext(tree, JSON_STYLE));
	json_object_put(tree);
}

int ctl_fail(const struct ctl *ctl, const char *what)
{
	const struct gmem_error *error = gmem_error(ctl->client);

	if (ctl->json)
		print_error_json(error, what);
	else
		fprintf(stderr, "gmemctl: %s: %s\n", what, error->text);
	return error->status == GMEM_DISCONNECTED ? CTL_NO_DAEMON : CTL_FAILED;
}

int ctl_complain(const struct ctl *ctl, int status, const char *format, ...)
{
	char text[768];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (ctl->json) {
		struct gmem_error error = { .rule = "",
					    .object = "",
					    .text = text,
					    .status = status == CTL_USAGE	? GMEM_INVALID
						      : status == CTL_NO_DAEMON ? GMEM_DISCONNECTED
										: GMEM_FAILED };
		print_error_json(&error, "gmemctl");
	} else {
		fprintf(stderr, "gmemctl: %s\n", text);
	}
	return status;
}

int ctl_print_json(json_object *tree)
{
	puts(json_object_to_json_string_ext(tree, JSON_STYLE));
	return CTL_OK;
}

int ctl_print_json_line(json_object *tree)
{
	const int style = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;

	if (puts(json_object_to_json_string_ext(tree, style)) < 0 || fflush(stdout) != 0)
		return -EPIPE;
	return 0;
}

json_object *ctl_json_id(uint64_t id)
{
	char text[17];

	(void)snprintf(text, sizeof(text), "%016" PRIx64, id);
	return json_object_new_string(text);
}

json_object *ctl_json_limit(uint64_t limit)
{
	return limit == UINT64_MAX ? NULL : json_object_new_uint64(limit);
}

json_object *ctl_json_bits(uint64_t bits)
{
	json_object *list = json_object_new_array();

	for (int i = 0; i < 64; i++)
		if (bits >> i & 1)
			json_object_array_add(list, json_object_new_int(i));
	return list;
}

void ctl_json_halves(json_object *tree, uint64_t allocated, uint64_t shared, uint64_t private)
{
	json_object_object_add(tree, "allocated_bytes", json_object_new_uint64(allocated));
	json_object_object_add(tree, "shared_bytes", json_object_new_uint64(shared));
	json_object_object_add(tree, "private_bytes", json_object_new_uint64(private));
}

static json_object *json_digest(const uint8_t *bytes, size_t size)
{
	char hex[2 * GMEM_MEASUREMENT_MAX + 1] = "";

	for (size_t i = 0; i < size; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	return json_object_new_string(hex);
}

static void add_launch(json_object *tree, const struct gmem_domain_info *info)
{
	if (info->launch[0] == '\0')
		return;
	json_object_object_add(tree, "launch", json_object_new_string(info->launch));
	if (info->measurement_size > 0)
		json_object_object_add(tree, "measurement",
				       json_digest(info->measurement, info->measurement_size));
	if (info->measurement_reason[0] != '\0')
		json_object_object_add(tree, "measurement_reason",
				       json_object_new_string(info->measurement_reason));
}

json_object *ctl_json_domain(const struct gmem_domain_info *info)
{
	json_object *tree = json_object_new_object();

	json_object_object_add(tree, "domain", ctl_json_id(info->id));
	json_object_object_add(tree, "name", json_object_new_string(info->name));
	if (info->tenant[0] != '\0')
		json_object_object_add(tree, "tenant", json_object_new_string(info->tenant));
	json_object_object_add(tree, "kind", json_object_new_string(info->kind));
	json_object_object_add(tree, "persistent", json_object_new_boolean(info->persistent));
	json_object_object_add(tree, "attached", json_object_new_boolean(info->attached));
	json_object_object_add(tree, "pid", json_object_new_int64(info->owner_pid));
	json_object_object_add(tree, "uid", json_object_new_int64(info->owner_uid));
	json_object_object_add(tree, "regions", json_object_new_int64(info->regions));
	json_object_object_add(tree, "reserved_bytes",
			       json_object_new_uint64(info->reserved_bytes));
	ctl_json_halves(tree, info->allocated_bytes, info->shared_bytes, info->private_bytes);
	if (info->cgroup[0] != '\0') {
		json_object_object_add(tree, "cgroup", json_object_new_string(info->cgroup));
		json_object_object_add(tree, "observed_bytes",
				       json_object_new_uint64(info->observed_bytes));
		json_object_object_add(tree, "observed_limit",
				       ctl_json_limit(info->observed_limit));
	}
	json_object_object_add(tree, "orphan_ttl_ms",
			       info->attached ? NULL : ctl_json_limit(info->orphan_ttl_ms));
	json_object_object_add(tree, "age_ms", json_object_new_uint64(info->age_ms));
	json_object_object_add(tree, "quarantined", json_object_new_boolean(info->quarantined));
	if (info->slot[0])
		json_object_object_add(tree, "slot", json_object_new_string(info->slot));
	if (info->memlock_bytes > 0)
		json_object_object_add(tree, "memlock_bytes",
				       json_object_new_uint64(info->memlock_bytes));
	if (info->in_place)
		json_object_object_add(tree, "in_place", json_object_new_boolean(1));
	add_launch(tree, info);
	return tree;
}

json_object *ctl_json_region(const struct gmem_region_info *info)
{
	json_object *tree = json_object_new_object();

	json_object_object_add(tree, "region", ctl_json_id(info->id));
	json_object_object_add(tree, "domain", ctl_json_id(info->domain));
	json_object_object_add(tree, "name", json_object_new_string(info->name));
	if (info->tenant[0] != '\0')
		json_object_object_add(tree, "tenant", json_object_new_string(info->tenant));
	json_object_object_add(tree, "gpa", json_object_new_uint64(info->gpa));
	json_object_object_add(tree, "size", json_object_new_uint64(info->size));
	json_object_object_add(tree, "page_size", json_object_new_uint64(info->page_size));
	ctl_json_halves(tree, info->allocated_bytes, info->shared_bytes, info->private_bytes);
	json_object_object_add(tree, "page_map_bytes",
			       json_object_new_uint64(info->page_map_bytes));
	json_object_object_add(tree, "jobs", json_object_new_int64(info->jobs));
	json_object_object_add(tree, "bound", json_object_new_boolean(info->bound));
	json_object_object_add(tree, "step", json_object_new_string(info->step));
	json_object_object_add(tree, "numa_nodes", ctl_json_bits(info->numa_nodes));
	json_object_object_add(tree, "quarantined", json_object_new_boolean(info->quarantined));
	return tree;
}

static json_object *member(json_object *object, const char *key)
{
	json_object *value = NULL;

	(void)json_object_object_get_ex(object, key, &value);
	return value;
}

const char *ctl_text(json_object *object, const char *key)
{
	json_object *value = member(object, key);

	return value ? json_object_get_string(value) : "";
}

uint64_t ctl_number(json_object *object, const char *key)
{
	json_object *value = member(object, key);

	return value ? json_object_get_uint64(value) : UINT64_MAX;
}

bool ctl_truth(json_object *object, const char *key)
{
	return json_object_get_boolean(member(object, key));
}

const char *ctl_size_text(uint64_t bytes, char *buffer)
{
	static const char suffixes[] = "KMGTPE";
	uint64_t unit = 1;
	int i = -1;

	if (bytes == UINT64_MAX)
		return "none";
	while (i + 1 < (int)sizeof(suffixes) - 1 && bytes / unit >= 1024) {
		unit *= 1024;
		i++;
	}
	if (i < 0)
		(void)snprintf(buffer, CTL_SIZE_TEXT, "%" PRIu64, bytes);
	else if (bytes % unit == 0)
		(void)snprintf(buffer, CTL_SIZE_TEXT, "%" PRIu64 "%c", bytes / unit, suffixes[i]);
	else
		(void)snprintf(buffer, CTL_SIZE_TEXT, "%.1f%c", (double)bytes / (double)unit,
			       suffixes[i]);
	return buffer;
}

const char *ctl_time_text(uint64_t ms, char *buffer)
{
	static const struct {
		uint64_t ms;
		const char *suffix;
	} units[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "min" }, { 1000, "s" } };

	if (ms == UINT64_MAX)
		return "forever";
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (ms >= units[i].ms) {
			(void)snprintf(buffer, CTL_SIZE_TEXT, "%" PRIu64 "%s", ms / units[i].ms,
				       units[i].suffix);
			return buffer;
		}
	(void)snprintf(buffer, CTL_SIZE_TEXT, "%" PRIu64 "ms", ms);
	return buffer;
}
