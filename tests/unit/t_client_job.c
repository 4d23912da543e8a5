/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocate and discard through a daemon: progress, cancelling, callbacks, and the connection's end.
 */
#include <poll.h>
#include <unistd.h>

#include "client_server.h"

#define SIZE (1 << 20)

struct job {
	gmem_client *client;
	gmem_region *region;
	int n_done;
	int status;
	uint64_t bytes;
	int n_progress;
	uint64_t progressed;
	int cancel;
	int error_status;
	uint64_t error_asked;
	int inner;
};

static int progress(void *arg, uint64_t done, uint64_t total)
{
	struct job *job = arg;

	assert_int_equal(total, SIZE);
	job->n_progress++;
	job->progressed = done;
	return job->cancel;
}

static void done(void *arg, int status, uint64_t bytes)
{
	struct job *job = arg;

	job->n_done++;
	job->status = status;
	job->bytes = bytes;
	job->error_status = gmem_error(job->client)->status;
	job->error_asked = gmem_error(job->client)->asked;
}

static void open_region(struct server *server, server_script script, struct job *job)
{
	const struct gmem_region_spec spec = { .size = SIZE };
	gmem_domain *domain;

	*job = (struct job){ .client = server_client(server, script) };
	assert_int_equal(gmem_domain_create(job->client, NULL, &domain), 0);
	assert_int_equal(gmem_region_create(domain, &spec, &job->region), 0);
}

static void close_region(struct server *server, struct job *job)
{
	gmem_disconnect(job->client);
	server_stop(server);
}

static void grant(struct server *server)
{
	server_grant_domain(server);
	server_grant_region(server, 0x55, SIZE);
}

static void send_progress(struct server *server, uint32_t serial, uint64_t bytes)
{
	Gmem__ProgressEvent event = GMEM__PROGRESS_EVENT__INIT;

	event.has_serial = event.has_done = event.has_total = true;
	event.serial = serial;
	event.done = bytes;
	event.total = SIZE;
	server_event(server, GM_EVENT_PROGRESS, &event.base);
}

static void answer_allocate(struct server *server, uint32_t serial, uint64_t bytes)
{
	Gmem__AllocateReply reply = GMEM__ALLOCATE_REPLY__INIT;

	reply.has_bytes = true;
	reply.bytes = bytes;
	server_answer_message(server, GM_MSG_ALLOCATE, serial, &reply.base, NULL, 0);
}

static void serve_pings(struct server *server, int n)
{
	while (n--) {
		Gmem__PingReply reply = GMEM__PING_REPLY__INIT;

		server_expect(server, GM_MSG_PING);
		reply.has_payload = true;
		reply.payload = ((const Gmem__PingRequest *)server->request)->payload;
		server_answer(server, &reply.base, NULL, 0);
	}
}

/* ---- blocking */

static void serve_with_progress(struct server *server)
{
	const Gmem__AllocateRequest *request;
	uint32_t serial;

	grant(server);
	server_expect(server, GM_MSG_ALLOCATE);
	request = server->request;
	serial = server->frame.serial;
	server_check(server,
		     request->region == 0x55 && request->n_ranges == 1 &&
			     request->ranges[0]->offset == 0 && request->ranges[0]->length == SIZE,
		     "not the whole region");
	send_progress(server, serial, SIZE / 4);
	send_progress(server, serial + 77, 1);
	send_progress(server, serial, SIZE / 2);
	answer_allocate(server, serial, SIZE);
}

static void no_range_is_the_whole_region_and_progress_is_told(void **state)
{
	struct server server = SERVER_NULL;
	struct job job;

	(void)state;
	open_region(&server, serve_with_progress, &job);
	assert_int_equal(gmem_region_allocate(job.region, NULL, 0, progress, &job), 0);
	assert_int_equal(job.n_progress, 2);
	assert_int_equal(job.progressed, SIZE / 2);
	close_region(&server, &job);
}

