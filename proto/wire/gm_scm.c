/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_scm.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "gm_fd.h"

/*
 * Room for one SCM_RIGHTS of GM_FDSET_MAX fds. Alignment may make room for one more: what arrived
 * is counted from the length of the control message, never inferred from the size of the buffer.
 */
union scm_control {
	struct cmsghdr align;
	unsigned char bytes[CMSG_SPACE(sizeof(int) * GM_FDSET_MAX)];
};

/*
 * Room for all fds that a packet can bring (SCM_MAX_FD): what finds no room the kernel closes, and
 * whoever receives waits for that.
 */
#define SCM_FDS_MOST 253
union scm_wide_control {
	struct cmsghdr align;
	unsigned char bytes[CMSG_SPACE(sizeof(int) * SCM_FDS_MOST)];
};

/* Takes the fds of one SCM_RIGHTS; false if one found no room (it is closed then). */
static bool scm_take_rights(const struct cmsghdr *control, struct gm_fdset *fds,
			    const struct gm_fd_sink *sink)
{
	const unsigned char *data = CMSG_DATA(control);
	size_t n_fds = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	bool all = true;

	for (size_t i = 0; i < n_fds; i++) {
		int fd;

		memcpy(&fd, data + i * sizeof(fd), sizeof(fd));
		if (gm_fdset_add(fds, fd) == 0)
			continue;
		gm_fd_sink(sink, fd);
		all = false;
	}
	return all;
}

/* Takes every fd that arrived, whatever came with it, so that none is lost. */
static enum gm_scm_fault scm_take_control(struct msghdr *msg, struct gm_fdset *fds,
					  const struct gm_fd_sink *sink)
{
	enum gm_scm_fault fault = GM_SCM_GOOD;
	bool seen = false;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
			fault = GM_SCM_FOREIGN;
			continue;
		}
		if (!scm_take_rights(c, fds, sink))
			fault = GM_SCM_FDS_TRUNCATED;
		if (seen)
			fault = GM_SCM_FOREIGN;
		seen = true;
	}
	return fault;
}

/* @msg has room for control data, or none. */
static int scm_receive(int socket, struct msghdr *msg, int flags, bool fds_allowed,
		       const struct gm_fd_sink *sink, size_t *ret_length, struct gm_fdset *ret_fds,
		       enum gm_scm_fault *ret_fault)
{
	struct gm_fdset fds;
	enum gm_scm_fault fault;
	ssize_t length;

	fds.n_fds = 0;
	do {
		length = recvmsg(socket, msg, flags | MSG_CMSG_CLOEXEC);
	} while (length < 0 && errno == EINTR);
	if (length < 0)
		return -errno;

	fault = scm_take_control(msg, &fds, sink);
	if (length == 0)
		fault = GM_SCM_CLOSED;
	else if (msg->msg_flags & MSG_TRUNC)
		fault = GM_SCM_TRUNCATED;
	else if (msg->msg_flags & MSG_CTRUNC || (!fds_allowed && fds.n_fds > 0))
		fault = GM_SCM_FDS_TRUNCATED;
	if (fault != GM_SCM_GOOD)
		gm_fdset_sink(&fds, sink);
	*ret_length = (size_t)length;
	*ret_fds = fds;
	*ret_fault = fault;
	return 0;
}

int gm_scm_receive(int socket, void *buffer, size_t size, int flags, bool fds_allowed,
		   size_t *ret_length, struct gm_fdset *ret_fds, enum gm_scm_fault *ret_fault)
{
	static const struct gm_fd_sink plain = { 0 };
	union scm_control control;
	struct iovec iov = { .iov_base = buffer, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fds_allowed) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
	}
	return scm_receive(socket, &msg, flags, fds_allowed, &plain, ret_length, ret_fds,
			   ret_fault);
}

int gm_scm_receive_from_stranger(int socket, void *buffer, size_t size, int flags, bool fds_allowed,
				 const struct gm_fd_sink *sink, size_t *ret_length,
				 struct gm_fdset *ret_fds, enum gm_scm_fault *ret_fault)
{
	union scm_wide_control control;
	struct iovec iov = { .iov_base = buffer, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };

	return scm_receive(socket, &msg, flags, fds_allowed, sink, ret_length, ret_fds, ret_fault);
}

static void scm_put_fds(struct msghdr *msg, union scm_control *control, const int *fds,
			size_t n_fds)
{
	struct cmsghdr *c = &control->align;

	msg->msg_control = control->bytes;
	msg->msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
}

int gm_scm_send(int socket, const void *header, size_t header_length, const void *body,
		size_t body_length, const int *fds, size_t n_fds, int flags)
{
	union scm_control control;
	struct iovec iov[2] = {
		{ .iov_base = (void *)header, .iov_len = header_length },
		{ .iov_base = (void *)body, .iov_len = body_length },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = body_length ? 2 : 1 };
	ssize_t length;

	if (n_fds > GM_FDSET_MAX)
		return -E2BIG;
	if (n_fds)
		scm_put_fds(&msg, &control, fds, n_fds);
	do {
		length = sendmsg(socket, &msg, flags | MSG_NOSIGNAL);
	} while (length < 0 && errno == EINTR);
	/* A packet goes whole or not at all: unix_dgram_sendmsg(). */
	return length < 0 ? -errno : 0;
}

const char *gm_scm_fault_text(enum gm_scm_fault fault)
{
	switch (fault) {
	case GM_SCM_GOOD:
		return "good packet";
	case GM_SCM_CLOSED:
		return "closed by the peer";
	case GM_SCM_TRUNCATED:
		return "packet is longer than any message";
	case GM_SCM_FDS_TRUNCATED:
		return "file descriptors were cut off or not allowed";
	case GM_SCM_FOREIGN:
		return "control data is not one set of file descriptors";
	}
	return "unknown packet fault";
}
