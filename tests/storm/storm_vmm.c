/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VMM with private memory: what its VMs are told, what it does next, and when it dies.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "storm_private.h"

#define PATIENCE_MS 20000

struct memory_attributes {
	uint64_t address;
	uint64_t size;
	uint64_t attributes;
	uint64_t flags;
};

#define SET_MEMORY_ATTRIBUTES _IOW(KVMIO, 0xd2, struct memory_attributes)
#define CREATE_GUEST_MEMFD UINT32_C(0xc040aed4)

static struct vmm self;
static int last_memory = -1;

/* ---- requests to KVM ---- */

static void note_page(struct vmm_region *region, uint64_t page, bool is_private)
{
	/* The half that is given up goes, and what it held. */
	if (is_private && region->mark[page] && !region->in_place)
		region->old[page] = region->mark[page];
	if (region->is_private[page] != is_private)
		region->mark[page] = 0;
	if (!is_private)
		region->populated[page] = false;
	region->is_private[page] = is_private;
}

static void note_attributes(int vm, const struct memory_attributes *set)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(self.guests); i++) {
		struct vmm_guest *guest = &self.guests[i];
		uint64_t at = set->address / STORM_PAGE;

		if (!guest->domain || guest->vm != vm)
			continue;
		for (uint64_t end = at + set->size / STORM_PAGE; at < end; at++)
			note_page(&guest->regions[at / VMM_PAGES_MAX], at % VMM_PAGES_MAX,
				  set->attributes != 0);
	}
}

/* The daemon has done it. */
static void note_converted(struct vmm_region *region, const struct gmem_range *ranges, size_t n,
			   bool is_private)
{
	for (size_t i = 0; i < n; i++)
		for (uint64_t page = ranges[i].offset / STORM_PAGE;
		     page < (ranges[i].offset + ranges[i].length) / STORM_PAGE; page++) {
			if (region->is_private[page] != is_private)
				region->old[page] = VMM_ANYTHING;
			note_page(region, page, is_private);
		}
}

static void die_if_told(void)
{
	if (self.shared && atomic_load(&world->die_in[self.index]) > 0 &&
	    atomic_fetch_sub(&world->die_in[self.index], 1) == 1)
		(void)raise(SIGKILL);
}

/* All of this program's come by here, and go on to the model or the kernel. */
int ioctl(int fd, unsigned long request, ...)
{
	static int (*next)(int fd, unsigned long request, void *arg);
	bool counts = request == SET_MEMORY_ATTRIBUTES || request == CREATE_GUEST_MEMFD ||
		      request == KVM_MEMORY_ENCRYPT_OP;
	va_list args;
	void *arg;
	int r;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (!next)
		next = (int (*)(int, unsigned long, void *))(uintptr_t)dlsym(RTLD_NEXT, "ioctl");
	if (counts)
		die_if_told();
	r = next(fd, request, arg);
	if (r >= 0 && request == SET_MEMORY_ATTRIBUTES)
		note_attributes(fd, arg);
	if (r >= 0 && request == CREATE_GUEST_MEMFD)
		last_memory = r;
	if (counts)
		die_if_told();
	return r;
}

static void note_hole(int fd, uint64_t first, uint64_t n)
{
	for (size_t i = 0; i < VMM_GUESTS * VMM_REGIONS; i++) {
		struct vmm_guest *guest = &self.guests[i / VMM_REGIONS];
		struct vmm_region *region = &guest->regions[i % VMM_REGIONS];

		if (guest->domain && region->region && gmem_region_fd(region->region) == fd)
			memset(&region->old[first], 0, n * sizeof(region->old[0]));
	}
}

/*
 * A VMM that is in a hurry leaves it to the daemon to free the half that it gives up. The daemon
 * does, unless the page has come back before it heard of it.
 */
int fallocate(int fd, int mode, off_t offset, off_t length)
{
	static int (*next)(int fd, int mode, off_t offset, off_t length);

	if (!next)
		next = (int (*)(int, int, off_t, off_t))(uintptr_t)dlsym(RTLD_NEXT, "fallocate");
	if (mode & FALLOC_FL_PUNCH_HOLE) {
		if (storm_chance(&self.rng, 15))
			return 0;
		note_hole(fd, (uint64_t)offset / STORM_PAGE, (uint64_t)length / STORM_PAGE);
	}
	return next(fd, mode, offset, length);
}

/* ---- the session ---- */