static void serve_cancel(struct server *server)
{
	Gmem__CancelReply found = GMEM__CANCEL_REPLY__INIT;
	Gmem__Status status = GMEM__STATUS__INIT;
	uint32_t serial;

	grant(server);
	server_expect(server, GM_MSG_DISCARD);
	serial = server->frame.serial;
	send_progress(server, serial, 4096);
	server_expect(server, GM_MSG_CANCEL);
	server_check(server, ((const Gmem__CancelRequest *)server->request)->serial == serial,
		     "another job was cancelled");
	/* A job that is cancelled already is not cancelled again. */
	send_progress(server, serial, 8192);
	found.has_found = true;
	found.found = true;
	server_answer(server, &found.base, NULL, 0);
	server->frame = (struct gm_frame){ .type = GM_MSG_DISCARD, .serial = serial };
	status.has_code = true;
	status.code = GMEM__CODE__CODE_CANCELLED;
	server_refuse(server, &status);
	serve_pings(server, 1);
}

static void a_progress_callback_that_returns_nonzero_cancels_once(void **state)
{
	struct server server = SERVER_NULL;
	struct job job;

	(void)state;
	open_region(&server, serve_cancel, &job);
	job.cancel = 1;
	assert_int_equal(gmem_region_discard(job.region, NULL, 0, progress, &job), -GMEM_CANCELLED);
	assert_int_equal(gmem_error(job.client)->status, GMEM_CANCELLED);
	assert_int_equal(job.n_progress, 2);
	assert_int_equal(gmem_ping(job.client), 0);
	close_region(&server, &job);
}

static void serve_loss(struct server *server)
{
	grant(server);
	server_expect(server, GM_MSG_ALLOCATE);
	server_hang_up(server);
}

static void a_connection_lost_in_a_blocking_job_ends_it(void **state)
{
	struct server server = SERVER_NULL;
	struct job job;

	(void)state;
	open_region(&server, serve_loss, &job);
	assert_int_equal(gmem_region_allocate(job.region, NULL, 0, NULL, NULL), -GMEM_DISCONNECTED);
	close_region(&server, &job);
}

static void too_many_ranges_are_refused_with_the_numbers(void **state)
{
	struct gmem_range ranges[1025] = { 0 };
	struct server server = SERVER_NULL;
	struct job job;

	(void)state;
	open_region(&server, grant, &job);
	assert_int_equal(gmem_region_allocate(job.region, ranges, 1025, NULL, NULL), -GMEM_INVALID);
	assert_string_equal(gmem_error(job.client)->rule, "ranges");
	assert_int_equal(gmem_error(job.client)->limit, 1024);
	assert_int_equal(gmem_error(job.client)->asked, 1025);
	close_region(&server, &job);
}

/* ---- started */

static void wait_readable(gmem_client *client)
{
	struct pollfd readable = { .fd = gmem_client_fd(client), .events = POLLIN };

	assert_int_equal(poll(&readable, 1, 5000), 1);
}

static void serve_two_in_reverse(struct server *server)
{
	uint32_t first;

	grant(server);
	server_expect(server, GM_MSG_ALLOCATE);
	first = server->frame.serial;
	server_expect(server, GM_MSG_ALLOCATE);
	answer_allocate(server, server->frame.serial, 4096);
	answer_allocate(server, first, 8192);
	serve_pings(server, 1);
}

static void started_jobs_end_in_any_order_each_with_its_own_bytes(void **state)
{
	const struct gmem_range range = { .offset = 4096, .length = 8192 };
	struct gmem_job_callbacks callbacks = { .done = done };
	struct server server = SERVER_NULL;
	struct job second = { 0 };
	struct job job;

	(void)state;
	open_region(&server, serve_two_in_reverse, &job);
	second.client = job.client;
	callbacks.arg = &job;
	assert_int_equal(gmem_region_allocate_start(job.region, &range, 1, &callbacks), 0);
	callbacks.arg = &second;
	assert_int_equal(gmem_region_allocate_start(job.region, NULL, 0, &callbacks), 0);
	assert_int_equal(job.n_done + second.n_done, 0);
	assert_int_equal(gmem_ping(job.client), 0);
	assert_int_equal(job.n_done, 1);
	assert_int_equal(job.bytes, 8192);
	assert_int_equal(second.n_done, 1);
	assert_int_equal(second.bytes, 4096);
	close_region(&server, &job);
}

