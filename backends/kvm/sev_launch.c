/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No memslot is made: LAUNCH_UPDATE_DATA goes by the address in this process
 * (sev_launch_update_data), the key by the physical one, and where in the guest the memory is to be
 * is for the VMM's own memslots to say. Nor does the digest know of addresses.
 *
 * All memory is pinned first (sev_mem_enc_register_region): a page that the kernel moved after it
 * was encrypted would be garbage. The VM that takes over the state takes over the pinned pages.
 */
#include "sev_launch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "gm_cleanup.h"
#include "gmem_kinds.h"
#include "kvm_ioctl.h"
#include "sev_abi.h"
#include "vmsa_registers.h"

/* Linux 5.14. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* What a stop waits for, and the time that the VMM has to write in between: about a millisecond. */
#define ENCRYPT_PIECE GM_PAGE_2M
#define TOUCH_PIECE (UINT64_C(64) * GM_MIB)

/* A second of trying. */
#define TRIES_MAX 1000
#define TRY_PAUSE_NS 1000000L

struct launch {
	const struct gm_launch_plan *plan;
	struct gm_launch_outcome *outcome;
	struct gmem_sev_start start;
	unsigned long vm_type;
	int vm;
	uint8_t **maps; /* of the plan's regions; NULL: not mapped */
};

static bool is_stopped(const struct launch *launch)
{
	return launch->plan->is_stopped && launch->plan->is_stopped(launch->plan->arg);
}

static int fail(struct launch *launch, const char *request, int error, const char *reason)
{
	struct gm_launch_outcome *outcome = launch->outcome;

	(void)snprintf(outcome->request, sizeof(outcome->request), "%s", request);
	(void)snprintf(outcome->reason, sizeof(outcome->reason), "%s", reason ? reason : "");
	return error;
}

/* ---- commands ---- */

static bool is_worth_another_try(int error, uint32_t firmware)
{
	/* The firmware is at the end of its means just now, and has done nothing. */
	return error == -EINTR || error == -EAGAIN ||
	       (error == -EIO && firmware == GM_SEV_RESOURCE_LIMIT);
}

/* Each leaves everything as it was when it fails in a way that is worth another try. */
static int command(struct launch *launch, enum gm_sev_id id, void *data)
{
	const struct timespec pause = { .tv_nsec = TRY_PAUSE_NS };
	uint32_t *firmware = &launch->outcome->firmware;
	int r = -EINTR;

	for (unsigned i = 0; i < TRIES_MAX; i++) {
		struct gm_sev_cmd cmd = {
			.id = id,
			.data = (uintptr_t)data,
			.sev_fd = (uint32_t)launch->plan->device_fd,
		};

		if (is_stopped(launch))
			return -ECANCELED;
		r = gm_kvm_encrypt_op(launch->vm, &cmd);
		*firmware = r < 0 && cmd.error != GM_SEV_NO_FIRMWARE_CALL ? cmd.error : 0;
		if (!is_worth_another_try(r, *firmware))
			return r;
		(void)nanosleep(&pause, NULL);
	}
	return r;
}

static int init(struct launch *launch)
{
	struct gm_sev_init2 init = {
		.vmsa_features = launch->start.vmsa_features,
		.ghcb_version = launch->start.ghcb_version,
	};
	const char *reason = NULL;
	int r = command(launch, GM_SEV_INIT2, &init);

	launch->outcome->no_room = r == -EBUSY;
	if (r == -EBUSY)
		reason = "no address space id of the host is free, or the cgroup's misc.max is "
			 "reached";
	else if (r == -EINVAL)
		reason = "a feature or the GHCB version is not supported";
	return r < 0 ? fail(launch, "SEV_INIT2", r, reason) : 0;
}

static int make_vm(struct launch *launch)
{
	launch->vm = gm_kvm_create_vm(launch->plan->kvm_fd, launch->vm_type);
	if (launch->vm < 0)
		return fail(launch, "KVM_CREATE_VM", launch->vm, NULL);
	return init(launch);
}

static int start(struct launch *launch)
{
	const uint8_t *certificate =
		(const uint8_t *)launch->plan->parameters + sizeof(launch->start);
	struct gm_sev_launch_start start = {
		.policy = launch->start.policy,
		.dh_len = launch->start.certificate_size,
		.session_len = launch->start.session_size,
	};
	int r;

	if (start.dh_len > 0)
		start.dh_uaddr = (uintptr_t)certificate;
	if (start.session_len > 0)
		start.session_uaddr = (uintptr_t)(certificate + start.dh_len);
	r = command(launch, GM_SEV_LAUNCH_START, &start);
	return r < 0 ? fail(launch, "LAUNCH_START", r, NULL) : 0;
}

