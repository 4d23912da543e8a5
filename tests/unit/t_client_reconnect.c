/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How libgmem comes back to a daemon that dies at every point of a conversation and has a record
 * of the session, and when it gives up.
 */
#include <poll.h>
#include <sys/socket.h>

#include "client_outage.h"
#include "gm_fd.h"

/* ---- the daemon dies, and has a record of the session */

static void die_before_the_answer(struct server *server)
{
	uint32_t serial;

	server_expect(server, GM_MSG_PING);
	serial = server->frame.serial;
	server_return(server, true);
	server_expect(server, GM_MSG_PING);
	server_check(server, server->frame.serial == serial, "another serial");
	outage_answer_ping(server);
}

static void a_request_without_an_answer_is_repeated_with_its_serial(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = outage_client(&server, die_before_the_answer, &seen, 5000);

	(void)state;
	assert_int_equal(gmem_ping(client), 0);
	outage_check_resumed(&seen);
	outage_end(&server, client);
}

static void die_after_the_answer(struct server *server)
{
	outage_serve_ping(server);
	server_return(server, true);
	outage_serve_ping(server);
}

static void an_answer_that_was_sent_counts_and_is_not_asked_for_again(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = outage_client(&server, die_after_the_answer, &seen, 5000);

	(void)state;
	assert_int_equal(gmem_ping(client), 0);
	assert_int_equal(gmem_ping(client), 0);
	outage_check_resumed(&seen);
	outage_end(&server, client);
}

static void die_at_every_step(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	/* Before the greeting came, after it came, after it was answered, and in the request. */
	server_accept(server);
	server_accept(server);
	server_expect(server, GM_MSG_HELLO);
	server_return(server, true);
	server_return(server, true);
	server_expect(server, GM_MSG_PING);
	server_return(server, true);
	outage_serve_ping(server);
}

static void a_daemon_that_dies_again_and_again_only_makes_a_call_slow(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = outage_client(&server, die_at_every_step, &seen, 5000);

	(void)state;
	assert_int_equal(gmem_ping(client), 0);
	assert_true(seen.n >= 1);
	for (int i = 0; i < seen.n; i++)
		assert_int_equal(seen.types[i], GMEM_EVENT_RECONNECTED);
	outage_end(&server, client);
}

static void refuse_hello(struct server *server, uint32_t serial)
{
	Gmem__Status status = GMEM__STATUS__INIT;

	status.has_code = status.has_rule = true;
	status.code = GMEM__CODE__CODE_SHUTTING_DOWN;
	status.rule = GMEM__RULE__RULE_DRAINING;
	server->frame = (struct gm_frame){ .type = GM_MSG_HELLO, .serial = serial };
	server_refuse(server, &status);
}

static void turn_away_twice(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	server_accept(server);
	refuse_hello(server, 0);
	server_accept(server);
	server_expect(server, GM_MSG_HELLO);
	refuse_hello(server, server->frame.serial);
	server_return(server, true);
	outage_serve_ping(server);
}

static void a_daemon_that_turns_the_client_away_is_tried_again(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = outage_client(&server, turn_away_twice, &seen, 5000);

	(void)state;
	assert_int_equal(gmem_ping(client), 0);
	outage_check_resumed(&seen);
	outage_end(&server, client);
}

static void greet_late(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	server_accept(server);
	outage_nap_ms(300);
	server_greet(server, true);
	outage_serve_ping(server);
}

static void time_without_a_connection_is_not_the_calls(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client;

	(void)state;
	server.reconnect_ms = 5000;
	client = server_client_with(&server, greet_late, 100);
	assert_int_equal(gmem_ping(client), 0);
	outage_end(&server, client);
}

static void die_and_serve_inner_ping(struct server *server)
{
	uint32_t outer;

	server_expect(server, GM_MSG_PING);
	outer = server->frame.serial;
	server_return(server, true);
	outage_serve_ping(server);
	server_check(server, server->frame.serial == outer, "a later request came first");
	outage_serve_ping(server);
}

