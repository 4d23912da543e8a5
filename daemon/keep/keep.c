/* SPDX-License-Identifier: Apache-2.0 */
#include "keep.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fd_store.h"
#include "gm_fd.h"
#include "keep_backoff.h"
#include "keep_fds.h"
#include "keep_notify.h"
#include "keep_spawn.h"
#include "log.h"
#include "service_manager.h"

/* A sender without end must not keep us from everything else. */
#define MESSAGES_AT_ONCE 64
/* More than a queue can hold (net.unix.max_dgram_qlen): all that a dead child has said. */
#define MESSAGES_AT_END 65536

/* Fds of our own, beside the sockets and those of one message. */
#define FDS_RESERVE 64

/* MAX_ARG_STRLEN, less "LISTEN_FDNAMES=" and its end. */
#define NAMES_MAX ((size_t)128 * 1024 - 16)

#define NEVER UINT64_MAX

/* How often we look for what a dead child has left, and from when on we say that we wait for it. */
#define LEFT_POLL_MS 1
#define LEFT_PATIENCE_MS 1000

struct keeper {
	const struct gm_keep_config *config;
	int signals;
	sigset_t signals_before;
	char program[PATH_MAX];
	struct gm_keep_notify notify;
	struct gm_keep_fds fds;
	struct gm_keep_janitor janitor;
	struct gm_keep_backoff backoff;
	bool said_full;

	pid_t child; /* 0: none */
	pid_t group; /* of the last child; 0: there was none, or nothing is left of it */
	uint64_t died_ms;
	bool said_left;
	int pidfd;
	uint64_t born_ms;
	uint32_t watchdog_ms;

	uint64_t spawn_at_ms;	 /* each: NEVER when there is nothing to do */
	uint64_t watchdog_at_ms; /* the child has not been heard of */
	uint64_t kill_at_ms;	 /* the child does not stop */
	uint64_t ping_at_ms;	 /* our own watchdog wants to hear of us */

