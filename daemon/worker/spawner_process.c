/* SPDX-License-Identifier: Apache-2.0 */
#include "spawner_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "charge.h"
#include "gm_fd.h"
#include "worker.h"

/* sysexits: "system error": what a worker that could not be set up ends with. */
#define EXIT_SETUP 71

#define SPAWNER_SOCKET 3

struct child {
	uint64_t tag;
	pid_t pid;
};

struct spawner {
	const struct gm_spawner_config *config;
	pid_t pid;
	int socket;
	int signals; /* signalfd of SIGCHLD */
	/* Bounded by gmemd's limit on workers. */
	struct child *children;
	size_t n_children;
	size_t children_size;
};

static int confine(int (*confine_fn)(void))
{
	return confine_fn ? confine_fn() : 0;
}

/* Takes the last moment into account in which the parent may have died before this call. */
static int die_with(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	return getppid() == parent ? 0 : -ESRCH;
}

/* @fd becomes @number, and nothing above it stays open. */
static int keep_only(int fd, int number)
{
	if (fd == number) {
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
			return -errno;
	} else if (dup3(fd, number, O_CLOEXEC) < 0) {
		return -errno;
	}
	return close_range((unsigned)number + 1, ~0U, 0) < 0 ? -errno : 0;
}

/* Nothing of this process may be charged to others: it waits until it is where it belongs. */
static void wait_at(int gate)
{
	char byte;

	while (read(gate, &byte, sizeof(byte)) < 0)
		if (errno != EINTR)
			_exit(EXIT_SETUP);
}

/*
 * Over the limit of a control group, or of the host, it is the worker that goes and is told of, not
 * the VMM, which is bigger. Needs the spawner's privilege, since the process is not dumpable.
 */
static void go_first(void)
{
	static const char most[] = "1000";
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, most, sizeof(most) - 1);
	gm_fd_close(fd);
}

static void worker_process(const struct spawner *spawner, int channel, const int gate[2],
			   bool alone)
{
	sigset_t none;

	(void)sigemptyset(&none);
	(void)prctl(PR_SET_NAME, "gmemd-worker");
	if (die_with(spawner->pid) || (alone && setpgid(0, 0) < 0))
		_exit(EXIT_SETUP);
	go_first();
	/* The spawner's end must not be open here: it says when there is nothing to wait for. */
	gm_fd_close(gate[1]);
	wait_at(gate[0]);
	if (sigprocmask(SIG_SETMASK, &none, NULL) < 0 || keep_only(channel, GM_WORKER_CHANNEL) ||
	    prctl(PR_SET_DUMPABLE, 0) < 0 || confine(spawner->config->confine_worker))
		_exit(EXIT_SETUP);
	_exit(gm_worker_main(GM_WORKER_CHANNEL));
}

static int report(const struct spawner *spawner, const struct gm_spawner_report *packet)
{
	return gm_channel_send(spawner->socket, packet, sizeof(*packet), -1, 0);
}

static int children_reserve(struct spawner *spawner)
{
	size_t size = spawner->children_size ? 2 * spawner->children_size : 16;
	struct child *children;

	if (spawner->n_children < spawner->children_size)
		return 0;
	children = reallocarray(spawner->children, size, sizeof(*children));
	if (!children)
		return -ENOMEM;
	spawner->children = children;
	spawner->children_size = size;
	return 0;
}

/* A child that waits at a gate. */
static int fork_worker(const struct spawner *spawner, int channel, const int gate[2], bool alone,
		       pid_t *ret_pid)
{
	pid_t pid = fork();

	if (pid == 0)
		worker_process(spawner, channel, gate, alone);
	if (pid < 0)
		return -errno;
	*ret_pid = pid;
	return 0;
}

/* 0, or why the worker must not run where it is. */
static int settle(const struct spawner *spawner, const struct gm_spawner_request_packet *request,
		  struct gm_spawner_report *packet)
{
	int r = 0;

	if (request->n_place > 0)
		r = spawner->config->cgroups == NULL
			    ? -EOPNOTSUPP
			    : gm_charge_move(spawner->config->cgroups, request->place,
					     request->n_place, packet->pid);
	packet->displaced = r;
	return request->may_stay ? 0 : r;
}

static int start_at(struct spawner *spawner, const struct gm_spawner_request_packet *request,
		    int channel, const int gate[2], struct gm_spawner_report *packet)
{
	pid_t pid;
	int r;

	r = fork_worker(spawner, channel, gate, request->alone, &pid);
	if (r)
		return r;
	packet->pid = pid;
	r = settle(spawner, request, packet);
	if (r) {
		/*
		 * It waits, and has done nothing. When it ends is up to the control group that it
		 * is in: nobody waits for that here, on_children() reaps it.
		 */
		(void)kill(pid, SIGKILL);
		packet->pid = 0;
		return r;
	}
	spawner->children[spawner->n_children++] =
		(struct child){ .tag = request->tag, .pid = pid };
	return 0;
}

