/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a connection to a daemon, greeting it, and ending it.
 */
#include "remote.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "gm_check.h"
#include "gm_cleanup.h"
#include "gm_verdict.h"

/* Packets that one gmem_dispatch handles, so that a flood does not starve the program's loop. */
#define GM_DISPATCH_MAX 1024

static int fail_connect(struct gmem_client *client, const char *address, int error)
{
	int status = GMEM_SYSTEM;
	int r;

	if (error == ENOENT || error == ECONNREFUSED || error == ENOTSOCK || error == EPROTOTYPE)
		status = GMEM_DISCONNECTED;
	else if (error == EACCES || error == EPERM)
		status = GMEM_DENIED;
	else if (error == EAGAIN)
		status = GMEM_TIMED_OUT;
	r = gm_fail(client, status, 0, "No connection to gmemd at %s: %s.", address,
		    error == EAGAIN ? "it does not accept in time" : strerrordesc_np(error));
	client->failure.sys_errno = error;
	client->error.sys_errno = error;
	return r;
}

static int open_socket(int *ret_fd)
{
	_gm_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	/* A program that closed its standard streams must not find us there. */
	if (fd < 3) {
		int copy = gm_fd_dup(fd);

		if (copy < 0)
			return copy;
		*ret_fd = copy;
		return 0;
	}
	*ret_fd = gm_take_fd(&fd);
	return 0;
}

static int connect_to(struct gmem_client *client, const char *address)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	struct timeval limit = {
		.tv_sec = client->timeout_ms / 1000,
		.tv_usec = (suseconds_t)(client->timeout_ms % 1000) * 1000,
	};
	int fd;
	int r;

	if (strlen(address) >= sizeof(name.sun_path))
		return gm_fail(client, GMEM_INVALID, 0,
			       "The address has %zu characters; a socket's path has at most %zu.",
			       strlen(address), sizeof(name.sun_path) - 1);
	memcpy(name.sun_path, address, strlen(address));
	r = open_socket(&client->remote->fd);
	if (r < 0)
		return gm_fail_errno(client, r, "a socket");
	fd = client->remote->fd;
	/* Bounds the wait for a full backlog (unix_stream_connect). */
	if (client->timeout_ms > 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return gm_fail_errno(client, errno, "SO_SNDTIMEO");
	do {
		r = connect(fd, (const struct sockaddr *)&name, sizeof(name));
	} while (r < 0 && errno == EINTR);
	return r < 0 ? fail_connect(client, address, errno) : 0;
}

/* The program's name, as far as the protocol takes it. */
static void default_name(char *name, size_t size)
{
	size_t n = 0;

	for (const char *c = program_invocation_short_name; *c && n < size - 1; c++) {
		name[n] = '_';
		if (gm_client_name_is_valid(c, 1))
			name[n] = *c;
		n++;
	}
	if (n == 0)
		name[n++] = '_';
	name[n] = '\0';
}

static uint32_t bounded(protobuf_c_boolean has, uint32_t value, uint32_t most)
{
	return has && value > 0 && value < most ? value : most;
}

static int take_hello(struct gmem_client *client, const Gmem__HelloReply *hello)
{
	struct gm_remote *remote = client->remote;

	if (hello->version != GM_PROTOCOL_VERSION)
		return gm_remote_nonsense(client, "a version that was not offered");
	client->admin = hello->admin;
	gm_copy_printable(client->tenant, sizeof(client->tenant), hello->tenant.data,
			  hello->tenant.len);
	remote->ranges_max = bounded(hello->has_ranges_max, hello->ranges_max, GM_RANGES_MAX);
	remote->requests_max =
		bounded(hello->has_requests_max, hello->requests_max, GM_REQUESTS_MAX);
	return 0;
}

static int greet(struct gmem_client *client, const char *name)
{
	Gmem__HelloRequest request = GMEM__HELLO_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	char own[GM_CLIENT_NAME_MAX + 1];
	int r;

	if (!name) {
		default_name(own, sizeof(own));
		name = own;
	}
	if (!gm_client_name_is_valid(name, strlen(name)))
		return gm_fail(client, GMEM_INVALID, GM_RULE_NAME,
			       "A program's name has 1 to %d characters of A-Z, a-z, 0-9 and "
			       ". _ : - / (name, asked %zu characters).",
			       GM_CLIENT_NAME_MAX, strlen(name));
	request.has_min_version = request.has_max_version = request.has_client = true;
	request.min_version = request.max_version = GM_PROTOCOL_VERSION;
	request.client = gm_wire_text(name);
	r = gm_remote_call(client, GM_MSG_HELLO, &request.base, &reply);
	if (r < 0)
		return r;
	return take_hello(client, (const Gmem__HelloReply *)reply.message);
}

