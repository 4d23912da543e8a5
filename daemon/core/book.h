/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The books of the host, and every decision that changes them.
 *
 * A function here checks, charges and records; it makes no system call, reads no clock and draws
 * no random number: time, ids and tokens come as arguments. What has to happen in the world
 * (create an fd, start a job) the caller does afterwards, and tells the outcome.
 *
 * Returns: 0, a positive enum gm_verdict with @refusal filled, or -ENOMEM. On anything but 0 the
 * books are as before. Not thread-safe.
 */
#ifndef GM_BOOK_H
#define GM_BOOK_H

#include "model.h"

/* Regions of one domain, whatever RegionsMax= says: an answer can still list them all. */
#define GM_DOMAIN_REGIONS_MAX 4096

/* What a session holds in the daemon: its connection and its peer's pidfd. */
#define GM_SESSION_FDS 2

struct gm_book {
	struct gm_account host;
	/* Admin sessions: not part of the host's, so that tenants cannot lock the operator out. */
	struct gm_account admin;
	TAILQ_HEAD(, gm_tenant) tenants;
	TAILQ_HEAD(, gm_session) admin_sessions;
	struct gm_hash_node *domains;
	struct gm_hash_node *regions;
	uint32_t next_tenant_index;
	uint64_t next_sequence;
	uint32_t n_domains;
	uint32_t n_regions;
	bool draining; /* new objects and jobs are refused: GM_SHUTTING_DOWN; admins still may look
			*/
	struct gm_step_list steps;   /* regions with a step under way, oldest first */
	struct gm_counters counters; /* of admin sessions and of peers without a tenant */
	struct gm_marks marks;
};

void gm_book_init(struct gm_book *book);

/* Everything must be gone but tenants (asserted: a leak in the books is a bug). */
void gm_book_done(struct gm_book *book);

/*
 * From here on every change is marked, and somebody clears the marks. All there is is marked as
 * changed, but for what has a record already.
 */
void gm_book_start_recording(struct gm_book *book);

/* ---- tenants ---- */

/* GM_INVALID for a name that the wire could not carry, GM_EXISTS for one that is taken. */
GM_WARN_UNUSED int gm_book_add_tenant(struct gm_book *book, const char *name,
				      const struct gm_policy *policy, struct gm_tenant **ret_tenant,
				      struct gm_refusal *refusal);
struct gm_tenant *gm_book_find_tenant(struct gm_book *book, const char *name);

/* New limits for new requests; nothing granted is touched. */
void gm_book_set_policy(struct gm_tenant *tenant, const struct gm_policy *policy);

/*
 * Milliseconds until the tenant may make a request, start to allocate, or convert, by the rates of
 * its policy; 0: now. And what it has made use of.
 */
uint32_t gm_tenant_request_wait_ms(struct gm_tenant *tenant, uint64_t now_ms);
void gm_tenant_spend_request(struct gm_tenant *tenant, uint64_t now_ms);
uint32_t gm_tenant_allocate_wait_ms(struct gm_tenant *tenant, uint64_t now_ms);
void gm_tenant_spend_bytes(struct gm_tenant *tenant, uint64_t bytes, uint64_t now_ms);
uint32_t gm_tenant_convert_wait_ms(struct gm_tenant *tenant, uint64_t now_ms);
void gm_tenant_spend_conversions(struct gm_tenant *tenant, uint64_t n_ranges, uint64_t now_ms);

/*
 * The region is on record before its creation is answered: a restart in between is to forget it.
 * And it has been answered.
 */
void gm_book_unanswered(struct gm_region *region);
void gm_book_answered(struct gm_region *region);

/* ---- sessions ---- */

/* @tenant NULL: an admin session. */
GM_WARN_UNUSED int gm_book_open_session(struct gm_book *book, struct gm_tenant *tenant,
					struct gm_session_id id, const struct gm_peer *peer,
					struct gm_session **ret_session,
					struct gm_refusal *refusal);

/*
 * The same, whatever the limits: for a peer that may be coming back for a session that is in the
 * books already. One of the two is closed soon.
 */
GM_WARN_UNUSED int gm_book_open_session_over(struct gm_book *book, struct gm_tenant *tenant,
					     struct gm_session_id id, const struct gm_peer *peer,
					     struct gm_session **ret_session,
					     struct gm_refusal *refusal);

/*
 * The session must have no domains attached and no jobs (asserted): orphan or end them first.
 */
void gm_book_close_session(struct gm_book *book, struct gm_session *session);

/* The only place that changes a session's state. */
void gm_session_set_state(struct gm_session *session, enum gm_session_state state);

/* In GM_SESSION_GREETING only (asserted): opening the session is what marks it. */
void gm_session_set_key(struct gm_session *session, const struct gm_session_key *key);

/* The open session of the tenant that has the key, or NULL. */
struct gm_session *gm_book_find_session_by_key(struct gm_tenant *tenant,
					       const struct gm_session_key *key);

/* ---- domains ---- */

