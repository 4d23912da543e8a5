/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a confined process can do and what it dies of. Each case confines a child for good.
 */
#include "gm_test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gm_fd.h"
#include "gm_num.h"
#include "host.h"
#include "log.h"
#include "sandbox.h"

#define ANSWER_OK 0
#define ANSWER_FAILED 1
#define ANSWER_NO_SANDBOX 2

typedef int (*action_fn)(void);

enum stage {
	STAGE_NONE,
	STAGE_DAEMON,
	STAGE_SPAWNER,
	STAGE_WORKER,
};

static int confine(enum stage stage, enum gm_sandbox_mode mode)
{
	switch (stage) {
	case STAGE_DAEMON:
		return gm_sandbox_daemon(mode);
	case STAGE_SPAWNER:
		return gm_sandbox_spawner(mode);
	case STAGE_WORKER:
		/* As it comes about: the filters add up. */
		return gm_sandbox_spawner(mode) ? -1 : gm_sandbox_worker(mode);
	case STAGE_NONE:
		break;
	}
	return 0;
}

/* Wait status of a child that does @action after @stage. */
static int run(enum stage stage, enum gm_sandbox_mode mode, action_fn action)
{
	int status;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(confine(stage, mode) ? ANSWER_NO_SANDBOX : action());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static bool is_killed(enum stage stage, action_fn action)
{
	int status = run(stage, GM_SANDBOX_ENFORCE, action);

	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static bool succeeds(enum stage stage, action_fn action)
{
	int status = run(stage, GM_SANDBOX_ENFORCE, action);

	return WIFEXITED(status) && WEXITSTATUS(status) == ANSWER_OK;
}

/* ---- actions: ANSWER_OK when they worked ---- */

static int nothing(void)
{
	return ANSWER_OK;
}

static int do_execve(void)
{
	char *const arguments[] = { (char *)"true", NULL };

	execve("/bin/true", arguments, NULL);
	return ANSWER_FAILED;
}

static int do_fork(void)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? ANSWER_OK
									 : ANSWER_FAILED;
}

static int do_clone_namespace(void)
{
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return pid > 0 ? ANSWER_OK : ANSWER_FAILED;
}

static int do_open_for_reading(void)
{
	return open("/proc/self/status", O_RDONLY | O_CLOEXEC) >= 0 ? ANSWER_OK : ANSWER_FAILED;
}

static int do_open_for_writing(void)
{
	return open("/dev/null", O_WRONLY | O_CLOEXEC) >= 0 ? ANSWER_OK : ANSWER_FAILED;
}

static int do_create_file(void)
{
	return open("/dev/null", O_RDONLY | O_CREAT | O_CLOEXEC, 0600) >= 0 ? ANSWER_OK
									    : ANSWER_FAILED;
}

static int do_temporary_file(void)
{
	return open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) >= 0 ? ANSWER_OK : ANSWER_FAILED;
}

static int do_inet_socket(void)
{
	return socket(AF_INET, SOCK_DGRAM, 0) >= 0 ? ANSWER_OK : ANSWER_FAILED;
}

static int do_unix_stream(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0) >= 0 ? ANSWER_OK : ANSWER_FAILED;
}

static int do_unix_datagram(void)
{
	const struct sockaddr_un nobody = { .sun_family = AF_UNIX, .sun_path = "/nobody" };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	/* What sd_notify does. */
	if (fd < 0 || connect(fd, (const struct sockaddr *)&nobody, sizeof(nobody)) == 0)
		return ANSWER_FAILED;
	return errno == ENOENT ? ANSWER_OK : ANSWER_FAILED;
}

static int do_other_ioctl(void)
{
	int n;

	return ioctl(STDIN_FILENO, FIONREAD, &n) == 0 ? ANSWER_OK : ANSWER_FAILED;
}

static int do_create_vm(void)
{
	/* KVM_CREATE_VM: the daemon has its carrier already. */
	return ioctl(STDIN_FILENO, 0xae01, 0) >= 0 ? ANSWER_OK : ANSWER_FAILED;
}

static int do_kvm_ioctls(void)
{
	/* On no VM the kernel says so, and nobody dies. */
	if (ioctl(-1, 0xae03, 0) >= 0 || errno != EBADF)
		return ANSWER_FAILED;
	return ioctl(-1, 0xc040aed4UL, NULL) < 0 && errno == EBADF ? ANSWER_OK : ANSWER_FAILED;
}

