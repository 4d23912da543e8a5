/* SPDX-License-Identifier: Apache-2.0 */
#include "storm_check.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gmem.h"

#define PATIENCE_US UINT64_C(5000000)
#define ADMIN_PATIENCE_MS 20000
#define FOUND_MAX 4096
#define REGIONS_MAX ((size_t)STORM_DOMAINS_MAX * STORM_REGIONS)

struct found_domain {
	struct gmem_domain_info info;
	bool known;
};

struct found_region {
	struct gmem_region_info info;
	bool known;
};

/* What gmemd has, as it was read at one time. */
static struct {
	size_t n_domains;
	struct found_domain domains[STORM_DOMAINS_MAX + 64];
	size_t n_regions;
	struct found_region regions[FOUND_MAX];
	size_t n_accounts;
	struct gmem_account_info accounts[STORM_TENANTS + 2];
} seen;

static char difference[STORM_FAULT_MAX];

static bool differ(const char *format, ...) __attribute__((format(printf, 1, 2)));

static bool differ(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(difference, sizeof(difference), format, args);
	va_end(args);
	return false;
}

/* ---- reading ---- */

static int take_domain(void *arg, const struct gmem_domain_info *info)
{
	(void)arg;
	if (seen.n_domains == GM_ARRAY_SIZE(seen.domains))
		return -1;
	seen.domains[seen.n_domains++] = (struct found_domain){ .info = *info };
	return 0;
}

static int take_region(void *arg, const struct gmem_region_info *info)
{
	(void)arg;
	if (seen.n_regions == FOUND_MAX)
		return -1;
	seen.regions[seen.n_regions++] = (struct found_region){ .info = *info };
	return 0;
}

static int take_account(void *arg, const struct gmem_account_info *info)
{
	(void)arg;
	if (seen.n_accounts < GM_ARRAY_SIZE(seen.accounts))
		seen.accounts[seen.n_accounts++] = *info;
	return 0;
}

static int take_run(void *arg, const struct gmem_page_run *run)
{
	const struct storm_range range = { run->offset, run->length };

	if (run->state != GMEM_PAGE_ABSENT)
		storm_pages_set(arg, &range, true);
	return 0;
}

gmem_client *storm_connect_admin(void)
{
	const struct gmem_connect_spec spec = { .name = "storm/conductor",
						.timeout_ms = ADMIN_PATIENCE_MS };
	uint64_t until_us = storm_now_us() + (uint64_t)ADMIN_PATIENCE_MS * 1000;
	gmem_client *client;

	while (gmem_connect(storm->admin, &spec, &client) != 0) {
		if (storm_now_us() > until_us) {
			storm_fail("the admin socket does not answer");
			return NULL;
		}
		storm_nap_us(1000);
	}
	return client;
}

static bool read_all(gmem_client *client)
{
	seen.n_domains = seen.n_regions = seen.n_accounts = 0;
	if (gmem_list_domains(client, take_domain, NULL) == 0 &&
	    gmem_list_regions(client, 0, take_region, NULL) == 0 &&
	    gmem_list_accounts(client, take_account, NULL) == 0)
		return true;
	return differ("cannot list: %s", gmem_error(client)->text);
}

static struct found_domain *find_domain(const struct storm_domain *domain, bool by_name)
{
	for (size_t i = 0; i < seen.n_domains; i++) {
		struct found_domain *found = &seen.domains[i];

		if (by_name ? strcmp(found->info.name, domain->name) == 0
			    : found->info.id == domain->id)
			return found;
	}
	return NULL;
}

static struct found_region *find_region(uint64_t domain, uint64_t gpa)
{
	for (size_t i = 0; i < seen.n_regions; i++)
		if (seen.regions[i].info.domain == domain && seen.regions[i].info.gpa == gpa)
			return &seen.regions[i];
	return NULL;
}

/* ---- what the dead have left ---- */

