/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider without a daemon: memory made in this process. Same calls, no limits but the
 * kernel's, nothing to attach to, and nothing that survives the process.
 *
 * Jobs run in the caller's thread: at once, or a chunk at each gmem_dispatch.
 */
#ifndef GM_BUILTIN_H
#define GM_BUILTIN_H

#include "client.h"

/* Bytes that are dealt with between two progress reports: about 2 ms of work. */
#define GM_CHUNK (UINT64_C(8) << 20)

struct gm_builtin_job;

struct gm_builtin {
	int carrier_fd; /* a VM without vCPUs that guest_memfds are made on; -1: not yet */
	int event_fd;	/* readable while jobs wait for gmem_dispatch */
	uint64_t last_id;
	uint64_t opened_ms;
	struct gm_builtin_job *jobs; /* oldest first */
};

struct gm_extent {
	uint64_t offset;
	uint64_t length;
};

/* What the daemon would keep about a region: its name, its place, what was allocated. */
struct gm_builtin_memory {
	char name[65];
	uint64_t numa_nodes;
	size_t n_extents;
	size_t room;
	struct gm_extent *extents; /* allocated by us: sorted, disjoint, not adjacent */
};

int gm_builtin_open(struct gmem_client *client);
void gm_builtin_memory_free(struct gm_builtin_memory *memory);

/* ---- builtin_kvm.c: the kernel's interfaces, or why they do not work */

/* 0 and an open /dev/kvm; or -errno. */
int gm_builtin_kvm_open(int *ret_fd);
/* 0 and a VM that mappable guest_memfds can be made on; or -errno, with *ret_why. */
int gm_builtin_carrier_open(int *ret_fd, const char **ret_why);
/* 0 and the memory; or -errno. */
int gm_builtin_guest_memfd(int carrier_fd, uint64_t size, int *ret_fd);

/* ---- builtin_region.c */

int gm_builtin_region_create(struct gmem_client *client, struct gmem_domain *domain,
			     const struct gmem_region_spec *spec, struct gmem_region *region);

/* ---- builtin_extents.c */

/* 0 or -ENOMEM, with nothing changed. The range is not empty and does not wrap. */
GM_WARN_UNUSED int gm_extents_add(struct gm_builtin_memory *memory, uint64_t offset,
				  uint64_t length);
GM_WARN_UNUSED int gm_extents_remove(struct gm_builtin_memory *memory, uint64_t offset,
				     uint64_t length);
uint64_t gm_extents_bytes(const struct gm_builtin_memory *memory);

/* ---- builtin_job.c */

int gm_builtin_job_run(struct gmem_region *region, enum gm_job_kind kind,
		       const struct gmem_range *ranges, size_t n_ranges, gmem_progress_fn progress,
		       void *arg);
int gm_builtin_job_start(struct gmem_region *region, enum gm_job_kind kind,
			 const struct gmem_range *ranges, size_t n_ranges,
			 const struct gmem_job_callbacks *callbacks);
int gm_builtin_dispatch(struct gmem_client *client);
void gm_builtin_end_jobs(struct gmem_client *client);
uint32_t gm_builtin_count_jobs(const struct gmem_client *client, uint64_t region);

/* ---- builtin_list.c, builtin_host.c */

int gm_builtin_list_domains(struct gmem_client *client, gm_domain_info_fn fn, void *arg);
int gm_builtin_list_regions(struct gmem_client *client, uint64_t domain, gm_region_info_fn fn,
			    void *arg);
int gm_builtin_list_sessions(struct gmem_client *client, gm_session_info_fn fn, void *arg);
int gm_builtin_list_accounts(struct gmem_client *client, gm_account_info_fn fn, void *arg);
int gm_builtin_list_metrics(struct gmem_client *client, const char *tenant, gm_metrics_fn fn,
			    void *arg);
int gm_builtin_get_domain(struct gmem_client *client, uint64_t id,
			  struct gmem_domain_info *ret_info);
int gm_builtin_get_region(struct gmem_client *client, uint64_t id,
			  struct gmem_region_info *ret_info);
int gm_builtin_get_daemon(struct gmem_client *client, struct gmem_daemon_info *ret_info);
int gm_builtin_get_page_map(struct gmem_client *client, uint64_t region, gm_page_run_fn fn,
			    void *arg);
int gm_builtin_get_host(struct gmem_client *client, struct gmem_host_info *ret_info);

/* Hugepage pool of the host; -ENOENT when it has no such pages. */
int gm_builtin_pool_read(uint64_t page_size, struct gmem_pool_info *ret_pool);

#endif
