/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests and answers: matching, refusals, lateness, and daemons that break the protocol.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client_server.h"
#include "gm_fd.h"
#include "gm_scm.h"

struct events {
	int n;
	int last_type;
	uint64_t last_value;
};

static void count_event(void *arg, int type, gmem_domain *domain, uint64_t value)
{
	struct events *events = arg;

	(void)domain;
	events->n++;
	events->last_type = type;
	events->last_value = value;
}

static void answer_ping(struct server *server)
{
	Gmem__PingReply reply = GMEM__PING_REPLY__INIT;

	reply.has_payload = true;
	reply.payload = ((const Gmem__PingRequest *)server->request)->payload;
	server_answer(server, &reply.base, NULL, 0);
}

static void serve_ping(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	answer_ping(server);
}

/* ---- what a daemon may not do */

static void send_frame(struct server *server, uint16_t type, uint16_t flags, uint32_t serial,
		       uint8_t n_fds_told, const void *body, uint32_t length, size_t n_fds)
{
	const struct gm_frame frame = {
		.version = GM_PROTOCOL_VERSION,
		.n_fds = n_fds_told,
		.type = type,
		.flags = flags,
		.serial = serial,
		.body_length = length,
	};
	const int fds[2] = { server->fd, server->fd };

	server_send(server, &frame, body, fds, n_fds);
}

static void short_packet(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	send(server->fd, "gm\1", 3, MSG_NOSIGNAL);
}

static void bad_magic(struct server *server)
{
	uint8_t packet[GM_FRAME_HEADER_SIZE] = "XX\1";

	server_expect(server, GM_MSG_PING);
	send(server->fd, packet, sizeof(packet), MSG_NOSIGNAL);
}

static void body_shorter_than_told(struct server *server)
{
	uint8_t packet[GM_FRAME_HEADER_SIZE];
	const struct gm_frame frame = {
		.version = 1, .type = GM_MSG_PING, .flags = 1, .serial = 2, .body_length = 9
	};

	server_expect(server, GM_MSG_PING);
	gm_frame_encode(&frame, packet);
	send(server->fd, packet, sizeof(packet), MSG_NOSIGNAL);
}

static void other_version(struct server *server)
{
	uint8_t packet[GM_FRAME_HEADER_SIZE];
	const struct gm_frame frame = {
		.version = 2, .type = GM_MSG_PING, .flags = 1, .serial = 2
	};

	server_expect(server, GM_MSG_PING);
	gm_frame_encode(&frame, packet);
	send(server->fd, packet, sizeof(packet), MSG_NOSIGNAL);
}

static void a_request(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	send_frame(server, GM_MSG_PING, 0, 5, 0, NULL, 0, 0);
}

static void refusal_without_answer(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	send_frame(server, GM_MSG_PING, GM_FRAME_REFUSED, server->frame.serial, 0, NULL, 0, 0);
}

static void unknown_serial(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	send_frame(server, GM_MSG_PING, GM_FRAME_ANSWER, server->frame.serial + 1, 0, NULL, 0, 0);
}

static void other_type(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	send_frame(server, GM_MSG_HOST, GM_FRAME_ANSWER, server->frame.serial, 0, NULL, 0, 0);
}

static void unasked_refusal_later(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	send_frame(server, GM_MSG_PING, GM_FRAME_ANSWER | GM_FRAME_REFUSED, 0, 0, "\10\5", 2, 0);
}

static void fewer_fds_than_told(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	send_frame(server, GM_MSG_PING, GM_FRAME_ANSWER, server->frame.serial, 2, NULL, 0, 1);
}

static void more_fds_than_told(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	send_frame(server, GM_MSG_PING, GM_FRAME_ANSWER, server->frame.serial, 1, NULL, 0, 2);
}

static void fds_where_none_belong(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	send_frame(server, GM_MSG_PING, GM_FRAME_ANSWER, server->frame.serial, 1, NULL, 0, 1);
}

static void event_with_fds(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	send_frame(server, GM_EVENT_SHUTDOWN, GM_FRAME_EVENT, 0, 1, NULL, 0, 1);
}

static void event_with_untold_fds(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	send_frame(server, GM_EVENT_SHUTDOWN, GM_FRAME_EVENT, 0, 0, NULL, 0, 1);
}

