/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kind "guest-memfd": KVM's own guest memory, mapped and shared from the start (Linux 6.18), made
 * on a carrier VM that has no vCPU and never runs. Any process may map it and use the mapping as
 * ordinary memory of its own VM.
 *
 * The carrier belongs to the address space that opened it (see kvm_ioctl.h), so the state must be
 * opened by the process that creates. Every guest_memfd holds a reference on the carrier
 * (kvm_get_kvm): closing the state ends nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "file_range.h"
#include "gm_cleanup.h"
#include "kinds.h"
#include "kvm_ioctl.h"
#include "memory_file.h"

#define GMEM_FLAGS (GM_KVM_GUEST_MEMFD_MMAP | GM_KVM_GUEST_MEMFD_INIT_SHARED)

struct gm_backend_state {
	int carrier; /* VM */
};

static int gmem_create(struct gm_backend_state *state, const struct gm_backing *want, int *ret_fd,
		       struct gm_refusal *refusal)
{
	int fd;

	/*
	 * Nodes are left to the worker: up to 6.18 the file has no policy, the allocating task's
	 * own counts (kvm_gmem_get_folio).
	 */
	(void)refusal;
	if (want->page_size != GM_PAGE_4K || !gm_is_aligned(want->size, GM_PAGE_4K) ||
	    want->size == 0 || want->size >= GM_ADDRESS_END)
		return -EINVAL;
	fd = gm_kvm_create_guest_memfd(state->carrier, want->size, GMEM_FLAGS);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

static int gmem_verify(int fd, uint64_t size, uint64_t page_size)
{
	if (page_size != GM_PAGE_4K || !gm_is_memory_file(fd, size))
		return -EBADF;
	return gm_memory_file_is_mappable(fd) ? 0 : -EBADF;
}

/* kvm_gmem_fallocate knows no mode without KEEP_SIZE. */
static int gmem_allocate(int fd, uint64_t offset, uint64_t length)
{
	return gm_file_allocate(fd, FALLOC_FL_KEEP_SIZE, offset, length);
}

static int gmem_discard(int fd, uint64_t offset, uint64_t length, uint64_t page_size)
{
	(void)page_size;
	return gm_file_punch(fd, offset, length);
}

static int gmem_present(int fd, uint64_t offset, uint64_t length, uint64_t page_size,
			uint64_t *ret_bytes)
{
	(void)page_size;
	return gm_file_cached(fd, offset, length, ret_bytes);
}

static int gmem_convert(int fd, uint64_t offset, uint64_t length, bool to_private,
			uint64_t *ret_offset)
{
	return gm_kvm_convert(fd, offset, length, to_private ? GM_KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
			      ret_offset);
}

/*
 * Writes through the mapping by way of the kernel: where a touch would be a SIGBUS, getrandom
 * answers EFAULT, and the daemon lives to say why.
 */
static int try_memory(int fd, void *map)
{
	static const unsigned char zero[16];

	if (getrandom(map, sizeof(zero), GRND_NONBLOCK) < 0)
		return -errno;
	if (memcmp(map, zero, sizeof(zero)) == 0)
		return -EIO;
	if (gm_file_punch(fd, 0, GM_PAGE_4K) < 0)
		return -EIO;
	return memcmp(map, zero, sizeof(zero)) == 0 ? 0 : -EIO;
}

static int try_scratch(int carrier)
{
	_gm_close_ int fd = -1;
	void *map;
	int r;

	fd = gm_kvm_create_guest_memfd(carrier, GM_PAGE_4K, GMEM_FLAGS);
	if (fd < 0)
		return fd;
	map = mmap(NULL, GM_PAGE_4K, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	r = try_memory(fd, map);
	(void)munmap(map, GM_PAGE_4K);
	return r;
}

/* What works on this carrier, in @probe. 0, or -errno when the daemon is short of something. */
static int probe_carrier(int carrier, struct gm_probe *probe)
{
	struct utsname host;
	int flags, r;

	(void)uname(&host);
	r = gm_kvm_check_extension(carrier, GM_KVM_CAP_GUEST_MEMFD);
	flags = gm_kvm_check_extension(carrier, GM_KVM_CAP_GUEST_MEMFD_FLAGS);
	if (r <= 0 || flags <= 0 || ((uint64_t)flags & GMEM_FLAGS) != GMEM_FLAGS) {
		(void)snprintf(probe->reason, sizeof(probe->reason),
			       "kernel %.64s has no mappable guest_memfd (needs 6.18)",
			       host.release);
		return 0;
	}
	r = try_scratch(carrier);
	if (gm_kvm_is_shortage(r))
		return r;
	if (r < 0) {
		(void)snprintf(probe->reason, sizeof(probe->reason),
			       "kernel %.64s says it has mappable guest_memfd, but trying it: %s",
			       host.release, strerror(-r));
		return 0;
	}
	probe->usable = true;
	probe->caps = GM_CAP_DAEMON_CREATES | GM_CAP_MAPPABLE;
	probe->page_sizes = GM_PAGE_4K;
	(void)snprintf(
		probe->reason, sizeof(probe->reason),
		"pages of 4K; on NUMA nodes only what ALLOCATE places there: the rest goes where "
		"the VMM's threads run");
	return 0;
}

static int open_carrier(int *ret_carrier, struct gm_probe *probe)
{
	_gm_close_ int kvm = -1, carrier = -1;
	int r;

	r = gm_kvm_device_open(&kvm, probe->reason, sizeof(probe->reason));
	if (r < 0)
		return gm_kvm_is_shortage(r) ? r : 0;
	carrier = gm_kvm_create_vm(kvm, GM_KVM_VM_TYPE_DEFAULT);
	if (gm_kvm_is_shortage(carrier))
		return carrier;
	if (carrier < 0) {
		(void)snprintf(probe->reason, sizeof(probe->reason), "/dev/kvm: creating a VM: %s",
			       strerror(-carrier));
		return 0;
	}
	r = probe_carrier(carrier, probe);
	if (r < 0)
		return r;
	if (probe->usable)
		*ret_carrier = gm_take_fd(&carrier);
	return 0;
}

static int gmem_open(struct gm_backend_state **ret_state, struct gm_probe *ret_probe)
{
	struct gm_backend_state *state = NULL;
	_gm_close_ int carrier = -1;
	struct gm_probe probe = { 0 };
	int r;

	r = open_carrier(&carrier, &probe);
	if (r < 0)
		return r;
	if (probe.usable) {
		state = malloc(sizeof(*state));
		if (!state)
			return -ENOMEM;
		state->carrier = gm_take_fd(&carrier);
	}
	*ret_probe = probe;
	*ret_state = state;
	return 0;
}

static void gmem_close(struct gm_backend_state *state)
{
	if (!state)
		return;
	gm_fd_close(state->carrier);
	free(state);
}

const struct gm_backend gm_guest_memfd_backend = {
	.kind = "guest-memfd",
	.open = gmem_open,
	.close = gmem_close,
	.create = gmem_create,
	.verify = gmem_verify,
	.allocate = gmem_allocate,
	.discard = gmem_discard,
	.present = gmem_present,
	.convert = gmem_convert,
};
