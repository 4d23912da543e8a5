/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spawner and its workers as processes: what they hold, what ends them, what is reported.
 */
#include "gm_test.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "gm_fd.h"
#include "poll_loop.h"
#include "spawner.h"
#include "worker.h"
#include "worker_backends.h"

#define PATIENCE_MS 3000
#define EXIT_SETUP 71

static const struct gm_spawner_config plain = { 0 };

static bool is_readable(int fd, int ms)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	return poll(&pollfd, 1, ms) > 0;
}

static struct gm_spawner_report next_report(struct gm_spawner *spawner)
{
	struct gm_spawner_report report;

	assert_true(is_readable(spawner->socket, PATIENCE_MS));
	assert_int_equal(gm_spawner_read(spawner, &report), 0);
	return report;
}

/* A worker whose birth has been reported; returns its pid. */
static pid_t hire(struct gm_spawner *spawner, uint64_t tag, int *ret_channel)
{
	struct gm_spawner_report report;

	assert_int_equal(gm_spawner_request(spawner, tag, NULL, ret_channel), 0);
	report = next_report(spawner);
	assert_int_equal(report.tag, tag);
	assert_int_equal(report.born, 1);
	assert_int_equal(report.error, 0);
	assert_true(report.pid > 0);
	return report.pid;
}

static bool is_at_end(int channel)
{
	char byte;

	return is_readable(channel, PATIENCE_MS) &&
	       gm_channel_recv(channel, &byte, sizeof(byte), NULL, MSG_DONTWAIT) == 0;
}

static bool work_is_done(int channel, int fd)
{
	struct gm_job_order order = order_of("memfd", GM_JOB_ALLOCATE, CHUNK, 2);
	struct gm_job_report report;
	ssize_t n;

	assert_int_equal(gm_channel_send(channel, &order, gm_job_order_size(&order), fd, 0), 0);
	/* What took its time is reported in parts. */
	do {
		assert_true(is_readable(channel, PATIENCE_MS));
		n = gm_channel_recv(channel, &report, sizeof(report), NULL, 0);
	} while (n > 0 && !report.last);
	return n > 0 && report.error == 0 && memory_allocated(fd) == CHUNK;
}

static void name_of(pid_t pid, char *name, size_t size)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_non_null(fgets(name, (int)size, file));
	name[strcspn(name, "\n")] = '\0';
	fclose(file);
}

/* Highest fd that a process has open. */
static int highest_fd(pid_t pid)
{
	struct dirent *entry;
	char path[64];
	int highest = -1;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (atoi(entry->d_name) > highest)
			highest = atoi(entry->d_name);
	closedir(dir);
	return highest;
}

static bool is_gone(pid_t pid)
{
	uint64_t end = poll_loop_now() + PATIENCE_MS;

	while (poll_loop_now() < end) {
		if (kill(pid, 0) < 0)
			return errno == ESRCH;
		usleep(1000);
	}
	return false;
}

static void a_worker_does_the_work_in_a_process_of_its_own(void **state)
{
	struct gm_spawner spawner = GM_SPAWNER_NULL;
	int fd = memory_new(CHUNK);
	char name[32];
	int channel;
	pid_t pid;

	(void)state;
	assert_int_equal(gm_spawner_start(&plain, &spawner), 0);
	pid = hire(&spawner, 1, &channel);
	assert_int_not_equal(pid, getpid());
	assert_true(work_is_done(channel, fd));
	name_of(pid, name, sizeof(name));
	assert_string_equal(name, "gmemd-worker");
	name_of(spawner.pid, name, sizeof(name));
	assert_string_equal(name, "gmemd-spawner");
	gm_fd_close(channel);
	gm_spawner_stop(&spawner);
	gm_fd_close(fd);
}

static void a_worker_holds_its_channel_and_nothing_of_gmemd(void **state)
{
	struct gm_spawner spawner = GM_SPAWNER_NULL;
	int secret = memory_new(GM_PAGE_4K);
	int fd = memory_new(CHUNK);
	int channels[2];
	pid_t pid;

	(void)state;
	assert_int_equal(gm_spawner_start(&plain, &spawner), 0);
	(void)hire(&spawner, 1, &channels[0]);
	pid = hire(&spawner, 2, &channels[1]);
	/* After a job: the job's fd is gone again, too. */
	assert_true(work_is_done(channels[1], fd));
	assert_int_equal(highest_fd(pid), GM_WORKER_CHANNEL);
	gm_fd_close(channels[0]);
	gm_fd_close(channels[1]);
	gm_spawner_stop(&spawner);
	gm_fd_close(fd);
	gm_fd_close(secret);
}

