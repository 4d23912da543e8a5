/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which unit files there are, and by which names: what systemd's manager knows of them
 * (unit_file_build_name_map() and unit_file_find_fragment() in its src/basic/unit-file.c).
 *
 * A snapshot: the folders are listed once, however many units are looked up.
 */
#ifndef GM_UNIT_TREE_H
#define GM_UNIT_TREE_H

#include "unit_names.h"
#include "unit_path.h"

/* Folders that units are in, in order of precedence: `systemd-analyze unit-paths`. */
#define GM_UNIT_DIRS_N 13
extern const char *const gm_unit_dirs[GM_UNIT_DIRS_N];

/* Services and sockets, files and aliases, of all folders together. */
#define GM_UNIT_ENTRIES_MAX 65536

struct gm_unit_entry {
	unsigned dir;		       /* of gm_unit_dirs */
	char alias[GM_UNIT_NAME_SIZE]; /* another unit, or "": the file is here */
	char name[GM_UNIT_NAME_SIZE];
};

struct gm_unit_tree {
	char root[PATH_MAX]; /* "" for "/" */
	size_t n_entries;
	size_t max_entries;
	struct gm_unit_entry *entries; /* by name, each once */
};

/* @root: an absolute path; "" or "/" for the host's own. 0, -ENOMEM, -E2BIG or -errno. */
GM_WARN_UNUSED int gm_unit_tree_open(const char *root, struct gm_unit_tree *ret_tree);
void gm_unit_tree_done(struct gm_unit_tree *tree);

/* The names of one unit, its own first. */
#define GM_UNIT_ALIASES_MAX 64

struct gm_unit_names {
	size_t n;
	char ids[GM_UNIT_ALIASES_MAX][GM_UNIT_NAME_SIZE];
};

/*
 * The main file of the unit @id and the names it goes by: @ret_names->ids[0] is the one it is
 * loaded as. 0; -ENOENT: it has no file (the names are written all the same); -EINVAL: @id is
 * neither a plain unit's name nor an instance's; -E2BIG.
 */
GM_WARN_UNUSED int gm_unit_find(const struct gm_unit_tree *tree, const char *id,
				char ret_path[PATH_MAX], struct gm_unit_names *ret_names);

#endif
