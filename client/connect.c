/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "builtin.h"
#include "client.h"
#include "gm_cleanup.h"
#include "gm_fd.h"
#include "remote.h"

#define GM_ADDRESS_DEFAULT "/run/gmemd/default.sock"
#define GM_ADDRESS_BUILTIN "builtin:"
#define GM_TIMEOUT_DEFAULT_MS 10000

static const char *choose_address(const char *address)
{
	/* Not honoured in a set-user-ID program: whoever starts it would choose its memory. */
	if (!address)
		address = secure_getenv("GMEM_ADDRESS");
	return address && address[0] ? address : GM_ADDRESS_DEFAULT;
}

static void say(const struct gmem_connect_spec *spec, const char *text)
{
	if (spec->ret_error && spec->ret_error_size)
		(void)snprintf(spec->ret_error, spec->ret_error_size, "%s", text);
}

int gmem_connect(const char *address, const struct gmem_connect_spec *spec,
		 gmem_client **ret_client)
{
	static const struct gmem_connect_spec defaults;
	_gm_free_ struct gmem_client *client = calloc(1, sizeof(*client));
	int r;

	spec = spec ? spec : &defaults;
	if (!client) {
		say(spec, "No memory for a client.");
		return -GMEM_SYSTEM;
	}
	gm_client_clear(client);
	client->timeout_ms = spec->timeout_ms ? spec->timeout_ms : GM_TIMEOUT_DEFAULT_MS;
	address = choose_address(address);
	if (strcmp(address, GM_ADDRESS_BUILTIN) == 0)
		r = gm_builtin_open(client);
	else
		r = gm_remote_open(client, address, spec);
	if (r < 0) {
		say(spec, client->failure.text);
		return r;
	}
	gm_client_clear(client);
	*ret_client = gm_take_ptr(&client);
	return 0;
}

void gmem_disconnect(gmem_client *client)
{
	struct gmem_domain *domain;

	if (!client)
		return;
	client->event = NULL;
	client->provider->close(client);
	while ((domain = client->domains)) {
		client->domains = domain->next;
		gm_domain_free(domain);
	}
	free(client);
}

const char *gmem_client_tenant(const gmem_client *client)
{
	return client->tenant;
}

int gmem_client_is_admin(const gmem_client *client)
{
	return client->admin;
}

int gmem_ping(gmem_client *client)
{
	gm_client_clear(client);
	return client->provider->ping(client);
}

int gmem_client_fd(const gmem_client *client)
{
	return client->provider->fd(client);
}

int gmem_dispatch(gmem_client *client)
{
	gm_client_clear(client);
	return client->provider->dispatch(client);
}

void gm_client_tell(struct gmem_client *client, int type, struct gmem_domain *domain,
		    uint64_t value)
{
	if (client->event)
		client->event(client->event_arg, type, domain, value);
}

void gmem_client_on_event(gmem_client *client, gmem_event_fn fn, void *arg)
{
	client->event = fn;
	client->event_arg = arg;
}
