/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands for the kernel's fds: an open file of its own for each VM and vCPU, so that it can be
 * passed, duplicated, mapped and closed as any other. Its inode is the key.
 *
 * Whether anybody still holds it is asked of the kernel: it has a lock (flock) that goes with the
 * last reference on its open file description, wherever that is, in flight or mapped.
 * /proc/locks shows it to all users.
 *
 * A guest_memfd is a real one, made on a hidden VM of the default type, where the host has them;
 * else a file as above.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "state.h"

static bool is_real_kvm(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(10, 232);
}

enum gp_kind gp_fd_find(int fd, uint32_t *ret_index)
{
	struct stat st;

	*ret_index = 0;
	if (fstat(fd, &st) < 0)
		return GP_FD_OTHER;
	if (is_real_kvm(&st))
		return GP_FD_KVM;
	for (uint32_t i = 0; i < GP_GMEMS; i++) {
		const struct gp_gmem *gmem = &gp_state->gmems[i];

		if (gmem->used && gmem->inode == st.st_ino && gmem->device == st.st_dev) {
			*ret_index = i;
			return GP_FD_GMEM;
		}
	}
	if (st.st_dev != gp_state->device)
		return GP_FD_OTHER;
	if (st.st_ino == gp_state->kvm_inode)
		return GP_FD_KVM;
	if (st.st_ino == gp_state->sev_inode)
		return GP_FD_SEV;
	for (uint32_t i = 0; i < GP_VMS; i++)
		if (gp_state->vms[i].used && gp_state->vms[i].inode == st.st_ino) {
			*ret_index = i;
			return GP_FD_VM;
		}
	for (uint32_t i = 0; i < GP_VCPUS; i++)
		if (gp_state->vcpus[i].used && gp_state->vcpus[i].inode == st.st_ino) {
			*ret_index = i;
			return GP_FD_VCPU;
		}
	return GP_FD_OTHER;
}

int gp_fd_make(const char *name, uint32_t index, uint64_t size, uint64_t *ret_inode)
{
	char path[PATH_MAX + 64];
	struct stat st;
	int fd, r;

	(void)snprintf(path, sizeof(path), "%s/%s-%u", gp_folder, name, index);
	(void)unlink(path);
	fd = gp_real_open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
	if (fd < 0)
		return -errno;
	if (fchmod(fd, 0666) < 0 || ftruncate(fd, (off_t)size) < 0 ||
	    flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	*ret_inode = st.st_ino;
	return fd;
}

/* Its own open, or one that the caller was given. */
int gp_fd_real_kvm(void)
{
	int fd = gp_real_open("/dev/kvm", O_RDONLY | O_CLOEXEC, 0);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && is_real_kvm(&st))
		return fd;
	if (fd >= 0)
		(void)close(fd);
	for (fd = 0; fd < 1024; fd++)
		if (fstat(fd, &st) == 0 && is_real_kvm(&st))
			return fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return -1;
}

static int find_gmem(uint32_t gmem)
{
	static int last = -1;
	uint32_t index;

	if (last >= 0 && gp_fd_find(last, &index) == GP_FD_GMEM && index == gmem)
		return last;
	for (last = 1023; last >= 0; last--)
		if (gp_fd_find(last, &index) == GP_FD_GMEM && index == gmem)
			break;
	return last;
}

/* What the VMM has written through a mapping. One that cannot be mapped has only zeros. */
void gp_fd_read_gmem(uint32_t gmem, uint64_t page, uint8_t bytes[GP_PAGE_SIZE])
{
	int fd = find_gmem(gmem);
	void *map = MAP_FAILED;

	if (fd >= 0)
		map = mmap(NULL, GP_PAGE_SIZE, PROT_READ, MAP_SHARED, fd,
			   (off_t)(page * GP_PAGE_SIZE));
	memset(bytes, 0, GP_PAGE_SIZE);
	if (map == MAP_FAILED)
		return;
	memcpy(bytes, map, GP_PAGE_SIZE);
	(void)munmap(map, GP_PAGE_SIZE);
}

/* All locks of the machine, as the kernel lists them: once for many questions. */
static char locks[256 * 1024];

/* Appends them to what is there. */
static size_t read_locks(size_t size)
{
	int fd = gp_real_open("/proc/locks", O_RDONLY | O_CLOEXEC, 0);
	ssize_t n = 1;

	while (fd >= 0 && n > 0 && size < sizeof(locks) - 1) {
		n = read(fd, locks + size, sizeof(locks) - 1 - size);
		size += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		(void)close(fd);
	return size;
}

/*
 * Read in pieces, the list leaves out a lock when another before it goes meanwhile (seq_file counts
 * what it has shown). What is held is in one of three.
 */
void gp_fd_read_locks(void)
{
	size_t size = 0;

	for (int i = 0; i < 3; i++)
		size = read_locks(size);
	locks[size] = '\0';
}

/* "1: FLOCK  ADVISORY  WRITE 2034 00:10:4224 0 EOF". */
bool gp_fd_is_held(uint64_t device, uint64_t inode)
{
	char want[64];

	(void)snprintf(want, sizeof(want), " %02x:%02x:%llu 0 EOF", major(device), minor(device),
		       (unsigned long long)inode);
	return strstr(locks, want) != NULL;
}
