/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenMetrics 1.0: families one after the other, each with all of its samples, and an end mark.
 *
 * The host's families are others than the tenants': what the host has is not one more tenant's, and
 * the sum over a family is to mean something.
 */
#include <inttypes.h>
#include <string.h>

#include "gmemctl.h"

struct scope {
	FILE *stream;
	json_object *tree;
	const char *name; /* "host" or "tenant" */
	size_t first;	  /* account */
	size_t end;
};

/* @unit: NULL for none; else the name ends in it. */
static void print_head(const struct scope *scope, const char *name, const char *type,
		       const char *unit, const char *help)
{
	fprintf(scope->stream, "# TYPE gmemd_%s_%s %s\n", scope->name, name, type);
	if (unit)
		fprintf(scope->stream, "# UNIT gmemd_%s_%s %s\n", scope->name, name, unit);
	fprintf(scope->stream, "# HELP gmemd_%s_%s %s\n", scope->name, name, help);
}

static void print_escaped(FILE *stream, const char *text)
{
	for (; *text; text++) {
		if (*text == '\n') {
			fputs("\\n", stream);
			continue;
		}
		if (*text == '\\' || *text == '"')
			fputc('\\', stream);
		fputc(*text, stream);
	}
}

/* The name of a sample and its labels; @label NULL: none but the tenant. */
static void print_name(const struct scope *scope, size_t i, const char *name, const char *suffix,
		       const char *label, const char *value)
{
	json_object *accounts = NULL;
	const char *comma = "";

	(void)json_object_object_get_ex(scope->tree, "accounts", &accounts);
	fprintf(scope->stream, "gmemd_%s_%s%s", scope->name, name, suffix);
	if (label || strcmp(scope->name, "tenant") == 0)
		fputc('{', scope->stream);
	if (strcmp(scope->name, "tenant") == 0) {
		fputs("tenant=\"", scope->stream);
		print_escaped(scope->stream,
			      ctl_text(json_object_array_get_idx(accounts, i), "account"));
		fputc('"', scope->stream);
		comma = ",";
	}
	if (label) {
		fprintf(scope->stream, "%s%s=\"", comma, label);
		print_escaped(scope->stream, value);
		fputc('"', scope->stream);
	}
	if (label || strcmp(scope->name, "tenant") == 0)
		fputc('}', scope->stream);
	fputc(' ', scope->stream);
}

static json_object *account(const struct scope *scope, size_t i)
{
	json_object *accounts = NULL;

	(void)json_object_object_get_ex(scope->tree, "accounts", &accounts);
	return json_object_array_get_idx(accounts, i);
}

static json_object *member(json_object *object, const char *key)
{
	json_object *value = NULL;

	(void)json_object_object_get_ex(object, key, &value);
	return value;
}

static void print_value(const struct scope *scope, uint64_t value)
{
	if (value == UINT64_MAX)
		fputs("+Inf\n", scope->stream);
	else
		fprintf(scope->stream, "%" PRIu64 "\n", value);
}

/* Used or limit of every resource that is counted in bytes, or of every other. */
static void print_resources(const struct scope *scope, const char *name, const char *key,
			    bool bytes, const char *help)
{
	print_head(scope, name, "gauge", bytes ? "bytes" : NULL, help);
	for (size_t i = scope->first; i < scope->end; i++) {
		json_object *resources = member(account(scope, i), "resources");

		json_object_object_foreach(resources, resource, usage)
		{
			if (metrics_in_bytes(resource) != bytes)
				continue;
			print_name(scope, i, name, "", "resource", resource);
			print_value(scope, ctl_number(usage, key));
		}
	}
}

/* A number of the account itself. */
static void print_number(const struct scope *scope, const char *name, const char *type,
			 const char *key, const char *unit, const char *help)
{
	const char *suffix = strcmp(type, "counter") == 0 ? "_total" : "";

	print_head(scope, name, type, unit, help);
	for (size_t i = scope->first; i < scope->end; i++) {
		print_name(scope, i, name, suffix, NULL, NULL);
		print_value(scope, ctl_number(account(scope, i), key));
	}
}

static void print_counts(const struct scope *scope, const char *name, const char *label,
			 const char *help)
{
	print_head(scope, name, "counter", NULL, help);
	for (size_t i = scope->first; i < scope->end; i++) {
		json_object *counts = member(account(scope, i), name);

		json_object_object_foreach(counts, value, count)
		{
			print_name(scope, i, name, "_total", label, value);
			print_value(scope, json_object_get_uint64(count));
		}
	}
}