	bool stopping;
	bool done;
	int status;
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the child's life ---- */

/*
 * The child's own children work on the memory that the next one finds: they end first, as under a
 * service manager. Orphans come to us (PR_SET_CHILD_SUBREAPER), so that no other process has the
 * group's number while we ask for it.
 */
static bool is_something_left(struct keeper *keeper)
{
	pid_t pid = keeper->group;

	while (pid > 0)
		pid = waitpid(-keeper->group, NULL, WNOHANG);
	if (pid < 0)
		keeper->group = 0;
	return pid == 0 && keeper->group > 0;
}

/*
 * Others of the child's have left its group: nobody waits for them, and they end when they can.
 * Each is reaped then, unless the child itself has just ended: that is on_child_end()'s.
 */
static void reap_strays(const struct keeper *keeper)
{
	siginfo_t end = { 0 };

	while (waitid(P_ALL, 0, &end, WEXITED | WNOHANG | WNOWAIT) == 0 && end.si_pid > 0 &&
	       end.si_pid != keeper->child) {
		(void)waitpid(end.si_pid, NULL, WNOHANG);
		end.si_pid = 0;
	}
}

static void wait_for_the_rest(struct keeper *keeper, uint64_t now)
{
	keeper->spawn_at_ms = now + LEFT_POLL_MS;
	if (keeper->said_left || now - keeper->died_ms < LEFT_PATIENCE_MS)
		return;
	keeper->said_left = true;
	gm_log(LOG_WARNING,
	       "keeper: processes of gmemd (pid %d) do not end: it is started again when they have",
	       (int)keeper->group);
}

static void start_child(struct keeper *keeper)
{
	const struct gm_keep_order order = { .config = keeper->config,
					     .fds = &keeper->fds,
					     .program = keeper->program,
					     .notify_path = keeper->notify.path,
					     .watchdog_ms = keeper->watchdog_ms };
	int error = gm_keep_spawn(&order, &keeper->child, &keeper->pidfd);

	keeper->said_left = false;
	keeper->born_ms = now_ms();
	keeper->spawn_at_ms = NEVER;
	if (error) {
		uint32_t wait_ms = gm_keep_backoff_next(&keeper->backoff, 0);

		gm_log(LOG_ERR, "keeper: cannot start gmemd: %s; once more in %" PRIu32 " ms",
		       gm_strerror(-error), wait_ms);
		keeper->spawn_at_ms = keeper->born_ms + wait_ms;
	} else if (keeper->watchdog_ms > 0) {
		keeper->watchdog_at_ms =
			keeper->born_ms + gm_max_u64(keeper->watchdog_ms, GM_KEEP_START_MS);
	}
}

static void finish(struct keeper *keeper, int status)
{
	keeper->status = status;
	keeper->done = true;
}

static bool is_final(const struct keeper *keeper, int status)
{
	return status < 32 && keeper->config->final_statuses & (UINT32_C(1) << status);
}

static void start_again(struct keeper *keeper, pid_t pid, const siginfo_t *end)
{
	uint64_t now = now_ms();
	uint32_t wait_ms = gm_keep_backoff_next(&keeper->backoff, now - keeper->born_ms);

	gm_log(LOG_WARNING,
	       "keeper: gmemd (pid %d) %s %d: started again in %" PRIu32 " ms with %zu stored fds",
	       (int)pid, end->si_code == CLD_EXITED ? "ended with status" : "was killed by signal",
	       end->si_status, wait_ms, keeper->fds.n_kept);
	keeper->spawn_at_ms = now + wait_ms;
}

static void handle_messages(struct keeper *keeper, unsigned max);

/*
 * What it said last is heard first: an fd that it has pushed is stored, however soon it died. Only
 * then is it waited for, so that its pid is nobody else's meanwhile.
 */
static void on_child_end(struct keeper *keeper)
{
	siginfo_t end = { 0 };
	pid_t pid = keeper->child;
	bool exited, obeyed;

	handle_messages(keeper, MESSAGES_AT_END);
	/* Not waited for yet, it is still what the group is named for. */
	(void)kill(-pid, SIGKILL);
	keeper->group = pid;
	keeper->died_ms = now_ms();
	if (waitid(P_PIDFD, (id_t)keeper->pidfd, &end, WEXITED) < 0)
		gm_log(LOG_ERR, "keeper: cannot wait for gmemd: %s", gm_strerror(errno));
	gm_fd_close(keeper->pidfd);
	keeper->pidfd = -1;
	keeper->child = 0;
	keeper->watchdog_at_ms = NEVER;
	keeper->kill_at_ms = NEVER;

	exited = end.si_code == CLD_EXITED;
	/* Asked to stop before it could listen to signals. */
	obeyed = !exited && (end.si_status == SIGTERM || end.si_status == SIGINT);
	if (exited && (keeper->stopping || is_final(keeper, end.si_status)))
		finish(keeper, end.si_status);
	else if (keeper->stopping)
		finish(keeper, obeyed ? EXIT_SUCCESS : EXIT_FAILURE);
	else
		start_again(keeper, pid, &end);
}

static void kill_child(const struct keeper *keeper, int signo)
{
	if (keeper->child > 0)
		(void)kill(keeper->child, signo);
}

/* ---- what the child says ---- */

static void store_fds(struct keeper *keeper, struct gm_keep_message *message)
{
	/* The name of those without one, as with systemd. */
	const char *name = message->name ? message->name : "stored";

	for (size_t i = 0; i < message->n_fds; i++) {
		int error = gm_keep_fds_add(&keeper->fds, name, message->fds[i], !message->no_poll);

		if (!error) {
			message->fds[i] = -1;
		} else if (!keeper->said_full) {
			keeper->said_full = true;
			gm_log(LOG_ERR,
			       "keeper: an fd of gmemd cannot be stored: %s; fds: %zu of %zu, "
			       "bytes of names: %zu of %zu",
			       gm_strerror(-error), keeper->fds.n_kept, keeper->fds.max,
			       keeper->fds.names_length, keeper->fds.names_max);
		}
	}
}

static void remove_fds(struct keeper *keeper, const struct gm_keep_message *message)
{
	if (message->name && gm_keep_fds_remove(&keeper->fds, message->name) > 0)
		keeper->said_full = false;
}

static void on_message(struct keeper *keeper, struct gm_keep_message *message)
{
	if (message->remove)
		remove_fds(keeper, message);
	else if (message->store)
		store_fds(keeper, message);
	if (message->status)
		gm_notify_status("%s", message->status);
	if (message->ready)
		gm_notify_ready();
	if (message->stopping)
		gm_notify_stopping();
	if ((message->ready || message->watchdog) && keeper->watchdog_at_ms != NEVER)
		keeper->watchdog_at_ms = now_ms() + keeper->watchdog_ms;
}

static void handle_messages(struct keeper *keeper, unsigned max)
{
	static struct gm_keep_message message;
	pid_t from = keeper->child > 0 ? keeper->child : -1;

	for (unsigned i = 0; i < max; i++) {
		int error = gm_keep_notify_receive(&keeper->notify, from, &message);

		if (error == -EBADMSG)
			continue;
		if (error)
			return;
		on_message(keeper, &message);
		gm_keep_message_done(&message);
	}
}

/* ---- signals ---- */

static void stop(struct keeper *keeper, int signo)
{
	keeper->spawn_at_ms = NEVER;
	keeper->watchdog_at_ms = NEVER;
	if (!keeper->stopping)
		keeper->kill_at_ms = now_ms() + GM_KEEP_STOP_MS;
	keeper->stopping = true;
	if (keeper->child == 0)
		finish(keeper, EXIT_SUCCESS);
	kill_child(keeper, signo);
}

static void on_signal(struct keeper *keeper)
{
	struct signalfd_siginfo info;

	if (read(keeper->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP)
		kill_child(keeper, SIGHUP);
	else if (info.ssi_signo != SIGCHLD)
		stop(keeper, (int)info.ssi_signo);
}

static int watch_signals(struct keeper *keeper)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	/* It only wakes us: for what is neither the child nor of its group. */
	sigaddset(&signals, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &signals, &keeper->signals_before) < 0)
		return -errno;
	keeper->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return keeper->signals < 0 ? -errno : 0;
}