static void the_event_comes_when_calls_can_be_made(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = outage_client(&server, die_and_serve_inner_ping, &seen, 5000);

	(void)state;
	seen.inner = 0;
	assert_int_equal(gmem_ping(client), 0);
	assert_int_equal(seen.inner, 0);
	outage_check_resumed(&seen);
	outage_end(&server, client);
}

/* ---- jobs, and more than one request */

static void die_in_a_job(struct server *server)
{
	uint32_t serial;

	outage_grant(server);
	server_expect(server, GM_MSG_ALLOCATE);
	serial = server->frame.serial;
	outage_send_progress(server, SIZE / 2);
	outage_resume(server);
	server_expect(server, GM_MSG_ALLOCATE);
	server_check(server, server->frame.serial == serial, "another serial");
	server_check(server, ((const Gmem__AllocateRequest *)server->request)->region == REGION,
		     "another region");
	outage_answer_allocate(server, serial);
}

static void a_job_under_way_is_repeated(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain = outage_open_region(&server, die_in_a_job, &seen, 0);

	(void)state;
	assert_int_equal(gmem_region_allocate(gmem_domain_region(domain, 0), NULL, 0, NULL, NULL),
			 0);
	outage_check_resumed(&seen);
	outage_close_region(&server, &seen);
}

static void die_with_three_requests(struct server *server)
{
	uint32_t serials[3];

	outage_grant(server);
	for (int i = 0; i < 3; i++) {
		server_expect(server, i < 2 ? GM_MSG_ALLOCATE : GM_MSG_PING);
		serials[i] = server->frame.serial;
	}
	outage_resume(server);
	for (int i = 0; i < 3; i++) {
		server_expect(server, i < 2 ? GM_MSG_ALLOCATE : GM_MSG_PING);
		server_check(server, server->frame.serial == serials[i], "another order");
	}
	outage_answer_ping(server);
	outage_answer_allocate(server, serials[1]);
	outage_answer_allocate(server, serials[0]);
	outage_serve_ping(server);
}

static void all_that_is_unanswered_is_repeated_in_order(void **state)
{
	int n = 0;
	const struct gmem_job_callbacks callbacks = { .done = outage_count_done, .arg = &n };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain = outage_open_region(&server, die_with_three_requests, &seen, 0);
	gmem_region *region = gmem_domain_region(domain, 0);

	(void)state;
	assert_int_equal(gmem_region_allocate_start(region, NULL, 0, &callbacks), 0);
	assert_int_equal(gmem_region_allocate_start(region, NULL, 0, &callbacks), 0);
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(n, 2);
	outage_close_region(&server, &seen);
}

static void die_in_a_cancelled_job(struct server *server)
{
	Gmem__CancelReply reply = GMEM__CANCEL_REPLY__INIT;

	outage_grant(server);
	server_expect(server, GM_MSG_ALLOCATE);
	outage_send_progress(server, SIZE / 2);
	server_expect(server, GM_MSG_CANCEL);
	server_answer(server, &reply.base, NULL, 0);
	outage_resume(server);
	outage_serve_ping(server);
}

static int cancel(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)done;
	(void)total;
	return 1;
}

static void a_cancelled_job_ends_with_its_daemon(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain = outage_open_region(&server, die_in_a_cancelled_job, &seen, 0);

	(void)state;
	assert_int_equal(gmem_region_allocate(gmem_domain_region(domain, 0), NULL, 0, cancel, NULL),
			 -GMEM_CANCELLED);
	assert_int_equal(gmem_ping(seen.client), 0);
	outage_close_region(&server, &seen);
}

