/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When things end. struct kvm lives as long as a VM fd, a vCPU fd or a guest_memfd of it
 * (kvm_get_kvm in kvm_vm_ioctl_create_vcpu and __kvm_gmem_create), and with it its address space id
 * or key id. A library is not told of a close, least of all of another process's: it looks when it
 * matters, that is before an id is taken and before the books are read.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "state.h"

static void count_off(void *arg, uint64_t page, uint8_t *state)
{
	(void)arg;
	(void)page;
	(void)state;
	gp_state->n_assigned--;
}

static void free_gmem(uint32_t index)
{
	struct gp_gmem *gmem = &gp_state->gmems[index];
	struct gp_vm *vm = &gp_state->vms[gmem->vm];

	/* kvm_gmem_release: the guest's mappings go, the slots stay, without a file. */
	gp_gmem_punched(index, 0, gmem->size);
	for (size_t i = 0; i < GP_SLOTS; i++)
		if (vm->slots[i].used && vm->slots[i].gmem == index)
			vm->slots[i].gmem = GP_NONE;
	gp_map_clear(&gmem->map);
	memset(gmem, 0, sizeof(*gmem));
}

static bool vm_is_held(uint32_t index)
{
	bool held = gp_fd_is_held(gp_state->device, gp_state->vms[index].inode);

	for (uint32_t i = 0; i < GP_VCPUS; i++)
		if (gp_state->vcpus[i].used && gp_state->vcpus[i].vm == index)
			held |= gp_fd_is_held(gp_state->device, gp_state->vcpus[i].inode);
	for (uint32_t i = 0; i < GP_GMEMS; i++) {
		if (!gp_state->gmems[i].used || gp_state->gmems[i].vm != index)
			continue;
		if (gp_fd_is_held(gp_state->gmems[i].device, gp_state->gmems[i].inode))
			held = true;
		else
			free_gmem(i);
	}
	/* sev_vm_copy_enc_context_from: a mirror holds its source. */
	for (uint32_t i = 0; i < GP_VMS; i++)
		held |= gp_state->vms[i].used && gp_state->vms[i].mirror_of == index;
	return held;
}

static void free_vm(uint32_t index)
{
	struct gp_vm *vm = &gp_state->vms[index];

	for (uint32_t i = 0; i < GP_VCPUS; i++)
		if (gp_state->vcpus[i].used && gp_state->vcpus[i].vm == index)
			gp_state->vcpus[i].used = false;
	gp_map_each(&vm->map, 0, UINT64_MAX, GP_GFN_MAPPED, count_off, NULL);
	gp_map_clear(&vm->map);
	memset(vm, 0, sizeof(*vm));
}

void gp_reap(void)
{
	/* It must not read /proc/locks and write files; whoever makes the next VM does. */
	if (gp_is_confined)
		return;
	gp_fd_read_locks();
	for (uint32_t i = 0; i < GP_VMS; i++)
		if (gp_state->vms[i].used && !vm_is_held(i))
			free_vm(i);
	gp_write_misc();
}

static void write_file(const char *name, const unsigned values[GP_POOLS])
{
	char path[PATH_MAX + 32], text[128];
	int fd, n;

	(void)snprintf(path, sizeof(path), "%s/%s", gp_folder, name);
	n = snprintf(text, sizeof(text), "sev %u\nsev_es %u\ntdx %u\n", values[GP_POOL_SEV],
		     values[GP_POOL_SEV_ES], values[GP_POOL_TDX]);
	fd = gp_real_open(path, O_WRONLY | O_CLOEXEC, 0);
	/* A reader sees one or the other text: the new one, and its end, come in one write each. */
	if (fd >= 0 && (pwrite(fd, text, (size_t)n, 0) != n || ftruncate(fd, n) < 0))
		(void)unlink(path);
	if (fd >= 0)
		(void)close(fd);
}

/* misc.capacity and misc.current, as the misc controller of the root group has them. */
void gp_write_misc(void)
{
	unsigned capacity[GP_POOLS], used[GP_POOLS];

	for (int i = 0; i < GP_POOLS; i++) {
		capacity[i] = gp_state->capacity[i];
		used[i] = gp_id_used((enum gp_pool)i);
	}
	write_file("misc.capacity", capacity);
	write_file("misc.current", used);
}
