/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths under a root folder: links followed as if the root were "/", files read whole, folders
 * listed. Nothing here blocks on what is no regular file.
 */
#ifndef GM_UNIT_PATH_H
#define GM_UNIT_PATH_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "gm_num.h"

/*
 * @path, absolute, with all links in it followed, but for the last component unless @whole, and
 * without "." and "..". A component that is not there is taken as it is. 0; -ELOOP;
 * -ENAMETOOLONG; or -errno.
 */
GM_WARN_UNUSED int gm_unit_chase(const char *root, const char *path, bool whole,
				 char ret_path[PATH_MAX]);

enum gm_unit_file_kind {
	GM_UNIT_FILE_NONE,  /* not there, or a link to nothing */
	GM_UNIT_FILE_EMPTY, /* of no length, or a device like /dev/null: a mask */
	GM_UNIT_FILE_TEXT,
};

/*
 * Reads the file at @path, all links followed. *ret_text, which free() frees, is set for
 * GM_UNIT_FILE_TEXT only. 0; -EFBIG over @max bytes; -EISDIR, -ENOTSUP for what is no file;
 * -ENOMEM; -errno.
 */
GM_WARN_UNUSED int gm_unit_read_file(const char *root, const char *path, size_t max,
				     enum gm_unit_file_kind *ret_kind, char **ret_text,
				     size_t *ret_length);

/*
 * Calls @fn with each entry but those that begin with a dot, in no order. A folder that is not
 * there has none. 0, what @fn returned that was not 0, or -errno.
 */
typedef int (*gm_unit_entry_fn)(void *arg, const char *name);
GM_WARN_UNUSED int gm_unit_list(const char *root, const char *path, gm_unit_entry_fn fn, void *arg);

enum gm_unit_entry_kind {
	GM_UNIT_ENTRY_OTHER,
	GM_UNIT_ENTRY_FILE,
	GM_UNIT_ENTRY_FOLDER,
	GM_UNIT_ENTRY_LINK,
};

/* What is at @path itself; GM_UNIT_ENTRY_OTHER where nothing is. */
enum gm_unit_entry_kind gm_unit_entry_at(const char *root, const char *path);

/* The target of the link at @path, as it is written. 0 or -errno. */
GM_WARN_UNUSED int gm_unit_read_link(const char *root, const char *path, char ret_target[PATH_MAX]);

#endif
