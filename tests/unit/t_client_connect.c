/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How libgmem finds, greets and leaves a daemon.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client_server.h"
#include "gm_scm.h"

static int connect_status(const char *address, const char *name, int timeout_ms, char *why,
			  size_t why_size)
{
	const struct gmem_connect_spec spec = {
		.name = name,
		.timeout_ms = timeout_ms,
		.ret_error = why,
		.ret_error_size = why_size,
	};
	gmem_client *client = NULL;
	int r = gmem_connect(address, &spec, &client);

	if (r == 0)
		gmem_disconnect(client);
	else
		assert_null(client);
	return r;
}

static void the_greeting_tells_the_tenant(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, NULL);

	(void)state;
	assert_string_equal(gmem_client_tenant(client), "acme");
	assert_false(gmem_client_is_admin(client));
	assert_int_equal(gmem_error(client)->status, 0);
	gmem_disconnect(client);
	server_stop(&server);
}

static void an_admin_socket_has_no_tenant(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client;

	(void)state;
	server.admin = true;
	client = server_client(&server, NULL);
	assert_string_equal(gmem_client_tenant(client), "");
	assert_true(gmem_client_is_admin(client));
	gmem_disconnect(client);
	server_stop(&server);
}

static void script_name(struct server *server)
{
	Gmem__HelloReply hello = GMEM__HELLO_REPLY__INIT;
	const Gmem__HelloRequest *request;

	server_expect(server, GM_MSG_HELLO);
	request = server->request;
	server_check(server, request->min_version == 1 && request->max_version == 1, "versions");
	server_check(server,
		     request->client.len == strlen(program_invocation_short_name) &&
			     memcmp(request->client.data, program_invocation_short_name,
				    request->client.len) == 0,
		     "not the program's name");
	hello.has_version = true;
	hello.version = 1;
	server_answer(server, &hello.base, NULL, 0);
}

static void without_a_name_the_greeting_has_the_programs(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = NULL;

	(void)state;
	server.silent = true;
	server_start(&server, script_name);
	assert_int_equal(gmem_connect(server.path, NULL, &client), 0);
	gmem_disconnect(client);
	server_stop(&server);
}

static void a_name_outside_the_character_set_is_refused(void **state)
{
	struct server server = SERVER_NULL;
	char why[256] = "";

	(void)state;
	server.silent = true;
	server_start(&server, NULL);
	assert_int_equal(connect_status(server.path, "two words", 0, why, sizeof(why)),
			 -GMEM_INVALID);
	assert_non_null(strstr(why, "name"));
	server_stop(&server);
}

static void the_environment_names_the_address(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = NULL;

	(void)state;
	server_start(&server, NULL);
	setenv("GMEM_ADDRESS", server.path, 1);
	assert_int_equal(gmem_connect(NULL, NULL, &client), 0);
	unsetenv("GMEM_ADDRESS");
	gmem_disconnect(client);
	server_stop(&server);
}

static void where_nobody_listens_is_disconnected_with_the_address(void **state)
{
	char why[256] = "";

	(void)state;
	assert_int_equal(connect_status("/tmp/no-gmemd-here", NULL, 0, why, sizeof(why)),
			 -GMEM_DISCONNECTED);
	assert_non_null(strstr(why, "/tmp/no-gmemd-here"));
	assert_non_null(strstr(why, "No such file"));
}

static void a_path_too_long_for_a_socket_is_invalid(void **state)
{
	char why[256] = "";
	char path[200];

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(connect_status(path, NULL, 0, why, sizeof(why)), -GMEM_INVALID);
	assert_non_null(strstr(why, "199"));
	assert_non_null(strstr(why, "107"));
}

static void send_full(struct server *server)
{
	Gmem__Status status = GMEM__STATUS__INIT;

	status.has_code = status.has_rule = status.has_object = true;
	status.code = GMEM__CODE__CODE_OVER_LIMIT;
	status.rule = GMEM__RULE__RULE_SESSIONS_MAX;
	status.object = bytes_of("tenant acme");
	status.has_limit = status.has_used = status.has_asked = true;
	status.limit = 64;
	status.used = 64;
	status.asked = 1;
	server->frame = (struct gm_frame){ .type = GM_MSG_HELLO };
	server_refuse(server, &status);
	server_hang_up(server);
}