/* A pool of hardware slots as the host counts it: how many there are, how many are in use. */
struct gm_slot_use {
	uint64_t capacity;
	uint64_t current;
	uint64_t waiting; /* leases that are not in @current yet: the book counts them itself */
};

struct gm_domain_spec {
	const char *name; /* "" for none; syntax has been checked */
	const char *kind; /* known to the daemon and usable on this host: the caller has asked */
	enum gm_lifetime lifetime;
	unsigned traits; /* enum gm_trait bits of the kind */
	bool has_slot;
	unsigned slot; /* with @has_slot: the pool, and what the host says about it */
	struct gm_slot_use slot_use;
};

/* Attaches the new domain to @session. -EEXIST: @id is in use, draw another. */
GM_WARN_UNUSED int gm_book_create_domain(struct gm_book *book, struct gm_session *session,
					 const struct gm_domain_spec *spec, struct gm_domain_id id,
					 const struct gm_token *token, uint64_t now_ms,
					 struct gm_domain **ret_domain, struct gm_refusal *refusal);

/*
 * A domain that the session may see: its tenant's, or anyone's for an admin session; not a
 * dying one. GM_NO_SUCH_OBJECT in all other cases, with the same words and the same work.
 */
GM_WARN_UNUSED int gm_book_find_domain(struct gm_book *book, const struct gm_session *session,
				       struct gm_domain_id id, struct gm_domain **ret_domain,
				       struct gm_refusal *refusal);

/* The same, and it must be attached to this session (GM_BUSY, GM_RULE_ATTACHED). */
GM_WARN_UNUSED int gm_book_find_attached(struct gm_book *book, const struct gm_session *session,
					 struct gm_domain_id id, struct gm_domain **ret_domain,
					 struct gm_refusal *refusal);

/*
 * The same, and @token must be the domain's. A wrong token and an unknown id give one answer in
 * one time: where there is no domain, the token is compared with one that nobody has.
 */
GM_WARN_UNUSED int gm_book_find_with_token(struct gm_book *book, const struct gm_session *session,
					   struct gm_domain_id id, const struct gm_token *token,
					   struct gm_domain **ret_domain,
					   struct gm_refusal *refusal);

/*
 * 0 when @domain, found with its token, may be attached to @session. Refused (GM_BUSY) when it is
 * attached to another live session and @take_over is false, or (GM_RULE_JOBS_UNDER_WAY) while jobs
 * of that session run in it.
 */
GM_WARN_UNUSED int gm_book_may_attach(const struct gm_session *session,
				      const struct gm_domain *domain, bool take_over,
				      struct gm_refusal *refusal);

/* Attaches it, if it may be. *ret_loser: the session that lost it, or NULL. */
GM_WARN_UNUSED int gm_book_attach(struct gm_session *session, struct gm_domain *domain,
				  bool take_over, struct gm_session **ret_loser,
				  struct gm_refusal *refusal);

/* The session lets go of the domain, which becomes orphaned now. */
void gm_book_detach(struct gm_domain *domain, uint64_t now_ms);

/* Milliseconds until an orphaned domain has outstayed its tenant's TTL; GM_UNLIMITED: never. */
uint64_t gm_domain_ttl_left(const struct gm_domain *domain, uint64_t now_ms);

/* GM_BUSY while it or one of its regions has jobs under way. */
GM_WARN_UNUSED int gm_book_may_destroy_domain(const struct gm_domain *domain,
					      struct gm_refusal *refusal);

/*
 * What the record says about the domain does not check out on this host. It keeps its charges and
 * is listed, but refused for use. Idempotent.
 */
void gm_book_quarantine_domain(struct gm_domain *domain);

/*
 * The domain has ended: from here on nobody finds it, no session has it and its name is free. It
 * stays in the books until its last job has let go. Idempotent.
 */
void gm_book_end_domain(struct gm_domain *domain);

/*
 * Takes an empty domain (no regions, no jobs: asserted) out of the books, gives its charges back
 * and frees it.
 */
void gm_book_remove_domain(struct gm_book *book, struct gm_domain *domain);

/* ---- locked memory and hardware slots ---- */

/*
 * Books that the process of the domain's session may lock @bytes more than @base, which it had
 * before its first grant. In place of what the domain had: asking again is no second grant.
 */
GM_WARN_UNUSED int gm_book_set_memlock(struct gm_domain *domain, uint64_t bytes,
				       const struct gm_limits *base, struct gm_refusal *refusal);

/* Back to what it was, whatever the limits are: the change could not be carried out. */
void gm_book_force_memlock(struct gm_domain *domain, uint64_t bytes, const struct gm_limits *base);

/*
 * The grant has ended. Idempotent. A domain that changes hands or ends loses its grant in any case;
 * whoever has raised the limit lowers it first.
 */
void gm_book_drop_memlock(struct gm_domain *domain);

/* All grants of one process together. */
struct gm_memlock {
	uint64_t granted;
	bool has_base;
	struct gm_limits base; /* with @has_base */
};
struct gm_memlock gm_book_memlock_of(const struct gm_book *book, pid_t pid);

