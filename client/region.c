/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/mman.h>

#include "client.h"
#include "gm_cleanup.h"
#include "gm_verdict.h"

static void free_region_slot(struct gmem_region **slot)
{
	gm_region_free(*slot);
}

int gmem_region_create(gmem_domain *domain, const struct gmem_region_spec *spec,
		       gmem_region **ret_region)
{
	_gm_cleanup_(free_region_slot) struct gmem_region *region = NULL;
	struct gmem_client *client = domain->client;
	uint64_t domain_id = domain->id;
	int r;

	gm_client_clear(client);
	r = gm_check_name(client, spec->name);
	if (r < 0)
		return r;
	region = gm_region_new(client);
	if (!region)
		return -GMEM_SYSTEM;
	r = client->provider->region_create(client, domain, spec, region);
	if (r < 0)
		return r;
	/* An event during the wait may have made the program drop the domain. */
	domain = gm_client_find_domain(client, domain_id);
	if (!domain)
		return gm_fail(client, GMEM_NO_SUCH_OBJECT, 0,
			       "The domain was destroyed while its region was being made.");
	gm_domain_add_region(domain, region);
	*ret_region = gm_take_ptr(&region);
	return 0;
}

uint64_t gmem_region_id(const gmem_region *region)
{
	return region->id;
}

uint64_t gmem_region_gpa(const gmem_region *region)
{
	return region->gpa;
}

uint64_t gmem_region_size(const gmem_region *region)
{
	return region->size;
}

uint64_t gmem_region_page_size(const gmem_region *region)
{
	return region->page_size;
}

int gmem_region_fd(const gmem_region *region)
{
	return region->fd;
}

int gmem_region_map(gmem_region *region, void **ret_address)
{
	struct gmem_client *client = region->domain->client;
	void *address;

	gm_client_clear(client);
	if (!region->address) {
		/*
		 * Without MAP_NORESERVE: a hugetlb mapping takes its pages from the pool's free
		 * ones here, or fails here, and not with SIGBUS at the first touch.
		 */
		address =
			mmap(NULL, region->size, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, 0);
		if (address == MAP_FAILED)
			return gm_fail_errno(client, errno, "mapping the region");
		region->address = address;
	}
	*ret_address = region->address;
	return 0;
}

int gmem_region_destroy(gmem_region *region)
{
	struct gmem_client *client = region->domain->client;
	uint64_t id = region->id;

	gm_client_clear(client);
	gm_region_unbind(region);
	gm_domain_remove_region(region->domain, region);
	gm_region_free(region);
	return client->provider->region_destroy(client, id);
}
