/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON of operations and of manifests. What is measured gives a manifest that is read back as it
 * was; what is refused says why, in one line.
 */
#include <ctype.h>
#include <string.h>

#include "gm_fuzz.h"
#include "manifest_json.h"
#include "pages.h"

#define PAGES_FEW 64

static void require_reason(int r, const struct gm_refusal *refusal)
{
	gm_fuzz_require(r == GM_INVALID || r == GM_UNSUPPORTED);
	gm_fuzz_require(refusal->text[0] && refusal->object[0]);
}

static void require_read_back(const struct gm_manifest *manifest)
{
	json_object *tree = manifest_to_json("", manifest);
	char text[GM_DIFFERENCE_MAX];
	struct gm_manifest again;
	struct gm_refusal refusal;

	gm_fuzz_require(manifest_from_json(tree, &again, &refusal) == 0);
	gm_fuzz_require(again.n_rows == manifest->n_rows);
	gm_fuzz_require(!gm_manifest_differ(&again, manifest, text));
	again.digest[0] ^= 1;
	gm_fuzz_require(gm_manifest_differ(&again, manifest, text));
	gm_fuzz_require(strstr(text, "seeds"));
	gm_manifest_done(&again);
	json_object_put(tree);
}

static void measure(enum gm_launch_kind kind, json_object *tree)
{
	struct pages_input input = {
		.kind = kind, .n_threads = 1, .rows = true, .no_files = true, .max_pages = PAGES_FEW
	};
	struct gm_refusal refusal = { 0 };
	struct pages_result result;
	int r = pages_measure(&input, tree, &result, &refusal);

	if (r != 0)
		require_reason(r, &refusal);
	else if (result.manifest.kind)
		require_read_back(&result.manifest);
	pages_result_done(&result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input_bytes text = { malloc(size + 1), size };
	struct gm_refusal refusal = { 0 };
	struct gm_manifest manifest;
	char difference[GM_DIFFERENCE_MAX];
	json_object *tree = NULL;
	int r;

	gm_fuzz_require(text.bytes);
	if (size > 0)
		memcpy(text.bytes, data, size);
	text.bytes[size] = '\0';
	r = input_parse_json("input", &text, &tree, &refusal);
	input_bytes_done(&text);
	if (r != 0) {
		require_reason(r, &refusal);
		return 0;
	}
	for (int kind = GM_LAUNCH_SNP; kind < GM_LAUNCH_N_; kind++)
		measure((enum gm_launch_kind)kind, tree);
	r = manifest_from_json(tree, &manifest, &refusal);
	if (r != 0)
		require_reason(r, &refusal);
	else
		gm_fuzz_require(!gm_manifest_differ(&manifest, &manifest, difference));
	gm_manifest_done(&manifest);
	json_object_put(tree);
	return 0;
}
