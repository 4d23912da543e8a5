/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ownership of locals by cleanup attribute. A local that is handed over is emptied by the take
 * helpers as the last act of the function that hands it over.
 */
#ifndef GM_CLEANUP_H
#define GM_CLEANUP_H

#include <stdlib.h>

#include "gm_fd.h"

static inline void gm_cleanup_free(void *slot)
{
	free(*(void **)slot);
}

static inline void gm_cleanup_close(int *fd)
{
	gm_fd_close(*fd);
}

#define _gm_free_ __attribute__((cleanup(gm_cleanup_free)))
#define _gm_close_ __attribute__((cleanup(gm_cleanup_close)))
#define _gm_cleanup_(fn) __attribute__((cleanup(fn)))

static inline int gm_take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define gm_take_ptr(slot)                           \
	({                                          \
		__typeof__(slot) _slot = (slot);    \
		__typeof__(*_slot) _taken = *_slot; \
		*_slot = NULL;                      \
		_taken;                             \
	})

#endif
