/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"

#define DROPIN_SUFFIX ".conf"

struct loader {
	const struct gm_unit_tree *tree;
	struct gm_unit unit;
	size_t bytes;
	char dir[PATH_MAX]; /* whose drop-ins are being taken */
	char *said;
};

static int say(struct loader *loader, const char *path, const char *reason)
{
	snprintf(loader->said, GM_UNIT_SAID_MAX, "%.300s: %.200s", path, reason);
	return -EINVAL;
}

static int say_error(struct loader *loader, const char *path, int error)
{
	switch (error) {
	case -ENOMEM:
		return error;
	case -EFBIG:
		return say(loader, path, "larger than 262144 bytes");
	case -EAGAIN:
		return say(loader, path, "was changed while it was read");
	case -E2BIG:
		return say(loader, path, "too many names or unit files");
	default:
		return say(loader, path, strerrordesc_np(-error));
	}
}

/* ---- files ---- */

static int add_part(struct loader *loader, const char *path)
{
	struct gm_unit *unit = &loader->unit;
	struct gm_unit_part *parts;

	if (unit->n_parts == GM_UNIT_PARTS_MAX)
		return say(loader, path, "the unit has more than 512 files");
	parts = reallocarray(unit->parts, unit->n_parts + 1, sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	unit->parts = parts;
	parts[unit->n_parts] = (struct gm_unit_part){ .path = strdup(path) };
	if (!parts[unit->n_parts].path)
		return -ENOMEM;
	unit->n_parts++;
	return 0;
}

static int read_part(struct loader *loader, struct gm_unit_part *part,
		     enum gm_unit_file_kind *ret_kind)
{
	int r = gm_unit_read_file(loader->tree->root, part->path, GM_UNIT_TEXT_MAX, ret_kind,
				  &part->text, &part->length);

	if (r)
		return say_error(loader, part->path, r);
	loader->bytes += part->length;
	if (loader->bytes > GM_UNIT_BYTES_MAX)
		return say(loader, part->path, "the unit's files are larger than 4 MiB together");
	return 0;
}

static int load_fragment(struct loader *loader, const char *path)
{
	struct gm_unit *unit = &loader->unit;
	enum gm_unit_file_kind kind;
	int r = add_part(loader, path);

	if (r)
		return r;
	r = read_part(loader, &unit->parts[0], &kind);
	if (r)
		return r;
	unit->state = kind == GM_UNIT_FILE_TEXT ? GM_UNIT_LOADED : GM_UNIT_MASKED;
	unit->fragment = strdup(path);
	return unit->fragment ? 0 : -ENOMEM;
}

/* ---- drop-ins ---- */

static const char *base_name(const char *path)
{
	return strrchr(path, '/') + 1;
}

/* A file in a folder that comes first hides those of its name in all others. */
static bool is_hidden(const struct gm_unit *unit, const char *name)
{
	for (size_t i = 1; i < unit->n_parts; i++)
		if (strcmp(base_name(unit->parts[i].path), name) == 0)
			return true;
	return false;
}

static int on_dropin(void *arg, const char *name)
{
	struct loader *loader = arg;
	size_t length = strlen(name);
	char path[PATH_MAX];

	if (length < sizeof(DROPIN_SUFFIX) ||
	    strcmp(name + length - strlen(DROPIN_SUFFIX), DROPIN_SUFFIX) != 0 ||
	    is_hidden(&loader->unit, name))
		return 0;
	if (snprintf(path, sizeof(path), "%s/%s", loader->dir, name) >= (int)sizeof(path))
		return say(loader, loader->dir, "the path is too long");
	return add_part(loader, path);
}

static int take_dir(struct loader *loader, const char *folder, const char *name)
{
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "%s/%s.d", folder, name);
	if (gm_unit_entry_at(loader->tree->root, path) == GM_UNIT_ENTRY_OTHER)
		return 0;
	r = gm_unit_chase(loader->tree->root, path, /* whole= */ true, loader->dir);
	if (!r)
		r = gm_unit_list(loader->tree->root, loader->dir, on_dropin, loader);
	/* -EINVAL has been explained. */
	return r && r != -EINVAL ? say_error(loader, path, r) : r;
}