static void grant_late_after_death(struct server *server)
{
	Gmem__DomainCreateReply reply = GMEM__DOMAIN_CREATE_REPLY__INIT;
	uint8_t token[GMEM_TOKEN_SIZE] = { 1 };

	server_expect(server, GM_MSG_DOMAIN_CREATE);
	server_wait_flag(server, 1);
	server_return(server, true);
	server_expect(server, GM_MSG_DOMAIN_CREATE);
	reply.has_domain = reply.has_token = true;
	reply.domain = 0x99;
	reply.token.data = token;
	reply.token.len = sizeof(token);
	server_answer(server, &reply.base, NULL, 0);
	outage_serve_ping(server);
	server_expect(server, GM_MSG_DOMAIN_DESTROY);
	server_check(server, ((const Gmem__DomainDestroyRequest *)server->request)->domain == 0x99,
		     "another domain was given back");
	atomic_store(&server->flag, 2);
}

static void what_is_granted_to_a_call_that_gave_up_is_given_back_after_a_death_too(void **state)
{
	struct server server = SERVER_NULL;
	gmem_domain *domain;
	gmem_client *client;

	(void)state;
	server.reconnect_ms = 5000;
	client = server_client_with(&server, grant_late_after_death, 100);
	assert_int_equal(gmem_domain_create(client, NULL, &domain), -GMEM_TIMED_OUT);
	atomic_store(&server.flag, 1);
	assert_int_equal(gmem_ping(client), 0);
	server_wait_flag(&server, 2);
	outage_end(&server, client);
}

/* ---- lists */

static void answer_part(struct server *server, uint64_t cursor, uint64_t id, uint64_t next)
{
	Gmem__ListReply reply = GMEM__LIST_REPLY__INIT;
	Gmem__DomainInfo info = GMEM__DOMAIN_INFO__INIT;
	Gmem__DomainInfo *infos[1] = { &info };

	server_check(server, ((const Gmem__ListRequest *)server->request)->cursor == cursor,
		     "another cursor");
	info.has_domain = reply.has_cursor = true;
	info.domain = id;
	reply.domains = infos;
	reply.n_domains = 1;
	reply.cursor = next;
	server_answer(server, &reply.base, NULL, 0);
}

static void die_in_a_list(struct server *server)
{
	Gmem__Status status = GMEM__STATUS__INIT;

	server_expect(server, GM_MSG_LIST);
	answer_part(server, 0, 1, 7);
	server_expect(server, GM_MSG_LIST);
	server_return(server, true);
	server_expect(server, GM_MSG_LIST);
	status.has_code = status.has_rule = true;
	status.code = GMEM__CODE__CODE_INVALID;
	status.rule = GMEM__RULE__RULE_CURSOR;
	server_refuse(server, &status);
	server_expect(server, GM_MSG_LIST);
	answer_part(server, 0, 1, 9);
	server_expect(server, GM_MSG_LIST);
	answer_part(server, 9, 2, 0);
}

static int add_id(void *arg, const struct gmem_domain_info *info)
{
	uint64_t *digits = arg;

	*digits = *digits * 10 + info->id;
	return 0;
}

static void a_list_shows_each_object_once_whatever_dies(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = outage_client(&server, die_in_a_list, &seen, 5000);
	uint64_t digits = 0;

	(void)state;
	assert_int_equal(gmem_list_domains(client, add_id, &digits), 0);
	assert_int_equal(digits, 12);
	outage_end(&server, client);
}

/* ---- patience */

static void die_for_good(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	(void)shutdown(server->listen_fd, SHUT_RDWR);
	server_hang_up(server);
}

static void when_the_patience_is_over_the_client_ends(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = outage_client(&server, die_for_good, &seen, 250);
	struct pollfd readable = { .fd = gmem_client_fd(client), .events = POLLIN };
	uint64_t begin = outage_now_ms();

	(void)state;
	assert_int_equal(gmem_ping(client), -GMEM_DISCONNECTED);
	assert_non_null(strstr(gmem_error(client)->text, "250 ms"));
	assert_non_null(strstr(gmem_error(client)->text, "Connection refused"));
	assert_true(outage_now_ms() - begin >= 250);
	assert_true(outage_now_ms() - begin < 2000);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.types[0], GMEM_EVENT_DISCONNECTED);
	assert_int_equal(poll(&readable, 1, 0), 1);
	assert_int_equal(gmem_ping(client), -GMEM_DISCONNECTED);
	assert_int_equal(gmem_dispatch(client), -GMEM_DISCONNECTED);
	assert_int_equal(seen.n, 1);
	outage_end(&server, client);
}

