/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "storm.h"

bool storm_page_is_set(const struct storm_pages *pages, uint64_t page)
{
	return pages->words[page / 64] >> page % 64 & 1;
}

static void set_page(struct storm_pages *pages, uint64_t page, bool set)
{
	uint64_t bit = UINT64_C(1) << page % 64;

	if (set)
		pages->words[page / 64] |= bit;
	else
		pages->words[page / 64] &= ~bit;
}

void storm_pages_set(struct storm_pages *pages, const struct storm_range *range, bool set)
{
	uint64_t end = (range->offset + range->length) / STORM_PAGE;

	for (uint64_t page = range->offset / STORM_PAGE; page < end; page++)
		set_page(pages, page, set);
}

uint64_t storm_pages_count(const struct storm_pages *pages)
{
	uint64_t n = 0;

	for (size_t i = 0; i < GM_ARRAY_SIZE(pages->words); i++)
		n += gm_count_bits(pages->words[i]);
	return n;
}

static bool job_has_page(const struct storm_job *job, uint64_t page)
{
	uint64_t offset = page * STORM_PAGE;

	for (unsigned i = 0; i < job->n_ranges; i++)
		if (offset >= job->ranges[i].offset &&
		    offset - job->ranges[i].offset < job->ranges[i].length)
			return true;
	return false;
}

bool storm_pages_match(struct storm_region *region, const struct storm_pages *found, bool adopt,
		       char fault[STORM_FAULT_MAX])
{
	bool active = atomic_load(&region->job.active);

	for (uint64_t page = 0; page < region->size / STORM_PAGE; page++) {
		bool is = storm_page_is_set(found, page);
		bool was = storm_page_is_set(&region->pages, page);

		if (is == was)
			continue;
		if (!active || !job_has_page(&region->job, page)) {
			(void)snprintf(fault, STORM_FAULT_MAX,
				       "region %016" PRIx64 ": page %" PRIu64
				       " is %s, the model has "
				       "it %s (%s)",
				       region->id, page, is ? "shared" : "absent",
				       was ? "shared" : "absent",
				       active ? "outside the job's ranges" : "no job");
			return false;
		}
		if (adopt)
			set_page(&region->pages, page, is);
	}
	return true;
}

static void drop_marks(struct storm_region *region)
{
	for (unsigned i = 0; i < STORM_MARKS; i++) {
		struct storm_mark *mark = &region->marks[i];

		if (!job_has_page(&region->job, mark->page))
			continue;
		atomic_store(&mark->next, 0);
		atomic_store(&mark->value, 0);
	}
}

void storm_job_done(struct storm_region *region)
{
	struct storm_job *job = &region->job;

	if (!job->allocate)
		drop_marks(region);
	for (unsigned i = 0; i < job->n_ranges; i++)
		storm_pages_set(&region->pages, &job->ranges[i], job->allocate);
	atomic_store(&job->active, false);
}

void storm_job_forget_marks(struct storm_region *region)
{
	if (!region->job.allocate)
		drop_marks(region);
}

void storm_region_reset(struct storm_region *region)
{
	atomic_store(&region->state, STORM_FREE);
	atomic_store(&region->job.active, false);
	memset(&region->pages, 0, sizeof(region->pages));
	for (unsigned i = 0; i < STORM_MARKS; i++) {
		atomic_store(&region->marks[i].next, 0);
		atomic_store(&region->marks[i].value, 0);
	}
}

void storm_domain_reset(struct storm_domain *domain)
{
	atomic_store(&domain->state, STORM_FREE);
	atomic_store(&domain->attached, false);
	domain->memlock = 0;
	for (unsigned i = 0; i < STORM_REGIONS; i++)
		storm_region_reset(&domain->regions[i]);
}
