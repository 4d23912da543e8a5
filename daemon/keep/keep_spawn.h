/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts this program anew, or what has been installed in its place, with the sockets and the
 * stored fds passed on as sd_listen_fds(3) says.
 */
#ifndef GM_KEEP_SPAWN_H
#define GM_KEEP_SPAWN_H

#include <sys/types.h>

#include "keep.h"
#include "keep_fds.h"

struct gm_keep_order {
	const struct gm_keep_config *config;
	const struct gm_keep_fds *fds;
	const char *program; /* path of this program when the keeper was started */
	const char *notify_path;
	uint32_t watchdog_ms; /* 0: none */
};

/* Bytes that the sockets' names take in LISTEN_FDNAMES. */
size_t gm_keep_names_length(const struct gm_keep_config *config);

/*
 * 0 and the process, which is to be waited for, with a pidfd of it; or -errno. An exec that fails
 * shows as exit status 127.
 */
GM_WARN_UNUSED int gm_keep_spawn(const struct gm_keep_order *order, pid_t *ret_pid, int *ret_pidfd);

#endif
