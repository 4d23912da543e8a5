/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How libgmem comes back to a daemon that dies at every point of a conversation.
 */
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "client_server.h"
#include "gm_fd.h"

#define SIZE (1 << 20)
#define REGION 0x55
#define STRAY 0x66

struct seen {
	gmem_client *client;
	int n;
	int types[8];
	uint64_t values[8];
	gmem_domain *lost;
	int inner; /* status of a ping made in RECONNECTED; 1: none is wanted */
};

static void see(void *arg, int type, gmem_domain *domain, uint64_t value)
{
	struct seen *seen = arg;

	assert_true(seen->n < 8);
	seen->types[seen->n] = type;
	seen->values[seen->n++] = value;
	if (type == GMEM_EVENT_DOMAIN_LOST)
		seen->lost = domain;
	if (type == GMEM_EVENT_RECONNECTED && seen->inner == 0)
		seen->inner = gmem_ping(seen->client);
}

static gmem_client *connect_to(struct server *server, server_script script, struct seen *seen,
			       int patience_ms)
{
	*seen = (struct seen){ .inner = 1 };
	server->reconnect_ms = patience_ms;
	seen->client = server_client(server, script);
	gmem_client_on_event(seen->client, see, seen);
	return seen->client;
}

static void check_resumed_once(const struct seen *seen)
{
	assert_int_equal(seen->n, 1);
	assert_int_equal(seen->types[0], GMEM_EVENT_RECONNECTED);
	assert_int_equal(seen->values[0], 1);
}

