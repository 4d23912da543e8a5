/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROW_LENGTH_MAX (UINT64_C(1) << 52)

void manifest_hex(const uint8_t *bytes, size_t size, char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		*text++ = digits[bytes[i] >> 4];
		*text++ = digits[bytes[i] & 0xf];
	}
	*text = '\0';
}

/* ---- to JSON ---- */

static json_object *hex_json(const uint8_t *bytes, size_t size)
{
	char text[2 * GM_VMSA_SIZE + 1];

	manifest_hex(bytes, size, text);
	return json_object_new_string(text);
}

static json_object *address_json(uint64_t address)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "0x%" PRIx64, address);
	return json_object_new_string(text);
}

static uint64_t register_value(const uint8_t *vmsa, const struct gm_vmsa_register *reg)
{
	uint64_t value = 0;

	for (size_t i = gm_min_u64(reg->size, 8); i > 0; i--)
		value = value << 8 | vmsa[reg->offset + i - 1];
	return value;
}

/* Those that are not 0; of the long ones the low half. For people: the page itself is compared. */
static json_object *registers_json(const uint8_t *vmsa)
{
	json_object *tree = json_object_new_object();
	struct gm_vmsa_register reg;
	char name[16];

	for (size_t at = 0; at < GM_VMSA_SIZE; at++) {
		if (vmsa[at] == 0)
			continue;
		reg = gm_vmsa_register_at(at);
		json_object_object_add(tree, gm_vmsa_register_name(&reg, name, sizeof(name)),
				       address_json(register_value(vmsa, &reg)));
		at = (size_t)reg.offset + reg.size - 1;
	}
	return tree;
}

static size_t length_without_zeros(const uint8_t *page, size_t size)
{
	while (size > 0 && page[size - 1] == 0)
		size--;
	return size;
}

static void add_contents(json_object *tree, const struct gm_manifest_row *row)
{
	uint8_t content[GM_SHA384_SIZE];
	json_object *pages;

	gm_manifest_row_content(row, content);
	json_object_object_add(tree, "content", hex_json(content, sizeof(content)));
	if (row->n_pages > 1) {
		pages = json_object_new_array_ext((int)row->n_pages);
		for (size_t i = 0; i < row->n_pages; i++)
			json_object_array_add(pages, hex_json(row->pages[i], GM_SHA384_SIZE));
		json_object_object_add(tree, "pages", pages);
	}
	if (row->vmsa) {
		json_object_object_add(
			tree, "vmsa",
			hex_json(row->vmsa, length_without_zeros(row->vmsa, GM_VMSA_SIZE)));
		json_object_object_add(tree, "registers", registers_json(row->vmsa));
	}
}

static json_object *row_json(const struct gm_manifest *manifest, const struct gm_manifest_row *row)
{
	json_object *tree = json_object_new_object();

	json_object_object_add(tree, "type",
			       json_object_new_string(gm_launch_page_name(row->type)));
	json_object_object_add(tree, "gpa", address_json(row->gpa));
	json_object_object_add(tree, "length", json_object_new_uint64(row->length));
	if (row->n_pages > 0)
		add_contents(tree, row);
	else
		json_object_object_add(tree, "content", NULL);
	json_object_object_add(tree, "running",
			       hex_json(row->running, gm_launch_digest_size(manifest->kind)));
	return tree;
}

json_object *manifest_to_json(const char *name, const struct gm_manifest *manifest)
{
	json_object *tree = json_object_new_object();
	json_object *rows = json_object_new_array_ext((int)manifest->n_rows);

	if (name[0])
		json_object_object_add(tree, "name", json_object_new_string(name));
	json_object_object_add(tree, "kind",
			       json_object_new_string(gm_launch_kind_name(manifest->kind)));
	json_object_object_add(tree, "digest",
			       hex_json(manifest->digest, gm_launch_digest_size(manifest->kind)));
	for (size_t i = 0; i < manifest->n_rows; i++)
		json_object_array_add(rows, row_json(manifest, &manifest->rows[i]));
	json_object_object_add(tree, "rows", rows);
	return tree;
}

/* ---- from JSON ---- */

static int find_kind(json_object *tree, enum gm_launch_kind *ret_kind, struct gm_refusal *refusal)
{
	const char *text;
	int r = input_get_text(tree, "kind", &text, refusal);

	for (int i = GM_LAUNCH_SNP; r == 0 && text && i < GM_LAUNCH_N_; i++) {
		if (strcmp(gm_launch_kind_name((enum gm_launch_kind)i), text) == 0) {
			*ret_kind = (enum gm_launch_kind)i;
			return 0;
		}
	}
	return r != 0 ? r : input_refuse(refusal, "kind", "is none that is known");
}

