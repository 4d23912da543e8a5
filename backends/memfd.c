/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kind "memfd": shmem for 4K pages, hugetlb for larger ones, its size fixed by seals.
 *
 * An unprivileged holder may open the file anew through /proc/self/fd: a memfd's inode has mode
 * 0777, or 0666 without exec, whatever the umask. Holding the fd is full power already, so nothing
 * is gained by a stricter mode, and VMMs that take a path would be lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>
#include <linux/memfd.h>

#include "file_range.h"
#include "gm_cleanup.h"
#include "huge_pool.h"
#include "kinds.h"
#include "mbind.h"
#include "own_fd.h"

/* Linux 6.3. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif

#define MEMFD_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

struct gm_backend_state {
	unsigned flags; /* of memfd_create, without those of the page size */
	uint64_t page_sizes;
};

static unsigned huge_flags(uint64_t page_size)
{
	if (page_size == GM_PAGE_4K)
		return 0;
	return MFD_HUGETLB | (unsigned)__builtin_ctzll(page_size) << MFD_HUGE_SHIFT;
}

static int memfd_new(const char *name, unsigned flags)
{
	int fd = memfd_create(name, flags);

	return fd < 0 ? -errno : gm_own_fd(fd);
}

static int memfd_size_and_seal(int fd, uint64_t size)
{
	if (ftruncate(fd, (off_t)size) < 0)
		return -errno;
	if (fcntl(fd, F_ADD_SEALS, MEMFD_SEALS) < 0)
		return -errno;
	return 0;
}

/* Sets the policy of the inode, so that it holds for whoever allocates (shmem_set_policy). */
static int bind_inode(int fd, uint64_t size, uint64_t nodes)
{
	void *map;
	int r;

	map = mmap(NULL, size, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	r = gm_mbind(map, size, nodes);
	(void)munmap(map, size);
	return r;
}

static int refuse_nodes(struct gm_refusal *refusal, uint64_t nodes)
{
	return gm_refuse_text(refusal, GM_INVALID, GM_RULE_NUMA_NODES, "region",
			      "none of the NUMA nodes 0x%llx has memory that the daemon may use",
			      (unsigned long long)nodes);
}

static int make_small(int fd, const struct gm_backing *want, struct gm_refusal *refusal)
{
	int r;

	r = memfd_size_and_seal(fd, want->size);
	if (r < 0 || !want->numa_nodes)
		return r;
	r = bind_inode(fd, want->size, want->numa_nodes);
	return r == -EINVAL ? refuse_nodes(refusal, want->numa_nodes) : r;
}

/*
 * hugetlb has no policy of the inode (hugetlb_vm_ops has no set_policy; "hugetlbfs: drop shared
 * NUMA mempolicy pretence", 6.7): nodes are checked here, and the worker that allocates binds
 * itself.
 */
static int make_huge(int fd, const struct gm_backing *want, struct gm_refusal *refusal)
{
	int r;

	r = memfd_size_and_seal(fd, want->size);
	if (r < 0)
		return r;
	r = gm_huge_reserve(fd, 0, want->size, want->numa_nodes);
	if (r == -EINVAL && want->numa_nodes)
		return refuse_nodes(refusal, want->numa_nodes);
	if (r < 0 && r != -ENOMEM)
		return r;
	/* First, as it names the nodes; a reservation that was had may not fit on them either. */
	if (want->numa_nodes) {
		int verdict = gm_huge_check_nodes(want->page_size, want->numa_nodes, want->promised,
						  want->size, refusal);

		if (verdict)
			return verdict;
	}
	return r == -ENOMEM ? gm_huge_refuse(refusal, want->page_size, want->size) : 0;
}

static int memfd_backend_create(struct gm_backend_state *state, const struct gm_backing *want,
				int *ret_fd, struct gm_refusal *refusal)
{
	_gm_close_ int fd = -1;
	int r;

	if (!gm_is_power_of_two(want->page_size) || !(want->page_size & state->page_sizes) ||
	    !gm_is_aligned(want->size, want->page_size) || want->size == 0 ||
	    want->size >= GM_ADDRESS_END)
		return -EINVAL;
	fd = memfd_new(want->name, state->flags | huge_flags(want->page_size));
	if (fd < 0)
		return fd;
	if (want->page_size == GM_PAGE_4K)
		r = make_small(fd, want, refusal);
	else
		r = make_huge(fd, want, refusal);
	if (r != 0)
		return r;
	*ret_fd = gm_take_fd(&fd);
	return 0;
}

static int memfd_backend_verify(int fd, uint64_t size, uint64_t page_size)
{
	struct statfs fs;
	struct stat st;
	int seals, flags;
	bool huge;

	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || (flags & O_ACCMODE) != O_RDWR || (flags & O_PATH))
		return -EBADF;
	if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
		return -EBADF;
	huge = page_size != GM_PAGE_4K;
	if (fs.f_type != (huge ? HUGETLBFS_MAGIC : TMPFS_MAGIC) ||
	    (uint64_t)fs.f_bsize != page_size)
		return -EBADF;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return -EBADF;
	/* A file in a mounted tmpfs has F_SEAL_SEAL and no other (shmem_get_inode). */
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & ~F_SEAL_EXEC) != MEMFD_SEALS)
		return -EBADF;
	return 0;
}

