/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a service manager passes in, and what it is told; the test plays the manager.
 */
#include "gm_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gm_fd.h"
#include "gm_num.h"
#include "host.h"
#include "service_manager.h"

#define INHERITED_FD 3

/* Runs @fn in a child that has @n fds from 3 on, and @names; returns its exit status. */
static int run_with(int n, const char *names, int (*fn)(void))
{
	int status;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char number[32];

		for (int i = 0; i < n; i++)
			if (dup2(STDERR_FILENO, INHERITED_FD + i) < 0)
				_exit(99);
		snprintf(number, sizeof(number), "%d", (int)getpid());
		setenv("LISTEN_PID", number, 1);
		snprintf(number, sizeof(number), "%d", n);
		setenv("LISTEN_FDS", number, 1);
		if (names)
			setenv("LISTEN_FDNAMES", names, 1);
		_exit(fn());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Number of the first expectation that does not hold; 0: all do. */
#define EXPECT(condition)                          \
	do {                                       \
		if (!(condition))                  \
			return __LINE__ % 200 + 1; \
	} while (0)

static struct gm_inherited_fds inherited;

static int take_two(void)
{
	EXPECT(gm_inherited_take(&inherited) == 0);
	EXPECT(inherited.n_sockets == 2 && inherited.n_stored == 0);
	EXPECT(inherited.sockets[0].fd == 3 && strcmp(inherited.sockets[0].name, "acme") == 0);
	EXPECT(inherited.sockets[1].fd == 4);
	EXPECT(strcmp(inherited.sockets[1].name, "gmemd@b.socket") == 0);
	EXPECT(fcntl(3, F_GETFD) == FD_CLOEXEC && fcntl(4, F_GETFD) == FD_CLOEXEC);
	EXPECT(!getenv("LISTEN_FDS") && !getenv("LISTEN_PID") && !getenv("LISTEN_FDNAMES"));
	gm_inherited_done(&inherited);
	EXPECT(fcntl(3, F_GETFD) < 0 && fcntl(4, F_GETFD) < 0);
	/* A second look finds nothing. */
	EXPECT(gm_inherited_take(&inherited) == 0);
	EXPECT(inherited.n_sockets == 0 && inherited.n_stored == 0);
	gm_inherited_done(&inherited);
	return 0;
}

static void sockets_come_with_their_names_and_only_once(void **state)
{
	(void)state;
	assert_int_equal(run_with(2, "acme:gmemd@b.socket", take_two), 0);
}

static int take_stored(void)
{
	const struct gm_stored *stored;

	EXPECT(gm_inherited_take(&inherited) == 0);
	EXPECT(inherited.n_sockets == 1 && inherited.n_stored == 5);
	EXPECT(inherited.sockets[0].fd == 4);
	stored = inherited.stored;
	EXPECT(stored[0].fd == 3 && stored[0].kind == GM_STORED_REGION && stored[0].record == 31);
	EXPECT(stored[1].fd == 5 && stored[1].kind == GM_STORED_STATE);
	EXPECT(stored[2].fd == 6 && stored[2].kind == GM_STORED_OTHER);
	EXPECT(stored[3].fd == 7 && stored[3].kind == GM_STORED_REGION && stored[3].record == 31);
	EXPECT(stored[4].fd == 8 && stored[4].kind == GM_STORED_PIDFD && stored[4].record == 0);
	EXPECT(fcntl(3, F_GETFD) == FD_CLOEXEC);
	gm_inherited_done(&inherited);
	return 0;
}

static void stored_fds_are_told_from_sockets_whatever_the_order(void **state)
{
	(void)state;
	assert_int_equal(run_with(6, "+r1f:acme:+state:+later:+r1f:+p0", take_stored), 0);
}

static int take_colon(void)
{
	EXPECT(gm_inherited_take(&inherited) == 0);
	EXPECT(inherited.n_sockets == 2);
	EXPECT(strcmp(inherited.sockets[0].name, "a:b") == 0);
	EXPECT(strcmp(inherited.sockets[1].name, "c") == 0);
	gm_inherited_done(&inherited);
	return 0;
}

static void a_colon_in_a_name_is_escaped(void **state)
{
	(void)state;
	assert_int_equal(run_with(2, "a\\:b:c", take_colon), 0);
}

static int take_with_bad_name(void)
{
	EXPECT(gm_inherited_take(&inherited) == -EINVAL);
	EXPECT(fcntl(3, F_GETFD) < 0);
	return 0;
}

static void a_name_outside_the_character_set_is_refused(void **state)
{
	char long_name[257];

	(void)state;
	memset(long_name, 'n', sizeof(long_name) - 1);
	long_name[256] = '\0';
	assert_int_equal(run_with(1, "two words", take_with_bad_name), 0);
	assert_int_equal(run_with(1, long_name, take_with_bad_name), 0);
}

static int take_too_many(void)
{
	EXPECT(gm_inherited_take(&inherited) == -E2BIG);
	EXPECT(fcntl(3, F_GETFD) < 0 && fcntl(3 + GM_INHERITED_MAX, F_GETFD) < 0);
	return 0;
}

static void more_sockets_than_there_are_doors_are_refused(void **state)
{
	(void)state;
	assert_int_equal(run_with(GM_INHERITED_MAX + 1, NULL, take_too_many), 0);
}

static int take_for_other(void)
{
	setenv("LISTEN_PID", "1", 1);
	EXPECT(gm_inherited_take(&inherited) == 0);
	EXPECT(inherited.n_sockets == 0);
	gm_inherited_done(&inherited);
	return 0;
}

static void sockets_for_another_process_are_not_taken(void **state)
{
	(void)state;
	assert_int_equal(run_with(1, "a", take_for_other), 0);
}

/* The manager's socket. */
static int manager_new(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int length;

	assert_true(fd >= 0);
	length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "gmemd-test-%d",
			  (int)getpid());
	assert_int_equal(
		bind(fd, (struct sockaddr *)&address,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)),
		0);
	address.sun_path[0] = '@';
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
	return fd;
}

