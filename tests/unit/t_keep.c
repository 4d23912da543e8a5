/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper and a child that dies. The keeper runs in a process of its own; what it tells the
 * service manager above it comes here.
 */
#include "gm_test.h"

#include <errno.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fd_store.h"
#include "gm_fd.h"
#include "keep.h"
#include "t_keep_child.h"

#define FINAL (1U << 0 | 1U << 2 | 1U << 3 | 1U << T_KEEP_CHILD_BAD)

#define NO_LONG_QUEUE 97

struct rig {
	int manager; /* a service manager's end of the notify protocol */
	struct gm_keep_config config;
	struct gm_keep_socket socket;
	rlim_t nofile; /* 0: as it is */
	bool has_long_queue;
	char heard[4096];
};

static struct rig rig_new(void)
{
	struct rig rig = { .config = { .final_statuses = FINAL, .restart_max_ms = 1000 } };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1,
			      "gmemd-test-keep-%d", (int)getpid());

	rig.manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(rig.manager >= 0);
	assert_int_equal(
		bind(rig.manager, (struct sockaddr *)&address,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)),
		0);
	address.sun_path[0] = '@';
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
	return rig;
}

static void rig_done(struct rig *rig)
{
	gm_fd_close(rig->manager);
	unsetenv("NOTIFY_SOCKET");
}

static bool make_queues_long(void)
{
	FILE *file =
		unshare(CLONE_NEWNET) < 0 ? NULL : fopen("/proc/sys/net/unix/max_dgram_qlen", "we");
	bool is_written = file && fputs("512", file) >= 0;

	return file && fclose(file) == 0 && is_written;
}

static pid_t keeper_start(struct rig *rig, const char *scenario)
{
	char program[] = "t_keep", child[] = "child", name[64];
	char *argv[] = { program, child, name, NULL };
	sigset_t signals, before;
	pid_t pid;

	snprintf(name, sizeof(name), "%s", scenario);
	/* It must not die of a signal that comes before it looks for any. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, &before);
	pid = fork();
	assert_true(pid >= 0);
	if (pid > 0)
		sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid == 0) {
		const struct rlimit limit = { .rlim_cur = rig->nofile, .rlim_max = rig->nofile };
		int status;

		/* What ctest has open is not for the child; gmemd itself closes such fds at once.
		 */
		(void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
		if (rig->has_long_queue && !make_queues_long())
			_exit(NO_LONG_QUEUE);
		if (rig->nofile > 0 && setrlimit(RLIMIT_NOFILE, &limit) < 0)
			_exit(98);
		rig->config.argv = argv;
		status = gm_keep_run(&rig->config);
		_exit(status < 0 ? 99 : status);
	}
	return pid;
}

/* Reads what was said meanwhile, a line each, into rig->heard. */
static void listen_to_it(struct rig *rig)
{
	size_t used = strlen(rig->heard);
	ssize_t n;

	while (used < sizeof(rig->heard) - 2 &&
	       (n = recv(rig->manager, rig->heard + used, sizeof(rig->heard) - 2 - used, 0)) >= 0) {
		used += (size_t)n;
		rig->heard[used++] = '\n';
	}
	rig->heard[used] = '\0';
}

static int keeper_end(struct rig *rig, pid_t keeper)
{
	int status;

	assert_int_equal(waitpid(keeper, &status, 0), keeper);
	assert_true(WIFEXITED(status));
	listen_to_it(rig);
	if (strstr(rig->heard, "bad"))
		fail_msg("%s", rig->heard);
	return WEXITSTATUS(status);
}

static int keep(struct rig *rig, const char *scenario)
{
	return keeper_end(rig, keeper_start(rig, scenario));
}

