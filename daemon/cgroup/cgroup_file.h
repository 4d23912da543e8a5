/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files of /proc and of cgroup file systems. For the files of this folder only.
 */
#ifndef GM_CGROUP_FILE_H
#define GM_CGROUP_FILE_H

#include "gm_num.h"

#define GM_CGROUP_FILE_PATH_MAX 2048

/* Whole, with a NUL. 0; -E2BIG when it is not shorter than @size; or -errno. */
GM_WARN_UNUSED int gm_cgroup_file_read(const char *path, char *buffer, size_t size);

/* The number that it starts with, or "max", which is GM_UNLIMITED. */
GM_WARN_UNUSED int gm_cgroup_file_number(const char *path, uint64_t *ret_number);

/* The number after "KEY " at the start of a line; 0 where there is none. */
uint64_t gm_cgroup_text_key(const char *text, const char *key);

#endif
