/* SPDX-License-Identifier: Apache-2.0 */
#include "pages.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const ops_keys[] = { "name",	    "ops",  "seed",	    "gpa_bits",
					"expected", "note", "expect_error", "hardware",
					"source",   "kind", "mode",	    NULL };

void pages_result_done(struct pages_result *result)
{
	gm_manifest_done(&result->manifest);
}

static bool is_among(const char *const *keys, const char *key)
{
	for (; *keys; keys++)
		if (strcmp(*keys, key) == 0)
			return true;
	return false;
}

int pages_check_keys(json_object *object, const char *const *keys,
		     void (*warn)(const char *object, const char *key), const char *name,
		     struct gm_refusal *refusal)
{
	struct json_object_iterator at = json_object_iter_begin(object);
	struct json_object_iterator end = json_object_iter_end(object);

	for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
		const char *key = json_object_iter_peek_name(&at);

		if (is_among(keys, key))
			continue;
		if (!warn)
			return input_refuse(refusal, name, "\"%.60s\" is not known here", key);
		warn(name, key);
	}
	return 0;
}

char *pages_path(const struct pages_input *input, const char *name)
{
	char *path = NULL;

	if (name[0] == '/' || !input->folder)
		return strdup(name);
	if (asprintf(&path, "%s/%s", input->folder, name) < 0)
		return NULL;
	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return strdup(name);
}

static int run_ops(const struct pages_input *input, json_object *object, json_object *ops,
		   struct pages_result *result, struct gm_refusal *refusal)
{
	struct gm_measure measure = { .n_threads = input->n_threads,
				      .manifest = input->rows ? &result->manifest : NULL };
	struct gm_launch_start start = { .kind = input->kind };
	uint8_t seed[GM_SHA384_SIZE];
	uint64_t gpa_bits = 0;
	bool has_bits;
	int r;

	if (json_object_object_get_ex(object, "seed", NULL)) {
		r = input_need_hex(object, "seed", seed, sizeof(seed), refusal);
		if (r != 0)
			return r;
		start.seed = seed;
	}
	r = input_get_number(object, "gpa_bits", &has_bits, &gpa_bits, refusal);
	if (r != 0)
		return r;
	if (has_bits && (gpa_bits == 0 || gpa_bits > 64))
		return input_refuse(refusal, "gpa_bits", "is impossible");
	start.gpa_bits = (unsigned)gpa_bits;
	r = gm_launch_digest_start(&measure.digest, &start, refusal);
	if (r == 0)
		r = pages_run_ops(input, ops, &measure, refusal);
	if (r == 0)
		r = gm_measure_finish(&measure, result->digest, refusal);
	result->digest_size = gm_launch_digest_size(input->kind);
	return r;
}

static void take_name(json_object *object, struct pages_result *result)
{
	const char *name;

	if (input_get_text(object, "name", &name, NULL) == 0 && name)
		(void)snprintf(result->name, sizeof(result->name), "%s", name);
}

int pages_measure(const struct pages_input *input, json_object *object,
		  struct pages_result *ret_result, struct gm_refusal *refusal)
{
	struct pages_input own = *input;
	json_object *ops = NULL;
	const char *mode = NULL;
	int r;

	*ret_result = (struct pages_result){ 0 };
	if (!json_object_is_type(object, json_type_object))
		return input_refuse(refusal, "pages", "neither an object nor a list of them");
	take_name(object, ret_result);
	r = input_get_text(object, "mode", &mode, refusal);
	if (r != 0)
		return r;
	if (input->kind == GM_LAUNCH_SEV && (!mode || strcmp(mode, "seves") == 0))
		own.kind = mode ? GM_LAUNCH_SEV_ES : GM_LAUNCH_SEV;
	else if (input->kind == GM_LAUNCH_SEV_ES && mode && strcmp(mode, "sev") == 0)
		own.kind = GM_LAUNCH_SEV;
	else if (mode && strcmp(mode, gm_launch_kind_name(input->kind)) != 0)
		return input_refuse(refusal, "mode", "is %.20s, and %s is measured", mode,
				    gm_launch_kind_name(input->kind));
	if (json_object_object_get_ex(object, "fw", NULL))
		return pages_run_guest(&own, object, ret_result, refusal);
	if (!json_object_object_get_ex(object, "ops", &ops)) {
		if (!json_object_object_get_ex(object, "kind", NULL))
			return input_refuse(refusal, "pages",
					    "has neither \"ops\" nor \"fw\" nor \"kind\"");
		return pages_run_mac(object, ret_result, refusal);
	}
	if (!json_object_is_type(ops, json_type_array))
		return input_refuse(refusal, "ops", "is no list");
	r = pages_check_keys(object, ops_keys, input->warn,
			     ret_result->name[0] ? ret_result->name : "pages", refusal);
	return r == 0 ? run_ops(&own, object, ops, ret_result, refusal) : r;
}
