/* SPDX-License-Identifier: Apache-2.0 */
#include "unit_tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Aliases of aliases, as many as systemd follows. */
#define HOPS_MAX 8

const char *const gm_unit_dirs[GM_UNIT_DIRS_N] = {
	"/etc/systemd/system.control",
	"/run/systemd/system.control",
	"/run/systemd/transient",
	"/run/systemd/generator.early",
	"/etc/systemd/system",
	"/etc/systemd/system.attached",
	"/run/systemd/system",
	"/run/systemd/system.attached",
	"/run/systemd/generator",
	"/usr/local/lib/systemd/system",
	/* On most hosts the same folder; then its files go by the name below. */
	"/lib/systemd/system",
	"/usr/lib/systemd/system",
	"/run/systemd/generator.late",
};

/* ---- reading the folders ---- */

struct scan {
	struct gm_unit_tree *tree;
	unsigned dir;
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool is_in_a_dir(const char *path)
{
	for (size_t i = 0; i < GM_UNIT_DIRS_N; i++) {
		size_t length = strlen(gm_unit_dirs[i]);

		if (strncmp(path, gm_unit_dirs[i], length) == 0 && path[length] == '/')
			return true;
	}
	return false;
}

/* unit_validate_alias_symlink_or_warn() */
static bool may_alias(const struct gm_unit_name *from, const struct gm_unit_name *to)
{
	if (to->form != from->form &&
	    !(from->form == GM_UNIT_INSTANCE && to->form == GM_UNIT_TEMPLATE))
		return false;
	if (to->form == GM_UNIT_INSTANCE && strcmp(from->instance, to->instance) != 0)
		return false;
	return strcmp(from->type, to->type) == 0;
}

/*
 * A link to another unit is an alias; one that leads out of the folders is a file that lies
 * elsewhere, or a mask. False: a link that systemd ignores.
 */
static bool read_alias(const struct gm_unit_tree *tree, const char *path,
		       const struct gm_unit_name *name, char ret_alias[GM_UNIT_NAME_SIZE])
{
	char target[PATH_MAX], absolute[PATH_MAX], chased[PATH_MAX];
	struct gm_unit_name to;
	const char *slash = strrchr(path, '/');
	int n;

	if (gm_unit_read_link(tree->root, path, target))
		return false;
	n = target[0] == '/' ? snprintf(absolute, sizeof(absolute), "%s", target)
			     : snprintf(absolute, sizeof(absolute), "%.*s/%s", (int)(slash - path),
					path, target);
	if (n >= (int)sizeof(absolute) ||
	    gm_unit_chase(tree->root, absolute, /* whole= */ false, chased))
		return false;
	if (!is_in_a_dir(chased)) {
		ret_alias[0] = '\0';
		return true;
	}
	if (gm_unit_name_parse(base_name(chased), &to) == GM_UNIT_INVALID || !may_alias(name, &to))
		return false;
	memcpy(ret_alias, to.id, sizeof(to.id));
	return strcmp(to.id, name->id) != 0;
}

static int add_entry(struct gm_unit_tree *tree, const struct gm_unit_entry *entry)
{
	if (tree->n_entries == GM_UNIT_ENTRIES_MAX)
		return -E2BIG;
	if (tree->n_entries == tree->max_entries) {
		size_t max = tree->max_entries ? tree->max_entries * 2 : 64;
		struct gm_unit_entry *entries = reallocarray(tree->entries, max, sizeof(*entries));

		if (!entries)
			return -ENOMEM;
		tree->entries = entries;
		tree->max_entries = max;
	}
	tree->entries[tree->n_entries++] = *entry;
	return 0;
}

static int on_entry(void *arg, const char *text)
{
	const struct scan *scan = arg;
	struct gm_unit_entry entry = { .dir = scan->dir };
	enum gm_unit_entry_kind kind;
	struct gm_unit_name name;
	char path[PATH_MAX];

	if (gm_unit_name_parse(text, &name) == GM_UNIT_INVALID ||
	    (strcmp(name.type, "socket") != 0 && strcmp(name.type, "service") != 0))
		return 0;
	memcpy(entry.name, name.id, sizeof(entry.name));
	snprintf(path, sizeof(path), "%s/%s", gm_unit_dirs[scan->dir], name.id);
	kind = gm_unit_entry_at(scan->tree->root, path);
	if (kind != GM_UNIT_ENTRY_FILE &&
	    (kind != GM_UNIT_ENTRY_LINK || !read_alias(scan->tree, path, &name, entry.alias)))
		return 0;
	return add_entry(scan->tree, &entry);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct gm_unit_entry *)a)->name,
		      ((const struct gm_unit_entry *)b)->name);
}

