/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out what the books have decided: makes and closes fds through the backends, runs jobs
 * through the workers, and tells the books what happened.
 */
#ifndef GM_EXEC_H
#define GM_EXEC_H

#include "backend.h"
#include "book.h"
#include "book_order.h"
#include "book_restore.h"
#include "book_step.h"
#include "crew.h"

#define GM_EXEC_BACKENDS_MAX 12

struct gm_exec_backend {
	const struct gm_backend *backend;
	struct gm_backend_state *state;
	struct gm_probe probe;
	int launch_fd; /* the device through which launches go; -1: none */
};

struct gm_exec_job;
struct gm_exec_box;
struct gm_exec_leaving;

/*
 * Fds of regions outlive the daemon: somebody holds copies of them for the next one. The order is:
 * make, keep, record, tell; and for the end: record, let go, close.
 */
struct gm_exec_keep_ops {
	/* The region's fd has been made and nobody has it yet. 0, a verdict or -errno. */
	int (*keep)(void *arg, struct gm_region *region, struct gm_refusal *refusal);
	/* The same for @fd, its private half, which it has not got yet. */
	int (*keep_half)(void *arg, struct gm_region *region, int fd, struct gm_refusal *refusal);
	/* What the daemon has launched for the domain, until it is taken over. */
	int (*keep_vm)(void *arg, struct gm_domain *domain, int fd, struct gm_refusal *refusal);
	void (*let_go_vm)(void *arg, uint32_t record);
	/* Work on memory is about to begin: that it does must be on record. */
	void (*begin)(void *arg);
	/*
	 * What was kept for the region that had this record is nobody's any more. @has_half: a
	 * private half too.
	 */
	void (*let_go)(void *arg, uint32_t record, bool has_half);
};

struct gm_exec_charging {
	enum gm_charge_mode mode;
	const struct gm_cgroups *cgroups; /* borrowed; NULL: not looked at */
	struct gm_cgroup_place *own;	  /* borrowed; the daemon's, where it is known */
	int fallback; /* -errno: why somebody last was not charged though he should have been */
};

struct gm_exec {
	struct gm_book *book;
	struct gm_exec_charging charging; /* set by main; zeroed: nothing is charged to others */
	struct gm_crew_hub *hub; /* borrowed; NULL: no workers, jobs are refused (GM_RULE_WORKER) */
	/* For what has to wait for a rate; set by main, no ops: nothing waits. */
	struct gm_loop_ref loop;
	uint32_t n_backends;
	struct gm_exec_backend backends[GM_EXEC_BACKENDS_MAX];
	int kvm_fd; /* -1: none, with kvm_reason */
	char kvm_reason[GM_TEXT_MAX];
	uint32_t job_threads; /* of one worker */
	uint64_t numa_nodes;  /* bits: nodes that memory may come from */
	/* Of the host, total and available now, bytes; set by main, NULL: not told. 0 or -errno. */
	int (*host_memory)(uint64_t *ret_total, uint64_t *ret_available);
	/*
	 * RLIMIT_MEMLOCK of a process: sets it to @want (NULL: leaves it) and tells what it was. 0
	 * or -errno.
	 */
	int (*memlock)(pid_t pid, const struct gm_limits *want, struct gm_limits *ret_was);
	/* The process of a session: a borrowed pidfd, or -1; set by whoever knows, NULL: nobody. */
	int (*session_pidfd)(void *arg, const struct gm_session *session);
	void *session_pidfd_arg;
	/*
	 * Closes an fd that a client of the tenant has passed: takes it and never waits. Set by
	 * main; NULL: the hub's workers do.
	 */
	void (*close_stranger)(void *arg, const struct gm_tenant *tenant, int fd);
	void *close_stranger_arg;
	bool leaves_limits;	 /* raised limits are for the next daemon to lower */
	const char *cgroup_root; /* where they are mounted; NULL: where a host has them */
	const struct gm_exec_keep_ops *keep_ops; /* NULL: nothing is kept; set by main */
	void *keep_arg;
	TAILQ_HEAD(, gm_exec_job) jobs;	       /* under way; private */
	TAILQ_HEAD(, gm_exec_box) boxes;       /* private */
	SLIST_HEAD(, gm_exec_leaving) leaving; /* private */
};

