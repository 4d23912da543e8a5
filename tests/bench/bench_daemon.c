/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench_client.h"
#include "bench_place.h"
#include "gm_cleanup.h"

#define START_MS 10000
#define STOP_MS 10000
#define POLL_MS 5

/* So much that no figure meets a limit. */
static const char policy_text[] = "[X-Gmemd]\n"
				  "MemoryMax=100%\n"
				  "RegionMax=100%\n"
				  "HugePages=2M\n"
				  "RegionsMax=20000\n"
				  "DomainsMax=2000\n"
				  "SessionsMax=64\n"
				  "SevEsSlots=64\n";

/* And that is all of it, again and again, for one who does not stop. */
static const char rates_text[] = "[X-Gmemd]\n"
				 "RequestsRate=500\n"
				 "AllocateRate=64M\n";

static void wait_ms(long ms)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static int write_file(const char *path, const char *text)
{
	_gm_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int make_folder(struct bench_daemon *daemon)
{
	const char *folder = daemon->folder;
	int r;

	(void)snprintf(daemon->folder, sizeof(daemon->folder), "/tmp/gmem-bench.XXXXXX");
	if (!mkdtemp(daemon->folder)) {
		daemon->folder[0] = '\0';
		return -errno;
	}
	(void)snprintf(daemon->socket, sizeof(daemon->socket), "%s/socket", folder);
	(void)snprintf(daemon->neighbour, sizeof(daemon->neighbour), "%s/neighbour", folder);
	(void)snprintf(daemon->policy, sizeof(daemon->policy), "%s/policy", folder);
	(void)snprintf(daemon->rates, sizeof(daemon->rates), "%s/rates", folder);
	r = write_file(daemon->policy, policy_text);
	return r == 0 ? write_file(daemon->rates, rates_text) : r;
}

static void remove_folder(const struct bench_daemon *daemon)
{
	if (daemon->folder[0] == '\0')
		return;
	(void)unlink(daemon->policy);
	(void)unlink(daemon->rates);
	(void)unlink(daemon->socket);
	(void)unlink(daemon->neighbour);
	(void)rmdir(daemon->folder);
}

static _Noreturn void become_daemon(const struct bench_daemon *daemon, const char *program,
				    bool kept)
{
	char listen[128], neighbour[128], rates[128], root[128];

	(void)snprintf(listen, sizeof(listen), "bench=%s", daemon->socket);
	(void)snprintf(neighbour, sizeof(neighbour), "neighbour=%s", daemon->neighbour);
	(void)snprintf(rates, sizeof(rates), "neighbour=%s", daemon->rates);
	(void)snprintf(root, sizeof(root), "--cgroup-root=%s",
		       daemon->cgroup_root ? daemon->cgroup_root : "/sys/fs/cgroup");
	(void)bench_pin(0, -1);
	(void)close_range(BENCH_FIRST_FD, ~0U, 0);
	execl(program, program, "--listen", listen, "--listen", neighbour, "--policy",
	      daemon->policy, "--policy", rates, root, "--sandbox", "enforce", "--log-level",
	      "warning", kept ? "--keep" : (char *)NULL, (char *)NULL);
	fprintf(stderr, "gmem-bench: %s: %s\n", program, strerror(errno));
	_exit(127);
}

/* The status of @pid, or -1 if it does not end in time. */
static int wait_for_end(pid_t pid)
{
	int status;

	for (int ms = 0; ms < STOP_MS; ms += POLL_MS) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		wait_ms(POLL_MS);
	}
	return -1;
}

/* Until gmemd is to end, or has ended by itself. */
static void keep_watch(int dead_fd, pid_t pid)
{
	struct pollfd end = { .fd = dead_fd, .events = POLLIN };
	siginfo_t info = { 0 };

	while (info.si_pid == 0 && poll(&end, 1, 100) <= 0)
		(void)waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
}

/* @fds: what tells when gmemd is to end, and where to write its pid. */
static _Noreturn void guard(const struct bench_daemon *daemon, const char *program, bool kept,
			    const int fds[2])
{
	int dead_fd = BENCH_FIRST_FD, pid_fd = BENCH_FIRST_FD + 1;
	int status;
	pid_t pid;

	/* Another guard would wait for ever for the end of a pipe that we hold. */
	if (bench_keep_fds(fds, 2) < 0)
		_exit(1);
	pid = fork();
	if (pid == 0)
		become_daemon(daemon, program, kept);
	if (pid < 0 || write(pid_fd, &pid, sizeof(pid)) != sizeof(pid))
		_exit(1);
	gm_fd_close(pid_fd);
	/* Whoever interrupts the benchmark must not interrupt the clean-up. */
	(void)setsid();
	keep_watch(dead_fd, pid);
	(void)kill(pid, SIGTERM);
	status = wait_for_end(pid);
	if (status < 0)
		(void)kill(pid, SIGKILL);
	remove_folder(daemon);
	_exit(status == 0 ? 0 : 1);
}

