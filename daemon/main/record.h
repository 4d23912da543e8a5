/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the service and exec tell the record, and what is put into the fd store: the order between
 * the two is theirs (recorder.h, exec.h), the work is done here.
 */
#ifndef GM_RECORD_H
#define GM_RECORD_H

#include "exec.h"
#include "fd_store.h"
#include "guard.h"
#include "recorder.h"
#include "store.h"

/* Who keeps fds for the next daemon. 0 or -errno; as gm_fd_store_push() and _remove(). */
struct gm_keeper_ops {
	int (*push)(void *arg, const char *name, int fd);
	int (*remove)(void *arg, const char *name);
};

struct gm_record {
	struct gm_store *store;
	struct gm_book *book;
	const struct gm_keeper_ops *keeper;
	void *keeper_arg;
	struct gm_guards *guards; /* of sessions that wait to be resumed */
	bool failed;		  /* has been said */

	/*
	 * Removals that the keeper was too busy for, oldest first. A number may be used again at
	 * once, so nothing is pushed before them.
	 */
	struct gm_unremoved *unremoved;
	bool lets_go; /* some of @unremoved wait for the next commit */
	size_t n_unremoved;
	size_t max_unremoved;
	struct gm_loop_ref loop;
	struct gm_watch *retry; /* NULL: only with the next push or removal */
};

/* For removals that have to be tried again. 0 or -errno. */
GM_WARN_UNUSED int gm_record_start(struct gm_record *record, struct gm_loop_ref loop);

/* Idempotent; what could not be removed is found to be nobody's by the next daemon. */
void gm_record_done(struct gm_record *record);

/*
 * Removes what is in the fd store under this name: now, or as soon as the keeper takes it, and
 * before anything else is pushed.
 */
void gm_record_remove(struct gm_record *record, enum gm_stored_kind kind, uint32_t number);

/* @arg of both: the struct gm_record. */
extern const struct gm_recorder_ops gm_record_recorder_ops;
extern const struct gm_exec_keep_ops gm_record_keep_ops;

#endif