static bool adopt_pages(gmem_client *client, struct storm_region *region)
{
	static struct storm_pages found;
	char fault[STORM_FAULT_MAX];

	memset(&found, 0, sizeof(found));
	if (gmem_get_page_map(client, region->id, take_run, &found) < 0) {
		storm_fail("no page map of %016" PRIx64 ": %s", region->id,
			   gmem_error(client)->text);
		return false;
	}
	if (!storm_pages_match(region, &found, true, fault)) {
		storm_fail("after a client was killed: %s", fault);
		return false;
	}
	storm_job_forget_marks(region);
	atomic_store(&region->job.active, false);
	return true;
}

static bool resolve_region(gmem_client *client, const struct storm_domain *domain,
			   struct storm_region *region)
{
	enum storm_state state = (enum storm_state)atomic_load(&region->state);
	const struct found_region *found;

	if (state == STORM_FREE)
		return true;
	found = find_region(domain->id, region->gpa);
	if (!found && state == STORM_LIVE) {
		storm_fail("after a client was killed: domain %s has lost the region at %" PRIx64,
			   domain->name, region->gpa);
		return false;
	}
	if (!found) {
		storm_region_reset(region);
		return true;
	}
	region->id = found->info.id;
	atomic_store(&region->state, STORM_LIVE);
	return !atomic_load(&region->job.active) || adopt_pages(client, region);
}

/* Its token died with the client: only the operator can end it. */
static bool evict(gmem_client *client, const struct found_domain *found)
{
	uint64_t bytes;

	if (gmem_evict(client, found->info.id, &bytes) == 0)
		return true;
	storm_fail("cannot evict %s: %s", found->info.name, gmem_error(client)->text);
	return false;
}

static bool resolve_persistent(gmem_client *client, struct storm_domain *domain)
{
	enum storm_state state = (enum storm_state)atomic_load(&domain->state);
	const struct found_domain *found = find_domain(domain, state == STORM_CREATING);

	if (state == STORM_CREATING) {
		storm_domain_reset(domain);
		return !found || evict(client, found);
	}
	if (!found && state == STORM_LIVE) {
		storm_fail("after a client was killed: persistent domain %s is lost", domain->name);
		return false;
	}
	if (!found) {
		storm_domain_reset(domain);
		return true;
	}
	for (unsigned i = 0; i < STORM_REGIONS; i++)
		if (!resolve_region(client, domain, &domain->regions[i]))
			return false;
	atomic_store(&domain->attached, false);
	atomic_store(&domain->state, STORM_LIVE);
	return true;
}

struct waiting {
	pid_t pid;
	bool busy;
};

static int look_at_session(void *arg, const struct gmem_session_info *info)
{
	struct waiting *waiting = arg;

	/* A session without domains of a process that died while gmemd was away waits longer. */
	if (info->pid == (uint32_t)waiting->pid && (info->domains > 0 || info->jobs > 0))
		waiting->busy = true;
	return 0;
}

bool storm_wait_for_end(gmem_client *client, pid_t pid)
{
	uint64_t until_us = storm_now_us() + PATIENCE_US;
	struct waiting waiting = { .pid = pid };

	do {
		storm_nap_us(2000);
		waiting.busy = false;
		if (gmem_list_sessions(client, look_at_session, &waiting) < 0) {
			storm_fail("cannot list sessions: %s", gmem_error(client)->text);
			return false;
		}
		if (!waiting.busy)
			return true;
	} while (storm_now_us() < until_us);
	storm_fail("the session of a client that was killed (pid %d) does not end", (int)pid);
	return false;
}

static bool resolve_all(gmem_client *client, unsigned index)
{
	for (size_t i = 0; i < STORM_DOMAINS_MAX; i++) {
		struct storm_domain *domain = &storm->domains[i];

		if (atomic_load(&domain->holder) != (int)index)
			continue;
		if (!storm_is(&domain->state, STORM_FREE) && !domain->persistent)
			storm_domain_reset(domain);
		else if (!storm_is(&domain->state, STORM_FREE) &&
			 !resolve_persistent(client, domain))
			return false;
		if (i >= (size_t)STORM_CLIENTS_MAX * STORM_DOMAINS)
			atomic_store(&domain->holder, STORM_OFFERED | STORM_NOBODY);
	}
	return true;
}