static int do_convert(void)
{
	return ioctl(-1, 0xc080aed2UL, NULL) < 0 && errno == EBADF ? ANSWER_OK : ANSWER_FAILED;
}

/* Requests that the filter lets through fail for their fd. */
static int do_launch(void)
{
	static const unsigned long requests[] = { 0xae01,     0xae41,	  0x8138ae83, 0x4138ae84,
						  0x4090ae82, 0xc008aeba, 0x8010aebb };
	struct rlimit limit;

	for (size_t i = 0; i < GM_ARRAY_SIZE(requests); i++)
		if (ioctl(-1, requests[i], NULL) == 0 || errno != EBADF)
			return ANSWER_FAILED;
	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || setrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return ANSWER_FAILED;
	return ANSWER_OK;
}

static int do_map_code(void)
{
	void *map = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return map != MAP_FAILED ? ANSWER_OK : ANSWER_FAILED;
}

static int do_make_code(void)
{
	void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(map, 4096, PROT_READ | PROT_EXEC) == 0 ? ANSWER_OK : ANSWER_FAILED;
}

static int do_ptrace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? ANSWER_OK : ANSWER_FAILED;
}

static int do_bpf(void)
{
	return syscall(SYS_bpf, 0, NULL, 0) == 0 ? ANSWER_OK : ANSWER_FAILED;
}

static int do_kill_parent(void)
{
	return kill(getppid(), 0) == 0 ? ANSWER_OK : ANSWER_FAILED;
}

static int do_signal_parent_thread(void)
{
	return syscall(SYS_tgkill, getppid(), getppid(), 0) == 0 ? ANSWER_OK : ANSWER_FAILED;
}

static int do_raise_limit(void)
{
	const struct rlimit limit = { 1024, 1024 };

	return setrlimit(RLIMIT_CORE, &limit) == 0 ? ANSWER_OK : ANSWER_FAILED;
}

static int do_write_to_stdout(void)
{
	return write(STDOUT_FILENO, "", 0) == 0 ? ANSWER_OK : ANSWER_FAILED;
}

static int do_last_words(void)
{
	const struct iovec nothing_to_say = { 0 };

	return writev(STDERR_FILENO, &nothing_to_say, 1) == 0 ? ANSWER_OK : ANSWER_FAILED;
}

static int do_abort(void)
{
	abort();
}

static int do_big_malloc(void)
{
	static void *volatile blocks[64];

	for (size_t i = 0; i < GM_ARRAY_SIZE(blocks); i++) {
		blocks[i] = malloc(i * 64 * 1024 + 1);
		if (!blocks[i])
			return ANSWER_FAILED;
		memset(blocks[i], 1, i * 64 * 1024 + 1);
	}
	blocks[0] = realloc(blocks[0], 64 * 1024 * 1024);
	for (size_t i = 0; i < GM_ARRAY_SIZE(blocks); i++)
		free(blocks[i]);
	return ANSWER_OK;
}

static int do_sealed_memfd(void)
{
	int fd = memfd_create("sandbox-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int copy = gm_fd_dup(fd);
	struct gm_fd_identity identity;
	void *map;

	if (fd < 0 || copy < 0 || ftruncate(fd, 4096) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return ANSWER_FAILED;
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED || gm_fd_identify(copy, &identity) || identity.size != 4096)
		return ANSWER_FAILED;
	memset(map, 1, 4096);
	gm_fd_close(copy);
	return ANSWER_OK;
}

static int do_host_questions(void)
{
	uint64_t total, available;
	char bytes[32];

	gm_log(LOG_DEBUG, "not written, asked for all the same");
	if (gm_host_random(bytes, sizeof(bytes)) || gm_host_memory(&total, &available) ||
	    gm_host_rss_bytes() == 0 || gm_host_cpus() == 0)
		return ANSWER_FAILED;
	return strcmp(gm_strerror(ENOSPC), "No space left on device") ? ANSWER_FAILED : ANSWER_OK;
}

static int do_sockets(void)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct msghdr msg = { 0 };
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return ANSWER_FAILED;
	/* The filter lets no new epoll be made: the loop is there before. */
	if (epoll_ctl(-1, EPOLL_CTL_ADD, pair[0], &event) == 0 || errno != EBADF)
		return ANSWER_FAILED;
	if (sendmsg(pair[0], &msg, MSG_NOSIGNAL) != 0)
		return ANSWER_FAILED;
	return recvmsg(pair[1], &msg, MSG_DONTWAIT) == 0 ? ANSWER_OK : ANSWER_FAILED;
}

