/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "gm_cleanup.h"
#include "gm_fd.h"
#include "gm_verdict.h"
#include "gm_version.h"
#include "remote.h"

/* REGION_GET requests under way at one time: enough to hide the round trip. */
#define GM_FETCH_WINDOW 16

static void free_region_slot(struct gmem_region **slot)
{
	gm_region_free(*slot);
}

/*
 * What the memory itself says its pages are: CREATE answers without a page size, and asked for 0
 * it is the kind's. Only hugetlbfs has other pages than the kernel's.
 */
static uint64_t page_size_of(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
		return (uint64_t)fs.f_bsize;
	return GM_PAGE_4K;
}

/* Takes the memory that came with an answer. NULL, or what is wrong. */
static const char *take_memory(struct gmem_region *region, size_t n_names,
			       const ProtobufCBinaryData *names, struct gm_fdset *fds)
{
	struct gm_fd_identity identity;

	if (n_names != 1 || fds->n_fds != 1)
		return "a region without exactly one file descriptor";
	if (names[0].len != strlen("memory") || memcmp(names[0].data, "memory", names[0].len) != 0)
		return "a region's file descriptor that is not called memory";
	if (gm_fd_identify(gm_fdset_peek(fds, 0), &identity) < 0 || identity.size != region->size)
		return "memory that has not the size of its region";
	region->fd = gm_fdset_steal(fds, 0);
	return NULL;
}

static size_t wire_nodes(uint64_t nodes, uint32_t list[GM_NUMA_NODES_MAX])
{
	size_t n = 0;

	for (uint32_t node = 0; node < GM_NUMA_NODES_MAX; node++)
		if (nodes >> node & 1)
			list[n++] = node;
	return n;
}

int gm_remote_region_create(struct gmem_client *client, struct gmem_domain *domain,
			    const struct gmem_region_spec *spec, struct gmem_region *region)
{
	Gmem__RegionCreateRequest request = GMEM__REGION_CREATE_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	const Gmem__RegionCreateReply *answer;
	uint32_t nodes[GM_NUMA_NODES_MAX];
	uint64_t domain_id = domain->id;
	int vm_fd = domain->vm_fd;
	const char *fault;
	int r;

	request.has_domain = request.has_gpa = request.has_size = request.has_page_size = true;
	request.domain = domain_id;
	request.gpa = region->gpa = spec->gpa;
	request.size = region->size = spec->size;
	request.page_size = spec->page_size;
	if (spec->name) {
		request.has_name = true;
		request.name = gm_wire_text(spec->name);
	}
	request.numa_nodes = nodes;
	request.n_numa_nodes = wire_nodes(spec->numa_nodes, nodes);
	r = gm_remote_call(client, GM_MSG_REGION_CREATE, &request.base, &reply);
	if (r < 0)
		return r;
	answer = (const Gmem__RegionCreateReply *)reply.message;
	if (!answer->region)
		return gm_remote_nonsense(client, "a region without an id");
	region->id = answer->region;
	/* In place there is one file, which the step makes. */
	region->in_place = answer->step && answer->n_fd_names == 0 && reply.fds.n_fds == 0;
	fault = region->in_place
			? NULL
			: take_memory(region, answer->n_fd_names, answer->fd_names, &reply.fds);
	if (fault)
		return gm_remote_nonsense(client, fault);
	region->page_size = spec->page_size ? spec->page_size : page_size_of(region->fd);
	if (answer->step)
		r = gm_remote_private_half(client, domain_id, vm_fd, answer->step, region);
	return r;
}

int gm_remote_region_destroy(struct gmem_client *client, uint64_t id)
{
	Gmem__RegionDestroyRequest request = GMEM__REGION_DESTROY_REQUEST__INIT;
	bool had_report;
	int r;

	request.has_region = true;
	request.region = id;
	do {
		_gm_reply_ struct gm_reply reply = { 0 };

		had_report = gm_remote_is_reporting(client, id);
		r = gm_remote_call(client, GM_MSG_REGION_DESTROY, &request.base, &reply);
	} while (gm_remote_was_early(client, id, had_report, &r));
	return r;
}

static int post_fetch(struct gmem_client *client, uint64_t id, struct gm_pending **ret_pending)
{
	Gmem__RegionGetRequest request = GMEM__REGION_GET_REQUEST__INIT;

	request.has_region = request.has_with_fd = true;
	request.region = id;
	request.with_fd = true;
	return gm_remote_post(client, GM_PENDING_CALL, GM_MSG_REGION_GET, &request.base,
			      ret_pending);
}

static int finish_fetch(struct gmem_client *client, struct gmem_domain *domain, uint64_t id,
			struct gm_pending *pending, uint64_t deadline)
{
	_gm_cleanup_(free_region_slot) struct gmem_region *region = NULL;
	_gm_reply_ struct gm_reply reply = { 0 };
	const Gmem__RegionGetReply *answer;
	const Gmem__RegionInfo *info;
	const char *fault;
	int r;

	r = gm_remote_finish(client, pending, deadline, &reply);
	if (r < 0)
		return r;
	answer = (const Gmem__RegionGetReply *)reply.message;
	info = answer->info;
	if (!info || info->region != id || info->domain != domain->id)
		return gm_remote_nonsense(client, "another region than was asked for");
	region = gm_region_new(client);
	if (!region)
		return -GMEM_SYSTEM;
	region->id = id;
	region->gpa = info->gpa;
	region->size = info->size;
	region->page_size = info->page_size;
	fault = take_memory(region, answer->n_fd_names, answer->fd_names, &reply.fds);
	if (fault)
		return gm_remote_nonsense(client, fault);
	gm_domain_add_region(domain, gm_take_ptr(&region));
	return 0;
}

/* One window: all questions go out before the first answer is waited for. */
static int fetch_some(struct gmem_client *client, struct gmem_domain *domain, const uint64_t *ids,
		      size_t n_ids, uint64_t deadline)
{
	struct gm_pending *pending[GM_FETCH_WINDOW];
	size_t n_posted = 0;
	size_t n_taken = 0;
	int r = 0;

	while (r == 0 && n_posted < n_ids) {
		r = post_fetch(client, ids[n_posted], &pending[n_posted]);
		n_posted += r == 0;
	}
	/* No room for another request is no failure while answers are to come. */
	if (r == -GMEM_OVER_LIMIT && n_posted > 0)
		r = 0;
	while (r == 0 && n_taken < n_posted) {
		r = finish_fetch(client, domain, ids[n_taken], pending[n_taken], deadline);
		n_taken++;
	}
	while (n_taken < n_posted)
		gm_remote_abandon(client, pending[n_taken++]);
	return r < 0 ? r : (int)n_posted;
}

int gm_remote_regions_fetch(struct gmem_client *client, struct gmem_domain *domain,
			    const uint64_t *ids, size_t n_ids, uint64_t deadline)
{
	while (n_ids) {
		size_t window = gm_min_u64(n_ids, GM_FETCH_WINDOW);
		int n = fetch_some(client, domain, ids, window, deadline);

		if (n < 0)
			return n;
		ids += n;
		n_ids -= (size_t)n;
	}
	return 0;
}