/*
 * In one folder: the unit's own, its template's with all its shorter names, then its own shorter
 * names (unit_file_find_dirs() in systemd's src/shared/dropin.c).
 */
static int take_dirs_of(struct loader *loader, const char *folder, const char *id)
{
	char current[GM_UNIT_NAME_SIZE], next[GM_UNIT_NAME_SIZE];
	struct gm_unit_name name;
	int r;

	snprintf(current, sizeof(current), "%s", id);
	for (;;) {
		r = take_dir(loader, folder, current);
		if (r || gm_unit_name_parse(current, &name) == GM_UNIT_INVALID)
			return r;
		if (name.form == GM_UNIT_INSTANCE && gm_unit_name_with(&name, "", next)) {
			struct gm_unit_name template;

			do {
				r = take_dir(loader, folder, next);
				if (r || gm_unit_name_parse(next, &template) == GM_UNIT_INVALID)
					return r;
			} while (gm_unit_name_shorten(&template, next));
		}
		if (!gm_unit_name_shorten(&name, current))
			return 0;
	}
}

static int by_base_name(const void *a, const void *b)
{
	return strcmp(base_name(((const struct gm_unit_part *)a)->path),
		      base_name(((const struct gm_unit_part *)b)->path));
}

static int load_dropins(struct loader *loader, const struct gm_unit_names *names)
{
	struct gm_unit *unit = &loader->unit;
	enum gm_unit_file_kind kind;
	int r = 0;

	for (size_t i = 0; i < names->n; i++)
		for (size_t dir = 0; dir < GM_UNIT_DIRS_N && r == 0; dir++)
			r = take_dirs_of(loader, gm_unit_dirs[dir], names->ids[i]);
	/* socket.d and the like is for all units of a type, and comes last. */
	for (size_t dir = 0; dir < GM_UNIT_DIRS_N && r == 0; dir++)
		r = take_dir(loader, gm_unit_dirs[dir], unit->name.type);
	if (r)
		return r;
	if (unit->n_parts > 2)
		qsort(unit->parts + 1, unit->n_parts - 1, sizeof(*unit->parts), by_base_name);
	for (size_t i = 1; i < unit->n_parts && r == 0; i++)
		r = read_part(loader, &unit->parts[i], &kind);
	return r;
}

/* ---- units ---- */

static int load(struct loader *loader, const char *id)
{
	_gm_free_ struct gm_unit_names *names = calloc(1, sizeof(*names));
	struct gm_unit *unit = &loader->unit;
	char path[PATH_MAX];
	int r;

	if (!names)
		return -ENOMEM;
	r = gm_unit_find(loader->tree, id, path, names);
	if (r && r != -ENOENT)
		return say_error(loader, id, r);
	if (gm_unit_name_parse(names->ids[0], &unit->name) == GM_UNIT_INVALID)
		return say_error(loader, id, -EINVAL);
	if (r == -ENOENT)
		return 0;
	r = load_fragment(loader, path);
	if (r || unit->state == GM_UNIT_MASKED)
		return r;
	return load_dropins(loader, names);
}

int gm_unit_load(const struct gm_unit_tree *tree, const char *id, struct gm_unit *ret_unit,
		 char ret_said[GM_UNIT_SAID_MAX])
{
	struct loader loader = { .tree = tree, .said = ret_said };
	int r = load(&loader, id);

	if (r)
		gm_unit_done(&loader.unit);
	else
		*ret_unit = loader.unit;
	return r;
}

void gm_unit_done(struct gm_unit *unit)
{
	for (size_t i = 0; i < unit->n_parts; i++) {
		free(unit->parts[i].path);
		free(unit->parts[i].text);
	}
	free(unit->parts);
	free(unit->fragment);
	*unit = (struct gm_unit){ .n_parts = 0 };
}
