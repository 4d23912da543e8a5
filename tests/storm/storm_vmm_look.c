/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VMM can see of its memory, against what its VMs were told.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "storm_private.h"

/* What is left over in the other half may still be a worker's. */
#define PATIENCE_US UINT64_C(10000000)

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

struct cachestat_range {
	uint64_t offset;
	uint64_t length;
};

struct cachestat {
	uint64_t cached;
	uint64_t others[4];
};

static char difference[STORM_FAULT_MAX];

void vmm_fill(int private_fd, uint64_t page)
{
	(void)fallocate(private_fd, FALLOC_FL_KEEP_SIZE, (off_t)(page * STORM_PAGE), STORM_PAGE);
}

/* Is that page of the file there? -1: this kernel does not tell. */
static int is_there(int fd, uint64_t page)
{
	struct cachestat_range range = { page * STORM_PAGE, STORM_PAGE };
	struct cachestat found = { 0 };

	if (syscall(SYS_cachestat, fd, &range, &found, 0) < 0)
		return -1;
	return found.cached > 0;
}

struct look {
	const struct vmm_region *region;
	uint8_t states[VMM_PAGES_MAX];
};

static int take_run(void *arg, const struct gmem_page_run *run)
{
	struct look *look = arg;
	uint64_t first = run->offset / STORM_PAGE, n = run->length / STORM_PAGE;

	if (first + n > VMM_PAGES_MAX)
		return -1;
	memset(&look->states[first], run->state, n);
	return 0;
}

static bool is_state_right(const struct look *look, uint64_t page)
{
	int state = look->states[page];

	if (!look->region->is_private[page])
		return state == GMEM_PAGE_SHARED;
	if (look->region->populated[page])
		return state == GMEM_PAGE_MEASURED || state == GMEM_PAGE_UNMEASURED;
	return state == GMEM_PAGE_ABSENT || state == GMEM_PAGE_PRIVATE;
}

static bool page_is_right(const struct look *look, uint64_t page)
{
	const struct vmm_region *region = look->region;
	int shared = gmem_region_fd(region->region);
	uint64_t value;

	if (!is_state_right(look, page)) {
		(void)snprintf(difference, sizeof(difference),
			       "is %s in the page map, and %s to the VM%s",
			       gmem_page_state_name(look->states[page]),
			       region->is_private[page] ? "private" : "shared",
			       region->populated[page] ? ", and populated" : "");
		return false;
	}
	if (!region->in_place &&
	    is_there(region->is_private[page] ? shared : region->private_fd, page) > 0) {
		(void)snprintf(difference, sizeof(difference), "is %s and in the other half, too",
			       region->is_private[page] ? "private" : "shared");
		return false;
	}
	if (region->is_private[page])
		return true;
	value = region->words[page * STORM_PAGE / sizeof(value)];
	if (value == region->mark[page] ||
	    (!region->mark[page] &&
	     (value == region->old[page] || region->old[page] == VMM_ANYTHING)))
		return true;
	(void)snprintf(difference, sizeof(difference), "holds %" PRIx64 ", not %" PRIx64, value,
		       region->mark[page]);
	return false;
}

/* False: @difference says what differs. -1 in *ret: the daemon did not answer. */
static bool region_is_right(struct vmm *vmm, const struct vmm_region *region, int *ret)
{
	struct look look = { .region = region };
	struct gmem_region_info info;

	*ret = gmem_get_region(vmm->client, gmem_region_id(region->region), &info);
	if (*ret == 0)
		*ret = gmem_get_page_map(vmm->client, gmem_region_id(region->region), take_run,
					 &look);
	if (*ret < 0)
		return false;
	if (!info.bound || info.step[0] != '\0') {
		(void)snprintf(difference, sizeof(difference), ": bound %d, step %s", info.bound,
			       info.step);
		return false;
	}
	for (uint64_t page = 0; page < region->n_pages; page++) {
		char what[200];

		if (page_is_right(&look, page))
			continue;
		(void)snprintf(what, sizeof(what), "%.190s", difference);
		(void)snprintf(difference, sizeof(difference), "page %" PRIu64 " %s", page, what);
		return false;
	}
	return true;
}

static bool look_at(struct vmm *vmm, struct vmm_guest *guest, const struct vmm_region *region)
{
	uint64_t until_us = storm_now_us() + PATIENCE_US;
	int r;

	while (!region_is_right(vmm, region, &r)) {
		if (r < 0)
			return vmm_outcome(vmm, guest, r, "a look") == VMM_GONE;
		if (storm_now_us() > until_us) {
			storm_fail("VMM %u: domain %016" PRIx64 " (%s), region %016" PRIx64 ": %s",
				   vmm->index, guest->id, guest->kind,
				   gmem_region_id(region->region), difference);
			return false;
		}
		storm_nap_us(2000);
	}
	return true;
}

bool vmm_look(struct vmm *vmm)
{
	for (size_t i = 0; i < VMM_GUESTS; i++) {
		struct vmm_guest *guest = &vmm->guests[i];

		/* In a failed launch nobody knows what a page holds. */
		if (!guest->domain || guest->launch == VMM_FAILED)
			continue;
		for (size_t j = 0; j < VMM_REGIONS && !guest->gone; j++)
			if (guest->regions[j].region && !look_at(vmm, guest, &guest->regions[j]))
				return false;
	}
	/* It tells of an eviction that has not been heard of yet. */
	return gmem_ping(vmm->client) == 0;
}
