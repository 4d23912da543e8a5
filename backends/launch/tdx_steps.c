/* SPDX-License-Identifier: Apache-2.0 */
/* Launches of TDX guests: arch/x86/kvm/vmx/tdx.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "firmware_names.h"
#include "gm_cleanup.h"
#include "gmem_kinds.h"
#include "launch_call.h"
#include "tdx_abi.h"

static_assert(sizeof(struct gmem_tdx_start) == 168, "layout of the library");
static_assert(sizeof(struct gmem_tdx_cpuid) == GM_TDX_CPUID_SIZE, "layout of the kernel");

/* A zeroed source is made in pieces, so that a big range costs no more than this. */
#define ZEROS_SIZE (2 * GM_MIB)

static int command(int fd, struct gm_tdx_cmd cmd, struct gm_launch_fault *fault)
{
	int r = gm_launch_call(fd, &cmd);

	fault->firmware = r < 0 ? (uint32_t)(cmd.hw_error >> 32) : 0;
	return r;
}

/* ---- start */

static int check_parameters(const struct gmem_tdx_start *want, size_t size)
{
	if (want->reserved != 0 || want->n_cpuid > GMEM_TDX_CPUID_MAX)
		return -EINVAL;
	return size == sizeof(*want) + want->n_cpuid * sizeof(struct gmem_tdx_cpuid) ? 0 : -EINVAL;
}

static int init_vm(const struct gm_launch_vm *vm, struct gm_tdx_init_vm *init,
		   struct gm_launch_fault *fault)
{
	const struct gm_tdx_cmd cmd = { .id = GM_TDX_INIT_VM, .data = (uintptr_t)init };
	struct gm_launch_patience patience = { 0 };
	int r;

	fault->request = "TDX_INIT_VM";
	/* EBUSY is a limit's (misc.max), and a failure leaves no key behind (__tdx_td_init). */
	do {
		r = command(vm->vm_fd, cmd, fault);
	} while (gm_launch_again(&patience, r, false));
	fault->no_room = r == -EBUSY || r == -ENOSPC;
	if (fault->no_room)
		fault->explanation = "no key id of the host is free, or the cgroup's misc.max is "
				     "reached";
	else if (r == -EINVAL)
		fault->explanation = "the VM has vCPUs or has been started already, is of another "
				     "type, or the module does not support the attributes, XFAM or "
				     "CPUID values";
	else if (r == -ENOTTY || r == -EOPNOTSUPP)
		fault->explanation = "this host has no TDX, or the VM is of another type";
	return r;
}

static int tdx_start(const struct gm_launch_vm *vm, const void *parameters, size_t size,
		     struct gm_launch_fault *ret_fault)
{
	_gm_free_ struct gm_tdx_init_vm *init = NULL;
	struct gmem_tdx_start want;
	size_t tail;

	*ret_fault = (struct gm_launch_fault){ 0 };
	if (size < sizeof(want))
		return -EINVAL;
	memcpy(&want, parameters, sizeof(want));
	if (check_parameters(&want, size) < 0)
		return -EINVAL;
	tail = size - sizeof(want);
	init = calloc(1, sizeof(*init) + tail);
	if (!init)
		return -ENOMEM;
	init->attributes = want.attributes;
	init->xfam = want.xfam;
	memcpy(init->mrconfigid, want.mrconfigid, sizeof(init->mrconfigid));
	memcpy(init->mrowner, want.mrowner, sizeof(init->mrowner));
	memcpy(init->mrownerconfig, want.mrownerconfig, sizeof(init->mrownerconfig));
	init->n_cpuid = want.n_cpuid;
	memcpy(init + 1, (const uint8_t *)parameters + sizeof(want), tail);
	return init_vm(vm, init, ret_fault);
}

/* ---- populate */

static int add_pages(const struct gm_launch_vm *vm, struct gm_tdx_init_mem_region *region,
		     bool measured, struct gm_launch_fault *fault)
{
	const struct gm_tdx_cmd cmd = {
		.id = GM_TDX_INIT_MEM_REGION,
		.flags = measured ? GM_TDX_MEASURE_MEMORY_REGION : 0,
		.data = (uintptr_t)region,
	};
	struct gm_launch_patience patience = { 0 };
	bool has_source = region->source_addr != 0;

	/* The kernel counts in @region how far it came, also when it fails then. */
	while (region->nr_pages > 0) {
		uint64_t before = region->nr_pages;
		int r = command(vm->vcpu_fd, cmd, fault);

		/* In place there is none, however the kernel counts it on. */
		if (!has_source)
			region->source_addr = 0;
		if (region->nr_pages != before)
			patience = (struct gm_launch_patience){ 0 };
		else if (r == 0)
			r = -EAGAIN;
		if (r < 0 && !gm_launch_again(&patience, r, true))
			return r;
	}
	return 0;
}