static void *thread_main(void *arg)
{
	void *block = malloc(1024 * 1024);

	*(bool *)arg = block != NULL;
	free(block);
	return NULL;
}

static int do_threads(void)
{
	pthread_t threads[8];
	bool done[8] = { false };

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < GM_ARRAY_SIZE(threads); i++)
			if (pthread_create(&threads[i], NULL, thread_main, &done[i]))
				return ANSWER_FAILED;
		for (size_t i = 0; i < GM_ARRAY_SIZE(threads); i++)
			if (pthread_join(threads[i], NULL) || !done[i])
				return ANSWER_FAILED;
	}
	return ANSWER_OK;
}

static int memory = -1;

static int do_fallocate(void)
{
	return fallocate(memory, 0, 0, 4096) == 0 &&
			       fallocate(memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
					 4096) == 0
		       ? ANSWER_OK
		       : ANSWER_FAILED;
}

static int do_no_privileges(void)
{
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? ANSWER_OK : ANSWER_FAILED;
}

/* ---- cases ---- */

struct named_action {
	const char *name;
	action_fn action;
};

static void assert_all_killed(enum stage stage, const struct named_action *actions, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!is_killed(stage, actions[i].action))
			fail_msg("%s was not killed", actions[i].name);
	}
}

static void assert_all_succeed(enum stage stage, const struct named_action *actions, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!succeeds(stage, actions[i].action))
			fail_msg("%s did not work", actions[i].name);
	}
}

static void a_call_outside_the_daemons_list_kills_it(void **state)
{
	static const struct named_action forbidden[] = {
		{ "execve", do_execve },
		{ "fork", do_fork },
		{ "a namespace", do_clone_namespace },
		{ "opening for writing", do_open_for_writing },
		{ "creating a file", do_create_file },
		{ "a temporary file", do_temporary_file },
		{ "an inet socket", do_inet_socket },
		{ "a stream socket", do_unix_stream },
		{ "another ioctl", do_other_ioctl },
		{ "KVM_CREATE_VM", do_create_vm },
		{ "conversion in place", do_convert },
		{ "a launch", do_launch },
		{ "mapping code", do_map_code },
		{ "making memory code", do_make_code },
		{ "ptrace", do_ptrace },
		{ "bpf", do_bpf },
		{ "a signal for another process", do_kill_parent },
		{ "a signal for another thread", do_signal_parent_thread },
		{ "setting a limit", do_raise_limit },
		{ "fallocate", do_fallocate },
		{ "a thread", do_threads },
		{ "writing to stdout", do_write_to_stdout },
	};

	(void)state;
	assert_all_killed(STAGE_DAEMON, forbidden, GM_ARRAY_SIZE(forbidden));
}

static void the_daemons_own_work_is_allowed(void **state)
{
	static const struct named_action allowed[] = {
		{ "nothing", nothing },
		{ "malloc", do_big_malloc },
		{ "a sealed memfd", do_sealed_memfd },
		{ "questions to the host", do_host_questions },
		{ "sockets", do_sockets },
		{ "a datagram to the service manager", do_unix_datagram },
		{ "opening for reading", do_open_for_reading },
		{ "its two ioctls", do_kvm_ioctls },
	};

	(void)state;
	assert_all_succeed(STAGE_DAEMON, allowed, GM_ARRAY_SIZE(allowed));
}