static void script_full_unread(struct server *server)
{
	struct pollfd hello = { .fd = server->fd, .events = POLLIN };

	/* The greeting lies there unread: closing resets the connection. */
	poll(&hello, 1, 5000);
	send_full(server);
}

static void check_full(server_script script)
{
	struct server server = SERVER_NULL;
	char why[256] = "";

	server.silent = true;
	server_start(&server, script);
	assert_int_equal(connect_status(server.path, NULL, 0, why, sizeof(why)), -GMEM_OVER_LIMIT);
	assert_string_equal(why, "tenant acme: the policy's limit of sessions (SessionsMax, "
				 "limit 64, used 64, asked 1).");
	server_stop(&server);
}

static void the_unasked_refusal_is_told_whether_the_greeting_was_sent_or_not(void **state)
{
	(void)state;
	check_full(script_full_unread);
	check_full(send_full);
}

static void script_other_version(struct server *server)
{
	Gmem__HelloReply hello = GMEM__HELLO_REPLY__INIT;

	server_expect(server, GM_MSG_HELLO);
	hello.has_version = true;
	hello.version = 2;
	server_answer(server, &hello.base, NULL, 0);
}

static void a_version_that_was_not_offered_is_no_protocol(void **state)
{
	struct server server = SERVER_NULL;
	char why[256] = "";

	(void)state;
	server.silent = true;
	server_start(&server, script_other_version);
	assert_int_equal(connect_status(server.path, NULL, 0, why, sizeof(why)), -GMEM_PROTOCOL);
	assert_non_null(strstr(why, "version"));
	server_stop(&server);
}

static void a_greeting_without_an_answer_times_out(void **state)
{
	struct server server = SERVER_NULL;
	char why[256] = "";

	(void)state;
	server.silent = true;
	server_start(&server, NULL);
	assert_int_equal(connect_status(server.path, NULL, 30, why, sizeof(why)), -GMEM_TIMED_OUT);
	assert_non_null(strstr(why, "30 ms"));
	server_stop(&server);
}

static void want_of_memory_is_told_at_every_allocation(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = NULL;
	int r = -1;
	long n;

	(void)state;
	for (n = 1; r < 0 && n < 20; n++) {
		server = SERVER_NULL;
		server.tolerant = true;
		server_start(&server, NULL);
		gm_test_fail_allocation(n);
		r = gmem_connect(server.path, NULL, &client);
		gm_test_fail_allocation(0);
		if (r < 0)
			assert_int_equal(r, -GMEM_SYSTEM);
		else
			gmem_disconnect(client);
		server_stop(&server);
	}
	assert_int_equal(r, 0);
}

static void disconnecting_nothing_is_allowed(void **state)
{
	(void)state;
	gmem_disconnect(NULL);
	assert_int_equal(gmem_error(NULL)->status, GMEM_DISCONNECTED);
	assert_non_null(gmem_error(NULL)->text);
}

static void every_status_has_a_name_for_either_sign(void **state)
{
	(void)state;
	assert_string_equal(gmem_status_name(-GMEM_OVER_LIMIT), "over-limit");
	assert_string_equal(gmem_status_name(GMEM_TIMED_OUT), "timed-out");
	assert_string_equal(gmem_status_name(-GMEM_DISCONNECTED), "disconnected");
	assert_string_equal(gmem_status_name(0), "ok");
	assert_string_equal(gmem_status_name(1000), "unknown");
	assert_string_equal(gmem_page_state_name(GMEM_PAGE_LOST), "lost");
	assert_string_equal(gmem_page_state_name(99), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(the_greeting_tells_the_tenant),
		gm_test(an_admin_socket_has_no_tenant),
		gm_test(without_a_name_the_greeting_has_the_programs),
		gm_test(a_name_outside_the_character_set_is_refused),
		gm_test(the_environment_names_the_address),
		gm_test(where_nobody_listens_is_disconnected_with_the_address),
		gm_test(a_path_too_long_for_a_socket_is_invalid),
		gm_test(the_unasked_refusal_is_told_whether_the_greeting_was_sent_or_not),
		gm_test(a_version_that_was_not_offered_is_no_protocol),
		gm_test(a_greeting_without_an_answer_times_out),
		gm_test(want_of_memory_is_told_at_every_allocation),
		gm_test(disconnecting_nothing_is_allowed),
		gm_test(every_status_has_a_name_for_either_sign),
	};

	return gm_test_run("client_connect", tests, sizeof(tests) / sizeof(tests[0]));
}
