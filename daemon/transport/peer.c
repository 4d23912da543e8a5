/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gm_fd.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* The kernel's own handle of the peer, since 6.5: no number that could mean another process. */
static int pidfd_of_peer(int socket)
{
	int fd = -1;
	socklen_t length = sizeof(fd);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &length) < 0)
		return -errno;
	return fd;
}

/*
 * Older kernels know the peer by number only. The number may belong to another process by now if
 * the peer died between connect(2) and here. That is harmless: watching a stranger ends the
 * connection at the stranger's death at the latest, and the end of the peer's socket ends it as
 * it would without any pidfd. A pid of 0 is a process outside our pid namespace.
 */
static int pidfd_of_number(pid_t pid)
{
	long fd;

	if (pid <= 0)
		return -ENOPROTOOPT;
	fd = syscall(SYS_pidfd_open, pid, 0);
	return fd < 0 ? -errno : (int)fd;
}

int gm_peer_identify(int socket, struct gm_conn_peer *ret_peer, int *ret_pidfd)
{
	struct ucred credentials;
	socklen_t length = sizeof(credentials);
	int pidfd;

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
		return -errno;

	pidfd = pidfd_of_peer(socket);
	if (pidfd == -ENOPROTOOPT)
		pidfd = pidfd_of_number(credentials.pid);
	/* Before 6.16 the kernel has no pidfd for a process that has been reaped: ESRCH or EINVAL.
	 */
	if (pidfd == -EINVAL)
		pidfd = -ESRCH;
	if (pidfd < 0 && pidfd != -ENOPROTOOPT && pidfd != -ENOSYS)
		return pidfd;

	ret_peer->pid = credentials.pid;
	ret_peer->uid = credentials.uid;
	ret_peer->gid = credentials.gid;
	ret_peer->has_pidfd = pidfd >= 0;
	*ret_pidfd = pidfd >= 0 ? pidfd : -1;
	return 0;
}