/* Probes every backend and opens the devices: before privileges are dropped. */
GM_WARN_UNUSED int gm_exec_init(struct gm_exec *exec, struct gm_book *book);
void gm_exec_done(struct gm_exec *exec);

/* NULL for a kind that the daemon has not got. */
const struct gm_exec_backend *gm_exec_find(const struct gm_exec *exec, const char *kind);

/*
 * Makes the fd of a region that the books have just created; on failure the caller removes it. One
 * of GM_TRAIT_IN_PLACE gets none here.
 */
GM_WARN_UNUSED int gm_exec_make_region(struct gm_exec *exec, struct gm_region *region,
				       struct gm_refusal *refusal);

/*
 * Takes the region out of the books and closes the fd: now, or, where it is kept, with the next
 * gm_exec_settle().
 */
void gm_exec_drop_region(struct gm_exec *exec, struct gm_region *region);

/*
 * Takes an fd that a client of the tenant (NULL: of the operator's) has passed, whatever it is, and
 * never waits for it; -1: nothing.
 */
void gm_exec_dispose(struct gm_exec *exec, const struct gm_tenant *tenant, int fd);

/* The file that others than its guest may map: borrowed, or -1 where the VMM has not made it yet.
 */
int gm_exec_shared_fd(const struct gm_region *region);

/* What has left the books has been recorded: lets go of it. */
void gm_exec_settle(struct gm_exec *exec);

/* Worker processes of the tenant that have been let go and do not end. */
uint32_t gm_exec_stuck_workers(const struct gm_tenant *tenant);

/* From here on nothing is kept and nothing is let go of: that is for the next daemon. */
void gm_exec_stop_keeping(struct gm_exec *exec);

/* ---- after a restart ---- */

/*
 * Is @fd (borrowed; -1: none) the memory of the region, of that very file, size and kind? NULL, or
 * what is wrong with it.
 */
const char *gm_exec_doubt_fd(const struct gm_exec *exec, const char *kind,
			     const struct gm_region_restore *from, int fd);

/* The same for the private half of the region, which has one. */
const char *gm_exec_doubt_half(const struct gm_exec *exec, const char *kind,
			       const struct gm_region_restore *from, int fd);

/*
 * Books which pages the jobs that were cut short had dealt with. A page that cannot be looked at
 * stays as it is booked: asking for the job again does no harm.
 */
void gm_exec_look_again(const struct gm_exec *exec, struct gm_region *region, unsigned ops);

/*
 * Ends a domain now. Its jobs are cancelled; the regions that jobs still hold, and their charges,
 * go when those have let go (some milliseconds), the rest at once. The domain is dying and cannot
 * be found from here on. Returns how many jobs were cancelled.
 */
unsigned gm_exec_end_domain(struct gm_exec *exec, struct gm_domain *domain);

/* Its session lets go of the domain, which is orphaned from @now_ms on. */
void gm_exec_detach_domain(struct gm_exec *exec, struct gm_domain *domain, uint64_t now_ms);

/* What the host says about a pool of hardware slots now; all 0 where it has none. */
struct gm_slot_use gm_exec_slot_use(const struct gm_exec *exec, unsigned pool);

struct gm_exec_job_ops {
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	/*
	 * Exactly once, never from within gm_exec_start_job. @result: 0, a verdict with
	 * @refusal filled (GM_CANCELLED, GM_WORKER_LOST, ...), or -errno. @bytes: what was done.
	 * The books are up to date when it is called; the region may be dying.
	 */
	void (*end)(void *arg, int result, const struct gm_refusal *refusal, uint64_t bytes);
};

/* ---- who pays ---- */

/* Does who asks pay? @ret_reason: one line, why or why not. */
bool gm_exec_is_charged(const struct gm_exec *exec, char ret_reason[GM_TEXT_MAX]);

#define GM_EXEC_CGROUP_TEXT 200

/* The memory controller's figures of a process' group; @limit is GM_UNLIMITED for none. */
struct gm_exec_observed {
	char cgroup[GM_EXEC_CGROUP_TEXT]; /* cut where it is longer */
	bool has_figures;		  /* else the group has none that are its own alone */
	uint64_t usage;
	uint64_t limit;
};

