/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domains and regions from a daemon: what comes with them, and what the library checks.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client_server.h"
#include "gm_fd.h"

#define MIB (1 << 20)

static const struct gmem_region_spec one_mib = { .gpa = 0x100000, .size = MIB };

/* ---- domains */

static void serve_a_full_domain(struct server *server)
{
	Gmem__DomainCreateReply reply = GMEM__DOMAIN_CREATE_REPLY__INIT;
	ProtobufCBinaryData names[2] = { bytes_of("later-device"), bytes_of("kvm") };
	const Gmem__DomainCreateRequest *request;
	uint8_t token[GMEM_TOKEN_SIZE];
	int fds[2] = { server_memory(4096), server_memory(8192) };

	server_expect(server, GM_MSG_DOMAIN_CREATE);
	request = server->request;
	server_check(server,
		     request->kind.len == 11 && !memcmp(request->kind.data, "guest-memfd", 11),
		     "kind");
	server_check(server, request->name.len == 2 && !memcmp(request->name.data, "vm", 2),
		     "name");
	server_check(server, request->lifetime == GMEM__LIFETIME__LIFETIME_PERSISTENT, "lifetime");
	server_check(server,
		     request->n_devices == 1 && request->devices[0] == GMEM__DEVICE__DEVICE_KVM,
		     "devices");
	for (size_t i = 0; i < sizeof(token); i++)
		token[i] = (uint8_t)i;
	reply.has_domain = reply.has_token = true;
	reply.domain = 0x1234;
	reply.token.data = token;
	reply.token.len = sizeof(token);
	reply.fd_names = names;
	reply.n_fd_names = 2;
	server_answer(server, &reply.base, fds, 2);
	gm_fd_close(fds[0]);
	gm_fd_close(fds[1]);
}

static void a_domain_has_id_token_and_the_device_found_by_name(void **state)
{
	const struct gmem_domain_spec spec = {
		.kind = "guest-memfd",
		.name = "vm",
		.flags = GMEM_DOMAIN_PERSISTENT,
		.devices = GMEM_DEVICE_KVM,
	};
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, serve_a_full_domain);
	struct gm_fd_identity identity;
	uint8_t token[GMEM_TOKEN_SIZE];
	gmem_domain *domain;
	int kvm;

	(void)state;
	assert_int_equal(gmem_domain_create(client, &spec, &domain), 0);
	assert_int_equal(gmem_domain_id(domain), 0x1234);
	gmem_domain_token(domain, token);
	for (size_t i = 0; i < sizeof(token); i++)
		assert_int_equal(token[i], i);
	kvm = gmem_domain_device_fd(domain, GMEM_DEVICE_KVM);
	assert_int_equal(gm_fd_identify(kvm, &identity), 0);
	assert_int_equal(identity.size, 8192);
	assert_int_equal(fcntl(kvm, F_GETFD), FD_CLOEXEC);
	assert_int_equal(gmem_domain_device_fd(domain, 1u << 31), -1);
	gmem_disconnect(client);
	server_stop(&server);
}

static void a_device_that_was_asked_for_and_did_not_come_breaks_the_protocol(void **state)
{
	const struct gmem_domain_spec spec = { .devices = GMEM_DEVICE_KVM };
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, server_grant_domain);
	gmem_domain *domain = NULL;

	(void)state;
	assert_int_equal(gmem_domain_create(client, &spec, &domain), -GMEM_PROTOCOL);
	assert_null(domain);
	gmem_disconnect(client);
	server_stop(&server);
}

static void serve_a_short_token(struct server *server)
{
	Gmem__DomainCreateReply reply = GMEM__DOMAIN_CREATE_REPLY__INIT;

	server_expect(server, GM_MSG_DOMAIN_CREATE);
	reply.has_domain = reply.has_token = true;
	reply.domain = 1;
	reply.token = bytes_of("short");
	server_answer(server, &reply.base, NULL, 0);
}