static void end(struct server *server, gmem_client *client)
{
	gmem_disconnect(client);
	server_stop(server);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void nap_ms(long ms)
{
	const struct timespec nap = { .tv_nsec = ms * 1000000 };

	nanosleep(&nap, NULL);
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

/* ---- the daemon dies, and has a record of the session */

static void die_before_the_answer(struct server *server)
{
	uint32_t serial;

	server_expect(server, GM_MSG_PING);
	serial = server->frame.serial;
	server_return(server, true);
	server_expect(server, GM_MSG_PING);
	server_check(server, server->frame.serial == serial, "another serial");
	answer_ping(server);
}

static void a_request_without_an_answer_is_repeated_with_its_serial(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = connect_to(&server, die_before_the_answer, &seen, 5000);

	(void)state;
	assert_int_equal(gmem_ping(client), 0);
	check_resumed_once(&seen);
	end(&server, client);
}

static void die_after_the_answer(struct server *server)
{
	serve_ping(server);
	server_return(server, true);
	serve_ping(server);
}

static void an_answer_that_was_sent_counts_and_is_not_asked_for_again(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = connect_to(&server, die_after_the_answer, &seen, 5000);

	(void)state;
	assert_int_equal(gmem_ping(client), 0);
	assert_int_equal(gmem_ping(client), 0);
	check_resumed_once(&seen);
	end(&server, client);
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
	serve_ping(server);
}

static void a_daemon_that_dies_again_and_again_only_makes_a_call_slow(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = connect_to(&server, die_at_every_step, &seen, 5000);

	(void)state;
	assert_int_equal(gmem_ping(client), 0);
	assert_true(seen.n >= 1);
	for (int i = 0; i < seen.n; i++)
		assert_int_equal(seen.types[i], GMEM_EVENT_RECONNECTED);
	end(&server, client);
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
	serve_ping(server);
}

static void a_daemon_that_turns_the_client_away_is_tried_again(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = connect_to(&server, turn_away_twice, &seen, 5000);

	(void)state;
	assert_int_equal(gmem_ping(client), 0);
	check_resumed_once(&seen);
	end(&server, client);
}

static void greet_late(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	server_accept(server);
	nap_ms(300);
	server_greet(server, true);
	serve_ping(server);
}

static void time_without_a_connection_is_not_the_calls(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client;

	(void)state;
	server.reconnect_ms = 5000;
	client = server_client_with(&server, greet_late, 100);
	assert_int_equal(gmem_ping(client), 0);
	end(&server, client);
}

static void die_and_serve_inner_ping(struct server *server)
{
	uint32_t outer;

	server_expect(server, GM_MSG_PING);
	outer = server->frame.serial;
	server_return(server, true);
	serve_ping(server);
	server_check(server, server->frame.serial == outer, "a later request came first");
	serve_ping(server);
}

static void the_event_comes_when_calls_can_be_made(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = connect_to(&server, die_and_serve_inner_ping, &seen, 5000);

	(void)state;
	seen.inner = 0;
	assert_int_equal(gmem_ping(client), 0);
	assert_int_equal(seen.inner, 0);
	check_resumed_once(&seen);
	end(&server, client);
}

/* ---- jobs, and more than one request */

static int memory = -1;

static void grant(struct server *server)
{
	Gmem__RegionCreateReply reply = GMEM__REGION_CREATE_REPLY__INIT;
	ProtobufCBinaryData name = bytes_of("memory");

	server_grant_domain(server);
	server_expect(server, GM_MSG_REGION_CREATE);
	reply.has_region = true;
	reply.region = REGION;
	reply.fd_names = &name;
	reply.n_fd_names = 1;
	server_answer(server, &reply.base, &memory, 1);
}

/* A client with one domain and one region of it, which is @memory on both sides. */
static gmem_domain *open_region(struct server *server, server_script script, struct seen *seen,
				uint32_t flags)
{
	const struct gmem_region_spec spec = { .size = SIZE };
	gmem_region *region;
	gmem_domain *domain;

	memory = server_memory(SIZE);
	connect_to(server, script, seen, 5000);
	assert_int_equal(gmem_domain_create(seen->client,
					    &(struct gmem_domain_spec){ .flags = flags }, &domain),
			 0);
	assert_int_equal(gmem_region_create(domain, &spec, &region), 0);
	return domain;
}

static void close_region(struct server *server, const struct seen *seen)
{
	end(server, seen->client);
	gm_fd_close(memory);
}

static void send_progress(struct server *server, uint64_t bytes)
{
	Gmem__ProgressEvent event = GMEM__PROGRESS_EVENT__INIT;

	event.has_serial = event.has_done = event.has_total = true;
	event.serial = server->frame.serial;
	event.done = bytes;
	event.total = SIZE;
	server_event(server, GM_EVENT_PROGRESS, &event.base);
}

static void answer_allocate(struct server *server, uint32_t serial)
{
	Gmem__AllocateReply reply = GMEM__ALLOCATE_REPLY__INIT;

	reply.has_bytes = true;
	reply.bytes = SIZE;
	server_answer_message(server, GM_MSG_ALLOCATE, serial, &reply.base, NULL, 0);
}

static void die_in_a_job(struct server *server)
{
	uint32_t serial;

	grant(server);
	server_expect(server, GM_MSG_ALLOCATE);
	serial = server->frame.serial;
	send_progress(server, SIZE / 2);
	server_return(server, true);
	server_expect(server, GM_MSG_ALLOCATE);
	server_check(server, server->frame.serial == serial, "another serial");
	server_check(server, ((const Gmem__AllocateRequest *)server->request)->region == REGION,
		     "another region");
	answer_allocate(server, serial);
}

static void a_job_under_way_is_repeated(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain = open_region(&server, die_in_a_job, &seen, 0);

	(void)state;
	assert_int_equal(gmem_region_allocate(gmem_domain_region(domain, 0), NULL, 0, NULL, NULL),
			 0);
	check_resumed_once(&seen);
	close_region(&server, &seen);
}

static void die_with_three_requests(struct server *server)
{
	uint32_t serials[3];

	grant(server);
	for (int i = 0; i < 3; i++) {
		server_expect(server, i < 2 ? GM_MSG_ALLOCATE : GM_MSG_PING);
		serials[i] = server->frame.serial;
	}
	server_return(server, true);
	for (int i = 0; i < 3; i++) {
		server_expect(server, i < 2 ? GM_MSG_ALLOCATE : GM_MSG_PING);
		server_check(server, server->frame.serial == serials[i], "another order");
	}
	answer_ping(server);
	answer_allocate(server, serials[1]);
	answer_allocate(server, serials[0]);
	serve_ping(server);
}

static void count_done(void *arg, int status, uint64_t bytes)
{
	int *n = arg;

	*n += status == 0 && bytes == SIZE;
}

static void all_that_is_unanswered_is_repeated_in_order(void **state)
{
	int n = 0;
	const struct gmem_job_callbacks callbacks = { .done = count_done, .arg = &n };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain = open_region(&server, die_with_three_requests, &seen, 0);
	gmem_region *region = gmem_domain_region(domain, 0);

	(void)state;
	assert_int_equal(gmem_region_allocate_start(region, NULL, 0, &callbacks), 0);
	assert_int_equal(gmem_region_allocate_start(region, NULL, 0, &callbacks), 0);
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(n, 2);
	close_region(&server, &seen);
}

static void die_in_a_cancelled_job(struct server *server)
{
	Gmem__CancelReply reply = GMEM__CANCEL_REPLY__INIT;

	grant(server);
	server_expect(server, GM_MSG_ALLOCATE);
	send_progress(server, SIZE / 2);
	server_expect(server, GM_MSG_CANCEL);
	server_answer(server, &reply.base, NULL, 0);
	server_return(server, true);
	serve_ping(server);
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
	gmem_domain *domain = open_region(&server, die_in_a_cancelled_job, &seen, 0);

	(void)state;
	assert_int_equal(gmem_region_allocate(gmem_domain_region(domain, 0), NULL, 0, cancel, NULL),
			 -GMEM_CANCELLED);
	assert_int_equal(gmem_ping(seen.client), 0);
	close_region(&server, &seen);
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
	serve_ping(server);
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
	end(&server, client);
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
	gmem_client *client = connect_to(&server, die_in_a_list, &seen, 5000);
	uint64_t digits = 0;

	(void)state;
	assert_int_equal(gmem_list_domains(client, add_id, &digits), 0);
	assert_int_equal(digits, 12);
	end(&server, client);
}

/* ---- the daemon has no record of the session */

static void expect_attach(struct server *server)
{
	const Gmem__DomainAttachRequest *request;

	server_expect(server, GM_MSG_DOMAIN_ATTACH);
	request = server->request;
	server_check(server, request->domain == 1, "another domain");
	server_check(server,
		     request->token.len == GMEM_TOKEN_SIZE && request->token.data[0] == 0x5a,
		     "another token");
	server_check(server, !request->take_over, "it would take the domain from a live process");
}

static void answer_attach(struct server *server, bool with_stray)
{
	Gmem__DomainAttachReply reply = GMEM__DOMAIN_ATTACH_REPLY__INIT;
	Gmem__DomainInfo info = GMEM__DOMAIN_INFO__INIT;
	uint64_t ids[2] = { REGION, STRAY };

	info.has_domain = info.has_regions = info.has_lifetime = true;
	info.domain = 1;
	info.lifetime = GMEM__LIFETIME__LIFETIME_PERSISTENT;
	info.regions = with_stray ? 2 : 1;
	reply.info = &info;
	reply.regions = ids;
	reply.n_regions = info.regions;
	server_answer(server, &reply.base, NULL, 0);
}

static void give_memory(struct server *server, int fd)
{
	Gmem__RegionGetReply reply = GMEM__REGION_GET_REPLY__INIT;
	ProtobufCBinaryData name = bytes_of("memory");
	Gmem__RegionInfo info = GMEM__REGION_INFO__INIT;

	server_expect(server, GM_MSG_REGION_GET);
	server_check(server, ((const Gmem__RegionGetRequest *)server->request)->region == REGION,
		     "another region");
	info.has_region = info.has_domain = info.has_size = true;
	info.region = REGION;
	info.domain = 1;
	info.size = SIZE;
	reply.info = &info;
	reply.fd_names = &name;
	reply.n_fd_names = 1;
	server_answer(server, &reply.base, &fd, 1);
}

static void refuse(struct server *server, Gmem__Code code, Gmem__Rule rule)
{
	Gmem__Status status = GMEM__STATUS__INIT;

	status.has_code = status.has_rule = true;
	status.code = code;
	status.rule = rule;
	server_refuse(server, &status);
}

static void come_back_with_the_memory(struct server *server)
{
	grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, false);
	expect_attach(server);
	answer_attach(server, false);
	give_memory(server, memory);
	serve_ping(server);
}

static void come_back_with_other_memory(struct server *server)
{
	int other = server_memory(SIZE);

	grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, false);
	expect_attach(server);
	answer_attach(server, false);
	give_memory(server, other);
	gm_fd_close(other);
	serve_ping(server);
	/* What is lost is lost once. */
	server_return(server, false);
	serve_ping(server);
}

