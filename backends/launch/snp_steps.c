/* SPDX-License-Identifier: Apache-2.0 */
/* Launches of SEV-SNP guests: arch/x86/kvm/svm/sev.c. */
#include <errno.h>
#include <string.h>

#include "firmware_names.h"
#include "gmem_kinds.h"
#include "launch_call.h"
#include "snp_abi.h"

static_assert(sizeof(struct gmem_snp_start) == 64, "layout of the library");

/*
 * kvm_gmem_populate fails for a signal, for want of memory and for a page that is in already;
 * snp_launch_update makes one EIO of these, without a firmware code. Nothing went in, so to try
 * again is safe; a signal is over then, and the others stay.
 */
#define NAMELESS_MAX 16

static int command(const struct gm_launch_vm *vm, enum gm_sev_id id, void *data,
		   struct gm_launch_fault *fault)
{
	struct gm_sev_cmd cmd = {
		.id = id,
		.data = (uintptr_t)data,
		.sev_fd = (uint32_t)vm->device_fd,
	};
	int r = gm_launch_call(vm->vm_fd, &cmd);

	fault->firmware = r < 0 && cmd.error != GM_SEV_NO_FIRMWARE_CALL ? cmd.error : 0;
	return r;
}

/* The firmware is at the end of its means just now, and has done nothing. */
static bool is_short(int error, const struct gm_launch_fault *fault)
{
	return error == -EIO && fault->firmware == GM_SEV_RESOURCE_LIMIT;
}

/* For commands that leave everything as it was when they fail. */
static int command_until(const struct gm_launch_vm *vm, enum gm_sev_id id, void *data,
			 struct gm_launch_fault *fault)
{
	struct gm_launch_patience patience = { 0 };
	int r;

	do {
		r = command(vm, id, data, fault);
	} while (gm_launch_again(&patience, is_short(r, fault) ? -EAGAIN : r, false));
	return r;
}

static const char device_is_gone[] = "the platform's device is not open under its number";

/* ---- start */

static int init(const struct gm_launch_vm *vm, const struct gmem_snp_start *want,
		struct gm_launch_fault *fault)
{
	struct gm_sev_init2 init2 = {
		.vmsa_features = want->vmsa_features,
		.ghcb_version = want->ghcb_version,
	};
	int r;

	fault->request = "SEV_INIT2";
	r = command_until(vm, GM_SEV_INIT2, &init2, fault);
	fault->no_room = r == -EBUSY;
	if (r == -EBUSY)
		fault->explanation = "no address space id of the host is free, or the cgroup's "
				     "misc.max is reached";
	else if (r == -EPERM)
		fault->explanation = "the VM has been started already";
	else if (r == -EINVAL)
		fault->explanation = "the VM has vCPUs or has been started already, is of another "
				     "type, or a feature or the GHCB version is not supported";
	else if (r == -ENOTTY)
		fault->explanation = "this host has no SEV-SNP";
	return r;
}

static int launch_start(const struct gm_launch_vm *vm, const struct gmem_snp_start *want,
			struct gm_launch_fault *fault)
{
	struct gm_snp_launch_start start = { .policy = want->policy };
	int r;

	memcpy(start.gosvw, want->gosvw, sizeof(start.gosvw));
	fault->request = "SNP_LAUNCH_START";
	r = command_until(vm, GM_SNP_LAUNCH_START, &start, fault);
	if (r == -EINVAL)
		fault->explanation =
			"the policy lacks bit 17, has bits that are reserved, or wants "
			"a single socket";
	else if (r == -EBADF)
		fault->explanation = device_is_gone;
	else if (r == -ENOTTY)
		fault->explanation = "the VM is not of the type for SEV-SNP";
	return r;
}

static int snp_start(const struct gm_launch_vm *vm, const void *parameters, size_t size,
		     struct gm_launch_fault *ret_fault)
{
	struct gmem_snp_start want;
	int r;

	*ret_fault = (struct gm_launch_fault){ 0 };
	if (size != sizeof(want))
		return -EINVAL;
	memcpy(&want, parameters, sizeof(want));
	if (!gm_launch_is_zero(want.reserved, sizeof(want.reserved)))
		return -EINVAL;
	r = init(vm, &want, ret_fault);
	return r < 0 ? r : launch_start(vm, &want, ret_fault);
}

/* ---- populate */

static int page_type(enum gm_step_page type)
{
	switch (type) {
	case GM_STEP_PAGE_NORMAL:
		return GM_SNP_PAGE_NORMAL;
	case GM_STEP_PAGE_ZERO:
		return GM_SNP_PAGE_ZERO;
	case GM_STEP_PAGE_UNMEASURED:
		return GM_SNP_PAGE_UNMEASURED;
	case GM_STEP_PAGE_SECRETS:
		return GM_SNP_PAGE_SECRETS;
	case GM_STEP_PAGE_CPUID:
		return GM_SNP_PAGE_CPUID;
	}
	return -EINVAL;
}

struct attempt {
	struct gm_launch_patience patience;
	unsigned nameless;
	bool corrected; /* since something went in last */
};

