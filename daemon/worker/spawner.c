/* SPDX-License-Identifier: Apache-2.0 */
#include "spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "gm_cleanup.h"
#include "spawner_process.h"

/* An orderly end takes a millisecond. */
#define STOP_PATIENCE_MS 2000

/* *ret_ours does not block. */
static int pair(int *ret_ours, int *ret_theirs)
{
	int fds[2];
	int saved;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0) {
		saved = errno;
		gm_fd_close(fds[0]);
		gm_fd_close(fds[1]);
		return -saved;
	}
	*ret_ours = fds[0];
	*ret_theirs = fds[1];
	return 0;
}

static int wait_for_start(int socket)
{
	struct pollfd pollfd = { .fd = socket, .events = POLLIN };
	struct gm_spawner_report report;
	ssize_t n;

	while (poll(&pollfd, 1, -1) < 0)
		if (errno != EINTR)
			return -errno;
	n = gm_channel_recv(socket, &report, sizeof(report), NULL, MSG_DONTWAIT);
	if (n < 0)
		return (int)n;
	return n == sizeof(report) ? report.error : -EPIPE;
}

int gm_spawner_start(const struct gm_spawner_config *config, struct gm_spawner *ret_spawner)
{
	_gm_close_ int ours = -1;
	_gm_close_ int theirs = -1;
	pid_t parent = getpid();
	pid_t pid;
	int r;

	r = pair(&ours, &theirs);
	if (r)
		return r;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		gm_spawner_process(config, theirs, parent);
	gm_fd_close(gm_take_fd(&theirs));
	r = wait_for_start(ours);
	if (r) {
		gm_fd_close(gm_take_fd(&ours));
		(void)waitpid(pid, NULL, 0);
		return r;
	}
	*ret_spawner = (struct gm_spawner){ .socket = gm_take_fd(&ours), .pid = pid };
	return 0;
}

static int ask(struct gm_spawner *spawner, enum gm_spawner_verb verb, uint64_t tag,
	       const struct gm_cgroup_place *place, bool alone, int fd)
{
	struct gm_spawner_request_packet packet;
	size_t size = offsetof(struct gm_spawner_request_packet, place);
	int r;

	if (spawner->socket < 0)
		return -EPIPE;
	memset(&packet, 0, size);
	packet.tag = tag;
	packet.verb = verb;
	packet.alone = alone;
	if (place != NULL) {
		packet.may_stay = place->may_stay;
		packet.n_place = place->length;
		memcpy(packet.place, place->text, place->length);
	}
	r = gm_channel_send(spawner->socket, &packet, size + packet.n_place, fd, MSG_DONTWAIT);
	return r == -ECONNRESET || r == -ENOTCONN ? -EPIPE : r;
}

static int request(struct gm_spawner *spawner, uint64_t tag, const struct gm_cgroup_place *place,
		   bool alone, int *ret_channel)
{
	_gm_close_ int ours = -1;
	_gm_close_ int theirs = -1;
	int r;

	r = pair(&ours, &theirs);
	if (r)
		return r;
	r = ask(spawner, GM_SPAWNER_START, tag, place, alone, theirs);
	if (r)
		return r;
	*ret_channel = gm_take_fd(&ours);
	return 0;
}

int gm_spawner_request(struct gm_spawner *spawner, uint64_t tag,
		       const struct gm_cgroup_place *place, int *ret_channel)
{
	return request(spawner, tag, place, /* alone= */ false, ret_channel);
}

int gm_spawner_request_alone(struct gm_spawner *spawner, uint64_t tag,
			     const struct gm_cgroup_place *place, int *ret_channel)
{
	return request(spawner, tag, place, /* alone= */ true, ret_channel);
}

int gm_spawner_kill(struct gm_spawner *spawner, uint64_t tag)
{
	return ask(spawner, GM_SPAWNER_KILL, tag, NULL, /* alone= */ false, -1);
}

int gm_spawner_read(struct gm_spawner *spawner, struct gm_spawner_report *ret_report)
{
	struct gm_spawner_report report;
	ssize_t n;

	if (spawner->socket < 0)
		return -EPIPE;
	n = gm_channel_recv(spawner->socket, &report, sizeof(report), NULL, MSG_DONTWAIT);
	if (n == -EAGAIN)
		return -EAGAIN;
	/* The end, or not our spawner any more: both are the end of it. */
	if (n != sizeof(report))
		return -EPIPE;
	*ret_report = report;
	return 0;
}

/* Its end of the socket closes when it dies; a stopped one keeps it. */
static bool is_ending(int socket)
{
	struct pollfd pollfd = { .fd = socket, .events = 0 };

	return poll(&pollfd, 1, STOP_PATIENCE_MS) > 0;
}

void gm_spawner_stop(struct gm_spawner *spawner)
{
	if (spawner->socket < 0)
		return;
	/* The spawner reads EOF; this end stays to see it close. */
	(void)shutdown(spawner->socket, SHUT_WR);
	if (is_ending(spawner->socket))
		(void)waitpid(spawner->pid, NULL, 0);
	gm_fd_close(spawner->socket);
	*spawner = GM_SPAWNER_NULL;
}