static void die_of_each_request(struct server *server)
{
	for (;;) {
		server_accept(server);
		if (server->fd < 0)
			return;
		server_greet(server, true);
	}
}

static void a_request_that_kills_every_daemon_ends_with_the_patience(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = outage_client(&server, die_of_each_request, &seen, 250);
	uint64_t begin = outage_now_ms();

	(void)state;
	server.tolerant = true;
	gmem_client_on_event(client, NULL, NULL);
	assert_int_equal(gmem_ping(client), -GMEM_DISCONNECTED);
	assert_true(outage_now_ms() - begin >= 250);
	assert_true(outage_now_ms() - begin < 2000);
	(void)shutdown(server.listen_fd, SHUT_RDWR);
	outage_end(&server, client);
}

static void hang_up_in_a_call(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	server_hang_up(server);
}

static void a_client_that_never_reconnects_has_no_key_and_fails_at_once(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = outage_client(&server, hang_up_in_a_call, &seen, -1);

	(void)state;
	assert_int_equal(gmem_ping(client), -GMEM_DISCONNECTED);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.types[0], GMEM_EVENT_DISCONNECTED);
	outage_end(&server, client);
}

static void take_leave_of_the_next(struct server *server)
{
	const Gmem__HelloRequest *hello;

	outage_serve_ping(server);
	server_hang_up(server);
	atomic_store(&server->flag, 1);
	server_wait_flag(server, 2);
	/* By now the client is no more. */
	server_accept(server);
	server_expect(server, GM_MSG_HELLO);
	hello = server->request;
	server_check(server,
		     hello->session_key.len == sizeof(server->key) &&
			     memcmp(hello->session_key.data, server->key, sizeof(server->key)) == 0,
		     "another key");
}

static void a_client_that_ends_while_the_daemon_is_away_leaves_word_for_the_next(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client;

	(void)state;
	client = outage_client(&server, take_leave_of_the_next, &seen, 5000);
	assert_int_equal(gmem_ping(client), 0);
	while (atomic_load(&server.flag) != 1)
		outage_nap_ms(1);
	gmem_disconnect(client);
	atomic_store(&server.flag, 2);
	server_stop(&server);
	assert_int_equal(seen.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_request_without_an_answer_is_repeated_with_its_serial),
		gm_test(an_answer_that_was_sent_counts_and_is_not_asked_for_again),
		gm_test(a_daemon_that_dies_again_and_again_only_makes_a_call_slow),
		gm_test(a_daemon_that_turns_the_client_away_is_tried_again),
		gm_test(time_without_a_connection_is_not_the_calls),
		gm_test(the_event_comes_when_calls_can_be_made),
		gm_test(a_job_under_way_is_repeated),
		gm_test(all_that_is_unanswered_is_repeated_in_order),
		gm_test(a_cancelled_job_ends_with_its_daemon),
		gm_test(what_is_granted_to_a_call_that_gave_up_is_given_back_after_a_death_too),
		gm_test(a_list_shows_each_object_once_whatever_dies),
		gm_test(when_the_patience_is_over_the_client_ends),
		gm_test(a_request_that_kills_every_daemon_ends_with_the_patience),
		gm_test(a_client_that_never_reconnects_has_no_key_and_fails_at_once),
		gm_test(a_client_that_ends_while_the_daemon_is_away_leaves_word_for_the_next),
	};

	return gm_test_run("client_reconnect", tests, GM_ARRAY_SIZE(tests));
}
