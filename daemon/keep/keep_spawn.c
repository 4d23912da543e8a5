/* SPDX-License-Identifier: Apache-2.0 */
#include "keep_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gm_cleanup.h"

#define LISTEN_FDS_START 3
#define EXEC_FAILED 127

struct passed {
	int fd;
	const char *name;
};

/* ---- which fd gets which number ---- */

static bool is_in_place(const struct passed *passed, size_t n)
{
	return passed->fd >= LISTEN_FDS_START && (size_t)passed->fd < LISTEN_FDS_START + n;
}

/*
 * The numbers from 3 on must be filled without a gap, in any order. Who has one of them already
 * keeps it; the others go to what is left, which only our own fds have. So no fd that is to be
 * passed is ever overwritten, and none needs a second number meanwhile.
 */
static void place(const struct passed *all, size_t n, struct passed *ret_placed)
{
	size_t next = 0;

	for (size_t i = 0; i < n; i++)
		ret_placed[i] = (struct passed){ .fd = -1, .name = "" };
	for (size_t i = 0; i < n; i++)
		if (is_in_place(&all[i], n))
			ret_placed[all[i].fd - LISTEN_FDS_START] = all[i];
	for (size_t i = 0; i < n; i++) {
		if (is_in_place(&all[i], n))
			continue;
		while (ret_placed[next].fd >= 0)
			next++;
		ret_placed[next] = all[i];
	}
}

static void collect(const struct gm_keep_order *order, struct passed *ret_all)
{
	const struct gm_keep_config *config = order->config;
	size_t n = 0;

	for (size_t i = 0; i < config->n_sockets; i++)
		ret_all[n++] = (struct passed){ .fd = config->sockets[i].fd,
						.name = config->sockets[i].name };
	for (size_t i = 0; i < order->fds->n_kept; i++)
		ret_all[n++] = (struct passed){ .fd = order->fds->kept[i].fd,
						.name = order->fds->kept[i].name };
}

/* ---- names ---- */

/* With the separator, or the end. */
static size_t escaped_length(const char *name)
{
	size_t length = 1;

	for (; *name; name++)
		length += *name == ':' || *name == '\\' ? 2 : 1;
	return length;
}

size_t gm_keep_names_length(const struct gm_keep_config *config)
{
	size_t length = 0;

	for (size_t i = 0; i < config->n_sockets; i++)
		length += escaped_length(config->sockets[i].name);
	return length;
}

/* Names with ':' between them; one that is part of a name has a backslash before it. */
static char *join_names(const struct passed *placed, size_t n)
{
	size_t length = 1;
	char *names, *end;

	for (size_t i = 0; i < n; i++)
		length += escaped_length(placed[i].name);
	names = malloc(length);
	if (!names)
		return NULL;
	end = names;
	for (size_t i = 0; i < n; i++) {
		for (const char *c = placed[i].name; *c; c++) {
			if (*c == ':' || *c == '\\')
				*end++ = '\\';
			*end++ = *c;
		}
		*end++ = ':';
	}
	end[n > 0 ? -1 : 0] = '\0';
	return names;
}

/* ---- in the new process ---- */

static int set_number(const char *name, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	return setenv(name, text, 1);
}

static int set_environment(const struct gm_keep_order *order, size_t n, const char *names)
{
	int r = 0;

	/* sd_listen_fds(3) takes a zero for an error. What we were given ourselves is gone. */
	if (n > 0) {
		r |= set_number("LISTEN_PID", (uint64_t)getpid());
		r |= set_number("LISTEN_FDS", n);
		r |= setenv("LISTEN_FDNAMES", names, 1);
	}
	r |= setenv("NOTIFY_SOCKET", order->notify_path, 1);
	r |= set_number("FDSTORE", order->fds->max);
	r |= setenv("GMEMD_KEEPER", "1", 1);
	if (order->watchdog_ms > 0) {
		r |= set_number("WATCHDOG_PID", (uint64_t)getpid());
		r |= set_number("WATCHDOG_USEC", (uint64_t)order->watchdog_ms * 1000);
	} else {
		/* What we were told is not for the next one. */
		r |= unsetenv("WATCHDOG_PID");
		r |= unsetenv("WATCHDOG_USEC");
	}
	return r;
}

static int pass_fds(const struct passed *placed, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int number = LISTEN_FDS_START + (int)i;
		int r = placed[i].fd == number ? fcntl(number, F_SETFD, 0)
					       : dup2(placed[i].fd, number);

		if (r < 0)
			return -1;
	}
	return 0;
}

/*
 * By its path first: what has been installed there meanwhile is the newer version, and the process
 * gets its name. What this very process runs is the way out when nothing is there any more.
 */
static void exec_program(const struct gm_keep_order *order)
{
	execv(order->program, order->config->argv);
	execv("/proc/self/exe", order->config->argv);
}

static void become(const struct gm_keep_order *order, const struct passed *placed, size_t n,
		   const char *names) __attribute__((noreturn));

static void become(const struct gm_keep_order *order, const struct passed *placed, size_t n,
		   const char *names)
{
	sigset_t none;

	sigemptyset(&none);
	/* Its own group: ^C at a terminal is for the keeper, which passes it on once. */
	if (setpgid(0, 0) == 0 && set_environment(order, n, names) == 0 &&
	    pass_fds(placed, n) == 0 && signal(SIGPIPE, SIG_DFL) != SIG_ERR &&
	    sigprocmask(SIG_SETMASK, &none, NULL) == 0)
		exec_program(order);
	fprintf(stderr, "gmemd: cannot start gmemd anew: %s\n", strerror(errno));
	_exit(EXEC_FAILED);
}

/* ---- in the keeper ---- */

int gm_keep_spawn(const struct gm_keep_order *order, pid_t *ret_pid, int *ret_pidfd)
{
	size_t n = order->config->n_sockets + order->fds->n_kept;
	/* One more of each: never nothing. */
	_gm_free_ struct passed *all = calloc(n + 1, sizeof(*all));
	_gm_free_ struct passed *placed = calloc(n + 1, sizeof(*placed));
	_gm_free_ char *names = NULL;
	pid_t pid;
	int pidfd;

	if (!all || !placed)
		return -ENOMEM;
	collect(order, all);
	place(all, n, placed);
	names = join_names(placed, n);
	if (!names)
		return -ENOMEM;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		become(order, placed, n, names);
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0) {
		int error = -errno;

		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return error;
	}
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 0;
}
