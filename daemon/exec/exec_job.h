/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What exec.c and exec_job.c share: a job from its order to its end.
 */
#ifndef GM_EXEC_JOB_H
#define GM_EXEC_JOB_H

#include "exec.h"
#include "launcher.h"

/* What a job that hashes works on, in place of the region. */
struct gm_exec_digest {
	int fd; /* borrowed until it is submitted */
	struct gm_job_digest order;
	uint64_t *tags; /* order.max_tags; what came */
	uint64_t n_tags;
};

/* A launch that the daemon carries out itself: see exec_own_launch.h. */
struct gm_exec_own {
	int socket; /* to the worker */
	int theirs; /* its end, until the job is submitted; -1 */
	int vm_fd;  /* -1, or what it has launched */
	bool has_result;
	struct gm_launch_result result;
};

struct gm_exec_job {
	struct gm_exec *exec;
	struct gm_exec_digest *digest; /* NULL: the job is about memory */
	struct gm_exec_own *own;       /* NULL: it is no launch */
	struct gm_job_ticket ticket;
	struct gm_crew_job *crew_job;
	const struct gm_exec_job_ops *ops;
	void *arg;
	uint64_t done;			    /* bytes booked */
	uint64_t total;			    /* bytes asked for */
	bool cancelled;			    /* somebody has asked for its end */
	bool is_late;			    /* waits for the tenant's rate: there is no @crew_job */
	TAILQ_ENTRY(gm_exec_job) late_link; /* gm_exec_share::late, while it does */
	struct gm_cgroup_place *place;	    /* of the worker; NULL: where the spawner is */
	struct gm_cgroup_place *payer;	    /* whose limits hold; NULL: nobody's that we know */
	uint64_t needed;		    /* bytes of @total that were to be charged */
	uint64_t oom_kills;		    /* in the payer's group when it began */
	unsigned n_tries;		    /* of a conversion: workers that have died over it */
	uint64_t held_at; /* of one that ends with EAGAIN: the page that somebody holds */
	int result;	  /* first refusal or failure while booking progress, else 0 */
	struct gm_refusal refusal;
	TAILQ_ENTRY(gm_exec_job) link; /* gm_exec::jobs */
	size_t n_ranges;
	struct gm_range ranges[]; /* sorted, disjoint */
};

/*
 * The pages of the job's ranges that nobody has reported are looked at, and booked as they are.
 * A bounded number of looks: what remains stays booked as before the job, which is safe, because
 * both verbs may be repeated.
 */
void gm_exec_look(struct gm_exec_job *job);

struct gm_exec_share;

/* Ranges are copied; NULL: out of memory. What has no ticket yet is freed by free(). */
struct gm_exec_job *gm_exec_job_new(struct gm_exec *exec, const struct gm_range *ranges,
				    size_t n_ranges, const struct gm_exec_job_ops *ops, void *arg);

/*
 * The books know the job: it is under way from here on. On failure it is freed, and its ticket is
 * given back. @share: what may delay it, or NULL.
 */
GM_WARN_UNUSED int gm_exec_job_start(struct gm_exec_job *job, int pidfd,
				     struct gm_exec_share *share, struct gm_exec_job **ret_job,
				     struct gm_refusal *refusal);

/* Once more, all of it, from within its own end. */
GM_WARN_UNUSED int gm_exec_job_repeat(struct gm_exec_job *job);

/* Is @fd what a VMM has made for a region of such a kind? 0 or -EBADF. */
static inline int gm_exec_verify_half(const struct gm_private_half *half, bool in_place, int fd,
				      uint64_t size)
{
	return in_place ? half->verify_in_place(fd, size) : half->verify(fd, size);
}

/* ---- conversions in place (exec_convert.c) ---- */

/* The worker has ended as @how. True: another is at it. */
bool gm_exec_convert_again(struct gm_exec_job *job, enum gm_job_end how);
/* The books hear of the end. @result: what it comes to. */
void gm_exec_convert_end(struct gm_exec_job *job, enum gm_job_end how, int result);
int gm_exec_refuse_held(const struct gm_exec_job *job, struct gm_refusal *refusal);

/* A job that was late goes on: to the workers, or where it was cancelled to its end. */
void gm_exec_job_resume(struct gm_exec_job *job);

/* Books one finished part; remembers the first trouble in the job. */
void gm_exec_book_part(struct gm_exec_job *job, uint64_t offset, uint64_t length);

/* As gm_exec_start_job(), of pages that go into a digest. @digest is copied. */
GM_WARN_UNUSED int gm_exec_start_digest(struct gm_exec *exec, struct gm_session *session, int pidfd,
					struct gm_region *region,
					const struct gm_exec_digest *digest,
					const struct gm_range *range,
					const struct gm_exec_job_ops *ops, void *arg,
					struct gm_exec_job **ret_job, struct gm_refusal *refusal);

/*
 * As gm_exec_start_job(), of a launch. Takes @own, and the ticket, which has been begun: both are
 * done with where it is not 0.
 */
GM_WARN_UNUSED int gm_exec_start_own(struct gm_exec *exec, const struct gm_job_ticket *ticket,
				     struct gm_exec_own *own, int pidfd,
				     const struct gm_exec_job_ops *ops, void *arg,
				     struct gm_exec_job **ret_job, struct gm_refusal *refusal);
/* exec_own_launch.c: what the worker has said; why it failed, and the end. */
void gm_exec_own_read(struct gm_exec_job *job);
int gm_exec_own_conclude(const struct gm_exec_job *job, int error, struct gm_refusal *refusal);
void gm_exec_own_free(struct gm_exec_own *own);

/* Takes away what the end of a job has set free of a dying domain. */
void gm_exec_reap(struct gm_exec *exec, struct gm_region *region);

#endif
