/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An encryption context that another VM takes over (MOVE) or shares (COPY). Only the destination
 * has to be the caller's; the source is whatever VM fd the caller holds.
 */
#include <errno.h>
#include <string.h>

#include "state.h"

static bool is_protected(uint32_t index)
{
	const struct gp_vcpu *vcpu;

	for (uint32_t i = 0; (vcpu = gp_vcpu_of(index, i)); i++)
		if (!vcpu->protected)
			return false;
	return true;
}

static void take_vcpus(uint32_t to, uint32_t from)
{
	struct gp_vcpu *source, *target;

	for (uint32_t i = 0; (source = gp_vcpu_of(from, i)) && (target = gp_vcpu_of(to, i)); i++) {
		target->protected = source->protected;
		source->protected = false;
	}
}

/* sev_vm_move_enc_context_from and sev_migrate_from. */
static int move(uint32_t to, uint32_t from)
{
	struct gp_vm *target = &gp_state->vms[to];
	struct gp_vm *source = &gp_state->vms[from];

	if (target->type != source->type || target->active || !source->active)
		return -EINVAL;
	/* sev_check_source_vcpus. */
	if (source->type == GP_VM_SEV_ES &&
	    (source->n_vcpus != target->n_vcpus || !is_protected(from)))
		return -EINVAL;
	target->active = true;
	target->context = source->context;
	target->finished = source->finished;
	target->guest_state = source->guest_state;
	target->pool = source->pool;
	target->id = source->id;
	target->handle = source->handle;
	target->policy = source->policy;
	target->features = source->features;
	target->pages_locked = source->pages_locked;
	target->mirror_of = source->mirror_of;
	target->sha256 = source->sha256;
	memcpy(target->regions, source->regions, sizeof(target->regions));
	take_vcpus(to, from);
	for (uint32_t i = 0; i < GP_VMS; i++)
		if (gp_state->vms[i].used && gp_state->vms[i].mirror_of == from)
			gp_state->vms[i].mirror_of = to;
	memset(source->regions, 0, sizeof(source->regions));
	source->active = false;
	source->mirror_of = GP_NONE;
	source->id = 0;
	source->pages_locked = 0;
	source->dead = true;
	return 0;
}

/* sev_vm_copy_enc_context_from. */
static int copy(uint32_t to, uint32_t from)
{
	struct gp_vm *target = &gp_state->vms[to];
	struct gp_vm *source = &gp_state->vms[from];

	if (target->active || !source->active || source->mirror_of != GP_NONE ||
	    target->n_vcpus > 0)
		return -EINVAL;
	target->active = true;
	target->context = source->context;
	target->guest_state = source->guest_state;
	target->finished = source->finished;
	target->pool = source->pool;
	target->id = source->id;
	target->handle = source->handle;
	target->policy = source->policy;
	target->features = source->features;
	target->sev_fd = source->sev_fd;
	target->sha256 = source->sha256;
	target->mirror_of = from;
	return 0;
}

/*
 * SNP and TDX are refused on every version: a kernel that does not refuse SNP (up to the middle of
 * 2026) leaves its context behind, which nobody can want.
 */
long gp_context_take(uint32_t to, unsigned long capability, uint64_t fd)
{
	const struct gp_vm *target = &gp_state->vms[to];
	const struct gp_vm *source;
	uint32_t from;

	if (target->type == GP_VM_TDX)
		return -EINVAL;
	if (fd > INT32_MAX || gp_fd_find((int)fd, &from) != GP_FD_VM)
		return -EBADF;
	source = &gp_state->vms[from];
	/* sev_lock_two_vms. */
	if (from == to)
		return -EINVAL;
	if (source->type == GP_VM_SNP || target->type == GP_VM_SNP)
		return -EINVAL;
	if (gp_state->faults.busy > 0) {
		gp_state->faults.busy--;
		return -EBUSY;
	}
	return capability == GP_CAP_MOVE_ENC_CONTEXT ? move(to, from) : copy(to, from);
}
