/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the service asks of whoever keeps the record, so that a daemon that is killed at any
 * instruction leaves nothing half done: what is done is recorded before anybody is told.
 *
 * Sessions with a key can be resumed from the record. The answers to their requests that change
 * something are kept with it, so that a request that comes again is not done again.
 */
#ifndef GM_RECORDER_H
#define GM_RECORDER_H

#include "gm_frame.h"
#include "model.h"

/* Longer answers are not kept: theirs is a request that may be carried out again. */
#define GM_KEPT_BODY_MAX 94u

/* How many of a session are kept: as many as it may have unanswered. */
#define GM_KEPT_ANSWERS 256u

struct gm_kept_answer {
	uint32_t serial;
	uint16_t type;
	uint16_t length;
	uint8_t body[GM_KEPT_BODY_MAX];
};

struct gm_recorder_ops {
	/*
	 * Records all that is marked in the books and, with it, the @session's answer (NULL: none)
	 * in one piece.
	 */
	void (*commit)(void *arg, struct gm_session *session, const struct gm_kept_answer *answer);
	bool (*find_answer)(void *arg, const struct gm_session *session, uint32_t serial,
			    struct gm_kept_answer *ret_answer);

	/* Is there room for one more? 0, or a verdict; asked before the books are. */
	int (*room_for_session)(void *arg, struct gm_refusal *refusal);
	int (*room_for_domain)(void *arg, struct gm_refusal *refusal);
	int (*room_for_region)(void *arg, uint64_t size, struct gm_refusal *refusal);
	int (*room_for_launch)(void *arg, struct gm_refusal *refusal);

	/*
	 * The session is about to have a domain. @pidfd, borrowed, -1 where there is none, must
	 * outlive this daemon. 0 or -errno.
	 */
	int (*hold)(void *arg, const struct gm_session *session, int pidfd);
	/* The session that was held has another process now, or is about to end. */
	void (*let_go)(void *arg, const struct gm_session *session);
	/* The process of a session that waits to be resumed: borrowed, -1 where it is not known. */
	int (*pidfd)(void *arg, const struct gm_session *session);
	/*
	 * A session that came from the record has a connection again. True: the process that it had
	 * lives, and its pidfd is held.
	 */
	bool (*resumed)(void *arg, const struct gm_session *session);
};

struct gm_recorder {
	const struct gm_recorder_ops *ops; /* NULL: nothing is recorded */
	void *arg;
};

#endif