static void the_end_of_a_worker_is_reported_with_its_status(void **state)
{
	struct gm_spawner spawner = GM_SPAWNER_NULL;
	struct gm_spawner_report report;
	int channel;
	pid_t pid;

	(void)state;
	assert_int_equal(gm_spawner_start(&plain, &spawner), 0);
	pid = hire(&spawner, 11, &channel);
	gm_fd_close(channel);
	report = next_report(&spawner);
	assert_int_equal(report.tag, 11);
	assert_int_equal(report.pid, pid);
	assert_int_equal(report.born, 0);
	assert_true(WIFEXITED(report.status) && WEXITSTATUS(report.status) == 0);

	pid = hire(&spawner, 12, &channel);
	assert_int_equal(kill(pid, SIGKILL), 0);
	report = next_report(&spawner);
	assert_int_equal(report.tag, 12);
	assert_true(WIFSIGNALED(report.status) && WTERMSIG(report.status) == SIGKILL);
	assert_true(is_at_end(channel));
	gm_fd_close(channel);
	gm_spawner_stop(&spawner);
}

static void a_stopped_worker_can_be_killed(void **state)
{
	struct gm_spawner spawner = GM_SPAWNER_NULL;
	struct gm_spawner_report report;
	int channel;
	pid_t pid;

	(void)state;
	assert_int_equal(gm_spawner_start(&plain, &spawner), 0);
	pid = hire(&spawner, 5, &channel);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	/* No such worker: nothing happens. */
	assert_int_equal(gm_spawner_kill(&spawner, 4), 0);
	assert_int_equal(gm_spawner_kill(&spawner, 5), 0);
	report = next_report(&spawner);
	assert_int_equal(report.tag, 5);
	assert_true(WIFSIGNALED(report.status) && WTERMSIG(report.status) == SIGKILL);
	gm_fd_close(channel);
	gm_spawner_stop(&spawner);
}

static void signals_that_ask_a_service_to_stop_are_ignored(void **state)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	struct gm_spawner spawner = GM_SPAWNER_NULL;
	int fd = memory_new(CHUNK);
	int channel;
	pid_t pid;

	(void)state;
	assert_int_equal(gm_spawner_start(&plain, &spawner), 0);
	pid = hire(&spawner, 1, &channel);
	for (size_t i = 0; i < GM_ARRAY_SIZE(signals); i++) {
		assert_int_equal(kill(pid, signals[i]), 0);
		assert_int_equal(kill(spawner.pid, signals[i]), 0);
	}
	assert_true(work_is_done(channel, fd));
	gm_fd_close(channel);
	gm_spawner_stop(&spawner);
	gm_fd_close(fd);
}

static void workers_die_with_the_spawner_and_their_channels_tell(void **state)
{
	struct gm_spawner spawner = GM_SPAWNER_NULL;
	struct gm_spawner_report report;
	int fd = memory_new(CHUNK);
	int late_channel;
	int channel;
	pid_t pid;

	(void)state;
	assert_int_equal(gm_spawner_start(&plain, &spawner), 0);
	pid = hire(&spawner, 1, &channel);
	/* It answers: it is set up. */
	assert_true(work_is_done(channel, fd));
	/* Stopped workers cannot see anything end: the kernel has to kill them. */
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(kill(spawner.pid, SIGKILL), 0);
	assert_true(is_at_end(channel));
	assert_true(is_readable(spawner.socket, PATIENCE_MS));
	assert_int_equal(gm_spawner_read(&spawner, &report), -EPIPE);
	assert_int_equal(gm_spawner_request(&spawner, 2, NULL, &late_channel), -EPIPE);
	assert_int_equal(gm_spawner_kill(&spawner, 1), -EPIPE);
	gm_fd_close(channel);
	gm_spawner_stop(&spawner);
	gm_fd_close(fd);
}

static void spawner_and_workers_die_with_gmemd(void **state)
{
	struct gm_spawner spawner = GM_SPAWNER_NULL;
	pid_t pids[2];
	int channel;
	int pipes[2];
	pid_t gmemd;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	gmemd = fork();
	if (gmemd == 0) {
		if (gm_spawner_start(&plain, &spawner))
			_exit(1);
		pids[0] = spawner.pid;
		pids[1] = hire(&spawner, 1, &channel);
		if (!work_is_done(channel, memory_new(CHUNK)))
			_exit(1);
		if (write(pipes[1], pids, sizeof(pids)) != sizeof(pids))
			_exit(1);
		/* With the spawner stopped nobody reads an end of file. */
		(void)kill(spawner.pid, SIGSTOP);
		(void)kill(getpid(), SIGKILL);
	}
	assert_int_equal(read(pipes[0], pids, sizeof(pids)), sizeof(pids));
	assert_int_equal(waitpid(gmemd, NULL, 0), gmemd);
	assert_true(is_gone(pids[0]));
	assert_true(is_gone(pids[1]));
	gm_fd_close(pipes[0]);
	gm_fd_close(pipes[1]);
}