static void event_with_serial(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	send_frame(server, GM_EVENT_SHUTDOWN, GM_FRAME_EVENT, server->frame.serial, 0, NULL, 0, 0);
}

static void undecodable_event(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	send_frame(server, GM_EVENT_SHUTDOWN, GM_FRAME_EVENT, 0, 0, "\10", 1, 0);
}

static void undecodable_answer(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	send_frame(server, GM_MSG_PING, GM_FRAME_ANSWER, server->frame.serial, 0, "\12\77", 2, 0);
}

static void refusal_without_code(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	send_frame(server, GM_MSG_PING, GM_FRAME_ANSWER | GM_FRAME_REFUSED, server->frame.serial, 0,
		   NULL, 0, 0);
}

static void other_payload(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	send_frame(server, GM_MSG_PING, GM_FRAME_ANSWER, server->frame.serial, 0, "\12\4abcd", 6,
		   0);
}

static void more_fds_than_fit(struct server *server)
{
	char control[CMSG_SPACE(sizeof(int) * 16)] __attribute__((aligned(8))) = { 0 };
	uint8_t packet[GM_FRAME_HEADER_SIZE] = { 0 };
	struct iovec iov = { .iov_base = packet, .iov_len = sizeof(packet) };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int fds[16];

	server_expect(server, GM_MSG_PING);
	for (size_t i = 0; i < 16; i++)
		fds[i] = server->fd;
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(header), fds, sizeof(fds));
	sendmsg(server->fd, &message, MSG_NOSIGNAL);
}

static void a_breach_ends_the_connection_and_is_told_once(void **state)
{
	static const struct {
		const char *name;
		server_script script;
	} breaches[] = {
		{ "short packet", short_packet },
		{ "bad magic", bad_magic },
		{ "body shorter than told", body_shorter_than_told },
		{ "other version", other_version },
		{ "a request", a_request },
		{ "refusal without answer", refusal_without_answer },
		{ "unknown serial", unknown_serial },
		{ "other type", other_type },
		{ "unasked refusal later", unasked_refusal_later },
		{ "fewer fds than told", fewer_fds_than_told },
		{ "more fds than told", more_fds_than_told },
		{ "fds where none belong", fds_where_none_belong },
		{ "event with fds", event_with_fds },
		{ "event with untold fds", event_with_untold_fds },
		{ "event with serial", event_with_serial },
		{ "undecodable event", undecodable_event },
		{ "undecodable answer", undecodable_answer },
		{ "refusal without code", refusal_without_code },
		{ "other payload", other_payload },
		{ "more fds than fit", more_fds_than_fit },
	};

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(breaches); i++) {
		struct server server = SERVER_NULL;
		struct events events = { 0 };
		gmem_client *client = server_client(&server, breaches[i].script);
		int r;

		gmem_client_on_event(client, count_event, &events);
		r = gmem_ping(client);
		if (r != -GMEM_PROTOCOL)
			fail_msg("%s: %d %s", breaches[i].name, r, gmem_error(client)->text);
		assert_int_equal(gmem_error(client)->status, GMEM_PROTOCOL);
		assert_int_equal(gmem_ping(client), -GMEM_DISCONNECTED);
		assert_int_equal(gmem_dispatch(client), -GMEM_DISCONNECTED);
		assert_int_equal(events.n, 1);
		assert_int_equal(events.last_type, GMEM_EVENT_DISCONNECTED);
		gmem_disconnect(client);
		server_stop(&server);
	}
}

/* ---- the connection's end */

static void hang_up_in_a_call(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	server_hang_up(server);
}

static void a_connection_lost_in_a_call_fails_it_and_all_later_ones(void **state)
{
	struct server server = SERVER_NULL;
	struct events events = { 0 };
	gmem_client *client = server_client(&server, hang_up_in_a_call);
	struct pollfd readable = { .fd = gmem_client_fd(client), .events = POLLIN };

	(void)state;
	gmem_client_on_event(client, count_event, &events);
	assert_int_equal(gmem_ping(client), -GMEM_DISCONNECTED);
	assert_int_equal(gmem_ping(client), -GMEM_DISCONNECTED);
	assert_int_equal(gmem_dispatch(client), -GMEM_DISCONNECTED);
	assert_int_equal(events.n, 1);
	assert_int_equal(poll(&readable, 1, 0), 1);
	gmem_disconnect(client);
	server_stop(&server);
}

