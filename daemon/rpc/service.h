/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service: frames of sessions in, frames out. Knows verbs, sockets not.
 *
 * Runs on one thread. Whoever carries frames (transport, a test, a fuzzer) implements
 * struct gm_channel_ops and calls the four functions at the end.
 */
#ifndef GM_SERVICE_H
#define GM_SERVICE_H

#include "exec.h"
#include "gm_fdset.h"
#include "gm_frame.h"
#include "gm_loop.h"
#include "policies_view.h"
#include "recorder.h"

struct gm_service;
struct gm_link; /* a session as the service sees it */

struct gm_channel_ops {
	/*
	 * Sends or queues one packet. @fds are @frame->n_fds borrowed fds: what goes out at once
	 * costs no dup; a channel that has to queue the packet keeps its own copies, and body and
	 * fds are the service's again when this returns. Never calls back into the service. A
	 * channel that cannot queue more drops events (answers never are: their number is bounded
	 * by the requests it lets through), or is already closed: both silently.
	 */
	void (*send)(void *channel, const struct gm_frame *frame, const void *body, const int *fds);
	/* The peer's process: a borrowed pidfd, or -1. May be NULL: there are none. */
	int (*pidfd)(void *channel);
	/*
	 * Is there room for news that nobody has to have? May be NULL: always. Less than for other
	 * events, so that news never take the place of what a guest depends on.
	 */
	bool (*has_room)(void *channel);
};

/* What the service asks of the world, so that it has no clock and draws no random numbers. */
struct gm_service_env {
	struct gm_loop_ref loop;
	int (*random)(void *buffer, size_t size); /* 0 or -errno */
	uint64_t (*now_us)(void);		  /* CLOCK_MONOTONIC: how long things take */
	uint64_t (*rss_bytes)(void);
	void (*log)(const struct gm_news *news);
	struct gm_recorder recorder;
	const struct gm_policies_ops *policies; /* NULL: nobody can say */
	void *policies_arg;
};

GM_WARN_UNUSED int gm_service_new(struct gm_book *book, struct gm_exec *exec,
				  const struct gm_service_env *env,
				  struct gm_service **ret_service);
/* All links must be gone. Accepts NULL. */
void gm_service_free(struct gm_service *service);

/*
 * A connection came in. 0; or a verdict (sessions limit, draining): then the refusal has been
 * sent as an unasked HELLO answer with serial 0, and the caller closes the channel when it has
 * gone out.
 */
GM_WARN_UNUSED int gm_service_open(struct gm_service *service, struct gm_tenant *tenant,
				   const struct gm_peer *peer, const struct gm_channel_ops *ops,
				   void *channel, struct gm_link **ret_link);

/*
 * One packet whose frame is good. Takes the fds in any case. 0; or -EPROTO for a violation, with
 * *ret_fault naming it: the caller logs it and closes.
 */
GM_WARN_UNUSED int gm_service_packet(struct gm_link *link, const struct gm_frame *frame,
				     const void *body, struct gm_fdset *fds,
				     const char **ret_fault);

/* More requests than it may have unanswered: stop reading until this is false again. */
bool gm_link_is_full(const struct gm_link *link);

/* Its tenant is over its rate of requests: stop reading for so many milliseconds, then ask again.
 */
uint32_t gm_link_wait_ms(struct gm_link *link);

/* Has HELLO been seen? */
bool gm_link_is_open(const struct gm_link *link);

/* The channel has found a fault (not one that gm_service_packet has named), and cuts the peer off.
 */
void gm_service_violation(struct gm_link *link, const char *fault);

const struct gm_session *gm_link_session(const struct gm_link *link);

/*
 * The connection or the peer process is gone (or is to be cut off). Bound domains end, jobs are
 * cancelled. The link is freed, now or when its last job has ended; @channel is not used again.
 */
void gm_service_close(struct gm_link *link);

/* No new objects; every session is told. */
void gm_service_drain(struct gm_service *service, uint32_t drain_ms);

/* Jobs under way, over all sessions: a drain is over when it is 0. */
uint32_t gm_service_jobs(const struct gm_service *service);

/* Called from a timer: persistent domains that have outstayed their TTL end. */
void gm_service_expire(struct gm_service *service);

/* Takes @fd, which a peer of the tenant (NULL: the operator) has passed and nobody wants, and never
 * waits for it. */
void gm_service_dispose(struct gm_service *service, const struct gm_tenant *tenant, int fd);

/* Counts the news, has them logged, and tells whoever watches. */
void gm_service_tell(struct gm_service *service, const struct gm_news *news);

/* Ends every domain, orphaned ones too: at the daemon's end. */
void gm_service_end_all(struct gm_service *service);

/* ---- with a recorder ---- */

/*
 * A session that came from the record and that nobody has resumed ends: its process has gone, or
 * nobody can resume it. What was bound to it ends, too.
 */
void gm_service_end_session(struct gm_service *service, struct gm_session *session);

/* Records what has been changed in the books by others than the service: policies. */
void gm_service_settle(struct gm_service *service);

/*
 * From here on nothing is recorded: what ends now is there again when the next daemon starts. For
 * a daemon that stops, once its jobs have ended.
 */
void gm_service_stop_recording(struct gm_service *service);

/* Packs the body of a HOST answer: what `gmemd --probe` writes. 0 or -errno. */
GM_WARN_UNUSED int gm_service_pack_host(const struct gm_exec *exec, void *buffer,
					size_t *ret_length);

#endif
