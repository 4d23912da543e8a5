/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What passes between gmemd, its spawner and its workers: fixed structs over SEQPACKET
 * socketpairs, one build talking to itself. The fd of a job rides with its order.
 *
 *   gmemd -> worker    struct gm_job_order, one fd
 *   gmemd -> worker    struct gm_job_stop
 *   gmemd -> worker    struct gm_job_dispose, one fd
 *   worker -> gmemd    struct gm_job_report, any number, the last one with `last` set; that of a
 *                      GM_JOB_RECEIVE which went well has one fd
 *
 * A worker does one job at a time, with many threads, and exits when its socket closes.
 */
#ifndef GM_JOB_H
#define GM_JOB_H

#include "gm_num.h"

#define GM_JOB_RANGES_MAX 1024
#define GM_JOB_KIND_SIZE 33
#define GM_JOB_THREADS_MAX 256

enum gm_job_verb {
	GM_JOB_ALLOCATE,
	GM_JOB_DISCARD,
	GM_JOB_DIGEST, /* nothing is changed: the ranges of a sealed file go into a digest, in order
			*/
	GM_JOB_MAKE_SHARED, /* in place; in ascending order */
	GM_JOB_MAKE_PRIVATE,
	GM_JOB_LAUNCH, /* the fd is the launch's own socket, see launcher.h; its one range is as
			  long as all memory of the guest together */
	/*
	 * The job's fd is a socket of which a stranger has the other end. The first report, which
	 * is not the last, says that the worker has it; the last one brings the fd that came: a
	 * memfd or a guest_memfd, or -EBADMSG (not one fd in one packet), -EPIPE (nothing), -EBADF
	 * (another file). It has no ranges. The worker ends with it: what came may not let go of
	 * it.
	 */
	GM_JOB_RECEIVE,
	GM_JOB_VERB_N_
};

#define GM_JOB_DIGEST_SIZE 512

/* Of GM_JOB_DIGEST; zeros for all others. */
struct gm_job_digest {
	uint32_t type;	     /* enum gm_populate_type */
	uint32_t has_source; /* bool: the fd is to be read */
	uint64_t gpa;	     /* of the first byte */
	uint64_t max_tags;   /* of so many pages the tags are wanted */
	uint8_t state[GM_JOB_DIGEST_SIZE];
};

struct gm_job_range {
	uint64_t offset;
	uint64_t length;
};

struct gm_job_order {
	uint64_t job;
	uint32_t verb;	    /* enum gm_job_verb */
	uint32_t n_threads; /* 1 to GM_JOB_THREADS_MAX */
	uint32_t n_ranges;
	char kind[GM_JOB_KIND_SIZE]; /* of the backend */
	uint64_t page_size;
	uint64_t numa_nodes;
	struct gm_job_digest digest;
	struct gm_job_range ranges[GM_JOB_RANGES_MAX];
};

/* Bytes on the wire: the struct is cut after its last range. */
size_t gm_job_order_size(const struct gm_job_order *order);

/*
 * Are these @size bytes an order that a worker can carry out? Ranges are whole pages, not empty,
 * and end below 2^63; whether they are inside the fd is the kernel's to say.
 */
bool gm_job_order_is_valid(const struct gm_job_order *order, size_t size);

struct gm_job_stop {
	uint64_t job;
};

/* Close the fd; no report. */
struct gm_job_dispose {
	uint64_t reserved[2];
};

#define GM_JOB_REPORT_RANGES_MAX 64

/* As many as fit where the digest comes in the last report. */
#define GM_JOB_REPORT_TAGS_MAX (GM_JOB_DIGEST_SIZE / sizeof(uint64_t))

/*
 * These parts are finished and have not been reported before; adjacent ones are joined. A part
 * that failed or was cancelled is not reported: how far it came is unknown.
 */
struct gm_job_report {
	uint64_t job;
	int32_t error; /* with last: 0, -ECANCELED, or the first -errno of a thread */
	uint32_t last; /* bool */
	/*
	 * Of GM_JOB_MAKE_*, with last and -EAGAIN: pages from here on were held by somebody all the
	 * time. Of those that are not reported none was converted.
	 */
	uint64_t held_at;
	uint32_t n_done;
	uint32_t n_tags; /* of GM_JOB_DIGEST, not with last: the next tags, in @digest */
	uint8_t digest[GM_JOB_DIGEST_SIZE]; /* of GM_JOB_DIGEST, with last and no error: what it is
					       now */
	struct gm_job_range done[GM_JOB_REPORT_RANGES_MAX];
};

/* Bytes on the wire: the struct is cut after its last range. */
size_t gm_job_report_size(const struct gm_job_report *report);

/* Are these @size bytes a report of this build's shape? */
bool gm_job_report_is_valid(const struct gm_job_report *report, size_t size);

#endif
