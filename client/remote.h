/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider that speaks to a daemon: one SEQPACKET connection at a time, requests under way,
 * answers.
 *
 * Invariants:
 *   - Every request that is not yet answered has one struct gm_pending in the list, whoever waits
 *     for it, in the order in which they were made; an answer that matches none ends the client.
 *   - A request is sent when there is a connection with room for it, and again, with the same
 *     serial, on each connection until it is answered. Nothing but gm_remote_wait blocks.
 *   - Whatever arrives is handled at once: nothing is left that gmem_client_fd does not show.
 *   - What is taken from a packet is copied before the program is called back, because it may call
 *     the library again.
 *   - Memory for an answer is there before its request is sent: no answer is lost for want of it.
 */
#ifndef GM_REMOTE_H
#define GM_REMOTE_H

#include <string.h>
#include <sys/un.h>

#include "client.h"
#include "gm_arena.h"
#include "gm_check.h"
#include "gm_fdset.h"
#include "gm_frame.h"
#include "gmem.pb-c.h"

/*
 * Room for one unpacked answer. The worst is a LIST of small objects: 64 KiB of wire become about
 * 0.5 MiB. Untouched pages cost nothing.
 */
#define GM_ANSWER_ARENA_SIZE ((size_t)2 * 1024 * 1024)

/* A deadline that never comes. */
#define GM_NO_DEADLINE UINT64_MAX

#define GM_SESSION_KEY_SIZE 16

enum gm_pending_kind {
	GM_PENDING_CALL,   /* a function waits for it; it frees it */
	GM_PENDING_JOB,	   /* the answer goes to the job's callbacks */
	GM_PENDING_NOBODY, /* given up, or nobody cares: what it grants is given back */
	GM_PENDING_LINK,   /* brings a connection up, and ends with it */
};

/* The answer of a call, with where it lives. Null-initialise, and end with gm_reply_done. */
struct gm_reply {
	struct gmem_client *client;
	struct gm_arena *arena;
	const ProtobufCMessage *message;
	struct gm_fdset fds;
	bool repeated; /* the request was, so that this may tell of what was once */
};

struct gm_pending {
	struct gm_pending *next; /* gm_remote::pending, unless ended */
	enum gm_pending_kind kind;
	uint16_t type;
	uint32_t serial;
	uint32_t body_length;
	uint8_t *body; /* as sent: it may have to be sent again */
	bool sent;     /* on the present connection */
	bool repeated; /* was sent on an earlier one */
	bool doubted;  /* and in a session that is lost: nobody knows whether it was carried out */

	bool ended;		   /* a call's: answered, or the connection has ended */
	struct gm_failure failure; /* status 0: `reply` is good */
	struct gm_reply reply;

	uint64_t granted; /* id of what the answer granted, when nobody waits for it */
	uint64_t ordered; /* and of the step that it ordered */
	/* A link's: id of the domain or region that it asks for; a job's, a conversion's, a
	 * report's */
	uint64_t subject;
	uint64_t *conversions; /* of CONVERTED: two numbers each */
	size_t n_conversions;
	uint64_t from; /* they all are in here */
	uint64_t to;

	struct gmem_job_callbacks callbacks; /* a job's */
	uint64_t done;			     /* bytes, as last reported */
	bool cancelled;			     /* CANCEL was sent */
};

enum gm_link_state {
	GM_LINK_DOWN,	   /* no connection: the next attempt is at next_us */
	GM_LINK_GREETING,  /* HELLO is under way */
	GM_LINK_RETURNING, /* domains are looked at; in a new session attached and compared */
	GM_LINK_UP,	   /* requests are sent and answered */
	GM_LINK_OVER,	   /* for good */
};

/* The connection, or the attempts to have one. Times are CLOCK_MONOTONIC. */
struct gm_link {
	enum gm_link_state state;
	int fd;		  /* -1: no connection */
	int epoll_fd;	  /* what the program polls: it has fd and timer_fd in it */
	int timer_fd;	  /* set while there is something to do, or to give up, at a time */
	uint32_t watched; /* epoll events of fd */

