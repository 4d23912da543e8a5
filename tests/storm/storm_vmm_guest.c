/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest from its VM to its end, and its launch if its kind has one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <gmem_kinds.h>

#include "gm_cleanup.h"
#include "storm_private.h"

#define VM_SW_PROTECTED 1UL
#define VM_SNP 4UL
#define VM_TD 5UL

#define SOURCE_PAGES 16
#define PATIENCE_US UINT64_C(10000000)

/* struct kvm_tdx_cmd */
struct tdx_command {
	uint32_t id;
	uint32_t flags;
	uint64_t data;
	uint64_t hw_error;
};

#define TDX_INIT_VCPU 2

/*
 * A VM is gone when gmemd, its keeper and the process that closes big files for it have closed what
 * they had of it, which is after the answer. On a busy host many may be waiting for that.
 */
static int open_vm(unsigned long type)
{
	_gm_close_ int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	uint64_t until_us = storm_now_us() + PATIENCE_US;
	int vm = ioctl(kvm, KVM_CREATE_VM, type);

	while (vm < 0 && errno == ENOMEM && storm_now_us() < until_us) {
		storm_nap_us(5000);
		vm = ioctl(kvm, KVM_CREATE_VM, type);
	}
	return vm;
}

static bool forget(struct vmm_guest *guest)
{
	gm_fd_close(guest->vcpu);
	gm_fd_close(guest->vm);
	*guest = (struct vmm_guest){ .vm = -1, .vcpu = -1 };
	return true;
}

static bool make_vcpu(struct vmm *vmm, struct vmm_guest *guest)
{
	struct tdx_command init = { .id = TDX_INIT_VCPU };

	guest->vcpu = ioctl(guest->vm, KVM_CREATE_VCPU, 0UL);
	if (guest->vcpu >= 0 && ioctl(guest->vcpu, KVM_MEMORY_ENCRYPT_OP, &init) == 0)
		return vmm_outcome(vmm, guest, gmem_launch_set_vcpu(guest->domain, 0, guest->vcpu),
				   "set_vcpu") != VMM_BAD;
	storm_fail("VMM %u: no vCPU: %m", vmm->index);
	return false;
}

static bool start_launch(struct vmm *vmm, struct vmm_guest *guest)
{
	const struct gmem_snp_start snp = { .policy = 0x30000, .ghcb_version = 2 };
	const struct gmem_tdx_start td = { .xfam = 3 };
	enum vmm_outcome outcome;
	int r;

	r = guest->is_td ? gmem_launch_start(guest->domain, &td, sizeof(td))
			 : gmem_launch_start(guest->domain, &snp, sizeof(snp));
	outcome = vmm_outcome(vmm, guest, r, "LAUNCH_START");
	if (outcome != VMM_GOOD)
		return outcome != VMM_BAD;
	guest->launch = VMM_OPEN;
	return !guest->is_td || make_vcpu(vmm, guest);
}

bool vmm_guest_open(struct vmm *vmm, struct vmm_guest *guest)
{
	struct gmem_domain_spec spec = { .kind = "sw-protected" };
	unsigned long type = VM_SW_PROTECTED;
	unsigned n_evicted;
	int vm, r;

	if (world->has_launches && storm_chance(&vmm->rng, 60)) {
		type = storm_chance(&vmm->rng, 50) ? VM_SNP : VM_TD;
		spec.kind = type == VM_TD ? "tdx" : "snp";
	}
	vm = open_vm(type);
	if (vm < 0) {
		storm_fail("VMM %u: no VM of type %lu: %m", vmm->index, type);
		return false;
	}
	*guest = (struct vmm_guest){
		.vm = vm, .vcpu = -1, .kind = spec.kind, .is_td = type == VM_TD
	};
	n_evicted = atomic_load(&world->n_evicted);
	r = gmem_domain_create(vmm->client, &spec, &guest->domain);
	/* It may be evicted before the answer, which was lost with the daemon, is asked for again.
	 */
	if (r == -GMEM_NO_SUCH_OBJECT && atomic_load(&world->n_evicted) != n_evicted)
		return forget(guest);
	if (vmm_outcome(vmm, NULL, r, "DOMAIN_CREATE") != VMM_GOOD)
		return false;
	guest->id = gmem_domain_id(guest->domain);
	r = gmem_vm_adopt(guest->domain, vm);
	if (vmm_outcome(vmm, guest, r, "gmem_vm_adopt") != VMM_GOOD)
		return false;
	return type == VM_SW_PROTECTED || start_launch(vmm, guest);
}

