/* SPDX-License-Identifier: Apache-2.0 */
/* gmemctl measure: the digest before there is a host. Neither a daemon nor the hardware is needed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"
#include "manifest_json.h"
#include "measure_options.h"
#include "pages.h"
#include "plan_file.h"

#define JSON_MAX (512 * GM_MIB)
#define KERNEL_MAX (2 * GM_GIB)

struct measuring {
	struct ctl *ctl;
	struct measure_options options;
	json_object *manifests; /* what --diff is against: a list, or NULL */
	json_object *list;	/* what --json prints, as a list */
	bool is_list;		/* the input is one, so the output is */
	size_t n_done;
	bool failed;
};

static int report(const struct measuring *m, int r, const char *name,
		  const struct gm_refusal *refusal)
{
	const char *colon = name[0] ? ": " : "";

	if (r < 0)
		return ctl_complain(m->ctl, CTL_FAILED, "measure: %s%s%s", name, colon,
				    strerror(-r));
	return ctl_complain(m->ctl, CTL_FAILED, "measure: %s%s%s: %s", name, colon, refusal->object,
			    refusal->text[0] ? refusal->text : gm_rule_text((int)refusal->rule));
}

static bool wants_rows(const struct measuring *m)
{
	return m->ctl->json || m->options.diff || m->options.plan;
}

static void warn_key(const char *object, const char *key)
{
	fprintf(stderr, "gmemctl: measure: %s%s\"%s\" is not known, and not looked at\n", object,
		object[0] ? ": " : "", key);
}

/* ---- against a manifest ---- */

static int load_manifests(struct measuring *m)
{
	struct gm_refusal refusal = { 0 };
	struct input_bytes text;
	json_object *tree = NULL;
	int r = input_read(m->options.diff, JSON_MAX, &text, &refusal);

	if (r == 0)
		r = input_parse_json(m->options.diff, &text, &tree, &refusal);
	input_bytes_done(&text);
	if (r != 0)
		return report(m, r, "", &refusal);
	if (json_object_is_type(tree, json_type_array)) {
		m->manifests = tree;
		return CTL_OK;
	}
	m->manifests = json_object_new_array();
	json_object_array_add(m->manifests, tree);
	return CTL_OK;
}

static int compare(struct measuring *m, const char *name, const struct gm_manifest *ours)
{
	json_object *tree = json_object_array_get_idx(m->manifests, m->n_done);
	char text[GM_DIFFERENCE_MAX];
	struct gm_refusal refusal = { 0 };
	struct gm_manifest theirs;
	int r, status = CTL_OK;

	if (!tree)
		return ctl_complain(m->ctl, CTL_FAILED, "measure: %s has no manifest number %zu",
				    m->options.diff, m->n_done);
	r = manifest_from_json(tree, &theirs, &refusal);
	if (r != 0)
		status = report(m, r, m->options.diff, &refusal);
	else if (gm_manifest_differ(ours, &theirs, text))
		status = ctl_complain(m->ctl, CTL_FAILED, "measure: %s%s%s", name,
				      name[0] ? ": " : "", text);
	gm_manifest_done(&theirs);
	return status;
}

/* ---- a digest that is there ---- */

static int tell(struct measuring *m, const char *name, const struct pages_result *result)
{
	char hex[2 * GM_DIGEST_MAX + 1];
	json_object *tree;

	manifest_hex(result->digest, result->digest_size, hex);
	if (m->options.plan && result->manifest.kind) {
		int r = plan_file_write(m->options.plan, &result->manifest);

		if (r < 0)
			return ctl_complain(m->ctl, CTL_FAILED, "measure: %s: %s", m->options.plan,
					    strerror(-r));
	}
	if (m->manifests) {
		int status = compare(m, name, &result->manifest);

		if (status != CTL_OK)
			return status;
	}
	if (!m->ctl->json)
		return puts(hex) < 0 ? CTL_FAILED : CTL_OK;
	if (result->manifest.kind) {
		tree = manifest_to_json(name, &result->manifest);
	} else {
		tree = json_object_new_object();
		json_object_object_add(tree, "digest", json_object_new_string(hex));
	}
	return json_object_array_add(m->list, tree) < 0 ? CTL_FAILED : CTL_OK;
}

