/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File descriptors: closing, copying, and telling what one is.
 *
 * Every fd of this project is close-on-exec from birth and at least 3.
 */
#ifndef GM_FD_H
#define GM_FD_H

#include <stdint.h>
#include <sys/types.h>

#include "gm_num.h"

/* Closes @fd if it is one (>= 0). Keeps errno. EINTR is not retried: Linux has closed it. */
void gm_fd_close(int fd);

/* Close-on-exec copy, at least 3. The caller owns it. Returns the fd or -errno. */
GM_WARN_UNUSED int gm_fd_dup(int fd);

/* Fills @buffer as far as the file goes. 0 or -errno. */
GM_WARN_UNUSED int gm_fd_read_all(int fd, void *buffer, size_t size, size_t *ret_length);

/* What makes an open file the same open file again after a restart. */
struct gm_fd_identity {
	uint64_t device;
	uint64_t inode;
	uint64_t size;
};

/* Returns 0 or -errno. */
GM_WARN_UNUSED int gm_fd_identify(int fd, struct gm_fd_identity *ret_identity);

#endif
