/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a connection to a daemon, greeting it, and ending it.
 */
#include "remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"

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

static void free_remote(struct gm_remote *remote)
{
	gm_link_done(&remote->link);
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
	struct gm_failure failure;

	gm_failure_set(&failure, GMEM_CANCELLED, "The client was disconnected.");
	gm_return_to_leave(client);
	gm_link_over(remote);
	gm_remote_end_all(client, &failure);
	free_remote(remote);
	client->remote = NULL;
}

/* Connects and is greeted: the only time that a blocking connect is made. */
static int begin(struct gmem_client *client, const char *address)
{
	uint64_t deadline = gm_deadline(client);
	int r;

	r = gm_link_connect(&client->remote->link, client->timeout_ms);
	if (r < 0)
		return fail_connect(client, address, -r);
	r = gm_return_begin(client);
	while (r == 0 && client->remote->link.state == GM_LINK_GREETING) {
		r = gm_remote_wait(client, deadline);
		if (r == 0)
			(void)gm_remote_turn(client);
	}
	if (r == 0 && client->remote->link.state != GM_LINK_UP)
		r = -client->failure.status;
	return r;
}

int gm_remote_open(struct gmem_client *client, const char *address,
		   const struct gmem_connect_spec *spec)
{
	struct gm_remote *remote = calloc(1, sizeof(*remote));
	int r;

	if (!remote)
		return gm_fail_errno(client, ENOMEM, "a client");
	remote->requests_max = 1;
	client->remote = remote;
	client->provider = &gm_remote_provider;
	r = gm_link_init(client, address, spec);
	if (r == 0 && gm_arena_init(&remote->scratch, GM_ANSWER_ARENA_SIZE) < 0)
		r = gm_fail_errno(client, ENOMEM, "a client");
	if (r == 0)
		r = begin(client, address);
	if (r < 0)
		close_remote(client);
	return r;
}

static int remote_fd(const struct gmem_client *client)
{
	return client->remote->link.epoll_fd;
}

static int dispatch(struct gmem_client *client)
{
	int handled = 0;
	int r = 0;

	while (handled < GM_DISPATCH_MAX && r == 0) {
		r = gm_remote_turn(client);
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
	.domain_set_memlock = gm_remote_domain_set_memlock,
	.region_create = gm_remote_region_create,
	.region_destroy = gm_remote_region_destroy,
	.region_bind = gm_remote_region_bind,
	.region_convert = gm_remote_region_convert,
	.launch_start = gm_remote_launch_start,
	.source_add = gm_remote_source_add,
	.region_populate = gm_remote_region_populate,
	.launch_finish = gm_remote_launch_finish,
	.launch_abort = gm_remote_launch_abort,
	.job_run = gm_remote_job_run,
	.job_start = gm_remote_job_start,
	.list_domains = gm_remote_list_domains,
	.list_regions = gm_remote_list_regions,
	.list_sessions = gm_remote_list_sessions,
	.list_accounts = gm_remote_list_accounts,
	.list_metrics = gm_remote_list_metrics,
	.watch = gm_remote_watch,
	.get_domain = gm_remote_get_domain,
	.get_region = gm_remote_get_region,
	.get_daemon = gm_remote_get_daemon,
	.get_host = gm_remote_get_host,
	.get_page_map = gm_remote_get_page_map,
	.evict = gm_remote_evict,
	.list_policy = gm_remote_list_policy,
	.check_policy = gm_remote_check_policy,
};
