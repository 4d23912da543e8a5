/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The systemd unit that a client's process belongs to, by its cgroup: what an operator looks for.
 */
#ifndef GM_PEER_UNIT_H
#define GM_PEER_UNIT_H

#include <sys/types.h>

#include "gm_num.h"

#define GM_PEER_UNIT_MAX 257 /* the longest name of a unit and its NUL */

/*
 * @pidfd: of the same process, or -1 when there is none. 0; -ESRCH when the process has gone: its
 * number may be another's by now; or -errno where there is no unit.
 */
GM_WARN_UNUSED int gm_peer_unit(pid_t pid, int pidfd, char ret_unit[GM_PEER_UNIT_MAX]);

#endif
