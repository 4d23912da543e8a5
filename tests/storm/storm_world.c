/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conductor's side of the storm over private memory: sums, fds, and VMs that are left.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "storm_private.h"

#define PATIENCE_US UINT64_C(10000000)
#define DEBUGFS "/sys/kernel/debug/kvm"

struct storm_world *world;

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

bool storm_world_make(void)
{
	void *at = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);

	if (at == MAP_FAILED)
		return false;
	world = at;
	return true;
}

/* ---- evictions ---- */

static int take_id(void *arg, const struct gmem_domain_info *info)
{
	uint64_t *ids = arg;

	if (ids[0] < STORM_CLIENTS_MAX * VMM_GUESTS)
		ids[++ids[0]] = info->id;
	return 0;
}

void storm_world_evict(struct storm_rng *rng)
{
	static uint64_t ids[1 + STORM_CLIENTS_MAX * VMM_GUESTS];
	gmem_client *client = storm_connect_admin();
	uint64_t id, bytes;

	ids[0] = 0;
	if (client && gmem_list_domains(client, take_id, ids) == 0 && ids[0] > 0) {
		id = ids[1 + storm_pick(rng, ids[0])];
		/* Its VMM hears of it before we do. */
		atomic_store(
			&world->evicted[atomic_fetch_add(&world->n_evicted, 1) % WORLD_EVICTED_MAX],
			id);
		/* It may have gone by itself meanwhile. */
		(void)gmem_evict(client, id, &bytes);
	}
	gmem_disconnect(client);
}

bool storm_world_resolve(unsigned index, pid_t pid)
{
	gmem_client *client = storm_connect_admin();
	struct vmm_sums *sums = &world->sums[index];
	bool good = client && storm_wait_for_end(client, pid);

	gmem_disconnect(client);
	atomic_store(&sums->domains, 0);
	atomic_store(&sums->regions, 0);
	atomic_store(&sums->files, 0);
	atomic_store(&sums->vms, 0);
	atomic_store(&sums->sources, 0);
	atomic_store(&sums->bytes, 0);
	return good;
}

/* ---- comparing ---- */

struct sums {
	uint64_t domains, regions, files, vms, sources, bytes;
};

/* Of one tenant, or of all (@tenant: STORM_TENANTS). */
static struct sums add_up(unsigned tenant)
{
	struct sums sums = { 0 };

	for (unsigned i = 0; i < storm->n_clients; i++) {
		if (tenant < STORM_TENANTS && storm_tenant_of(i) != tenant)
			continue;
		sums.domains += atomic_load(&world->sums[i].domains);
		sums.regions += atomic_load(&world->sums[i].regions);
		sums.files += atomic_load(&world->sums[i].files);
		sums.vms += atomic_load(&world->sums[i].vms);
		sums.sources += atomic_load(&world->sums[i].sources);
		sums.bytes += atomic_load(&world->sums[i].bytes);
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

static int compare_account(void *arg, const struct gmem_account_info *account)
{
	unsigned tenant = 0;
	struct sums sums;

	(void)arg;
	while (tenant < STORM_TENANTS && strcmp(account->name, storm_tenant_name(tenant)) != 0)
		tenant++;
	sums = add_up(tenant);
	if (used(account, "memory") == sums.bytes && used(account, "regions") == sums.regions &&
	    used(account, "domains") == sums.domains && used(account, "jobs") == 0)
		return 0;
	(void)differ("account %s: memory %" PRIu64 ", regions %" PRIu64 ", domains %" PRIu64
		     ", jobs %" PRIu64 "; the VMMs have %" PRIu64 ", %" PRIu64 ", %" PRIu64 ", 0",
		     account->name, used(account, "memory"), used(account, "regions"),
		     used(account, "domains"), used(account, "jobs"), sums.bytes, sums.regions,
		     sums.domains);
	return -1;
}

/* The daemon has both halves of each region, and may have sources; its keeper has the halves. */
static bool compare_fds(gmem_client *client, const struct storm_host *host, unsigned n_sessions)
{
	struct sums sums = add_up(STORM_TENANTS);
	unsigned memory, n = storm_count_fds(host->daemon, &memory);
	struct gmem_daemon_info info;

	if (gmem_get_daemon(client, &info) < 0)
		return differ("no state of the daemon: %s", gmem_error(client)->text);
	if (memory < sums.files || memory > sums.files + sums.sources ||
	    n > host->daemon_fds + memory + 2 * n_sessions + 2 * info.workers + 8)
		return differ("gmemd has %u fds, %u of them memory, for %" PRIu64
			      " regions, %" PRIu64 " sources, %u sessions, %u workers; %u at first",
			      n, memory, sums.regions, sums.sources, n_sessions, info.workers,
			      host->daemon_fds);
	n = storm_count_fds(host->keeper, &memory);
	if (memory != sums.files || n > host->keeper_fds + memory + n_sessions)
		return differ("the keeper has %u fds, %u of them memory, for %" PRIu64
			      " regions and %u sessions; %u at first",
			      n, memory, sums.regions, n_sessions, host->keeper_fds);
	return true;
}

/* Of the model: by its own tool. */
static int count_model_vms(void)
{
	char command[700], line[128];
	int found = -1;
	FILE *pipe;

	(void)snprintf(command, sizeof(command), "\"$GM_PLATFORM_TOOL\" show \"$GM_PLATFORM\"");
	pipe = popen(command, "re");
	while (pipe && fgets(line, sizeof(line), pipe))
		if (strncmp(line, "vms ", 4) == 0)
			found = atoi(line + 4);
	if (pipe)
		(void)pclose(pipe);
	return found;
}

/*
 * Of KVM: a folder for each, but for one whose VMM has closed another VM with the same fd that is
 * not gone yet (kvm_create_vm_debugfs: "duplicate directory"). -1: it does not tell.
 */
static int count_real_vms(void)
{
	DIR *folder = opendir(DEBUGFS);
	struct dirent *entry;
	int n = 0;

	if (!folder)
		return -1;
	while ((entry = readdir(folder)))
		n += entry->d_type == DT_DIR && entry->d_name[0] != '.';
	(void)closedir(folder);
	return n;
}

static bool compare_vms(void)
{
	uint64_t wanted = add_up(STORM_TENANTS).vms;
	bool is_model = getenv("GM_PLATFORM");
	int n = is_model ? count_model_vms() : count_real_vms();

	if (n >= 0 && ((uint64_t)n > wanted || (is_model && (uint64_t)n != wanted)))
		return differ("there are %d VMs, and the VMMs have %" PRIu64, n, wanted);
	return true;
}

static bool compare(gmem_client *client, const struct storm_host *host, unsigned n_sessions)
{
	int r;

	difference[0] = '\0';
	r = gmem_list_accounts(client, compare_account, NULL);
	if (r < 0)
		return difference[0] ? false : differ("no accounts: %s", gmem_error(client)->text);
	return compare_fds(client, host, n_sessions) && compare_vms();
}

bool storm_world_compare(const struct storm_host *host, unsigned n_sessions, uint64_t *ret_us)
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