/* ---- timers ---- */

static void check_timers(struct keeper *keeper)
{
	uint64_t now = now_ms();

	if (now >= keeper->ping_at_ms) {
		gm_notify_watchdog();
		keeper->ping_at_ms = now + gm_watchdog_interval_ms();
	}
	if (now >= keeper->watchdog_at_ms) {
		gm_log(LOG_ERR,
		       "keeper: gmemd (pid %d) has not been heard of for %" PRIu32 " ms: killed",
		       (int)keeper->child, keeper->watchdog_ms);
		keeper->watchdog_at_ms = NEVER;
		/* Nothing less ends a process that is stopped. */
		kill_child(keeper, SIGKILL);
	}
	if (now >= keeper->kill_at_ms) {
		gm_log(LOG_ERR, "keeper: gmemd (pid %d) has not stopped in %d ms: killed",
		       (int)keeper->child, GM_KEEP_STOP_MS);
		keeper->kill_at_ms = NEVER;
		kill_child(keeper, SIGKILL);
	}
	if (now >= keeper->spawn_at_ms && is_something_left(keeper))
		wait_for_the_rest(keeper, now);
	else if (now >= keeper->spawn_at_ms)
		start_child(keeper);
}

static int next_timeout(const struct keeper *keeper)
{
	uint64_t now = now_ms();
	uint64_t next = gm_min_u64(gm_min_u64(keeper->ping_at_ms, keeper->watchdog_at_ms),
				   gm_min_u64(keeper->kill_at_ms, keeper->spawn_at_ms));

	if (next == NEVER)
		return -1;
	return next <= now ? 0 : (int)gm_min_u64(next - now, INT32_MAX);
}

/* ---- all of it ---- */