static void a_token_of_another_length_breaks_the_protocol(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, serve_a_short_token);
	gmem_domain *domain = NULL;

	(void)state;
	assert_int_equal(gmem_domain_create(client, NULL, &domain), -GMEM_PROTOCOL);
	gmem_disconnect(client);
	server_stop(&server);
}

static void what_the_protocol_could_not_carry_is_refused_without_asking(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, NULL);
	gmem_domain *domain = NULL;
	char kind[100];

	(void)state;
	memset(kind, 'k', sizeof(kind) - 1);
	kind[sizeof(kind) - 1] = '\0';
	assert_int_equal(
		gmem_domain_create(client, &(struct gmem_domain_spec){ .kind = kind }, &domain),
		-GMEM_UNSUPPORTED);
	assert_int_equal(
		gmem_domain_create(client, &(struct gmem_domain_spec){ .name = "a b" }, &domain),
		-GMEM_INVALID);
	assert_string_equal(gmem_error(client)->rule, "name");
	assert_int_equal(
		gmem_domain_create(client, &(struct gmem_domain_spec){ .flags = 1 << 9 }, &domain),
		-GMEM_INVALID);
	assert_string_equal(gmem_error(client)->rule, "flags");
	gmem_disconnect(client);
	server_stop(&server);
}

static void serve_destroy(struct server *server)
{
	const Gmem__DomainDestroyReply reply = GMEM__DOMAIN_DESTROY_REPLY__INIT;
	const Gmem__DomainDestroyRequest *request;
	Gmem__Status status = GMEM__STATUS__INIT;

	server_grant_domain(server);
	server_expect(server, GM_MSG_DOMAIN_DESTROY);
	request = server->request;
	server_check(server, request->domain == 1 && !request->has_token, "by attachment");
	status.has_code = true;
	status.code = GMEM__CODE__CODE_BUSY;
	server_refuse(server, &status);
	server_expect(server, GM_MSG_DOMAIN_DESTROY);
	request = server->request;
	server_check(server, request->domain == 9 && request->token.len == GMEM_TOKEN_SIZE,
		     "by token");
	server_answer(server, &reply.base, NULL, 0);
}

static void destroying_frees_the_handle_even_when_it_is_refused(void **state)
{
	const uint8_t token[GMEM_TOKEN_SIZE] = { 0 };
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, serve_destroy);
	gmem_domain *domain;

	(void)state;
	assert_int_equal(gmem_domain_create(client, NULL, &domain), 0);
	assert_int_equal(gmem_domain_destroy(domain), -GMEM_BUSY);
	assert_int_equal(gmem_domain_destroy_id(client, 9, token), 0);
	gmem_disconnect(client);
	server_stop(&server);
}

/* ---- regions */

static void serve_one_region(struct server *server)
{
	const Gmem__RegionDestroyReply gone = GMEM__REGION_DESTROY_REPLY__INIT;

	server_grant_domain(server);
	server_grant_region(server, 0x55, MIB);
	server_expect(server, GM_MSG_REGION_DESTROY);
	server_answer(server, &gone.base, NULL, 0);
}

static void a_region_is_mapped_once_and_belongs_to_the_library(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, serve_one_region);
	gmem_domain *domain;
	gmem_region *region;
	void *address;
	void *again;
	char byte;

	(void)state;
	assert_int_equal(gmem_domain_create(client, NULL, &domain), 0);
	assert_int_equal(gmem_region_create(domain, &one_mib, &region), 0);
	assert_int_equal(gmem_region_id(region), 0x55);
	assert_int_equal(gmem_region_gpa(region), 0x100000);
	assert_int_equal(gmem_region_size(region), MIB);
	assert_int_equal(gmem_region_page_size(region), 4096);
	assert_int_equal(fcntl(gmem_region_fd(region), F_GETFD), FD_CLOEXEC);
	assert_ptr_equal(gmem_domain_region(domain, 0), region);
	assert_null(gmem_domain_region(domain, 1));
	assert_int_equal(gmem_region_map(region, &address), 0);
	assert_int_equal(gmem_region_map(region, &again), 0);
	assert_ptr_equal(address, again);
	((char *)address)[MIB - 1] = 'x';
	assert_int_equal(pread(gmem_region_fd(region), &byte, 1, MIB - 1), 1);
	assert_int_equal(byte, 'x');
	assert_int_equal(gmem_region_destroy(region), 0);
	assert_null(gmem_domain_region(domain, 0));
	gmem_disconnect(client);
	server_stop(&server);
}