static bool was_evicted(uint64_t id)
{
	for (unsigned i = 0; i < WORLD_EVICTED_MAX; i++)
		if (atomic_load(&world->evicted[i]) == id)
			return true;
	return false;
}

static void lose(gmem_domain *domain)
{
	uint64_t id = gmem_domain_id(domain);

	if (!was_evicted(id))
		storm_fail("VMM %u: domain %016" PRIx64 " was lost, and nobody evicted it",
			   self.index, id);
	for (size_t i = 0; i < GM_ARRAY_SIZE(self.guests); i++)
		if (self.guests[i].domain && self.guests[i].id == id)
			self.guests[i].gone = true;
}

static void on_event(void *arg, int type, gmem_domain *domain, uint64_t value)
{
	(void)arg;
	if (type == GMEM_EVENT_RECONNECTED) {
		atomic_fetch_add(&self.shared->resumed, 1);
		if (value == 0)
			storm_fail("VMM %u: its session was not resumed", self.index);
	} else if (type == GMEM_EVENT_DISCONNECTED) {
		storm_fail("VMM %u: libgmem has given up", self.index);
	} else if (type == GMEM_EVENT_DOMAIN_LOST || type == GMEM_EVENT_DOMAIN_EVICTED) {
		lose(domain);
	}
}

static bool connect_to_gmemd(void)
{
	const struct gmem_connect_spec spec = { .name = "storm/vmm",
						.timeout_ms = PATIENCE_MS,
						.reconnect_ms = PATIENCE_MS };
	uint64_t until_us = storm_now_us() + (uint64_t)PATIENCE_MS * 1000;

	while (gmem_connect(storm->sockets[storm_tenant_of(self.index)], &spec, &self.client) !=
	       0) {
		atomic_fetch_add(&self.shared->sessions, 1);
		if (storm_now_us() > until_us) {
			storm_fail("VMM %u: there is no daemon", self.index);
			return false;
		}
		storm_nap_us(1000);
	}
	gmem_client_on_event(self.client, on_event, NULL);
	return true;
}

/* ---- what it does ---- */

enum vmm_outcome vmm_outcome(struct vmm *vmm, struct vmm_guest *guest, int r, const char *what)
{
	const struct gmem_error *error = gmem_error(vmm->client);

	atomic_fetch_add(&vmm->shared->requests, 1);
	atomic_fetch_add(&vmm->shared->answers, 1);
	if (r == 0)
		return VMM_GOOD;
	if (guest && r != -GMEM_BUSY && (guest->gone || was_evicted(guest->id))) {
		guest->gone = true;
		return VMM_GONE;
	}
	storm_fail("VMM %u: %s of domain %016" PRIx64 " (%s): %s", vmm->index, what,
		   guest ? guest->id : 0, guest && guest->kind ? guest->kind : "-", error->text);
	return VMM_BAD;
}

static struct vmm_region *pick_region(struct vmm_guest *guest)
{
	size_t first = storm_pick(&self.rng, VMM_REGIONS);

	for (size_t i = 0; i < VMM_REGIONS; i++) {
		struct vmm_region *region = &guest->regions[(first + i) % VMM_REGIONS];

		if (region->region)
			return region;
	}
	return NULL;
}

/* In place nothing is set: all pages are private from the start. */
static bool look_at_binding(struct vmm_region *region)
{
	void *at;

	if (gmem_region_map(region->region, &at) < 0) {
		storm_fail("VMM %u: a region cannot be mapped", self.index);
		return false;
	}
	region->words = at;
	region->in_place = !region->is_private[0];
	if (region->in_place)
		memset(region->is_private, true, region->n_pages);
	return true;
}

static bool add_region(struct vmm_guest *guest)
{
	size_t index = storm_pick(&self.rng, VMM_REGIONS);
	struct vmm_region *region = &guest->regions[index];
	struct gmem_region_spec spec = { .gpa = index * VMM_REGION_STEP };
	enum vmm_outcome outcome;

	if (region->region)
		return true;
	*region = (struct vmm_region){
		.gpa = spec.gpa,
		.n_pages = 1 + storm_pick(&self.rng, VMM_PAGES_MAX),
	};
	spec.size = region->n_pages * STORM_PAGE;
	outcome =
		vmm_outcome(&self, guest, gmem_region_create(guest->domain, &spec, &region->region),
			    "REGION_CREATE");
	if (outcome != VMM_GOOD) {
		region->region = NULL;
		return outcome != VMM_BAD;
	}
	region->private_fd = last_memory;
	outcome = vmm_outcome(&self, guest, gmem_region_bind(region->region, (uint32_t)index),
			      "REGION_BIND");
	return outcome == VMM_GOOD ? look_at_binding(region) : outcome != VMM_BAD;
}

