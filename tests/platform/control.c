/* SPDX-License-Identifier: Apache-2.0 */
/* What tests and people ask of the machine itself. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gm_platform.h"
#include "state.h"

static int set_value(const char *key, size_t length, uint64_t value)
{
	struct gp_faults *faults = &gp_state->faults;
	const struct {
		const char *key;
		uint64_t *u64;
		uint32_t *u32;
		bool *flag;
		uint64_t plus;
	} settings[] = {
		{ "sev-asids", NULL, &gp_state->capacity[GP_POOL_SEV], NULL, 0 },
		{ "sev-es-asids", NULL, &gp_state->capacity[GP_POOL_SEV_ES], NULL, 0 },
		{ "tdx-keys", NULL, &gp_state->capacity[GP_POOL_TDX], NULL, 0 },
		{ "in-place", NULL, NULL, &gp_state->in_place, 0 },
		{ "hash", NULL, NULL, &gp_state->hash, 0 },
		{ "short", &faults->short_after, NULL, NULL, 0 },
		{ "busy", &faults->busy, NULL, NULL, 0 },
		{ "full", NULL, NULL, &faults->full, 0 },
		{ "correct-cpuid", &faults->correct_cpuid, NULL, NULL, 0 },
		{ "firmware-error", NULL, &faults->firmware_error, NULL, 0 },
		{ "interrupt", &faults->interrupt_after, NULL, NULL, 1 },
	};

	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
		if (strlen(settings[i].key) != length || strncmp(settings[i].key, key, length) != 0)
			continue;
		if (settings[i].u64)
			*settings[i].u64 = value + settings[i].plus;
		else if (settings[i].u32 && value <= UINT32_MAX)
			*settings[i].u32 = (uint32_t)value;
		else if (settings[i].flag && value <= 1)
			*settings[i].flag = value;
		else
			return -EINVAL;
		return 0;
	}
	return -EINVAL;
}

int gm_platform_set(const char *setting)
{
	const char *equals = strchr(setting, '=');
	unsigned long long value;
	char *end;
	int r;

	if (!gp_state)
		return -ENODEV;
	if (!equals || equals[1] == '\0')
		return -EINVAL;
	errno = 0;
	value = strtoull(equals + 1, &end, 0);
	if (*end != '\0' || errno != 0)
		return -EINVAL;
	gp_lock();
	r = set_value(setting, (size_t)(equals - setting), value);
	gp_write_misc();
	gp_unlock();
	return r;
}

int gm_platform_digest(int fd, uint8_t ret_digest[GM_PLATFORM_DIGEST_MAX])
{
	uint32_t index;
	int r = -EBADF;

	if (!gp_state)
		return -ENODEV;
	gp_lock();
	if (gp_fd_find(fd, &index) == GP_FD_VM)
		r = gp_digest_now(&gp_state->vms[index], ret_digest);
	gp_unlock();
	return r;
}

int gm_platform_get_use(struct gm_platform_use *ret_use)
{
	struct gm_platform_use use = { 0 };

	if (!gp_state)
		return -ENODEV;
	gp_lock();
	gp_reap();
	for (uint32_t i = 0; i < GP_VMS; i++)
		use.n_vms += gp_state->vms[i].used;
	for (uint32_t i = 0; i < GP_GMEMS; i++)
		use.n_gmems += gp_state->gmems[i].used;
	for (uint32_t i = 0; i < GP_VCPUS; i++)
		use.n_vcpus += gp_state->vcpus[i].used;
	use.sev_used = gp_id_used(GP_POOL_SEV);
	use.sev_capacity = gp_state->capacity[GP_POOL_SEV];
	use.sev_es_used = gp_id_used(GP_POOL_SEV_ES);
	use.sev_es_capacity = gp_state->capacity[GP_POOL_SEV_ES];
	use.tdx_used = gp_id_used(GP_POOL_TDX);
	use.tdx_capacity = gp_state->capacity[GP_POOL_TDX];
	use.n_assigned = gp_state->n_assigned;
	use.n_calls = gp_state->n_calls;
	gp_unlock();
	*ret_use = use;
	return 0;
}

static void show_vm(FILE *to, uint32_t index)
{
	static const char *const types[] = { "default", "sw", "sev", "sev-es", "snp", "tdx" };
	const struct gp_vm *vm = &gp_state->vms[index];
	uint8_t digest[GM_PLATFORM_DIGEST_MAX];
	int size = vm->active ? gp_digest_now(vm, digest) : 0;

	(void)fprintf(to, "vm %u %s id %u vcpus %u%s%s%s digest ", index, types[vm->type], vm->id,
		      vm->n_vcpus, vm->context ? " started" : "", vm->finished ? " finished" : "",
		      vm->dead ? " dead" : "");
	for (int i = 0; i < size; i++)
		(void)fprintf(to, "%02x", digest[i]);
	(void)fputs(size > 0 ? "\n" : "-\n", to);
}

int gm_platform_show(FILE *to)
{
	struct gm_platform_use use;
	int r = gm_platform_get_use(&use);

	if (r < 0)
		return r;
	(void)fprintf(to, "kernel %s\nin-place %d\nvms %u\nguest_memfds %u\nvcpus %u\n",
		      gp_profile()->version, gp_state->in_place, use.n_vms, use.n_gmems,
		      use.n_vcpus);
	(void)fprintf(to, "sev %u of %u\nsev_es %u of %u\ntdx %u of %u\npages %llu\ncalls %llu\n",
		      use.sev_used, use.sev_capacity, use.sev_es_used, use.sev_es_capacity,
		      use.tdx_used, use.tdx_capacity, (unsigned long long)use.n_assigned,
		      (unsigned long long)use.n_calls);
	gp_lock();
	for (uint32_t i = 0; i < GP_VMS; i++)
		if (gp_state->vms[i].used)
			show_vm(to, i);
	gp_unlock();
	return 0;
}