static void serve_refused_job(struct server *server)
{
	Gmem__Status status = GMEM__STATUS__INIT;

	grant(server);
	server_expect(server, GM_MSG_ALLOCATE);
	status.has_code = status.has_asked = true;
	status.code = GMEM__CODE__CODE_NO_RESOURCE;
	status.asked = 77;
	server_refuse(server, &status);
}

static void a_refused_job_tells_why_inside_its_callback(void **state)
{
	struct server server = SERVER_NULL;
	struct job job;
	const struct gmem_job_callbacks callbacks = { .done = done, .arg = &job };

	(void)state;
	open_region(&server, serve_refused_job, &job);
	assert_int_equal(gmem_region_allocate_start(job.region, NULL, 0, &callbacks), 0);
	wait_readable(job.client);
	assert_int_equal(gmem_dispatch(job.client), 0);
	assert_int_equal(job.n_done, 1);
	assert_int_equal(job.status, -GMEM_NO_RESOURCE);
	assert_int_equal(job.error_status, GMEM_NO_RESOURCE);
	assert_int_equal(job.error_asked, 77);
	assert_int_equal(gmem_error(job.client)->status, 0);
	close_region(&server, &job);
}

static void serve_nothing_then_hang_up(struct server *server)
{
	grant(server);
	server_expect(server, GM_MSG_ALLOCATE);
	send_progress(server, server->frame.serial, 12288);
	server_hang_up(server);
}

static void a_job_under_way_at_the_connections_end_is_told(void **state)
{
	struct server server = SERVER_NULL;
	struct job job;
	const struct gmem_job_callbacks callbacks = { .done = done, .arg = &job };

	(void)state;
	open_region(&server, serve_nothing_then_hang_up, &job);
	assert_int_equal(gmem_region_allocate_start(job.region, NULL, 0, &callbacks), 0);
	while (job.n_done == 0) {
		wait_readable(job.client);
		(void)gmem_dispatch(job.client);
	}
	assert_int_equal(job.status, -GMEM_DISCONNECTED);
	assert_int_equal(job.bytes, 12288);
	assert_int_equal(gmem_dispatch(job.client), -GMEM_DISCONNECTED);
	assert_int_equal(job.n_done, 1);
	close_region(&server, &job);
}

static void serve_unanswered_job(struct server *server)
{
	grant(server);
	server_expect(server, GM_MSG_ALLOCATE);
}

static void disconnecting_cancels_each_job_exactly_once(void **state)
{
	struct server server = SERVER_NULL;
	struct job job;
	const struct gmem_job_callbacks callbacks = { .done = done, .arg = &job };

	(void)state;
	open_region(&server, serve_unanswered_job, &job);
	assert_int_equal(gmem_region_allocate_start(job.region, NULL, 0, &callbacks), 0);
	close_region(&server, &job);
	assert_int_equal(job.n_done, 1);
	assert_int_equal(job.status, -GMEM_CANCELLED);
}

static void serve_chain(struct server *server)
{
	grant(server);
	server_expect(server, GM_MSG_ALLOCATE);
	answer_allocate(server, server->frame.serial, SIZE);
	serve_pings(server, 1);
	server_expect(server, GM_MSG_ALLOCATE);
	answer_allocate(server, server->frame.serial, SIZE);
}

static void call_and_start_again(void *arg, int status, uint64_t bytes)
{
	struct job *job = arg;
	const struct gmem_job_callbacks callbacks = { .done = done, .arg = job };

	assert_int_equal(status, 0);
	assert_int_equal(bytes, SIZE);
	job->inner = gmem_ping(job->client);
	assert_int_equal(gmem_region_allocate_start(job->region, NULL, 0, &callbacks), 0);
}

static void a_done_callback_may_call_and_start_the_next_job(void **state)
{
	struct server server = SERVER_NULL;
	struct job job;
	const struct gmem_job_callbacks callbacks = { .done = call_and_start_again, .arg = &job };

	(void)state;
	open_region(&server, serve_chain, &job);
	job.inner = 1;
	assert_int_equal(gmem_region_allocate_start(job.region, NULL, 0, &callbacks), 0);
	while (job.n_done == 0) {
		wait_readable(job.client);
		assert_int_equal(gmem_dispatch(job.client), 0);
	}
	assert_int_equal(job.inner, 0);
	close_region(&server, &job);
}

