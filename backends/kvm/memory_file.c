/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "backend.h"
#include "gm_kvm_uapi.h"

/*
 * The file system is not asked: that of a stranger's file may take as long as it likes, or forever
 * (FUSE). The text of an anonymous file never begins with a slash (anon_inodefs_dname); a path
 * always does, and may hold any name behind it (d_path).
 */
bool gm_is_guest_memfd(int fd)
{
	char path[32], text[64];
	int flags = fcntl(fd, F_GETFL);
	ssize_t n;

	/* A mere path to one is of no use as memory. */
	if (flags < 0 || flags & O_PATH)
		return false;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, text, sizeof(text) - 1);
	if (n <= 0 || text[0] == '/')
		return false;
	text[n] = '\0';
	return strstr(text, GM_GUEST_MEMFD_LINK) != NULL;
}

/* On 6.18 the file system is that of eventfds and VMs too: it does not tell alone. */
static bool has_file_system(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 &&
	       (fs.f_type == GM_ANON_INODE_FS_MAGIC || fs.f_type == GM_GUEST_MEMFD_MAGIC);
}

/* Without the MMAP flag the file has no mmap (ENODEV). No page is touched: nothing is allocated. */
bool gm_memory_file_is_mappable(int fd)
{
	void *map = mmap(NULL, GM_PAGE_4K, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return false;
	(void)munmap(map, GM_PAGE_4K);
	return true;
}

bool gm_is_memory_file(int fd, uint64_t size)
{
	struct stat st;

	if (!gm_is_guest_memfd(fd) || !has_file_system(fd))
		return false;
	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
}
