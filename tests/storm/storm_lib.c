/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libgmem, which is meant to hide that gmemd was killed: a call takes longer, and that is all.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gmem.h"
#include "storm_link.h"

#define PATIENCE_MS 20000

struct lib {
	gmem_client *client;
	unsigned index;
	/* Handles of domains that may be another's meanwhile are found by id. */
	size_t n_domains;
	gmem_domain *domains[STORM_DOMAINS_MAX];
	bool told[STORM_DOMAINS_MAX]; /* that it is another's */
};

static struct lib *lib_of(const struct storm_link *link)
{
	return link->priv;
}

static gmem_domain *find_domain(const struct lib *lib, uint64_t id)
{
	for (size_t i = 0; i < lib->n_domains; i++)
		if (gmem_domain_id(lib->domains[i]) == id)
			return lib->domains[i];
	return NULL;
}

static void add_domain(struct lib *lib, gmem_domain *domain)
{
	lib->told[lib->n_domains] = false;
	lib->domains[lib->n_domains++] = domain;
}

static void remove_domain(struct lib *lib, const gmem_domain *domain)
{
	for (size_t i = 0; i < lib->n_domains; i++) {
		if (lib->domains[i] != domain)
			continue;
		lib->domains[i] = lib->domains[--lib->n_domains];
		lib->told[i] = lib->told[lib->n_domains];
	}
}

static bool was_told(const struct lib *lib, const gmem_domain *domain)
{
	for (size_t i = 0; i < lib->n_domains; i++)
		if (lib->domains[i] == domain)
			return lib->told[i];
	return false;
}

static gmem_region *find_region(const struct lib *lib, const struct storm_op *op)
{
	gmem_domain *domain = find_domain(lib, op->domain->id);
	gmem_region *region;

	for (size_t i = 0; domain && (region = gmem_domain_region(domain, i)); i++)
		if (gmem_region_id(region) == op->region->id)
			return region;
	storm_fail("client %u: libgmem has no handle of region %016" PRIx64, lib->index,
		   op->region->id);
	return NULL;
}

static bool is_held(const struct lib *lib, uint64_t id)
{
	for (size_t i = 0; i < STORM_DOMAINS_MAX; i++)
		if (storm->domains[i].id == id &&
		    (atomic_load(&storm->domains[i].holder) & 0xffff) == (int)lib->index)
			return true;
	return false;
}

/* Another may take what it holds by the model, and nobody what we hold. */
static void lose(struct storm_link *link, int type, const gmem_domain *domain, uint64_t value)
{
	struct lib *lib = lib_of(link);
	uint64_t id = gmem_domain_id(domain);

	if (type == GMEM_EVENT_DOMAIN_EVICTED || is_held(lib, id)) {
		storm_fail("client %u: domain %016" PRIx64 " was lost: event %d, %" PRIu64,
			   link->index, id, type, value);
		return;
	}
	if (was_told(lib, domain))
		storm_fail("client %u: told twice to have lost domain %016" PRIx64, link->index,
			   id);
	atomic_fetch_add(&link->client->told, 1);
	atomic_fetch_add(&link->client->late, type == GMEM_EVENT_DOMAIN_LOST);
	for (size_t i = 0; i < lib->n_domains; i++)
		lib->told[i] = lib->told[i] || lib->domains[i] == domain;
}

static void on_event(void *arg, int type, gmem_domain *domain, uint64_t value)
{
	struct storm_link *link = arg;

	if (type == GMEM_EVENT_RECONNECTED) {
		atomic_fetch_add(&link->client->resumed, 1);
		if (value == 0)
			storm_fail("client %u: libgmem's session was not resumed", link->index);
	} else if (type == GMEM_EVENT_DISCONNECTED) {
		storm_fail("client %u: libgmem has given up", link->index);
	} else if (type == GMEM_EVENT_DOMAIN_LOST || type == GMEM_EVENT_DOMAIN_EVICTED ||
		   type == GMEM_EVENT_DOMAIN_TAKEN_OVER) {
		lose(link, type, domain, value);
	}
}