static void serve_a_small_region(struct server *server)
{
	server_grant_domain(server);
	server_grant_region(server, 0x55, MIB - 4096);
}

static void memory_of_another_size_breaks_the_protocol(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, serve_a_small_region);
	gmem_region *region = NULL;
	gmem_domain *domain;

	(void)state;
	assert_int_equal(gmem_domain_create(client, NULL, &domain), 0);
	assert_int_equal(gmem_region_create(domain, &one_mib, &region), -GMEM_PROTOCOL);
	assert_null(region);
	gmem_disconnect(client);
	server_stop(&server);
}

static void serve_a_region_without_memory(struct server *server)
{
	Gmem__RegionCreateReply reply = GMEM__REGION_CREATE_REPLY__INIT;

	server_grant_domain(server);
	server_expect(server, GM_MSG_REGION_CREATE);
	reply.has_region = true;
	reply.region = 3;
	server_answer(server, &reply.base, NULL, 0);
}

static void a_region_without_memory_breaks_the_protocol(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, serve_a_region_without_memory);
	gmem_region *region = NULL;
	gmem_domain *domain;

	(void)state;
	assert_int_equal(gmem_domain_create(client, NULL, &domain), 0);
	assert_int_equal(gmem_region_create(domain, &one_mib, &region), -GMEM_PROTOCOL);
	gmem_disconnect(client);
	server_stop(&server);
}

static void serve_eviction_in_a_create(struct server *server)
{
	Gmem__DomainGoneEvent gone = GMEM__DOMAIN_GONE_EVENT__INIT;
	const Gmem__DomainDestroyReply destroyed = GMEM__DOMAIN_DESTROY_REPLY__INIT;
	Gmem__RegionCreateReply region = GMEM__REGION_CREATE_REPLY__INIT;
	ProtobufCBinaryData name = bytes_of("memory");
	int fd = server_memory(MIB);
	uint32_t serial;

	server_grant_domain(server);
	server_expect(server, GM_MSG_REGION_CREATE);
	serial = server->frame.serial;
	gone.has_domain = gone.has_why = true;
	gone.domain = 1;
	gone.why = GMEM__FAREWELL__FAREWELL_EVICTED;
	server_event(server, GM_EVENT_DOMAIN_GONE, &gone.base);
	server_expect(server, GM_MSG_DOMAIN_DESTROY);
	server_answer(server, &destroyed.base, NULL, 0);
	region.has_region = true;
	region.region = 5;
	region.fd_names = &name;
	region.n_fd_names = 1;
	server_answer_message(server, GM_MSG_REGION_CREATE, serial, &region.base, &fd, 1);
	gm_fd_close(fd);
}

static void destroy_the_evicted(void *arg, int type, gmem_domain *domain, uint64_t value)
{
	int *seen = arg;

	(void)value;
	assert_int_equal(type, GMEM_EVENT_DOMAIN_EVICTED);
	assert_non_null(domain);
	*seen += 1;
	(void)gmem_domain_destroy(domain);
}

static void a_handle_may_be_destroyed_in_the_event_that_ends_its_domain(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, serve_eviction_in_a_create);
	gmem_region *region = NULL;
	gmem_domain *domain;
	int seen = 0;

	(void)state;
	gmem_client_on_event(client, destroy_the_evicted, &seen);
	assert_int_equal(gmem_domain_create(client, NULL, &domain), 0);
	assert_int_equal(gmem_region_create(domain, &one_mib, &region), -GMEM_NO_SUCH_OBJECT);
	assert_null(region);
	assert_int_equal(seen, 1);
	gmem_disconnect(client);
	server_stop(&server);
}

