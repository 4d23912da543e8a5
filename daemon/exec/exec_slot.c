/* SPDX-License-Identifier: Apache-2.0 */
#include "exec.h"
#include "slot.h"

_Static_assert(GM_SLOTS_N == GM_SLOT_POOLS, "a resource for each pool");

struct gm_slot_use gm_exec_slot_use(const struct gm_exec *exec, unsigned pool)
{
	struct gm_slot_use use = { 0 };

	/* Without the controller there is nothing to have. */
	if (gm_slot_read(exec->cgroup_root, pool, &use.capacity, &use.current) < 0)
		return (struct gm_slot_use){ 0 };
	return use;
}
