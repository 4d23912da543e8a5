/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How libgmem comes back to a daemon that has no record of the session, or has one but could not
 * tell what became of a domain: what can be kept, and what is lost.
 */
#include <sys/socket.h>

#include "client_outage.h"
#include "gm_fd.h"

#define STRAY 0x66

static void come_back_with_the_memory(struct server *server)
{
	outage_grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, false);
	outage_expect_attach(server);
	outage_answer_attach(server, 0);
	outage_give_memory(server, outage_memory);
	outage_serve_ping(server);
}

static void come_back_with_other_memory(struct server *server)
{
	int other = server_memory(SIZE);

	outage_grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, false);
	outage_expect_attach(server);
	outage_answer_attach(server, 0);
	outage_give_memory(server, other);
	gm_fd_close(other);
	outage_serve_ping(server);
	/* What is lost is lost once. */
	server_return(server, false);
	outage_serve_ping(server);
}

static void come_back_without_the_region(struct server *server)
{
	outage_grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, false);
	outage_expect_attach(server);
	outage_answer_attach(server, 0);
	server_expect(server, GM_MSG_REGION_GET);
	outage_refuse(server, GMEM__CODE__CODE_NO_SUCH_OBJECT, GMEM__RULE__RULE_NONE);
	outage_serve_ping(server);
	server_return(server, false);
	outage_serve_ping(server);
}

static void come_back_taken(struct server *server)
{
	outage_grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, false);
	outage_expect_attach(server);
	outage_refuse(server, GMEM__CODE__CODE_BUSY, GMEM__RULE__RULE_ATTACHED);
	outage_serve_ping(server);
	server_return(server, false);
	outage_serve_ping(server);
}

static void come_back_empty(struct server *server)
{
	outage_grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, false);
	outage_expect_attach(server);
	outage_refuse(server, GMEM__CODE__CODE_NO_SUCH_OBJECT, GMEM__RULE__RULE_NONE);
	outage_serve_ping(server);
	server_return(server, false);
	outage_serve_ping(server);
}

static void come_back_without_bound_domains(struct server *server)
{
	outage_grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, false);
	outage_serve_ping(server);
	server_return(server, false);
	outage_serve_ping(server);
}

static void a_persistent_domain_is_attached_again_and_nothing_is_lost(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain = outage_open_region(&server, come_back_with_the_memory, &seen,
						 GMEM_DOMAIN_PERSISTENT);

	(void)state;
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.types[0], GMEM_EVENT_RECONNECTED);
	assert_int_equal(seen.values[0], 0);
	assert_int_equal(gmem_region_id(gmem_domain_region(domain, 0)), REGION);
	outage_close_region(&server, &seen);
}

static void check_loss(server_script script, uint32_t flags, enum gmem_loss loss)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain = outage_open_region(&server, script, &seen, flags);
	unsigned char *bytes;
	void *ram;

	assert_int_equal(gmem_region_map(gmem_domain_region(domain, 0), &ram), 0);
	bytes = ram;
	bytes[SIZE - 1] = 0x77;
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(seen.n, 2);
	assert_int_equal(seen.types[0], GMEM_EVENT_RECONNECTED);
	assert_int_equal(seen.types[1], GMEM_EVENT_DOMAIN_LOST);
	assert_int_equal(seen.values[1], loss);
	assert_ptr_equal(seen.lost, domain);
	assert_int_equal(bytes[SIZE - 1], 0x77);
	assert_int_equal(gmem_ping(seen.client), 0);
	for (int i = 2; i < seen.n; i++)
		assert_int_equal(seen.types[i], GMEM_EVENT_RECONNECTED);
	outage_close_region(&server, &seen);
}

static void a_bound_domain_is_lost_with_its_session(void **state)
{
	(void)state;
	check_loss(come_back_without_bound_domains, 0, GMEM_LOSS_ENDED);
}

static void a_persistent_domain_that_has_ended_is_lost(void **state)
{
	(void)state;
	check_loss(come_back_empty, GMEM_DOMAIN_PERSISTENT, GMEM_LOSS_ENDED);
}

