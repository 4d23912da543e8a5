/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "builtin.h"
#include "gm_cleanup.h"
#include "gm_verdict.h"

static int check_page_size(struct gmem_client *client, const struct gmem_domain *domain,
			   uint64_t page_size)
{
	bool has_huge = strcmp(domain->kind, "memfd") == 0;

	if (page_size == GM_PAGE_4K || (has_huge && page_size == GM_PAGE_2M) ||
	    (has_huge && page_size == GM_PAGE_1G))
		return 0;
	return gm_fail_numbers(client, GMEM_INVALID, GM_RULE_PAGE_SIZE, domain->kind,
			       has_huge ? GM_PAGE_1G : GM_PAGE_4K, 0, page_size);
}

static int check_address(struct gmem_client *client, const struct gmem_domain *domain,
			 const struct gmem_region *want)
{
	uint64_t end;

	if (want->size == 0 || !gm_is_aligned(want->size, want->page_size))
		return gm_fail_numbers(client, GMEM_INVALID, GM_RULE_SIZE, "the region",
				       want->page_size, 0, want->size);
	if (!gm_is_aligned(want->gpa, want->page_size))
		return gm_fail_numbers(client, GMEM_INVALID, GM_RULE_OFFSET, "the region",
				       want->page_size, 0, want->gpa);
	if (gm_add_overflows(want->gpa, want->size, &end) || end > GM_ADDRESS_END)
		return gm_fail_numbers(client, GMEM_INVALID, GM_RULE_OVERFLOW, "the region",
				       GM_ADDRESS_END, want->gpa, want->size);
	for (const struct gmem_region *r = domain->regions; r; r = r->next)
		if (want->gpa < r->gpa + r->size && r->gpa < end)
			return gm_fail(client, GMEM_EXISTS, GM_RULE_ADDRESS,
				       "Another region of the domain lies at %#" PRIx64
				       " to %#" PRIx64 " (address, asked %#" PRIx64 ").",
				       r->gpa, r->gpa + r->size, want->gpa);
	return 0;
}

static int fail_pool(struct gmem_client *client, const struct gmem_region *region)
{
	struct gmem_pool_info pool = { 0 };

	(void)gm_builtin_pool_read(region->page_size, &pool);
	return gm_fail_numbers(client, GMEM_NO_RESOURCE, GM_RULE_HUGE_PAGES_FREE,
			       "the host's hugepages", pool.total,
			       pool.total - gm_min_u64(pool.total, pool.free) + pool.reserved,
			       region->size / region->page_size);
}

/*
 * Takes the pages out of the pool's free ones (hugetlb_reserve_pages): they stay taken when the
 * mapping goes, so that no touch can fail later.
 */
static int reserve_huge(struct gmem_client *client, const struct gmem_region *region)
{
	void *address;

	if (region->page_size == GM_PAGE_4K)
		return 0;
	address = mmap(NULL, region->size, PROT_NONE, MAP_SHARED, region->fd, 0);
	if (address == MAP_FAILED)
		return fail_pool(client, region);
	(void)munmap(address, region->size);
	return 0;
}

static int create_memfd(struct gmem_client *client, struct gmem_region *region, const char *name)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	_gm_close_ int fd = -1;
	char label[96];

	if (region->page_size == GM_PAGE_2M)
		flags |= MFD_HUGETLB | MFD_HUGE_2MB;
	else if (region->page_size == GM_PAGE_1G)
		flags |= MFD_HUGETLB | MFD_HUGE_1GB;
	(void)snprintf(label, sizeof(label), "gmem:%s", name ? name : "");
	fd = memfd_create(label, flags);
	if (fd < 0 && errno == ENOENT)
		return fail_pool(client, region);
	if (fd < 0)
		return gm_fail_errno(client, errno, "memfd_create");
	if (ftruncate(fd, (off_t)region->size) < 0)
		return gm_fail_errno(client, errno, "the size of a memfd");
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return gm_fail_errno(client, errno, "the seals of a memfd");
	region->fd = gm_take_fd(&fd);
	return reserve_huge(client, region);
}

static int create_guest_memfd(struct gmem_client *client, struct gmem_region *region)
{
	int r = gm_builtin_guest_memfd(client->builtin->carrier_fd, region->size, &region->fd);

	return r < 0 ? gm_fail_errno(client, r, "KVM_CREATE_GUEST_MEMFD") : 0;
}

/* The policy of a shared mapping is the file's (shmem_set_policy): it outlives the mapping. */
static int bind_nodes(struct gmem_client *client, const struct gmem_region *region, uint64_t nodes)
{
	unsigned long mask[2] = { (unsigned long)nodes, 0 };
	void *address;
	long r;

	address = mmap(NULL, region->size, PROT_NONE, MAP_SHARED, region->fd, 0);
	if (address == MAP_FAILED)
		return gm_fail_errno(client, errno, "mapping the region");
	/* The kernel takes one bit less than it is told (get_nodes). */
	r = syscall(SYS_mbind, address, region->size, MPOL_BIND, mask, 65UL, 0U);
	if (r < 0)
		r = -errno;
	(void)munmap(address, region->size);
	if (r < 0)
		return gm_fail(client, GMEM_INVALID, GM_RULE_NUMA_NODES,
			       "The host cannot bind memory to these nodes: %s (NUMANodes, asked "
			       "mask %#llx).",
			       strerrordesc_np((int)-r), (unsigned long long)nodes);
	return 0;
}

static int create_memory(struct gmem_client *client, const struct gmem_domain *domain,
			 const struct gmem_region_spec *spec, struct gmem_region *region)
{
	int r;

	if (strcmp(domain->kind, "memfd") == 0) {
		r = create_memfd(client, region, spec->name);
		if (r == 0 && spec->numa_nodes)
			r = bind_nodes(client, region, spec->numa_nodes);
		return r;
	}
	if (spec->numa_nodes)
		return gm_fail(client, GMEM_UNSUPPORTED, GM_RULE_NUMA_NODES,
			       "Without a daemon guest-memfd is not bound to nodes (NUMANodes).");
	return create_guest_memfd(client, region);
}

int gm_builtin_region_create(struct gmem_client *client, struct gmem_domain *domain,
			     const struct gmem_region_spec *spec, struct gmem_region *region)
{
	struct gm_builtin_memory *memory;
	int r;

	region->gpa = spec->gpa;
	region->size = spec->size;
	region->page_size = spec->page_size ? spec->page_size : GM_PAGE_4K;
	r = check_page_size(client, domain, region->page_size);
	if (r == 0)
		r = check_address(client, domain, region);
	if (r < 0)
		return r;
	memory = calloc(1, sizeof(*memory));
	if (!memory)
		return gm_fail_errno(client, ENOMEM, "a region");
	region->builtin = memory;
	memory->numa_nodes = spec->numa_nodes;
	if (spec->name)
		memcpy(memory->name, spec->name, strlen(spec->name) + 1);
	r = create_memory(client, domain, spec, region);
	if (r < 0)
		return r;
	region->id = ++client->builtin->last_id;
	return 0;
}