static int by_name_and_dir(const void *a, const void *b)
{
	const struct gm_unit_entry *x = a, *y = b;
	int order = by_name(a, b);

	return order ? order : (x->dir > y->dir) - (x->dir < y->dir);
}

/* The first folder that has a name decides what it stands for. */
static void keep_first_of_each(struct gm_unit_tree *tree)
{
	size_t n = 0;

	if (tree->n_entries == 0)
		return;
	qsort(tree->entries, tree->n_entries, sizeof(*tree->entries), by_name_and_dir);
	for (size_t i = 0; i < tree->n_entries; i++)
		if (n == 0 || by_name(&tree->entries[n - 1], &tree->entries[i]) != 0)
			tree->entries[n++] = tree->entries[i];
	tree->n_entries = n;
}

/* Where /lib is a link, all in it is in /usr/lib. */
static bool is_skipped(const struct gm_unit_tree *tree, const char *dir)
{
	return strncmp(dir, "/lib/", strlen("/lib/")) == 0 &&
	       gm_unit_entry_at(tree->root, "/lib") == GM_UNIT_ENTRY_LINK;
}

int gm_unit_tree_open(const char *root, struct gm_unit_tree *ret_tree)
{
	int r = 0;
	int n;

	*ret_tree = (struct gm_unit_tree){ .n_entries = 0 };
	n = snprintf(ret_tree->root, sizeof(ret_tree->root), "%s",
		     strcmp(root, "/") == 0 ? "" : root);
	if (n >= (int)sizeof(ret_tree->root))
		return -ENAMETOOLONG;
	for (unsigned dir = 0; dir < GM_UNIT_DIRS_N && r == 0; dir++) {
		struct scan scan = { .tree = ret_tree, .dir = dir };

		if (!is_skipped(ret_tree, gm_unit_dirs[dir]))
			r = gm_unit_list(ret_tree->root, gm_unit_dirs[dir], on_entry, &scan);
	}
	if (r)
		gm_unit_tree_done(ret_tree);
	else
		keep_first_of_each(ret_tree);
	return r;
}

void gm_unit_tree_done(struct gm_unit_tree *tree)
{
	free(tree->entries);
	*tree = (struct gm_unit_tree){ .n_entries = 0 };
}

/* ---- looking units up ---- */

static const struct gm_unit_entry *find_entry(const struct gm_unit_tree *tree, const char *id)
{
	struct gm_unit_entry key = { .name = "" };

	if (tree->n_entries == 0)
		return NULL;
	snprintf(key.name, sizeof(key.name), "%s", id);
	return bsearch(&key, tree->entries, tree->n_entries, sizeof(key), by_name);
}

static bool template_of(const char *id, char ret_id[GM_UNIT_NAME_SIZE])
{
	struct gm_unit_name name;

	return gm_unit_name_parse(id, &name) == GM_UNIT_INSTANCE &&
	       gm_unit_name_with(&name, "", ret_id);
}

/* unit_ids_map_get(): follows aliases to a file. NULL: there is none. */
static const struct gm_unit_entry *find_file(const struct gm_unit_tree *tree, const char *id)
{
	char template[GM_UNIT_NAME_SIZE];
	const struct gm_unit_entry *entry = find_entry(tree, id);

	for (unsigned hops = 0; hops < HOPS_MAX && entry; hops++) {
		if (!entry->alias[0])
			return entry;
		id = entry->alias;
		entry = find_entry(tree, id);
		/* An alias of an instance is one of the template's, too. */
		if (!entry && template_of(id, template))
			entry = find_entry(tree, template);
	}
	return NULL;
}

static void path_of(const struct gm_unit_entry *entry, char ret_path[PATH_MAX])
{
	snprintf(ret_path, PATH_MAX, "%s/%s", gm_unit_dirs[entry->dir], entry->name);
}

