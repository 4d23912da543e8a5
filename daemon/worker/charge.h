/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a process into control groups. In the spawner, which keeps the privilege that this takes.
 */
#ifndef GM_CHARGE_H
#define GM_CHARGE_H

#include "cgroup.h"

/*
 * @place, @length: text of a struct gm_cgroup_place. Groups that the process is in already are left
 * alone, so that nobody needs a right that changes nothing. 0; -ENOENT: a group has been removed;
 * -EACCES, -EPERM: this process may not; or what the kernel says. After an error the process may be
 * in some of the groups.
 */
GM_WARN_UNUSED int gm_charge_move(const struct gm_cgroups *cgroups, const char *place,
				  size_t length, pid_t pid);

#endif
