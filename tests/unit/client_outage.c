/* SPDX-License-Identifier: Apache-2.0 */
#include "client_outage.h"

#include <time.h>

#include "gm_fd.h"

int outage_memory = -1;

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

gmem_client *outage_client(struct server *server, server_script script, struct seen *seen,
			   int patience_ms)
{
	*seen = (struct seen){ .inner = 1 };
	server->reconnect_ms = patience_ms;
	seen->client = server_client(server, script);
	gmem_client_on_event(seen->client, see, seen);
	return seen->client;
}

void outage_check_resumed(const struct seen *seen)
{
	assert_int_equal(seen->n, 1);
	assert_int_equal(seen->types[0], GMEM_EVENT_RECONNECTED);
	assert_int_equal(seen->values[0], 1);
}

void outage_end(struct server *server, gmem_client *client)
{
	gmem_disconnect(client);
	server_stop(server);
}

uint64_t outage_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void outage_nap_ms(long ms)
{
	const struct timespec nap = { .tv_nsec = ms * 1000000 };

	nanosleep(&nap, NULL);
}

void outage_answer_ping(struct server *server)
{
	Gmem__PingReply reply = GMEM__PING_REPLY__INIT;

	reply.has_payload = true;
	reply.payload = ((const Gmem__PingRequest *)server->request)->payload;
	server_answer(server, &reply.base, NULL, 0);
}

void outage_serve_ping(struct server *server)
{
	server_expect(server, GM_MSG_PING);
	outage_answer_ping(server);
}

void outage_grant(struct server *server)
{
	Gmem__RegionCreateReply reply = GMEM__REGION_CREATE_REPLY__INIT;
	ProtobufCBinaryData name = bytes_of("memory");

	server_grant_domain(server);
	server_expect(server, GM_MSG_REGION_CREATE);
	reply.has_region = true;
	reply.region = REGION;
	reply.fd_names = &name;
	reply.n_fd_names = 1;
	server_answer(server, &reply.base, &outage_memory, 1);
}

gmem_domain *outage_open_region(struct server *server, server_script script, struct seen *seen,
				uint32_t flags)
{
	const struct gmem_region_spec spec = { .size = SIZE };
	gmem_region *region;
	gmem_domain *domain;

	outage_memory = server_memory(SIZE);
	outage_client(server, script, seen, 5000);
	assert_int_equal(gmem_domain_create(seen->client,
					    &(struct gmem_domain_spec){ .flags = flags }, &domain),
			 0);
	assert_int_equal(gmem_region_create(domain, &spec, &region), 0);
	return domain;
}

void outage_close_region(struct server *server, const struct seen *seen)
{
	outage_end(server, seen->client);
	gm_fd_close(outage_memory);
}

void outage_send_progress(struct server *server, uint64_t bytes)
{
	Gmem__ProgressEvent event = GMEM__PROGRESS_EVENT__INIT;

	event.has_serial = event.has_done = event.has_total = true;
	event.serial = server->frame.serial;
	event.done = bytes;
	event.total = SIZE;
	server_event(server, GM_EVENT_PROGRESS, &event.base);
}

void outage_answer_allocate(struct server *server, uint32_t serial)
{
	Gmem__AllocateReply reply = GMEM__ALLOCATE_REPLY__INIT;

	reply.has_bytes = true;
	reply.bytes = SIZE;
	server_answer_message(server, GM_MSG_ALLOCATE, serial, &reply.base, NULL, 0);
}

void outage_count_done(void *arg, int status, uint64_t bytes)
{
	int *n = arg;

	*n += status == 0 && bytes == SIZE;
}

void outage_expect_attach(struct server *server)
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

void outage_answer_attach(struct server *server, uint64_t stray)
{
	Gmem__DomainAttachReply reply = GMEM__DOMAIN_ATTACH_REPLY__INIT;
	Gmem__DomainInfo info = GMEM__DOMAIN_INFO__INIT;
	uint64_t ids[2] = { REGION, stray };

	info.has_domain = info.has_regions = info.has_lifetime = true;
	info.domain = 1;
	info.lifetime = GMEM__LIFETIME__LIFETIME_PERSISTENT;
	info.regions = stray ? 2 : 1;
	reply.info = &info;
	reply.regions = ids;
	reply.n_regions = info.regions;
	server_answer(server, &reply.base, NULL, 0);
}

void outage_expect_look(struct server *server)
{
	server_expect(server, GM_MSG_DOMAIN_GET);
	server_check(server, ((const Gmem__DomainGetRequest *)server->request)->domain == 1,
		     "another domain");
}

void outage_answer_look(struct server *server, bool attached_here)
{
	Gmem__DomainGetReply reply = GMEM__DOMAIN_GET_REPLY__INIT;
	Gmem__DomainInfo info = GMEM__DOMAIN_INFO__INIT;

	info.has_domain = true;
	info.domain = 1;
	reply.info = &info;
	reply.has_attached_here = true;
	reply.attached_here = attached_here;
	server_answer(server, &reply.base, NULL, 0);
}

void outage_resume(struct server *server)
{
	server_return(server, true);
	outage_expect_look(server);
	outage_answer_look(server, true);
}

void outage_give_memory(struct server *server, int fd)
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

void outage_refuse(struct server *server, Gmem__Code code, Gmem__Rule rule)
{
	Gmem__Status status = GMEM__STATUS__INIT;

	status.has_code = status.has_rule = true;
	status.code = code;
	status.rule = rule;
	server_refuse(server, &status);
}
