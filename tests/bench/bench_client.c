/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_client.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "bench_place.h"
#include "gm_cleanup.h"
#include "gm_msg.h"
#include "gm_scm.h"
#include "gmem.pb-c.h"

#define ARENA_SIZE 65536

int bench_request(struct bench_client *client, enum gm_msg_type type,
		  const ProtobufCMessage *message, struct bench_packet *packet)
{
	size_t length = protobuf_c_message_get_packed_size(message);
	struct gm_frame frame = {
		.version = GM_PROTOCOL_VERSION,
		.type = type,
		.serial = ++client->serial,
		.body_length = (uint32_t)length,
	};

	if (GM_FRAME_HEADER_SIZE + length > sizeof(packet->bytes))
		return -EMSGSIZE;
	gm_frame_encode(&frame, packet->bytes);
	(void)protobuf_c_message_pack(message, packet->bytes + GM_FRAME_HEADER_SIZE);
	packet->length = GM_FRAME_HEADER_SIZE + length;
	return 0;
}

int bench_send(int socket, const struct bench_packet *request)
{
	return gm_scm_send(socket, request->bytes, request->length, NULL, 0, NULL, 0, 0);
}

int bench_receive(int socket, struct bench_packet *answer, int flags, int *ret_fd)
{
	struct gm_fdset fds = GM_FDSET_NULL;
	enum gm_scm_fault fault;
	int r;

	r = gm_scm_receive(socket, answer->bytes, sizeof(answer->bytes), flags, ret_fd != NULL,
			   &answer->length, &fds, &fault);
	if (r < 0)
		return r;
	if (fault != GM_SCM_GOOD)
		return fault == GM_SCM_CLOSED ? -EPIPE : -EPROTO;
	if (ret_fd)
		*ret_fd = gm_fdset_steal(&fds, 0);
	gm_fdset_done(&fds);
	return 0;
}

int bench_exchange(int socket, const struct bench_packet *request, struct bench_packet *answer,
		   int *ret_fd, double *ret_ns)
{
	uint64_t start = bench_now();
	int r;

	r = bench_send(socket, request);
	if (r == 0)
		r = bench_receive(socket, answer, 0, ret_fd);
	if (ret_ns)
		*ret_ns = (double)(bench_now() - start);
	return r;
}

static int say_refused(const struct gm_msg_format *format, const ProtobufCMessage *message)
{
	const Gmem__Status *status = (const Gmem__Status *)message;

	fprintf(stderr, "gmem-bench: %s: %.*s\n", format->name, (int)status->text.len,
		status->text.data);
	return -EREMOTEIO;
}

int bench_answer(struct bench_client *client, const struct bench_packet *answer,
		 const void **ret_message)
{
	const struct gm_msg_format *format;
	ProtobufCMessage *message;
	struct gm_frame frame;
	bool refused;

	if (gm_frame_decode(answer->bytes, answer->length, &frame) != GM_FRAME_GOOD)
		return -EPROTO;
	format = gm_msg_format(frame.type);
	if (!format)
		return -EPROTO;
	refused = (frame.flags & GM_FRAME_REFUSED) != 0;
	gm_arena_clear(&client->arena, false);
	if (gm_msg_unpack_answer(refused ? &gmem__status__descriptor : format->answer,
				 answer->bytes + GM_FRAME_HEADER_SIZE, frame.body_length,
				 &client->arena, &message) != GM_MSG_GOOD)
		return -EPROTO;
	if (refused)
		return say_refused(format, message);
	*ret_message = message;
	return 0;
}

static bool is_event(const struct bench_packet *packet)
{
	struct gm_frame frame;

	return gm_frame_decode(packet->bytes, packet->length, &frame) == GM_FRAME_GOOD &&
	       (frame.flags & GM_FRAME_EVENT) != 0;
}