static int memfd_backend_allocate(int fd, uint64_t offset, uint64_t length)
{
	return gm_file_allocate(fd, 0, offset, length);
}

static int memfd_backend_discard(int fd, uint64_t offset, uint64_t length, uint64_t page_size)
{
	int r;

	r = gm_file_punch(fd, offset, length);
	if (r < 0 || page_size == GM_PAGE_4K || length == 0)
		return r;
	/* The hole's reservation went with its pages (remove_inode_hugepages): take a new one. */
	return gm_huge_reserve(fd, offset, length, 0);
}

static int memfd_backend_present(int fd, uint64_t offset, uint64_t length, uint64_t page_size,
				 uint64_t *ret_bytes)
{
	int r = -EOPNOTSUPP;

	if (page_size == GM_PAGE_4K)
		r = gm_file_cached(fd, offset, length, ret_bytes);
	if (r == -EOPNOTSUPP)
		r = gm_file_blocks(fd, offset, length, ret_bytes);
	return r;
}

/* Node by node: a mask with bits that the kernel has no room for is EINVAL as a whole. */
static bool can_bind(int fd)
{
	for (unsigned node = 0; node < 64; node++) {
		if (bind_inode(fd, GM_PAGE_4K, UINT64_C(1) << node) == 0)
			return true;
	}
	return false;
}

static int probe_small(struct gm_backend_state *state, bool *ret_binds)
{
	_gm_close_ int fd = -1;
	int r;

	state->flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL;
	fd = memfd_new("gmemd-probe", state->flags);
	if (fd == -EINVAL) {
		state->flags &= ~MFD_NOEXEC_SEAL;
		fd = memfd_new("gmemd-probe", state->flags);
	}
	if (fd < 0)
		return fd;
	r = memfd_size_and_seal(fd, GM_PAGE_4K);
	if (r < 0)
		return r;
	*ret_binds = can_bind(fd);
	return 0;
}

/* Adds to @state->page_sizes the sizes whose pool exists, and to @text how full it is. */
static void probe_huge(struct gm_backend_state *state, char *text, size_t text_size)
{
	static const uint64_t sizes[] = { GM_PAGE_2M, GM_PAGE_1G };
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < GM_ARRAY_SIZE(sizes); i++) {
		_gm_close_ int fd = -1;
		struct gm_huge_pool pool;
		int n;

		if (gm_huge_pool_read(sizes[i], &pool) < 0)
			continue;
		fd = memfd_new("gmemd-probe", state->flags | huge_flags(sizes[i]));
		if (fd < 0)
			continue;
		state->page_sizes |= sizes[i];
		n = snprintf(
			text + used, text_size - used, ", %s (%llu pages, %llu free)",
			gm_page_size_name(sizes[i]), (unsigned long long)pool.total,
			(unsigned long long)(pool.free - gm_min_u64(pool.reserved, pool.free)));
		used = gm_min_u64(used + (size_t)n, text_size - 1);
	}
}

static int memfd_backend_open(struct gm_backend_state **ret_state, struct gm_probe *ret_probe)
{
	struct gm_backend_state found = { 0 }, *state;
	char pools[GM_TEXT_MAX / 2];
	struct gm_probe probe = { 0 };
	bool binds = false;
	int r;

	r = probe_small(&found, &binds);
	if (r == -EMFILE || r == -ENFILE || r == -ENOMEM)
		return r;
	if (r < 0) {
		(void)snprintf(probe.reason, sizeof(probe.reason),
			       "the kernel makes no sealed memfd: %s", strerror(-r));
		*ret_probe = probe;
		*ret_state = NULL;
		return 0;
	}
	found.page_sizes = GM_PAGE_4K;
	probe_huge(&found, pools, sizeof(pools));
	probe.usable = true;
	probe.caps = GM_CAP_DAEMON_CREATES | GM_CAP_MAPPABLE | GM_CAP_SEALED;
	if (binds)
		probe.caps |= GM_CAP_NUMA;
	probe.page_sizes = found.page_sizes;
	(void)snprintf(probe.reason, sizeof(probe.reason), "pages of 4K%s%s", pools,
		       binds ? "" : "; no NUMA binding in this kernel");
	state = malloc(sizeof(*state));
	if (!state)
		return -ENOMEM;
	*state = found;
	*ret_probe = probe;
	*ret_state = state;
	return 0;
}

static void memfd_backend_close(struct gm_backend_state *state)
{
	free(state);
}

const struct gm_backend gm_memfd_backend = {
	.kind = "memfd",
	.open = memfd_backend_open,
	.close = memfd_backend_close,
	.create = memfd_backend_create,
	.verify = memfd_backend_verify,
	.allocate = memfd_backend_allocate,
	.discard = memfd_backend_discard,
	.present = memfd_backend_present,
};