static bool is_masked(const struct gm_unit_tree *tree, const struct gm_unit_entry *entry)
{
	enum gm_unit_file_kind kind;
	char path[PATH_MAX];
	char *text = NULL;
	size_t length;

	path_of(entry, path);
	/* What is too large to be read is not empty. */
	if (gm_unit_read_file(tree->root, path, 0, &kind, &text, &length) != 0)
		return false;
	free(text);
	return kind != GM_UNIT_FILE_TEXT;
}

/* @id, or where that is a template, its instance @instance. */
static bool with_instance(const char *id, const char *instance, char ret_id[GM_UNIT_NAME_SIZE])
{
	struct gm_unit_name name;

	if (gm_unit_name_parse(id, &name) == GM_UNIT_INVALID)
		return false;
	if (name.form == GM_UNIT_TEMPLATE)
		return instance[0] && gm_unit_name_with(&name, instance, ret_id);
	memcpy(ret_id, name.id, sizeof(name.id));
	return true;
}

static int add_name(struct gm_unit_names *names, const char *id)
{
	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->ids[i], id) == 0)
			return 0;
	if (names->n == GM_UNIT_ALIASES_MAX)
		return -E2BIG;
	snprintf(names->ids[names->n++], GM_UNIT_NAME_SIZE, "%s", id);
	return 0;
}

/*
 * Adds the instance @instance of the alias @from, which stands for @file, unless that name stands
 * for something else itself.
 */
static int add_alias(const struct gm_unit_tree *tree, const struct gm_unit_entry *from,
		     const struct gm_unit_entry *file, const char *instance,
		     struct gm_unit_names *names)
{
	char id[GM_UNIT_NAME_SIZE];
	const struct gm_unit_entry *other;

	if (!with_instance(from->name, instance, id))
		return 0;
	other = strcmp(id, from->name) == 0 ? NULL : find_file(tree, id);
	if (other && strcmp(other->name, file->name) != 0)
		return 0;
	return add_name(names, id);
}

/* Every alias that stands for the unit, directly or by its template. */
static int add_aliases(const struct gm_unit_tree *tree, const struct gm_unit_entry *file,
		       const struct gm_unit_name *unit, struct gm_unit_names *names)
{
	for (size_t i = 0; i < tree->n_entries; i++) {
		const struct gm_unit_entry *from = &tree->entries[i];
		struct gm_unit_name name;
		int r;

		const struct gm_unit_entry *to =
			from->alias[0] ? find_file(tree, from->name) : NULL;
		char id[GM_UNIT_NAME_SIZE];

		if (!to || gm_unit_name_parse(from->name, &name) == GM_UNIT_INVALID)
			continue;
		/* An instance that stands for a template stands for that instance, file or no. */
		if (to != file && (!with_instance(to->name, name.instance, id) ||
				   strcmp(id, unit->id) != 0 || is_masked(tree, to)))
			continue;
		/* Of a template's aliases, instances are for that instance only. */
		if (name.form == GM_UNIT_INSTANCE && strcmp(name.instance, unit->instance) != 0)
			continue;
		r = add_alias(tree, from, file, unit->instance, names);
		if (r)
			return r;
	}
	return 0;
}

int gm_unit_find(const struct gm_unit_tree *tree, const char *id, char ret_path[PATH_MAX],
		 struct gm_unit_names *ret_names)
{
	const struct gm_unit_entry *file;
	char other[GM_UNIT_NAME_SIZE];
	struct gm_unit_name unit;
	int r;

	ret_names->n = 0;
	if (gm_unit_name_parse(id, &unit) == GM_UNIT_INVALID || unit.form == GM_UNIT_TEMPLATE)
		return -EINVAL;
	file = find_file(tree, id);
	if (!file && template_of(id, other))
		file = find_file(tree, other);
	if (!file) {
		r = add_name(ret_names, id);
		return r ? r : -ENOENT;
	}
	path_of(file, ret_path);
	/* It is loaded by the name of its file. */
	r = with_instance(file->name, unit.instance, other) ? add_name(ret_names, other) : 0;
	if (!r)
		r = add_name(ret_names, id);
	if (!r && !is_masked(tree, file))
		r = add_aliases(tree, file, &unit, ret_names);
	return r;
}