static void say_goodbye_and_hang_up(struct server *server)
{
	Gmem__ShutdownEvent event = GMEM__SHUTDOWN_EVENT__INIT;

	event.has_drain_ms = true;
	event.drain_ms = 4000;
	server_event(server, GM_EVENT_SHUTDOWN, &event.base);
	server_hang_up(server);
	atomic_store(&server->flag, 1);
}

static void remember_shutdown(void *arg, int type, gmem_domain *domain, uint64_t value)
{
	struct events *events = arg;

	(void)domain;
	events->n++;
	if (type == GMEM_EVENT_SHUTDOWN)
		events->last_value = value;
}

static void what_came_before_the_end_is_heard_even_when_sending_fails(void **state)
{
	struct server server = SERVER_NULL;
	struct events events = { 0 };
	gmem_client *client = server_client(&server, say_goodbye_and_hang_up);

	(void)state;
	server_wait_flag(&server, 1);
	gmem_client_on_event(client, remember_shutdown, &events);
	assert_int_equal(gmem_ping(client), -GMEM_DISCONNECTED);
	assert_int_equal(events.n, 2);
	assert_int_equal(events.last_value, 4000);
	gmem_disconnect(client);
	server_stop(&server);
}

/* ---- refusals */

static void refuse_with_everything(struct server *server)
{
	Gmem__Status status = GMEM__STATUS__INIT;

	server_expect(server, GM_MSG_PING);
	status.has_code = status.has_rule = status.has_object = status.has_offset = true;
	status.has_limit = status.has_used = status.has_asked = status.has_sys_errno = true;
	status.has_text = true;
	status.code = GMEM__CODE__CODE_OVER_LIMIT;
	status.rule = GMEM__RULE__RULE_MEMORY_MAX;
	status.object = bytes_of("tenant acme");
	status.offset = 8192;
	status.limit = 1 << 30;
	status.used = 900 << 20;
	status.asked = 256 << 20;
	status.sys_errno = ENOSPC;
	status.text = bytes_of("the memory would pass\nthe limit");
	server_refuse(server, &status);
	serve_ping(server);
}

static void a_refusal_carries_all_numbers_and_leaves_the_client_usable(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, refuse_with_everything);
	const struct gmem_error *error = gmem_error(client);

	(void)state;
	assert_int_equal(gmem_ping(client), -GMEM_OVER_LIMIT);
	assert_int_equal(error->status, GMEM_OVER_LIMIT);
	assert_string_equal(error->rule, "MemoryMax");
	assert_string_equal(error->object, "tenant acme");
	assert_int_equal(error->offset, 8192);
	assert_int_equal(error->limit, 1 << 30);
	assert_int_equal(error->used, 900 << 20);
	assert_int_equal(error->asked, 256 << 20);
	assert_int_equal(error->sys_errno, ENOSPC);
	assert_string_equal(error->text,
			    "tenant acme: the memory would pass?the limit (MemoryMax, limit "
			    "1073741824, used 943718400, asked 268435456, offset 8192, No space "
			    "left on device).");
	assert_int_equal(gmem_ping(client), 0);
	assert_int_equal(gmem_error(client)->status, 0);
	gmem_disconnect(client);
	server_stop(&server);
}

static void refuse_in_own_words(struct server *server)
{
	Gmem__Status status = GMEM__STATUS__INIT;

	server_expect(server, GM_MSG_PING);
	status.has_code = status.has_rule = status.has_object = true;
	status.has_limit = status.has_asked = status.has_text = true;
	status.code = GMEM__CODE__CODE_OVER_LIMIT;
	status.rule = GMEM__RULE__RULE_REGION_MAX;
	status.object = bytes_of("tenant acme");
	status.limit = 1 << 30;
	status.asked = UINT64_C(1) << 40;
	status.text = bytes_of("RegionMax of tenant acme: limit 1.0G, used 0, asked 1.0T");
	server_refuse(server, &status);
}