static void come_back_without_the_region(struct server *server)
{
	grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, false);
	expect_attach(server);
	answer_attach(server, false);
	server_expect(server, GM_MSG_REGION_GET);
	refuse(server, GMEM__CODE__CODE_NO_SUCH_OBJECT, GMEM__RULE__RULE_NONE);
	serve_ping(server);
	server_return(server, false);
	serve_ping(server);
}

static void come_back_taken(struct server *server)
{
	grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, false);
	expect_attach(server);
	refuse(server, GMEM__CODE__CODE_BUSY, GMEM__RULE__RULE_ATTACHED);
	serve_ping(server);
	server_return(server, false);
	serve_ping(server);
}

static void come_back_empty(struct server *server)
{
	grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, false);
	expect_attach(server);
	refuse(server, GMEM__CODE__CODE_NO_SUCH_OBJECT, GMEM__RULE__RULE_NONE);
	serve_ping(server);
	server_return(server, false);
	serve_ping(server);
}

static void come_back_without_bound_domains(struct server *server)
{
	grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, false);
	serve_ping(server);
	server_return(server, false);
	serve_ping(server);
}

static void a_persistent_domain_is_attached_again_and_nothing_is_lost(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain =
		open_region(&server, come_back_with_the_memory, &seen, GMEM_DOMAIN_PERSISTENT);

	(void)state;
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.types[0], GMEM_EVENT_RECONNECTED);
	assert_int_equal(seen.values[0], 0);
	assert_int_equal(gmem_region_id(gmem_domain_region(domain, 0)), REGION);
	close_region(&server, &seen);
}