static void a_domain_that_another_process_has_is_lost_and_not_taken_back(void **state)
{
	(void)state;
	check_loss(come_back_taken, GMEM_DOMAIN_PERSISTENT, GMEM_LOSS_TAKEN);
}

static void other_memory_under_the_same_id_is_a_loss(void **state)
{
	(void)state;
	check_loss(come_back_with_other_memory, GMEM_DOMAIN_PERSISTENT, GMEM_LOSS_MEMORY);
}

static void a_region_that_is_gone_is_a_loss(void **state)
{
	(void)state;
	check_loss(come_back_without_the_region, GMEM_DOMAIN_PERSISTENT, GMEM_LOSS_MEMORY);
}

/* ---- the session is resumed */

static void resume_with_the_domain(struct server *server)
{
	outage_grant(server);
	server_expect(server, GM_MSG_PING);
	outage_resume(server);
	outage_serve_ping(server);
}

static void a_resumed_session_that_has_its_domain_lost_nothing(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;

	(void)state;
	outage_open_region(&server, resume_with_the_domain, &seen, 0);
	assert_int_equal(gmem_ping(seen.client), 0);
	outage_check_resumed(&seen);
	outage_close_region(&server, &seen);
}

static void check_loss_in_the_session(server_script script, enum gmem_loss loss)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain = outage_open_region(&server, script, &seen, GMEM_DOMAIN_PERSISTENT);

	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(seen.n, 2);
	assert_int_equal(seen.types[0], GMEM_EVENT_RECONNECTED);
	assert_int_equal(seen.values[0], 1);
	assert_int_equal(seen.types[1], GMEM_EVENT_DOMAIN_LOST);
	assert_int_equal(seen.values[1], loss);
	assert_ptr_equal(seen.lost, domain);
	/* What is lost is lost once, and not asked for again. */
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(seen.n, 3);
	assert_int_equal(seen.types[2], GMEM_EVENT_RECONNECTED);
	outage_close_region(&server, &seen);
}

static void resume_taken(struct server *server)
{
	outage_grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, true);
	outage_expect_look(server);
	outage_answer_look(server, false);
	outage_serve_ping(server);
	server_return(server, true);
	outage_serve_ping(server);
}

static void a_domain_taken_while_the_daemon_could_not_tell_is_lost(void **state)
{
	(void)state;
	check_loss_in_the_session(resume_taken, GMEM_LOSS_TAKEN);
}

static void resume_evicted(struct server *server)
{
	outage_grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, true);
	outage_expect_look(server);
	outage_refuse(server, GMEM__CODE__CODE_NO_SUCH_OBJECT, GMEM__RULE__RULE_NONE);
	outage_serve_ping(server);
	server_return(server, true);
	outage_serve_ping(server);
}

static void a_domain_ended_while_the_daemon_could_not_tell_is_lost(void **state)
{
	(void)state;
	check_loss_in_the_session(resume_evicted, GMEM_LOSS_ENDED);
}

/* The domain that was to be made is not known yet when the session is resumed. */
static void die_in_a_creation(struct server *server)
{
	server_expect(server, GM_MSG_DOMAIN_CREATE);
	server_return(server, true);
	server_grant_domain(server);
	outage_expect_look(server);
}

static void create_what_has_ended(struct server *server)
{
	die_in_a_creation(server);
	outage_refuse(server, GMEM__CODE__CODE_NO_SUCH_OBJECT, GMEM__RULE__RULE_NONE);
}

static void create_what_is_taken(struct server *server)
{
	die_in_a_creation(server);
	outage_answer_look(server, false);
}

static void create_what_is_there(struct server *server)
{
	die_in_a_creation(server);
	outage_answer_look(server, true);
}

static void create_what_cannot_be_told(struct server *server)
{
	die_in_a_creation(server);
	outage_refuse(server, GMEM__CODE__CODE_FAILED, GMEM__RULE__RULE_NONE);
}

