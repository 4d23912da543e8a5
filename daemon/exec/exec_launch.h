/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launches as they are carried out: which sources are good, what is hashed, and what the digest
 * will be. The platform's own part is behind struct gm_launch_rules.
 */
#ifndef GM_EXEC_LAUNCH_H
#define GM_EXEC_LAUNCH_H

#include "book_launch.h"
#include "exec.h"
#include "launch_rules.h"

/* The rules of the kind; NULL for one without a launch. */
const struct gm_launch_rules *gm_exec_launch_rules(const struct gm_exec *exec, const char *kind);

/* The device of the domain's platform: borrowed; -1 where it has none. 0 or GM_UNSUPPORTED. */
GM_WARN_UNUSED int gm_exec_launch_device(const struct gm_exec *exec, const struct gm_domain *domain,
					 int *ret_fd, struct gm_refusal *refusal);

/*
 * Is @fd (taken in any case) good as a source: sealed, whole pages, no holes? Then it is one of the
 * domain. A hole could be filled by who reads it, and whoever reads here pays for nothing.
 */
GM_WARN_UNUSED int gm_exec_add_source(struct gm_exec *exec, struct gm_domain *domain, uint64_t id,
				      int fd, uint64_t *ret_size, struct gm_refusal *refusal);

/* All sources are closed: nothing more is populated. */
void gm_exec_drop_sources(struct gm_exec *exec, struct gm_domain *domain);

/* The launch is over: sources, what was written down, and what was launched here and not taken. */
void gm_exec_end_launch(struct gm_exec *exec, struct gm_domain *domain);

struct gm_population {
	enum gm_populate_type type;
	struct gm_range range; /* of the region; with GM_POPULATE_VCPU only its length counts */
	uint64_t source;       /* 0: none */
	uint64_t source_offset;
};

/* Does the platform have pages of this type, and is their source there? */
GM_WARN_UNUSED int gm_exec_check_population(const struct gm_exec *exec,
					    const struct gm_domain *domain,
					    const struct gm_population *population,
					    struct gm_refusal *refusal);

/* How the books call it. */
enum gm_page_op gm_exec_population_op(const struct gm_domain *domain,
				      const struct gm_population *population);

/*
 * GM_PAGE_OP_POPULATE_IN_PLACE, which has been checked: a worker makes the range private. When it
 * has ended well the step of the region is under way. As gm_exec_start_convert() otherwise; a
 * launch that nobody can know how to go on with has failed. Nothing is hashed: until the pages are
 * converted others can write them, and from then on nobody can read them.
 */
GM_WARN_UNUSED int gm_exec_start_populate_in_place(struct gm_exec *exec, struct gm_session *session,
						   int pidfd, struct gm_region *region,
						   const struct gm_range *range,
						   const struct gm_step_spec *spec,
						   const struct gm_exec_job_ops *ops, void *arg,
						   struct gm_exec_job **ret_job,
						   struct gm_refusal *refusal);

/*
 * A few pages whose contents are not measured are hashed in less time than it takes to wake a
 * worker up. False: a worker is to do it. True: *ret_result is 0, and @digest with the population,
 * or a verdict or -errno.
 */
bool gm_exec_hash_at_once(const struct gm_region *region, const struct gm_population *population,
			  uint8_t digest[GM_LAUNCH_DIGEST_SIZE], int *ret_result,
			  struct gm_refusal *refusal);

/*
 * A worker puts the population, which has been checked, into the digest of the domain's launch. As
 * gm_exec_start_job(); when it has ended well gm_exec_hashed() has the digest.
 */
GM_WARN_UNUSED int gm_exec_start_hashing(struct gm_exec *exec, struct gm_session *session,
					 int pidfd, struct gm_region *region,
					 const struct gm_population *population,
					 const struct gm_exec_job_ops *ops, void *arg,
					 struct gm_exec_job **ret_job, struct gm_refusal *refusal);
const uint8_t *gm_exec_hashed(const struct gm_exec_job *job);

/*
 * For the trail of the launch, if one is kept: what the step under way puts in. @job: it was
 * hashed by; NULL: there is no content.
 */
void gm_exec_note_population(const struct gm_region *region, const struct gm_population *population,
			     const struct gm_exec_job *job);
/* The same of what is written down, and not of a step. */
void gm_exec_note_written(const struct gm_region *region, const struct gm_population *population,
			  const struct gm_exec_job *job);

/*
 * After a restart: goes on from the digest that is on record. Where there is none that can be read
 * (it is damaged, or an older daemon has written the record) the digest is not known from now on.
 */
void gm_exec_restore_launch(const struct gm_exec *exec, struct gm_domain *domain);

struct gm_launch_end {
	struct gm_launch_vcpus vcpus;
	const uint8_t *id_block; /* NULL: none */
	size_t id_block_size;
	size_t id_auth_size;
	size_t host_data_size;
};

/* Sizes of what comes with a finish, and the number of vCPUs. 0 or GM_INVALID. */
GM_WARN_UNUSED int gm_exec_check_end(const struct gm_exec *exec, const struct gm_domain *domain,
				     const struct gm_launch_end *end, struct gm_refusal *refusal);

/*
 * @digest, the launch's so far, becomes what the firmware will have after the finish, and that is
 * compared with the ID block and with the tenant's policy. 0, a verdict or -errno.
 */
GM_WARN_UNUSED int gm_exec_predict(const struct gm_exec *exec, const struct gm_domain *domain,
				   const struct gm_launch_end *end,
				   uint8_t digest[GM_LAUNCH_DIGEST_SIZE],
				   struct gm_refusal *refusal);

#endif