/* The module knows no pages of zeros: they are added from some. */
static int add_zeros(const struct gm_launch_vm *vm, const struct gm_launch_pages *pages,
		     struct gm_launch_progress *progress, struct gm_launch_fault *fault)
{
	uint64_t size = gm_min_u64(pages->length, ZEROS_SIZE);
	void *zeros = gm_launch_zeros_new(size);
	int r = 0;

	if (!zeros)
		return -errno;
	while (r == 0 && progress->bytes < pages->length) {
		uint64_t n = gm_min_u64(pages->length - progress->bytes, size) / GM_PAGE_4K;
		struct gm_tdx_init_mem_region region = {
			.source_addr = (uintptr_t)zeros,
			.gpa = pages->gpa + progress->bytes,
			.nr_pages = n,
		};

		r = add_pages(vm, &region, true, fault);
		progress->bytes += (n - region.nr_pages) * GM_PAGE_4K;
	}
	gm_launch_zeros_free(zeros, size);
	return r;
}

static int add_source(const struct gm_launch_vm *vm, const struct gm_launch_pages *pages,
		      struct gm_launch_progress *progress, struct gm_launch_fault *fault)
{
	struct gm_tdx_init_mem_region region = {
		.source_addr = (uintptr_t)pages->source,
		.gpa = pages->gpa,
		.nr_pages = pages->length / GM_PAGE_4K,
	};
	int r = add_pages(vm, &region, pages->type == GM_STEP_PAGE_NORMAL, fault);

	progress->bytes = pages->length - region.nr_pages * GM_PAGE_4K;
	return r;
}

static void explain_populate(struct gm_launch_fault *fault, int error)
{
	if (error == -EINVAL)
		fault->explanation = "the vCPU is not initialised, the launch is over, or a page "
				     "is not in a memslot with private memory or is shared";
	else if (error == -EEXIST || error == -EIO)
		fault->explanation = "a page is in already or has been taken away since, or the "
				     "module refused it";
	else if (error == -EFAULT || error == -ENOMEM)
		fault->explanation = "the source cannot be read, the memory's file is gone, or the "
				     "host is short of memory";
	else if (error == -EBADF)
		fault->explanation = "the vCPU that was named has been closed";
	else if (error == -EOPNOTSUPP)
		fault->explanation = "this kernel wants a source for each page";
}

static int tdx_populate(const struct gm_launch_vm *vm, const struct gm_launch_pages *pages,
			struct gm_launch_progress *ret_progress, struct gm_launch_fault *ret_fault)
{
	int r = gm_launch_check_pages(pages);

	*ret_progress = (struct gm_launch_progress){ 0 };
	*ret_fault = (struct gm_launch_fault){ 0 };
	if (r < 0)
		return r;
	ret_fault->request = "TDX_INIT_MEM_REGION";
	switch (pages->type) {
	case GM_STEP_PAGE_ZERO:
		r = add_zeros(vm, pages, ret_progress, ret_fault);
		break;
	case GM_STEP_PAGE_NORMAL:
	case GM_STEP_PAGE_UNMEASURED:
		r = add_source(vm, pages, ret_progress, ret_fault);
		break;
	case GM_STEP_PAGE_SECRETS:
	case GM_STEP_PAGE_CPUID:
		ret_fault->explanation = "TDX has no such pages";
		return -EINVAL;
	}
	explain_populate(ret_fault, r);
	return r;
}

/* ---- finish */

static int tdx_finish(const struct gm_launch_vm *vm, const struct gm_launch_end *end,
		      struct gm_launch_fault *ret_fault)
{
	const struct gm_tdx_cmd cmd = { .id = GM_TDX_FINALIZE_VM };
	struct gm_launch_patience patience = { 0 };
	int r;

	*ret_fault = (struct gm_launch_fault){ .request = "TDX_FINALIZE_VM" };
	if (end->id_block || end->id_auth || end->host_data) {
		ret_fault->explanation =
			"TDX has no ID block and no host data: what identifies the "
			"guest is among the parameters of its start";
		return -EINVAL;
	}
	do {
		r = command(vm->vm_fd, cmd, ret_fault);
	} while (gm_launch_again(&patience, r, true));
	if (r == -EINVAL)
		ret_fault->explanation = "the launch has not been started, is over, or a page that "
					 "went in has been taken away since";
	else if (r == -EIO)
		ret_fault->explanation = "no vCPU is initialised, or the module refused it";
	return r;
}

const struct gm_launch_steps gm_tdx_steps = {
	.kind = "tdx",
	.has_vcpu = true,
	.start = tdx_start,
	.populate = tdx_populate,
	.finish = tdx_finish,
	.firmware_name = gm_firmware_name_tdx,
};
