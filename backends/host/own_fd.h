/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a number fresh from the kernel a fd of this project: close-on-exec and at least 3.
 */
#ifndef GM_OWN_FD_H
#define GM_OWN_FD_H

#include <errno.h>
#include <fcntl.h>

#include "gm_fd.h"

/* Takes @fd always: it is the fd returned, or closed. */
GM_WARN_UNUSED static inline int gm_own_fd(int fd)
{
	int copy;

	if (fd > 2) {
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
			return fd;
		copy = -errno;
	} else {
		copy = gm_fd_dup(fd);
	}
	gm_fd_close(fd);
	return copy;
}

#endif