static int find_type(json_object *tree, enum gm_launch_page *ret_type, struct gm_refusal *refusal)
{
	const char *text;
	int r = input_get_text(tree, "type", &text, refusal);

	for (int i = GM_LAUNCH_NORMAL; r == 0 && text && i < GM_LAUNCH_PAGE_N_; i++) {
		if (strcmp(gm_launch_page_name((enum gm_launch_page)i), text) == 0) {
			*ret_type = (enum gm_launch_page)i;
			return 0;
		}
	}
	return r != 0 ? r : input_refuse(refusal, "type", "is none that is known");
}

static int read_one_page(json_object *tree, struct gm_manifest_row *row, struct gm_refusal *refusal)
{
	int r = gm_manifest_row_pages(row, 1);

	return r == 0 ? input_need_hex(tree, "content", row->pages[0], GM_SHA384_SIZE, refusal) : r;
}

static int read_pages(json_object *tree, struct gm_manifest_row *row, struct gm_refusal *refusal)
{
	uint64_t n = (row->length + GM_PAGE_4K - 1) / GM_PAGE_4K;
	json_object *pages = NULL, *content = NULL;
	const char *text;
	int r;

	if (!json_object_object_get_ex(tree, "content", &content) || !content)
		return 0;
	if (n == 1)
		return read_one_page(tree, row, refusal);
	if (!json_object_object_get_ex(tree, "pages", &pages) ||
	    !json_object_is_type(pages, json_type_array) || json_object_array_length(pages) != n)
		return input_refuse(refusal, "pages", "is no list of a digest for each page");
	r = gm_manifest_row_pages(row, n);
	for (size_t i = 0; r == 0 && i < n; i++) {
		text = json_object_get_string(json_object_array_get_idx(pages, i));
		if (!text || strlen(text) != 2 * (size_t)GM_SHA384_SIZE ||
		    input_hex(text, row->pages[i], GM_SHA384_SIZE) < 0)
			r = input_refuse(refusal, "pages", "[%zu] is not 96 hex digits", i);
	}
	return r;
}

static int read_vmsa(json_object *tree, struct gm_manifest_row *row, struct gm_refusal *refusal)
{
	struct input_bytes bytes;
	int r = input_get_hex(tree, "vmsa", &bytes, refusal);

	if (r != 0 || !bytes.bytes)
		return r;
	row->vmsa = bytes.size <= GM_VMSA_SIZE ? calloc(1, GM_VMSA_SIZE) : NULL;
	if (row->vmsa)
		memcpy(row->vmsa, bytes.bytes, bytes.size);
	else
		r = bytes.size > GM_VMSA_SIZE ? input_refuse(refusal, "vmsa", "is over 4096 bytes")
					      : -ENOMEM;
	input_bytes_done(&bytes);
	return r;
}

static int read_row(json_object *tree, struct gm_manifest *manifest, struct gm_refusal *refusal)
{
	struct gm_manifest_row *row = gm_manifest_add(manifest);
	bool has_gpa, has_length;
	int r;

	if (!row)
		return -ENOMEM;
	if (!json_object_is_type(tree, json_type_object))
		return input_refuse(refusal, "rows", "has something that is no object");
	r = find_type(tree, &row->type, refusal);
	if (r == 0)
		r = input_get_number(tree, "gpa", &has_gpa, &row->gpa, refusal);
	if (r == 0)
		r = input_get_number(tree, "length", &has_length, &row->length, refusal);
	if (r != 0)
		return r;
	if (!has_gpa || !has_length || row->length == 0 || row->length > ROW_LENGTH_MAX)
		return input_refuse(refusal, "rows", "has one without a place");
	r = read_pages(tree, row, refusal);
	return r == 0 ? read_vmsa(tree, row, refusal) : r;
}

int manifest_from_json(json_object *tree, struct gm_manifest *ret_manifest,
		       struct gm_refusal *refusal)
{
	json_object *rows = NULL;
	int r;

	*ret_manifest = (struct gm_manifest){ 0 };
	if (!json_object_is_type(tree, json_type_object))
		return input_refuse(refusal, "manifest", "is no object");
	r = find_kind(tree, &ret_manifest->kind, refusal);
	if (r == 0)
		r = input_need_hex(tree, "digest", ret_manifest->digest,
				   gm_launch_digest_size(ret_manifest->kind), refusal);
	if (r != 0)
		return r;
	if (!json_object_object_get_ex(tree, "rows", &rows) ||
	    !json_object_is_type(rows, json_type_array))
		return input_refuse(refusal, "rows", "is no list");
	for (size_t i = 0; r == 0 && i < json_object_array_length(rows); i++)
		r = read_row(json_object_array_get_idx(rows, i), ret_manifest, refusal);
	return r;
}
