/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges of a memory file: allocate, punch, and ask what is there. The same calls serve every kind
 * that is a file to the kernel. 0 or -errno.
 */
#ifndef GM_FILE_RANGE_H
#define GM_FILE_RANGE_H

#include "gm_num.h"

/* @mode: 0 or FALLOC_FL_KEEP_SIZE, whichever the file understands. */
GM_WARN_UNUSED int gm_file_allocate(int fd, int mode, uint64_t offset, uint64_t length);
GM_WARN_UNUSED int gm_file_punch(int fd, uint64_t offset, uint64_t length);

/*
 * Bytes of the page cache in the range, pages that swap has taken included. -EOPNOTSUPP for
 * hugetlb files and before Linux 6.5.
 */
GM_WARN_UNUSED int gm_file_cached(int fd, uint64_t offset, uint64_t length, uint64_t *ret_bytes);

/*
 * The same from st_blocks, which counts the file as a whole: -EOPNOTSUPP where that total does
 * not settle the range. Not for guest_memfd, whose st_blocks is always 0.
 */
GM_WARN_UNUSED int gm_file_blocks(int fd, uint64_t offset, uint64_t length, uint64_t *ret_bytes);

#endif