/* As the specification writes numbers of buckets: with a point or an exponent. */
static const char *bound_text(uint64_t us, char *buffer, size_t size)
{
	int n;

	if (us == UINT64_MAX)
		return "+Inf";
	n = snprintf(buffer, size, "%g", (double)us / 1e6);
	if (n > 0 && !strpbrk(buffer, ".e"))
		(void)snprintf(buffer + n, size - (size_t)n, ".0");
	return buffer;
}

static void print_histogram(const struct scope *scope, size_t i, const char *name,
			    json_object *histogram)
{
	json_object *buckets = member(histogram, "buckets");
	uint64_t sum_us = ctl_number(histogram, "sum_us");
	uint64_t total = 0;
	char text[32];

	for (size_t j = 0; j < json_object_array_length(buckets); j++) {
		json_object *bucket = json_object_array_get_idx(buckets, j);
		uint64_t bound = member(bucket, "le_us") ? ctl_number(bucket, "le_us") : UINT64_MAX;

		total += ctl_number(bucket, "count");
		print_name(scope, i, name, "_bucket", "le", bound_text(bound, text, sizeof(text)));
		print_value(scope, total);
	}
	print_name(scope, i, name, "_count", NULL, NULL);
	print_value(scope, total);
	print_name(scope, i, name, "_sum", NULL, NULL);
	fprintf(scope->stream, "%" PRIu64 ".%06" PRIu64 "\n", sum_us / 1000000, sum_us % 1000000);
}

static void print_histograms(const struct scope *scope, const char *name, const char *key,
			     const char *help)
{
	print_head(scope, name, "histogram", "seconds", help);
	for (size_t i = scope->first; i < scope->end; i++) {
		json_object *histogram = member(member(account(scope, i), "histograms"), key);

		if (histogram)
			print_histogram(scope, i, name, histogram);
	}
}

static void print_scope(const struct scope *scope)
{
	print_resources(scope, "used_bytes", "used", true, "Bytes granted, by resource.");
	print_resources(scope, "limit_bytes", "limit", true,
			"Bytes that may be granted, by resource.");
	print_resources(scope, "used", "used", false, "Pieces in use, by resource.");
	print_resources(scope, "limit", "limit", false, "Pieces that may be in use, by resource.");
	print_number(scope, "allocated_bytes", "gauge", "allocated_bytes", "bytes",
		     "Bytes that the daemon has allocated ahead.");
	print_number(scope, "requests", "counter", "requests", NULL, "Requests.");
	print_number(scope, "violations", "counter", "violations", NULL,
		     "Clients cut off because they broke the protocol.");
	print_counts(scope, "answers", "code", "Answers, by code.");
	print_counts(scope, "refusals", "rule", "Refusals, by the rule that they rest on.");
	print_counts(scope, "events", "kind", "What happened, by kind.");
	print_histograms(scope, "grant_latency_seconds", "grant",
			 "From a request for a region to its answer.");
	print_histograms(scope, "job_latency_seconds", "job",
			 "From a request to allocate or discard to its answer.");
}

static void print_daemon(json_object *tree, FILE *stream)
{
	uint64_t ms = ctl_number(tree, "uptime_ms");

	fprintf(stream,
		"# TYPE gmemd_uptime_seconds gauge\n# UNIT gmemd_uptime_seconds seconds\n"
		"# HELP gmemd_uptime_seconds Time since the daemon started.\n"
		"gmemd_uptime_seconds %" PRIu64 ".%03" PRIu64 "\n",
		ms / 1000, ms % 1000);
	if (!member(tree, "rss_bytes"))
		return;
	fprintf(stream,
		"# TYPE gmemd_resident_memory_bytes gauge\n"
		"# UNIT gmemd_resident_memory_bytes bytes\n"
		"# HELP gmemd_resident_memory_bytes Memory of the daemon itself.\n"
		"gmemd_resident_memory_bytes %" PRIu64 "\n"
		"# TYPE gmemd_workers gauge\n# HELP gmemd_workers Worker processes.\n"
		"gmemd_workers %" PRIu64 "\n",
		ctl_number(tree, "rss_bytes"), ctl_number(tree, "workers"));
}

void openmetrics_print(json_object *tree, FILE *stream)
{
	size_t n = json_object_array_length(member(tree, "accounts"));
	size_t n_hosts = ctl_truth(tree, "first_is_host") && n > 0;
	const struct scope host = { stream, tree, "host", 0, n_hosts };
	const struct scope tenants = { stream, tree, "tenant", n_hosts, n };

	print_daemon(tree, stream);
	if (n_hosts > 0)
		print_scope(&host);
	if (n > n_hosts)
		print_scope(&tenants);
	fputs("# EOF\n", stream);
}
