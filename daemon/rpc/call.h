/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What handlers, the dispatcher and the service share: sessions with their unanswered requests,
 * and one call while it is being answered.
 */
#ifndef GM_CALL_H
#define GM_CALL_H

#include "bytes.h"
#include "gm_arena.h"
#include "gm_msg.h"
#include "gm_version.h"
#include "gmem.pb-c.h"
#include "method.h"
#include "service.h"

/* Listings of one session that may be half read at the same time. */
#define GM_LINK_CURSORS 8

/*
 * Where a listing goes on. A cursor is the session's own number for it: what it stands for
 * (sequence numbers of the whole host) would tell a tenant how busy its neighbours are.
 */
struct gm_cursor {
	uint64_t id; /* 0: free */
	unsigned what;
	uint64_t major; /* the place of the last object given: its sequence, */
	uint64_t minor; /* and within it a region's address */
};

/* A request that is answered later: a job. */
struct gm_pending {
	struct gm_link *link;
	uint32_t serial;
	uint16_t type;
	struct gm_exec_job *job;
	struct gm_freeing *freeing; /* of STEP_DONE */
	struct gm_delayed *delayed; /* of CONVERT: no job */
	struct gm_hashing *hashing; /* of POPULATE and LAUNCH_FINISH */
	struct gm_report *report;   /* of CONVERTED: with a job, or waiting */
	uint64_t step;		    /* of STEP_MEMORY */
	bool idle;		    /* waits for the client, or its turn: nothing is under way */
	uint64_t domain;	    /* ids */
	uint64_t region;
	uint64_t lost_pages; /* of the region, when it began: of conversions in place */
	uint64_t started_us;
	bool told;		       /* has there been a PROGRESS event? */
	uint64_t progress_ms;	       /* when */
	TAILQ_ENTRY(gm_pending) entry; /* gm_link::pending */
};

struct gm_link {
	struct gm_service *service;
	struct gm_session *session;
	const struct gm_channel_ops *ops; /* NULL: the connection is gone */
	void *channel;
	int pidfd;	   /* the peer's, borrowed, while the link is being closed; else -1 */
	uint64_t sequence; /* order of opening */
	unsigned n_pending;
	TAILQ_HEAD(, gm_pending) pending;
	/*
	 * Over the policy's limit of sessions, because some of the tenant's are waiting to be
	 * resumed: HELLO must resume one.
	 */
	bool surplus;
	bool held; /* the recorder keeps the peer's pidfd */
	/* Answers of before this connection that the record may still have. */
	unsigned n_kept;
	bool watches;	      /* is in gm_service::watchers */
	uint64_t n_news_lost; /* since the last that went out */
	TAILQ_ENTRY(gm_link) watchers_entry;
	uint64_t last_cursor;
	struct gm_cursor cursors[GM_LINK_CURSORS];
	TAILQ_ENTRY(gm_link) entry; /* gm_service::links */
};

struct gm_service {
	struct gm_book *book;
	struct gm_exec *exec;
	struct gm_service_env env;
	uint64_t started_ms;
	uint64_t last_link; /* sequence of the newest */
	uint32_t n_jobs;
	struct gm_arena arena; /* of the one request that is being answered */
	TAILQ_HEAD(, gm_link) links;
	TAILQ_HEAD(, gm_link) watchers;
	uint8_t body[GM_BODY_MAX]; /* of the one packet that is being sent */
};

struct gm_call {
	struct gm_link *link;
	struct gm_service *service;
	struct gm_session *session;
	struct gm_book *book;
	struct gm_exec *exec;
	const struct gm_method *method;
	const struct gm_frame *frame;
	const void *request; /* the message, of the method's type */
	void *answer;
	uint64_t started_us;
	bool deferred;
	uint8_t n_fds; /* borrowed: they ride with the answer */
	int fds[GM_FDSET_MAX];
	struct gm_refusal refusal;
	/* Who else is to be told once it is done and recorded; NULL: nobody. */
	struct gm_link *loser;
	struct gm_domain_id lost;
	Gmem__Farewell why;
};

/*
 * Checks a packet against its row of the table, calls the handler, answers. 0, or -EPROTO for a
 * violation, *ret_fault set.
 */
GM_WARN_UNUSED int gm_dispatch(struct gm_link *link, const struct gm_frame *frame, const void *body,
			       size_t n_fds, const char **ret_fault);

/*
 * Packs, records and sends the answer to a request that changes something. With the connection
 * gone it is recorded only. 0 or -EMSGSIZE.
 */
GM_WARN_UNUSED int gm_link_answer(struct gm_link *link, const struct gm_frame *frame,
				  const ProtobufCMessage *message, const int *fds);

/*
 * A request of before the daemon was started again: if its answer was kept, sends that once more.
 * 1: done. 0: there is none, the request is to be carried out. -EPROTO: another request had this
 * serial.
 */
GM_WARN_UNUSED int gm_link_replay(struct gm_link *link, const struct gm_frame *frame);

/* Records what has been done, with the answer where that is to be found again. */
void gm_link_record(struct gm_link *link, const struct gm_frame *frame, const uint8_t *body,
		    size_t length);

/* The peer's process: borrowed, or -1. */
int gm_link_pidfd(const struct gm_link *link);

/* The session is about to have a domain. 0 or -errno. */
GM_WARN_UNUSED int gm_link_hold(struct gm_link *link);
/* The same for a session that nobody can resume: the next daemon has something to take back. */
GM_WARN_UNUSED int gm_link_hold_process(struct gm_link *link);
/* The session is about to end. */
void gm_link_let_go(struct gm_link *link);

