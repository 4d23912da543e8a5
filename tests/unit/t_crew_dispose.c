/* SPDX-License-Identifier: Apache-2.0 */
/* Fds that the hub has another process close: one that lags or dies holds nothing up. */
#include "crew_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "gm_fd.h"

static pid_t janitor(void)
{
	pid_t pids[4];
	unsigned n = workers(pids, 4);

	return n > 0 ? pids[n - 1] : 0;
}

static bool holds_memory(pid_t pid, const char *name)
{
	char path[64], target[256];

	for (int fd = 0; fd < 16; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (strstr(target, name))
			return true;
	}
	return false;
}

static void a_disposed_fd_is_closed_by_another_process(void **state)
{
	int fd;

	(void)state;
	begin(1, 1000);
	fd = memory_new(CHUNK);
	gm_crew_hub_dispose(hub, fd);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	run_for(50);
	assert_int_not_equal(janitor(), 0);
	assert_false(holds_memory(janitor(), "worker-test"));
	/* It takes no place from a job. */
	assert_int_equal(gm_crew_hub_workers(hub), 0);
	end();
}

static void a_dead_closer_of_fds_is_replaced(void **state)
{
	pid_t first;

	(void)state;
	begin(1, 1000);
	gm_crew_hub_dispose(hub, memory_new(CHUNK));
	run_for(50);
	first = janitor();
	assert_int_not_equal(first, 0);
	assert_int_equal(kill(first, SIGKILL), 0);
	run_for(50);
	gm_crew_hub_dispose(hub, memory_new(CHUNK));
	run_for(50);
	assert_int_not_equal(janitor(), 0);
	assert_int_not_equal(janitor(), first);
	end();
}

/* More than its channel holds. */
#define FDS_MANY 1000

static void a_closer_of_fds_that_is_behind_gets_colleagues(void **state)
{
	char byte;
	int pipe_fds[2];
	pid_t pids[8];
	pid_t first;

	(void)state;
	begin(1, 1000);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
	gm_crew_hub_dispose(hub, memory_new(CHUNK));
	run_for(50);
	first = janitor();
	assert_int_equal(kill(first, SIGSTOP), 0);
	for (unsigned i = 0; i < FDS_MANY; i++)
		gm_crew_hub_dispose(hub, fcntl(pipe_fds[1], F_DUPFD_CLOEXEC, 0));
	gm_fd_close(pipe_fds[1]);
	run_for(100);
	assert_true(workers(pids, 8) > 1);
	/* What the first one was given it still has: nothing was closed here. */
	assert_int_equal(read(pipe_fds[0], &byte, 1), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(kill(first, SIGCONT), 0);
	/* It does its share and goes: the last one stays. */
	for (unsigned i = 0; i < 100 && workers(pids, 8) != 1; i++)
		run_for(20);
	assert_int_equal(workers(pids, 8), 1);
	assert_int_equal(read(pipe_fds[0], &byte, 1), 0);
	gm_fd_close(pipe_fds[0]);
	end();
}

static unsigned signal_all(int signo)
{
	pid_t pids[8];
	unsigned n = workers(pids, 8);

	for (unsigned i = 0; i < n; i++)
		assert_int_equal(kill(pids[i], signo), 0);
	return n;
}

static void closers_of_fds_are_never_more_than_a_few(void **state)
{
	int pipe_fds[2];
	char byte;

	(void)state;
	begin(1, 1000);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
	for (unsigned i = 0; i < FDS_MANY; i++) {
		gm_crew_hub_dispose(hub, fcntl(pipe_fds[1], F_DUPFD_CLOEXEC, 0));
		if (i % 20 != 0)
			continue;
		run_for(5);
		assert_in_range(signal_all(SIGSTOP), 1, 4);
	}
	gm_fd_close(pipe_fds[1]);
	/* None is lost: who was behind goes on, and what has waited is closed. */
	for (unsigned i = 0; i < 200 && read(pipe_fds[0], &byte, 1) != 0; i++) {
		(void)signal_all(SIGCONT);
		run_for(20);
	}
	assert_int_equal(read(pipe_fds[0], &byte, 1), 0);
	gm_fd_close(pipe_fds[0]);
	end();
}

/* Full of data that nobody reads: the last close of it waits for LINGER_S seconds. */
#define LINGER_S 20

static int lingering_socket(int *ret_server)
{
	const struct linger linger = { .l_onoff = 1, .l_linger = LINGER_S };
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	static const char bytes[65536];
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(server >= 0 && fd >= 0);
	assert_int_equal(bind(server, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(server, 1), 0);
	assert_int_equal(getsockname(server, (struct sockaddr *)&address, &length), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		continue;
	*ret_server = server;
	return fd;
}

static void a_socket_that_lingers_keeps_nobody_waiting(void **state)
{
	struct timespec before, after;
	int server, fd;

	(void)state;
	begin(1, 1000);
	fd = lingering_socket(&server);
	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &before), 0);
	gm_crew_hub_dispose(hub, fd);
	run_for(100);
	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &after), 0);
	assert_true(after.tv_sec - before.tv_sec < LINGER_S / 4);
	/* Whoever closes it is still there. */
	assert_int_not_equal(janitor(), 0);
	gm_fd_close(server);
	run_for(50);
	end();
}

static void without_a_spawner_a_disposed_fd_is_closed_here(void **state)
{
	int fd;

	(void)state;
	begin(1, 1000);
	assert_int_equal(kill(spawner.pid, SIGKILL), 0);
	run_for(50);
	fd = memory_new(CHUNK);
	gm_crew_hub_dispose(hub, fd);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_disposed_fd_is_closed_by_another_process),
		gm_test(a_dead_closer_of_fds_is_replaced),
		gm_test(a_closer_of_fds_that_is_behind_gets_colleagues),
		gm_test(closers_of_fds_are_never_more_than_a_few),
		gm_test(a_socket_that_lingers_keeps_nobody_waiting),
		gm_test(without_a_spawner_a_disposed_fd_is_closed_here),
	};

	return gm_test_run("crew dispose", tests, GM_ARRAY_SIZE(tests));
}
