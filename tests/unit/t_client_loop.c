/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event loops: whatever state the daemon is in, nothing but poll waits.
 */
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "client_outage.h"
#include "gm_fd.h"

#define MANY 100
#define RANGES 1000

/* Turns an event loop until @n events were seen; returns how long the longest dispatch took. */
static uint64_t turn(const struct seen *seen, int n, int *ret_turns)
{
	struct pollfd readable = { .fd = gmem_client_fd(seen->client), .events = POLLIN };
	uint64_t longest = 0;

	for (*ret_turns = 0; seen->n < n && *ret_turns < 100000; ++*ret_turns) {
		uint64_t begin;

		assert_int_equal(poll(&readable, 1, 5000), 1);
		begin = outage_now_ms();
		(void)gmem_dispatch(seen->client);
		if (outage_now_ms() - begin > longest)
			longest = outage_now_ms() - begin;
		assert_int_equal(gmem_client_fd(seen->client), readable.fd);
	}
	assert_int_equal(seen->n, n);
	return longest;
}

static void die_idle(struct server *server)
{
	server_wait_flag(server, 1);
	server_hang_up(server);
	server_wait_flag(server, 2);
	server_return(server, true);
	outage_serve_ping(server);
}

/* Connections that nobody accepts, so that the next connect has no room. */
static size_t fill_backlog(const struct server *server, int fds[16])
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	size_t n;

	snprintf(name.sun_path, sizeof(name.sun_path), "%s", server->path);
	for (n = 0; n < 16; n++) {
		fds[n] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		assert_true(fds[n] >= 0);
		if (connect(fds[n], (struct sockaddr *)&name, sizeof(name)) < 0)
			break;
	}
	assert_true(n < 16);
	gm_fd_close(fds[n]);
	return n;
}

static void a_daemon_that_does_not_accept_blocks_no_event_loop(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = outage_client(&server, die_idle, &seen, 400);
	int fds[16];
	int turns;
	size_t n = fill_backlog(&server, fds);

	(void)state;
	server.tolerant = true;
	atomic_store(&server.flag, 1);
	assert_true(turn(&seen, 1, &turns) < 50);
	assert_int_equal(seen.types[0], GMEM_EVENT_DISCONNECTED);
	/* 1, 2, 4 ... 100 ms: some attempts, and no spinning. */
	assert_true(turns > 4 && turns < 100);
	atomic_store(&server.flag, 2);
	while (n--)
		gm_fd_close(fds[n]);
	outage_end(&server, client);
}

static void die_and_do_not_greet(struct server *server)
{
	server_hang_up(server);
	server_accept(server);
	server_wait_flag(server, 1);
}

static void a_daemon_that_does_not_greet_blocks_no_event_loop(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = outage_client(&server, die_and_do_not_greet, &seen, 300);
	int turns;

	(void)state;
	assert_true(turn(&seen, 1, &turns) < 50);
	assert_int_equal(seen.types[0], GMEM_EVENT_DISCONNECTED);
	assert_true(turns < 50);
	atomic_store(&server.flag, 1);
	outage_end(&server, client);
}

static void return_in_steps(struct server *server)
{
	outage_grant(server);
	server_return(server, false);
	outage_nap_ms(50);
	outage_expect_attach(server);
	outage_nap_ms(50);
	outage_answer_attach(server, 0);
	outage_give_memory(server, outage_memory);
}

static void an_event_loop_drives_the_whole_return(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	int turns;

	(void)state;
	outage_open_region(&server, return_in_steps, &seen, GMEM_DOMAIN_PERSISTENT);
	assert_true(turn(&seen, 1, &turns) < 40);
	assert_int_equal(seen.types[0], GMEM_EVENT_RECONNECTED);
	assert_int_equal(gmem_dispatch(seen.client), -GMEM_AGAIN);
	outage_close_region(&server, &seen);
}

static void die_and_take_what_was_started(struct server *server)
{
	outage_grant(server);
	server_hang_up(server);
	server_wait_flag(server, 1);
	outage_resume(server);
	server_expect(server, GM_MSG_ALLOCATE);
	outage_answer_allocate(server, server->frame.serial);
}

static void a_job_may_be_started_while_there_is_no_daemon(void **state)
{
	int n = 0;
	const struct gmem_job_callbacks callbacks = { .done = outage_count_done, .arg = &n };
	struct server server = SERVER_NULL;
	struct pollfd readable = { .events = POLLIN };
	struct seen seen;
	gmem_domain *domain = outage_open_region(&server, die_and_take_what_was_started, &seen, 0);

	(void)state;
	readable.fd = gmem_client_fd(seen.client);
	assert_int_equal(poll(&readable, 1, 5000), 1);
	assert_int_equal(gmem_dispatch(seen.client), 0);
	assert_int_equal(
		gmem_region_allocate_start(gmem_domain_region(domain, 0), NULL, 0, &callbacks), 0);
	atomic_store(&server.flag, 1);
	while (n == 0 && poll(&readable, 1, 5000) == 1)
		(void)gmem_dispatch(seen.client);
	assert_int_equal(n, 1);
	outage_close_region(&server, &seen);
}

static void die_with_a_domain(struct server *server)
{
	outage_grant(server);
	(void)shutdown(server->listen_fd, SHUT_RDWR);
	server_hang_up(server);
}

static void note_status(void *arg, int status, uint64_t bytes)
{
	(void)bytes;
	*(int *)arg = status;
}