static bool remove_region(struct vmm_guest *guest, struct vmm_region *region)
{
	enum vmm_outcome outcome;

	/* What the firmware has measured must stay, or it does not finish. */
	for (uint64_t page = 0; guest->launch == VMM_OPEN && page < region->n_pages; page++)
		if (region->populated[page])
			return true;
	outcome = vmm_outcome(&self, guest, gmem_region_destroy(region->region), "REGION_DESTROY");
	if (outcome == VMM_GOOD)
		*region = (struct vmm_region){ .private_fd = -1 };
	return outcome != VMM_BAD;
}

/* Disjoint, in any order. */
static size_t draw_ranges(const struct vmm_region *region, struct gmem_range *ranges)
{
	size_t n = storm_chance(&self.rng, 20) ? 1 + storm_pick(&self.rng, VMM_RANGES) : 1;
	uint64_t part;

	n = gm_min_u64(n, region->n_pages);
	part = region->n_pages / n;
	for (size_t i = 0; i < n; i++) {
		uint64_t first = storm_pick(&self.rng, part);
		uint64_t length = 1 + storm_pick(&self.rng, part - first);

		ranges[n - 1 - i] =
			(struct gmem_range){ (i * part + first) * STORM_PAGE, length * STORM_PAGE };
	}
	return n;
}

/* What was populated is not given away before the guest runs. */
static bool may_convert(const struct vmm_guest *guest, const struct vmm_region *region,
			const struct gmem_range *ranges, size_t n)
{
	for (size_t i = 0; i < n && guest->launch != VMM_RUNS; i++)
		for (uint64_t page = ranges[i].offset / STORM_PAGE;
		     page < (ranges[i].offset + ranges[i].length) / STORM_PAGE; page++)
			if (region->populated[page])
				return false;
	return true;
}

static bool convert(struct vmm_guest *guest, struct vmm_region *region)
{
	struct gmem_range ranges[VMM_RANGES];
	size_t n = draw_ranges(region, ranges);
	int to = storm_chance(&self.rng, 50) ? GMEM_PAGE_SHARED : GMEM_PAGE_PRIVATE;
	enum vmm_outcome outcome;

	/* In place a page that has been shared cannot be populated any more. */
	if ((region->in_place && guest->launch != VMM_RUNS) ||
	    !may_convert(guest, region, ranges, n))
		return true;
	atomic_fetch_add(&world->conversions, 1);
	outcome = vmm_outcome(&self, guest, gmem_region_convert(region->region, ranges, n, to),
			      "CONVERT");
	if (outcome == VMM_GOOD && region->in_place)
		note_converted(region, ranges, n, to == GMEM_PAGE_PRIVATE);
	return outcome != VMM_BAD;
}

static bool is_uniform(const struct vmm_region *region, uint64_t first, uint64_t n)
{
	for (uint64_t page = first; page < first + n; page++)
		if (region->populated[page] ||
		    region->is_private[page] != region->is_private[first])
			return false;
	return true;
}

/* ALLOCATE or DISCARD of pages that are all in one half. */
static bool run_job(struct vmm_guest *guest, struct vmm_region *region)
{
	uint64_t first = storm_pick(&self.rng, region->n_pages), n = 1;
	struct gmem_range range;
	enum vmm_outcome outcome;
	int r;

	while (n < 64 && first + n < region->n_pages && is_uniform(region, first, n + 1))
		n++;
	if (!is_uniform(region, first, n))
		return true;
	range = (struct gmem_range){ first * STORM_PAGE, n * STORM_PAGE };
	if (storm_chance(&self.rng, 50)) {
		r = gmem_region_allocate(region->region, &range, 1, NULL, NULL);
		return vmm_outcome(&self, guest, r, "ALLOCATE") != VMM_BAD;
	}
	r = gmem_region_discard(region->region, &range, 1, NULL, NULL);
	outcome = vmm_outcome(&self, guest, r, "DISCARD");
	if (outcome == VMM_GOOD && !region->is_private[first]) {
		memset(&region->mark[first], 0, n * sizeof(region->mark[0]));
		memset(&region->old[first], 0, n * sizeof(region->old[0]));
	}
	return outcome != VMM_BAD;
}

