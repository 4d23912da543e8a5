/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_file.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "gm_kvm_uapi.h"

/* On 6.18 the file system is that of eventfds and VMs too: only the link text tells. */
static bool is_guest_memfd(int fd)
{
	char path[32], text[64];
	struct statfs fs;
	ssize_t n;

	if (fstatfs(fd, &fs) < 0 ||
	    (fs.f_type != GM_ANON_INODE_FS_MAGIC && fs.f_type != GM_GUEST_MEMFD_MAGIC))
		return false;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, text, sizeof(text) - 1);
	if (n < 0)
		return false;
	text[n] = '\0';
	return strstr(text, GM_GUEST_MEMFD_LINK) != NULL;
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

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return false;
	return is_guest_memfd(fd);
}