static int create(server_script script)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = outage_client(&server, script, &seen, 5000);
	gmem_domain *domain = NULL;
	int r = gmem_domain_create(client, NULL, &domain);

	outage_check_resumed(&seen);
	assert_int_equal(gmem_error(client)->status, -r);
	assert_int_equal(domain != NULL, r == 0);
	outage_end(&server, client);
	return r;
}

static void a_domain_that_ended_before_it_was_known_here_is_not_given_out(void **state)
{
	(void)state;
	assert_int_equal(create(create_what_has_ended), -GMEM_NO_SUCH_OBJECT);
	assert_int_equal(create(create_what_is_taken), -GMEM_BUSY);
	assert_int_equal(create(create_what_is_there), 0);
	assert_int_equal(create(create_what_cannot_be_told), 0);
}

static void resume_and_fail_to_look(struct server *server)
{
	outage_grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, true);
	outage_expect_look(server);
	outage_refuse(server, GMEM__CODE__CODE_FAILED, GMEM__RULE__RULE_NONE);
	/* And once more it dies before it answers. */
	server_return(server, true);
	outage_expect_look(server);
	outage_resume(server);
	outage_serve_ping(server);
}

static void a_daemon_that_cannot_tell_costs_no_domain(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;

	(void)state;
	outage_open_region(&server, resume_and_fail_to_look, &seen, 0);
	assert_int_equal(gmem_ping(seen.client), 0);
	outage_check_resumed(&seen);
	outage_close_region(&server, &seen);
}

/* It is short of something at each step of the way. */
static void come_back_in_want(struct server *server)
{
	outage_grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, false);
	outage_expect_attach(server);
	outage_refuse(server, GMEM__CODE__CODE_FAILED, GMEM__RULE__RULE_NONE);
	server_return(server, false);
	outage_expect_attach(server);
	outage_refuse(server, GMEM__CODE__CODE_NO_RESOURCE, GMEM__RULE__RULE_FDS_MAX);
	server_return(server, false);
	outage_expect_attach(server);
	outage_answer_attach(server, 0);
	server_expect(server, GM_MSG_REGION_GET);
	outage_refuse(server, GMEM__CODE__CODE_FAILED, GMEM__RULE__RULE_NONE);
	server_return(server, false);
	outage_expect_attach(server);
	outage_answer_attach(server, 0);
	outage_give_memory(server, outage_memory);
	outage_serve_ping(server);
}

static void a_daemon_that_is_short_of_something_costs_no_domain(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;

	(void)state;
	outage_open_region(&server, come_back_in_want, &seen, GMEM_DOMAIN_PERSISTENT);
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.types[0], GMEM_EVENT_RECONNECTED);
	outage_close_region(&server, &seen);
}

static void resume_in_a_destruction(struct server *server)
{
	Gmem__DomainDestroyReply reply = GMEM__DOMAIN_DESTROY_REPLY__INIT;

	outage_grant(server);
	server_expect(server, GM_MSG_DOMAIN_DESTROY);
	server_return(server, true);
	server_expect(server, GM_MSG_DOMAIN_DESTROY);
	server_answer(server, &reply.base, NULL, 0);
}

static void a_domain_that_is_being_destroyed_is_not_asked_for(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain = outage_open_region(&server, resume_in_a_destruction, &seen, 0);

	(void)state;
	assert_int_equal(gmem_domain_destroy(domain), 0);
	outage_check_resumed(&seen);
	outage_close_region(&server, &seen);
}

/* ---- the session is new */

static void die_between_attach_and_memory(struct server *server)
{
	outage_grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, false);
	outage_expect_attach(server);
	/* Jobs of the last session still end in it. */
	outage_refuse(server, GMEM__CODE__CODE_BUSY, GMEM__RULE__RULE_JOBS_UNDER_WAY);
	server_return(server, false);
	outage_expect_attach(server);
	outage_answer_attach(server, 0);
	server_expect(server, GM_MSG_REGION_GET);
	server_return(server, false);
	outage_expect_attach(server);
	outage_answer_attach(server, 0);
	outage_give_memory(server, outage_memory);
	outage_serve_ping(server);
}