static void check_loss(server_script script, uint32_t flags, enum gmem_loss loss)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain = open_region(&server, script, &seen, flags);
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
	close_region(&server, &seen);
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

static void die_between_attach_and_memory(struct server *server)
{
	grant(server);
	server_expect(server, GM_MSG_PING);
	server_return(server, false);
	expect_attach(server);
	/* Jobs of the last session still end in it. */
	refuse(server, GMEM__CODE__CODE_BUSY, GMEM__RULE__RULE_JOBS_UNDER_WAY);
	server_return(server, false);
	expect_attach(server);
	answer_attach(server, false);
	server_expect(server, GM_MSG_REGION_GET);
	server_return(server, false);
	expect_attach(server);
	answer_attach(server, false);
	give_memory(server, memory);
	serve_ping(server);
}

static void a_return_that_is_cut_short_begins_again(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;

	(void)state;
	open_region(&server, die_between_attach_and_memory, &seen, GMEM_DOMAIN_PERSISTENT);
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.types[0], GMEM_EVENT_RECONNECTED);
	close_region(&server, &seen);
}

static void die_in_a_destruction(struct server *server)
{
	uint32_t serial;

	grant(server);
	server_expect(server, GM_MSG_REGION_DESTROY);
	serial = server->frame.serial;
	server_return(server, false);
	expect_attach(server);
	answer_attach(server, false);
	server_expect(server, GM_MSG_REGION_DESTROY);
	server_check(server, server->frame.serial == serial, "another serial");
	refuse(server, GMEM__CODE__CODE_NO_SUCH_OBJECT, GMEM__RULE__RULE_NONE);
	server_expect(server, GM_MSG_DOMAIN_DESTROY);
	refuse(server, GMEM__CODE__CODE_NO_SUCH_OBJECT, GMEM__RULE__RULE_NONE);
}

static void what_a_lost_session_has_destroyed_already_is_no_failure(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain =
		open_region(&server, die_in_a_destruction, &seen, GMEM_DOMAIN_PERSISTENT);

	(void)state;
	assert_int_equal(gmem_region_destroy(gmem_domain_region(domain, 0)), 0);
	/* This one was never asked of the session before. */
	assert_int_equal(gmem_domain_destroy(domain), -GMEM_NO_SUCH_OBJECT);
	close_region(&server, &seen);
}

static void die_in_a_grant(struct server *server)
{
	grant(server);
	server_expect(server, GM_MSG_REGION_CREATE);
	server_return(server, false);
	expect_attach(server);
	answer_attach(server, true);
	server_expect(server, GM_MSG_REGION_DESTROY);
	server_check(server, ((const Gmem__RegionDestroyRequest *)server->request)->region == STRAY,
		     "another region was destroyed");
	{
		Gmem__RegionDestroyReply reply = GMEM__REGION_DESTROY_REPLY__INIT;

		server_answer(server, &reply.base, NULL, 0);
	}
	give_memory(server, memory);
	server_grant_region(server, 0x88, SIZE);
}

