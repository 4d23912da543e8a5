/* SPDX-License-Identifier: Apache-2.0 */
#include "builtin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "gm_cleanup.h"
#include "gm_fd.h"
#include "gm_verdict.h"

int gm_builtin_open(struct gmem_client *client)
{
	_gm_free_ struct gm_builtin *builtin = calloc(1, sizeof(*builtin));

	if (!builtin)
		return gm_fail_errno(client, ENOMEM, "a client");
	builtin->carrier_fd = -1;
	builtin->opened_ms = gm_now_ms();
	builtin->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (builtin->event_fd < 0)
		return gm_fail_errno(client, errno, "an eventfd");
	memcpy(client->tenant, "builtin", sizeof("builtin"));
	client->provider = &gm_builtin_provider;
	client->builtin = gm_take_ptr(&builtin);
	return 0;
}

static void close_builtin(struct gmem_client *client)
{
	struct gm_builtin *builtin = client->builtin;

	gm_builtin_end_jobs(client);
	gm_fd_close(builtin->carrier_fd);
	gm_fd_close(builtin->event_fd);
	free(builtin);
	client->builtin = NULL;
}

static int builtin_fd(const struct gmem_client *client)
{
	return client->builtin->event_fd;
}

static int ping(struct gmem_client *client)
{
	(void)client;
	return 0;
}

static int check_kind(struct gmem_client *client, const char *kind)
{
	struct gm_builtin *builtin = client->builtin;
	const char *why;

	if (strcmp(kind, "memfd") == 0)
		return 0;
	if (strcmp(kind, "guest-memfd") != 0)
		return gm_fail(client, GMEM_UNSUPPORTED, GM_RULE_KIND,
			       "Without a daemon there are the kinds memfd and guest-memfd, not %s "
			       "(kind).",
			       kind);
	if (builtin->carrier_fd >= 0 || gm_builtin_carrier_open(&builtin->carrier_fd, &why) == 0)
		return 0;
	return gm_fail(client, GMEM_UNSUPPORTED, GM_RULE_PROBE,
		       "This process cannot have guest-memfd: %s (probe).", why);
}

static int check_unique(struct gmem_client *client, const char *name)
{
	if (!name)
		return 0;
	for (const struct gmem_domain *domain = client->domains; domain; domain = domain->next)
		if (strcmp(domain->name, name) == 0)
			return gm_fail(client, GMEM_EXISTS, GM_RULE_NAME_TAKEN,
				       "Another domain of this client is called %s (name).", name);
	return 0;
}

static int domain_create(struct gmem_client *client, const struct gmem_domain_spec *spec,
			 struct gmem_domain *domain)
{
	int r;

	if (spec->flags & GMEM_DOMAIN_PERSISTENT)
		return gm_fail(client, GMEM_UNSUPPORTED, GM_RULE_PERSISTENT,
			       "Without a daemon no domain survives the process (Persistent).");
	if (spec->slot)
		return gm_fail(client, GMEM_UNSUPPORTED, GM_RULE_SLOTS,
			       "Without a daemon nobody leases hardware slots (slots).");
	r = check_kind(client, spec->kind);
	if (r == 0)
		r = check_unique(client, spec->name);
	if (r < 0)
		return r;
	if (spec->devices & GMEM_DEVICE_KVM) {
		r = gm_builtin_kvm_open(&domain->kvm_fd);
		if (r < 0)
			return gm_fail(client, GMEM_UNSUPPORTED, GM_RULE_DEVICE,
				       "This process cannot open /dev/kvm: %s (device).",
				       strerrordesc_np(-r));
	}
	domain->id = ++client->builtin->last_id;
	memcpy(domain->kind, spec->kind, strlen(spec->kind) + 1);
	if (spec->name)
		memcpy(domain->name, spec->name, strlen(spec->name) + 1);
	return 0;
}

static int domain_attach(struct gmem_client *client, uint64_t id,
			 const uint8_t token[GMEM_TOKEN_SIZE], uint32_t flags, uint32_t devices,
			 struct gmem_domain *domain)
{
	(void)id;
	(void)token;
	(void)flags;
	(void)devices;
	(void)domain;
	return gm_fail(client, GMEM_UNSUPPORTED, 0,
		       "Without a daemon there is no domain but this client's own.");
}

/* The handles were all there was. */
static int end_of_handle(struct gmem_client *client, uint64_t id)
{
	(void)client;
	(void)id;
	return 0;
}