static void a_return_that_is_cut_short_begins_again(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;

	(void)state;
	outage_open_region(&server, die_between_attach_and_memory, &seen, GMEM_DOMAIN_PERSISTENT);
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.types[0], GMEM_EVENT_RECONNECTED);
	outage_close_region(&server, &seen);
}

static void die_in_a_destruction(struct server *server)
{
	uint32_t serial;

	outage_grant(server);
	server_expect(server, GM_MSG_REGION_DESTROY);
	serial = server->frame.serial;
	server_return(server, false);
	outage_expect_attach(server);
	outage_answer_attach(server, 0);
	server_expect(server, GM_MSG_REGION_DESTROY);
	server_check(server, server->frame.serial == serial, "another serial");
	outage_refuse(server, GMEM__CODE__CODE_NO_SUCH_OBJECT, GMEM__RULE__RULE_NONE);
	server_expect(server, GM_MSG_DOMAIN_DESTROY);
	outage_refuse(server, GMEM__CODE__CODE_NO_SUCH_OBJECT, GMEM__RULE__RULE_NONE);
}

static void what_a_lost_session_has_destroyed_already_is_no_failure(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain =
		outage_open_region(&server, die_in_a_destruction, &seen, GMEM_DOMAIN_PERSISTENT);

	(void)state;
	assert_int_equal(gmem_region_destroy(gmem_domain_region(domain, 0)), 0);
	/* This one was never asked of the session before. */
	assert_int_equal(gmem_domain_destroy(domain), -GMEM_NO_SUCH_OBJECT);
	outage_close_region(&server, &seen);
}

static void die_in_a_grant(struct server *server)
{
	outage_grant(server);
	server_expect(server, GM_MSG_REGION_CREATE);
	server_return(server, false);
	outage_expect_attach(server);
	outage_answer_attach(server, STRAY);
	server_expect(server, GM_MSG_REGION_DESTROY);
	server_check(server, ((const Gmem__RegionDestroyRequest *)server->request)->region == STRAY,
		     "another region was destroyed");
	{
		Gmem__RegionDestroyReply reply = GMEM__REGION_DESTROY_REPLY__INIT;

		server_answer(server, &reply.base, NULL, 0);
	}
	outage_give_memory(server, outage_memory);
	server_grant_region(server, 0x88, SIZE);
}

static void a_grant_that_was_lost_with_its_session_makes_room_for_its_repetition(void **state)
{
	const struct gmem_region_spec spec = { .gpa = SIZE, .size = SIZE };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain =
		outage_open_region(&server, die_in_a_grant, &seen, GMEM_DOMAIN_PERSISTENT);
	gmem_region *region;

	(void)state;
	assert_int_equal(gmem_region_create(domain, &spec, &region), 0);
	assert_int_equal(gmem_region_id(region), 0x88);
	outage_close_region(&server, &seen);
}

static void die_in_an_attach(struct server *server)
{
	outage_memory = server_memory(SIZE);
	server_expect(server, GM_MSG_DOMAIN_ATTACH);
	outage_answer_attach(server, 0);
	server_expect(server, GM_MSG_REGION_GET);
	server_return(server, false);
	server_expect(server, GM_MSG_REGION_GET);
	outage_refuse(server, GMEM__CODE__CODE_BUSY, GMEM__RULE__RULE_ATTACHED);
	server_expect(server, GM_MSG_DOMAIN_ATTACH);
	outage_answer_attach(server, 0);
	outage_give_memory(server, outage_memory);
	gm_fd_close(outage_memory);
}

static void an_attach_that_lost_its_session_begins_again(void **state)
{
	const uint8_t token[GMEM_TOKEN_SIZE] = { 0x5a };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = outage_client(&server, die_in_an_attach, &seen, 5000);
	gmem_domain *domain;

	(void)state;
	assert_int_equal(gmem_domain_attach(client, 1, token, 0, 0, &domain), 0);
	assert_non_null(gmem_domain_region(domain, 0));
	assert_null(gmem_domain_region(domain, 1));
	outage_end(&server, client);
}

