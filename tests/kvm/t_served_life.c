/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What private memory from gmemd costs its VMM, and what is left of it when the VMM dies, wherever
 * it dies. Seen in cgroup v2, in KVM's debugfs and in gmemd's books.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cgroups.h"
#include "gm_fd.h"
#include "served.h"

#define SIZE (32 * GM_MIB)
#define BATCH (4 * GM_MIB)
/* Charges come from a processor's stock, and page tables and the VMM itself are charged too. */
#define SLACK (4 * GM_MIB)
#define DEBUGFS "/sys/kernel/debug/kvm"
#define AT_ONCE_MS 100
#define SET_ATTRIBUTES 0x4020aed2UL

static struct served served;
static bool die_in_step;

/* Between the order and its report. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;
	long r;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	r = syscall(SYS_ioctl, fd, request, arg);
	if (die_in_step && request == SET_ATTRIBUTES)
		(void)raise(SIGKILL);
	return (int)r;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void nap_ms(long ms)
{
	const struct timespec nap = { .tv_nsec = ms * 1000000 };

	(void)nanosleep(&nap, NULL);
}

/* Those of all processes: a VMM's folders are named PID-FD. */
static unsigned count_vms(pid_t pid)
{
	char prefix[32];
	struct dirent *entry;
	unsigned n = 0;
	DIR *dir = opendir(DEBUGFS);

	assert_non_null(dir);
	(void)snprintf(prefix, sizeof(prefix), "%d-", (int)pid);
	while ((entry = readdir(dir)) != NULL)
		n += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
	assert_int_equal(closedir(dir), 0);
	return n;
}

/*
 * A VMM, in @in unless that is NULL: says through the pipe when its guest has all of its memory,
 * and does @then.
 */
static pid_t start_vmm(int ready[2], const struct group *in,
		       void (*then)(struct served_guest *guest))
{
	pid_t pid;

	assert_return_code(pipe2(ready, O_CLOEXEC), errno);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		struct served_guest guest;

		if (in && !group_add(in, getpid()))
			_exit(2);
		served_guest_open(&guest, &served, SIZE);
		for (uint64_t at = GM_PAGE_2M; at < SIZE; at += GM_PAGE_4K)
			served_write(&guest, at, 1);
		(void)!write(ready[1], "", 1);
		then(&guest);
		_exit(0);
	}
	gm_fd_close(ready[1]);
	return pid;
}

static void wait_ready(const int ready[2])
{
	char byte;

	assert_int_equal(read(ready[0], &byte, 1), 1);
	gm_fd_close(ready[0]);
}

static void wait_for_death(struct served_guest *guest)
{
	(void)guest;
	for (;;)
		(void)pause();
}

static void convert_and_die(struct served_guest *guest)
{
	die_in_step = true;
	(void)served_call(guest, GM_PAGE_2M, 512, false);
}

/* From the VMM's death on. */
static void expect_nothing_left(pid_t pid, uint64_t died_ms)
{
	uint64_t left;

	do {
		left = served_bytes(&served);
	} while (left > 0 && now_ms() < died_ms + AT_ONCE_MS);
	assert_int_equal(left, 0);
	while (count_vms(pid) > 0 && now_ms() < died_ms + AT_ONCE_MS)
		nap_ms(1);
	assert_int_equal(count_vms(pid), 0);
}

static void needs_debugfs(void)
{
	if (access(DEBUGFS, R_OK) < 0) {
		print_message("%s: %s\n", DEBUGFS, strerror(errno));
		skip();
	}
}

static void nothing_is_left_of_a_vmm_that_is_killed(void **state)
{
	int ready[2];
	pid_t pid;

	(void)state;
	needs_debugfs();
	served_start(&served, false);
	pid = start_vmm(ready, NULL, wait_for_death);
	wait_ready(ready);
	assert_int_equal(served_bytes(&served), SIZE);
	assert_int_equal(count_vms(pid), 1);
	assert_return_code(kill(pid, SIGKILL), errno);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	expect_nothing_left(pid, now_ms());
	served_stop(&served);
}

static void nothing_is_left_of_a_vmm_that_dies_inside_a_step(void **state)
{
	int ready[2];
	int status;
	pid_t pid;

	(void)state;
	needs_debugfs();
	served_start(&served, false);
	pid = start_vmm(ready, NULL, convert_and_die);
	wait_ready(ready);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	expect_nothing_left(pid, now_ms());
	served_stop(&served);
}

/* ---- who pays, and how much at most */

static struct group group;

static void convert_to_and_fro(struct served_guest *guest)
{
	uint64_t most = 0;

	for (int round = 0; round < 2; round++) {
		for (uint64_t at = BATCH; at < SIZE; at += BATCH) {
			bool to_private = round;

			(void)served_call(guest, at, BATCH / GM_PAGE_4K, to_private);
			for (uint64_t page = at; page < at + BATCH; page += GM_PAGE_4K)
				served_write(guest, page, 2);
			most = gm_max_u64(most, group_usage(&group));
		}
	}
	print_message("at most %llu MiB for a guest of %llu MiB\n",
		      (unsigned long long)(most / GM_MIB), (unsigned long long)(SIZE / GM_MIB));
	_exit(most <= SIZE + BATCH + SLACK ? 0 : 1);
}

/* Seen by the controller itself: its peak has every moment in it. */
static void a_guest_never_costs_more_than_its_size_and_one_batch(void **state)
{
	int ready[2];
	int status;
	pid_t pid;

	(void)state;
	if (!group_make(&group, "memory", "gm-served")) {
		print_message("no memory controller here\n");
		skip();
	}
	served_start(&served, false);
	pid = start_vmm(ready, &group, convert_to_and_fro);
	wait_ready(ready);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_true(group_peak(&group) >= SIZE - GM_PAGE_2M);
	assert_true(group_peak(&group) <= SIZE + BATCH + SLACK);
	assert_true(group_remove(&group));
	served_stop(&served);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(nothing_is_left_of_a_vmm_that_is_killed),
		gm_test(nothing_is_left_of_a_vmm_that_dies_inside_a_step),
		gm_test(a_guest_never_costs_more_than_its_size_and_one_batch),
	};

	served_needed();
	return gm_test_run("the life of private memory from gmemd", tests, GM_ARRAY_SIZE(tests));
}
