/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is this fd a guest_memfd? All that can be told from the fd alone: nothing says which VM it is of
 * (the file has no operation that would), so a file that passes here can still be another VM's.
 */
#ifndef GM_MEMORY_FILE_H
#define GM_MEMORY_FILE_H

#include "gm_num.h"

/* A guest_memfd of exactly this size. */
bool gm_is_memory_file(int fd, uint64_t size);

/* Can it be mapped? Touches and allocates nothing. */
bool gm_memory_file_is_mappable(int fd);

#endif