static int run(struct keeper *keeper)
{
	while (!keeper->done) {
		struct pollfd polled[] = {
			{ .fd = keeper->signals, .events = POLLIN },
			{ .fd = keeper->notify.socket, .events = POLLIN },
			{ .fd = keeper->fds.hangups, .events = POLLIN },
			{ .fd = keeper->pidfd, .events = POLLIN },
		};

		if (poll(polled, GM_ARRAY_SIZE(polled), next_timeout(keeper)) < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (polled[0].revents)
			on_signal(keeper);
		if (polled[1].revents)
			handle_messages(keeper, MESSAGES_AT_ONCE);
		if (polled[2].revents)
			gm_keep_fds_drop_hangups(&keeper->fds);
		if (polled[3].revents)
			on_child_end(keeper);
		reap_strays(keeper);
		if (!keeper->done)
			check_timers(keeper);
	}
	return keeper->status;
}

/* The fds of a whole message must always find numbers, else the kernel cuts it short. */
static int init_fds(struct keeper *keeper)
{
	const size_t reserve = FDS_RESERVE + GM_KEEP_MESSAGE_FDS + keeper->config->n_sockets;
	const size_t sockets_names = gm_keep_names_length(keeper->config);
	struct rlimit nofile;

	if (getrlimit(RLIMIT_NOFILE, &nofile) < 0)
		return -errno;
	if (nofile.rlim_cur <= reserve || sockets_names >= NAMES_MAX)
		return -EMFILE;
	return gm_keep_fds_init(&keeper->fds,
				gm_min_u64(nofile.rlim_cur - reserve, GM_FD_STORE_MAX),
				NAMES_MAX - sockets_names);
}

static int find_program(struct keeper *keeper)
{
	ssize_t length = readlink("/proc/self/exe", keeper->program, sizeof(keeper->program) - 1);

	if (length < 0)
		return -errno;
	keeper->program[length] = '\0';
	return 0;
}

static int set_up(struct keeper *keeper)
{
	uint64_t own_ms = gm_watchdog_interval_ms();
	int error = prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ? -errno : watch_signals(keeper);

	if (!error)
		error = find_program(keeper);
	if (!error)
		error = init_fds(keeper);
	if (!error)
		error = gm_keep_janitor_start(&keeper->janitor);
	if (!error) {
		keeper->fds.janitor = &keeper->janitor;
		error = gm_keep_notify_open(&keeper->notify);
	}
	if (error)
		return error;
	/* Who watches us wants the daemon watched: we do that, as strictly. */
	keeper->watchdog_ms = keeper->config->watchdog_ms;
	if (own_ms > 0) {
		keeper->ping_at_ms = now_ms();
		if (keeper->watchdog_ms == 0)
			keeper->watchdog_ms = (uint32_t)gm_min_u64(own_ms * 2, UINT32_MAX);
	}
	keeper->spawn_at_ms = now_ms();
	return 0;
}

static void tear_down(struct keeper *keeper)
{
	gm_fd_close(keeper->pidfd);
	gm_keep_notify_close(&keeper->notify);
	gm_keep_fds_done(&keeper->fds);
	gm_keep_janitor_stop(&keeper->janitor);
	gm_fd_close(keeper->signals);
	(void)sigprocmask(SIG_SETMASK, &keeper->signals_before, NULL);
}

int gm_keep_run(const struct gm_keep_config *config)
{
	struct keeper keeper = {
		.config = config,
		.backoff = { .max_ms = config->restart_max_ms },
		.signals = -1,
		.notify = { .socket = -1 },
		.fds = { .hangups = -1 },
		.janitor = GM_KEEP_JANITOR_NULL,
		.pidfd = -1,
		.spawn_at_ms = NEVER,
		.watchdog_at_ms = NEVER,
		.kill_at_ms = NEVER,
		.ping_at_ms = NEVER,
	};
	int result = sigprocmask(SIG_SETMASK, NULL, &keeper.signals_before) < 0 ? -errno
										: set_up(&keeper);

	if (!result)
		result = run(&keeper);
	tear_down(&keeper);
	return result;
}