/* ---- attaching */

#define N_REGIONS 40

static void answer_region(struct server *server, uint32_t serial, uint64_t id)
{
	Gmem__RegionGetReply reply = GMEM__REGION_GET_REPLY__INIT;
	Gmem__RegionInfo info = GMEM__REGION_INFO__INIT;
	ProtobufCBinaryData name = bytes_of("memory");
	int fd = server_memory(id * 4096);

	info.has_region = info.has_domain = info.has_gpa = info.has_size = info.has_page_size =
		true;
	info.region = id;
	info.domain = 0x42;
	/* Ids go up as addresses go down. */
	info.gpa = (uint64_t)(1000 - id) * MIB;
	info.size = id * 4096;
	info.page_size = 4096;
	reply.info = &info;
	reply.fd_names = &name;
	reply.n_fd_names = 1;
	server_answer_message(server, GM_MSG_REGION_GET, serial, &reply.base, &fd, 1);
	gm_fd_close(fd);
}

static void answer_attach(struct server *server, size_t n_ids)
{
	Gmem__DomainAttachReply reply = GMEM__DOMAIN_ATTACH_REPLY__INIT;
	Gmem__DomainInfo info = GMEM__DOMAIN_INFO__INIT;
	const Gmem__DomainAttachRequest *request;
	uint64_t ids[N_REGIONS];

	server_expect(server, GM_MSG_DOMAIN_ATTACH);
	request = server->request;
	server_check(server,
		     request->domain == 0x42 && request->token.len == GMEM_TOKEN_SIZE &&
			     request->take_over,
		     "the attach request");
	for (size_t i = 0; i < n_ids; i++)
		ids[i] = i + 1;
	info.has_domain = info.has_regions = true;
	info.domain = 0x42;
	info.regions = N_REGIONS;
	reply.info = &info;
	reply.regions = ids;
	reply.n_regions = n_ids;
	server_answer(server, &reply.base, NULL, 0);
}

/* Answers in windows of 16, each only when all its questions are there. */
static void answer_windows(struct server *server)
{
	for (uint64_t first = 1; first <= N_REGIONS; first += 16) {
		uint64_t n = N_REGIONS - first + 1 < 16 ? N_REGIONS - first + 1 : 16;
		uint32_t serials[16];
		uint64_t ids[16];

		for (uint64_t i = 0; i < n; i++) {
			server_expect(server, GM_MSG_REGION_GET);
			serials[i] = server->frame.serial;
			ids[i] = ((const Gmem__RegionGetRequest *)server->request)->region;
		}
		for (uint64_t i = 0; i < n; i++)
			answer_region(server, serials[i], ids[i]);
	}
}

static void serve_attach(struct server *server)
{
	answer_attach(server, N_REGIONS);
	answer_windows(server);
}

static void serve_attach_with_list(struct server *server)
{
	Gmem__RegionInfo infos[N_REGIONS];
	Gmem__RegionInfo *pointers[N_REGIONS];
	Gmem__ListReply reply = GMEM__LIST_REPLY__INIT;

	answer_attach(server, 7);
	for (size_t i = 0; i < N_REGIONS; i++) {
		gmem__region_info__init(&infos[i]);
		infos[i].has_region = true;
		infos[i].region = i + 1;
		pointers[i] = &infos[i];
	}
	server_expect(server, GM_MSG_LIST);
	server_check(server, ((const Gmem__ListRequest *)server->request)->domain == 0x42, "list");
	reply.regions = pointers;
	reply.n_regions = N_REGIONS;
	server_answer(server, &reply.base, NULL, 0);
	answer_windows(server);
}

