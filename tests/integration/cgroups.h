/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups for tests that run as root, of whichever version this host has.
 */
#ifndef CGROUPS_H
#define CGROUPS_H

#include <sys/types.h>

#include "gm_num.h"

struct group {
	char path[256]; /* a folder */
	bool v2;
};

/* False: this host has no hierarchy with that controller, or nobody may make groups. */
bool group_make(struct group *group, const char *controller, const char *name);
/* Tries for a moment: processes that are ending are still in it. */
bool group_remove(const struct group *group);

bool group_add(const struct group *group, pid_t pid);
bool group_has(const struct group *group, pid_t pid);
unsigned group_count(const struct group *group);

/* A file by its name in version 1 and in version 2, NULL: there is none. */
uint64_t group_number(const struct group *group, const char *v1, const char *v2);
bool group_write(const struct group *group, const char *v1, const char *v2, uint64_t value);

uint64_t group_usage(const struct group *group);
uint64_t group_peak(const struct group *group);
uint64_t group_oom_kills(const struct group *group);
bool group_limit(const struct group *group, uint64_t bytes);

#endif