bool storm_resolve(unsigned index, pid_t pid)
{
	gmem_client *client = storm_connect_admin();
	bool good;

	if (!client)
		return false;
	good = storm_wait_for_end(client, pid);
	if (good && !read_all(client)) {
		storm_fail("%s", difference);
		good = false;
	}
	good = good && resolve_all(client, index);
	gmem_disconnect(client);
	return good;
}

/* ---- comparing ---- */

static bool compare_region(gmem_client *client, const struct storm_domain *domain,
			   struct storm_region *region)
{
	static struct storm_pages pages;
	struct found_region *found = find_region(domain->id, region->gpa);
	char fault[STORM_FAULT_MAX];

	if (!found || found->info.id != region->id)
		return differ("domain %s: region %016" PRIx64 " at %" PRIx64 " is not there",
			      domain->name, region->id, region->gpa);
	found->known = true;
	if (found->info.size != region->size || found->info.jobs != 0 ||
	    found->info.page_size != STORM_PAGE)
		return differ("domain %s: region %016" PRIx64 ": size %" PRIu64 " (%" PRIu64
			      " in the model), jobs %u, page size %" PRIu64,
			      domain->name, region->id, found->info.size, region->size,
			      found->info.jobs, found->info.page_size);
	memset(&pages, 0, sizeof(pages));
	if (gmem_get_page_map(client, region->id, take_run, &pages) < 0)
		return differ("no page map of %016" PRIx64 ": %s", region->id,
			      gmem_error(client)->text);
	if (!storm_pages_match(region, &pages, false, fault))
		return differ("domain %s: %s", domain->name, fault);
	if (found->info.allocated_bytes != storm_pages_count(&pages) * STORM_PAGE)
		return differ("domain %s: region %016" PRIx64 ": allocated %" PRIu64
			      ", but its page map says %" PRIu64,
			      domain->name, region->id, found->info.allocated_bytes,
			      storm_pages_count(&pages) * STORM_PAGE);
	return true;
}

static bool compare_owner(struct storm_domain *domain, const struct gmem_domain_info *info)
{
	int holder = atomic_load(&domain->holder);
	pid_t pid;

	/* Attached to whoever offers it, or to nobody. */
	if (holder & STORM_OFFERED)
		return true;
	pid = atomic_load(&storm->clients[holder].pid);
	if (atomic_load(&domain->attached) && pid > 0) {
		if (info->attached && info->owner_pid == (uint32_t)pid)
			return true;
		return differ("domain %s is attached to process %u (%s), and should be to %d",
			      domain->name, info->owner_pid, info->attached ? "yes" : "no",
			      (int)pid);
	}
	return info->attached ? differ("domain %s is attached to process %u, which has died",
				       domain->name, info->owner_pid)
			      : true;
}

static bool compare_domain(gmem_client *client, struct storm_domain *domain)
{
	struct found_domain *found = find_domain(domain, false);
	const char *kind = domain->guest_memfd ? "guest-memfd" : "memfd";

	if (!found)
		return differ("domain %s is not there", domain->name);
	found->known = true;
	if (strcmp(found->info.name, domain->name) != 0 || strcmp(found->info.kind, kind) != 0 ||
	    strcmp(found->info.tenant, storm_tenant_name(domain->tenant)) != 0 ||
	    found->info.persistent != domain->persistent)
		return differ("domain %s (%s, %s, persistent %d) is %s (%s, %s, persistent %d)",
			      domain->name, kind, storm_tenant_name(domain->tenant),
			      domain->persistent, found->info.name, found->info.kind,
			      found->info.tenant, found->info.persistent);
	for (unsigned i = 0; i < STORM_REGIONS; i++)
		if (storm_is(&domain->regions[i].state, STORM_LIVE) &&
		    !compare_region(client, domain, &domain->regions[i]))
			return false;
	return compare_owner(domain, &found->info);
}