bool vmm_guest_close(struct vmm *vmm, struct vmm_guest *guest)
{
	/* The handle goes in any case. */
	int r = gmem_domain_destroy(guest->domain);

	return vmm_outcome(vmm, guest, r, "DOMAIN_DESTROY") != VMM_BAD && forget(guest);
}

/* ---- launches ---- */

static bool is_free(const struct vmm_region *region, uint64_t page)
{
	return region->is_private[page] && !region->populated[page];
}

static bool have_source(struct vmm *vmm, struct vmm_guest *guest)
{
	static uint8_t bytes[SOURCE_PAGES * 4096];

	if (guest->source)
		return true;
	memset(bytes, (int)storm_pick(&vmm->rng, 256), sizeof(bytes));
	return vmm_outcome(vmm, guest,
			   gmem_source_create(guest->domain, bytes, sizeof(bytes), &guest->source),
			   "SOURCE") == VMM_GOOD;
}

static bool populate(struct vmm *vmm, struct vmm_guest *guest, struct vmm_region *region)
{
	uint64_t first = storm_pick(&vmm->rng, region->n_pages), n = 0;
	struct gmem_population what = { .offset = first * STORM_PAGE };
	enum vmm_outcome outcome;

	while (n < SOURCE_PAGES && first + n < region->n_pages && is_free(region, first + n))
		n++;
	if (n == 0)
		return true;
	if (!have_source(vmm, guest))
		return guest->gone;
	what.length = n * STORM_PAGE;
	what.source = guest->source;
	what.type = storm_chance(&vmm->rng, 50) ? GMEM_PAGE_TYPE_NORMAL : GMEM_PAGE_TYPE_UNMEASURED;
	outcome = vmm_outcome(vmm, guest, gmem_region_populate(region->region, &what), "POPULATE");
	for (uint64_t page = first; outcome == VMM_GOOD && page < first + n; page++)
		region->populated[page] = true;
	return outcome != VMM_BAD;
}

static bool finish(struct vmm *vmm, struct vmm_guest *guest)
{
	const struct gmem_launch_end how = { 0 };
	enum vmm_outcome outcome =
		vmm_outcome(vmm, guest, gmem_launch_finish(guest->domain, &how), "LAUNCH_FINISH");

	if (outcome == VMM_GOOD) {
		guest->launch = VMM_RUNS;
		guest->source = NULL;
		atomic_fetch_add(&world->launches, 1);
	}
	return outcome != VMM_BAD;
}

static bool give_up(struct vmm *vmm, struct vmm_guest *guest)
{
	enum vmm_outcome outcome =
		vmm_outcome(vmm, guest, gmem_launch_abort(guest->domain), "LAUNCH_ABORT");

	if (outcome == VMM_GOOD) {
		guest->launch = VMM_FAILED;
		guest->source = NULL;
	}
	return outcome != VMM_BAD;
}

bool vmm_guest_launch(struct vmm *vmm, struct vmm_guest *guest)
{
	struct vmm_region *region = &guest->regions[storm_pick(&vmm->rng, VMM_REGIONS)];
	uint64_t dice = storm_pick(&vmm->rng, 100);

	if (dice < 5)
		return give_up(vmm, guest);
	if (dice < 15)
		return finish(vmm, guest);
	return !region->region || populate(vmm, guest, region);
}
