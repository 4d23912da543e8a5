/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storm over private memory: the clients are VMMs, and what they have dies with them. So each
 * compares what is its own, and the conductor the sums.
 *
 * A VMM knows what its VM has been told, because all requests to KVM pass through it (ioctl()):
 * that is the truth which the daemon's page map is compared with. Where the daemon converts in
 * place, it is what the daemon has said it has done. KVM is the host's own where it has
 * software-protected VMs, or the platform model where $GM_PLATFORM is set, which has launches too.
 */
#ifndef STORM_PRIVATE_H
#define STORM_PRIVATE_H

#include "gmem.h"
#include "storm_check.h"

#define VMM_GUESTS 2
#define VMM_REGIONS 3
#define VMM_PAGES_MAX 256
#define VMM_RANGES 24 /* more than libgmem reports without waiting for the answer */
#define VMM_ANYTHING UINT64_MAX
#define VMM_REGION_STEP ((uint64_t)VMM_PAGES_MAX * STORM_PAGE)

/* What a VMM has when it halts. */
struct vmm_sums {
	atomic_uint domains;
	atomic_uint regions;
	atomic_uint files; /* of regions */
	atomic_uint vms;
	atomic_uint sources; /* at most: the next daemon has none */
	atomic_ullong bytes;
};

#define WORLD_EVICTED_MAX 256

/* Beside struct storm. */
struct storm_world {
	struct vmm_sums sums[STORM_CLIENTS_MAX];
	atomic_int die_in[STORM_CLIENTS_MAX]; /* a request to KVM that its VMM does not survive */
	atomic_uint n_evicted;
	atomic_ullong evicted[WORLD_EVICTED_MAX]; /* ids of domains */
	atomic_ullong conversions;
	atomic_ullong launches; /* that were finished */
	bool has_launches;
};

extern struct storm_world *world;

/* ---- storm_vmm.c: guests, and what is done to them */

struct vmm_region {
	gmem_region *region;
	uint64_t gpa;
	uint64_t n_pages;
	int private_fd; /* the library's */
	bool in_place;	/* that is all there is: the daemon converts it */
	volatile uint64_t *words;
	bool is_private[VMM_PAGES_MAX]; /* by what the VM was told */
	bool populated[VMM_PAGES_MAX];
	uint64_t mark[VMM_PAGES_MAX]; /* first word of the shared page */
	/*
	 * What was there before and has not been freed by the VMM: it may still be there. What was
	 * converted in place may hold anything.
	 */
	uint64_t old[VMM_PAGES_MAX];
};

enum vmm_launch {
	VMM_RUNS, /* also without a launch */
	VMM_OPEN,
	VMM_FAILED,
};

struct vmm_guest {
	gmem_domain *domain; /* NULL: none */
	uint64_t id;
	bool gone; /* evicted: the handle alone is left */
	const char *kind;
	bool is_td;
	enum vmm_launch launch;
	int vm;
	int vcpu;
	gmem_source *source;
	struct vmm_region regions[VMM_REGIONS];
};

struct vmm {
	unsigned index;
	struct storm_client *shared;
	struct storm_rng rng;
	gmem_client *client;
	struct vmm_guest guests[VMM_GUESTS];
};

void storm_vmm_run(unsigned index) __attribute__((noreturn));

/* ---- storm_vmm_guest.c */

bool vmm_guest_open(struct vmm *vmm, struct vmm_guest *guest);
bool vmm_guest_close(struct vmm *vmm, struct vmm_guest *guest);
/* Populates a part of it, finishes its launch, or gives it up. */
bool vmm_guest_launch(struct vmm *vmm, struct vmm_guest *guest);
/* Good: it was done. Gone: the guest was evicted, and that is in order. Otherwise the storm fails.
 */
enum vmm_outcome {
	VMM_GOOD,
	VMM_GONE,
	VMM_BAD
};
enum vmm_outcome vmm_outcome(struct vmm *vmm, struct vmm_guest *guest, int r, const char *what);

/* ---- storm_vmm_look.c */

/* The guest touches a private page. */
void vmm_fill(int private_fd, uint64_t page);

/* Page map, shared contents, and that no page is in both halves. */
bool vmm_look(struct vmm *vmm);

/* ---- storm_world.c: the conductor's side */

bool storm_world_make(void);
/* Evicts somebody's domain. */
void storm_world_evict(struct storm_rng *rng);
bool storm_world_resolve(unsigned index, pid_t pid);
bool storm_world_compare(const struct storm_host *host, unsigned n_sessions, uint64_t *ret_us);

#endif