static void a_sentence_does_not_say_twice_what_the_daemon_said(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, refuse_in_own_words);

	(void)state;
	assert_int_equal(gmem_ping(client), -GMEM_OVER_LIMIT);
	assert_string_equal(gmem_error(client)->text,
			    "RegionMax of tenant acme: limit 1.0G, used 0, asked 1.0T.");
	gmem_disconnect(client);
	server_stop(&server);
}

static void refuse_with_a_later_code(struct server *server)
{
	Gmem__Status status = GMEM__STATUS__INIT;

	server_expect(server, GM_MSG_PING);
	status.has_code = status.has_rule = true;
	status.code = (Gmem__Code)40;
	status.rule = (Gmem__Rule)4000;
	server_refuse(server, &status);
}

static void a_code_of_a_later_daemon_is_a_failure(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, refuse_with_a_later_code);

	(void)state;
	assert_int_equal(gmem_ping(client), -GMEM_FAILED);
	assert_string_equal(gmem_error(client)->rule, "unknown");
	gmem_disconnect(client);
	server_stop(&server);
}

/* ---- lateness */

static void answer_late(struct server *server)
{
	Gmem__PingReply reply = GMEM__PING_REPLY__INIT;
	uint32_t first;

	server_expect(server, GM_MSG_PING);
	first = server->frame.serial;
	server_expect(server, GM_MSG_PING);
	reply.has_payload = true;
	reply.payload = bytes_of("late");
	server_answer_message(server, GM_MSG_PING, first, &reply.base, NULL, 0);
	answer_ping(server);
}

static void a_late_answer_does_not_confuse_the_next_call(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = server_client_with(&server, answer_late, 100);

	(void)state;
	assert_int_equal(gmem_ping(client), -GMEM_TIMED_OUT);
	assert_int_equal(gmem_error(client)->status, GMEM_TIMED_OUT);
	assert_int_equal(gmem_ping(client), 0);
	gmem_disconnect(client);
	server_stop(&server);
}

static void grant_late(struct server *server)
{
	Gmem__RegionCreateReply region = GMEM__REGION_CREATE_REPLY__INIT;
	ProtobufCBinaryData name = bytes_of("memory");
	int fd = server_memory(4096);
	uint32_t serial;

	server_grant_domain(server);
	server_expect(server, GM_MSG_REGION_CREATE);
	serial = server->frame.serial;
	server_expect(server, GM_MSG_PING);
	region.has_region = true;
	region.region = 0x77;
	region.fd_names = &name;
	region.n_fd_names = 1;
	server_answer_message(server, GM_MSG_REGION_CREATE, serial, &region.base, &fd, 1);
	gm_fd_close(fd);
	answer_ping(server);
	server_expect(server, GM_MSG_REGION_DESTROY);
	server_check(server, ((const Gmem__RegionDestroyRequest *)server->request)->region == 0x77,
		     "another region was given back");
	atomic_store(&server->flag, 1);
}

static void what_is_granted_too_late_is_given_back(void **state)
{
	const struct gmem_region_spec spec = { .size = 4096 };
	struct server server = SERVER_NULL;
	gmem_client *client = server_client_with(&server, grant_late, 100);
	gmem_region *region = NULL;
	gmem_domain *domain;

	(void)state;
	assert_int_equal(gmem_domain_create(client, NULL, &domain), 0);
	assert_int_equal(gmem_region_create(domain, &spec, &region), -GMEM_TIMED_OUT);
	assert_null(region);
	assert_null(gmem_domain_region(domain, 0));
	assert_int_equal(gmem_ping(client), 0);
	server_wait_flag(&server, 1);
	gmem_disconnect(client);
	server_stop(&server);
}

/* ---- events in between */

static void event_before_answer(struct server *server)
{
	Gmem__ShutdownEvent event = GMEM__SHUTDOWN_EVENT__INIT;

	server_expect(server, GM_MSG_PING);
	event.has_drain_ms = true;
	event.drain_ms = 1234;
	server_event(server, 99, &event.base);
	server_event(server, GM_EVENT_SHUTDOWN, &event.base);
	answer_ping(server);
}

