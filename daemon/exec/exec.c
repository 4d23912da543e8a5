/* SPDX-License-Identifier: Apache-2.0 */
#include "exec.h"

#include <assert.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "exec_job.h"
#include "gm_cleanup.h"

/* More threads than this only contend for the zone locks of a node. */
#define JOB_THREADS_MAX 16

/* A smaller region is freed in less time than a hand-over is worth. */
#define DISPOSE_MIN (16 * GM_MIB)

static uint32_t count_cpus(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return 1;
	return (uint32_t)gm_min_u64((uint64_t)CPU_COUNT(&cpus), JOB_THREADS_MAX);
}

/* Nodes that this process may allocate from: those of its cpuset that have memory. */
static uint64_t find_numa_nodes(void)
{
	/* The kernel refuses a mask shorter than its own MAX_NUMNODES, 1024 on Debian. */
	unsigned long mask[32] = { 0 };

	if (syscall(SYS_get_mempolicy, NULL, mask, sizeof(mask) * 8, NULL, MPOL_F_MEMS_ALLOWED) < 0)
		return 1;
	return mask[0] != 0 ? mask[0] : 1;
}

static int open_backends(struct gm_exec *exec)
{
	for (size_t i = 0; gm_backends[i] != NULL; i++) {
		struct gm_exec_backend *slot = &exec->backends[exec->n_backends];
		int r;

		assert(exec->n_backends < GM_EXEC_BACKENDS_MAX);
		r = gm_backends[i]->open(&slot->state, &slot->probe);
		if (r < 0)
			return r;
		slot->backend = gm_backends[i];
		exec->n_backends++;
	}
	return 0;
}

int gm_exec_init(struct gm_exec *exec, struct gm_book *book)
{
	int r;

	*exec = (struct gm_exec){ .book = book, .kvm_fd = -1 };
	TAILQ_INIT(&exec->jobs);
	exec->job_threads = count_cpus();
	exec->numa_nodes = find_numa_nodes();

	r = open_backends(exec);
	if (r < 0) {
		gm_exec_done(exec);
		return r;
	}
	/* A host without KVM still serves memory: the reason is told to who asks for the device. */
	if (gm_kvm_device_open(&exec->kvm_fd, exec->kvm_reason, sizeof(exec->kvm_reason)) < 0)
		exec->kvm_fd = -1;
	return 0;
}

void gm_exec_done(struct gm_exec *exec)
{
	assert(TAILQ_EMPTY(&exec->jobs));
	while (exec->n_backends > 0) {
		struct gm_exec_backend *slot = &exec->backends[--exec->n_backends];

		slot->backend->close(slot->state);
		slot->state = NULL;
	}
	gm_fd_close(gm_take_fd(&exec->kvm_fd));
}

const struct gm_exec_backend *gm_exec_find(const struct gm_exec *exec, const char *kind)
{
	for (uint32_t i = 0; i < exec->n_backends; i++) {
		if (strcmp(exec->backends[i].backend->kind, kind) == 0)
			return &exec->backends[i];
	}
	return NULL;
}

/* "acme.vm1.ram": what an operator sees in /proc/PID/maps. Ids stand in for missing names. */
static void format_name(const struct gm_region *region, char *buffer, size_t size)
{
	const struct gm_domain *domain = region->domain;
	char domain_id[17];
	char region_id[17];

	snprintf(domain_id, sizeof(domain_id), "%016" PRIx64, domain->id.v);
	snprintf(region_id, sizeof(region_id), "%016" PRIx64, region->id.v);
	snprintf(buffer, size, "%s.%s.%s", domain->tenant->name,
		 domain->name[0] != '\0' ? domain->name : domain_id,
		 region->name[0] != '\0' ? region->name : region_id);
}

int gm_exec_make_region(struct gm_exec *exec, struct gm_region *region, struct gm_refusal *refusal)
{
	const struct gm_exec_backend *slot = gm_exec_find(exec, region->domain->kind);
	char name[3 * GM_NAME_SIZE];

	/* The books hold no domain of a kind that was not there when it was created. */
	assert(slot != NULL && region->fd < 0);
	format_name(region, name, sizeof(name));
	return slot->backend->create(slot->state,
				     &(struct gm_backing){ .size = region->size,
							   .page_size = region->page_size,
							   .numa_nodes = region->numa_nodes,
							   .name = name },
				     &region->fd, refusal);
}

/*
 * Freeing takes the kernel about 160 us for each MiB of small pages, in whoever closes the file
 * last. Hugepages are few, and the next region may want the same ones at once.
 */
static bool takes_long_to_free(const struct gm_region *region)
{
	return region->page_size == GM_PAGE_4K && region->size >= DISPOSE_MIN;
}

void gm_exec_drop_region(struct gm_exec *exec, struct gm_region *region)
{
	int fd = gm_take_fd(&region->fd);

	if (fd >= 0 && exec->hub != NULL && takes_long_to_free(region))
		gm_crew_hub_dispose(exec->hub, fd);
	else
		gm_fd_close(fd);
	gm_book_remove_region(exec->book, region);
}

/* Region by region from the end, so that the array does not move under us. */
static void drop_idle_regions(struct gm_exec *exec, struct gm_domain *domain)
{
	for (uint32_t i = domain->n_regions; i > 0; i--) {
		if (domain->regions[i - 1]->n_jobs == 0)
			gm_exec_drop_region(exec, domain->regions[i - 1]);
	}
}

static void remove_domain(struct gm_exec *exec, struct gm_domain *domain)
{
	struct gm_crew *crew = domain->owner;

	domain->owner = NULL;
	gm_book_remove_domain(exec->book, domain);
	gm_crew_free(crew);
}

unsigned gm_exec_end_domain(struct gm_exec *exec, struct gm_domain *domain)
{
	struct gm_exec_job *job;
	unsigned n_cancelled = 0;

	assert(!domain->dying);
	TAILQ_FOREACH(job, &exec->jobs, link) {
		if (job->ticket.region->domain == domain) {
			gm_exec_cancel_job(job);
			n_cancelled++;
		}
	}
	gm_book_end_domain(domain);
	drop_idle_regions(exec, domain);
	if (domain->n_jobs == 0)
		remove_domain(exec, domain);
	return n_cancelled;
}

void gm_exec_reap(struct gm_exec *exec, struct gm_region *region)
{
	struct gm_domain *domain = region->domain;

	if (!domain->dying)
		return;
	if (region->n_jobs == 0)
		gm_exec_drop_region(exec, region);
	if (domain->n_jobs == 0)
		remove_domain(exec, domain);
}