static void a_call_outside_the_workers_list_kills_it(void **state)
{
	static const struct named_action forbidden[] = {
		{ "execve", do_execve },
		{ "fork", do_fork },
		{ "a namespace", do_clone_namespace },
		{ "opening a file", do_open_for_reading },
		{ "a socket", do_unix_datagram },
		{ "a pair of sockets", do_sockets },
		{ "an ioctl", do_kvm_ioctls },
		{ "mapping code", do_map_code },
		{ "making memory code", do_make_code },
		{ "ptrace", do_ptrace },
		{ "a signal for another process", do_kill_parent },
		{ "a signal for another thread", do_signal_parent_thread },
		{ "a memfd", do_sealed_memfd },
		{ "prctl", do_no_privileges },
		{ "writing to stdout", do_write_to_stdout },
	};

	(void)state;
	assert_all_killed(STAGE_WORKER, forbidden, GM_ARRAY_SIZE(forbidden));
}

static void the_workers_own_work_is_allowed(void **state)
{
	static const struct named_action allowed[] = {
		{ "nothing", nothing },		 { "malloc", do_big_malloc },
		{ "threads", do_threads },	 { "fallocate", do_fallocate },
		{ "last words", do_last_words }, { "conversion in place", do_convert },
		{ "a launch", do_launch },
	};

	(void)state;
	assert_all_succeed(STAGE_WORKER, allowed, GM_ARRAY_SIZE(allowed));
}

static void the_spawner_forks_and_moves_workers_and_nothing_else(void **state)
{
	static const struct named_action forbidden[] = {
		{ "execve", do_execve },
		{ "a namespace", do_clone_namespace },
		{ "creating a file", do_create_file },
		{ "a temporary file", do_temporary_file },
		{ "a socket", do_unix_datagram },
		{ "an ioctl", do_kvm_ioctls },
		{ "mapping code", do_map_code },
		{ "ptrace", do_ptrace },
		{ "a signal other than SIGKILL", do_kill_parent },
	};

	(void)state;
	assert_true(succeeds(STAGE_SPAWNER, do_fork));
	assert_true(succeeds(STAGE_SPAWNER, do_open_for_writing));
	assert_all_killed(STAGE_SPAWNER, forbidden, GM_ARRAY_SIZE(forbidden));
}

static void an_abort_is_an_abort_in_every_process(void **state)
{
	(void)state;
	for (enum stage stage = STAGE_DAEMON; stage <= STAGE_WORKER; stage++) {
		int status = run(stage, GM_SANDBOX_ENFORCE, do_abort);

		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGABRT);
	}
}

static void log_mode_lets_everything_through(void **state)
{
	int status;

	(void)state;
	status = run(STAGE_DAEMON, GM_SANDBOX_LOG, do_fork);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == ANSWER_OK);
}

/* A line of /proc/PID/status, as a number of base @base. */
static long status_of(pid_t pid, const char *key, int base)
{
	char path[64], line[256];
	long value = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':')
			value = strtol(line + strlen(key) + 1, NULL, base);
	fclose(file);
	return value;
}

/* The daemon keeps CAP_SYS_RESOURCE, the spawner CAP_DAC_OVERRIDE, where they have them. */
static long kept_by(enum stage stage)
{
	static const long kept[] = {
		[STAGE_DAEMON] = 1L << CAP_SYS_RESOURCE,
		[STAGE_SPAWNER] = 1L << CAP_DAC_OVERRIDE,
		[STAGE_WORKER] = 0,
	};

	return status_of(getpid(), "CapEff", 16) & kept[stage];
}

