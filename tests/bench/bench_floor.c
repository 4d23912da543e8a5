/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_floor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench_place.h"
#include "gm_cleanup.h"

/* Linux 6.3. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define HELD_MAX 8192

/* As many as gmemd takes from one peer in one turn. */
#define PACKETS_MAX 16

struct server {
	const struct bench_floor_spec *spec;
	unsigned n_held;
	int held[HELD_MAX];
	struct bench_packet packet;
};

/* What gmemd makes: the flags are part of the price. */
static int new_memory(const struct server *server)
{
	int fd = memfd_create("bench", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 || ftruncate(fd, (off_t)server->spec->region_size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		_exit(1);
	return fd;
}

static void send_with_fd(int socket, struct bench_packet *packet, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_level = SOL_SOCKET,
				  .cmsg_type = SCM_RIGHTS,
				  .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct iovec iov = { .iov_base = packet->bytes, .iov_len = packet->length };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control.bytes) };

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	if (sendmsg(socket, &message, MSG_NOSIGNAL) < 0)
		_exit(1);
}

static void grant(struct server *server, int socket)
{
	int fd = new_memory(server);

	if (server->n_held == HELD_MAX)
		_exit(1);
	server->held[server->n_held++] = fd;
	server->packet.length = server->spec->answer_length;
	send_with_fd(socket, &server->packet, fd);
}

static void let_go(struct server *server)
{
	while (server->n_held > 0)
		(void)close(server->held[--server->n_held]);
}

static void obey(struct server *server, int socket)
{
	struct bench_packet *packet = &server->packet;

	if (packet->bytes[0] == BENCH_FLOOR_GRANT) {
		grant(server, socket);
		return;
	}
	if (packet->bytes[0] == BENCH_FLOOR_LET_GO)
		let_go(server);
	if (send(socket, packet->bytes, packet->length, MSG_NOSIGNAL) < 0)
		_exit(1);
}

/* False: nothing is there. */
static bool take_one(struct server *server, int socket, int flags)
{
	struct bench_packet *packet = &server->packet;
	ssize_t n = recv(socket, packet->bytes, sizeof(packet->bytes), flags);

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0)
		_exit(0);
	packet->length = (size_t)n;
	obey(server, socket);
	return true;
}

static _Noreturn void serve_one(struct server *server, int socket)
{
	for (;;)
		(void)take_one(server, socket, 0);
}

static _Noreturn void serve_many(struct server *server)
{
	struct epoll_event events[BENCH_FLOOR_CLIENTS_MAX];
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	for (unsigned i = 0; i < server->spec->n_clients; i++) {
		int socket = BENCH_FIRST_FD + (int)i;
		struct epoll_event event = { .events = EPOLLIN, .data.fd = socket };

		if (epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event) < 0)
			_exit(1);
	}
	for (;;) {
		int n = epoll_wait(epoll, events, BENCH_FLOOR_CLIENTS_MAX, -1);

		for (int i = 0; i < n; i++)
			for (unsigned j = 0; j < PACKETS_MAX; j++)
				if (!take_one(server, events[i].data.fd, MSG_DONTWAIT))
					break;
	}
}

static _Noreturn void serve(const struct bench_floor_spec *spec)
{
	static struct server server;

	server.spec = spec;
	if (bench_pin(0, spec->cpu) < 0)
		_exit(1);
	if (spec->n_clients == 1)
		serve_one(&server, BENCH_FIRST_FD);
	serve_many(&server);
}

int bench_floor_start(const struct bench_floor_spec *spec, struct bench_floor *floor)
{
	int theirs[BENCH_FLOOR_CLIENTS_MAX];
	int r = 0;

	*floor = BENCH_FLOOR_NULL;
	while (floor->n_clients < spec->n_clients) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
			r = -errno;
			break;
		}
		floor->sockets[floor->n_clients] = pair[0];
		theirs[floor->n_clients++] = pair[1];
	}
	if (r == 0)
		floor->pid = fork();
	if (r == 0 && floor->pid == 0) {
		if (bench_keep_fds(theirs, spec->n_clients) < 0)
			_exit(1);
		serve(spec);
	}
	if (r == 0 && floor->pid < 0)
		r = -errno;
	for (unsigned i = 0; i < floor->n_clients; i++)
		gm_fd_close(theirs[i]);
	if (r < 0)
		bench_floor_stop(floor);
	return r;
}

void bench_floor_stop(struct bench_floor *floor)
{
	for (unsigned i = 0; i < floor->n_clients; i++)
		gm_fd_close(floor->sockets[i]);
	if (floor->pid > 0)
		(void)waitpid(floor->pid, NULL, 0);
	*floor = BENCH_FLOOR_NULL;
}

void bench_floor_request(enum bench_floor_want want, size_t length, struct bench_packet *packet)
{
	memset(packet->bytes, 0, length);
	packet->bytes[0] = (uint8_t)want;
	packet->length = length;
}

int bench_floor_let_go(const struct bench_floor *floor)
{
	struct bench_packet request, answer;

	bench_floor_request(BENCH_FLOOR_LET_GO, 1, &request);
	return bench_exchange(floor->sockets[0], &request, &answer, NULL, NULL);
}
