/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One packet with at most one fd, between gmemd, its spawner and its workers. All ends run the
 * same build, but a worker may have been taken over: what it sends never carries an fd in, because
 * gmemd reads with gm_channel_recv and no place for one.
 */
#ifndef GM_CHANNEL_H
#define GM_CHANNEL_H

#include <sys/types.h>

#include "gm_num.h"

/*
 * @fd is borrowed; -1: none. @flags: MSG_DONTWAIT or 0. 0 or -errno; -EPIPE and -ECONNRESET when
 * the peer is gone. Never raises SIGPIPE. Repeats after EINTR.
 */
GM_WARN_UNUSED int gm_channel_send(int channel, const void *packet, size_t size, int fd, int flags);

/*
 * Returns the packet's bytes, 0 at the end, or -errno. *ret_fd, which the caller owns, is -1 when
 * no fd came along; with @ret_fd NULL the kernel drops what comes. A packet that is longer than
 * @size or carries more than one fd is -EBADMSG, and its fds are closed.
 *
 * -ECONNRESET is not passed on: when a peer closes its end with packets unread, the kernel gives
 * that error once and before what the peer had sent (unix_release_sock, __skb_try_recv_datagram).
 */
GM_WARN_UNUSED ssize_t gm_channel_recv(int channel, void *packet, size_t size, int *ret_fd,
				       int flags);

#endif