static bool nothing_else(void)
{
	for (size_t i = 0; i < seen.n_domains; i++)
		if (!seen.domains[i].known)
			return differ("nobody has domain %s (%016" PRIx64
				      ", tenant %s, attached %d, process %u, %u regions)",
				      seen.domains[i].info.name, seen.domains[i].info.id,
				      seen.domains[i].info.tenant, seen.domains[i].info.attached,
				      seen.domains[i].info.owner_pid, seen.domains[i].info.regions);
	for (size_t i = 0; i < seen.n_regions; i++)
		if (!seen.regions[i].known)
			return differ("nobody has region %016" PRIx64 " at %" PRIx64
				      " of domain %016" PRIx64,
				      seen.regions[i].info.id, seen.regions[i].info.gpa,
				      seen.regions[i].info.domain);
	return true;
}

/* ---- charges ---- */

struct sums {
	uint64_t memory, regions, domains, allocated;
};

static struct sums add_up(unsigned tenant)
{
	struct sums sums = { 0 };

	for (size_t i = 0; i < STORM_DOMAINS_MAX; i++) {
		struct storm_domain *domain = &storm->domains[i];

		if (!storm_is(&domain->state, STORM_LIVE) || domain->tenant != tenant)
			continue;
		sums.domains++;
		for (unsigned j = 0; j < STORM_REGIONS; j++) {
			struct storm_region *region = &domain->regions[j];

			if (!storm_is(&region->state, STORM_LIVE))
				continue;
			sums.regions++;
			sums.memory += region->size;
			sums.allocated += storm_pages_count(&region->pages) * STORM_PAGE;
		}
	}
	return sums;
}

static uint64_t used(const struct gmem_account_info *account, const char *resource)
{
	for (unsigned i = 0; i < account->n_usage; i++)
		if (strcmp(account->usage[i].resource, resource) == 0)
			return account->usage[i].used;
	return 0;
}

static const struct gmem_account_info *find_account(const char *name)
{
	for (size_t i = 0; i < seen.n_accounts; i++)
		if (strcmp(seen.accounts[i].name, name) == 0)
			return &seen.accounts[i];
	return NULL;
}

static bool compare_account(const char *name, const struct sums *sums)
{
	const struct gmem_account_info *account = find_account(name);

	if (!account)
		return differ("no account %s", name);
	if (used(account, "memory") != sums->memory || used(account, "regions") != sums->regions ||
	    used(account, "domains") != sums->domains || used(account, "jobs") != 0 ||
	    account->allocated_bytes != sums->allocated)
		return differ("account %s: memory %" PRIu64 ", regions %" PRIu64
			      ", domains %" PRIu64 ", jobs %" PRIu64 ", allocated %" PRIu64
			      "; in the model %" PRIu64 ", %" PRIu64 ", %" PRIu64 ", 0, %" PRIu64,
			      name, used(account, "memory"), used(account, "regions"),
			      used(account, "domains"), used(account, "jobs"),
			      account->allocated_bytes, sums->memory, sums->regions, sums->domains,
			      sums->allocated);
	return true;
}

/* Each session has two fds and each region one. */
static bool compare_sessions(unsigned tenant, const struct sums *sums)
{
	const struct gmem_account_info *account = find_account(storm_tenant_name(tenant));
	uint64_t sessions = used(account, "sessions");
	uint64_t live = 0, more = 0;

	for (unsigned i = 0; i < storm->n_clients; i++) {
		if (storm_tenant_of(i) != tenant)
			continue;
		live += atomic_load(&storm->clients[i].pid) > 0;
		more += atomic_load(&storm->clients[i].sessions);
	}
	if (sessions < live || sessions > live + more ||
	    used(account, "fds") != sums->regions + 2 * sessions)
		return differ("tenant %s: sessions %" PRIu64 " (%" PRIu64 " to %" PRIu64
			      " should be), fds %" PRIu64 " for them and %" PRIu64 " regions",
			      account->name, sessions, live, live + more, used(account, "fds"),
			      sums->regions);
	return true;
}

static bool compare_accounts(void)
{
	struct sums host = { 0 };

	for (unsigned tenant = 0; tenant < STORM_TENANTS; tenant++) {
		struct sums sums = add_up(tenant);

		if (!compare_account(storm_tenant_name(tenant), &sums) ||
		    !compare_sessions(tenant, &sums))
			return false;
		host.memory += sums.memory;
		host.regions += sums.regions;
		host.domains += sums.domains;
		host.allocated += sums.allocated;
	}
	return compare_account("host", &host);
}

