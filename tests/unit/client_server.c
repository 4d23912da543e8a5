/* SPDX-License-Identifier: Apache-2.0 */
#include "client_server.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "gm_fd.h"
#include "gm_msg.h"
#include "gm_scm.h"

#define ARENA_SIZE (1024 * 1024)

void server_check(struct server *server, bool good, const char *fault)
{
	if (!good && !server->fault)
		server->fault = fault;
}

/* False at the end of the connection. */
static bool receive(struct server *server)
{
	struct gm_fdset fds = GM_FDSET_NULL;
	enum gm_scm_fault fault;
	ProtobufCMessage *message;
	unsigned n_resets = 0;
	size_t length;
	int r;

	/* Who closes with an answer unread resets the connection; what it sent before is there. */
	do {
		r = gm_scm_receive(server->fd, server->packet, sizeof(server->packet), 0, true,
				   &length, &fds, &fault);
	} while (r == -ECONNRESET && n_resets++ == 0);
	if (r < 0 || fault != GM_SCM_GOOD)
		return false;
	server_check(server,
		     gm_frame_decode(server->packet, length, &server->frame) == GM_FRAME_GOOD,
		     "the client sent a bad frame");
	server_check(server, fds.n_fds == 0, "the client sent file descriptors with a request");
	gm_fdset_done(&fds);
	gm_arena_clear(&server->arena, false);
	server_check(server,
		     gm_msg_unpack_request(gm_msg_format(server->frame.type)->request,
					   server->packet + GM_FRAME_HEADER_SIZE,
					   server->frame.body_length, &server->arena,
					   &message) == GM_MSG_GOOD,
		     "the client sent a bad body");
	server->request = message;
	return true;
}

void server_expect(struct server *server, unsigned type)
{
	if (!receive(server)) {
		server_check(server, false, "the client hung up early");
		return;
	}
	if (server->frame.type != type)
		fprintf(stderr, "expected type %u, got %u\n", type, server->frame.type);
	server_check(server, server->frame.type == type, "the client sent another request");
	server_check(server, server->frame.flags == 0 && server->frame.serial != 0,
		     "the client sent no request");
}

#define BOX UINT64_C(0xb0)

void server_give_box(struct server *server)
{
	Gmem__FdBoxReply reply = GMEM__FD_BOX_REPLY__INIT;
	ProtobufCBinaryData name = bytes_of("box");
	int ends[2];

	server_expect(server, GM_MSG_FD_BOX);
	server_check(server, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0,
		     "no socket");
	reply.has_box = true;
	reply.box = BOX;
	reply.fd_names = &name;
	reply.n_fd_names = 1;
	server_answer(server, &reply.base, &ends[0], 1);
	gm_fd_close(ends[0]);
	gm_fd_close(server->box);
	server->box = ends[1];
}

static uint64_t box_of(const struct server *server)
{
	if (server->frame.type == GM_MSG_SOURCE)
		return ((const Gmem__SourceRequest *)server->request)->box;
	return ((const Gmem__StepMemoryRequest *)server->request)->box;
}

void server_expect_boxed(struct server *server, unsigned type)
{
	struct gm_fdset fds = GM_FDSET_NULL;
	enum gm_scm_fault fault;
	size_t length;
	char bytes[16];

	server_give_box(server);
	server_expect(server, type);
	if (server->frame.type != type)
		return;
	server_check(server, box_of(server) == BOX, "another box");
	server_check(server,
		     gm_scm_receive(server->box, bytes, sizeof(bytes), MSG_DONTWAIT, true, &length,
				    &fds, &fault) == 0 &&
			     fault == GM_SCM_GOOD && fds.n_fds == 1,
		     "a box without one file descriptor");
	gm_fdset_move(&server->fds, &fds);
}

void server_send(struct server *server, const struct gm_frame *frame, const void *body,
		 const int *fds, size_t n_fds)
{
	uint8_t header[GM_FRAME_HEADER_SIZE];

	gm_frame_encode(frame, header);
	/* A client that has given up is no fault of the script. */
	if (gm_scm_send(server->fd, header, sizeof(header), body, frame->body_length, fds, n_fds,
			0) < 0)
		return;
}

static void send_message(struct server *server, struct gm_frame frame,
			 const ProtobufCMessage *message, const int *fds, size_t n_fds)
{
	static _Thread_local uint8_t body[GM_BODY_MAX];
	size_t length = 0;

	server_check(server, gm_msg_pack(message, body, &length) == 0,
		     "an answer that is too long");
	frame.version = GM_PROTOCOL_VERSION;
	frame.n_fds = (uint8_t)n_fds;
	frame.body_length = (uint32_t)length;
	server_send(server, &frame, body, fds, n_fds);
}

void server_answer_message(struct server *server, unsigned type, uint32_t serial,
			   const ProtobufCMessage *message, const int *fds, size_t n_fds)
{
	const struct gm_frame frame = {
		.type = (uint16_t)type,
		.flags = GM_FRAME_ANSWER,
		.serial = serial,
	};

	send_message(server, frame, message, fds, n_fds);
}

void server_answer(struct server *server, const ProtobufCMessage *message, const int *fds,
		   size_t n_fds)
{
	server_answer_message(server, server->frame.type, server->frame.serial, message, fds,
			      n_fds);
}

void server_refuse(struct server *server, const Gmem__Status *status)
{
	const struct gm_frame frame = {
		.type = server->frame.type,
		.flags = GM_FRAME_ANSWER | GM_FRAME_REFUSED,
		.serial = server->frame.serial,
	};

	send_message(server, frame, &status->base, NULL, 0);
}

