/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which instances of a template the folders of units know of, whether they run or not: those with a
 * file, an alias or drop-ins of their own, and those that another unit wants.
 */
#ifndef GM_UNIT_INSTANCES_H
#define GM_UNIT_INSTANCES_H

#include "unit_names.h"

typedef int (*gm_unit_instance_fn)(void *arg, const char *id);

/*
 * Calls @fn with each instance of @prefix and @type, some more than once, in no order. @root: as of
 * gm_unit_tree_open(). 0, what @fn returned that was not 0, or -errno.
 */
GM_WARN_UNUSED int gm_unit_instances(const char *root, const char *prefix, const char *type,
				     gm_unit_instance_fn fn, void *arg);

#endif
