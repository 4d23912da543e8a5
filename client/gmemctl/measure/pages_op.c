/* SPDX-License-Identifier: Apache-2.0 */
/* One operation: what it puts in, at which address, and where its contents are. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"
#include "pages.h"

#define REPEAT_MAX GM_GUEST_VCPUS_MAX

static const char *const snp_keys[] = { "t",	       "gpa", "len",	"data",
					"file",	       "off", "repeat", "contents_sha384",
					"vmpl1_perms", "imi", "note",	"vmpl2_perms",
					"vmpl3_perms", NULL };
static const char *const tdx_keys[] = { "op",  "gpa",  "len",	  "data", "file",
					"off", "note", "measure", NULL };
static const char *const sev_keys[] = { "len", "data", "file", "off", "note", NULL };

struct op {
	const struct pages_input *input;
	json_object *object;
	enum gm_launch_kind kind;
	struct gm_launch_range range;
	struct input_bytes contents;
	struct input_bytes digests;
	uint64_t repeat;
	bool has_length;
	struct gm_refusal *refusal;
};

static void op_done(struct op *op)
{
	input_bytes_done(&op->contents);
	input_bytes_done(&op->digests);
}

static int refuse(const struct op *op, const char *key, const char *text)
{
	return input_refuse(op->refusal, key, "%s", text);
}

static int find_type(struct op *op)
{
	const char *text;
	int r = input_get_text(op->object, "t", &text, op->refusal);

	if (r != 0)
		return r;
	if (!text)
		return refuse(op, "t", "is not there: the type of the pages");
	for (int i = GM_LAUNCH_NORMAL; i < GM_LAUNCH_PAGE_N_; i++) {
		if (strcmp(gm_launch_page_name((enum gm_launch_page)i), text) == 0) {
			op->range.type = (enum gm_launch_page)i;
			return 0;
		}
	}
	return input_refuse(op->refusal, "t", "there are no pages of the type \"%.40s\"", text);
}

static int find_region(struct op *op)
{
	json_object *measure = NULL;
	bool truth = false;
	const char *text;
	int r = input_get_text(op->object, "op", &text, op->refusal);

	if (r != 0)
		return r;
	if (!text || strcmp(text, "region") != 0)
		return refuse(op, "op", "is not \"region\"");
	if (!json_object_object_get_ex(op->object, "measure", &measure) || !measure)
		return refuse(op, "measure", "is not there: true or false");
	r = input_get_truth(op->object, "measure", &truth, op->refusal);
	op->range.type = truth ? GM_LAUNCH_NORMAL : GM_LAUNCH_UNMEASURED;
	return r;
}

static int get_address(struct op *op)
{
	bool has;
	int r = input_get_number(op->object, "gpa", &has, &op->range.gpa, op->refusal);

	return r != 0 || has ? r : refuse(op, "gpa", "is not there");
}

static int get_permissions(struct op *op)
{
	static const char *const keys[] = { "vmpl1_perms", "vmpl2_perms", "vmpl3_perms" };
	uint64_t number = 0;
	bool has;
	int r = input_get_truth(op->object, "imi", &op->range.imi, op->refusal);

	for (size_t i = 0; r == 0 && i < GM_ARRAY_SIZE(keys); i++) {
		r = input_get_number(op->object, keys[i], &has, &number, op->refusal);
		if (r == 0 && has && number > UINT8_MAX)
			r = refuse(op, keys[i], "is over 255");
		if (r == 0 && has)
			op->range.vmpl_perms[i] = (uint8_t)number;
	}
	return r;
}

static int get_repeat(struct op *op)
{
	bool has;
	int r;

	op->repeat = 1;
	r = input_get_number(op->object, "repeat", &has, &op->repeat, op->refusal);
	if (r != 0 || !has)
		return r;
	if (op->range.type != GM_LAUNCH_VMSA)
		return refuse(op, "repeat", "is for a vmsa only: nothing else is put in twice");
	if (op->repeat == 0 || op->repeat > REPEAT_MAX)
		return refuse(op, "repeat", "is not 1 to 4096");
	return 0;
}

/* ---- contents ---- */

static int read_file(struct op *op, const char *name)
{
	struct input_range range = { .length = op->has_length ? op->range.length : INPUT_ALL,
				     .max = PAGES_BYTES_MAX };
	_gm_free_ char *path = NULL;
	bool has;
	int r = input_get_number(op->object, "off", &has, &range.offset, op->refusal);

	if (r != 0)
		return r;
	if (op->input->no_files)
		return refuse(op, "file", "files are not read here");
	if (!op->has_length && op->kind != GM_LAUNCH_SEV && op->kind != GM_LAUNCH_SEV_ES)
		range.length = GM_PAGE_4K;
	path = pages_path(op->input, name);
	return path ? input_read_range(path, &range, &op->contents, op->refusal) : -ENOMEM;
}

