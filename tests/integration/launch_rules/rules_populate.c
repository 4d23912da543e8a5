/* SPDX-License-Identifier: Apache-2.0 */
/* What goes in: kvm_gmem_populate, SNP_LAUNCH_UPDATE and TDX_INIT_MEM_REGION. */
#include "rules.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client.h"

static int put_one(struct vmm *vmm)
{
	return vmm_put(vmm, GMEM_PAGE_TYPE_NORMAL, 8, 1);
}

static int put(struct vmm *vmm, const struct gmem_population *what)
{
	return gmem_region_populate(vmm->region, what);
}

/* ---- where */

static int after_the_slot_is_gone(struct vmm *vmm)
{
	must(raw_remove_slot(vmm) == 0, "take the memslot away");
	return put_one(vmm);
}

static int beyond_the_end(struct vmm *vmm)
{
	return vmm_put(vmm, GMEM_PAGE_TYPE_NORMAL, N_PAGES, 1);
}

static int in_part_beyond_the_end(struct vmm *vmm)
{
	return put(vmm, &(struct gmem_population){ .offset = (N_PAGES - 1) * PAGE,
						   .length = 2 * PAGE,
						   .source = vmm->source });
}

static int where_addresses_are_shared(struct vmm *vmm)
{
	const struct gmem_region_spec spec = { .gpa = UINT64_C(1) << 47, .size = N_PAGES * PAGE };
	gmem_region *low = vmm->region;
	int r;

	r = gmem_region_create(vmm->domain, &spec, &vmm->region);
	if (r == 0)
		r = gmem_region_bind(vmm->region, 1);
	if (r == 0)
		r = put_one(vmm);
	vmm->region = low;
	return r;
}

static int with_the_memory_closed(struct vmm *vmm)
{
	/* gmemd holds the file: it is not released. */
	must(close(vmm->region->private_fd) == 0, "close");
	vmm->region->private_fd = -1;
	return put_one(vmm);
}

/* ---- in which state */

static int shared_by_the_vmm(struct vmm *vmm)
{
	must(raw_share(vmm, 8) == 0, "share a page");
	return put_one(vmm);
}

static int shared_by_request(struct vmm *vmm)
{
	const struct gmem_range range = { 8 * PAGE, PAGE };

	must(gmem_region_convert(vmm->region, &range, 1, GMEM_PAGE_SHARED) == 0, "share a page");
	return put_one(vmm);
}

static int shared_in_the_middle(struct vmm *vmm)
{
	must(raw_share(vmm, 10) == 0, "share a page");
	return vmm_put(vmm, GMEM_PAGE_TYPE_NORMAL, 8, 4);
}

static int twice(struct vmm *vmm)
{
	return vmm_put(vmm, GMEM_PAGE_TYPE_NORMAL, 3, 1);
}

static int overlapping(struct vmm *vmm)
{
	return vmm_put(vmm, GMEM_PAGE_TYPE_UNMEASURED, 3, 4);
}

static int after_the_vmm(struct vmm *vmm)
{
	must(raw_put(vmm, 8) == 0, "populate past gmemd");
	return put_one(vmm);
}

static int behind_the_vmm(struct vmm *vmm)
{
	must(raw_put(vmm, 10) == 0, "populate past gmemd");
	return vmm_put(vmm, GMEM_PAGE_TYPE_NORMAL, 8, 4);
}

static int what_is_allocated(struct vmm *vmm)
{
	must(raw_allocate(vmm, 0, 8) == 0, "fallocate");
	return put_one(vmm);
}

static int what_gmemd_has_allocated(struct vmm *vmm)
{
	const struct gmem_range range = { 8 * PAGE, PAGE };

	must(gmem_region_allocate(vmm->region, &range, 1, NULL, NULL) == 0, "allocate");
	return put_one(vmm);
}

static int what_was_punched(struct vmm *vmm)
{
	must(raw_allocate(vmm, FALLOC_FL_PUNCH_HOLE, 0) == 0, "punch");
	return vmm_put(vmm, GMEM_PAGE_TYPE_NORMAL, 0, 1);
}

