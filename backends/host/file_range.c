/* SPDX-License-Identifier: Apache-2.0 */
#include "file_range.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux 6.5, the same number on every architecture; unknown to the headers of 6.1. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

struct cachestat_range {
	uint64_t offset;
	uint64_t length;
};

struct cachestat_result {
	uint64_t cached;
	uint64_t dirty;
	uint64_t writeback;
	uint64_t evicted;
	uint64_t recently_evicted;
};

static int file_change(int fd, int mode, uint64_t offset, uint64_t length)
{
	int r;

	/*
	 * A signal ends it with EINTR; what was allocated stays (guest_memfd, hugetlb) or is taken
	 * back (shmem_fallocate), so the whole range is asked for again.
	 */
	do {
		r = fallocate(fd, mode, (off_t)offset, (off_t)length);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

int gm_file_allocate(int fd, int mode, uint64_t offset, uint64_t length)
{
	return length ? file_change(fd, mode, offset, length) : 0;
}

int gm_file_punch(int fd, uint64_t offset, uint64_t length)
{
	return length ? file_change(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)
		      : 0;
}

/*
 * Neither mincore nor SEEK_DATA will do: both report only pages that are up to date, and a page
 * from fallocate is not until it is touched (mincore_page, folio_seek_hole_data). For hugetlb
 * mincore reads the caller's page table. Where the caller may not write the file mincore even
 * reports every page present (can_do_mincore, since 5.2). cachestat counts what the page cache
 * holds, and swapped pages of shmem as evicted.
 */
int gm_file_cached(int fd, uint64_t offset, uint64_t length, uint64_t *ret_bytes)
{
	struct cachestat_range range = { offset, length };
	struct cachestat_result result = { 0 };

	/* To the kernel length 0 means to the end of the file. */
	if (!length) {
		*ret_bytes = 0;
		return 0;
	}
	if (syscall(SYS_cachestat, fd, &range, &result, 0) < 0)
		return errno == ENOSYS ? -EOPNOTSUPP : -errno;
	*ret_bytes = (result.cached + result.evicted) * GM_PAGE_4K;
	return 0;
}

int gm_file_blocks(int fd, uint64_t offset, uint64_t length, uint64_t *ret_bytes)
{
	uint64_t size, present;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	size = (uint64_t)st.st_size;
	present = (uint64_t)st.st_blocks * 512;
	if (present == 0 || length == 0)
		*ret_bytes = 0;
	else if (present >= size)
		*ret_bytes = length;
	else if (offset == 0 && length == size)
		*ret_bytes = present;
	else
		return -EOPNOTSUPP;
	return 0;
}