static void serve_few_requests(struct server *server)
{
	grant(server);
	server_expect(server, GM_MSG_ALLOCATE);
	server_expect(server, GM_MSG_ALLOCATE);
	serve_pings(server, 1);
}

static void jobs_leave_room_for_calls_under_the_daemons_limit(void **state)
{
	struct server server = SERVER_NULL;
	struct job job;

	(void)state;
	server.requests_max = 10;
	open_region(&server, serve_few_requests, &job);
	assert_int_equal(gmem_region_allocate_start(job.region, NULL, 0, NULL), 0);
	assert_int_equal(gmem_region_allocate_start(job.region, NULL, 0, NULL), 0);
	assert_int_equal(gmem_region_allocate_start(job.region, NULL, 0, NULL), -GMEM_OVER_LIMIT);
	assert_string_equal(gmem_error(job.client)->rule, "requests");
	assert_int_equal(gmem_error(job.client)->limit, 2);
	assert_int_equal(gmem_error(job.client)->used, 2);
	assert_int_equal(gmem_ping(job.client), 0);
	close_region(&server, &job);
}

#define N_FLOOD 60

static void serve_only_when_heard(struct server *server)
{
	Gmem__ShutdownEvent event = GMEM__SHUTDOWN_EVENT__INIT;
	struct pollfd first = { .fd = server->fd, .events = POLLIN };

	grant(server);
	poll(&first, 1, 5000);
	server_event(server, GM_EVENT_SHUTDOWN, &event.base);
	/* The client, stuck in sending, must read that before anything is taken from it. */
	server_wait_flag(server, 1);
	for (int i = 0; i < N_FLOOD; i++) {
		server_expect(server, GM_MSG_ALLOCATE);
		answer_allocate(server, server->frame.serial, 1);
	}
}

static void raise_flag(void *arg, int type, gmem_domain *domain, uint64_t value)
{
	(void)type;
	(void)domain;
	(void)value;
	atomic_store((atomic_int *)arg, 1);
}

static void count_done(void *arg, int status, uint64_t bytes)
{
	assert_int_equal(status, 0);
	assert_int_equal(bytes, 1);
	++*(int *)arg;
}

static void a_client_that_waits_to_send_goes_on_reading(void **state)
{
	struct gmem_range ranges[1000];
	struct server server = SERVER_NULL;
	struct job job;
	int n_done = 0;
	const struct gmem_job_callbacks callbacks = { .done = count_done, .arg = &n_done };

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(ranges); i++)
		ranges[i] = (struct gmem_range){ .offset = UINT64_MAX - i, .length = UINT64_MAX };
	open_region(&server, serve_only_when_heard, &job);
	gmem_client_on_event(job.client, raise_flag, &server.flag);
	for (int i = 0; i < N_FLOOD; i++)
		assert_int_equal(gmem_region_allocate_start(job.region, ranges,
							    GM_ARRAY_SIZE(ranges), &callbacks),
				 0);
	while (n_done < N_FLOOD) {
		wait_readable(job.client);
		assert_int_equal(gmem_dispatch(job.client), 0);
	}
	gmem_client_on_event(job.client, NULL, NULL);
	close_region(&server, &job);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(no_range_is_the_whole_region_and_progress_is_told),
		gm_test(a_progress_callback_that_returns_nonzero_cancels_once),
		gm_test(a_connection_lost_in_a_blocking_job_ends_it),
		gm_test(too_many_ranges_are_refused_with_the_numbers),
		gm_test(started_jobs_end_in_any_order_each_with_its_own_bytes),
		gm_test(a_refused_job_tells_why_inside_its_callback),
		gm_test(a_job_under_way_at_the_connections_end_is_told),
		gm_test(disconnecting_cancels_each_job_exactly_once),
		gm_test(a_done_callback_may_call_and_start_the_next_job),
		gm_test(jobs_leave_room_for_calls_under_the_daemons_limit),
		gm_test(a_client_that_waits_to_send_goes_on_reading),
	};

	return gm_test_run("client_job", tests, GM_ARRAY_SIZE(tests));
}