/* ---- memory ---- */

static int touch(struct launch *launch, uint8_t *map, uint64_t size)
{
	for (uint64_t at = 0; at < size; at += TOUCH_PIECE) {
		if (is_stopped(launch))
			return -ECANCELED;
		if (madvise(map + at, gm_min_u64(TOUCH_PIECE, size - at), MADV_POPULATE_WRITE) < 0)
			return fail(launch, "memory", -errno, NULL);
	}
	return 0;
}

/* sev_pin_memory: ENOMEM over RLIMIT_MEMLOCK, which counts the pages of this one VM. */
static int pin(struct launch *launch, const uint8_t *map, uint64_t size)
{
	int r = gm_kvm_pin(launch->vm, map, size);

	launch->outcome->no_lock = r == -ENOMEM;
	if (r == -ENOMEM)
		return fail(launch, "KVM_MEMORY_ENCRYPT_REG_REGION", r,
			    "the launcher may not lock that much memory");
	return r < 0 ? fail(launch, "KVM_MEMORY_ENCRYPT_REG_REGION", r, NULL) : 0;
}

static int map_regions(struct launch *launch)
{
	const struct gm_launch_plan *plan = launch->plan;
	int r = 0;

	for (size_t i = 0; i < plan->n_regions && r == 0; i++) {
		void *map = mmap(NULL, plan->regions[i].size, PROT_READ | PROT_WRITE, MAP_SHARED,
				 plan->regions[i].fd, 0);

		if (map == MAP_FAILED)
			return fail(launch, "memory", -errno, NULL);
		launch->maps[i] = map;
		r = touch(launch, map, plan->regions[i].size);
		if (r == 0)
			r = pin(launch, map, plan->regions[i].size);
	}
	return r;
}

static void unmap_regions(struct launch *launch)
{
	for (size_t i = 0; i < launch->plan->n_regions; i++)
		if (launch->maps[i])
			(void)munmap(launch->maps[i], launch->plan->regions[i].size);
}

static int encrypt(struct launch *launch, uint8_t *to, const uint8_t *from, uint64_t length)
{
	for (uint64_t at = 0; at < length; at += ENCRYPT_PIECE) {
		struct gm_sev_blob blob = {
			.uaddr = (uintptr_t)(to + at),
			.len = (uint32_t)gm_min_u64(ENCRYPT_PIECE, length - at),
		};
		int r;

		memcpy(to + at, from + at, blob.len);
		r = command(launch, GM_SEV_LAUNCH_UPDATE_DATA, &blob);
		if (r < 0)
			return fail(launch, "LAUNCH_UPDATE_DATA", r, NULL);
	}
	return 0;
}

static int put(struct launch *launch, const struct gm_plan_put *put)
{
	void *from = mmap(NULL, put->length, PROT_READ, MAP_SHARED, put->source,
			  (off_t)put->source_offset);
	int r;

	if (from == MAP_FAILED)
		return fail(launch, "memory", -errno, NULL);
	r = encrypt(launch, launch->maps[put->region] + put->offset, from, put->length);
	(void)munmap(from, put->length);
	return r;
}

/* ---- registers ---- */

static int make_vcpu(struct launch *launch, unsigned long index, const uint8_t *page)
{
	_gm_close_ int vcpu = gm_kvm_create_vcpu(launch->vm, index);
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	int r;

	if (vcpu < 0)
		return fail(launch, "KVM_CREATE_VCPU", vcpu, NULL);
	r = gm_kvm_get_sregs(vcpu, &sregs);
	if (r < 0)
		return fail(launch, "KVM_GET_SREGS", r, NULL);
	if (gm_vmsa_to_registers(page, launch->start.vmsa_features, &sregs, &regs) < 0)
		return fail(launch, "vCPU", -EINVAL,
			    "KVM starts no vCPU with the registers that its page has");
	r = gm_kvm_set_sregs(vcpu, &sregs);
	if (r == 0)
		r = gm_kvm_set_regs(vcpu, &regs);
	return r < 0 ? fail(launch, "KVM_SET_SREGS", r, NULL) : 0;
}

static int make_vcpus_of(struct launch *launch, const uint8_t *pages)
{
	const struct gm_plan_vcpus *vcpus = &launch->plan->vcpus;
	int r = 0;

	for (uint32_t i = 0; i < vcpus->count && r == 0; i++) {
		uint32_t page = i < vcpus->n_pages ? i : vcpus->n_pages - 1;

		r = is_stopped(launch) ? -ECANCELED
				       : make_vcpu(launch, i, pages + (size_t)page * GM_VMSA_SIZE);
	}
	if (r == 0) {
		r = command(launch, GM_SEV_LAUNCH_UPDATE_VMSA, NULL);
		if (r < 0)
			return fail(launch, "LAUNCH_UPDATE_VMSA", r, NULL);
	}
	return r;
}

