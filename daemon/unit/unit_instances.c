/* SPDX-License-Identifier: Apache-2.0 */
#include "unit_instances.h"

#include <stdio.h>
#include <string.h>

#include "unit_tree.h"

struct search {
	const char *root;
	const char *prefix;
	const char *type;
	gm_unit_instance_fn fn;
	void *arg;
	char folder[PATH_MAX]; /* that is being listed */
};

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), n = strlen(end);

	return length >= n && strcmp(text + length - n, end) == 0;
}

static int on_unit(void *arg, const char *entry)
{
	const struct search *search = arg;
	struct gm_unit_name name;
	char id[GM_UNIT_NAME_SIZE + 2];
	size_t length = strlen(entry);

	if (length >= sizeof(id))
		return 0;
	memcpy(id, entry, length + 1);
	if (ends_with(id, ".d"))
		id[length - 2] = '\0';
	if (gm_unit_name_parse(id, &name) != GM_UNIT_INSTANCE ||
	    strcmp(name.prefix, search->prefix) != 0 || strcmp(name.type, search->type) != 0)
		return 0;
	return search->fn(search->arg, name.id);
}

static int on_entry(void *arg, const char *entry)
{
	struct search *search = arg;
	char path[PATH_MAX];

	if (!ends_with(entry, ".wants") && !ends_with(entry, ".requires"))
		return on_unit(search, entry);
	if (snprintf(path, sizeof(path), "%s/%s", search->folder, entry) >= (int)sizeof(path))
		return 0;
	return gm_unit_list(search->root, path, on_unit, search);
}

int gm_unit_instances(const char *root, const char *prefix, const char *type,
		      gm_unit_instance_fn fn, void *arg)
{
	struct search search = {
		.root = strcmp(root, "/") == 0 ? "" : root,
		.prefix = prefix,
		.type = type,
		.fn = fn,
		.arg = arg,
	};
	int r = 0;

	for (unsigned dir = 0; dir < GM_UNIT_DIRS_N && r == 0; dir++) {
		snprintf(search.folder, sizeof(search.folder), "%s", gm_unit_dirs[dir]);
		r = gm_unit_list(search.root, search.folder, on_entry, &search);
	}
	return r;
}
