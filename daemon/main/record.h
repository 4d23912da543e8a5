/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the service and exec tell the record, and what is put into the fd store: the order between
 * the two is theirs (recorder.h, exec.h), the work is done here.
 */
#ifndef GM_RECORD_H
#define GM_RECORD_H

#include "exec.h"
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
};

/* @arg of both: the struct gm_record. */
extern const struct gm_recorder_ops gm_record_recorder_ops;
extern const struct gm_exec_keep_ops gm_record_keep_ops;

#endif