static void wait_until_heard(struct rig *rig, const char *text)
{
	for (int i = 0; i < 1000 && !strstr(rig->heard, text); i++) {
		usleep(5000);
		listen_to_it(rig);
	}
	assert_non_null(strstr(rig->heard, text));
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void expect_good(const char *scenario)
{
	struct rig rig = rig_new();

	assert_int_equal(keep(&rig, scenario), 0);
	rig_done(&rig);
}

static void every_stored_fd_comes_back_the_same_after_each_death(void **state)
{
	(void)state;
	expect_good("everything_comes_back");
}

static void numbers_with_gaps_are_passed_on_without_loss(void **state)
{
	(void)state;
	expect_good("gaps_are_filled");
}

static void a_file_pushed_twice_under_one_name_comes_back_once(void **state)
{
	(void)state;
	expect_good("same_file_is_stored_once");
}

static void what_a_dead_child_has_left_ends_before_the_next_one_starts(void **state)
{
	(void)state;
	expect_good("what_it_leaves_ends_first");
}

static void a_flood_fills_the_store_and_goes_no_further(void **state)
{
	struct rig rig = rig_new();

	(void)state;
	rig.nofile = 500;
	assert_int_equal(keep(&rig, "flood"), 0);
	rig_done(&rig);
}

static void as_many_as_there_can_be_are_passed_on(void **state)
{
	struct rig rig = rig_new();
	struct rlimit limit;

	(void)state;
	rig.nofile = GM_FD_STORE_MAX + 1000;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_max < rig.nofile) {
		rig_done(&rig);
		print_message("only %ju files may be open\n", (uintmax_t)limit.rlim_max);
		skip();
	}
	assert_int_equal(keep(&rig, "flood"), 0);
	rig_done(&rig);
}

static void only_the_child_itself_is_believed(void **state)
{
	struct rig rig = rig_new();

	(void)state;
	assert_int_equal(keep(&rig, "others_are_not_believed"), 0);
	assert_null(strstr(rig.heard, "forged"));
	rig_done(&rig);
}

/*
 * Where the queue is long, as systemd makes it, and the keeper is late, there is more in it at a
 * death than is read in one turn. In a network of its own: the length is its property.
 */
static void all_that_a_dead_child_has_said_is_heard(void **state)
{
	struct rig rig = rig_new();
	pid_t keeper;
	int status;

	(void)state;
	rig.has_long_queue = true;
	keeper = keeper_start(&rig, "say_much_and_die");
	assert_int_equal(waitpid(keeper, &status, WUNTRACED), keeper);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_LONG_QUEUE) {
		rig_done(&rig);
		print_message("no network of one's own\n");
		skip();
	}
	assert_true(WIFSTOPPED(status));
	/* The child goes on, and dies, while its keeper is stopped. */
	usleep(300 * 1000);
	assert_int_equal(kill(keeper, SIGCONT), 0);
	assert_int_equal(keeper_end(&rig, keeper), 0);
	rig_done(&rig);
}

static void a_child_that_hangs_is_killed_and_started_again(void **state)
{
	struct rig rig = rig_new();
	double start = now_ms();

	(void)state;
	rig.config.watchdog_ms = 500;
	assert_int_equal(keep(&rig, "hang"), 0);
	assert_true(now_ms() - start >= 6 * 100 + 500 - 20);
	assert_true(now_ms() - start < 20000);
	rig_done(&rig);
}

static void what_the_child_says_reaches_the_service_manager(void **state)
{
	struct rig rig = rig_new();

	(void)state;
	assert_int_equal(keep(&rig, "say_all"), 0);
	assert_string_equal(rig.heard, "STATUS=three domains\nREADY=1\nSTOPPING=1\n");
	rig_done(&rig);
}

static void sigterm_goes_to_the_child_whose_status_is_ours(void **state)
{
	struct rig rig = rig_new();
	pid_t keeper = keeper_start(&rig, "wait_for_term");

	(void)state;
	wait_until_heard(&rig, "READY=1");
	assert_int_equal(kill(keeper, SIGTERM), 0);
	assert_int_equal(keeper_end(&rig, keeper), 7);
	rig_done(&rig);
}

static void sighup_goes_to_the_child_and_does_not_stop_it(void **state)
{
	struct rig rig = rig_new();
	pid_t keeper = keeper_start(&rig, "wait_for_term");

	(void)state;
	wait_until_heard(&rig, "READY=1");
	rig.heard[0] = '\0';
	/* This child ends with 8, which is not final: there is another one then. */
	assert_int_equal(kill(keeper, SIGHUP), 0);
	wait_until_heard(&rig, "READY=1");
	assert_int_equal(kill(keeper, SIGTERM), 0);
	assert_int_equal(keeper_end(&rig, keeper), 7);
	rig_done(&rig);
}

static void sigterm_at_any_time_of_a_start_ends_it(void **state)
{
	(void)state;
	for (useconds_t wait = 0; wait < 12000; wait += 500) {
		struct rig rig = rig_new();
		pid_t keeper = keeper_start(&rig, "wait_for_term");
		int status;

		usleep(wait);
		assert_int_equal(kill(keeper, SIGTERM), 0);
		status = keeper_end(&rig, keeper);
		assert_true(status == 0 || status == 7);
		rig_done(&rig);
	}
}

