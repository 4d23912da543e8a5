/* SPDX-License-Identifier: Apache-2.0 */
#include "halves.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "gm_cleanup.h"
#include "gm_fd.h"
#include "kinds.h"
#include "kvm_ioctl.h"
#include "memory_file.h"

int gm_halves_open(int (*probe)(const void *platform, struct gm_probe *ret_probe),
		   const void *platform, struct gm_backend_state **ret_state,
		   struct gm_probe *ret_probe)
{
	struct gm_backend_state *state;
	struct gm_probe result;
	int r;

	r = gm_memfd_backend.open(&state, &result);
	if (r < 0)
		return r;
	if (result.usable)
		r = probe(platform, &result);
	if (r < 0 || !result.usable) {
		gm_memfd_backend.close(state);
		state = NULL;
	}
	if (r < 0)
		return r;
	*ret_state = state;
	*ret_probe = result;
	return 0;
}

/* By doing it, never by version or number: there and back, on a file that can be mapped. */
static int try_in_place(int vm)
{
	_gm_close_ int memory = gm_kvm_create_guest_memfd(vm, GM_PAGE_4K, GM_KVM_GUEST_MEMFD_MMAP);
	uint64_t at;
	int r;

	if (memory < 0)
		return memory;
	r = gm_kvm_convert(memory, 0, GM_PAGE_4K, 0, &at);
	return r < 0 ? r
		     : gm_kvm_convert(memory, 0, GM_PAGE_4K, GM_KVM_MEMORY_ATTRIBUTE_PRIVATE, &at);
}

static int try_two_halves(int vm, const char **ret_step)
{
	_gm_close_ int memory = -1;

	*ret_step = "creating a guest_memfd";
	memory = gm_kvm_create_guest_memfd(vm, GM_PAGE_4K, 0);
	if (memory < 0)
		return memory;
	*ret_step = "making a page private";
	return gm_kvm_set_attributes(vm, 0, GM_PAGE_4K, GM_KVM_MEMORY_ATTRIBUTE_PRIVATE);
}

int gm_halves_try(int kvm_fd, unsigned long vm_type, struct gm_halves_trial *ret_trial)
{
	_gm_close_ int vm = -1;

	*ret_trial = (struct gm_halves_trial){ .step = "creating a VM of this type" };
	vm = gm_kvm_create_vm(kvm_fd, vm_type);
	if (vm < 0)
		return vm;
	ret_trial->not_in_place = try_in_place(vm);
	ret_trial->in_place = ret_trial->not_in_place == 0;
	if (ret_trial->in_place || gm_kvm_is_shortage(ret_trial->not_in_place))
		return ret_trial->not_in_place;
	return try_two_halves(vm, &ret_trial->step);
}

/* EINVAL is the flag for mappings, which guest_memfds have since 6.18. */
void gm_halves_tell(const struct gm_halves_trial *trial, struct gm_probe *probe)
{
	size_t length = strlen(probe->reason);

	if (trial->in_place)
		probe->caps |= GM_CAP_IN_PLACE_CONVERSION;
	(void)snprintf(probe->reason + length, sizeof(probe->reason) - length, "; %s%s",
		       trial->in_place ? "converted in place"
				       : "in two halves, not in place: the kernel has no ",
		       trial->in_place			? ""
		       : trial->not_in_place == -EINVAL ? "guest_memfd to map"
							: "KVM_SET_MEMORY_ATTRIBUTES2");
}

/* ---- the shared half ---- */

void gm_halves_close(struct gm_backend_state *state)
{
	gm_memfd_backend.close(state);
}

int gm_halves_create(struct gm_backend_state *state, const struct gm_backing *want, int *ret_fd,
		     struct gm_refusal *refusal)
{
	if (want->page_size != GM_PAGE_4K)
		return -EINVAL;
	return gm_memfd_backend.create(state, want, ret_fd, refusal);
}

int gm_halves_verify(int fd, uint64_t size, uint64_t page_size)
{
	return gm_memfd_backend.verify(fd, size, page_size);
}

int gm_halves_allocate(int fd, uint64_t offset, uint64_t length)
{
	return gm_memfd_backend.allocate(fd, offset, length);
}

int gm_halves_discard(int fd, uint64_t offset, uint64_t length, uint64_t page_size)
{
	return gm_memfd_backend.discard(fd, offset, length, page_size);
}

int gm_halves_present(int fd, uint64_t offset, uint64_t length, uint64_t page_size,
		      uint64_t *ret_bytes)
{
	return gm_memfd_backend.present(fd, offset, length, page_size, ret_bytes);
}

/* ---- the private half ---- */

/* Without the MMAP flag nobody can look into it. */
int gm_halves_private_verify(int fd, uint64_t size)
{
	return gm_is_memory_file(fd, size) && !gm_memory_file_is_mappable(fd) ? 0 : -EBADF;
}

int gm_halves_verify_in_place(int fd, uint64_t size)
{
	return gm_is_memory_file(fd, size) && gm_memory_file_is_mappable(fd) ? 0 : -EBADF;
}

int gm_halves_private_present(int fd, uint64_t offset, uint64_t length, uint64_t page_size,
			      uint64_t *ret_bytes)
{
	return gm_guest_memfd_backend.present(fd, offset, length, page_size, ret_bytes);
}
