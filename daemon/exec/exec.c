/* SPDX-License-Identifier: Apache-2.0 */
#include "exec.h"

#include <assert.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "exec_box.h"
#include "exec_job.h"
#include "exec_launch.h"
#include "exec_memlock.h"
#include "exec_own_launch.h"
#include "exec_share.h"
#include "gm_cleanup.h"
#include "gm_fault.h"
#include "gm_fd.h"

/* More threads than this only contend for the zone locks of a node. */
#define JOB_THREADS_MAX 16

/*
 * A smaller region is freed in less time than a hand-over takes. Not a size that is merely soon
 * done: a session may leave thousands of regions behind at once.
 */
#define DISPOSE_MIN (64 * GM_KIB)

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

/* Before privileges are dropped. Without it launches are refused, and nothing else. */
static void open_launch_device(struct gm_exec_backend *slot)
{
	const struct gm_launch_rules *rules = slot->backend->launch;
	char reason[GM_TEXT_MAX];

	slot->launch_fd = -1;
	if (slot->probe.usable && rules != NULL && rules->open_device != NULL &&
	    rules->open_device(&slot->launch_fd, reason, sizeof(reason)) < 0)
		slot->launch_fd = -1;
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
		open_launch_device(slot);
		exec->n_backends++;
	}
	return 0;
}