static int another_after_a_punch(struct vmm *vmm)
{
	must(raw_allocate(vmm, FALLOC_FL_PUNCH_HOLE, 0) == 0, "punch");
	return put_one(vmm);
}

static int what_was_prefaulted(struct vmm *vmm)
{
	struct gp_pre_fault range = { .gpa = 8 * PAGE, .size = PAGE };

	if (vmm->vcpu < 0)
		vmm_add_vcpu(vmm);
	must(raw(vmm->vcpu, GP_PRE_FAULT_MEMORY, &range) < 0, "KVM_PRE_FAULT_MEMORY");
	return put_one(vmm);
}

static int discard_what_is_measured(struct vmm *vmm)
{
	const struct gmem_range range = { 0, PAGE };

	return gmem_region_discard(vmm->region, &range, 1, NULL, NULL);
}

static int share_what_is_measured(struct vmm *vmm)
{
	const struct gmem_range range = { 0, PAGE };

	return gmem_region_convert(vmm->region, &range, 1, GMEM_PAGE_SHARED);
}

/* ---- from what */

static int from_between_pages(struct vmm *vmm)
{
	return put(vmm, &(struct gmem_population){
				.length = PAGE, .source = vmm->source, .source_offset = 16 });
}

static int from_nothing(struct vmm *vmm)
{
	return put(vmm, &(struct gmem_population){ .length = PAGE });
}

static int zeros_from_something(struct vmm *vmm)
{
	return put(vmm, &(struct gmem_population){ .length = PAGE,
						   .type = GMEM_PAGE_TYPE_ZERO,
						   .source = vmm->source });
}

static int from_beyond_the_source(struct vmm *vmm)
{
	return put(vmm, &(struct gmem_population){ .length = 2 * PAGE,
						   .source = vmm->source,
						   .source_offset = (N_PAGES - 1) * PAGE });
}

static int from_the_region_itself(struct vmm *vmm)
{
	gmem_source *source;

	return gmem_source_from_fd(vmm->domain, gmem_region_fd(vmm->region), &source);
}