static void come_back_as_another_tenant(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	server->admin = true;
	server_return(server, true);
}

static void another_tenants_daemon_gets_no_token_and_ends_the_client(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = outage_client(&server, come_back_as_another_tenant, &seen, 5000);

	(void)state;
	assert_int_equal(gmem_ping(client), -GMEM_PROTOCOL);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.types[0], GMEM_EVENT_DISCONNECTED);
	outage_end(&server, client);
}

/* The type of the next request, or 0 at the end of the connection. */
static unsigned peek_type(const struct server *server)
{
	uint8_t header[GM_FRAME_HEADER_SIZE];

	if (recv(server->fd, header, sizeof(header), MSG_PEEK) != (ssize_t)sizeof(header))
		return 0;
	return header[4] | (unsigned)header[5] << 8;
}

static void answer_next(struct server *server)
{
	switch (peek_type(server)) {
	case GM_MSG_HELLO:
		server_greet(server, false);
		break;
	case GM_MSG_DOMAIN_ATTACH:
		outage_expect_attach(server);
		outage_answer_attach(server, 0);
		break;
	case GM_MSG_REGION_GET:
		outage_give_memory(server, outage_memory);
		break;
	case GM_MSG_PING:
		outage_serve_ping(server);
		break;
	default:
		server_accept(server);
		break;
	}
}

static void die_once_and_answer_all(struct server *server)
{
	outage_grant(server);
	server_hang_up(server);
	server_accept(server);
	while (server->fd >= 0)
		answer_next(server);
}

static void want_of_memory_on_the_way_back_is_overcome(void **state)
{
	(void)state;
	for (long n = 1; n < 12; n++) {
		struct server server = SERVER_NULL;
		struct seen seen;
		int r;

		outage_open_region(&server, die_once_and_answer_all, &seen, GMEM_DOMAIN_PERSISTENT);
		gm_test_fail_allocation(n);
		r = gmem_ping(seen.client);
		gm_test_fail_allocation(0);
		if (r < 0)
			assert_int_equal(gmem_error(seen.client)->status, GMEM_SYSTEM);
		assert_int_equal(gmem_ping(seen.client), 0);
		assert_int_equal(seen.n, 1);
		assert_int_equal(seen.types[0], GMEM_EVENT_RECONNECTED);
		(void)shutdown(server.listen_fd, SHUT_RDWR);
		outage_close_region(&server, &seen);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_persistent_domain_is_attached_again_and_nothing_is_lost),
		gm_test(a_bound_domain_is_lost_with_its_session),
		gm_test(a_persistent_domain_that_has_ended_is_lost),
		gm_test(a_domain_that_another_process_has_is_lost_and_not_taken_back),
		gm_test(other_memory_under_the_same_id_is_a_loss),
		gm_test(a_region_that_is_gone_is_a_loss),
		gm_test(a_resumed_session_that_has_its_domain_lost_nothing),
		gm_test(a_domain_taken_while_the_daemon_could_not_tell_is_lost),
		gm_test(a_domain_ended_while_the_daemon_could_not_tell_is_lost),
		gm_test(a_domain_that_ended_before_it_was_known_here_is_not_given_out),
		gm_test(a_daemon_that_cannot_tell_costs_no_domain),
		gm_test(a_daemon_that_is_short_of_something_costs_no_domain),
		gm_test(a_domain_that_is_being_destroyed_is_not_asked_for),
		gm_test(a_return_that_is_cut_short_begins_again),
		gm_test(what_a_lost_session_has_destroyed_already_is_no_failure),
		gm_test(a_grant_that_was_lost_with_its_session_makes_room_for_its_repetition),
		gm_test(an_attach_that_lost_its_session_begins_again),
		gm_test(another_tenants_daemon_gets_no_token_and_ends_the_client),
		gm_test(want_of_memory_on_the_way_back_is_overcome),
	};

	return gm_test_run("client_return", tests, GM_ARRAY_SIZE(tests));
}