/* What the limits of the process are to be: the hard one is raised only where it has to be. */
struct gm_limits gm_memlock_limits(const struct gm_memlock *memlock);

/*
 * A lease of a slot, for a domain that has none: GM_OVER_LIMIT by the policy or the host's account,
 * GM_NO_RESOURCE where the host has none left. It ends with the domain, when the last of its jobs
 * has let go.
 */
GM_WARN_UNUSED int gm_book_take_slot(struct gm_domain *domain, unsigned pool,
				     const struct gm_slot_use *host, struct gm_refusal *refusal);

/* The pool that the domain has a slot of, or -1. */
int gm_domain_slot(const struct gm_domain *domain);

/* ---- regions ---- */

struct gm_region_spec {
	const char *name; /* "" for none */
	uint64_t gpa;
	uint64_t size;
	uint64_t page_size;  /* one that the kind has: the caller has asked */
	uint64_t numa_nodes; /* bits; 0: anywhere */
};

/*
 * Checks size, addresses and policy, charges, and books a region whose fd is still -1. A region
 * that may lie anywhere is bound to the nodes of the tenant's policy. -EEXIST: @id is in use.
 */
GM_WARN_UNUSED int gm_book_create_region(struct gm_book *book, struct gm_domain *domain,
					 const struct gm_region_spec *spec, struct gm_region_id id,
					 struct gm_region **ret_region, struct gm_refusal *refusal);

/* As gm_book_find_domain. */
GM_WARN_UNUSED int gm_book_find_region(struct gm_book *book, const struct gm_session *session,
				       struct gm_region_id id, struct gm_region **ret_region,
				       struct gm_refusal *refusal);

/* The same, and its domain must be attached to this session. */
GM_WARN_UNUSED int gm_book_find_attached_region(struct gm_book *book,
						const struct gm_session *session,
						struct gm_region_id id,
						struct gm_region **ret_region,
						struct gm_refusal *refusal);

GM_WARN_UNUSED int gm_book_may_destroy_region(const struct gm_region *region,
					      struct gm_refusal *refusal);

/* The file of its fd, for the record. */
void gm_book_set_file(struct gm_region *region, const struct gm_file_id *file);

/* As gm_book_quarantine_domain. */
void gm_book_quarantine_region(struct gm_region *region);

/*
 * 0, or GM_WRONG_STATE (GM_RULE_QUARANTINE) when the region or its domain is quarantined. For
 * whatever uses the memory; to look at the region and to destroy it are allowed.
 */
GM_WARN_UNUSED int gm_book_check_usable(const struct gm_region *region, struct gm_refusal *refusal);

/* No jobs (asserted). The caller has closed the fd. Gives the charges back and frees it. */
void gm_book_remove_region(struct gm_book *book, struct gm_region *region);

/* ---- jobs ---- */

/* A job on one region. Lives in the layer above; the core counts and books it. */
struct gm_job_ticket {
	struct gm_region *region;
	struct gm_session *session;
	enum gm_page_op op;
	bool frees_half; /* gm_book_begin_freeing(): no page changes its state */
	bool hashes;	 /* gm_book_begin_hashing(): neither */
	bool launches;	 /* gm_book_begin_own_finish(): of all regions of the domain */
	bool converts; /* gm_book_begin_in_place(): the step of the region, which it carries out */
	bool again;    /* of these: somebody has begun it before, and how far he came is unknown */
	/* Of a kind with private memory, and of one in place always: on gm_region::private_fd. */
	bool private_half;
	struct gm_charge charge; /* GM_RES_JOBS */
};

/*
 * Checks the ranges (at least one, page aligned, inside, disjoint), the state of every page and
 * the job limit, and books the job as under way. @ranges is sorted in place. In a kind with two
 * halves all pages must be shared, or none: a job works on one of them.
 * The session pointer of the ticket stays valid until gm_book_end_job.
 */
GM_WARN_UNUSED int gm_book_begin_job(struct gm_book *book, struct gm_session *session,
				     struct gm_region *region, enum gm_page_op op,
				     struct gm_range *ranges, size_t n_ranges,
				     struct gm_job_ticket *ret_ticket, struct gm_refusal *refusal);

/*
 * Books what happened: the pages of @done are now in the state that the job leaves behind. Where
 * the page map is short of memory for it, the pages stay booked as before and the verdict says so
 * (pages of @done before the offset that it names are booked). -EPROTO: @done is not page aligned
 * or not inside the region.
 */
GM_WARN_UNUSED int gm_book_job_progress(struct gm_job_ticket *ticket, const struct gm_range *done,
					struct gm_refusal *refusal);

/* The job is over, however. Idempotent. */
void gm_book_end_job(struct gm_job_ticket *ticket);

/* ---- walking ---- */

/*
 * Next in order of creation after nothing (NULL) or after @previous; NULL at the end. Domains
 * that have ended, and their regions, are passed over.
 */
struct gm_region *gm_book_next_region(const struct gm_book *book, const struct gm_region *previous);
struct gm_domain *gm_book_next_domain(const struct gm_book *book, const struct gm_domain *previous);

#endif