	struct sockaddr_un address;
	char name[GM_CLIENT_NAME_MAX + 1];
	uint8_t key[GM_SESSION_KEY_SIZE];
	int patience_ms;   /* -1: never reconnects */
	bool known;	   /* a daemon has greeted us once: from then on the link comes back */
	bool resumed;	   /* the last HELLO was answered so */
	bool refused;	   /* the daemon would not have us now: @why */
	bool proven;	   /* the daemon has answered a request since the link came up */
	uint32_t sessions; /* new ones after the first */
	uint32_t connections;
	struct gm_failure why; /* of the last loss or refusal */

	uint64_t up_us;
	uint64_t down_us; /* the beginning of this outage */
	uint64_t away_us; /* length of all outages before this one */
	uint64_t next_us;
	uint64_t give_up_us;
	uint64_t pause_us; /* before the attempt after the next */
	uint64_t jitter;
};

struct gm_remote {
	struct gm_link link;
	uint32_t last_serial;
	uint32_t n_pending; /* without those of the link */
	uint32_t n_link;
	uint32_t n_unsent;
	uint32_t requests_max;
	uint32_t ranges_max;
	struct gm_pending *pending;
	bool has_unsent;	       /* conversions of some region are in no report yet */
	bool holds_back;	       /* reports of one batch go out together */
	uint64_t reported_us;	       /* when there were none last */
	uint64_t report_at_us;	       /* a timer runs until then; 0: none */
	struct gm_arena *spare;	       /* the arena of the last call, for the next */
	struct gm_arena scratch;       /* for what no call waits for; empty between packets */
	uint8_t packet[GM_PACKET_MAX]; /* as received */
};

/* Bytes and text as fields of a request: borrowed until it is packed. */
static inline ProtobufCBinaryData gm_wire_bytes(const void *bytes, size_t length)
{
	/* protobuf-c only reads what it packs; its type does not say so. */
	union {
		const void *constant;
		uint8_t *bytes;
	} data = { .constant = bytes };

	return (ProtobufCBinaryData){ .len = length, .data = data.bytes };
}

static inline ProtobufCBinaryData gm_wire_text(const char *text)
{
	return gm_wire_bytes(text, strlen(text));
}

/* Ranges as fields of a request. Null-initialise, and end with gm_wire_ranges_done. */
struct gm_wire_ranges {
	Gmem__Range *list;
	Gmem__Range **pointers;
};

/* Not more than one request may have. At least one. */
GM_WARN_UNUSED int gm_wire_ranges_init(struct gmem_client *client, struct gm_wire_ranges *wire,
				       const struct gmem_range *ranges, size_t n_ranges);
void gm_wire_ranges_done(struct gm_wire_ranges *wire);

int gm_remote_open(struct gmem_client *client, const char *address,
		   const struct gmem_connect_spec *spec);

/* ---- remote_link.c */

/* Epoll, timer, key and name; connects to nothing yet. Undone by gm_link_done, also after failing.
 */
GM_WARN_UNUSED int gm_link_init(struct gmem_client *client, const char *address,
				const struct gmem_connect_spec *spec);
void gm_link_done(struct gm_link *link);

/* Connects, blocking for at most @timeout_ms, or not at all when it is 0. 0 or -errno. */
GM_WARN_UNUSED int gm_link_connect(struct gm_link *link, int timeout_ms);

/* There is no connection, or its other end has gone. */
bool gm_link_is_cut(const struct gm_link *link);

/* Ends the connection, if there is one: what was sent on it is to be sent again. */
void gm_link_drop(struct gm_remote *remote);

/* Sends what may be sent. True when something was. Calls nobody back. */
bool gm_link_flush(struct gm_remote *remote);

/* The connection is of no use. Tries again, or ends the client. 0, or why the client ended. */
int gm_link_lost(struct gmem_client *client, const struct gm_failure *why);
int gm_link_lost_for(struct gmem_client *client, const char *why);

/* The next attempt, if it is time for it. 0, -GMEM_AGAIN, or why the client ended. */
int gm_link_retry(struct gmem_client *client);

/* The patience is over, when it is. As gm_link_retry. */
int gm_link_check_patience(struct gmem_client *client);

/* The session is ready: all that is unanswered goes out. */
void gm_link_up(struct gm_remote *remote);

/* Nothing comes after this. The fd that the program polls is readable from now on. */
void gm_link_over(struct gm_remote *remote);

/* What the program polls is readable at that time; 0: it need not be. Only while the link is up. */
void gm_link_remind(const struct gm_link *link, uint64_t at_us);

