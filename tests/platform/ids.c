/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address space ids and key ids. SEV-ES and SNP guests share the lower range of ids, 1 to min-1,
 * plain SEV has the upper one (CPUID 0x8000001f ECX and EDX; sev_asid_new).
 */
#include <errno.h>

#include "state.h"

unsigned gp_id_used(enum gp_pool pool)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < GP_VMS; i++) {
		const struct gp_vm *vm = &gp_state->vms[i];

		/* A mirror shares its source's, which is counted there. */
		n += vm->used && vm->active && vm->id != 0 && vm->pool == pool &&
		     vm->mirror_of == GP_NONE;
	}
	return n;
}

static bool is_used(enum gp_pool pool, uint32_t id)
{
	for (uint32_t i = 0; i < GP_VMS; i++) {
		const struct gp_vm *vm = &gp_state->vms[i];

		if (vm->used && vm->active && vm->pool == pool && vm->id == id)
			return true;
	}
	return false;
}

static uint32_t first_id(enum gp_pool pool)
{
	return pool == GP_POOL_SEV ? 1 + gp_state->capacity[GP_POOL_SEV_ES] : 1;
}

int gp_id_take(enum gp_pool pool, uint32_t *ret_id)
{
	uint32_t first = first_id(pool);

	gp_reap();
	/* sev_asid_new: no range of that class is ENOTTY; none free, or a cgroup's limit, EBUSY. */
	if (gp_state->capacity[pool] == 0)
		return pool == GP_POOL_TDX ? -EOPNOTSUPP : -ENOTTY;
	for (uint32_t id = first; id < first + gp_state->capacity[pool]; id++)
		if (!gp_state->faults.full && !is_used(pool, id)) {
			*ret_id = id;
			return 0;
		}
	/* tdx_guest_keyid_alloc: ida_alloc_range's answer. */
	return pool == GP_POOL_TDX ? -ENOSPC : -EBUSY;
}