static void a_grant_that_was_lost_with_its_session_makes_room_for_its_repetition(void **state)
{
	const struct gmem_region_spec spec = { .gpa = SIZE, .size = SIZE };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain = open_region(&server, die_in_a_grant, &seen, GMEM_DOMAIN_PERSISTENT);
	gmem_region *region;

	(void)state;
	assert_int_equal(gmem_region_create(domain, &spec, &region), 0);
	assert_int_equal(gmem_region_id(region), 0x88);
	close_region(&server, &seen);
}

static void die_in_an_attach(struct server *server)
{
	memory = server_memory(SIZE);
	server_expect(server, GM_MSG_DOMAIN_ATTACH);
	answer_attach(server, false);
	server_expect(server, GM_MSG_REGION_GET);
	server_return(server, false);
	server_expect(server, GM_MSG_REGION_GET);
	refuse(server, GMEM__CODE__CODE_BUSY, GMEM__RULE__RULE_ATTACHED);
	server_expect(server, GM_MSG_DOMAIN_ATTACH);
	answer_attach(server, false);
	give_memory(server, memory);
	gm_fd_close(memory);
}

static void an_attach_that_lost_its_session_begins_again(void **state)
{
	const uint8_t token[GMEM_TOKEN_SIZE] = { 0x5a };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_client *client = connect_to(&server, die_in_an_attach, &seen, 5000);
	gmem_domain *domain;

	(void)state;
	assert_int_equal(gmem_domain_attach(client, 1, token, 0, 0, &domain), 0);
	assert_non_null(gmem_domain_region(domain, 0));
	assert_null(gmem_domain_region(domain, 1));
	end(&server, client);
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
	gmem_client *client = connect_to(&server, come_back_as_another_tenant, &seen, 5000);

	(void)state;
	assert_int_equal(gmem_ping(client), -GMEM_PROTOCOL);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.types[0], GMEM_EVENT_DISCONNECTED);
	end(&server, client);
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
	gmem_client *client = connect_to(&server, die_for_good, &seen, 250);
	struct pollfd readable = { .fd = gmem_client_fd(client), .events = POLLIN };
	uint64_t begin = now_ms();

	(void)state;
	assert_int_equal(gmem_ping(client), -GMEM_DISCONNECTED);
	assert_non_null(strstr(gmem_error(client)->text, "250 ms"));
	assert_non_null(strstr(gmem_error(client)->text, "Connection refused"));
	assert_true(now_ms() - begin >= 250);
	assert_true(now_ms() - begin < 2000);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.types[0], GMEM_EVENT_DISCONNECTED);
	assert_int_equal(poll(&readable, 1, 0), 1);
	assert_int_equal(gmem_ping(client), -GMEM_DISCONNECTED);
	assert_int_equal(gmem_dispatch(client), -GMEM_DISCONNECTED);
	assert_int_equal(seen.n, 1);
	end(&server, client);
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
	gmem_client *client = connect_to(&server, die_of_each_request, &seen, 250);
	uint64_t begin = now_ms();

	(void)state;
	server.tolerant = true;
	gmem_client_on_event(client, NULL, NULL);
	assert_int_equal(gmem_ping(client), -GMEM_DISCONNECTED);
	assert_true(now_ms() - begin >= 250);
	assert_true(now_ms() - begin < 2000);
	(void)shutdown(server.listen_fd, SHUT_RDWR);
	end(&server, client);
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
	gmem_client *client = connect_to(&server, hang_up_in_a_call, &seen, -1);

	(void)state;
	assert_int_equal(gmem_ping(client), -GMEM_DISCONNECTED);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.types[0], GMEM_EVENT_DISCONNECTED);
	end(&server, client);
}

/* ---- event loops */

