/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of this daemon, from finding it to leaving it to the next one. Off unless somebody
 * keeps fds for the daemon: then nothing of this is there, and what ends with it is lost.
 */
#ifndef GM_RECORDING_H
#define GM_RECORDING_H

#include "fd_store.h"
#include "opts.h"
#include "record.h"
#include "restore.h"
#include "vault.h"

struct gm_recording {
	bool is_on;
	bool is_new; /* nothing to come back */
	struct gm_fd_store fds;
	struct gm_vault vault;
	struct gm_record record;
	struct gm_stored *stored; /* of an earlier daemon; freed once restored */
	size_t n_stored;
	struct gm_restore results;
};

/* Takes the stored fds out of @inherited. */
void gm_recording_take(struct gm_recording *recording, struct gm_inherited_fds *inherited);

/*
 * Finds the record, or makes one, where somebody keeps fds. The tenants are in the books and get no
 * more than can be kept. 0; or an error that has been logged.
 */
GM_WARN_UNUSED int gm_recording_open(struct gm_recording *recording, const struct gm_opts *opts,
				     struct gm_book *book);

/* Before anybody is served. 0; or an error that has been logged. */
GM_WARN_UNUSED int gm_recording_restore(struct gm_recording *recording, struct gm_exec *exec,
					struct gm_service *service, struct gm_loop_ref loop,
					uint64_t host_memory);

/*
 * The sessions that wait to be resumed are about to go: their processes are watched no longer.
 * Idempotent.
 */
void gm_recording_stop(struct gm_recording *recording);

/* Leaves everything to the next daemon. Idempotent. */
void gm_recording_done(struct gm_recording *recording);

#endif
