/* SPDX-License-Identifier: Apache-2.0 */
#include "listener.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "gm_cleanup.h"

/* Connections that may wait to be accepted; the kernel cuts it to net.core.somaxconn. */
#define GM_BACKLOG 1024

static int address_of(const char *path, struct sockaddr_un *ret_address)
{
	size_t length = strlen(path);

	if (length == 0)
		return -EINVAL;
	if (length >= sizeof(ret_address->sun_path))
		return -ENAMETOOLONG;
	memset(ret_address, 0, sizeof(*ret_address));
	ret_address->sun_family = AF_UNIX;
	memcpy(ret_address->sun_path, path, length);
	return 0;
}

/*
 * Only ECONNREFUSED says that nobody listens. EAGAIN is a full backlog and EPROTOTYPE another
 * type of socket: both are alive.
 */
static bool is_stale(const struct sockaddr_un *address)
{
	_gm_close_ int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (probe < 0 || lstat(address->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	return connect(probe, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
	       errno == ECONNREFUSED;
}

static int bind_replacing_stale(int fd, const struct sockaddr_un *address)
{
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return -errno;
	if (!is_stale(address))
		return -EADDRINUSE;
	if (unlink(address->sun_path) < 0 && errno != ENOENT)
		return -errno;
	return bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
}

int gm_listen_at(const char *path, mode_t mode, int *ret_socket)
{
	_gm_close_ int fd = -1;
	struct sockaddr_un address;
	mode_t umask_before;
	int error = address_of(path, &address);

	if (error)
		return error;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;

	/*
	 * bind(2) makes the file with the mode of the socket's own inode, less the umask
	 * (unix_bind_bsd in net/unix/af_unix.c): it never has any other mode than this one.
	 */
	if (fchmod(fd, mode & 0777) < 0)
		return -errno;
	umask_before = umask(0);
	error = bind_replacing_stale(fd, &address);
	umask(umask_before);
	if (error)
		return error;

	if (listen(fd, GM_BACKLOG) < 0) {
		error = -errno;
		(void)unlink(path);
		return error;
	}
	*ret_socket = gm_take_fd(&fd);
	return 0;
}

static int socket_option(int fd, int option, int *ret_value)
{
	socklen_t length = sizeof(*ret_value);

	return getsockopt(fd, SOL_SOCKET, option, ret_value, &length) < 0 ? -errno : 0;
}

int gm_check_listening(int fd)
{
	int domain = -1, type = -1, listening = 0;
	int error = socket_option(fd, SO_DOMAIN, &domain);

	if (!error)
		error = socket_option(fd, SO_TYPE, &type);
	if (!error)
		error = socket_option(fd, SO_ACCEPTCONN, &listening);
	if (error)
		return error;
	if (domain != AF_UNIX)
		return -EAFNOSUPPORT;
	if (type != SOCK_SEQPACKET)
		return -EPROTOTYPE;
	return listening ? 0 : -EINVAL;
}

bool gm_is_bound_to(int fd, const char *path)
{
	struct sockaddr_un wanted, bound = { 0 };
	/* One byte is left: a path as long as sun_path has no end of its own. */
	socklen_t length = sizeof(bound) - 1;

	return address_of(path, &wanted) == 0 &&
	       getsockname(fd, (struct sockaddr *)&bound, &length) == 0 &&
	       bound.sun_family == AF_UNIX && strcmp(bound.sun_path, wanted.sun_path) == 0;
}
