/* SPDX-License-Identifier: Apache-2.0 */
#include "log_stderr.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gm_cleanup.h"
#include "gm_fd.h"

/* Lines that nobody has read since the last one that went out. */
static uint64_t n_dropped;

void gm_log_stderr_open(void)
{
	_gm_close_ int own = -1;
	struct stat st;

	/* Files do not block; a socket takes a flag with each packet; both cannot be opened anew.
	 */
	if (fstat(STDERR_FILENO, &st) < 0 || (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode)))
		return;
	own = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	/* Somebody else's pipe: stays as it is, and is only asked for room. */
	if (own >= 0)
		(void)dup2(own, STDERR_FILENO);
}

/* Of a pipe: for PIPE_BUF bytes at least. Somebody else may be faster than us; nobody waits long.
 */
static bool has_room(void)
{
	struct pollfd pollfd = { .fd = STDERR_FILENO, .events = POLLOUT };

	return poll(&pollfd, 1, 0) == 1 && (pollfd.revents & POLLOUT) != 0;
}

/* One call a line, so that lines of several processes do not mix. */
static bool put_line(char *line, size_t length)
{
	struct iovec iovec = { .iov_base = line, .iov_len = length };
	const struct msghdr message = { .msg_iov = &iovec, .msg_iovlen = 1 };
	ssize_t n = sendmsg(STDERR_FILENO, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno == ENOTSOCK && has_room())
		n = write(STDERR_FILENO, line, length);
	return n > 0;
}

void gm_log_stderr_write(char *line, size_t length)
{
	char lost[80];

	if (n_dropped > 0) {
		int n = snprintf(lost, sizeof(lost),
				 "gmemd: lines lost here because nobody read them: %" PRIu64 "\n",
				 n_dropped);

		if (!put_line(lost, (size_t)n)) {
			n_dropped++;
			return;
		}
		n_dropped = 0;
	}
	if (!put_line(line, length))
		n_dropped++;
}
