/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets with fds. That no fd stays open when a packet is turned down is checked by the balance
 * around each case.
 */
#include "gm_test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gm_fd.h"
#include "gm_scm.h"

struct pair {
	int sender, receiver;
};

struct received {
	char bytes[64];
	size_t length;
	struct gm_fdset fds;
	enum gm_scm_fault fault;
};

static struct pair pair_open(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	return (struct pair){ fds[0], fds[1] };
}

static void pair_close(struct pair *pair)
{
	gm_fd_close(pair->sender);
	gm_fd_close(pair->receiver);
}

static int make_fd(void)
{
	int fd = memfd_create("t_scm", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static int receive(const struct pair *pair, bool fds_allowed, struct received *received)
{
	return gm_scm_receive(pair->receiver, received->bytes, sizeof(received->bytes),
			      MSG_DONTWAIT, fds_allowed, &received->length, &received->fds,
			      &received->fault);
}

/* Sends @length bytes with @n_fds copies of @fd, past all checks of gm_scm_send. */
static void send_raw(const struct pair *pair, size_t length, int fd, size_t n_fds)
{
	static char bytes[1024];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 32)];
	} control;
	struct iovec iov = { bytes, length };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	memset(&control, 0, sizeof(control));
	if (n_fds) {
		struct cmsghdr *c;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		for (size_t i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(fd), &fd, sizeof(fd));
	}
	assert_int_equal(sendmsg(pair->sender, &msg, 0), length);
}

ssize_t __real_recvmsg(int socket, struct msghdr *msg, int flags);
ssize_t __wrap_recvmsg(int socket, struct msghdr *msg, int flags);

static ssize_t (*recvmsg_instead)(struct msghdr *msg);

ssize_t __wrap_recvmsg(int socket, struct msghdr *msg, int flags)
{
	ssize_t (*instead)(struct msghdr *) = recvmsg_instead;

	recvmsg_instead = NULL;
	return instead ? instead(msg) : __real_recvmsg(socket, msg, flags);
}

static void a_packet_arrives_whole_with_its_fds_close_on_exec(void **state)
{
	struct pair pair = pair_open();
	struct received received;

	(void)state;
	for (size_t n = 0; n <= GM_FDSET_MAX; n++) {
		struct gm_fd_identity sent, got;
		int fds[GM_FDSET_MAX];

		for (size_t i = 0; i < n; i++)
			fds[i] = make_fd();
		assert_int_equal(gm_scm_send(pair.sender, "head", 4, "body!", 5, fds, n, 0), 0);
		assert_int_equal(receive(&pair, true, &received), 0);
		assert_int_equal(received.fault, GM_SCM_GOOD);
		assert_int_equal(received.length, 9);
		assert_memory_equal(received.bytes, "headbody!", 9);
		assert_int_equal(received.fds.n_fds, n);
		for (size_t i = 0; i < n; i++) {
			int fd = gm_fdset_peek(&received.fds, i);

			assert_int_equal(gm_fd_identify(fds[i], &sent), 0);
			assert_int_equal(gm_fd_identify(fd, &got), 0);
			assert_memory_equal(&sent, &got, sizeof(sent));
			assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
			gm_fd_close(fds[i]);
		}
		gm_fdset_done(&received.fds);
	}
	pair_close(&pair);
}

static void a_header_may_come_without_a_body(void **state)
{
	struct pair pair = pair_open();
	struct received received;

	(void)state;
	assert_int_equal(gm_scm_send(pair.sender, "head", 4, NULL, 0, NULL, 0, 0), 0);
	assert_int_equal(receive(&pair, true, &received), 0);
	assert_int_equal(received.fault, GM_SCM_GOOD);
	assert_int_equal(received.length, 4);
	pair_close(&pair);
}

static void the_end_of_the_peer_and_an_empty_packet_are_a_close(void **state)
{
	struct pair pair = pair_open();
	struct received received;
	int fd = make_fd();

	(void)state;
	send_raw(&pair, 0, fd, 1);
	gm_fd_close(fd);
	gm_fd_close(pair.sender);
	pair.sender = -1;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(receive(&pair, true, &received), 0);
		assert_int_equal(received.fault, GM_SCM_CLOSED);
		assert_int_equal(received.fds.n_fds, 0);
	}
	pair_close(&pair);
}

static void a_packet_longer_than_the_buffer_is_truncated_and_its_fds_closed(void **state)
{
	struct pair pair = pair_open();
	struct received received;
	int fd = make_fd();

	(void)state;
	send_raw(&pair, sizeof(received.bytes), fd, 0);
	send_raw(&pair, sizeof(received.bytes) + 1, fd, GM_FDSET_MAX);
	gm_fd_close(fd);
	assert_int_equal(receive(&pair, true, &received), 0);
	assert_int_equal(received.fault, GM_SCM_GOOD);
	assert_int_equal(receive(&pair, true, &received), 0);
	assert_int_equal(received.fault, GM_SCM_TRUNCATED);
	assert_int_equal(received.fds.n_fds, 0);
	pair_close(&pair);
}

static void more_fds_than_a_message_carries_are_all_closed(void **state)
{
	struct pair pair = pair_open();
	struct received received;
	int fd = make_fd();

	(void)state;
	for (size_t n = GM_FDSET_MAX + 1; n <= 32; n++) {
		send_raw(&pair, 1, fd, n);
		assert_int_equal(receive(&pair, true, &received), 0);
		assert_int_equal(received.fault, GM_SCM_FDS_TRUNCATED);
		assert_int_equal(received.fds.n_fds, 0);
	}
	gm_fd_close(fd);
	pair_close(&pair);
}

