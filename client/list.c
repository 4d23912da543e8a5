/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

int gmem_list_domains(gmem_client *client, gm_domain_info_fn fn, void *arg)
{
	gm_client_clear(client);
	return client->provider->list_domains(client, fn, arg);
}

int gmem_list_regions(gmem_client *client, uint64_t domain, gm_region_info_fn fn, void *arg)
{
	gm_client_clear(client);
	return client->provider->list_regions(client, domain, fn, arg);
}

int gmem_list_sessions(gmem_client *client, gm_session_info_fn fn, void *arg)
{
	gm_client_clear(client);
	return client->provider->list_sessions(client, fn, arg);
}

int gmem_list_accounts(gmem_client *client, gm_account_info_fn fn, void *arg)
{
	gm_client_clear(client);
	return client->provider->list_accounts(client, fn, arg);
}

int gmem_list_metrics(gmem_client *client, const char *tenant, gm_metrics_fn fn, void *arg)
{
	gm_client_clear(client);
	if (gm_check_name(client, tenant) < 0)
		return -client->failure.status;
	return client->provider->list_metrics(client, tenant, fn, arg);
}

int gmem_watch(gmem_client *client, gmem_news_fn fn, void *arg)
{
	gmem_news_fn before = client->news;
	int r;

	gm_client_clear(client);
	client->news = fn;
	client->news_arg = arg;
	r = client->provider->watch(client);
	if (r < 0)
		client->news = before;
	return r;
}

int gmem_get_domain(gmem_client *client, uint64_t id, struct gmem_domain_info *ret_info)
{
	gm_client_clear(client);
	return client->provider->get_domain(client, id, ret_info);
}

int gmem_get_region(gmem_client *client, uint64_t id, struct gmem_region_info *ret_info)
{
	gm_client_clear(client);
	return client->provider->get_region(client, id, ret_info);
}

int gmem_get_daemon(gmem_client *client, struct gmem_daemon_info *ret_info)
{
	gm_client_clear(client);
	return client->provider->get_daemon(client, ret_info);
}

int gmem_get_host(gmem_client *client, struct gmem_host_info *ret_info)
{
	gm_client_clear(client);
	return client->provider->get_host(client, ret_info);
}

int gmem_get_page_map(gmem_client *client, uint64_t region, gm_page_run_fn fn, void *arg)
{
	gm_client_clear(client);
	return client->provider->get_page_map(client, region, fn, arg);
}

int gmem_evict(gmem_client *client, uint64_t domain, uint64_t *ret_bytes)
{
	gm_client_clear(client);
	return client->provider->evict(client, domain, ret_bytes);
}

const char *gmem_news_name(int kind)
{
	static const char *const names[] = {
		[GMEM_NEWS_GRANT] = "grant",	 [GMEM_NEWS_REFUSAL] = "refusal",
		[GMEM_NEWS_FAILURE] = "failure", [GMEM_NEWS_VIOLATION] = "violation",
		[GMEM_NEWS_DOMAIN] = "domain",	 [GMEM_NEWS_ATTACH] = "attach",
		[GMEM_NEWS_ORPHAN] = "orphan",	 [GMEM_NEWS_END] = "end",
		[GMEM_NEWS_EVICT] = "evict",	 [GMEM_NEWS_JOB] = "job",
		[GMEM_NEWS_WORKER] = "worker",	 [GMEM_NEWS_QUARANTINE] = "quarantine",
		[GMEM_NEWS_RELOAD] = "reload",	 [GMEM_NEWS_LOST] = "lost",
	};

	if (kind <= 0 || (size_t)kind >= sizeof(names) / sizeof(names[0]))
		return "unknown";
	return names[kind];
}

const char *gmem_page_state_name(int state)
{
	switch (state) {
	case GMEM_PAGE_ABSENT:
		return "absent";
	case GMEM_PAGE_SHARED:
		return "shared";
	case GMEM_PAGE_PRIVATE:
		return "private";
	case GMEM_PAGE_MEASURED:
		return "measured";
	case GMEM_PAGE_UNMEASURED:
		return "unmeasured";
	case GMEM_PAGE_LOST:
		return "lost";
	default:
		return "unknown";
	}
}

int gmem_list_policy(gmem_client *client, const char *tenant, gm_policy_row_fn fn, void *arg)
{
	gm_client_clear(client);
	return client->provider->list_policy(client, tenant, fn, arg);
}

int gmem_check_policy(gmem_client *client, const char *tenant, char *ret_fault, size_t size)
{
	gm_client_clear(client);
	return client->provider->check_policy(client, tenant, ret_fault, size);
}