/* Milliseconds since some time, without those in which there was no connection. */
uint64_t gm_link_clock_ms(const struct gm_link *link);

/* Whether that clock stands still. */
static inline bool gm_link_is_away(const struct gm_link *link)
{
	return link->known && link->state < GM_LINK_UP;
}

/* ---- remote_return.c */

/*
 * Before the end: a daemon that went away would wait for us as long as this process lives. Where
 * there is no connection, one is made for the next daemon to find, with a greeting that resumes the
 * session and the end that ends it. Waits for nothing.
 */
void gm_return_to_leave(struct gmem_client *client);

/* Greets the daemon on a new connection; the rest follows from its answers. */
GM_WARN_UNUSED int gm_return_begin(struct gmem_client *client);

/*
 * Takes what a link's answer says. @message NULL: it was refused, with @pending's failure. NULL, or
 * what is wrong. Calls nobody back.
 */
const char *gm_return_take(struct gmem_client *client, const struct gm_pending *pending,
			   const ProtobufCMessage *message, const struct gm_fdset *fds);

/* Does what follows from it. */
void gm_return_step(struct gmem_client *client);

/* ---- remote_io.c */

/* When a call that begins now has taken too long, by gm_link_clock_ms. */
uint64_t gm_deadline(const struct gmem_client *client);

/* Waits until there is something to do. 0, -GMEM_TIMED_OUT, or a failure. */
GM_WARN_UNUSED int gm_remote_wait(struct gmem_client *client, uint64_t deadline);

/*
 * Does one thing, if there is one to do, without blocking. 0, -GMEM_AGAIN, or why the client ended:
 * whoever waits for an answer finds that in its gm_pending too.
 */
int gm_remote_turn(struct gmem_client *client);

