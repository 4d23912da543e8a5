/* SPDX-License-Identifier: Apache-2.0 */
#include "poll_loop.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>

#define WATCHES_MAX 256

struct gm_watch {
	struct poll_loop *loop;
	gm_watch_fn fn;
	void *arg;
	int fd;	      /* -1: a timer */
	uint64_t due; /* of a timer; 0: not armed */
	TAILQ_ENTRY(gm_watch) link;
};

struct poll_loop {
	TAILQ_HEAD(, gm_watch) watches;
	uint64_t changes; /* of the list: what a round has collected may be gone */
};

uint64_t poll_loop_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int watch_new(void *arg, int fd, gm_watch_fn fn, void *fn_arg, struct gm_watch **ret_watch)
{
	struct poll_loop *loop = arg;
	struct gm_watch *watch = calloc(1, sizeof(*watch));

	assert(watch);
	*watch = (struct gm_watch){ .loop = loop, .fn = fn, .arg = fn_arg, .fd = fd };
	TAILQ_INSERT_TAIL(&loop->watches, watch, link);
	loop->changes++;
	*ret_watch = watch;
	return 0;
}

static int watch_read(void *loop, int fd, gm_watch_fn fn, void *arg, struct gm_watch **ret_watch)
{
	return watch_new(loop, fd, fn, arg, ret_watch);
}

static int timer_new(void *loop, gm_watch_fn fn, void *arg, struct gm_watch **ret_watch)
{
	return watch_new(loop, -1, fn, arg, ret_watch);
}

static void timer_set(struct gm_watch *timer, uint64_t ms)
{
	timer->due = poll_loop_now() + ms;
}

static void watch_free(struct gm_watch *watch)
{
	if (!watch)
		return;
	watch->loop->changes++;
	TAILQ_REMOVE(&watch->loop->watches, watch, link);
	free(watch);
}

static uint64_t now_ms(void *loop)
{
	(void)loop;
	return poll_loop_now();
}

static const struct gm_loop_ops ops = {
	.watch_read = watch_read,
	.timer_new = timer_new,
	.timer_set = timer_set,
	.watch_free = watch_free,
	.now_ms = now_ms,
};

struct poll_loop *poll_loop_new(void)
{
	struct poll_loop *loop = calloc(1, sizeof(*loop));

	assert(loop);
	TAILQ_INIT(&loop->watches);
	return loop;
}

void poll_loop_free(struct poll_loop *loop)
{
	assert(TAILQ_EMPTY(&loop->watches));
	free(loop);
}

struct gm_loop_ref poll_loop_ref(struct poll_loop *loop)
{
	return (struct gm_loop_ref){ .ops = &ops, .loop = loop };
}

static void run_timers(struct poll_loop *loop)
{
	struct gm_watch *watch;
	uint64_t now = poll_loop_now();
	uint64_t changes;

again:
	TAILQ_FOREACH(watch, &loop->watches, link) {
		if (watch->fd >= 0 || watch->due == 0 || watch->due > now)
			continue;
		watch->due = 0;
		changes = loop->changes;
		watch->fn(watch->arg);
		if (loop->changes != changes)
			goto again;
	}
}

static void run_fds(struct poll_loop *loop, int timeout)
{
	struct pollfd pollfds[WATCHES_MAX];
	struct gm_watch *polled[WATCHES_MAX];
	struct gm_watch *watch;
	uint64_t changes = loop->changes;
	nfds_t n = 0;

	TAILQ_FOREACH(watch, &loop->watches, link) {
		if (watch->fd < 0)
			continue;
		assert(n < WATCHES_MAX);
		pollfds[n] = (struct pollfd){ .fd = watch->fd, .events = POLLIN };
		polled[n++] = watch;
	}
	if (poll(pollfds, n, timeout) <= 0)
		return;
	for (nfds_t i = 0; i < n && loop->changes == changes; i++)
		if (pollfds[i].revents)
			polled[i]->fn(polled[i]->arg);
}

bool poll_loop_run(struct poll_loop *loop, const bool *flag, uint64_t ms)
{
	uint64_t end = poll_loop_now() + ms;

	while (!(flag && *flag) && poll_loop_now() < end) {
		run_fds(loop, 1);
		run_timers(loop);
	}
	return flag && *flag;
}