static int get_digests(struct op *op)
{
	int r = input_get_hex(op->object, "contents_sha384", &op->digests, op->refusal);

	if (r != 0)
		return r;
	if (op->digests.size != op->range.length / GM_PAGE_4K * GM_SHA384_SIZE)
		return refuse(op, "contents_sha384", "is not 96 hex digits for each page");
	op->range.digests = (const uint8_t(*)[GM_SHA384_SIZE])op->digests.bytes;
	return 0;
}

static int get_contents(struct op *op)
{
	bool has_data = json_object_object_get_ex(op->object, "data", NULL);
	bool has_digests = json_object_object_get_ex(op->object, "contents_sha384", NULL);
	const char *file;
	int r = input_get_text(op->object, "file", &file, op->refusal);

	if (r != 0)
		return r;
	if (has_data + has_digests + (file != NULL) > 1)
		return refuse(op, "contents", "are given twice");
	if (!file && json_object_object_get_ex(op->object, "off", NULL))
		return refuse(op, "off", "is there without a file");
	if (has_data)
		r = input_get_hex(op->object, "data", &op->contents, op->refusal);
	else if (file)
		r = read_file(op, file);
	op->range.bytes = op->contents.bytes;
	op->range.n_bytes = op->contents.size;
	if (!op->has_length) {
		op->range.length = GM_PAGE_4K;
		if (op->kind == GM_LAUNCH_SEV || op->kind == GM_LAUNCH_SEV_ES)
			op->range.length = op->contents.size;
	}
	return r == 0 && has_digests ? get_digests(op) : r;
}

static int check_contents(const struct op *op)
{
	bool given = op->contents.bytes || op->digests.bytes;

	if (op->range.type == GM_LAUNCH_NORMAL || op->range.type == GM_LAUNCH_VMSA)
		return given ? 0 : refuse(op, "contents", "are not there: data or file");
	if (op->range.type == GM_LAUNCH_ZERO && (op->contents.size > 0 || op->digests.bytes))
		return refuse(op, "contents", "are given for pages of zeros");
	return 0;
}

static int parse_op(struct op *op)
{
	int r = input_get_number(op->object, "len", &op->has_length, &op->range.length,
				 op->refusal);

	if (r != 0)
		return r;
	op->repeat = 1;
	op->range.type = GM_LAUNCH_NORMAL;
	if (op->kind == GM_LAUNCH_SNP) {
		r = find_type(op);
		if (r == 0)
			r = get_permissions(op);
		if (r == 0)
			r = get_repeat(op);
	} else if (op->kind == GM_LAUNCH_TDX) {
		r = find_region(op);
	}
	if (r == 0 && (op->kind == GM_LAUNCH_SNP || op->kind == GM_LAUNCH_TDX))
		r = get_address(op);
	if (r == 0)
		r = get_contents(op);
	return r == 0 ? check_contents(op) : r;
}

/* ---- all of them ---- */

static const char *const *keys_of(enum gm_launch_kind kind)
{
	if (kind == GM_LAUNCH_SNP)
		return snp_keys;
	return kind == GM_LAUNCH_TDX ? tdx_keys : sev_keys;
}

static int run_op(struct op *op, struct gm_measure *measure, uint64_t *n_pages)
{
	uint64_t max = op->input->max_pages ? op->input->max_pages : PAGES_MAX;
	uint64_t pages;
	int r = parse_op(op);

	if (r != 0)
		return r;
	if (gm_mul_overflows(op->range.length / GM_PAGE_4K, op->repeat, &pages) ||
	    gm_add_overflows(*n_pages, pages, n_pages) || *n_pages > max)
		return input_refuse(op->refusal, "len", "more than %llu pages are measured",
				    (unsigned long long)max);
	for (uint64_t i = 0; r == 0 && i < op->repeat; i++)
		r = gm_measure_step(measure, &op->range, op->refusal);
	return r;
}

/* Which operation it was goes before what was wrong with it. */
static void place_refusal(struct gm_refusal *refusal, size_t i)
{
	char object[GM_OBJECT_MAX];

	if (!refusal)
		return;
	memcpy(object, refusal->object, sizeof(object));
	(void)snprintf(refusal->object, sizeof(refusal->object), "ops[%zu]: %.50s", i, object);
}

int pages_run_ops(const struct pages_input *input, json_object *ops, struct gm_measure *measure,
		  struct gm_refusal *refusal)
{
	uint64_t n_pages = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_object_array_length(ops); i++) {
		struct op op = { .input = input,
				 .object = json_object_array_get_idx(ops, i),
				 .kind = input->kind,
				 .refusal = refusal };

		if (!json_object_is_type(op.object, json_type_object))
			r = refuse(&op, "operation", "is no object");
		else
			r = pages_check_keys(op.object, keys_of(op.kind), NULL, "operation",
					     refusal);
		if (r == 0)
			r = run_op(&op, measure, &n_pages);
		if (r > 0)
			place_refusal(refusal, i);
		op_done(&op);
	}
	return r;
}