static void measure_object(struct measuring *m, const char *folder, json_object *object)
{
	struct pages_input input = { .kind = m->options.kind,
				     .folder = folder,
				     .n_threads = m->options.n_threads,
				     .rows = wants_rows(m),
				     .warn = warn_key };
	struct gm_refusal refusal = { 0 };
	struct pages_result result;
	int r = pages_measure(&input, object, &result, &refusal);
	int status;

	if (r == 0)
		status = tell(m, result.name, &result);
	else
		status = report(m, r, result.name, &refusal);
	/* So that line N is of object N. */
	if (status != CTL_OK && m->is_list && !m->ctl->json)
		(void)puts("-");
	if (status != CTL_OK && m->is_list && m->ctl->json)
		json_object_array_add(m->list, NULL);
	m->failed |= status != CTL_OK;
	m->n_done++;
	pages_result_done(&result);
}

static int measure_pages(struct measuring *m)
{
	const char *path = m->options.pages;
	const char *slash = strcmp(path, "-") == 0 ? NULL : strrchr(path, '/');
	_gm_free_ char *folder = slash ? strndup(path, (size_t)(slash - path)) : NULL;
	struct gm_refusal refusal = { 0 };
	struct input_bytes text;
	json_object *tree = NULL;
	int r = slash && !folder ? -ENOMEM : 0;

	if (r == 0) {
		r = input_read(path, JSON_MAX, &text, &refusal);
		if (r == 0)
			r = input_parse_json(path, &text, &tree, &refusal);
		input_bytes_done(&text);
	}
	if (r != 0)
		return report(m, r, "", &refusal);
	m->is_list = json_object_is_type(tree, json_type_array);
	for (size_t i = 0; m->is_list && i < json_object_array_length(tree); i++)
		measure_object(m, folder, json_object_array_get_idx(tree, i));
	if (!m->is_list)
		measure_object(m, folder, tree);
	json_object_put(tree);
	return m->failed ? CTL_FAILED : CTL_OK;
}

/* ---- a guest ---- */

struct files {
	struct input_bytes firmware, kernel, initrd, svsm;
};

static int read_file(const char *path, uint64_t max, struct input_bytes *bytes,
		     struct gm_bytes *view, struct gm_refusal *refusal)
{
	int r = path ? input_read(path, max, bytes, refusal) : 0;

	*view = input_view(bytes);
	return r;
}

static int read_files(struct measure_options *options, struct files *files,
		      struct gm_refusal *refusal)
{
	struct gm_guest *guest = &options->guest;
	struct gm_kernel *kernel = &guest->kernel;
	int r = read_file(options->firmware, GM_FIRMWARE_SIZE_MAX, &files->firmware,
			  &guest->firmware, refusal);

	if (r == 0)
		r = read_file(options->svsm, GM_FIRMWARE_SIZE_MAX, &files->svsm, &guest->svsm,
			      refusal);
	if (r == 0)
		r = read_file(options->kernel, KERNEL_MAX, &files->kernel, &kernel->kernel,
			      refusal);
	if (r == 0)
		r = read_file(options->initrd, KERNEL_MAX, &files->initrd, &kernel->initrd,
			      refusal);
	if (options->append)
		kernel->append = (struct gm_bytes){ (const uint8_t *)options->append,
						    strlen(options->append) };
	return r;
}

static int measure_guest(struct measuring *m)
{
	struct pages_result result = { .digest_size = gm_launch_digest_size(m->options.kind) };
	struct gm_refusal refusal = { 0 };
	struct files files = { 0 };
	int r = read_files(&m->options, &files, &refusal);
	int status;

	if (r == 0)
		r = gm_guest_measure(&m->options.guest, m->options.n_threads,
				     wants_rows(m) ? &result.manifest : NULL, result.digest,
				     &refusal);
	status = r == 0 ? tell(m, "", &result) : report(m, r, "", &refusal);
	pages_result_done(&result);
	input_bytes_done(&files.firmware);
	input_bytes_done(&files.kernel);
	input_bytes_done(&files.initrd);
	input_bytes_done(&files.svsm);
	return status;
}

static int run(struct measuring *m)
{
	int r = m->options.diff ? load_manifests(m) : CTL_OK;

	if (r == CTL_OK)
		r = m->options.pages ? measure_pages(m) : measure_guest(m);
	if (m->ctl->json && m->is_list)
		(void)ctl_print_json(m->list);
	else if (m->ctl->json && r == CTL_OK)
		(void)ctl_print_json(json_object_array_get_idx(m->list, 0));
	return r;
}

int cmd_measure(struct ctl *ctl, int argc, char **argv)
{
	struct measuring m = { .ctl = ctl };
	int r = measure_options_parse(ctl, argc, argv, &m.options);

	if (r != CTL_OK)
		return r < 0 ? CTL_OK : r;
	m.list = json_object_new_array();
	r = run(&m);
	json_object_put(m.list);
	json_object_put(m.manifests);
	return r;
}