static bool open_link(struct storm_link *link)
{
	const struct gmem_connect_spec spec = { .name = "storm/lib",
						.timeout_ms = PATIENCE_MS,
						.reconnect_ms = PATIENCE_MS };
	struct lib *lib = lib_of(link);
	uint64_t until_us = storm_now_us() + (uint64_t)PATIENCE_MS * 1000;

	/* Nothing is repeated before there has been a session. */
	while (gmem_connect(link->path, &spec, &lib->client) != 0) {
		atomic_fetch_add(&link->client->sessions, 1);
		if (storm_now_us() > until_us) {
			storm_fail("client %u: libgmem finds no daemon", link->index);
			return false;
		}
		storm_nap_us(1000);
	}
	gmem_client_on_event(lib->client, on_event, link);
	return true;
}

static void close_link(struct storm_link *link)
{
	struct lib *lib = lib_of(link);

	gmem_disconnect(lib->client);
	lib->client = NULL;
	lib->n_domains = 0;
}

static int create_domain(struct lib *lib, struct storm_op *op)
{
	const struct gmem_domain_spec spec = {
		.kind = op->domain->guest_memfd ? "guest-memfd" : "memfd",
		.name = op->domain->name,
		.flags = op->domain->persistent ? GMEM_DOMAIN_PERSISTENT : 0,
	};
	gmem_domain *domain;
	int r = gmem_domain_create(lib->client, &spec, &domain);

	if (r < 0)
		return r;
	add_domain(lib, domain);
	op->id = gmem_domain_id(domain);
	gmem_domain_token(domain, op->token.bytes);
	return 0;
}

static int attach_domain(struct lib *lib, struct storm_op *op)
{
	gmem_domain *domain;
	int r = gmem_domain_attach(lib->client, op->domain->id, op->domain->token.bytes,
				   GMEM_ATTACH_TAKE_OVER, 0, &domain);

	if (r == 0)
		add_domain(lib, domain);
	return r;
}

static int destroy_domain(struct lib *lib, const struct storm_op *op)
{
	gmem_domain *domain = find_domain(lib, op->domain->id);

	if (!domain) {
		storm_fail("client %u: libgmem has no handle of %s", lib->index, op->domain->name);
		return -GMEM_NO_SUCH_OBJECT;
	}
	remove_domain(lib, domain);
	return gmem_domain_destroy(domain);
}

static int set_memlock(struct lib *lib, const struct storm_op *op)
{
	gmem_domain *domain = find_domain(lib, op->domain->id);

	return domain ? gmem_domain_set_memlock(domain, op->domain->memlock, NULL)
		      : -GMEM_NO_SUCH_OBJECT;
}

static int create_region(struct lib *lib, struct storm_op *op)
{
	const struct gmem_region_spec spec = { .gpa = op->region->gpa, .size = op->region->size };
	gmem_domain *domain = find_domain(lib, op->domain->id);
	gmem_region *region;
	int r;

	if (!domain)
		return -GMEM_NO_SUCH_OBJECT;
	r = gmem_region_create(domain, &spec, &region);
	if (r < 0)
		return r;
	op->id = gmem_region_id(region);
	return gmem_region_map(region, &op->at);
}

static int get_region(struct lib *lib, struct storm_op *op)
{
	gmem_region *region = find_region(lib, op);
	struct gmem_region_info info;
	int r;

	if (!region)
		return -GMEM_NO_SUCH_OBJECT;
	r = gmem_get_region(lib->client, op->region->id, &info);
	if (r < 0)
		return r;
	op->allocated = info.allocated_bytes;
	return gmem_region_map(region, &op->at);
}

static int get_domain(struct lib *lib, struct storm_op *op)
{
	struct gmem_domain_info info;
	int r = gmem_get_domain(lib->client, op->domain->id, &info);

	if (r < 0)
		return r;
	op->bytes = info.reserved_bytes;
	op->allocated = info.allocated_bytes;
	op->n_regions = info.regions;
	op->attached = info.attached && info.owner_pid == (uint32_t)getpid();
	return 0;
}

static int take_run(void *arg, const struct gmem_page_run *run)
{
	const struct storm_range range = { run->offset, run->length };
	struct storm_op *op = arg;

	if (run->state != GMEM_PAGE_ABSENT)
		storm_pages_set(op->pages, &range, true);
	return 0;
}

