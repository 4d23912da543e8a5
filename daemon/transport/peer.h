/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is at the other end of a connection, as the kernel says. For the files of this folder only.
 */
#ifndef GM_PEER_H
#define GM_PEER_H

#include "listener.h"

/*
 * Credentials as of connect(2), and a pidfd of the process that called it: -1 in *ret_pidfd where
 * the kernel has no way to get one that is certain. 0; -ESRCH when the process is gone already;
 * or -errno.
 */
GM_WARN_UNUSED int gm_peer_identify(int socket, struct gm_conn_peer *ret_peer, int *ret_pidfd);

#endif
