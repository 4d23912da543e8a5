/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A box: the way of one fd of a client's to the daemon, by way of a worker. The client gets one end
 * of a socket, a worker that has nothing else has the other one, and passes on what came if it is
 * memory. So no process of the daemon's ever has an fd whose close asks a stranger.
 *
 *   OPENING   no worker has the other end yet
 *   OPEN      the client may send
 *   FULL      its fd is here, and nobody has asked for it yet
 *   FAILED    why nothing will come, until somebody asks
 *
 * The daemon itself has no copy of the other end once the client has its own: the last close of a
 * socket closes the fds that wait in it.
 */
#ifndef GM_EXEC_BOX_H
#define GM_EXEC_BOX_H

#include "exec.h"

/* Of one session at one time. */
#define GM_EXEC_BOXES_MAX 8

struct gm_exec_box_ops {
	/*
	 * Once, unless gm_exec_open_box() fails, and never from within it. 0: @fd, borrowed, is for
	 * the client; or a verdict or -errno, and the box is no more.
	 */
	void (*opened)(void *arg, struct gm_exec_box *box, int result,
		       const struct gm_refusal *refusal, int fd);
};

/*
 * For a domain of the session's. @pidfd: of its process, borrowed; -1: there is none. 0, a verdict
 * or -errno.
 */
GM_WARN_UNUSED int gm_exec_open_box(struct gm_exec *exec, struct gm_session *session, int pidfd,
				    const struct gm_domain *domain, uint64_t id,
				    const struct gm_exec_box_ops *ops, void *arg,
				    struct gm_refusal *refusal);

uint64_t gm_exec_box_id(const struct gm_exec_box *box);
/* What is not claimed by then is closed. */
void gm_exec_box_set_deadline(struct gm_exec_box *box, uint64_t deadline_ms);

/*
 * Once, maybe from within gm_exec_claim_box(). Takes @fd, which comes with 0; the box is no more.
 */
typedef void (*gm_exec_claim_fn)(void *arg, int result, const struct gm_refusal *refusal, int fd);

/* The fd of the session's box for the domain: now, or as soon as it comes. 0 or a verdict. */
GM_WARN_UNUSED int gm_exec_claim_box(struct gm_exec *exec, const struct gm_session *session,
				     const struct gm_domain *domain, uint64_t id,
				     gm_exec_claim_fn fn, void *arg, struct gm_refusal *refusal);

/*
 * Those of the session, or of the domain (the other is NULL). Whoever waits for one is told soon:
 * GM_CANCELLED.
 */
void gm_exec_close_boxes(struct gm_exec *exec, const struct gm_session *session,
			 const struct gm_domain *domain);

/* Closed ones whose end nobody has been told yet. */
uint32_t gm_exec_closing_boxes(const struct gm_exec *exec);

/* Those whose time is over. */
void gm_exec_expire_boxes(struct gm_exec *exec, uint64_t now_ms);

#endif