/* ---- fds ---- */

unsigned storm_count_fds(pid_t pid, unsigned *ret_memory)
{
	char path[300], target[128];
	struct dirent *entry;
	unsigned n = 0;
	DIR *folder;

	*ret_memory = 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		ssize_t length;

		(void)snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)pid, entry->d_name);
		length = readlink(path, target, sizeof(target) - 1);
		if (length < 0)
			continue;
		target[length] = '\0';
		n++;
		if ((strstr(target, "memfd:") && !strstr(target, "gmemd-")) ||
		    strstr(target, "guest-memfd") || strstr(target, "guest_memfd") ||
		    strstr(target, "kvm-gmem") || strstr(target, ".d/gmem-"))
			++*ret_memory;
	}
	if (folder)
		(void)closedir(folder);
	return n;
}

static bool region_is_seen(const char *target)
{
	for (size_t i = 0; i < seen.n_regions; i++) {
		char id[17];

		(void)snprintf(id, sizeof(id), "%016" PRIx64, seen.regions[i].info.id);
		if (strstr(target, id))
			return true;
	}
	return false;
}

/* The memory of no region; the names of memfds tell. */
static const char *find_leak(pid_t pid)
{
	static char target[128];
	struct dirent *entry;
	char path[300];
	DIR *folder;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		ssize_t length;

		(void)snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)pid, entry->d_name);
		length = readlink(path, target, sizeof(target) - 1);
		target[length > 0 ? length : 0] = '\0';
		if (strstr(target, "memfd:") && !strstr(target, "gmemd-") &&
		    !region_is_seen(target)) {
			(void)closedir(folder);
			return target;
		}
	}
	if (folder)
		(void)closedir(folder);
	return "none by its name";
}

/* Beside memory: two for each session, or its guard; a channel and a pidfd for each worker. */
static bool compare_fds(gmem_client *client, const struct storm_host *host, unsigned n_sessions)
{
	struct gmem_daemon_info info;
	unsigned memory, n = storm_count_fds(host->daemon, &memory);

	if (gmem_get_daemon(client, &info) < 0)
		return differ("no state of the daemon: %s", gmem_error(client)->text);
	if (memory != seen.n_regions ||
	    n > host->daemon_fds + memory + 2 * n_sessions + 2 * info.workers + 8)
		return differ(
			"gmemd has %u fds, %u of them memory, for %zu regions, %u sessions, %u "
			"workers; %u at first",
			n, memory, seen.n_regions, n_sessions, info.workers, host->daemon_fds);
	n = storm_count_fds(host->keeper, &memory);
	if (memory != seen.n_regions || n > host->keeper_fds + memory + n_sessions)
		return differ("the keeper has %u fds, %u of them memory, for %zu regions and %u "
			      "sessions; %u at first; of no region: %s",
			      n, memory, seen.n_regions, n_sessions, host->keeper_fds,
			      find_leak(host->keeper));
	return true;
}

/* ---- all of it ---- */

static bool compare(gmem_client *client, const struct storm_host *host, unsigned n_sessions)
{
	if (!read_all(client))
		return false;
	for (size_t i = 0; i < STORM_DOMAINS_MAX; i++)
		if (storm_is(&storm->domains[i].state, STORM_LIVE) &&
		    !compare_domain(client, &storm->domains[i]))
			return false;
	return nothing_else() && compare_accounts() && compare_fds(client, host, n_sessions);
}

bool storm_compare(const struct storm_host *host, unsigned n_sessions, uint64_t *ret_us)
{
	uint64_t began_us = storm_now_us();
	gmem_client *client = storm_connect_admin();
	bool same;

	if (!client)
		return false;
	while (!(same = compare(client, host, n_sessions)) &&
	       storm_now_us() - began_us < PATIENCE_US)
		storm_nap_us(3000);
	gmem_disconnect(client);
	*ret_us = storm_now_us() - began_us;
	if (!same)
		storm_fail("%s", difference);
	return same;
}