static void assert_without_privileges(enum stage stage, enum gm_sandbox_mode mode)
{
	int pair[2];
	char byte;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	pid = fork();
	if (pid == 0) {
		struct msghdr msg = { 0 };

		gm_fd_close(pair[0]);
		if (confine(stage, mode))
			_exit(ANSWER_NO_SANDBOX);
		(void)sendmsg(
			pair[1],
			&(struct msghdr){ .msg_iov = &(struct iovec){ &byte, 1 }, .msg_iovlen = 1 },
			0);
		(void)recvmsg(pair[1], &msg, 0);
		_exit(0);
	}
	gm_fd_close(pair[1]);
	assert_int_equal(recv(pair[0], &byte, 1, 0), 1);
	assert_int_equal(status_of(pid, "CapEff", 16), kept_by(stage));
	assert_int_equal(status_of(pid, "CapPrm", 16), kept_by(stage));
	assert_int_equal(status_of(pid, "CapInh", 16), 0);
	assert_int_equal(status_of(pid, "CapAmb", 16), 0);
	if (geteuid() == 0)
		assert_int_equal(status_of(pid, "CapBnd", 16), 0);
	assert_int_equal(status_of(pid, "NoNewPrivs", 10), 1);
	assert_int_equal(status_of(pid, "Seccomp", 10), mode == GM_SANDBOX_OFF ? 0 : 2);
	gm_fd_close(pair[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void confined_processes_have_no_privileges_without_a_reason(void **state)
{
	(void)state;
	for (enum stage stage = STAGE_DAEMON; stage <= STAGE_WORKER; stage++)
		assert_without_privileges(stage, GM_SANDBOX_ENFORCE);
}

static void without_the_filter_privileges_are_dropped_all_the_same(void **state)
{
	(void)state;
	assert_without_privileges(STAGE_DAEMON, GM_SANDBOX_OFF);
}

static int do_check_hidden(void)
{
	struct rlimit core;

	if (gm_sandbox_daemon(GM_SANDBOX_OFF) || getrlimit(RLIMIT_CORE, &core) < 0)
		return ANSWER_FAILED;
	if (core.rlim_max != 0 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return ANSWER_FAILED;
	return ANSWER_OK;
}

static void no_core_file_and_no_debugger_sees_memory(void **state)
{
	(void)state;
	assert_true(succeeds(STAGE_NONE, do_check_hidden));
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int do_early_closes_strays(void)
{
	struct rlimit nofile;

	if (dup2(STDERR_FILENO, 3) < 0 || dup2(STDERR_FILENO, 50) < 0)
		return ANSWER_FAILED;
	unsetenv("LISTEN_PID");
	setenv("LISTEN_FDS", "1", 1);
	(void)close(STDIN_FILENO);
	(void)close(STDOUT_FILENO);
	if (gm_sandbox_early())
		return ANSWER_FAILED;
	if (is_open(3) || is_open(50) || !is_open(0) || !is_open(1) || !is_open(2))
		return ANSWER_FAILED;
	if (umask(0) != 077 || getrlimit(RLIMIT_NOFILE, &nofile) < 0)
		return ANSWER_FAILED;
	return nofile.rlim_cur == nofile.rlim_max ? ANSWER_OK : ANSWER_FAILED;
}

static void early_closes_strays_and_fills_the_standard_fds(void **state)
{
	(void)state;
	assert_true(succeeds(STAGE_NONE, do_early_closes_strays));
}

static int do_early_keeps_sockets(void)
{
	char pid[32];

	for (int fd = 3; fd <= 6; fd++)
		if (dup2(STDERR_FILENO, fd) < 0)
			return ANSWER_FAILED;
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "2", 1);
	if (gm_sandbox_early())
		return ANSWER_FAILED;
	return is_open(3) && is_open(4) && !is_open(5) && !is_open(6) ? ANSWER_OK : ANSWER_FAILED;
}

static void early_keeps_the_sockets_that_were_passed_to_this_process(void **state)
{
	(void)state;
	assert_true(succeeds(STAGE_NONE, do_early_keeps_sockets));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_call_outside_the_daemons_list_kills_it),
		gm_test(the_daemons_own_work_is_allowed),
		gm_test(a_call_outside_the_workers_list_kills_it),
		gm_test(the_workers_own_work_is_allowed),
		gm_test(the_spawner_forks_and_moves_workers_and_nothing_else),
		gm_test(an_abort_is_an_abort_in_every_process),
		gm_test(log_mode_lets_everything_through),
		gm_test(confined_processes_have_no_privileges_without_a_reason),
		gm_test(without_the_filter_privileges_are_dropped_all_the_same),
		gm_test(no_core_file_and_no_debugger_sees_memory),
		gm_test(early_closes_strays_and_fills_the_standard_fds),
		gm_test(early_keeps_the_sockets_that_were_passed_to_this_process),
	};

#ifdef GMEMD_SANITIZED
	gm_test_skip_all("sanitizers make calls that no filter of ours allows");
#endif
	memory = memfd_create("sandbox-test", MFD_CLOEXEC);
	if (memory < 0 || ftruncate(memory, 4096) < 0)
		return EXIT_FAILURE;
	return gm_test_run("sandbox", tests, GM_ARRAY_SIZE(tests));
}
