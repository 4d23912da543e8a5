/* SPDX-License-Identifier: Apache-2.0 */
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gm_cleanup.h"
#include "gm_fd.h"

struct guard {
	struct gm_guards *guards;
	struct gm_session *session;
	int pidfd;
	struct gm_watch *watch; /* of the pidfd; NULL: there is none */
	TAILQ_ENTRY(guard) link;
};

struct gm_guards {
	struct gm_loop_ref loop;
	void (*end)(void *arg, struct gm_session *session);
	void *arg;
	struct gm_watch *patience;
	TAILQ_HEAD(, guard) list;
};

static void guard_free(struct guard *guard)
{
	TAILQ_REMOVE(&guard->guards->list, guard, link);
	guard->guards->loop.ops->watch_free(guard->watch);
	gm_fd_close(guard->pidfd);
	free(guard);
}

static void end(struct guard *guard)
{
	struct gm_guards *guards = guard->guards;
	struct gm_session *session = guard->session;

	guard_free(guard);
	guards->end(guards->arg, session);
}

static void on_exit_of_peer(void *arg)
{
	end(arg);
}

static void on_patience_over(void *arg)
{
	struct gm_guards *guards = arg;
	struct guard *guard = TAILQ_FIRST(&guards->list);

	while (guard != NULL) {
		struct guard *next = TAILQ_NEXT(guard, link);

		if (guard->watch == NULL)
			end(guard);
		guard = next;
	}
}

int gm_guards_new(struct gm_loop_ref loop, void (*end_session)(void *, struct gm_session *),
		  void *arg, struct gm_guards **ret_guards)
{
	struct gm_guards *guards = calloc(1, sizeof(*guards));
	int r;

	if (guards == NULL)
		return -ENOMEM;
	guards->loop = loop;
	guards->end = end_session;
	guards->arg = arg;
	TAILQ_INIT(&guards->list);
	r = loop.ops->timer_new(loop.loop, on_patience_over, guards, &guards->patience);
	if (r < 0) {
		free(guards);
		return r;
	}
	loop.ops->timer_set(guards->patience, GM_GUARD_WAIT_MS);
	*ret_guards = guards;
	return 0;
}

void gm_guards_free(struct gm_guards *guards)
{
	struct guard *guard;

	if (guards == NULL)
		return;
	while ((guard = TAILQ_FIRST(&guards->list)) != NULL)
		guard_free(guard);
	guards->loop.ops->watch_free(guards->patience);
	free(guards);
}

int gm_guards_add(struct gm_guards *guards, struct gm_session *session, int pidfd)
{
	struct guard *guard = calloc(1, sizeof(*guard));
	int r = 0;

	if (guard == NULL)
		return -ENOMEM;
	guard->guards = guards;
	guard->session = session;
	if (pidfd >= 0)
		r = guards->loop.ops->watch_read(guards->loop.loop, pidfd, on_exit_of_peer, guard,
						 &guard->watch);
	if (r < 0) {
		free(guard);
		return r;
	}
	guard->pidfd = pidfd;
	TAILQ_INSERT_TAIL(&guards->list, guard, link);
	return 0;
}

static bool is_alive(const struct guard *guard)
{
	struct pollfd polled = { .fd = guard->pidfd, .events = POLLIN };

	return guard->pidfd >= 0 && poll(&polled, 1, 0) == 0;
}

bool gm_guards_forget(struct gm_guards *guards, const struct gm_session *session)
{
	struct guard *guard;

	TAILQ_FOREACH(guard, &guards->list, link) {
		if (guard->session == session) {
			bool alive = is_alive(guard);

			guard_free(guard);
			return alive;
		}
	}
	return false;
}

int gm_guards_pidfd(const struct gm_guards *guards, const struct gm_session *session)
{
	const struct guard *guard;

	TAILQ_FOREACH(guard, &guards->list, link)
		if (guard->session == session)
			return guard->pidfd;
	return -1;
}

bool gm_guard_is_gone(pid_t pid)
{
	/* 0: it is in another pid namespace. */
	return pid > 0 && kill(pid, 0) < 0 && errno == ESRCH;
}

/* "Pid:" of a pidfd; -1 once the process has been reaped, 0 in another pid namespace. */
bool gm_guard_is_pidfd(int fd, pid_t pid)
{
	char path[64], text[512];
	_gm_close_ int info = -1;
	const char *line;
	ssize_t n;
	long found;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return false;
	n = read(info, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	line = strstr(text, "\nPid:");
	if (line == NULL)
		return false;
	found = strtol(line + strlen("\nPid:"), NULL, 10);
	return found == -1 || found == (long)pid;
}