static void check_attach(server_script script)
{
	const uint8_t token[GMEM_TOKEN_SIZE] = { 7 };
	uint8_t kept[GMEM_TOKEN_SIZE];
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, script);
	gmem_domain *domain = NULL;
	uint64_t last = 0;

	assert_int_equal(gmem_domain_attach(client, 0x42, token, GMEM_ATTACH_TAKE_OVER, 0, &domain),
			 0);
	gmem_domain_token(domain, kept);
	assert_memory_equal(kept, token, sizeof(token));
	for (size_t i = 0; i < N_REGIONS; i++) {
		const gmem_region *region = gmem_domain_region(domain, i);

		assert_non_null(region);
		assert_true(gmem_region_gpa(region) > last);
		last = gmem_region_gpa(region);
		assert_int_equal(gmem_region_id(region), N_REGIONS - i);
	}
	assert_null(gmem_domain_region(domain, N_REGIONS));
	assert_int_equal(gmem_domain_attach(client, 0x42, token, 0, 0, &domain), -GMEM_BUSY);
	gmem_disconnect(client);
	server_stop(&server);
}

static void attaching_brings_all_regions_by_address_in_pipelined_windows(void **state)
{
	(void)state;
	check_attach(serve_attach);
}

static void attaching_lists_the_regions_that_the_answer_had_no_room_for(void **state)
{
	(void)state;
	check_attach(serve_attach_with_list);
}

static void refuse_one_region(struct server *server)
{
	Gmem__Status status = GMEM__STATUS__INIT;
	uint32_t serials[16];

	answer_attach(server, N_REGIONS);
	for (size_t i = 0; i < 16; i++) {
		server_expect(server, GM_MSG_REGION_GET);
		serials[i] = server->frame.serial;
	}
	answer_region(server, serials[0], 1);
	status.has_code = true;
	status.code = GMEM__CODE__CODE_NO_SUCH_OBJECT;
	server->frame.serial = serials[1];
	server_refuse(server, &status);
	for (uint64_t i = 2; i < 16; i++)
		answer_region(server, serials[i], i + 1);
	server_expect(server, GM_MSG_PING);
	{
		Gmem__PingReply reply = GMEM__PING_REPLY__INIT;

		reply.has_payload = true;
		reply.payload = ((const Gmem__PingRequest *)server->request)->payload;
		server_answer(server, &reply.base, NULL, 0);
	}
}

static void a_refusal_among_pipelined_requests_fails_the_call_and_leaks_nothing(void **state)
{
	const uint8_t token[GMEM_TOKEN_SIZE] = { 7 };
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, refuse_one_region);
	gmem_domain *domain = NULL;

	(void)state;
	assert_int_equal(gmem_domain_attach(client, 0x42, token, GMEM_ATTACH_TAKE_OVER, 0, &domain),
			 -GMEM_NO_SUCH_OBJECT);
	assert_null(domain);
	assert_int_equal(gmem_ping(client), 0);
	gmem_disconnect(client);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_domain_has_id_token_and_the_device_found_by_name),
		gm_test(a_device_that_was_asked_for_and_did_not_come_breaks_the_protocol),
		gm_test(a_token_of_another_length_breaks_the_protocol),
		gm_test(what_the_protocol_could_not_carry_is_refused_without_asking),
		gm_test(destroying_frees_the_handle_even_when_it_is_refused),
		gm_test(a_region_is_mapped_once_and_belongs_to_the_library),
		gm_test(memory_of_another_size_breaks_the_protocol),
		gm_test(a_region_without_memory_breaks_the_protocol),
		gm_test(a_handle_may_be_destroyed_in_the_event_that_ends_its_domain),
		gm_test(attaching_brings_all_regions_by_address_in_pipelined_windows),
		gm_test(attaching_lists_the_regions_that_the_answer_had_no_room_for),
		gm_test(a_refusal_among_pipelined_requests_fails_the_call_and_leaks_nothing),
	};

	return gm_test_run("client_domain", tests, GM_ARRAY_SIZE(tests));
}
