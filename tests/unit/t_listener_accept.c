/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting over real sockets: who is let in and kept, and how the listening socket is made. */
#include "listener_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gm_scm.h"

/* ---- the peer's process ---- */

static void pass_socket(int channel, int fd)
{
	if (gm_scm_send(channel, "x", 1, NULL, 0, &fd, 1, 0) != 0)
		_exit(1);
}

static int take_socket(int channel)
{
	enum gm_scm_fault fault;
	struct gm_fdset fds;
	size_t length;
	char byte;
	int fd;

	assert_int_equal(gm_scm_receive(channel, &byte, 1, 0, true, &length, &fds, &fault), 0);
	assert_int_equal(fault, GM_SCM_GOOD);
	fd = gm_fdset_steal(&fds, 0);
	assert_true(fd >= 0);
	return fd;
}

static void a_connection_ends_with_its_process_even_if_another_holds_the_socket(void **state)
{
	int pair[2], gate[2], fd, status;
	struct fixture f;
	pid_t pid;

	(void)state;
	fixture_init(&f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char byte;

		fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		if (connect(fd, (const struct sockaddr *)&f.address, sizeof(f.address)) != 0)
			_exit(1);
		pass_socket(pair[1], fd);
		close(gate[1]);
		if (read(gate[0], &byte, 1) != 0)
			_exit(1);
		_exit(0);
	}
	fd = take_socket(pair[0]);
	settle(&f);
	assert_int_equal(f.n_users, 1);
	assert_int_equal(f.n_closed, 0);

	close(gate[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	settle(&f);
	assert_int_equal(f.n_closed, 1);
	assert_int_equal(f.n_violations, 0);
	close(fd);
	close(gate[0]);
	close(pair[0]);
	close(pair[1]);
	fixture_done(&f);
}

static void a_peer_whose_process_is_gone_before_it_is_accepted_is_not_kept(void **state)
{
	int pair[2], fd, status;
	struct fixture f;
	pid_t pid;

	(void)state;
	fixture_init(&f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		if (connect(fd, (const struct sockaddr *)&f.address, sizeof(f.address)) != 0)
			_exit(1);
		pass_socket(pair[1], fd);
		_exit(0);
	}
	fd = take_socket(pair[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	settle(&f);
	assert_int_equal(f.n_closed, f.n_users);
	expect_end(fd);
	close(fd);
	close(pair[0]);
	close(pair[1]);
	fixture_done(&f);
}

/* ---- accepting ---- */

static void a_peer_that_is_turned_away_can_read_why_though_it_said_hello_already(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	fixture_init(&f);
	f.refuse = true;
	fd = dial(&f);
	send_ping(fd, 1);
	settle(&f);
	assert_int_equal(f.n_users, 0);
	expect_answer(fd, 0);
	expect_end(fd);
	close(fd);
	fixture_done(&f);
}

static void accepting_rests_while_the_host_is_short_of_fds_and_goes_on_after_it(void **state)
{
	struct rlimit before, low;
	struct fixture f;
	int fd, unused;

	(void)state;
	fixture_init(&f);
	fd = dial(&f);
	unused = dup(fd);
	close(unused);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = before;
	low.rlim_cur = (rlim_t)unused;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	run_for(&f, 500);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(f.shortage, EMFILE);
	assert_true(f.n_shortages >= 2);
	assert_true(f.n_shortages <= 4);
	assert_int_equal(f.n_users, 0);

	run_for(&f, 300);
	assert_int_equal(f.n_users, 1);
	send_ping(fd, 1);
	settle(&f);
	expect_answer(fd, 1);
	close(fd);
	fixture_done(&f);
}

static bool may_come;

static bool may_they_come(void *arg)
{
	assert_non_null(arg);
	return may_come;
}

static void while_nobody_may_come_peers_wait_in_the_backlog(void **state)
{
	struct gm_listener_ops ops = fixture_ops;
	struct fixture f;
	int fd;

	(void)state;
	ops.may_come = may_they_come;
	may_come = false;
	fixture_init_with(&f, &ops);
	fd = dial(&f);
	send_ping(fd, 1);
	run_for(&f, 300);
	assert_int_equal(f.n_users, 0);
	/* That is no shortage of the host's. */
	assert_int_equal(f.n_shortages, 0);
	expect_nothing(fd);

	may_come = true;
	run_for(&f, 300);
	assert_int_equal(f.n_users, 1);
	expect_answer(fd, 1);
	close(fd);
	fixture_done(&f);
}

static void a_peer_that_there_is_no_fd_to_watch_is_let_go_and_the_shortage_told(void **state)
{
	struct rlimit before, low;
	struct fixture f;
	int fd, unused;

	(void)state;
	fixture_init(&f);
	fd = dial(&f);
	unused = dup(fd);
	close(unused);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = before;
	low.rlim_cur = (rlim_t)unused + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	settle(&f);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(f.n_users, 0);
	assert_int_equal(f.shortage, EMFILE);
	expect_end(fd);
	close(fd);
	fixture_done(&f);
}

static void a_connection_that_memory_is_short_for_leaves_nothing_behind(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	fixture_init(&f);
	gm_test_fail_allocation(1);
	fd = dial(&f);
	settle(&f);
	gm_test_fail_allocation(0);
	assert_int_equal(f.n_users, 0);
	assert_int_equal(f.shortage, ENOMEM);
	expect_end(fd);
	close(fd);

	run_for(&f, 250);
	fd = dial_in(&f);
	assert_int_equal(f.n_users, 1);
	close(fd);
	fixture_done(&f);
}

static void a_paused_listener_keeps_its_connections_and_takes_no_more(void **state)
{
	struct fixture f;
	int before, after;

	(void)state;
	fixture_init(&f);
	before = dial_in(&f);
	gm_listener_pause(f.listener);
	after = dial_in(&f);
	assert_int_equal(f.n_users, 1);
	send_ping(before, 1);
	settle(&f);
	expect_answer(before, 1);
	expect_nothing(after);
	close(before);
	close(after);
	fixture_done(&f);
}

static void freeing_a_listener_ends_its_connections(void **state)
{
	struct fixture f;
	int a, b;

	(void)state;
	fixture_init(&f);
	a = dial_in(&f);
	b = dial_in(&f);
	fixture_done(&f);
	assert_int_equal(f.n_closed, 2);
	expect_end(a);
	expect_end(b);
	close(a);
	close(b);
}

/* ---- making sockets ---- */

struct place {
	char folder[64];
	char path[80];
};

static void place_init(struct place *place)
{
	snprintf(place->folder, sizeof(place->folder), "/tmp/gm-place-XXXXXX");
	assert_non_null(mkdtemp(place->folder));
	snprintf(place->path, sizeof(place->path), "%s/socket", place->folder);
}

static void place_done(const struct place *place)
{
	unlink(place->path);
	assert_int_equal(rmdir(place->folder), 0);
}

static void a_new_socket_has_its_mode_whatever_the_umask(void **state)
{
	struct place place;
	struct stat st;
	mode_t before;
	int fd;

	(void)state;
	place_init(&place);
	before = umask(0077);
	assert_int_equal(gm_listen_at(place.path, 0660, &fd), 0);
	assert_int_equal(umask(before), 0077);
	assert_int_equal(stat(place.path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0660);
	assert_int_equal(gm_check_listening(fd), 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	place_done(&place);
}

static void a_socket_that_nobody_listens_on_is_replaced(void **state)
{
	struct place place;
	int fd;

	(void)state;
	place_init(&place);
	assert_int_equal(gm_listen_at(place.path, 0600, &fd), 0);
	close(fd);
	assert_int_equal(gm_listen_at(place.path, 0600, &fd), 0);
	close(fd);
	place_done(&place);
}

static void a_socket_in_use_is_left_alone(void **state)
{
	struct place place;
	int fd, second = -1;

	(void)state;
	place_init(&place);
	assert_int_equal(gm_listen_at(place.path, 0600, &fd), 0);
	assert_int_equal(gm_listen_at(place.path, 0600, &second), -EADDRINUSE);
	assert_int_equal(second, -1);
	close(fd);
	place_done(&place);
}

static void a_socket_of_another_type_in_use_is_left_alone(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = -1;
	struct place place;

	(void)state;
	place_init(&place);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", place.path);
	assert_int_equal(bind(other, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(other, 1), 0);
	assert_int_equal(gm_listen_at(place.path, 0600, &fd), -EADDRINUSE);
	close(other);
	place_done(&place);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
	struct place place;
	struct stat st;
	int fd = -1;

	(void)state;
	place_init(&place);
	fd = open(place.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(gm_listen_at(place.path, 0600, &fd), -EADDRINUSE);
	assert_int_equal(stat(place.path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	place_done(&place);
}

static void a_path_that_cannot_be_is_refused(void **state)
{
	char longest[200];
	int fd;

	(void)state;
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(gm_listen_at(longest, 0600, &fd), -ENAMETOOLONG);
	assert_int_equal(gm_listen_at("", 0600, &fd), -EINVAL);
	assert_int_equal(gm_listen_at("/nowhere/at/all", 0600, &fd), -ENOENT);
}

static void only_a_listening_seqpacket_unix_socket_will_do(void **state)
{
	int not_listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int stream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int inet = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(gm_check_listening(not_listening), -EINVAL);
	assert_int_equal(gm_check_listening(stream), -EPROTOTYPE);
	assert_int_equal(gm_check_listening(inet), -EAFNOSUPPORT);
	assert_int_equal(gm_check_listening(STDERR_FILENO), -ENOTSOCK);
	close(not_listening);
	close(stream);
	close(inet);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_connection_ends_with_its_process_even_if_another_holds_the_socket),
		gm_test(a_peer_whose_process_is_gone_before_it_is_accepted_is_not_kept),
		gm_test(a_peer_that_is_turned_away_can_read_why_though_it_said_hello_already),
		gm_test(while_nobody_may_come_peers_wait_in_the_backlog),
		gm_test(accepting_rests_while_the_host_is_short_of_fds_and_goes_on_after_it),
		gm_test(a_peer_that_there_is_no_fd_to_watch_is_let_go_and_the_shortage_told),
		gm_test(a_connection_that_memory_is_short_for_leaves_nothing_behind),
		gm_test(a_paused_listener_keeps_its_connections_and_takes_no_more),
		gm_test(freeing_a_listener_ends_its_connections),
		gm_test(a_new_socket_has_its_mode_whatever_the_umask),
		gm_test(a_socket_that_nobody_listens_on_is_replaced),
		gm_test(a_socket_in_use_is_left_alone),
		gm_test(a_socket_of_another_type_in_use_is_left_alone),
		gm_test(a_file_that_is_no_socket_is_left_alone),
		gm_test(a_path_that_cannot_be_is_refused),
		gm_test(only_a_listening_seqpacket_unix_socket_will_do),
	};

	return gm_test_run("listener accept", tests, GM_ARRAY_SIZE(tests));
}