static int domain_destroy_id(struct gmem_client *client, uint64_t id,
			     const uint8_t token[GMEM_TOKEN_SIZE])
{
	(void)id;
	(void)token;
	return gm_fail(client, GMEM_NO_SUCH_OBJECT, 0,
		       "Without a daemon there is no domain without a handle.");
}

static int domain_set_memlock(struct gmem_client *client, uint64_t id, uint64_t bytes,
			      uint64_t *ret_limit)
{
	(void)id;
	(void)bytes;
	(void)ret_limit;
	return gm_fail(client, GMEM_UNSUPPORTED, GM_RULE_RLIMIT,
		       "Without a daemon nobody raises the limits of this process (rlimit).");
}

static int evict(struct gmem_client *client, uint64_t domain, uint64_t *ret_bytes)
{
	(void)domain;
	(void)ret_bytes;
	return gm_fail(client, GMEM_DENIED, GM_RULE_PERMISSION,
		       "Only an admin socket can evict a domain (permission).");
}

static int no_policy(struct gmem_client *client)
{
	return gm_fail(client, GMEM_UNSUPPORTED, 0, "Without a daemon there is no policy.");
}

static int list_policy(struct gmem_client *client, const char *tenant, gm_policy_row_fn fn,
		       void *arg)
{
	(void)tenant;
	(void)fn;
	(void)arg;
	return no_policy(client);
}

static int check_policy(struct gmem_client *client, const char *tenant, char *ret_fault,
			size_t size)
{
	(void)tenant;
	(void)ret_fault;
	(void)size;
	return no_policy(client);
}

static int no_private(struct gmem_client *client)
{
	return gm_fail(client, GMEM_UNSUPPORTED, GM_RULE_PAGE_STATE,
		       "Without a daemon there is no private memory (page state).");
}

static int region_bind(struct gmem_region *region, uint32_t slot)
{
	(void)slot;
	return no_private(region->domain->client);
}

static int region_convert(struct gmem_region *region, const struct gmem_range *ranges,
			  size_t n_ranges, bool to_private)
{
	(void)ranges;
	(void)n_ranges;
	(void)to_private;
	return no_private(region->domain->client);
}

static int no_launch(struct gmem_client *client)
{
	return gm_fail(client, GMEM_UNSUPPORTED, GM_RULE_LAUNCH_STATE,
		       "Without a daemon there are no kinds with a launch (launch state).");
}

static int launch_start(struct gmem_domain *domain, const void *parameters, size_t size)
{
	(void)parameters;
	(void)size;
	return no_launch(domain->client);
}

static int source_add(struct gmem_domain *domain, struct gmem_source *source)
{
	(void)source;
	return no_launch(domain->client);
}

static int region_populate(struct gmem_region *region, const struct gmem_population *what)
{
	(void)what;
	return no_launch(region->domain->client);
}

static int launch_finish(struct gmem_domain *domain, const struct gmem_launch_end *end)
{
	(void)end;
	return no_launch(domain->client);
}

static int launch_abort(struct gmem_domain *domain)
{
	return no_launch(domain->client);
}

static int watch(struct gmem_client *client)
{
	return gm_fail(client, GMEM_UNSUPPORTED, 0, "There is no daemon to watch.");
}

const struct gm_provider gm_builtin_provider = {
	.close = close_builtin,
	.fd = builtin_fd,
	.dispatch = gm_builtin_dispatch,
	.ping = ping,
	.domain_create = domain_create,
	.domain_attach = domain_attach,
	.domain_destroy = end_of_handle,
	.domain_destroy_id = domain_destroy_id,
	.domain_set_memlock = domain_set_memlock,
	.region_create = gm_builtin_region_create,
	.region_destroy = end_of_handle,
	.region_bind = region_bind,
	.region_convert = region_convert,
	.launch_start = launch_start,
	.source_add = source_add,
	.region_populate = region_populate,
	.launch_finish = launch_finish,
	.launch_abort = launch_abort,
	.job_run = gm_builtin_job_run,
	.job_start = gm_builtin_job_start,
	.list_domains = gm_builtin_list_domains,
	.list_regions = gm_builtin_list_regions,
	.list_sessions = gm_builtin_list_sessions,
	.list_accounts = gm_builtin_list_accounts,
	.list_metrics = gm_builtin_list_metrics,
	.watch = watch,
	.get_domain = gm_builtin_get_domain,
	.get_region = gm_builtin_get_region,
	.get_daemon = gm_builtin_get_daemon,
	.get_host = gm_builtin_get_host,
	.get_page_map = gm_builtin_get_page_map,
	.evict = evict,
	.list_policy = list_policy,
	.check_policy = check_policy,
};