/* @pidfd: borrowed. 0 or -errno: it is not known. Some file reads. */
GM_WARN_UNUSED int gm_exec_observe(const struct gm_exec *exec, const struct gm_peer *peer,
				   int pidfd, struct gm_exec_observed *ret_observed);

/* @pidfd: of the session's process, borrowed; -1: there is none. */
GM_WARN_UNUSED int gm_exec_start_job(struct gm_exec *exec, struct gm_session *session, int pidfd,
				     struct gm_region *region, enum gm_page_op op,
				     struct gm_range *ranges, size_t n_ranges,
				     const struct gm_exec_job_ops *ops, void *arg,
				     struct gm_exec_job **ret_job, struct gm_refusal *refusal);

/* The domain has another owner, or none: nothing of it is left in the control group of the old. */
void gm_exec_leave_owner(struct gm_domain *domain);

/* The job's end comes later and says GM_CANCELLED unless it was done before. */
void gm_exec_cancel_job(struct gm_exec_job *job);

/* ---- private memory ---- */

/* The traits of a kind (enum gm_trait bits). */
unsigned gm_exec_traits(const struct gm_exec_backend *slot);

/*
 * GM_STEP_CREATE_MEMORY is reported with @fd, which is taken in any case. GM_INVALID (GM_RULE_FD)
 * when it is not what was asked for; the step is then still under way.
 */
GM_WARN_UNUSED int gm_exec_adopt_memory(struct gm_exec *exec, struct gm_region *region, int fd,
					struct gm_refusal *refusal);

/*
 * A conversion in place (GM_TRAIT_IN_PLACE), begun and carried out. As gm_exec_start_job(), with
 * GM_BUSY (GM_RULE_PAGES_HELD, offset) where somebody has held pages for too long: what is before
 * the offset has been converted. Where workers die over it again and again, its pages are lost.
 */
GM_WARN_UNUSED int gm_exec_start_convert(struct gm_exec *exec, struct gm_session *session,
					 int pidfd, struct gm_region *region, enum gm_page_op op,
					 const struct gm_range *ranges, size_t n_ranges,
					 const struct gm_step_spec *spec,
					 const struct gm_exec_job_ops *ops, void *arg,
					 struct gm_exec_job **ret_job, struct gm_refusal *refusal);

/* Is the half that a reported conversion gives up empty in all of @ranges? 1, 0 or -errno. */
GM_WARN_UNUSED int gm_exec_half_is_free(const struct gm_exec *exec, const struct gm_region *region,
					const struct gm_range *ranges, size_t n_ranges);

/*
 * What a conversion of before a restart has left over is freed, wherever it is: workers punch the
 * half that it gave up wherever the map says that the page is in the other one. Then, or where that
 * cannot be done, the step ends.
 */
void gm_exec_sweep(struct gm_exec *exec, struct gm_region *region);

/* It is not: a worker frees it. As gm_exec_start_job(). @session NULL: for nobody. */
GM_WARN_UNUSED int gm_exec_free_half(struct gm_exec *exec, struct gm_session *session, int pidfd,
				     struct gm_region *region, bool private_half,
				     const struct gm_range *ranges, size_t n_ranges,
				     const struct gm_exec_job_ops *ops, void *arg,
				     struct gm_exec_job **ret_job, struct gm_refusal *refusal);

/* Pages that are in one half, by the map, and hold memory in the other one as well. */
#define GM_EXEC_LEFT_MAX 256
struct gm_exec_left {
	bool private_half; /* which has the memory */
	bool more;	   /* than there is room for */
	size_t n_ranges;
	struct gm_range ranges[GM_EXEC_LEFT_MAX]; /* sorted, and apart */
};

/*
 * What a report that is booked has left over in one half, and not more than @left has room for;
 * where the kernel does not tell, all that may be. @conversions are inside of the region. False:
 * nothing.
 */
bool gm_exec_find_left(const struct gm_exec *exec, const struct gm_region *region,
		       bool private_half, const struct gm_conversion *conversions, size_t n,
		       struct gm_exec_left *left);

#endif