/* After a failure: whether the rest is to be tried again. */
static bool try_again(struct attempt *attempt, const struct gm_snp_launch_update *update, int error,
		      const struct gm_launch_fault *fault, struct gm_launch_progress *progress)
{
	if (gm_launch_again(&attempt->patience, is_short(error, fault) ? -EAGAIN : error, true))
		return true;
	if (error != -EIO)
		return false;
	if (fault->firmware == 0)
		return ++attempt->nameless <= NAMELESS_MAX;
	/* The firmware has written into the source what it would take (sev_gmem_post_populate). */
	if (update->type != GM_SNP_PAGE_CPUID || fault->firmware != GM_SEV_INVALID_PARAM ||
	    attempt->corrected)
		return false;
	attempt->corrected = progress->corrected = true;
	return true;
}

static void explain_populate(struct gm_launch_fault *fault, int error)
{
	if (error == -EINVAL)
		fault->explanation = "a page is not in a memslot with private memory, is shared, "
				     "or its source is not page aligned";
	else if (error == -EEXIST || (error == -EIO && fault->firmware == 0))
		fault->explanation = "a page is in already or is shared, its memory is gone, its "
				     "source cannot be read, or the device is closed: the kernel "
				     "says no more";
	else if (error == -EFAULT)
		fault->explanation = "the source cannot be read, or cannot be written to where "
				     "the firmware corrects it, or the memory's file is gone";
}

static int update_all(const struct gm_launch_vm *vm, struct gm_snp_launch_update *update,
		      struct gm_launch_progress *progress, struct gm_launch_fault *fault)
{
	bool has_source = update->uaddr != 0;
	uint64_t length = update->len;
	struct attempt attempt = { 0 };

	while (update->len > 0) {
		uint64_t before = update->len;
		int r = command(vm, GM_SNP_LAUNCH_UPDATE, update, fault);

		progress->bytes = length - update->len;
		/* No source (zeros, or in place) stays none, however it is counted on. */
		if (!has_source)
			update->uaddr = 0;
		if (update->len != before)
			attempt = (struct attempt){ 0 };
		else if (r == 0)
			r = -EAGAIN;
		if (r < 0 && !try_again(&attempt, update, r, fault, progress))
			return r;
	}
	return 0;
}

static int snp_populate(const struct gm_launch_vm *vm, const struct gm_launch_pages *pages,
			struct gm_launch_progress *ret_progress, struct gm_launch_fault *ret_fault)
{
	/* sev_gmem_post_populate wants a source for what the firmware writes itself, too. */
	bool invents = pages->type == GM_STEP_PAGE_SECRETS && !pages->source;
	struct gm_snp_launch_update update = {
		.gfn_start = pages->gpa / GM_PAGE_4K,
		.uaddr = (uintptr_t)pages->source,
		.len = pages->length,
	};
	int type = page_type(pages->type);
	void *zeros = NULL;
	int r = gm_launch_check_pages(pages);

	*ret_progress = (struct gm_launch_progress){ 0 };
	*ret_fault = (struct gm_launch_fault){ 0 };
	if (r < 0 || type < 0)
		return -EINVAL;
	ret_fault->request = "SNP_LAUNCH_UPDATE";
	if (invents) {
		zeros = gm_launch_zeros_new(pages->length);
		if (!zeros)
			return -errno;
		update.uaddr = (uintptr_t)zeros;
	}
	update.type = (uint8_t)type;
	r = update_all(vm, &update, ret_progress, ret_fault);
	gm_launch_zeros_free(zeros, pages->length);
	explain_populate(ret_fault, r);
	return r;
}

/* ---- finish */

static int snp_finish(const struct gm_launch_vm *vm, const struct gm_launch_end *end,
		      struct gm_launch_fault *ret_fault)
{
	struct gm_snp_launch_finish finish = { 0 };
	uint32_t algorithm;
	int r;

	*ret_fault = (struct gm_launch_fault){ .request = "SNP_LAUNCH_FINISH" };
	if (end->id_block && end->id_auth) {
		memcpy(&algorithm, end->id_auth + GM_SNP_AUTH_KEY_ALGORITHM, sizeof(algorithm));
		finish.id_block_uaddr = (uintptr_t)end->id_block;
		finish.id_auth_uaddr = (uintptr_t)end->id_auth;
		finish.id_block_en = 1;
		finish.auth_key_en = algorithm != 0;
	}
	if (end->host_data)
		memcpy(finish.host_data, end->host_data, sizeof(finish.host_data));
	/* Once: it measures the vCPUs one after the other, and a second time if asked again. */
	r = command(vm, GM_SNP_LAUNCH_FINISH, &finish, ret_fault);
	if (r == -EINVAL)
		ret_fault->explanation = "the launch has not been started, or is over";
	else if (r == -EBADF)
		ret_fault->explanation = device_is_gone;
	else if (r == -EFAULT)
		ret_fault->explanation = "the ID block or its authentication cannot be read";
	return r;
}

const struct gm_launch_steps gm_snp_steps = {
	.kind = "snp",
	.has_device = true,
	.start = snp_start,
	.populate = snp_populate,
	.finish = snp_finish,
	.firmware_name = gm_firmware_name_sev,
};
