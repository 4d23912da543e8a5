/* SPDX-License-Identifier: Apache-2.0 */
#include "log_journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "gm_fd.h"

/* A process has one log. The socket is not connected: journald may be another one later. */
static struct {
	int socket;
	struct sockaddr_un address;
	uint64_t n_dropped;
} journal = { .socket = -1 };

int gm_log_journal_open(const char *path)
{
	int n;

	journal.address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	n = snprintf(journal.address.sun_path, sizeof(journal.address.sun_path), "%s", path);
	if (n >= (int)sizeof(journal.address.sun_path))
		return -ENAMETOOLONG;
	if (journal.socket < 0)
		journal.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return journal.socket < 0 ? -errno : 0;
}

/* -EAGAIN: nobody has read for so long that there is no room. */
static int put_entry(const char *lines, size_t length)
{
	struct iovec iovec = { .iov_base = (void *)lines, .iov_len = length };
	const struct msghdr message = {
		.msg_name = &journal.address,
		.msg_namelen = sizeof(journal.address),
		.msg_iov = &iovec,
		.msg_iovlen = 1,
	};

	return sendmsg(journal.socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int put_dropped(void)
{
	char lines[160];
	int n = snprintf(lines, sizeof(lines),
			 "PRIORITY=4\nSYSLOG_IDENTIFIER=gmemd\n"
			 "MESSAGE=lines lost here because nobody read them: %" PRIu64 "\n",
			 journal.n_dropped);

	return put_entry(lines, (size_t)n);
}

/* Of a queue, and of the memory of sockets. */
static bool is_full(int error)
{
	return error == -EAGAIN || error == -ENOBUFS || error == -ENOMEM;
}

int gm_log_journal_write(const char *lines, size_t length)
{
	int r = 0;

	if (journal.n_dropped > 0)
		r = put_dropped();
	if (r == 0) {
		journal.n_dropped = 0;
		r = put_entry(lines, length);
	}
	if (!is_full(r))
		return r;
	journal.n_dropped++;
	return 0;
}