int gm_exec_init(struct gm_exec *exec, struct gm_book *book)
{
	int r;

	*exec = (struct gm_exec){ .book = book, .kvm_fd = -1 };
	TAILQ_INIT(&exec->jobs);
	TAILQ_INIT(&exec->boxes);
	SLIST_INIT(&exec->leaving);
	exec->job_threads = count_cpus();
	exec->numa_nodes = find_numa_nodes();
	exec->memlock = gm_exec_prlimit_memlock;

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
	assert(TAILQ_EMPTY(&exec->jobs) && TAILQ_EMPTY(&exec->boxes) &&
	       SLIST_EMPTY(&exec->leaving));
	gm_exec_shares_done(exec);
	while (exec->n_backends > 0) {
		struct gm_exec_backend *slot = &exec->backends[--exec->n_backends];

		slot->backend->close(slot->state);
		slot->state = NULL;
		if (slot->launch_fd >= 0)
			gm_fd_close(gm_take_fd(&slot->launch_fd));
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

/* As "%016x", which printf takes a good part of a grant for. */
static char *put_id(char *at, uint64_t id)
{
	for (int shift = 60; shift >= 0; shift -= 4)
		*at++ = "0123456789abcdef"[id >> shift & 0xf];
	return at;
}

static char *put_name(char *at, const char *name, uint64_t id)
{
	return name[0] != '\0' ? stpcpy(at, name) : put_id(at, id);
}

/* "acme.vm1.ram": what an operator sees in /proc/PID/maps. Ids stand in for missing names. */
static void format_name(const struct gm_region *region, char buffer[3 * GM_NAME_SIZE])
{
	const struct gm_domain *domain = region->domain;
	char *at = stpcpy(buffer, domain->tenant->name);

	*at++ = '.';
	at = put_name(at, domain->name, domain->id.v);
	*at++ = '.';
	at = put_name(at, region->name, region->id.v);
	*at = '\0';
}

/*
 * What the other regions of these hugepages and nodes have been promised and have not touched. One
 * look at a file each; nobody asks for hugepages on a node often.
 */
static uint64_t promised_on_nodes(const struct gm_exec *exec, const struct gm_region *wanted)
{
	const struct gm_region *region = NULL;
	uint64_t promised = 0;

	if (wanted->numa_nodes == 0 || wanted->page_size == GM_PAGE_4K)
		return 0;
	while ((region = gm_book_next_region(exec->book, region)) != NULL) {
		const struct gm_exec_backend *slot = gm_exec_find(exec, region->domain->kind);
		uint64_t present = 0;

		if (region == wanted || region->fd < 0 || slot == NULL ||
		    region->page_size != wanted->page_size ||
		    (region->numa_nodes & wanted->numa_nodes) == 0)
			continue;
		/* Where it cannot be told, it may be all there. */
		if (slot->backend->present(region->fd, 0, region->size, region->page_size,
					   &present) < 0)
			continue;
		promised += region->size - gm_min_u64(present, region->size);
	}
	return promised;
}

static int make_fd(struct gm_exec *exec, struct gm_region *region, struct gm_refusal *refusal)
{
	const struct gm_exec_backend *slot = gm_exec_find(exec, region->domain->kind);
	char name[3 * GM_NAME_SIZE];

	/* A domain of a kind that is not there is quarantined, and takes no regions. */
	assert(slot != NULL && region->fd < 0);
	format_name(region, name);
	return slot->backend->create(
		slot->state,
		&(struct gm_backing){ .size = region->size,
				      .page_size = region->page_size,
				      .numa_nodes = region->numa_nodes,
				      .promised = promised_on_nodes(exec, region),
				      .name = name },
		&region->fd, refusal);
}

static int keep_fd(struct gm_exec *exec, struct gm_region *region, struct gm_refusal *refusal)
{
	struct gm_fd_identity identity;
	int r;

	r = gm_fd_identify(region->fd, &identity);
	if (r < 0)
		return r;
	gm_book_set_file(region, &(struct gm_file_id){ identity.device, identity.inode });
	return exec->keep_ops->keep(exec->keep_arg, region, refusal);
}

int gm_exec_make_region(struct gm_exec *exec, struct gm_region *region, struct gm_refusal *refusal)
{
	int r;

	/* The VMM makes its one file. */
	if (region->domain->traits & GM_TRAIT_IN_PLACE)
		return 0;
	r = make_fd(exec, region, refusal);
	GM_FAULT_POINT("region: made");
	if (r == 0 && exec->keep_ops != NULL)
		r = keep_fd(exec, region, refusal);
	return r;
}

/*
 * Freeing takes the kernel about 160 us for each MiB of small pages, in whoever closes the file
 * last. Hugepages are few, and the next region may want the same ones at once.
 */
static bool takes_long_to_free(const struct gm_region *region)
{
	return region->page_size == GM_PAGE_4K && region->size >= DISPOSE_MIN;
}

static void close_elsewhere(const struct gm_exec *exec, int fd)
{
	if (fd >= 0 && exec->hub != NULL)
		gm_crew_hub_dispose(exec->hub, fd);
	else
		gm_fd_close(fd);
}

void gm_exec_dispose(struct gm_exec *exec, const struct gm_tenant *tenant, int fd)
{
	if (fd >= 0 && exec->close_stranger != NULL)
		exec->close_stranger(exec->close_stranger_arg, tenant, fd);
	else
		close_elsewhere(exec, fd);
}

static void close_memory(struct gm_exec *exec, int fd, bool slow)
{
	if (slow)
		close_elsewhere(exec, fd);
	else
		gm_fd_close(fd);
}

static void let_go(struct gm_exec *exec, uint32_t record, bool has_half)
{
	if (exec->keep_ops != NULL)
		exec->keep_ops->let_go(exec->keep_arg, record, has_half);
}

static void let_go_vm(struct gm_exec *exec, uint32_t record)
{
	if (exec->keep_ops != NULL)
		exec->keep_ops->let_go_vm(exec->keep_arg, record);
}

/* A region that has left the books and whose record may still be there. */
struct gm_exec_leaving {
	uint32_t record;
	bool is_vm; /* of a domain: not a region, but what was launched for it */
	int fd;
	bool slow;
	bool has_half;
	SLIST_ENTRY(gm_exec_leaving) link;
};

/*
 * Without memory to remember it the region is let go of at once. Only if the daemon is killed
 * before the next commit does anybody notice: the region comes back once more, in quarantine.
 */
static void leave(struct gm_exec *exec, const struct gm_region *region, int fd, bool slow)
{
	bool has_half = region->private_file.inode != 0;
	uint32_t record = region->mark.record;
	struct gm_exec_leaving *leaving = malloc(sizeof(*leaving));

	if (leaving == NULL) {
		let_go(exec, record, has_half);
		close_memory(exec, fd, slow);
		return;
	}
	*leaving = (struct gm_exec_leaving){
		.record = record, .fd = fd, .slow = slow, .has_half = has_half
	};
	SLIST_INSERT_HEAD(&exec->leaving, leaving, link);
}

/* The VMM has it, or nobody is to: the next commit says so. */
static void drop_vm(struct gm_exec *exec, struct gm_domain *domain)
{
	int fd = gm_book_take_vm(domain);
	struct gm_exec_leaving *leaving;

	if (fd < 0)
		return;
	leaving = exec->keep_ops != NULL ? malloc(sizeof(*leaving)) : NULL;
	if (leaving == NULL) {
		let_go_vm(exec, domain->mark.record);
		close_memory(exec, fd, /* slow= */ true);
		return;
	}
	*leaving = (struct gm_exec_leaving){
		.record = domain->mark.record, .is_vm = true, .fd = fd, .slow = true
	};
	SLIST_INSERT_HEAD(&exec->leaving, leaving, link);
}

void gm_exec_end_launch(struct gm_exec *exec, struct gm_domain *domain)
{
	gm_exec_drop_sources(exec, domain);
	gm_book_forget_puts(domain);
	drop_vm(exec, domain);
}

void gm_exec_drop_region(struct gm_exec *exec, struct gm_region *region)
{
	int fd = gm_take_fd(&region->fd);

	/* It pins the VM of the VMM, with all that this has of the platform. */
	if (region->private_fd >= 0)
		close_memory(exec, gm_take_fd(&region->private_fd), /* slow= */ true);
	if (exec->keep_ops != NULL && region->mark.record != 0)
		leave(exec, region, fd, takes_long_to_free(region));
	else
		close_memory(exec, fd, takes_long_to_free(region));
	gm_book_remove_region(exec->book, region);
}

void gm_exec_settle(struct gm_exec *exec)
{
	struct gm_exec_leaving *leaving;

	while ((leaving = SLIST_FIRST(&exec->leaving)) != NULL) {
		SLIST_REMOVE_HEAD(&exec->leaving, link);
		GM_FAULT_POINT("region: off the record");
		/* Whoever keeps it lets go first, so that the slow end of it is here. */
		if (leaving->is_vm)
			let_go_vm(exec, leaving->record);
		else
			let_go(exec, leaving->record, leaving->has_half);
		GM_FAULT_POINT("region: out of the fd store");
		close_memory(exec, leaving->fd, leaving->slow);
		free(leaving);
	}
}

void gm_exec_stop_keeping(struct gm_exec *exec)
{
	assert(SLIST_EMPTY(&exec->leaving));
	exec->leaves_limits = exec->keep_ops != NULL;
	exec->keep_ops = NULL;
}

/* Region by region from the end, so that the array does not move under us. */
static void drop_idle_regions(struct gm_exec *exec, struct gm_domain *domain)
{
	for (uint32_t i = domain->n_regions; i > 0; i--) {
		if (domain->regions[i - 1]->n_jobs == 0)
			gm_exec_drop_region(exec, domain->regions[i - 1]);
	}
}

/*
 * Jobs hold the other regions for a while, but a domain that ends leaves the record with all of
 * them: whoever keeps their fds lets go too, before another region has the number.
 */
static void let_go_of_busy_regions(struct gm_exec *exec, const struct gm_domain *domain)
{
	if (exec->keep_ops == NULL)
		return;
	for (uint32_t i = 0; i < domain->n_regions; i++)
		if (domain->regions[i]->mark.record != 0)
			leave(exec, domain->regions[i], -1, false);
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
	gm_exec_end_memlock(exec, domain);
	gm_exec_close_boxes(exec, NULL, domain);
	gm_exec_end_launch(exec, domain);
	gm_book_end_domain(domain);
	drop_idle_regions(exec, domain);
	let_go_of_busy_regions(exec, domain);
	if (domain->n_jobs == 0)
		remove_domain(exec, domain);
	return n_cancelled;
}

void gm_exec_detach_domain(struct gm_exec *exec, struct gm_domain *domain, uint64_t now_ms)
{
	gm_exec_end_memlock(exec, domain);
	gm_book_detach(domain, now_ms);
}

void gm_exec_reap(struct gm_exec *exec, struct gm_region *region)
{
	struct gm_domain *domain = region->domain;

	if (!domain->dying)
		return;
	/* A launch has held all of them. */
	drop_idle_regions(exec, domain);
	if (domain->n_jobs == 0)
		remove_domain(exec, domain);
}