int bench_call(struct bench_client *client, enum gm_msg_type type, const ProtobufCMessage *message,
	       const void **ret_message, int *ret_fd)
{
	struct bench_packet request, answer;
	const void *ignored;
	int r;

	r = bench_request(client, type, message, &request);
	if (r == 0)
		r = bench_send(client->socket, &request);
	/* Jobs tell how far they are. */
	do {
		if (r == 0)
			r = bench_receive(client->socket, &answer, 0, ret_fd);
	} while (r == 0 && is_event(&answer));
	return r == 0 ? bench_answer(client, &answer, ret_message ? ret_message : &ignored) : r;
}

static int connect_to(const char *path, int *ret_socket)
{
	_gm_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (fd < 0)
		return -errno;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*ret_socket = gm_take_fd(&fd);
	return 0;
}

int bench_client_open(struct bench_client *client, const char *path)
{
	Gmem__HelloRequest hello = GMEM__HELLO_REQUEST__INIT;
	int r;

	*client = BENCH_CLIENT_NULL;
	r = gm_arena_init(&client->arena, ARENA_SIZE);
	if (r == 0)
		r = connect_to(path, &client->socket);
	hello.has_min_version = hello.has_max_version = 1;
	hello.min_version = hello.max_version = GM_PROTOCOL_VERSION;
	return r == 0 ? bench_call(client, GM_MSG_HELLO, &hello.base, NULL, NULL) : r;
}

void bench_client_close(struct bench_client *client)
{
	gm_fd_close(gm_take_fd(&client->socket));
	gm_arena_done(&client->arena);
}

int bench_create_domain(struct bench_client *client, const char *kind, uint64_t *ret_domain)
{
	Gmem__DomainCreateRequest request = GMEM__DOMAIN_CREATE_REQUEST__INIT;
	const Gmem__DomainCreateReply *reply;
	const void *message;
	int r;

	request.has_kind = 1;
	request.kind.len = strlen(kind);
	request.kind.data = (uint8_t *)(uintptr_t)kind;
	r = bench_call(client, GM_MSG_DOMAIN_CREATE, &request.base, &message, NULL);
	if (r < 0)
		return r;
	reply = message;
	*ret_domain = reply->domain;
	return 0;
}

int bench_destroy_domain(struct bench_client *client, uint64_t domain)
{
	Gmem__DomainDestroyRequest request = GMEM__DOMAIN_DESTROY_REQUEST__INIT;

	request.has_domain = 1;
	request.domain = domain;
	return bench_call(client, GM_MSG_DOMAIN_DESTROY, &request.base, NULL, NULL);
}

static Gmem__RegionCreateRequest region_request(uint64_t domain, uint64_t gpa, uint64_t size,
						uint64_t page_size)
{
	Gmem__RegionCreateRequest request = GMEM__REGION_CREATE_REQUEST__INIT;

	request.has_domain = request.has_gpa = request.has_size = request.has_page_size = 1;
	request.domain = domain;
	request.gpa = gpa;
	request.size = size;
	request.page_size = page_size;
	return request;
}

int bench_grant_request(struct bench_client *client, uint64_t domain, uint64_t gpa, uint64_t size,
			uint64_t page_size, struct bench_packet *packet)
{
	Gmem__RegionCreateRequest request = region_request(domain, gpa, size, page_size);

	return bench_request(client, GM_MSG_REGION_CREATE, &request.base, packet);
}

int bench_create_region(struct bench_client *client, uint64_t domain, uint64_t gpa, uint64_t size,
			uint64_t page_size, uint64_t *ret_region, int *ret_fd)
{
	Gmem__RegionCreateRequest request = region_request(domain, gpa, size, page_size);
	const Gmem__RegionCreateReply *reply;
	const void *message;
	int r;

	r = bench_call(client, GM_MSG_REGION_CREATE, &request.base, &message, ret_fd);
	if (r < 0)
		return r;
	reply = message;
	*ret_region = reply->region;
	return 0;
}

int bench_destroy_region(struct bench_client *client, uint64_t region)
{
	Gmem__RegionDestroyRequest request = GMEM__REGION_DESTROY_REQUEST__INIT;

	request.has_region = 1;
	request.region = region;
	return bench_call(client, GM_MSG_REGION_DESTROY, &request.base, NULL, NULL);
}