/* Ends the client: every request under way fails with @failure, then the program is told. */
int gm_remote_end_with(struct gmem_client *client, const struct gm_failure *failure);
int gm_remote_end(struct gmem_client *client, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- remote_call.c */

/* Is there room for another request of a call? 0, or a failure. */
GM_WARN_UNUSED int gm_remote_check_room(struct gmem_client *client);

/*
 * Makes a request, and sends it as soon as that can be done. On 0, *ret_pending is in the list: a
 * call's must be finished or abandoned; the others free themselves. Calls nobody back.
 */
GM_WARN_UNUSED int gm_remote_post(struct gmem_client *client, enum gm_pending_kind kind,
				  unsigned type, const ProtobufCMessage *request,
				  struct gm_pending **ret_pending);

/* Waits for the answer of a call, and frees @pending in any case. */
GM_WARN_UNUSED int gm_remote_finish(struct gmem_client *client, struct gm_pending *pending,
				    uint64_t deadline, struct gm_reply *reply);

/* Nobody waits for it any more. Accepts NULL. */
void gm_remote_abandon(struct gmem_client *client, struct gm_pending *pending);

/* Post and finish. */
GM_WARN_UNUSED int gm_remote_call(struct gmem_client *client, unsigned type,
				  const ProtobufCMessage *request, struct gm_reply *reply);

/* The request under way with this serial, or NULL. */
struct gm_pending *gm_remote_find(const struct gm_remote *remote, uint32_t serial);

/* A connection is gone: its own requests go, the others are to be sent again. */
void gm_remote_unsend(struct gm_remote *remote);

/* Jobs that the program has cancelled end with the daemon that ran them. */
void gm_remote_end_cancelled(struct gmem_client *client);

/* Ends all requests under way, with @failure. */
void gm_remote_end_all(struct gmem_client *client, const struct gm_failure *failure);

/* Takes @pending out of the list. */
void gm_pending_forget(struct gm_remote *remote, struct gm_pending *pending);
void gm_pending_free(struct gm_pending *pending);

void gm_reply_done(struct gm_reply *reply);
#define _gm_reply_ _gm_cleanup_(gm_reply_done)

/* The answer is not what the protocol says: ends the connection. Returns the negative status. */
int gm_remote_nonsense(struct gmem_client *client, const char *what);

/* ---- remote_answer.c */

/* An answer has arrived. Takes @fds. */
void gm_remote_answer(struct gmem_client *client, const struct gm_frame *frame, const void *body,
		      struct gm_fdset *fds);

/* Ends @pending, which is in no list any more, with what its failure says. */
void gm_pending_end(struct gmem_client *client, struct gm_pending *pending);

/* The id of what an answer grants that somebody must give back, or 0. */
uint64_t gm_granted(unsigned type, const ProtobufCMessage *message);

/* ---- remote_box.c */

struct gm_box {
	uint64_t id;
	uint32_t connection; /* on which it was opened */
};

/*
 * Opens a box for the domain and puts a copy of @fd, which is the caller's own, into it. The
 * program may drop handles during the wait.
 */
GM_WARN_UNUSED int gm_remote_box(struct gmem_client *client, uint64_t domain, int fd,
				 uint64_t deadline, struct gm_box *ret_box);

/* Whether the last call failed because the box has gone with its daemon. */
bool gm_remote_box_is_gone(const struct gmem_client *client, const struct gm_box *box);

/* ---- remote_step.c */

/* What came of a step. */
struct gm_report {
	uint64_t domain; /* of the start and the end of a launch; 0: the step is the region's */
	uint64_t region;
	uint64_t step;
	int error; /* errno; 0: all of it was done */
	uint32_t firmware_error;
	size_t done;
	Gmem__Range **ranges; /* of a conversion or a population */
	size_t n_ranges;
};

/* The daemon hears of it: with its answer, or without waiting for that. */
GM_WARN_UNUSED int gm_remote_report(struct gmem_client *client, const struct gm_report *report);
int gm_remote_report_only(struct gmem_client *client, const struct gm_report *report);

/*
 * Has @region (0: any) a report that nobody waits for? Then what is asked next may be refused,
 * because a worker still frees what that conversion has left: was it (@r)? Waits for the report's
 * answer then, and true means once more.
 */
bool gm_remote_is_reporting(const struct gmem_client *client, uint64_t region);
bool gm_remote_was_early(struct gmem_client *client, uint64_t region, bool had_report, int *r);

/* 0, or what is wrong with an order. */
GM_WARN_UNUSED int gm_remote_check_order(struct gmem_client *client, const Gmem__Step *step,
					 Gmem__StepKind kind);

/* The id of the step that an answer orders, or 0. */
uint64_t gm_ordered(unsigned type, const ProtobufCMessage *message);

/* Nobody will carry out what the answer to @pending ordered: reports that. */
void gm_remote_cancel_step(struct gmem_client *client, const struct gm_pending *pending);

/* The step that came with a new region. After a failure the region has been given back. */
GM_WARN_UNUSED int gm_remote_private_half(struct gmem_client *client, uint64_t domain, int vm_fd,
					  const Gmem__Step *step, struct gmem_region *region);

/* ---- remote_standing.c */

/*
 * Converts under the region's standing order, as far as that goes: *ret_done ranges of those given,
 * which are in ascending order. The rest is to be asked for. 0, or a failure.
 */
GM_WARN_UNUSED int gm_standing_convert(struct gmem_client *client, uint64_t region,
				       const struct gmem_range *ranges, size_t n_ranges,
				       bool to_private, size_t *ret_done);

/* All that has been converted is reported. Before anything else is sent. */
int gm_remote_report_all(struct gmem_client *client);
/* The same, when it is time for it. */
void gm_remote_report_due(struct gmem_client *client);

/* What an answer says about orders. @message NULL: it was refused, with @pending's failure. */
void gm_standing_take(struct gmem_client *client, const struct gm_pending *pending,
		      const ProtobufCMessage *message);

/* ---- remote_launch.c, remote_populate.c */

int gm_remote_launch_start(struct gmem_domain *domain, const void *parameters, size_t size);
int gm_remote_source_add(struct gmem_domain *domain, struct gmem_source *source);
int gm_remote_region_populate(struct gmem_region *region, const struct gmem_population *what);
int gm_remote_launch_finish(struct gmem_domain *domain, const struct gmem_launch_end *end);
int gm_remote_launch_abort(struct gmem_domain *domain);

/* The steps of the domain's kind; NULL, with the client's failure set, where it has none. */
const struct gm_launch_steps *gm_remote_steps(const struct gmem_domain *domain);
struct gm_launch_vm gm_remote_launch_vm(const struct gmem_domain *domain);

/* What the kernel or the firmware refused, as the program is told of it. */
int gm_remote_fail_step(struct gmem_client *client, const struct gm_launch_steps *steps,
			const struct gm_launch_fault *fault, int error);

/* Whether the last call failed because the daemon knows a source no more. */
#define GM_SOURCE_TRIES 8 /* a source that is handed in again, each time to another daemon */
bool gm_remote_source_is_gone(const struct gmem_client *client);
/* Hands it in once more. The program may have dropped it, or its domain, during the wait. */
GM_WARN_UNUSED int gm_remote_source_again(struct gmem_client *client, uint64_t domain,
					  const struct gmem_source *source);

/* ---- remote_event.c */

void gm_remote_event(struct gmem_client *client, const struct gm_frame *frame, const void *body);

/* ---- remote_domain.c, remote_region.c, remote_job.c, remote_list.c: the provider's functions */

int gm_remote_domain_create(struct gmem_client *client, const struct gmem_domain_spec *spec,
			    struct gmem_domain *domain);
int gm_remote_domain_attach(struct gmem_client *client, uint64_t id,
			    const uint8_t token[GMEM_TOKEN_SIZE], uint32_t flags, uint32_t devices,
			    struct gmem_domain *domain);
int gm_remote_domain_destroy(struct gmem_client *client, uint64_t id);
int gm_remote_domain_destroy_id(struct gmem_client *client, uint64_t id,
				const uint8_t token[GMEM_TOKEN_SIZE]);
int gm_remote_domain_set_memlock(struct gmem_client *client, uint64_t id, uint64_t bytes,
				 uint64_t *ret_limit);

int gm_remote_region_create(struct gmem_client *client, struct gmem_domain *domain,
			    const struct gmem_region_spec *spec, struct gmem_region *region);
int gm_remote_region_destroy(struct gmem_client *client, uint64_t id);
int gm_remote_region_bind(struct gmem_region *region, uint32_t slot);
int gm_remote_region_convert(struct gmem_region *region, const struct gmem_range *ranges,
			     size_t n_ranges, bool to_private);
/* Asks for regions of a domain that was attached, many at a time. */
int gm_remote_regions_fetch(struct gmem_client *client, struct gmem_domain *domain,
			    const uint64_t *ids, size_t n_ids, uint64_t deadline);

int gm_remote_job_run(struct gmem_region *region, enum gm_job_kind kind,
		      const struct gmem_range *ranges, size_t n_ranges, gmem_progress_fn progress,
		      void *arg);
int gm_remote_job_start(struct gmem_region *region, enum gm_job_kind kind,
			const struct gmem_range *ranges, size_t n_ranges,
			const struct gmem_job_callbacks *callbacks);
void gm_remote_job_ended(struct gmem_client *client, const struct gm_pending *job);
void gm_remote_job_progress(struct gmem_client *client, uint32_t serial, uint64_t done,
			    uint64_t total);

int gm_remote_list_domains(struct gmem_client *client, gm_domain_info_fn fn, void *arg);
int gm_remote_list_regions(struct gmem_client *client, uint64_t domain, gm_region_info_fn fn,
			   void *arg);
int gm_remote_list_sessions(struct gmem_client *client, gm_session_info_fn fn, void *arg);

int gm_remote_list_accounts(struct gmem_client *client, gm_account_info_fn fn, void *arg);
int gm_remote_list_metrics(struct gmem_client *client, const char *tenant, gm_metrics_fn fn,
			   void *arg);
int gm_remote_watch(struct gmem_client *client);
/* In a connection that has come up, where the program watches. */
void gm_remote_watch_again(struct gmem_client *client);
int gm_remote_get_domain(struct gmem_client *client, uint64_t id,
			 struct gmem_domain_info *ret_info);
int gm_remote_get_region(struct gmem_client *client, uint64_t id,
			 struct gmem_region_info *ret_info);
int gm_remote_get_daemon(struct gmem_client *client, struct gmem_daemon_info *ret_info);
int gm_remote_get_host(struct gmem_client *client, struct gmem_host_info *ret_info);
int gm_remote_get_page_map(struct gmem_client *client, uint64_t region, gm_page_run_fn fn,
			   void *arg);
int gm_remote_evict(struct gmem_client *client, uint64_t domain, uint64_t *ret_bytes);
int gm_remote_list_policy(struct gmem_client *client, const char *tenant, gm_policy_row_fn fn,
			  void *arg);
int gm_remote_check_policy(struct gmem_client *client, const char *tenant, char *ret_fault,
			   size_t size);

#endif
