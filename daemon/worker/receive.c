/* SPDX-License-Identifier: Apache-2.0 */
#include "receive.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "backend.h"
#include "channel.h"
#include "job.h"

/*
 * All that a packet can bring (SCM_MAX_FD): what finds no room the kernel lets go of in recvmsg(2),
 * before anybody could be told that it came.
 */
#define FDS_MOST 253

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(FDS_MOST * sizeof(int))];
};

/*
 * A file that lets go of whoever has it, whatever its owner wants: the kernel's own memory. Only
 * files of shmem and hugetlbfs have seals (memfd_file_seals_ptr).
 */
static bool is_memory(int fd)
{
	return fcntl(fd, F_GET_SEALS) >= 0 || gm_is_guest_memfd(fd);
}

/* The only fd of the packet, or -EBADMSG. */
static int fd_of(struct msghdr *msg)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(msg);
	int fd;

	if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
	    header->cmsg_len != CMSG_LEN(sizeof(fd)) || msg->msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return -EBADMSG;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

/* The fd that came, or -errno. */
static int take(int box)
{
	union control control;
	char bytes[16];
	struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t n;
	int fd;

	do
		n = recvmsg(box, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0 && CMSG_FIRSTHDR(&msg) == NULL)
		return -EPIPE;
	fd = fd_of(&msg);
	return fd < 0 || is_memory(fd) ? fd : -EBADF;
}

/* False: gmemd wants it no more. */
static bool wait_for(int box, int channel)
{
	struct pollfd polled[] = {
		{ .fd = box, .events = POLLIN },
		{ .fd = channel, .events = POLLIN },
	};

	while (poll(polled, GM_ARRAY_SIZE(polled), -1) < 0)
		if (errno != EINTR)
			return false;
	return polled[1].revents == 0;
}

void gm_receive_run(uint64_t job, int box, int channel)
{
	struct gm_job_report report = { .job = job };
	int fd;

	if (gm_channel_send(channel, &report, gm_job_report_size(&report), -1, 0) != 0 ||
	    !wait_for(box, channel))
		return;
	fd = take(box);
	report.last = true;
	report.error = fd < 0 ? fd : 0;
	/* Where it cannot be told, nobody is left to be told. */
	(void)!gm_channel_send(channel, &report, gm_job_report_size(&report), fd, 0);
}
