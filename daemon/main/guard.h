/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions that came from the record and wait to be resumed. One whose process ends meanwhile ends
 * with it, and what was bound to it; one whose process nobody can watch ends after some time.
 */
#ifndef GM_GUARD_H
#define GM_GUARD_H

#include "gm_loop.h"
#include "model.h"

/* For how long a session may wait whose process is not known to be there. */
#define GM_GUARD_WAIT_MS 30000

struct gm_guards;

/* @end is called for a session that nobody is to wait for any more, once. */
GM_WARN_UNUSED int gm_guards_new(struct gm_loop_ref loop,
				 void (*end)(void *arg, struct gm_session *session), void *arg,
				 struct gm_guards **ret_guards);
/* Accepts NULL. */
void gm_guards_free(struct gm_guards *guards);

/* Takes @pidfd on success; -1: there is none. 0 or -errno. */
GM_WARN_UNUSED int gm_guards_add(struct gm_guards *guards, struct gm_session *session, int pidfd);

/* It has a connection again, or has ended. Idempotent. True: its process is known, and lives. */
bool gm_guards_forget(struct gm_guards *guards, const struct gm_session *session);

/* The process of a session that waits: borrowed, or -1. */
int gm_guards_pidfd(const struct gm_guards *guards, const struct gm_session *session);

/* Has the process @pid ended for certain? One that is there may be another of that number. */
bool gm_guard_is_gone(pid_t pid);

/* Is @fd a pidfd of the process @pid, even of one that has ended? */
bool gm_guard_is_pidfd(int fd, pid_t pid);

#endif
