/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider that speaks to a daemon: one SEQPACKET connection, requests under way, answers.
 *
 * Invariants:
 *   - Every request that was sent and not yet answered has one struct gm_pending in the list,
 *     whoever waits for it; an answer that matches none ends the connection.
 *   - Whatever arrives is handled at once: nothing is left that gmem_client_fd does not show.
 *   - What is taken from a packet is copied before the program is called back, because it may call
 *     the library again.
 *   - Memory for an answer is there before its request is sent: no answer is lost for want of it.
 *   - What is sent while a packet is handled (a CANCEL, the return of a late grant) does not wait.
 */
#ifndef GM_REMOTE_H
#define GM_REMOTE_H

#include <string.h>

#include "client.h"
#include "gm_arena.h"
#include "gm_fdset.h"
#include "gm_frame.h"
#include "gmem.pb-c.h"

/*
 * Room for one unpacked answer. The worst is a LIST of small objects: 64 KiB of wire become about
 * 0.5 MiB. Untouched pages cost nothing.
 */
#define GM_ANSWER_ARENA_SIZE ((size_t)2 * 1024 * 1024)

/* Deadlines: one that never comes, and one for what must not wait. */
#define GM_NO_DEADLINE UINT64_MAX
#define GM_NOW 0

enum gm_pending_kind {
	GM_PENDING_CALL,   /* a function waits for it; it frees it */
	GM_PENDING_JOB,	   /* the answer goes to the job's callbacks */
	GM_PENDING_NOBODY, /* given up, or nobody cares: what it grants is given back */
};

/* The answer of a call, with where it lives. Null-initialise, and end with gm_reply_done. */
struct gm_reply {
	struct gmem_client *client;
	struct gm_arena *arena;
	const ProtobufCMessage *message;
	struct gm_fdset fds;
};

struct gm_pending {
	struct gm_pending *next; /* gm_remote::pending, unless ended */
	enum gm_pending_kind kind;
	uint16_t type;
	uint32_t serial;

	bool ended;		   /* a call's: answered, or the connection has ended */
	struct gm_failure failure; /* status 0: `reply` is good */
	struct gm_reply reply;

	uint64_t granted; /* id of what the answer granted, when nobody waits for it */

	struct gmem_job_callbacks callbacks; /* a job's */
	uint64_t done;			     /* bytes, as last reported */
	bool cancelled;			     /* CANCEL was sent */
};

struct gm_remote {
	int fd;
	bool over; /* the connection has ended; @fd stays open so that its number stays ours */
	uint32_t last_serial;
	uint32_t n_pending;
	uint32_t requests_max;
	uint32_t ranges_max;
	struct gm_pending *pending;
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

int gm_remote_open(struct gmem_client *client, const char *address, const char *name);

/* ---- remote_io.c */

/* Absolute CLOCK_MONOTONIC milliseconds, from the client's time limit. */
uint64_t gm_deadline(const struct gmem_client *client);

/*
 * Sends one packet; handles what arrives while the daemon is not reading. 0, -GMEM_TIMED_OUT with
 * nothing sent, or another failure.
 */
GM_WARN_UNUSED int gm_remote_send(struct gmem_client *client, const struct gm_frame *frame,
				  const void *body, uint64_t deadline);

/*
 * Handles one packet if one is there. 0, -GMEM_AGAIN, or why the connection ended: whoever waits
 * for an answer finds that in its gm_pending too.
 */
int gm_remote_receive(struct gmem_client *client);

/* Waits until a packet is there. 0, -GMEM_TIMED_OUT, or a failure. */
GM_WARN_UNUSED int gm_remote_wait(struct gmem_client *client, uint64_t deadline);

/* Ends the connection: every request under way fails with @status, then the program is told. */
int gm_remote_end(struct gmem_client *client, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- remote_call.c */

/*
 * Sends a request. On 0, *ret_pending is in the list: a call's must be finished or abandoned; the
 * others free themselves.
 */
GM_WARN_UNUSED int gm_remote_post(struct gmem_client *client, enum gm_pending_kind kind,
				  unsigned type, const ProtobufCMessage *request, uint64_t deadline,
				  struct gm_pending **ret_pending);

/* Waits for the answer of a call, and frees @pending in any case. */
GM_WARN_UNUSED int gm_remote_finish(struct gmem_client *client, struct gm_pending *pending,
				    uint64_t deadline, struct gm_reply *reply);

/* Nobody waits for it any more. Accepts NULL. */
void gm_remote_abandon(struct gmem_client *client, struct gm_pending *pending);

/* Post and finish. */
GM_WARN_UNUSED int gm_remote_call(struct gmem_client *client, unsigned type,
				  const ProtobufCMessage *request, struct gm_reply *reply);

/* An answer has arrived. Takes @fds. */
void gm_remote_answer(struct gmem_client *client, const struct gm_frame *frame, const void *body,
		      struct gm_fdset *fds);

/* The request under way with this serial, or NULL. */
struct gm_pending *gm_remote_find(const struct gm_remote *remote, uint32_t serial);

/* Ends @pending, which is in no list any more, with what its failure says. */
void gm_pending_end(struct gmem_client *client, struct gm_pending *pending);

void gm_reply_done(struct gm_reply *reply);
#define _gm_reply_ _gm_cleanup_(gm_reply_done)

/* The answer is not what the protocol says: ends the connection. Returns the negative status. */
int gm_remote_nonsense(struct gmem_client *client, const char *what);

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

int gm_remote_region_create(struct gmem_client *client, struct gmem_domain *domain,
			    const struct gmem_region_spec *spec, struct gmem_region *region);
int gm_remote_region_destroy(struct gmem_client *client, uint64_t id);
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
int gm_remote_get_domain(struct gmem_client *client, uint64_t id,
			 struct gmem_domain_info *ret_info);
int gm_remote_get_region(struct gmem_client *client, uint64_t id,
			 struct gmem_region_info *ret_info);
int gm_remote_get_daemon(struct gmem_client *client, struct gmem_daemon_info *ret_info);
int gm_remote_get_host(struct gmem_client *client, struct gmem_host_info *ret_info);
int gm_remote_get_page_map(struct gmem_client *client, uint64_t region, gm_page_run_fn fn,
			   void *arg);
int gm_remote_evict(struct gmem_client *client, uint64_t domain, uint64_t *ret_bytes);

#endif