static void free_remote(struct gm_remote *remote)
{
	gm_fd_close(remote->fd);
	if (remote->spare) {
		gm_arena_done(remote->spare);
		free(remote->spare);
	}
	gm_arena_done(&remote->scratch);
	free(remote);
}

static void close_remote(struct gmem_client *client)
{
	struct gm_remote *remote = client->remote;
	struct gm_pending *pending;

	remote->over = true;
	while ((pending = remote->pending)) {
		remote->pending = pending->next;
		remote->n_pending--;
		gm_failure_set(&pending->failure, GMEM_CANCELLED, "The client was disconnected.");
		gm_pending_end(client, pending);
	}
	free_remote(remote);
	client->remote = NULL;
}

int gm_remote_open(struct gmem_client *client, const char *address, const char *name)
{
	struct gm_remote *remote = calloc(1, sizeof(*remote));
	int r;

	if (!remote)
		return gm_fail_errno(client, ENOMEM, "a client");
	remote->fd = -1;
	remote->requests_max = 1;
	client->remote = remote;
	client->provider = &gm_remote_provider;
	if (gm_arena_init(&remote->scratch, GM_ANSWER_ARENA_SIZE) < 0)
		r = gm_fail_errno(client, ENOMEM, "a client");
	else
		r = connect_to(client, address);
	if (r == 0)
		r = greet(client, name);
	if (r < 0)
		close_remote(client);
	return r;
}

static int remote_fd(const struct gmem_client *client)
{
	return client->remote->fd;
}

static int dispatch(struct gmem_client *client)
{
	int handled = 0;
	int r = 0;

	while (handled < GM_DISPATCH_MAX && r == 0) {
		r = gm_remote_receive(client);
		handled += r == 0;
	}
	if (r < 0 && r != -GMEM_AGAIN)
		return r;
	if (handled == 0)
		return gm_fail(client, GMEM_AGAIN, 0, "Nothing has arrived.");
	gm_client_clear(client);
	return 0;
}

static int ping(struct gmem_client *client)
{
	Gmem__PingRequest request = GMEM__PING_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	uint32_t payload = client->remote->last_serial;
	const Gmem__PingReply *answer;
	int r;

	request.has_payload = true;
	request.payload = gm_wire_bytes(&payload, sizeof(payload));
	r = gm_remote_call(client, GM_MSG_PING, &request.base, &reply);
	if (r < 0)
		return r;
	answer = (const Gmem__PingReply *)reply.message;
	if (answer->payload.len != sizeof(payload) ||
	    memcmp(answer->payload.data, &payload, sizeof(payload)) != 0)
		return gm_remote_nonsense(client, "a ping's payload that is not ours");
	return 0;
}

const struct gm_provider gm_remote_provider = {
	.close = close_remote,
	.fd = remote_fd,
	.dispatch = dispatch,
	.ping = ping,
	.domain_create = gm_remote_domain_create,
	.domain_attach = gm_remote_domain_attach,
	.domain_destroy = gm_remote_domain_destroy,
	.domain_destroy_id = gm_remote_domain_destroy_id,
	.region_create = gm_remote_region_create,
	.region_destroy = gm_remote_region_destroy,
	.job_run = gm_remote_job_run,
	.job_start = gm_remote_job_start,
	.list_domains = gm_remote_list_domains,
	.list_regions = gm_remote_list_regions,
	.list_sessions = gm_remote_list_sessions,
	.list_accounts = gm_remote_list_accounts,
	.get_domain = gm_remote_get_domain,
	.get_region = gm_remote_get_region,
	.get_daemon = gm_remote_get_daemon,
	.get_host = gm_remote_get_host,
	.get_page_map = gm_remote_get_page_map,
	.evict = gm_remote_evict,
};