static int make_vcpus(struct launch *launch)
{
	const struct gm_plan_vcpus *vcpus = &launch->plan->vcpus;
	size_t size = (size_t)vcpus->n_pages * GM_VMSA_SIZE;
	void *pages;
	int r;

	if (vcpus->count == 0)
		return 0;
	if (vcpus->pages)
		return make_vcpus_of(launch, vcpus->pages);
	pages = mmap(NULL, size, PROT_READ, MAP_SHARED, vcpus->source, (off_t)vcpus->source_offset);
	if (pages == MAP_FAILED)
		return fail(launch, "memory", -errno, NULL);
	r = make_vcpus_of(launch, pages);
	(void)munmap(pages, size);
	return r;
}

/* ---- the end ---- */

static int measure(struct launch *launch)
{
	uint8_t bytes[GM_SEV_MEASURE_SIZE];
	struct gm_sev_blob blob = { .uaddr = (uintptr_t)bytes, .len = sizeof(bytes) };
	int r = command(launch, GM_SEV_LAUNCH_MEASURE, &blob);

	/* It is under a key of the guest's owner, and of use to nobody else. */
	return r < 0 ? fail(launch, "LAUNCH_MEASURE", r, NULL) : 0;
}

/*
 * The one place where the platform tells the digest as it is (SEV API 0.23, Linux 5.13): without it
 * nobody but the guest's owner can know whether the VMM has written into the memory meanwhile.
 * Where the firmware does not answer now it may do so for a guest that runs.
 */
static int compare(struct launch *launch)
{
	_gm_free_ uint8_t *report = calloc(1, GM_SEV_REPORT_MAX);
	struct gm_sev_get_report get = { .uaddr = (uintptr_t)report, .len = GM_SEV_REPORT_MAX };
	const struct gm_launch_plan *plan = launch->plan;
	int r;

	if (!plan->digest || plan->digest_size != GM_SEV_DIGEST_SIZE ||
	    launch->outcome->digest_was_compared)
		return 0;
	if (!report)
		return -ENOMEM;
	r = command(launch, GM_SEV_GET_ATTESTATION_REPORT, &get);
	if (r < 0) {
		launch->outcome->firmware = 0;
		return r == -ECANCELED ? r : 0;
	}
	if (memcmp(report + GM_SEV_REPORT_DIGEST_AT, plan->digest, GM_SEV_DIGEST_SIZE) != 0)
		return fail(launch, "GET_ATTESTATION_REPORT", -EBADMSG,
			    "the platform has measured something else: the memory was written to "
			    "during the launch");
	launch->outcome->digest_was_compared = true;
	return 0;
}

static int finish(struct launch *launch)
{
	int r = command(launch, GM_SEV_LAUNCH_FINISH, NULL);

	return r < 0 ? fail(launch, "LAUNCH_FINISH", r, NULL) : 0;
}

static int go_through(struct launch *launch)
{
	const struct gm_launch_plan *plan = launch->plan;
	int r;

	r = make_vm(launch);
	if (r == 0)
		r = map_regions(launch);
	if (r == 0)
		r = start(launch);
	for (size_t i = 0; i < plan->n_puts && r == 0; i++)
		r = put(launch, &plan->puts[i]);
	if (r == 0)
		r = make_vcpus(launch);
	if (r == 0)
		r = measure(launch);
	if (r == 0)
		r = compare(launch);
	if (r == 0)
		r = finish(launch);
	if (r == 0)
		r = compare(launch);
	return r;
}

int gm_sev_launch(const struct gm_launch_plan *plan, unsigned long vm_type,
		  struct gm_launch_outcome *ret_outcome)
{
	_gm_free_ uint8_t **maps = calloc(plan->n_regions + 1, sizeof(*maps));
	struct launch launch = {
		.plan = plan, .outcome = ret_outcome, .vm_type = vm_type, .vm = -1, .maps = maps
	};
	int r;

	*ret_outcome = (struct gm_launch_outcome){ .vm_fd = -1 };
	if (!maps)
		return -ENOMEM;
	memcpy(&launch.start, plan->parameters, sizeof(launch.start));
	r = go_through(&launch);
	unmap_regions(&launch);
	if (r < 0) {
		if (launch.vm >= 0)
			gm_fd_close(launch.vm);
		return r;
	}
	ret_outcome->vm_fd = launch.vm;
	return 0;
}