static void where_no_fds_are_allowed_the_kernel_drops_them(void **state)
{
	struct pair pair = pair_open();
	struct received received;
	int fd = make_fd();

	(void)state;
	send_raw(&pair, 1, fd, 1);
	send_raw(&pair, 1, fd, 0);
	gm_fd_close(fd);
	assert_int_equal(receive(&pair, false, &received), 0);
	assert_int_equal(received.fault, GM_SCM_FDS_TRUNCATED);
	assert_int_equal(receive(&pair, false, &received), 0);
	assert_int_equal(received.fault, GM_SCM_GOOD);
	pair_close(&pair);
}

static void credentials_are_foreign_and_the_fds_beside_them_closed(void **state)
{
	struct pair pair = pair_open();
	struct received received;
	int fd = make_fd(), on = 1;

	(void)state;
	assert_int_equal(setsockopt(pair.receiver, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	send_raw(&pair, 1, fd, 0);
	assert_int_equal(receive(&pair, true, &received), 0);
	assert_int_equal(received.fault, GM_SCM_FOREIGN);
	send_raw(&pair, 1, fd, 1);
	gm_fd_close(fd);
	assert_int_equal(receive(&pair, true, &received), 0);
	assert_int_not_equal(received.fault, GM_SCM_GOOD);
	assert_int_equal(received.fds.n_fds, 0);
	pair_close(&pair);
}

static ssize_t recvmsg_two_rights(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);

	for (int i = 0; i < 2; i++) {
		int fd = make_fd();

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
		c = (struct cmsghdr *)(void *)((char *)c + CMSG_SPACE(sizeof(fd)));
	}
	msg->msg_controllen = 2 * CMSG_SPACE(sizeof(int));
	msg->msg_flags = 0;
	return 1;
}

static void two_sets_of_fds_are_foreign_and_both_closed(void **state)
{
	struct pair pair = pair_open();
	struct received received;

	(void)state;
	recvmsg_instead = recvmsg_two_rights;
	assert_int_equal(receive(&pair, true, &received), 0);
	assert_int_equal(received.fault, GM_SCM_FOREIGN);
	assert_int_equal(received.fds.n_fds, 0);
	pair_close(&pair);
}

static ssize_t recvmsg_interrupted(struct msghdr *msg)
{
	(void)msg;
	errno = EINTR;
	return -1;
}

static void a_signal_does_not_end_a_receive(void **state)
{
	struct pair pair = pair_open();
	struct received received;

	(void)state;
	assert_int_equal(gm_scm_send(pair.sender, "x", 1, NULL, 0, NULL, 0, 0), 0);
	recvmsg_instead = recvmsg_interrupted;
	assert_int_equal(receive(&pair, true, &received), 0);
	assert_int_equal(received.length, 1);
	pair_close(&pair);
}

static void nothing_there_is_no_fault(void **state)
{
	struct pair pair = pair_open();
	struct received received;

	(void)state;
	assert_int_equal(receive(&pair, true, &received), -EAGAIN);
	pair_close(&pair);
	assert_int_equal(receive(&pair, true, &received), -EBADF);
}

static void a_peer_that_does_not_read_does_not_block_the_sender(void **state)
{
	struct pair pair = pair_open();
	int r;

	(void)state;
	do {
		r = gm_scm_send(pair.sender, "head", 4, NULL, 0, NULL, 0, MSG_DONTWAIT);
	} while (r == 0);
	assert_int_equal(r, -EAGAIN);
	pair_close(&pair);
}

static void a_peer_that_has_gone_is_an_error_and_not_a_signal(void **state)
{
	struct pair pair = pair_open();

	(void)state;
	/* Whoever started this program may have ignored it. */
	signal(SIGPIPE, SIG_DFL);
	gm_fd_close(pair.receiver);
	pair.receiver = -1;
	assert_int_equal(gm_scm_send(pair.sender, "head", 4, NULL, 0, NULL, 0, 0), -EPIPE);
	pair_close(&pair);
}

static void more_fds_than_a_message_carries_are_not_sent(void **state)
{
	struct pair pair = pair_open();
	struct received received;
	int fds[GM_FDSET_MAX + 1] = { 0 };

	(void)state;
	assert_int_equal(gm_scm_send(pair.sender, "head", 4, NULL, 0, fds, GM_FDSET_MAX + 1, 0),
			 -E2BIG);
	assert_int_equal(receive(&pair, true, &received), -EAGAIN);
	pair_close(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_packet_arrives_whole_with_its_fds_close_on_exec),
		gm_test(a_header_may_come_without_a_body),
		gm_test(the_end_of_the_peer_and_an_empty_packet_are_a_close),
		gm_test(a_packet_longer_than_the_buffer_is_truncated_and_its_fds_closed),
		gm_test(more_fds_than_a_message_carries_are_all_closed),
		gm_test(where_no_fds_are_allowed_the_kernel_drops_them),
		gm_test(credentials_are_foreign_and_the_fds_beside_them_closed),
		gm_test(two_sets_of_fds_are_foreign_and_both_closed),
		gm_test(a_signal_does_not_end_a_receive),
		gm_test(nothing_there_is_no_fault),
		gm_test(a_peer_that_does_not_read_does_not_block_the_sender),
		gm_test(a_peer_that_has_gone_is_an_error_and_not_a_signal),
		gm_test(more_fds_than_a_message_carries_are_not_sent),
	};

	return gm_test_run("scm", tests, GM_ARRAY_SIZE(tests));
}