/* The link's own session, which nobody knows yet, ends; it carries @session on. */
void gm_link_resume(struct gm_link *link, struct gm_session *session);

/* Packs and sends. Silent when the connection is gone. 0 or -EMSGSIZE. */
GM_WARN_UNUSED int gm_link_send(struct gm_link *link, const struct gm_frame *frame,
				const ProtobufCMessage *message, const int *fds);

/* The same for a message without fds that always fits: a status, or a few numbers. */
void gm_link_tell(struct gm_link *link, const struct gm_frame *frame,
		  const ProtobufCMessage *message);

/* Counts, logs and answers a refusal or a failure. */
void gm_link_refuse(struct gm_link *link, uint16_t type, uint32_t serial, int result,
		    const struct gm_refusal *refusal);

/* News that the link's peer has caused. */
struct gm_news gm_link_news(const struct gm_link *link, enum gm_news_kind kind, const char *text);
/* News of a domain without a peer; @link may be NULL. */
void gm_link_tell_domain(struct gm_service *service, const struct gm_link *link,
			 enum gm_news_kind kind, const struct gm_domain *domain, const char *text);
void gm_link_stop_watching(struct gm_link *link);

void gm_link_tell_gone(struct gm_link *link, struct gm_domain_id domain, Gmem__Farewell why);

/*
 * The request is answered when the job has ended: what @ops get is its struct gm_pending. 0, a
 * verdict or -errno.
 */
GM_WARN_UNUSED int gm_call_start_job(struct gm_call *call, struct gm_region *region,
				     enum gm_page_op op, struct gm_range *ranges, size_t n,
				     const struct gm_exec_job_ops *ops);

/* NULL without memory. */
struct gm_pending *gm_pending_new(struct gm_call *call);
/* From now on the request is answered later. */
void gm_pending_enter(struct gm_call *call, struct gm_pending *pending);
/* One that was entered. */
void gm_pending_free(struct gm_pending *pending);
/* Its region, unless that went meanwhile: NULL. */
struct gm_region *gm_pending_region(const struct gm_pending *pending);
/*
 * The end of its job: it is freed, and what is booked is recorded. @result: not 0 is refused,
 * unless the client has left it behind; what has worked the caller has answered.
 */
void gm_pending_end(struct gm_pending *pending, int result, const struct gm_refusal *refusal);
/* One with @delayed: nobody waits for it any more. */
void gm_delayed_free(struct gm_pending *pending);
/* Of a job: records what has been done and tells the client how far it is. */
void gm_pending_progress(struct gm_pending *pending, uint64_t done, uint64_t total);
/* The same of one with @report, and no job. */
void gm_report_free(struct gm_pending *pending);

/* 0, or a verdict: the session has as many unanswered requests as it may. */
GM_WARN_UNUSED int gm_call_check_room(struct gm_call *call);

/*
 * The request is answered when the fd has come that the client sends by way of box @id for the
 * domain. @pending: gm_pending_new()'s, taken in any case. 0 or a verdict.
 */
GM_WARN_UNUSED int gm_call_await_fd(struct gm_call *call, const struct gm_domain *domain,
				    uint64_t id, struct gm_pending *pending);

/* The answer comes when all of the region is allocated. 0, a verdict or -errno. */
GM_WARN_UNUSED int gm_call_preallocate(struct gm_call *call, struct gm_region *region);

/* In the arena. 0 or -ENOMEM. */
GM_WARN_UNUSED int gm_call_read_ranges(struct gm_call *call, size_t n, Gmem__Range *const *messages,
				       struct gm_range **ret_ranges);

struct gm_pending *gm_link_find_pending(struct gm_link *link, uint32_t serial);

/* Frees a link whose connection is gone, once its last job has ended. */
void gm_link_release(struct gm_link *link);

struct gm_counters *gm_link_counters(struct gm_link *link);

/* 0, or a verdict: the record is full. */
GM_WARN_UNUSED int gm_service_room_for_domain(const struct gm_service *service,
					      struct gm_refusal *refusal);
GM_WARN_UNUSED int gm_service_room_for_region(const struct gm_service *service, uint64_t size,
					      struct gm_refusal *refusal);
GM_WARN_UNUSED int gm_service_room_for_launch(const struct gm_service *service,
					      struct gm_refusal *refusal);

uint64_t gm_service_now(const struct gm_service *service);

/* A random id that is not 0. 0 or -errno. */
GM_WARN_UNUSED int gm_service_draw_id(const struct gm_service *service, uint64_t *ret_id);

/* Zeroed memory that lives until the answer is packed; NULL when the arena is spent. */
void *gm_call_alloc(struct gm_call *call, size_t size);

/* Somebody else's domain has gone or moved: its owner is told when that is recorded. */
void gm_call_takes_from(struct gm_call *call, struct gm_session *owner, struct gm_domain_id domain,
			Gmem__Farewell why);

/* Adds a borrowed fd with its name. @names: the answer's repeated field. 0 or -ENOMEM. */
GM_WARN_UNUSED int gm_call_add_fd(struct gm_call *call, int fd, const char *name, size_t *n_names,
				  ProtobufCBinaryData **names);

/* For admin sessions: the name of the tenant that an object belongs to; "" for tenants. */
const char *gm_call_tenant_name(const struct gm_call *call, const struct gm_tenant *tenant);

#endif