static int start_guarded(struct bench_daemon *daemon, const char *program, bool kept)
{
	int ends[2], pids[2];
	ssize_t n;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(pids, O_CLOEXEC) < 0) {
		int error = -errno;

		gm_fd_close(ends[0]);
		gm_fd_close(ends[1]);
		return error;
	}
	daemon->guard = fork();
	if (daemon->guard == 0)
		guard(daemon, program, kept, (const int[]){ ends[0], pids[1] });
	gm_fd_close(ends[0]);
	gm_fd_close(pids[1]);
	daemon->alive = ends[1];
	n = daemon->guard > 0 ? read(pids[0], &daemon->pid, sizeof(daemon->pid)) : -1;
	gm_fd_close(pids[0]);
	return n == sizeof(daemon->pid) ? 0 : -ECHILD;
}

/* An answered HELLO: the sandbox is closed and the loop runs. */
static int wait_for_answer(const struct bench_daemon *daemon)
{
	int r = -ETIMEDOUT;

	for (int ms = 0; ms < START_MS; ms += POLL_MS) {
		struct bench_client client = BENCH_CLIENT_NULL;

		r = bench_client_open(&client, daemon->socket);
		bench_client_close(&client);
		if (r == 0)
			return 0;
		if (kill(daemon->pid, 0) < 0)
			return -ECHILD;
		wait_ms(POLL_MS);
	}
	return r;
}

/* 10,000 regions are 10,000 fds of the daemon, which inherits our limit. */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* The one child of the keeper is the daemon. */
static int find_child(pid_t pid, pid_t *ret_child)
{
	char path[64];
	FILE *children;
	int child, n;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	children = fopen(path, "re");
	if (!children)
		return -errno;
	n = fscanf(children, "%d", &child);
	(void)fclose(children);
	if (n != 1)
		return -ECHILD;
	*ret_child = child;
	return 0;
}

/* It may run anywhere while it starts: it counts its CPUs then. */
static int place(struct bench_daemon *daemon, int cpu, bool kept)
{
	int r = bench_pin(daemon->pid, cpu);

	if (r < 0 || !kept)
		return r;
	r = find_child(daemon->pid, &daemon->pid);
	return r == 0 ? bench_pin(daemon->pid, cpu) : r;
}

int bench_daemon_start(const struct bench_options *options, int cpu, bool kept,
		       struct bench_daemon *daemon)
{
	int r;

	*daemon = BENCH_DAEMON_NULL;
	daemon->cgroup_root = options->cgroup_root;
	raise_fd_limit();
	r = make_folder(daemon);
	if (r == 0)
		r = start_guarded(daemon, options->gmemd, kept);
	if (r == 0)
		r = wait_for_answer(daemon);
	if (r == 0)
		r = place(daemon, cpu, kept);
	if (r == 0)
		return 0;
	fprintf(stderr, "gmem-bench: %s does not serve: %s\n", options->gmemd, strerror(-r));
	if (bench_daemon_stop(daemon) < 0)
		fprintf(stderr, "gmem-bench: it ended with an error\n");
	return r;
}

int bench_daemon_stop(struct bench_daemon *daemon)
{
	int status = 0;

	gm_fd_close(gm_take_fd(&daemon->alive));
	if (daemon->guard > 0 && waitpid(daemon->guard, &status, 0) < 0)
		status = -1;
	if (daemon->guard <= 0)
		remove_folder(daemon);
	*daemon = BENCH_DAEMON_NULL;
	return status == 0 ? 0 : -ECHILD;
}

int bench_resident_bytes(pid_t pid, uint64_t *ret_bytes)
{
	unsigned long size, resident;
	char path[64];
	FILE *statm;
	int n;

	(void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	statm = fopen(path, "re");
	if (!statm)
		return -errno;
	n = fscanf(statm, "%lu %lu", &size, &resident);
	(void)fclose(statm);
	if (n != 2)
		return -EIO;
	*ret_bytes = (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
	return 0;
}
