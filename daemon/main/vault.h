/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory that the record lies in: two sealed memfds, which whoever keeps fds for the daemon
 * holds, too, mapped here. They have every token and session key: nobody else ever gets them.
 */
#ifndef GM_VAULT_H
#define GM_VAULT_H

#include "store.h"

struct gm_vault {
	struct gm_store_area area;
	int fds[GM_STORE_PART_N_]; /* -1 once closed: a mapping needs none */
	int lock;		   /* the state, locked; -1: it is not */
};

#define GM_VAULT_NULL ((struct gm_vault){ .fds = { -1, -1 }, .lock = -1 })

/*
 * Both lock the state, for as long as the vault is there: two daemons with one record would each
 * undo what the other writes. The lock is on an open file of this process alone, so that neither a
 * worker nor whoever keeps the fds has it, and it goes with the process however that ends, before
 * its parent hears of the end.
 */

/* New ones, empty. 0 or -errno. */
GM_WARN_UNUSED int gm_vault_make(struct gm_vault *ret_vault);

/*
 * Those of an earlier daemon; takes the fds on success. 0; -EBADF where one is no memfd that is
 * sealed against shrinking (whoever could shrink it could kill the daemon); -EBUSY where another
 * process has the lock; or -errno.
 */
GM_WARN_UNUSED int gm_vault_adopt(int state, int maps, struct gm_vault *ret_vault);

void gm_vault_close_fds(struct gm_vault *vault);

/* For gm_store_set_release(). */
void gm_vault_release(void *vault, enum gm_store_part part, uint64_t offset, uint64_t length);

/* Unmaps and closes. Idempotent. */
void gm_vault_done(struct gm_vault *vault);

#endif