static void a_final_status_is_not_tried_again(void **state)
{
	struct rig rig = rig_new();

	(void)state;
	assert_int_equal(keep(&rig, "end_with_two"), 2);
	rig_done(&rig);
}

static void who_dies_young_is_waited_for_longer_each_time(void **state)
{
	struct rig rig = rig_new();
	double start = now_ms();

	(void)state;
	assert_int_equal(keep(&rig, "fail_four_times"), 0);
	assert_true(now_ms() - start >= 10 + 20 + 40);
	rig_done(&rig);
}

static void a_client_that_connects_meanwhile_is_served_by_the_next_life(void **state)
{
	const struct sockaddr_un any = { .sun_family = AF_UNIX };
	struct sockaddr_un bound = { 0 };
	socklen_t length = sizeof(bound);
	struct rig rig = rig_new();
	int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)state;
	rig.socket.name = "acme:1";
	rig.socket.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	rig.config.sockets = &rig.socket;
	rig.config.n_sockets = 1;
	assert_int_equal(bind(rig.socket.fd, (const struct sockaddr *)&any, sizeof(sa_family_t)),
			 0);
	assert_int_equal(listen(rig.socket.fd, 4), 0);
	assert_int_equal(getsockname(rig.socket.fd, (struct sockaddr *)&bound, &length), 0);
	assert_int_equal(connect(client, (const struct sockaddr *)&bound, length), 0);
	assert_int_equal(send(client, "x", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(keep(&rig, "find_the_socket"), 0);
	close(client);
	close(rig.socket.fd);
	rig_done(&rig);
}

static void the_child_starts_with_nothing_but_what_it_is_to_have(void **state)
{
	struct rig rig = rig_new();

	(void)state;
	assert_int_equal(keep(&rig, "live_under_a_keeper"), 0);
	rig_done(&rig);
}

static void a_watched_keeper_reports_itself_and_watches_the_child(void **state)
{
	struct rig rig = rig_new();
	pid_t keeper;

	(void)state;
	/* No WATCHDOG_PID: for whoever has the variable, here the keeper. */
	setenv("WATCHDOG_USEC", "500000", 1);
	keeper = keeper_start(&rig, "hang");
	wait_until_heard(&rig, "WATCHDOG=1");
	assert_int_equal(keeper_end(&rig, keeper), 0);
	unsetenv("WATCHDOG_USEC");
	rig_done(&rig);
}

static void nothing_is_left_in_the_file_system(void **state)
{
	char folder[] = "/tmp/gmemd-test-XXXXXX";
	struct rig rig = rig_new();

	(void)state;
	assert_non_null(mkdtemp(folder));
	setenv("RUNTIME_DIRECTORY", folder, 1);
	assert_int_equal(keep(&rig, "everything_comes_back"), 0);
	assert_int_equal(rmdir(folder), 0);
	unsetenv("RUNTIME_DIRECTORY");
	rig_done(&rig);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		gm_test(every_stored_fd_comes_back_the_same_after_each_death),
		gm_test(numbers_with_gaps_are_passed_on_without_loss),
		gm_test(a_file_pushed_twice_under_one_name_comes_back_once),
		gm_test(what_a_dead_child_has_left_ends_before_the_next_one_starts),
		gm_test(a_flood_fills_the_store_and_goes_no_further),
		gm_test(as_many_as_there_can_be_are_passed_on),
		gm_test(only_the_child_itself_is_believed),
		gm_test(all_that_a_dead_child_has_said_is_heard),
		gm_test(a_child_that_hangs_is_killed_and_started_again),
		gm_test(what_the_child_says_reaches_the_service_manager),
		gm_test(sigterm_goes_to_the_child_whose_status_is_ours),
		gm_test(sighup_goes_to_the_child_and_does_not_stop_it),
		gm_test(sigterm_at_any_time_of_a_start_ends_it),
		gm_test(a_final_status_is_not_tried_again),
		gm_test(who_dies_young_is_waited_for_longer_each_time),
		gm_test(a_client_that_connects_meanwhile_is_served_by_the_next_life),
		gm_test(the_child_starts_with_nothing_but_what_it_is_to_have),
		gm_test(a_watched_keeper_reports_itself_and_watches_the_child),
		gm_test(nothing_is_left_in_the_file_system),
	};

	t_keep_child(argc, argv);
	return gm_test_run("keep", tests, GM_ARRAY_SIZE(tests));
}