static int cancel(void *arg, uint64_t done, uint64_t total)
{
	const struct storm_op *op = arg;

	(void)done;
	(void)total;
	return op->with_cancel;
}

static int run_job(struct lib *lib, struct storm_op *op)
{
	const struct storm_job *job = &op->region->job;
	gmem_region *region = find_region(lib, op);
	struct gmem_range ranges[STORM_RANGES];

	if (!region)
		return -GMEM_NO_SUCH_OBJECT;
	for (unsigned i = 0; i < job->n_ranges; i++) {
		ranges[i] = (struct gmem_range){ job->ranges[i].offset, job->ranges[i].length };
		op->bytes += ranges[i].length;
	}
	return job->allocate ? gmem_region_allocate(region, ranges, job->n_ranges, cancel, op)
			     : gmem_region_discard(region, ranges, job->n_ranges, cancel, op);
}

static int count_domain(void *arg, const struct gmem_domain_info *info)
{
	(void)info;
	++*(uint64_t *)arg;
	return 0;
}

static int count_account(void *arg, const struct gmem_account_info *info)
{
	(void)info;
	++*(uint64_t *)arg;
	return 0;
}

static int carry_out(struct lib *lib, struct storm_op *op)
{
	gmem_region *region;
	uint64_t n = 0;

	switch (op->verb) {
	case STORM_DOMAIN_CREATE:
		return create_domain(lib, op);
	case STORM_DOMAIN_ATTACH:
		return attach_domain(lib, op);
	case STORM_DOMAIN_GET:
		return get_domain(lib, op);
	case STORM_DOMAIN_DESTROY:
		return destroy_domain(lib, op);
	case STORM_REGION_CREATE:
		return create_region(lib, op);
	case STORM_REGION_GET:
		return get_region(lib, op);
	case STORM_REGION_DESTROY:
		region = find_region(lib, op);
		return region ? gmem_region_destroy(region) : -GMEM_NO_SUCH_OBJECT;
	case STORM_REGION_MAP:
		return gmem_get_page_map(lib->client, op->region->id, take_run, op);
	case STORM_JOB:
		return run_job(lib, op);
	case STORM_LIST:
		return gmem_list_domains(lib->client, count_domain, &n);
	case STORM_MEMLOCK:
		return set_memlock(lib, op);
	case STORM_STATS:
		return gmem_list_accounts(lib->client, count_account, &n);
	case STORM_PING:
	case STORM_CANCEL:
	case STORM_VERBS:
		break;
	}
	return gmem_ping(lib->client);
}

static bool run(struct storm_link *link, struct storm_op *ops, unsigned n)
{
	struct lib *lib = lib_of(link);

	for (unsigned i = 0; i < n; i++) {
		struct storm_op *op = &ops[i];

		op->fd = -1;
		atomic_fetch_add(&link->client->requests, 1);
		op->status = -carry_out(lib, op);
		atomic_fetch_add(&link->client->answers, 1);
		if (op->status != 0)
			(void)snprintf(op->refusal, sizeof(op->refusal), "%s",
				       gmem_error(lib->client)->text);
		if (atomic_load(&storm->failed))
			return false;
	}
	return true;
}

/*
 * Nothing but the handle: it is another's, who would be asked in vain. By the answer to a ping made
 * after the other had its own, we have been told, whoever died meanwhile.
 */
static void drop(struct storm_link *link, uint64_t id)
{
	struct lib *lib = lib_of(link);
	gmem_domain *domain = find_domain(lib, id);

	if (!domain)
		return;
	if (gmem_ping(lib->client) == 0 && !was_told(lib, domain))
		storm_fail("client %u: not told that domain %016" PRIx64 " is another's",
			   link->index, id);
	remove_domain(lib, domain);
	(void)gmem_domain_destroy(domain);
}

static const struct storm_link_ops lib_ops = {
	.open = open_link,
	.close = close_link,
	.run = run,
	.drop = drop,
	.batch_max = 1,
};

bool storm_lib_link(struct storm_link *link)
{
	struct lib *lib = calloc(1, sizeof(*lib));

	if (!lib)
		return false;
	lib->index = link->index;
	link->ops = &lib_ops;
	link->priv = lib;
	return true;
}
