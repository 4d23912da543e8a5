/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client compares what it has with the model.
 */
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "gm_fd.h"
#include "storm_client.h"

static struct storm_pages found;

static bool differs(const struct storm_self *self, const struct storm_domain *domain,
		    const char *what, uint64_t is, uint64_t wanted)
{
	if (is == wanted)
		return false;
	storm_fail("client %u: domain %s: %s is %" PRIu64 ", the model says %" PRIu64, self->index,
		   domain->name, what, is, wanted);
	return true;
}

static bool read_map(struct storm_self *self, struct storm_domain *domain,
		     struct storm_region *region, bool adopt)
{
	struct storm_op op = {
		.verb = STORM_REGION_MAP, .domain = domain, .region = region, .pages = &found
	};
	char fault[STORM_FAULT_MAX];

	memset(&found, 0, sizeof(found));
	if (!storm_self_run(self, &op, 1))
		return false;
	if (storm_pages_match(region, &found, adopt, fault))
		return true;
	storm_fail("client %u: domain %s: %s", self->index, domain->name, fault);
	return false;
}

bool storm_look_after_job(struct storm_self *self, struct storm_domain *domain,
			  struct storm_region *region)
{
	if (!read_map(self, domain, region, true))
		return false;
	storm_job_forget_marks(region);
	atomic_store(&region->job.active, false);
	return true;
}

static bool look_at_mark(struct storm_self *self, struct storm_domain *domain,
			 struct storm_region *region, struct storm_mark *mark)
{
	const struct storm_place *place = storm_place_of(self, domain, region);
	uint64_t value = atomic_load(&mark->value), next = atomic_load(&mark->next);
	const volatile uint64_t *at;
	uint64_t is;

	if (!value && !next)
		return true;
	at = (const volatile uint64_t *)(const void *)(place->at + mark->page * STORM_PAGE);
	is = at[mark->page % 512];
	if (is != value && is != next && !(next && !value)) {
		storm_fail("client %u: domain %s: region %016" PRIx64 ": page %" PRIu64
			   " has the contents %016" PRIx64 ", %016" PRIx64 " were written",
			   self->index, domain->name, region->id, mark->page, is, value);
		return false;
	}
	/* A client that was killed while it wrote. */
	if (next) {
		atomic_store(&mark->value, 0);
		atomic_store(&mark->next, 0);
	}
	return true;
}

bool storm_look_at_marks(struct storm_self *self, struct storm_domain *domain)
{
	for (unsigned i = 0; i < STORM_REGIONS; i++) {
		struct storm_region *region = &domain->regions[i];

		for (unsigned j = 0; storm_is(&region->state, STORM_LIVE) && j < STORM_MARKS; j++)
			if (!look_at_mark(self, domain, region, &region->marks[j]))
				return false;
	}
	return true;
}

/* The fd that the daemon has is the one that we have. */
static bool look_at_region(struct storm_self *self, struct storm_domain *domain,
			   struct storm_region *region)
{
	const struct storm_place *place = storm_place_of(self, domain, region);
	struct storm_op op = { .verb = STORM_REGION_GET, .domain = domain, .region = region };
	struct stat file;

	if (!storm_self_run(self, &op, 1))
		return false;
	if (op.fd >= 0) {
		bool same = fstat(op.fd, &file) == 0 && file.st_ino == place->inode;

		gm_fd_close(op.fd);
		if (!same) {
			storm_fail("client %u: domain %s: region %016" PRIx64 " has other memory",
				   self->index, domain->name, region->id);
			return false;
		}
	}
	return read_map(self, domain, region, false) &&
	       !differs(self, domain, "allocated", op.allocated,
			storm_pages_count(&region->pages) * STORM_PAGE);
}

static bool look_at_domain(struct storm_self *self, struct storm_domain *domain)
{
	struct storm_op op = { .verb = STORM_DOMAIN_GET, .domain = domain };
	uint64_t reserved = 0, n_regions = 0;

	if (!storm_self_run(self, &op, 1))
		return false;
	for (unsigned i = 0; i < STORM_REGIONS; i++) {
		struct storm_region *region = &domain->regions[i];

		if (!storm_is(&region->state, STORM_LIVE))
			continue;
		n_regions++;
		reserved += region->size;
		if (!look_at_region(self, domain, region))
			return false;
	}
	return !differs(self, domain, "attached", op.attached, 1) &&
	       !differs(self, domain, "reserved", op.bytes, reserved) &&
	       !differs(self, domain, "regions", op.n_regions, n_regions);
}

bool storm_look(struct storm_self *self)
{
	size_t first = storm_pick(&self->rng, STORM_DOMAINS_MAX);
	bool looked = false;

	for (size_t i = 0; i < STORM_DOMAINS_MAX; i++) {
		struct storm_domain *domain = &storm->domains[(first + i) % STORM_DOMAINS_MAX];

		if (!storm_is_held(self, domain))
			continue;
		if (!storm_look_at_marks(self, domain))
			return false;
		/* The conductor looks at all of them; one is asked for here, with its memory. */
		if (!looked && !look_at_domain(self, domain))
			return false;
		looked = true;
	}
	return true;
}
