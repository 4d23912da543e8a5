/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a number fresh from the kernel a fd of this project: never one of stdio's.
 */
#ifndef GM_OWN_FD_H
#define GM_OWN_FD_H

#include "gm_fd.h"

/* Takes @fd, close-on-exec already, always: it is the fd returned, or closed. fd or -errno. */
GM_WARN_UNUSED static inline int gm_own_fd(int fd)
{
	int copy;

	if (fd > 2)
		return fd;
	copy = gm_fd_dup(fd);
	gm_fd_close(fd);
	return copy;
}

#endif