static void a_client_may_leave_while_there_is_no_daemon(void **state)
{
	int status = 1;
	const struct gmem_job_callbacks callbacks = { .done = note_status, .arg = &status };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain = outage_open_region(&server, die_with_a_domain, &seen, 0);
	struct pollfd readable = { .fd = gmem_client_fd(seen.client), .events = POLLIN };

	(void)state;
	assert_int_equal(poll(&readable, 1, 5000), 1);
	assert_int_equal(gmem_dispatch(seen.client), 0);
	assert_int_equal(
		gmem_region_allocate_start(gmem_domain_region(domain, 0), NULL, 0, &callbacks), 0);
	outage_close_region(&server, &seen);
	assert_int_equal(status, -GMEM_CANCELLED);
	assert_int_equal(seen.n, 0);
}

static void read_late(struct server *server)
{
	outage_grant(server);
	server_wait_flag(server, 1);
	for (int i = 0; i < MANY; i++) {
		server_expect(server, GM_MSG_ALLOCATE);
		server_check(server,
			     ((const Gmem__AllocateRequest *)server->request)->n_ranges == RANGES,
			     "a part of a request");
		outage_answer_allocate(server, server->frame.serial);
	}
}

static void die_with_a_full_socket(struct server *server)
{
	outage_grant(server);
	server_wait_flag(server, 1);
	for (int i = 0; i < 3; i++)
		server_expect(server, GM_MSG_ALLOCATE);
	outage_resume(server);
	for (int i = 0; i < MANY; i++) {
		server_expect(server, GM_MSG_ALLOCATE);
		outage_answer_allocate(server, server->frame.serial);
	}
}

static void check_full_socket(server_script script)
{
	int n = 0;
	const struct gmem_job_callbacks callbacks = { .done = outage_count_done, .arg = &n };
	struct gmem_range ranges[RANGES];
	struct server server = SERVER_NULL;
	struct pollfd readable = { .events = POLLIN };
	struct seen seen;
	gmem_domain *domain = outage_open_region(&server, script, &seen, 0);
	gmem_region *region = gmem_domain_region(domain, 0);
	uint64_t begin = outage_now_ms();

	for (uint64_t i = 0; i < RANGES; i++)
		ranges[i] = (struct gmem_range){ .offset = i << 40, .length = 1 << 30 };
	for (int i = 0; i < MANY; i++)
		assert_int_equal(gmem_region_allocate_start(region, ranges, RANGES, &callbacks), 0);
	assert_true(outage_now_ms() - begin < 1000);
	readable.fd = gmem_client_fd(seen.client);
	assert_int_equal(poll(&readable, 1, 0), 0);
	atomic_store(&server.flag, 1);
	while (n < MANY && poll(&readable, 1, 5000) == 1)
		(void)gmem_dispatch(seen.client);
	assert_int_equal(n, MANY);
	outage_close_region(&server, &seen);
}

static void requests_that_do_not_fit_wait_for_room_without_blocking(void **state)
{
	(void)state;
	check_full_socket(read_late);
	check_full_socket(die_with_a_full_socket);
}

static void read_nothing_in_time(struct server *server)
{
	outage_grant(server);
	server_wait_flag(server, 1);
	for (int i = 0; i < MANY; i++) {
		server_expect(server, GM_MSG_ALLOCATE);
		outage_answer_allocate(server, server->frame.serial);
	}
	/* The one that timed out is not among them. */
	outage_serve_ping(server);
}

static void a_call_that_gave_up_before_it_was_sent_is_never_sent(void **state)
{
	int n = 0;
	const struct gmem_job_callbacks callbacks = { .done = outage_count_done, .arg = &n };
	const struct gmem_region_spec spec = { .size = SIZE };
	struct gmem_range ranges[RANGES];
	struct server server = SERVER_NULL;
	gmem_client *client;
	gmem_region *region;
	gmem_domain *domain;

	(void)state;
	outage_memory = server_memory(SIZE);
	client = server_client_with(&server, read_nothing_in_time, 100);
	assert_int_equal(gmem_domain_create(client, NULL, &domain), 0);
	assert_int_equal(gmem_region_create(domain, &spec, &region), 0);
	for (uint64_t i = 0; i < RANGES; i++)
		ranges[i] = (struct gmem_range){ .offset = i << 40, .length = 1 << 30 };
	for (int i = 0; i < MANY; i++)
		assert_int_equal(gmem_region_allocate_start(region, ranges, RANGES, &callbacks), 0);
	assert_int_equal(gmem_region_destroy(region), -GMEM_TIMED_OUT);
	atomic_store(&server.flag, 1);
	while (n < MANY) {
		struct pollfd readable = { .fd = gmem_client_fd(client), .events = POLLIN };

		assert_int_equal(poll(&readable, 1, 5000), 1);
		(void)gmem_dispatch(client);
	}
	assert_int_equal(gmem_ping(client), 0);
	outage_end(&server, client);
	gm_fd_close(outage_memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_client_may_leave_while_there_is_no_daemon),
		gm_test(a_daemon_that_does_not_accept_blocks_no_event_loop),
		gm_test(a_daemon_that_does_not_greet_blocks_no_event_loop),
		gm_test(an_event_loop_drives_the_whole_return),
		gm_test(a_job_may_be_started_while_there_is_no_daemon),
		gm_test(requests_that_do_not_fit_wait_for_room_without_blocking),
		gm_test(a_call_that_gave_up_before_it_was_sent_is_never_sent),
	};

	return gm_test_run("client_loop", tests, GM_ARRAY_SIZE(tests));
}