static void events_between_answers_are_delivered_and_unknown_ones_skipped(void **state)
{
	struct server server = SERVER_NULL;
	struct events events = { 0 };
	gmem_client *client = server_client(&server, event_before_answer);

	(void)state;
	gmem_client_on_event(client, count_event, &events);
	assert_int_equal(gmem_ping(client), 0);
	assert_int_equal(events.n, 1);
	assert_int_equal(events.last_type, GMEM_EVENT_SHUTDOWN);
	assert_int_equal(events.last_value, 1234);
	assert_int_equal(gmem_dispatch(client), -GMEM_AGAIN);
	gmem_disconnect(client);
	server_stop(&server);
}

static void serve_three_pings(struct server *server)
{
	Gmem__ShutdownEvent event = GMEM__SHUTDOWN_EVENT__INIT;
	uint8_t payload[4];
	uint32_t outer;

	/* The outer call's answer comes first, while the inner one waits. */
	server_expect(server, GM_MSG_PING);
	outer = server->frame.serial;
	memcpy(payload, ((const Gmem__PingRequest *)server->request)->payload.data, 4);
	server_event(server, GM_EVENT_SHUTDOWN, &event.base);
	server_expect(server, GM_MSG_PING);
	{
		Gmem__PingReply reply = GMEM__PING_REPLY__INIT;

		reply.has_payload = true;
		reply.payload.data = payload;
		reply.payload.len = sizeof(payload);
		server_answer_message(server, GM_MSG_PING, outer, &reply.base, NULL, 0);
	}
	answer_ping(server);
}

struct inner_ping {
	gmem_client *client;
	int status;
};

static void ping_inside(void *arg, int type, gmem_domain *domain, uint64_t value)
{
	struct inner_ping *inner = arg;

	(void)type;
	(void)domain;
	(void)value;
	inner->status = gmem_ping(inner->client);
}

static void a_callback_may_make_calls_of_its_own(void **state)
{
	struct server server = SERVER_NULL;
	struct inner_ping inner = { .status = 1 };

	(void)state;
	inner.client = server_client(&server, serve_three_pings);
	gmem_client_on_event(inner.client, ping_inside, &inner);
	assert_int_equal(gmem_ping(inner.client), 0);
	assert_int_equal(inner.status, 0);
	gmem_disconnect(inner.client);
	server_stop(&server);
}

static void serve_many_pings(struct server *server)
{
	for (;;) {
		Gmem__PingReply reply = GMEM__PING_REPLY__INIT;
		struct pollfd more = { .fd = server->fd, .events = POLLIN };
		char byte;

		poll(&more, 1, 5000);
		if (recv(server->fd, &byte, 1, MSG_PEEK) <= 0)
			return;
		server_expect(server, GM_MSG_PING);
		reply.has_payload = true;
		reply.payload = ((const Gmem__PingRequest *)server->request)->payload;
		server_answer(server, &reply.base, NULL, 0);
	}
}

static void want_of_memory_fails_the_call_and_nothing_else(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, serve_many_pings);
	long n = 1;
	int r;

	(void)state;
	do {
		gm_test_fail_allocation(n++);
		r = gmem_ping(client);
		gm_test_fail_allocation(0);
		if (r < 0)
			assert_int_equal(gmem_error(client)->sys_errno, ENOMEM);
		assert_int_equal(gmem_ping(client), 0);
	} while (r < 0 && n < 20);
	assert_int_equal(r, 0);
	assert_true(n > 2);
	gmem_disconnect(client);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_breach_ends_the_connection_and_is_told_once),
		gm_test(a_connection_lost_in_a_call_fails_it_and_all_later_ones),
		gm_test(what_came_before_the_end_is_heard_even_when_sending_fails),
		gm_test(a_refusal_carries_all_numbers_and_leaves_the_client_usable),
		gm_test(a_sentence_does_not_say_twice_what_the_daemon_said),
		gm_test(a_code_of_a_later_daemon_is_a_failure),
		gm_test(a_late_answer_does_not_confuse_the_next_call),
		gm_test(what_is_granted_too_late_is_given_back),
		gm_test(events_between_answers_are_delivered_and_unknown_ones_skipped),
		gm_test(a_callback_may_make_calls_of_its_own),
		gm_test(want_of_memory_fails_the_call_and_nothing_else),
	};

	return gm_test_run("client_call", tests, GM_ARRAY_SIZE(tests));
}