static void requests_behind_a_stopped_spawner_end_in_eagain(void **state)
{
	struct gm_spawner spawner = GM_SPAWNER_NULL;
	uint64_t start;
	pid_t pid;
	int r = 0;

	(void)state;
	assert_int_equal(gm_spawner_start(&plain, &spawner), 0);
	pid = spawner.pid;
	assert_int_equal(kill(pid, SIGSTOP), 0);
	for (int i = 0; i < 100000 && r == 0; i++)
		r = gm_spawner_kill(&spawner, 1);
	assert_int_equal(r, -EAGAIN);
	start = poll_loop_now();
	gm_spawner_stop(&spawner);
	assert_in_range(poll_loop_now() - start, 0, PATIENCE_MS);
	assert_int_equal(kill(pid, SIGCONT), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int refuse(void)
{
	return -EDOM;
}

static void a_spawner_that_cannot_be_confined_does_not_start(void **state)
{
	const struct gm_spawner_config config = { .confine_spawner = refuse };
	struct gm_spawner spawner = GM_SPAWNER_NULL;

	(void)state;
	assert_int_equal(gm_spawner_start(&config, &spawner), -EDOM);
	assert_int_equal(spawner.socket, -1);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void a_worker_that_cannot_be_confined_does_no_work(void **state)
{
	const struct gm_spawner_config config = { .confine_worker = refuse };
	struct gm_spawner spawner = GM_SPAWNER_NULL;
	struct gm_spawner_report report;
	int channel;

	(void)state;
	assert_int_equal(gm_spawner_start(&config, &spawner), 0);
	(void)hire(&spawner, 1, &channel);
	report = next_report(&spawner);
	assert_true(WIFEXITED(report.status) && WEXITSTATUS(report.status) == EXIT_SETUP);
	assert_true(is_at_end(channel));
	gm_fd_close(channel);
	gm_spawner_stop(&spawner);
}

static int expect_undumpable(void)
{
	int signo = 0;

	if (prctl(PR_GET_PDEATHSIG, &signo) < 0 || signo != SIGKILL)
		return -EINVAL;
	return prctl(PR_GET_DUMPABLE) == 0 ? 0 : -EINVAL;
}

static void a_worker_is_undumpable_and_mortal_before_it_is_confined(void **state)
{
	const struct gm_spawner_config config = { .confine_worker = expect_undumpable };
	struct gm_spawner spawner = GM_SPAWNER_NULL;
	int fd = memory_new(CHUNK);
	int channel;

	(void)state;
	assert_int_equal(gm_spawner_start(&config, &spawner), 0);
	(void)hire(&spawner, 1, &channel);
	assert_true(work_is_done(channel, fd));
	gm_fd_close(channel);
	gm_spawner_stop(&spawner);
	gm_fd_close(fd);
}

static int allow_no_fork(void)
{
	const struct rlimit none = { 0, 0 };

	/* Root may always fork. */
	if (setrlimit(RLIMIT_NPROC, &none) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
		return -errno;
	return 0;
}

static void a_fork_that_fails_is_reported_with_its_reason(void **state)
{
	const struct gm_spawner_config config = { .confine_spawner = allow_no_fork };
	struct gm_spawner spawner = GM_SPAWNER_NULL;
	struct gm_spawner_report report;
	int channel;

	(void)state;
	if (geteuid() != 0) {
		printf("needs root, to become somebody who may not fork\n");
		skip();
	}
	assert_int_equal(gm_spawner_start(&config, &spawner), 0);
	assert_int_equal(gm_spawner_request(&spawner, 9, NULL, &channel), 0);
	report = next_report(&spawner);
	assert_int_equal(report.tag, 9);
	assert_int_equal(report.born, 0);
	assert_int_equal(report.error, -EAGAIN);
	assert_true(is_at_end(channel));
	gm_fd_close(channel);
	gm_spawner_stop(&spawner);
}

static void a_stopped_spawner_struct_is_safe_to_use(void **state)
{
	struct gm_spawner spawner = GM_SPAWNER_NULL;
	struct gm_spawner_report report;
	int channel;

	(void)state;
	gm_spawner_stop(&spawner);
	assert_int_equal(gm_spawner_request(&spawner, 1, NULL, &channel), -EPIPE);
	assert_int_equal(gm_spawner_read(&spawner, &report), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_worker_does_the_work_in_a_process_of_its_own),
		gm_test(a_worker_holds_its_channel_and_nothing_of_gmemd),
		gm_test(the_end_of_a_worker_is_reported_with_its_status),
		gm_test(a_stopped_worker_can_be_killed),
		gm_test(signals_that_ask_a_service_to_stop_are_ignored),
		gm_test(workers_die_with_the_spawner_and_their_channels_tell),
		gm_test(spawner_and_workers_die_with_gmemd),
		gm_test(requests_behind_a_stopped_spawner_end_in_eagain),
		gm_test(a_spawner_that_cannot_be_confined_does_not_start),
		gm_test(a_worker_that_cannot_be_confined_does_no_work),
		gm_test(a_worker_is_undumpable_and_mortal_before_it_is_confined),
		gm_test(a_fork_that_fails_is_reported_with_its_reason),
		gm_test(a_stopped_spawner_struct_is_safe_to_use),
	};

	return gm_test_run("spawner", tests, GM_ARRAY_SIZE(tests));
}
