/* SPDX-License-Identifier: Apache-2.0 */
#include "channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "gm_fd.h"

/* CMSG_SPACE of one fd is padded and holds two on 64-bit machines: count what came. */
#define CONTROL_FDS_MAX 2

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int gm_channel_send(int channel, const void *packet, size_t size, int fd, int flags)
{
	struct iovec iov = { .iov_base = (void *)packet, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control control;
	ssize_t n;

	if (fd >= 0) {
		memset(&control, 0, sizeof(control));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	do
		n = sendmsg(channel, &msg, flags | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static size_t control_fds(struct msghdr *msg, int *fds)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(msg);
	size_t n;

	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return 0;
	n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	if (n > CONTROL_FDS_MAX)
		n = CONTROL_FDS_MAX;
	memcpy(fds, CMSG_DATA(header), n * sizeof(int));
	return n;
}

static ssize_t recv_once(int channel, void *packet, size_t size, int *ret_fd, int flags)
{
	struct iovec iov = { .iov_base = packet, .iov_len = size };
	union control control;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[CONTROL_FDS_MAX] = { -1, -1 };
	size_t n_fds;
	ssize_t n;

	if (ret_fd) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	n = recvmsg(channel, &msg, flags | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	n_fds = ret_fd ? control_fds(&msg, fds) : 0;
	if (n_fds > 1 || (msg.msg_flags & (MSG_TRUNC | (ret_fd ? MSG_CTRUNC : 0)))) {
		gm_fd_close(fds[0]);
		gm_fd_close(fds[1]);
		return -EBADMSG;
	}
	if (ret_fd)
		*ret_fd = fds[0];
	return n;
}

ssize_t gm_channel_recv(int channel, void *packet, size_t size, int *ret_fd, int flags)
{
	ssize_t n;

	do
		n = recv_once(channel, packet, size, ret_fd, flags);
	while (n == -EINTR || n == -ECONNRESET);
	return n;
}
