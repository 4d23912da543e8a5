/* SPDX-License-Identifier: Apache-2.0 */
#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "gm_cleanup.h"
#include "gm_version.h"
#include "loop_base.h"

struct gm_watch {
	struct event *event;
	gm_watch_fn fn;
	void *arg;
	int signal_fd; /* of a signal's watch, else -1 */
};

/* The callback may end the watch: nothing of it is touched afterwards, here or in libevent. */
static void watch_on_event(evutil_socket_t fd, short what, void *arg)
{
	struct gm_watch *watch = arg;

	(void)fd;
	(void)what;
	watch->fn(watch->arg);
}

static void watch_on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct gm_watch *watch = arg;
	struct signalfd_siginfo info;

	(void)what;
	if (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		watch->fn(watch->arg);
}

static int watch_new(struct gm_event_loop *loop, int fd, short what, event_callback_fn on_event,
		     gm_watch_fn fn, void *arg, struct gm_watch **ret_watch)
{
	struct gm_watch *watch = malloc(sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	watch->fn = fn;
	watch->arg = arg;
	watch->signal_fd = -1;
	watch->event = event_new(loop->base, fd, what, on_event, watch);
	if (!watch->event) {
		free(watch);
		return -ENOMEM;
	}
	*ret_watch = watch;
	return 0;
}

static void loop_watch_free(struct gm_watch *watch)
{
	if (!watch)
		return;
	event_free(watch->event);
	gm_fd_close(watch->signal_fd);
	free(watch);
}

static int watch_new_reading(struct gm_event_loop *loop, int fd, event_callback_fn on_event,
			     gm_watch_fn fn, void *arg, struct gm_watch **ret_watch)
{
	struct gm_watch *watch;
	int error = watch_new(loop, fd, EV_READ | EV_PERSIST, on_event, fn, arg, &watch);

	if (error)
		return error;
	errno = 0;
	if (event_add(watch->event, NULL) < 0) {
		error = errno ? -errno : -ENOMEM;
		loop_watch_free(watch);
		return error;
	}
	*ret_watch = watch;
	return 0;
}

static int loop_watch_read(void *loop, int fd, gm_watch_fn fn, void *arg,
			   struct gm_watch **ret_watch)
{
	return watch_new_reading(loop, fd, watch_on_event, fn, arg, ret_watch);
}

static int loop_timer_new(void *loop, gm_watch_fn fn, void *arg, struct gm_watch **ret_watch)
{
	return watch_new(loop, -1, 0, watch_on_event, fn, arg, ret_watch);
}

static void loop_timer_set(struct gm_watch *timer, uint64_t ms)
{
	/* Even UINT64_MAX ms are far from the end of time_t: nothing overflows in libevent. */
	const struct timeval tv = { .tv_sec = (time_t)(ms / 1000),
				    .tv_usec = (suseconds_t)(ms % 1000 * 1000) };

	/* Out of memory for the heap of timers: better too early than never. */
	if (event_add(timer->event, &tv) < 0)
		event_active(timer->event, EV_TIMEOUT, 0);
}

static uint64_t loop_now_ms(void *loop)
{
	struct timespec now;

	(void)loop;
	/* What waits for its time to end waits through a suspend of the host, too. */
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static const struct gm_loop_ops loop_ops = {
	.watch_read = loop_watch_read,
	.timer_new = loop_timer_new,
	.timer_set = loop_timer_set,
	.watch_free = loop_watch_free,
	.now_ms = loop_now_ms,
};

struct gm_loop_ref gm_event_loop_ref(struct gm_event_loop *loop)
{
	return (struct gm_loop_ref){ .ops = &loop_ops, .loop = loop };
}

/*
 * One thread: no locks. No precise timers: they would cost a timerfd and a timerfd_settime each
 * turn for less than a millisecond. The environment may not choose another kernel interface.
 */
static struct event_base *base_new(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (!config)
		return NULL;
	if (event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV) ==
		    0 &&
	    event_config_require_features(config, EV_FEATURE_O1 | EV_FEATURE_ET |
							  EV_FEATURE_EARLY_CLOSE) == 0)
		base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

int gm_event_loop_new(struct gm_event_loop **ret_loop)
{
	struct gm_event_loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return -ENOMEM;
	loop->packet = malloc(GM_PACKET_MAX);
	errno = 0;
	loop->base = base_new();
	if (!loop->packet || !loop->base) {
		int error = errno ? -errno : -ENOMEM;

		gm_event_loop_free(loop);
		return error;
	}
	*ret_loop = loop;
	return 0;
}

void gm_event_loop_free(struct gm_event_loop *loop)
{
	if (!loop)
		return;
	if (loop->base)
		event_base_free(loop->base);
	free(loop->packet);
	free(loop);
}

int gm_event_loop_run(struct gm_event_loop *loop)
{
	do {
		loop->turn++;
		errno = 0;
		if (event_base_loop(loop->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY) < 0)
			return errno ? -errno : -EIO;
	} while (!event_base_got_break(loop->base));
	return 0;
}

void gm_event_loop_stop(struct gm_event_loop *loop)
{
	(void)event_base_loopbreak(loop->base);
}

/*
 * By signalfd: libevent's own way is a handler that writes to a socket, and a filter would have to
 * let every write pass for it.
 */
int gm_event_loop_signal(struct gm_event_loop *loop, int signo, gm_watch_fn fn, void *arg,
			 struct gm_watch **ret_watch)
{
	_gm_close_ int fd = -1;
	sigset_t set;
	int error;

	sigemptyset(&set);
	sigaddset(&set, signo);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	error = watch_new_reading(loop, fd, watch_on_signal, fn, arg, ret_watch);
	if (!error)
		(*ret_watch)->signal_fd = gm_take_fd(&fd);
	return error;
}