/* Turns an event loop until @n events were seen; returns how long the longest dispatch took. */
static uint64_t turn(const struct seen *seen, int n, int *ret_turns)
{
	struct pollfd readable = { .fd = gmem_client_fd(seen->client), .events = POLLIN };
	uint64_t longest = 0;

	for (*ret_turns = 0; seen->n < n && *ret_turns < 100000; ++*ret_turns) {
		uint64_t begin;

		assert_int_equal(poll(&readable, 1, 5000), 1);
		begin = now_ms();
		(void)gmem_dispatch(seen->client);
		if (now_ms() - begin > longest)
			longest = now_ms() - begin;
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
	serve_ping(server);
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
	gmem_client *client = connect_to(&server, die_idle, &seen, 400);
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
	end(&server, client);
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
	gmem_client *client = connect_to(&server, die_and_do_not_greet, &seen, 300);
	int turns;

	(void)state;
	assert_true(turn(&seen, 1, &turns) < 50);
	assert_int_equal(seen.types[0], GMEM_EVENT_DISCONNECTED);
	assert_true(turns < 50);
	atomic_store(&server.flag, 1);
	end(&server, client);
}

static void return_in_steps(struct server *server)
{
	grant(server);
	server_return(server, false);
	nap_ms(50);
	expect_attach(server);
	nap_ms(50);
	answer_attach(server, false);
	give_memory(server, memory);
}

static void an_event_loop_drives_the_whole_return(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	int turns;

	(void)state;
	open_region(&server, return_in_steps, &seen, GMEM_DOMAIN_PERSISTENT);
	assert_true(turn(&seen, 1, &turns) < 40);
	assert_int_equal(seen.types[0], GMEM_EVENT_RECONNECTED);
	assert_int_equal(gmem_dispatch(seen.client), -GMEM_AGAIN);
	close_region(&server, &seen);
}

static void die_and_take_what_was_started(struct server *server)
{
	grant(server);
	server_hang_up(server);
	server_wait_flag(server, 1);
	server_return(server, true);
	server_expect(server, GM_MSG_ALLOCATE);
	answer_allocate(server, server->frame.serial);
}

static void a_job_may_be_started_while_there_is_no_daemon(void **state)
{
	int n = 0;
	const struct gmem_job_callbacks callbacks = { .done = count_done, .arg = &n };
	struct server server = SERVER_NULL;
	struct pollfd readable = { .events = POLLIN };
	struct seen seen;
	gmem_domain *domain = open_region(&server, die_and_take_what_was_started, &seen, 0);

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
	close_region(&server, &seen);
}

static void die_with_a_domain(struct server *server)
{
	grant(server);
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
	gmem_domain *domain = open_region(&server, die_with_a_domain, &seen, 0);
	struct pollfd readable = { .fd = gmem_client_fd(seen.client), .events = POLLIN };

	(void)state;
	assert_int_equal(poll(&readable, 1, 5000), 1);
	assert_int_equal(gmem_dispatch(seen.client), 0);
	assert_int_equal(
		gmem_region_allocate_start(gmem_domain_region(domain, 0), NULL, 0, &callbacks), 0);
	close_region(&server, &seen);
	assert_int_equal(status, -GMEM_CANCELLED);
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
		gm_test(a_persistent_domain_is_attached_again_and_nothing_is_lost),
		gm_test(a_bound_domain_is_lost_with_its_session),
		gm_test(a_persistent_domain_that_has_ended_is_lost),
		gm_test(a_domain_that_another_process_has_is_lost_and_not_taken_back),
		gm_test(other_memory_under_the_same_id_is_a_loss),
		gm_test(a_region_that_is_gone_is_a_loss),
		gm_test(a_return_that_is_cut_short_begins_again),
		gm_test(what_a_lost_session_has_destroyed_already_is_no_failure),
		gm_test(a_grant_that_was_lost_with_its_session_makes_room_for_its_repetition),
		gm_test(an_attach_that_lost_its_session_begins_again),
		gm_test(another_tenants_daemon_gets_no_token_and_ends_the_client),
		gm_test(when_the_patience_is_over_the_client_ends),
		gm_test(a_request_that_kills_every_daemon_ends_with_the_patience),
		gm_test(a_client_that_never_reconnects_has_no_key_and_fails_at_once),
		gm_test(a_client_may_leave_while_there_is_no_daemon),
		gm_test(a_daemon_that_does_not_accept_blocks_no_event_loop),
		gm_test(a_daemon_that_does_not_greet_blocks_no_event_loop),
		gm_test(an_event_loop_drives_the_whole_return),
		gm_test(a_job_may_be_started_while_there_is_no_daemon),
	};

	return gm_test_run("client_reconnect", tests, GM_ARRAY_SIZE(tests));
}