static int start(struct spawner *spawner, const struct gm_spawner_request_packet *request,
		 int channel, struct gm_spawner_report *packet)
{
	int gate[2];
	int r;

	r = channel < 0 ? -EBADMSG : children_reserve(spawner);
	if (r)
		return r;
	if (pipe2(gate, O_CLOEXEC) < 0)
		return -errno;
	r = start_at(spawner, request, channel, gate, packet);
	gm_fd_close(gate[0]);
	/* Opens the gate. */
	gm_fd_close(gate[1]);
	return r;
}

static int start_and_report(struct spawner *spawner,
			    const struct gm_spawner_request_packet *request, int channel)
{
	struct gm_spawner_report packet = { .tag = request->tag };

	packet.error = start(spawner, request, channel, &packet);
	packet.born = packet.error == 0;
	/* Closed in this process before gmemd reads how it went. */
	gm_fd_close(channel);
	return report(spawner, &packet);
}

static void kill_child(const struct spawner *spawner, uint64_t tag)
{
	for (size_t i = 0; i < spawner->n_children; i++)
		if (spawner->children[i].tag == tag)
			/* Not reaped yet, so the number is still its own. */
			(void)kill(spawner->children[i].pid, SIGKILL);
}

/* 0, or nonzero when gmemd is gone. */
static int on_request(struct spawner *spawner)
{
	struct gm_spawner_request_packet packet;
	int fd = -1;
	ssize_t n;

	n = gm_channel_recv(spawner->socket, &packet, sizeof(packet), &fd, 0);
	if (n < (ssize_t)offsetof(struct gm_spawner_request_packet, place) ||
	    (size_t)n - offsetof(struct gm_spawner_request_packet, place) != packet.n_place) {
		if (n > 0)
			gm_fd_close(fd);
		return -EPIPE;
	}
	if (packet.verb == GM_SPAWNER_START)
		return start_and_report(spawner, &packet, fd);
	gm_fd_close(fd);
	kill_child(spawner, packet.tag);
	return 0;
}

static int reap(struct spawner *spawner, pid_t pid, int status)
{
	struct gm_spawner_report packet = { .pid = pid, .status = status };

	for (size_t i = 0; i < spawner->n_children; i++) {
		if (spawner->children[i].pid != pid)
			continue;
		packet.tag = spawner->children[i].tag;
		spawner->children[i] = spawner->children[--spawner->n_children];
		return report(spawner, &packet);
	}
	return 0;
}

static int on_children(struct spawner *spawner)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;
	int r = 0;

	/* One SIGCHLD may stand for many ends. */
	if (read(spawner->signals, &info, sizeof(info)) < 0 && errno != EAGAIN && errno != EINTR)
		return -errno;
	while (r == 0 && (pid = waitpid(-1, &status, WNOHANG)) > 0)
		r = reap(spawner, pid, status);
	return r;
}

static int run(struct spawner *spawner)
{
	struct pollfd pollfds[] = {
		{ .fd = spawner->socket, .events = POLLIN },
		{ .fd = spawner->signals, .events = POLLIN },
	};
	int r = 0;

	while (r == 0) {
		if (poll(pollfds, GM_ARRAY_SIZE(pollfds), -1) < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (pollfds[1].revents)
			r = on_children(spawner);
		if (r == 0 && pollfds[0].revents)
			r = on_request(spawner);
	}
	return r;
}

static int set_up_signals(int *ret_signals)
{
	static const int ignored[] = {
		SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGUSR1, SIGUSR2
	};
	sigset_t set;
	int fd;

	for (size_t i = 0; i < GM_ARRAY_SIZE(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	(void)signal(SIGCHLD, SIG_DFL);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_SETMASK, &set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	*ret_signals = fd;
	return 0;
}

/* stderr stays, for the last words of a failed assert; guest memory never gets a number below 3. */
static int set_up_std_fds(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	/* CLOEXEC means nothing here: neither process ever executes anything. */
	if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
	    (fcntl(STDERR_FILENO, F_GETFD) < 0 && dup2(null, STDERR_FILENO) < 0)) {
		gm_fd_close(null);
		return -errno;
	}
	if (null > STDERR_FILENO)
		gm_fd_close(null);
	return 0;
}

static int set_up(struct spawner *spawner, pid_t parent)
{
	int r;

	r = set_up_std_fds();
	if (r)
		return r;
	r = set_up_signals(&spawner->signals);
	if (r)
		return r;
	r = confine(spawner->config->confine_spawner);
	if (r)
		return r;
	/* After the confinement: giving up privileges can clear this setting (commit_creds). */
	return die_with(parent);
}

void gm_spawner_process(const struct gm_spawner_config *config, int socket, pid_t parent)
{
	struct spawner spawner = { .config = config, .pid = getpid(), .socket = SPAWNER_SOCKET };
	struct gm_spawner_report packet = { .pid = getpid() };

	(void)prctl(PR_SET_NAME, "gmemd-spawner");
	if (keep_only(socket, SPAWNER_SOCKET))
		_exit(EXIT_SETUP);
	packet.error = set_up(&spawner, parent);
	if (report(&spawner, &packet) || packet.error)
		_exit(EXIT_SETUP);
	(void)run(&spawner);
	_exit(EXIT_SUCCESS);
}