static void assert_told(int manager, const char *expected)
{
	char message[512];
	ssize_t n = recv(manager, message, sizeof(message) - 1, 0);

	assert_true(n >= 0);
	message[n] = '\0';
	assert_string_equal(message, expected);
}

static void the_manager_is_told_what_goes_on(void **state)
{
	int manager = manager_new();

	(void)state;
	gm_notify_ready();
	assert_told(manager, "READY=1");
	gm_notify_status("%d domains", 3);
	assert_told(manager, "STATUS=3 domains");
	gm_notify_watchdog();
	assert_told(manager, "WATCHDOG=1");
	gm_notify_stopping();
	assert_told(manager, "STOPPING=1");
	gm_fd_close(manager);
	unsetenv("NOTIFY_SOCKET");
}

static void a_status_text_cannot_say_anything_else(void **state)
{
	int manager = manager_new();

	(void)state;
	gm_notify_status("%s", "one\nREADY=1");
	assert_told(manager, "STATUS=one READY=1");
	gm_fd_close(manager);
	unsetenv("NOTIFY_SOCKET");
}

static void without_a_manager_nothing_happens(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	gm_notify_ready();
	gm_notify_status("text");
}

static void the_watchdog_is_fed_twice_per_interval(void **state)
{
	char pid[32];

	(void)state;
	unsetenv("WATCHDOG_USEC");
	assert_int_equal(gm_watchdog_interval_ms(), 0);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("WATCHDOG_PID", pid, 1);
	setenv("WATCHDOG_USEC", "30000000", 1);
	assert_int_equal(gm_watchdog_interval_ms(), 15000);
	setenv("WATCHDOG_PID", "1", 1);
	assert_int_equal(gm_watchdog_interval_ms(), 0);
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

static void random_bytes_are_not_given_out_twice(void **state)
{
	uint64_t ids[256];
	uint8_t big[1024] = { 0 };
	unsigned zeros = 0;

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(ids); i++) {
		assert_int_equal(gm_host_random(&ids[i], sizeof(ids[i])), 0);
		for (size_t j = 0; j < i; j++)
			assert_true(ids[i] != ids[j]);
	}
	/* More than the pool holds. */
	assert_int_equal(gm_host_random(big, sizeof(big)), 0);
	for (size_t i = 0; i < sizeof(big); i++)
		zeros += big[i] == 0;
	assert_true(zeros < 64);
}

static void the_host_answers_plausibly(void **state)
{
	uint64_t total, available;

	(void)state;
	assert_int_equal(gm_host_memory(&total, &available), 0);
	assert_true(total >= available && available > GM_MIB);
	assert_in_range(gm_host_cpus(), 1, 65536);
}

static int do_rss(void)
{
	uint64_t before = gm_host_rss_bytes();
	size_t size = 32 * GM_MIB;
	char *block = malloc(size);

	EXPECT(block && before > 0);
	/* Volatile: the compiler may not drop what nobody reads. */
	for (size_t i = 0; i < size; i += 4096)
		((volatile char *)block)[i] = 1;
	EXPECT(gm_host_rss_bytes() >= before + size / 2);
	free(block);
	return 0;
}

static void resident_bytes_follow_what_is_touched(void **state)
{
	(void)state;
	/* In a child, since it keeps its file open. */
	assert_int_equal(run_with(0, NULL, do_rss), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(sockets_come_with_their_names_and_only_once),
		gm_test(a_name_outside_the_character_set_is_refused),
		gm_test(stored_fds_are_told_from_sockets_whatever_the_order),
		gm_test(a_colon_in_a_name_is_escaped),
		gm_test(more_sockets_than_there_are_doors_are_refused),
		gm_test(sockets_for_another_process_are_not_taken),
		gm_test(the_manager_is_told_what_goes_on),
		gm_test(a_status_text_cannot_say_anything_else),
		gm_test(without_a_manager_nothing_happens),
		gm_test(the_watchdog_is_fed_twice_per_interval),
		gm_test(random_bytes_are_not_given_out_twice),
		gm_test(the_host_answers_plausibly),
		gm_test(resident_bytes_follow_what_is_touched),
	};

	return gm_test_run("service_manager", tests, GM_ARRAY_SIZE(tests));
}