static int from_what_can_be_written(struct vmm *vmm)
{
	int fd = memfd_create("source", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	gmem_source *source;
	int r;

	must(fd >= 0 && ftruncate(fd, PAGE) == 0 &&
		     fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0,
	     "a memfd");
	r = gmem_source_from_fd(vmm->domain, fd, &source);
	(void)close(fd);
	return r;
}

/* ---- how much, and of which type */

static int half_a_page(struct vmm *vmm)
{
	return put(vmm, &(struct gmem_population){ .length = 100, .source = vmm->source });
}

static int between_pages(struct vmm *vmm)
{
	return put(vmm, &(struct gmem_population){
				.offset = 100, .length = PAGE, .source = vmm->source });
}

static int nothing(struct vmm *vmm)
{
	return put(vmm, &(struct gmem_population){ .type = GMEM_PAGE_TYPE_ZERO });
}

static int more_than_wraps(struct vmm *vmm)
{
	return put(vmm, &(struct gmem_population){
				.offset = PAGE, .length = -PAGE, .type = GMEM_PAGE_TYPE_ZERO });
}

static int registers(struct vmm *vmm)
{
	return vmm_put(vmm, (enum gmem_page_type)6, 8, 1);
}

static int zeros(struct vmm *vmm)
{
	return vmm_put(vmm, GMEM_PAGE_TYPE_ZERO, 8, 2);
}

static int secrets(struct vmm *vmm)
{
	return vmm_put(vmm, GMEM_PAGE_TYPE_SECRETS, 8, 1);
}

static int cpuid_values(struct vmm *vmm)
{
	return vmm_put(vmm, GMEM_PAGE_TYPE_CPUID, 8, 1);
}

static int corrected_cpuid_values(struct vmm *vmm)
{
	uint8_t page[PAGE];
	int corrected = 0;
	int r;

	set("correct-cpuid=1");
	r = put(vmm, &(struct gmem_population){ .offset = 8 * PAGE,
						.length = PAGE,
						.type = GMEM_PAGE_TYPE_CPUID,
						.source = vmm->source,
						.ret_corrected = &corrected,
						.ret_page = page });
	must(r != 0 || corrected == 1, "told of the correction");
	return r;
}

static int cpuid_values_corrected_for_ever(struct vmm *vmm)
{
	int r;

	set("correct-cpuid=3");
	r = cpuid_values(vmm);
	set("correct-cpuid=0");
	return r;
}

/* ---- by what */

static int without_the_device(struct vmm *vmm)
{
	must(dup3(vmm->vm, vmm->domain->device_fd, O_CLOEXEC) >= 0, "dup3");
	return put_one(vmm);
}

static int by_a_vcpu_that_is_not_ready(struct vmm *vmm)
{
	int other = raw(vmm->vm, KVM_CREATE_VCPU, (void *)1);
	int r;

	must(other >= 0 && gmem_launch_set_vcpu(vmm->domain, 0, other) == 0, "another vCPU");
	r = put_one(vmm);
	(void)close(other);
	return r;
}

static int by_a_vcpu_that_is_closed(struct vmm *vmm)
{
	(void)close(vmm->vcpu);
	vmm->vcpu = -1;
	return put_one(vmm);
}

static int by_no_vcpu(struct vmm *vmm)
{
	vmm->domain->vcpu_fd = -1;
	return put_one(vmm);
}

static int before_the_start(struct vmm *vmm)
{
	vmm_make_region(vmm);
	must(gmem_region_bind(vmm->region, 0) == 0, "bind");
	/* There is none to be had before the start. */
	vmm->domain->vcpu_fd = vmm->vm;
	return put_one(vmm);
}

/* ---- in parts */

static int with_signals(struct vmm *vmm)
{
	set("interrupt=2");
	return vmm_put(vmm, GMEM_PAGE_TYPE_NORMAL, 8, 4);
}

static int in_pieces(struct vmm *vmm)
{
	int r;

	set("short=1");
	r = vmm_put(vmm, GMEM_PAGE_TYPE_NORMAL, 8, 4);
	set("short=0");
	return r;
}

static int when_busy(struct vmm *vmm)
{
	set("busy=3");
	return vmm_put(vmm, GMEM_PAGE_TYPE_NORMAL, 8, 4);
}

static int refused_at_once(struct vmm *vmm)
{
	set("firmware-error=26");
	return put_one(vmm);
}

#define POPULATE "kvm_gmem_populate: "
#define UPDATE "snp_launch_update: "
#define ADD "tdx_vcpu_init_mem_region: "

#define PAST_US GMEM_FAILED, "firmware", "failed"
#define STATE GMEM_WRONG_STATE, "page-state", "open"
#define GOOD GMEM_OK, "", "open"

const struct rule populate_rules[] = {
	{ "populate before the start",
	  UPDATE "no context, EINVAL (6.11); " ADD "vCPU not ready, EINVAL (6.16)", ADOPTED,
	  before_the_start, BOTH, GMEM_WRONG_STATE, "launch-state", "ready" },
	{ "populate before there is a memslot", POPULATE "no slot, EINVAL", MADE, put_one, BOTH,
	  GMEM_WRONG_STATE, "step", "open" },
	{ "populate after the memslot is gone",
	  UPDATE "no slot with a guest_memfd, EINVAL (6.11); " POPULATE "EINVAL (6.16)", BOUND,
	  after_the_slot_is_gone, BOTH, PAST_US },
	{ "populate beyond the end of the memslot", POPULATE "no slot, EINVAL", BOUND,
	  beyond_the_end, BOTH, GMEM_INVALID, "range", "open" },
	{ "populate in part beyond the end of the memslot",
	  POPULATE "to the end of the slot, and success", BOUND, in_part_beyond_the_end, BOTH,
	  GMEM_INVALID, "range", "open" },
	{ "populate where addresses are shared ones", ADD "vt_is_tdx_private_gpa, EINVAL (6.16)",
	  BOUND, where_addresses_are_shared, TDX, PAST_US },
	{ "populate when the VMM has closed the memory",
	  POPULATE "file gone, EFAULT; gmemd has it still", BOUND, with_the_memory_closed, BOTH,
	  GOOD },

	{ "populate a page that the VMM has made shared",
	  POPULATE "not private, EINVAL; through SNP_LAUNCH_UPDATE EIO", BOUND, shared_by_the_vmm,
	  BOTH, PAST_US },
	{ "populate a page that was made shared by request", POPULATE "not private, EINVAL", BOUND,
	  shared_by_request, BOTH, STATE },
	{ "populate over a page that the VMM has made shared",
	  POPULATE "as far as it came, then EINVAL", BOUND, shared_in_the_middle, BOTH, PAST_US },
	{ "populate a page twice",
	  POPULATE "uptodate, EEXIST (6.11 to 6.19); RMP or PAGE.ADD (7.0)", POPULATED, twice, BOTH,
	  STATE },
	{ "populate a page twice, unmeasured and with others", "the same", POPULATED, overlapping,
	  BOTH, STATE },
	{ "populate a page that the VMM has populated itself",
	  POPULATE "EEXIST (6.11 to 6.19), EIO by the vendor's code (7.0); SNP has EIO for all",
	  BOUND, after_the_vmm, BOTH, PAST_US },
	{ "populate over a page that the VMM has populated itself", "the same, after two pages",
	  BOUND, behind_the_vmm, BOTH, PAST_US },
	{ "populate a page that is allocated",
	  "kvm_gmem_fallocate does not make it uptodate (6.11)", BOUND, what_is_allocated, BOTH,
	  GOOD },
	{ "populate a page that gmemd has allocated", "kvm_gmem_fallocate, of the shared half",
	  BOUND, what_gmemd_has_allocated, BOTH, GOOD },
	{ "populate a page again after it was punched",
	  "kvm_gmem_punch_hole: it could be, and would be measured twice", POPULATED,
	  what_was_punched, BOTH, STATE },
	{ "populate another page after one was punched",
	  "kvm_gmem_punch_hole: what was measured stays measured", POPULATED, another_after_a_punch,
	  SNP, GOOD },
	{ "populate another page after one was punched",
	  "tdx_sept_remove_private_spte: the launch is lost, EIO (6.16)", POPULATED,
	  another_after_a_punch, TDX, PAST_US },
	{ "populate a page that is to be faulted in before",
	  "kvm_arch_vcpu_pre_fault_memory: not before the end, EOPNOTSUPP (6.11)", BOUND,
	  what_was_prefaulted, BOTH, GOOD },
	{ "discard a page that is measured", "kvm_gmem_punch_hole has nothing against it",
	  POPULATED, discard_what_is_measured, BOTH, STATE },
	{ "share a page that is measured", "kvm_vm_set_mem_attributes has nothing against it",
	  POPULATED, share_what_is_measured, BOTH, STATE },

	{ "populate from between two pages", POPULATE "source page-aligned, EINVAL (7.0)", BOUND,
	  from_between_pages, BOTH, GMEM_INVALID, "source", "open" },
	{ "populate from nothing",
	  "sev_gmem_post_populate: EINVAL; tdx_gmem_post_populate: EOPNOTSUPP (7.0)", BOUND,
	  from_nothing, BOTH, GMEM_INVALID, "source", "open" },
	{ "populate zeros from something", UPDATE "the address is ignored", BOUND,
	  zeros_from_something, BOTH, GMEM_INVALID, "source", "open" },
	{ "populate from beyond the source", POPULATE "EFAULT, after some pages", BOUND,
	  from_beyond_the_source, BOTH, GMEM_INVALID, "source", "open" },
	{ "populate from the region itself", POPULATE "pins what it fills", BOUND,
	  from_the_region_itself, BOTH, GMEM_INVALID, "source", "open" },
	{ "populate from what can be written", "the kernel takes any memory", BOUND,
	  from_what_can_be_written, BOTH, GMEM_INVALID, "source", "open" },

	{ "populate half a page", UPDATE "PAGE_ALIGNED(len), EINVAL", BOUND, half_a_page, BOTH,
	  GMEM_INVALID, "size", "open" },
	{ "populate between two pages", UPDATE "takes frames only; " ADD "EINVAL", BOUND,
	  between_pages, BOTH, GMEM_INVALID, "offset", "open" },
	{ "populate nothing", UPDATE "len 0, EINVAL; " ADD "nr_pages 0, EINVAL", BOUND, nothing,
	  BOTH, GMEM_INVALID, "size", "open" },
	{ "populate more than there are addresses", ADD "gpa wraps, EINVAL (6.16)", BOUND,
	  more_than_wraps, SNP, GMEM_INVALID, "overflow", "open" },
	{ "populate registers", UPDATE "SNP_PAGE_TYPE_VMSA is the kernel's own, EINVAL", BOUND,
	  registers, BOTH, GMEM_INVALID, "flags", "open" },
	{ "populate zeros", "TDH.MEM.PAGE.ADD has a source always", BOUND, zeros, TDX, GMEM_INVALID,
	  "flags", "open" },
	{ "populate zeros", "SNP_PAGE_TYPE_ZERO", BOUND, zeros, SNP, GOOD },
	{ "populate secrets", "TDX has no such page", BOUND, secrets, TDX, GMEM_INVALID, "flags",
	  "open" },
	{ "populate secrets", "SNP_PAGE_TYPE_SECRETS: a source has to be there", BOUND, secrets,
	  SNP, GOOD },
	{ "populate CPUID values", "TDX has no such page", BOUND, cpuid_values, TDX, GMEM_INVALID,
	  "flags", "open" },
	{ "populate CPUID values", "sev_gmem_post_populate: pinned for writing (7.2)", BOUND,
	  cpuid_values, SNP, GOOD },
	{ "populate CPUID values that the firmware corrects",
	  "sev_gmem_post_populate: INVALID_PARAM, and the page comes back", BOUND,
	  corrected_cpuid_values, SNP, GOOD },
	{ "populate CPUID values that the firmware never likes", "the same, for ever", BOUND,
	  cpuid_values_corrected_for_ever, SNP, PAST_US },

	{ "populate without the platform's device", "__sev_issue_cmd: EBADF, seen as EIO", BOUND,
	  without_the_device, SNP, PAST_US },
	{ "populate by a vCPU that is not ready", ADD "KVM_TDX_INIT_VCPU, EINVAL", BOUND,
	  by_a_vcpu_that_is_not_ready, TDX, PAST_US },
	{ "populate by a vCPU that is closed", "ioctl: EBADF", BOUND, by_a_vcpu_that_is_closed, TDX,
	  PAST_US },
	{ "populate by no vCPU", "a vCPU's ioctl it is", BOUND, by_no_vcpu, TDX, GMEM_WRONG_STATE,
	  "", "open" },

	{ "populate with signals pending", POPULATE "EINTR or what is done; SNP has EIO for it",
	  BOUND, with_signals, BOTH, GOOD },
	{ "populate in as many parts as there are pages", UPDATE "gfn_start and len come back",
	  BOUND, in_pieces, BOTH, GOOD },
	{ "populate while others are busy", "RESOURCE_LIMIT; TDX_OPERAND_BUSY, EBUSY", BOUND,
	  when_busy, BOTH, GOOD },
	{ "populate what the firmware refuses", "sev_issue_cmd: EIO with the firmware's code",
	  BOUND, refused_at_once, SNP, PAST_US },
};
const size_t n_populate_rules = GM_ARRAY_SIZE(populate_rules);
