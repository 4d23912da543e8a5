/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One packet with its fds over a SOCK_SEQPACKET socket. Knows nothing of event loops or verbs.
 */
#ifndef GM_SCM_H
#define GM_SCM_H

#include <stddef.h>
#include <stdint.h>

#include "gm_fdset.h"
#include "gm_num.h"

enum gm_scm_fault {
	GM_SCM_GOOD = 0,
	GM_SCM_CLOSED,	      /* end of file; also what a zero-length packet looks like */
	GM_SCM_TRUNCATED,     /* MSG_TRUNC: packet longer than the buffer */
	GM_SCM_FDS_TRUNCATED, /* MSG_CTRUNC: more fds than fit, or an LSM took some away */
	GM_SCM_FOREIGN,	      /* control data that is not one SCM_RIGHTS */
};

/*
 * Receives one packet into @buffer. Returns 0 or -errno (-EAGAIN when nothing is there and
 * @flags has MSG_DONTWAIT). On 0, *ret_fault says whether the packet may be used; when it may
 * not, every fd that came with it has been closed. fds are close-on-exec.
 * With @fds_allowed false no control buffer is given, so that the kernel discards fds
 * and reports GM_SCM_FDS_TRUNCATED.
 */
GM_WARN_UNUSED int gm_scm_receive(int socket, void *buffer, size_t size, int flags,
				  bool fds_allowed, size_t *ret_length, struct gm_fdset *ret_fds,
				  enum gm_scm_fault *ret_fault);

/*
 * Sends header and body as one packet with @n_fds borrowed fds. Never raises SIGPIPE.
 * Returns 0 or -errno (-EAGAIN with MSG_DONTWAIT and a full peer).
 */
GM_WARN_UNUSED int gm_scm_send(int socket, const void *header, size_t header_length,
			       const void *body, size_t body_length, const int *fds, size_t n_fds,
			       int flags);

/*
 * The same from a peer that may mean harm: no fd of its is closed but by @sink, so that none keeps
 * the caller waiting.
 */
GM_WARN_UNUSED int gm_scm_receive_from_stranger(int socket, void *buffer, size_t size, int flags,
						bool fds_allowed, const struct gm_fd_sink *sink,
						size_t *ret_length, struct gm_fdset *ret_fds,
						enum gm_scm_fault *ret_fault);

const char *gm_scm_fault_text(enum gm_scm_fault fault);

#endif