/* As the guest and its devices do: it costs the daemon nothing. */
static void touch(struct vmm_region *region)
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t page = storm_pick(&self.rng, region->n_pages);
		uint64_t value = storm_random(&self.rng) | 1;

		if (region->is_private[page]) {
			vmm_fill(region->private_fd, page);
		} else {
			region->words[page * STORM_PAGE / sizeof(value)] = value;
			region->mark[page] = value;
		}
	}
}

static bool use_region(struct vmm_guest *guest, struct vmm_region *region)
{
	uint64_t dice = storm_pick(&self.rng, 100);

	touch(region);
	if (dice < 70)
		return convert(guest, region);
	if (dice < 90)
		return run_job(guest, region);
	return dice >= 95 || remove_region(guest, region);
}

static bool use_guest(struct vmm_guest *guest)
{
	uint64_t dice = storm_pick(&self.rng, 100);
	struct vmm_region *region = pick_region(guest);

	if (guest->gone || guest->launch == VMM_FAILED || dice < 2)
		return vmm_guest_close(&self, guest);
	if (!region || dice < 10)
		return add_region(guest);
	if (guest->launch == VMM_OPEN && dice < 35)
		return vmm_guest_launch(&self, guest);
	return use_region(guest, region);
}

/* ---- its life ---- */

static bool step(void)
{
	struct vmm_guest *guest = &self.guests[storm_pick(&self.rng, VMM_GUESTS)];

	/* For what the daemon tells without being asked. */
	(void)gmem_dispatch(self.client);
	(void)snprintf(self.shared->doing, sizeof(self.shared->doing), "guest %d (%s)",
		       (int)(guest - self.guests), guest->kind ? guest->kind : "none");
	return guest->domain ? use_guest(guest) : vmm_guest_open(&self, guest);
}

static void add_up(void)
{
	struct vmm_sums *sums = &world->sums[self.index];
	unsigned domains = 0, regions = 0, files = 0, vms = 0, sources = 0;
	uint64_t bytes = 0;

	for (size_t i = 0; i < GM_ARRAY_SIZE(self.guests); i++) {
		const struct vmm_guest *guest = &self.guests[i];

		vms += guest->domain != NULL;
		domains += guest->domain && !guest->gone;
		sources += guest->domain && guest->source;
		for (size_t j = 0; guest->domain && !guest->gone && j < VMM_REGIONS; j++) {
			const struct vmm_region *region = &guest->regions[j];

			regions += region->region != NULL;
			files += region->region ? 2 - region->in_place : 0;
			bytes += region->n_pages * STORM_PAGE;
		}
	}
	atomic_store(&sums->domains, domains);
	atomic_store(&sums->regions, regions);
	atomic_store(&sums->files, files);
	atomic_store(&sums->vms, vms);
	atomic_store(&sums->sources, sources);
	atomic_store(&sums->bytes, bytes);
}

static bool halt(void)
{
	unsigned round = atomic_load(&storm->round);

	(void)snprintf(self.shared->doing, sizeof(self.shared->doing), "looking");
	if (!vmm_look(&self))
		return false;
	add_up();
	(void)snprintf(self.shared->doing, sizeof(self.shared->doing), "waiting");
	atomic_store(&self.shared->halted, round);
	while (atomic_load(&storm->phase) == STORM_HALT && atomic_load(&storm->round) == round)
		storm_nap_us(500);
	return true;
}

static bool end(void)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(self.guests); i++)
		if (self.guests[i].domain && !vmm_guest_close(&self, &self.guests[i]))
			return false;
	add_up();
	gmem_disconnect(self.client);
	return true;
}

static bool live(void)
{
	bool good = connect_to_gmemd();

	while (good && !atomic_load(&storm->failed)) {
		switch (atomic_load(&storm->phase)) {
		case STORM_RUN:
			good = step();
			break;
		case STORM_HALT:
			good = halt();
			break;
		default:
			return end();
		}
	}
	return false;
}

void storm_vmm_run(unsigned index)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	self.index = index;
	self.shared = &storm->clients[index];
	self.rng.state = storm->seed ^ (uint64_t)(index + 1) << 32 ^
			 (uint64_t)atomic_load(&self.shared->incarnation) << 48;
	_exit(live() ? 0 : 1);
}
