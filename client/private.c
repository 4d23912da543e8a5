/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private memory, as the program sees it: the VM that it belongs to, and conversions, asked for by
 * the program or by its guest.
 */
#include <errno.h>
#include <inttypes.h>

#include "client.h"
#include "gm_check.h"
#include "gm_verdict.h"
#include "gm_version.h"
#include "vm.h"

int gmem_vm_adopt(gmem_domain *domain, int vm_fd)
{
	struct gmem_client *client = domain->client;

	gm_client_clear(client);
	if (domain->regions)
		return gm_fail(client, GMEM_WRONG_STATE, 0,
			       "The domain has regions already: a VM is adopted before the first.");
	if (gm_vm_check(vm_fd) < 0)
		return gm_fail(client, GMEM_INVALID, GM_RULE_FD,
			       "File descriptor %d is no VM of KVM (fd).", vm_fd);
	domain->vm_fd = vm_fd;
	return 0;
}

static struct gm_vm_slot slot_of(const struct gmem_region *region)
{
	return (struct gm_vm_slot){
		.slot = region->slot,
		.gpa = region->gpa,
		.size = region->size,
		.address = region->address,
		.private_fd = region->private_fd,
		.in_place = region->in_place,
	};
}

int gm_region_bind(struct gmem_region *region, uint32_t slot)
{
	struct gm_vm_slot wanted;
	int r;

	region->slot = slot;
	wanted = slot_of(region);
	r = gm_vm_bind(region->domain->vm_fd, &wanted);
	region->bound = r == 0;
	return r;
}

void gm_region_unbind(struct gmem_region *region)
{
	const struct gm_vm_slot slot = slot_of(region);

	if (region->bound)
		gm_vm_unbind(region->domain->vm_fd, &slot);
	region->bound = false;
}

int gmem_region_bind(gmem_region *region, uint32_t slot)
{
	struct gmem_client *client = region->domain->client;
	void *address;
	int r;

	r = gmem_region_map(region, &address);
	if (r < 0)
		return r;
	return client->provider->region_bind(region, slot);
}

static int convert(struct gmem_region *region, const struct gmem_range *ranges, size_t n_ranges,
		   bool to_private)
{
	struct gmem_client *client = region->domain->client;
	const struct gmem_range all = { .offset = 0, .length = region->size };

	if (n_ranges)
		return client->provider->region_convert(region, ranges, n_ranges, to_private);
	return client->provider->region_convert(region, &all, 1, to_private);
}

int gmem_region_convert(gmem_region *region, const struct gmem_range *ranges, size_t n_ranges,
			int to)
{
	struct gmem_client *client = region->domain->client;

	gm_client_clear(client);
	if (to != GMEM_PAGE_SHARED && to != GMEM_PAGE_PRIVATE)
		return gm_fail(client, GMEM_INVALID, GM_RULE_FLAGS,
			       "Pages are made shared or private, not \"%s\" (flags).",
			       gmem_page_state_name(to));
	return convert(region, ranges, n_ranges, to == GMEM_PAGE_PRIVATE);
}

/* ---- what a guest asks for */

static struct gmem_region *region_at(const struct gmem_domain *domain, uint64_t gpa)
{
	struct gmem_region *region = domain->regions;

	while (region && !(gpa >= region->gpa && gpa - region->gpa < region->size))
		region = region->next;
	return region;
}

static int fail_outside(struct gmem_client *client, uint64_t gpa)
{
	return gm_fail(client, GMEM_INVALID, GM_RULE_ADDRESS,
		       "No region of the domain has the guest-physical address %#" PRIx64
		       " (address).",
		       gpa);
}

/* All of it must be there before any of it is converted. */
static int check_covered(const struct gmem_domain *domain, uint64_t gpa, uint64_t size)
{
	uint64_t end;

	if (size == 0 || !gm_is_aligned(gpa | size, GM_PAGE_4K) ||
	    gm_add_overflows(gpa, size, &end))
		return gm_fail(domain->client, GMEM_INVALID, GM_RULE_OFFSET,
			       "The guest's range at %#" PRIx64 " of %" PRIu64
			       " bytes is not made of pages (offset).",
			       gpa, size);
	while (gpa < end) {
		const struct gmem_region *region = region_at(domain, gpa);

		if (!region)
			return fail_outside(domain->client, gpa);
		gpa = region->gpa + region->size;
	}
	return 0;
}

/* A range of the guest's, region by region. */
static int convert_span(struct gmem_domain *domain, uint64_t gpa, uint64_t size, bool to_private)
{
	struct gmem_client *client = domain->client;
	uint64_t domain_id = domain->id;
	int r;

	r = check_covered(domain, gpa, size);
	while (r == 0 && size > 0) {
		struct gmem_range part;
		struct gmem_region *region;

		/* An event during the wait may have made the program drop them. */
		domain = gm_client_find_domain(client, domain_id);
		region = domain ? region_at(domain, gpa) : NULL;
		if (!region)
			return fail_outside(client, gpa);
		part.offset = gpa - region->gpa;
		part.length = gm_min_u64(size, region->size - part.offset);
		gpa += part.length;
		size -= part.length;
		r = convert(region, &part, 1, to_private);
	}
	return r;
}

static int fail_other_exit(struct gmem_client *client, const char *wanted)
{
	return gm_fail(client, GMEM_UNSUPPORTED, 0, "The guest did not leave with %s.", wanted);
}

int gmem_handle_memory_fault(gmem_domain *domain, struct kvm_run *run)
{
	struct gmem_client *client = domain->client;
	bool to_private;
	uint64_t size;
	uint64_t gpa;

	gm_client_clear(client);
	if (!gm_vm_read_fault(run, &gpa, &size, &to_private))
		return fail_other_exit(client, "KVM_EXIT_MEMORY_FAULT");
	return convert_span(domain, gpa, size, to_private);
}

int gmem_handle_map_gpa_range(gmem_domain *domain, struct kvm_run *run)
{
	struct gmem_client *client = domain->client;
	struct gm_vm_map map;
	uint64_t size;
	int r;

	gm_client_clear(client);
	if (!gm_vm_read_map(run, &map))
		return fail_other_exit(client, "the hypercall KVM_HC_MAP_GPA_RANGE");
	/* What does not fit is no size: it is refused as 0 is. */
	if (__builtin_mul_overflow(map.n_pages, GM_PAGE_4K, &size))
		size = 0;
	r = convert_span(domain, map.gpa, size, map.to_private);
	gm_vm_answer_map(run, r);
	return r;
}