void server_event(struct server *server, unsigned type, const ProtobufCMessage *message)
{
	const struct gm_frame frame = { .type = (uint16_t)type, .flags = GM_FRAME_EVENT };

	send_message(server, frame, message, NULL, 0);
}

void server_hang_up(struct server *server)
{
	gm_fd_close(server->fd);
	server->fd = -1;
}

void server_accept(struct server *server)
{
	server_hang_up(server);
	server->fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
}

void server_return(struct server *server, bool resumed)
{
	server_accept(server);
	server_greet(server, resumed);
}

void server_wait_flag(struct server *server, int value)
{
	const struct timespec nap = { .tv_nsec = 1000000 };

	for (int i = 0; i < 5000 && atomic_load(&server->flag) != value; i++)
		nanosleep(&nap, NULL);
	server_check(server, atomic_load(&server->flag) == value, "the flag was not set in time");
}

/* The same key each time, where there is one. */
static void check_key(struct server *server)
{
	const Gmem__HelloRequest *request = server->request;
	bool has_key = request->session_key.len == sizeof(server->key);

	if (server->reconnect_ms)
		server_check(server, has_key == (server->reconnect_ms > 0), "a key, or none");
	if (!has_key)
		return;
	if (server->has_key)
		server_check(server,
			     memcmp(server->key, request->session_key.data, sizeof(server->key)) ==
				     0,
			     "another key");
	memcpy(server->key, request->session_key.data, sizeof(server->key));
	server->has_key = true;
}

void server_greet(struct server *server, bool resumed)
{
	Gmem__HelloReply hello = GMEM__HELLO_REPLY__INIT;

	server_expect(server, GM_MSG_HELLO);
	if (server->frame.type != GM_MSG_HELLO)
		return;
	check_key(server);
	hello.has_resumed = true;
	hello.resumed = resumed;
	hello.has_version = hello.has_tenant = hello.has_admin = true;
	hello.version = GM_PROTOCOL_VERSION;
	hello.tenant = bytes_of(server->admin ? "" : "acme");
	hello.admin = server->admin;
	hello.has_requests_max = server->requests_max != 0;
	hello.requests_max = server->requests_max;
	server_answer(server, &hello.base, NULL, 0);
}

static void *serve(void *arg)
{
	struct server *server = arg;

	server_accept(server);
	if (server->fd < 0)
		return NULL;
	if (!server->silent)
		server_greet(server, false);
	if (server->script)
		server->script(server);
	while (server->fd >= 0 && receive(server))
		continue;
	return NULL;
}

void server_start(struct server *server, server_script script)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };

	snprintf(server->folder, sizeof(server->folder), "/tmp/gmem-test-XXXXXX");
	assert_non_null(mkdtemp(server->folder));
	snprintf(server->path, sizeof(server->path), "%s/sock", server->folder);
	memcpy(name.sun_path, server->path, strlen(server->path) + 1);
	server->script = script;
	assert_int_equal(gm_arena_init(&server->arena, ARENA_SIZE), 0);
	server->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_true(server->listen_fd >= 0);
	assert_int_equal(bind(server->listen_fd, (struct sockaddr *)&name, sizeof(name)), 0);
	assert_int_equal(listen(server->listen_fd, 4), 0);
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

void server_stop(struct server *server)
{
	/* Ends an accept that nobody came for. */
	(void)shutdown(server->listen_fd, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	gm_fd_close(server->fd);
	gm_fd_close(server->box);
	gm_fdset_done(&server->fds);
	gm_fd_close(server->listen_fd);
	(void)unlink(server->path);
	(void)rmdir(server->folder);
	gm_arena_done(&server->arena);
	if (server->fault && !server->tolerant)
		fail_msg("script: %s", server->fault);
}

gmem_client *server_client_with(struct server *server, server_script script, int timeout_ms)
{
	char why[256] = "";
	const struct gmem_connect_spec spec = {
		.name = "test",
		.timeout_ms = timeout_ms,
		.reconnect_ms = server->reconnect_ms ? server->reconnect_ms : -1,
		.ret_error = why,
		.ret_error_size = sizeof(why),
	};
	gmem_client *client = NULL;

	server_start(server, script);
	if (gmem_connect(server->path, &spec, &client) < 0)
		fail_msg("no client: %s", why);
	return client;
}

gmem_client *server_client(struct server *server, server_script script)
{
	return server_client_with(server, script, 5000);
}

int server_memory(uint64_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, (off_t)size) < 0) {
		gm_fd_close(fd);
		return -1;
	}
	return fd;
}

void server_grant_domain(struct server *server)
{
	Gmem__DomainCreateReply reply = GMEM__DOMAIN_CREATE_REPLY__INIT;
	uint8_t token[GMEM_TOKEN_SIZE];

	server_expect(server, GM_MSG_DOMAIN_CREATE);
	memset(token, 0x5a, sizeof(token));
	reply.has_domain = reply.has_token = true;
	reply.domain = 1;
	reply.token.data = token;
	reply.token.len = sizeof(token);
	server_answer(server, &reply.base, NULL, 0);
}

void server_grant_region(struct server *server, uint64_t id, uint64_t size)
{
	Gmem__RegionCreateReply reply = GMEM__REGION_CREATE_REPLY__INIT;
	ProtobufCBinaryData name = bytes_of("memory");
	int fd = server_memory(size);

	server_expect(server, GM_MSG_REGION_CREATE);
	reply.has_region = true;
	reply.region = id;
	reply.fd_names = &name;
	reply.n_fd_names = 1;
	server_answer(server, &reply.base, &fd, 1);
	gm_fd_close(fd);
}
