/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

void gm_fd_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		(void)close(fd);
	errno = saved;
}

int gm_fd_dup(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

int gm_fd_identify(int fd, struct gm_fd_identity *ret_identity)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_identity = (struct gm_fd_identity){
		.device = st.st_dev,
		.inode = st.st_ino,
		.size = (uint64_t)st.st_size,
	};
	return 0;
}
