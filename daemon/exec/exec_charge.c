/* SPDX-License-Identifier: Apache-2.0 */
#include "exec_charge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "exec_job.h"
#include "exec_share.h"

/* Of pages that are there already: cachestat(2) takes 50 to 100 ns for each page that it finds. */
#define FOUND_MAX (UINT64_C(128) * GM_MIB)
#define LOOKS_MAX 64

/* What a text has room for beside the figures. */
#define PATH_TEXT_MAX 80

static bool charges_memory(const struct gm_exec_charging *charging)
{
	return charging->cgroups != NULL && charging->cgroups->memory >= 0;
}

static const char *explain(int error)
{
	switch (-error) {
	case ESRCH:
		return "it has ended";
	case EOPNOTSUPP:
		return "the kernel does not tell which process it is";
	case ENOENT:
		return "its cgroup has been removed";
	case EXDEV:
		return "its cgroup is outside of what gmemd sees";
	case ENAMETOOLONG:
		return "the path of its cgroup is too long";
	default:
		return strerrordesc_np(-error);
	}
}

int gm_exec_find_payer(struct gm_exec *exec, const struct gm_session *session, int pidfd,
		       struct gm_exec_payer *ret_payer, struct gm_refusal *refusal)
{
	struct gm_exec_charging *charging = &exec->charging;
	const struct gm_peer *peer = &session->peer;
	int r;

	*ret_payer = (struct gm_exec_payer){ 0 };
	if (charging->mode == GM_CHARGE_GMEMD) {
		ret_payer->group = gm_cgroup_place_use(charging->own);
		return 0;
	}
	/* Where there are no control groups nobody is charged at all, and not the wrong one. */
	if (charging->cgroups == NULL || charging->cgroups->n_roots == 0)
		return 0;
	r = gm_cgroup_place_of(charging->cgroups, peer->pid, pidfd, &ret_payer->place);
	if (r == 0) {
		ret_payer->place->may_stay = charging->mode == GM_CHARGE_AUTO;
		ret_payer->group = gm_cgroup_place_use(ret_payer->place);
		return 0;
	}
	if (r == -ENOMEM)
		return r;
	if (charging->mode == GM_CHARGE_AUTO) {
		charging->fallback = r;
		ret_payer->group = gm_cgroup_place_use(charging->own);
		return 0;
	}
	refusal->sys_errno = (uint32_t)-r;
	return gm_refuse_text(refusal, GM_NO_RESOURCE, GM_RULE_MEMORY_CGROUP,
			      session->tenant->account.name, "process %d cannot be charged: %s",
			      (int)peer->pid, explain(r));
}

void gm_exec_payer_done(struct gm_exec_payer *payer)
{
	gm_cgroup_place_drop(payer->place);
	gm_cgroup_place_drop(payer->group);
}

int gm_exec_charge(struct gm_exec_job *job, int pidfd, struct gm_refusal *refusal)
{
	struct gm_exec_payer payer;
	int r;

	/* It is asked for by nobody. */
	if (job->ticket.session == NULL)
		return 0;
	r = gm_exec_find_payer(job->exec, job->ticket.session, pidfd, &payer, refusal);
	if (r != 0)
		return r;
	job->place = payer.place;
	job->payer = payer.group;
	return 0;
}

/* Why somebody should have paid and did not: nobody's group was found, or none let workers in. */
static int find_fallback(const struct gm_exec *exec)
{
	if (exec->charging.fallback != 0)
		return exec->charging.fallback;
	return exec->hub != NULL ? gm_crew_hub_displaced(exec->hub) : 0;
}

bool gm_exec_is_charged(const struct gm_exec *exec, char ret_reason[GM_TEXT_MAX])
{
	const struct gm_exec_charging *charging = &exec->charging;
	int fallback = find_fallback(exec);
	const struct gm_cgroup_root *root;

	if (charging->mode == GM_CHARGE_GMEMD) {
		snprintf(ret_reason, GM_TEXT_MAX, "--charge=gmemd: gmemd's own cgroup pays");
		return false;
	}
	if (!charges_memory(charging)) {
		snprintf(ret_reason, GM_TEXT_MAX, "this host has no memory controller");
		return false;
	}
	if (fallback != 0) {
		snprintf(ret_reason, GM_TEXT_MAX, "gmemd's own cgroup has paid for some: %s",
			 explain(fallback));
		return false;
	}
	root = &charging->cgroups->roots[charging->cgroups->memory];
	snprintf(ret_reason, GM_TEXT_MAX, "cgroup v%d at %.128s", root->unified ? 2 : 1, root->at);
	return true;
}

void gm_exec_uncharge(struct gm_exec_job *job)
{
	gm_cgroup_place_drop(job->place);
	gm_cgroup_place_drop(job->payer);
}

/* In the hierarchy of the memory controller, or NULL. */
static const char *path_of(const struct gm_exec_charging *charging,
			   const struct gm_cgroup_place *place)
{
	if (place == NULL || !charges_memory(charging))
		return NULL;
	return gm_cgroup_place_path(place->text, place->length,
				    (unsigned)charging->cgroups->memory);
}

static const char *memory_path(const struct gm_exec_job *job)
{
	return path_of(&job->exec->charging, job->payer);
}

static bool is_huge(const struct gm_exec_job *job)
{
	return job->ticket.region->page_size > GM_PAGE_4K;
}

/* In the hierarchy of the controller that charges for the pages of the job's region, or NULL. */
static const char *payer_path(const struct gm_exec_job *job)
{
	const struct gm_cgroups *cgroups = job->exec->charging.cgroups;

	if (!is_huge(job))
		return memory_path(job);
	if (job->payer == NULL || cgroups == NULL || cgroups->hugetlb < 0)
		return NULL;
	return gm_cgroup_place_path(job->payer->text, job->payer->length,
				    (unsigned)cgroups->hugetlb);
}

int gm_exec_observe(const struct gm_exec *exec, const struct gm_peer *peer, int pidfd,
		    struct gm_exec_observed *ret_observed)
{
	const struct gm_exec_charging *charging = &exec->charging;
	struct gm_cgroup_place *place;
	struct gm_cgroup_memory memory;
	const char *path;
	int r;

	if (!charges_memory(charging))
		return -ENODATA;
	r = gm_cgroup_place_of(charging->cgroups, peer->pid, pidfd, &place);
	if (r < 0)
		return r;
	path = path_of(charging, place);
	r = path != NULL ? gm_cgroup_memory_read(charging->cgroups, path, &memory) : -ENODATA;
	if (r == 0) {
		gm_cgroup_print(path, ret_observed->cgroup, sizeof(ret_observed->cgroup));
		ret_observed->has_figures = memory.is_own;
		ret_observed->usage = memory.is_own ? memory.usage : 0;
		ret_observed->limit = memory.is_own ? memory.limit : GM_UNLIMITED;
	}
	gm_cgroup_place_drop(place);
	return r;
}

static bool allocates(const struct gm_exec_job *job)
{
	return job->digest == NULL && job->ticket.op == GM_PAGE_OP_ALLOCATE;
}

/* Hugepages are the hugetlb controller's, whose answer to too much is an error and no kill. */
static bool takes_memory(const struct gm_exec_job *job)
{
	return allocates(job) && !is_huge(job);
}

static uint64_t count_absent_of(const struct gm_domain *domain)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < domain->n_regions; i++)
		bytes += domain->regions[i]->map.pages[GM_PAGE_ABSENT] * GM_PAGE_4K;
	return bytes;
}

static uint64_t count_absent(const struct gm_exec_job *job)
{
	const struct gm_page_map *map = &job->ticket.region->map;
	uint64_t bytes = 0;

	if (job->own != NULL)
		return count_absent_of(job->ticket.region->domain);
	for (size_t i = 0; i < job->n_ranges; i++)
		bytes += gm_page_map_count(map, job->ranges[i].offset, job->ranges[i].length,
					   GM_PAGE_ABSENT);
	return bytes;
}

/* Is it the group @path, or one below it? */
static bool pays_from(const struct gm_exec_job *job, const char *path)
{
	const char *own = payer_path(job);
	size_t length = strlen(path);

	return own != NULL && strncmp(own, path, length) == 0 &&
	       (own[length] == '\0' || own[length] == '/');
}

/* What other jobs have still to take of such pages from the group, be it for one below it. */
static uint64_t count_promised(const struct gm_exec_job *job, const char *path)
{
	const struct gm_exec_job *other;
	uint64_t bytes = 0;

	TAILQ_FOREACH(other, &job->exec->jobs, link)
		if (other->needed > other->done &&
		    other->ticket.region->page_size == job->ticket.region->page_size &&
		    pays_from(other, path))
			bytes += other->needed - other->done;
	return bytes;
}

/* What the tenant may make the daemon read now. Who has had too much is told by the kernel. */
static unsigned reads_allowed(struct gm_exec_share *share)
{
	return share == NULL || gm_exec_share_may_look(share) ? GM_CGROUP_READS_MAX
							      : GM_CGROUP_READS_MIN;
}

static int look(const struct gm_exec_job *job, const char *path, uint64_t wanted,
		struct gm_exec_share *share, struct gm_cgroup_headroom *ret_headroom)
{
	const struct gm_cgroups *cgroups = job->exec->charging.cgroups;
	unsigned reads_max = reads_allowed(share);
	int r;

	if (is_huge(job))
		r = gm_cgroup_hugetlb_headroom(cgroups, path, job->ticket.region->page_size,
					       reads_max, ret_headroom);
	else
		r = gm_cgroup_memory_headroom(cgroups, path, wanted, reads_max, ret_headroom);
	if (r == 0 && share != NULL)
		gm_exec_share_has_looked(share, ret_headroom->n_reads);
	return r;
}

/* The tightest group, and in *ret_promised what is promised from it already. 0 or -errno. */
static int find_room(const struct gm_exec_job *job, struct gm_exec_share *share, const char *path,
		     uint64_t needed, uint64_t *ret_promised,
		     struct gm_cgroup_headroom *ret_headroom)
{
	uint64_t promised = count_promised(job, path);
	int r = look(job, path, needed + promised, share, ret_headroom);

	if (r < 0 || ret_headroom->bytes == GM_UNLIMITED) {
		*ret_promised = promised;
		return r;
	}
	/* Those beside it take from the groups above, too. */
	*ret_promised = count_promised(job, ret_headroom->path);
	if (*ret_promised > promised)
		r = look(job, path, needed + *ret_promised, share, ret_headroom);
	return r;
}

/* Pages that the guest has touched itself are charged already; the books do not know them. */
static uint64_t count_untold(const struct gm_exec_job *job, uint64_t absent)
{
	const struct gm_region *region = job->ticket.region;
	const struct gm_exec_backend *slot = gm_exec_find(job->exec, region->domain->kind);
	int fd = gm_exec_shared_fd(region);
	uint64_t found = 0, booked = job->total - absent;
	unsigned looks_left = LOOKS_MAX;

	/* Of a launch's memory nobody has touched much that the books do not know. */
	if (job->own != NULL)
		return 0;
	for (size_t i = 0; i < job->n_ranges; i++) {
		uint64_t at = job->ranges[i].offset, end = at + job->ranges[i].length;

		while (at < end && looks_left-- > 0 && found < FOUND_MAX) {
			uint64_t length = gm_min_u64(end - at, FOUND_MAX), present;

			if (slot->backend->present(fd, at, length, region->page_size, &present) !=
			    0)
				return 0;
			found += present;
			at += length;
		}
	}
	return found - gm_min_u64(found, booked);
}

/*
 * Of a group above that of who pays nothing is told but that it has no room: others are in it, and
 * how much they have is theirs. The host's log has it.
 */
static int refuse(const struct gm_exec_job *job, enum gm_verdict verdict,
		  const struct gm_cgroup_headroom *headroom, uint64_t asked,
		  struct gm_refusal *refusal)
{
	const char *tenant = job->ticket.region->domain->tenant->account.name;
	const char *what = is_huge(job) ? "hugepages" : "memory";
	char path[PATH_TEXT_MAX];

	gm_cgroup_print(payer_path(job), path, sizeof(path));
	if (headroom->is_own)
		gm_refuse_text(refusal, verdict, GM_RULE_MEMORY_CGROUP, tenant,
			       "out of %s in cgroup %s: limit %" PRIu64 ", usage %" PRIu64
			       ", asked %" PRIu64,
			       what, path, headroom->limit, headroom->usage, asked);
	else
		gm_refuse_text(refusal, verdict, GM_RULE_MEMORY_CGROUP, tenant,
			       "out of %s in a cgroup above %s: asked %" PRIu64, what, path, asked);
	if (!headroom->is_own && headroom->bytes != GM_UNLIMITED) {
		gm_cgroup_print(headroom->path, path, sizeof(path));
		snprintf(refusal->unsaid, sizeof(refusal->unsaid),
			 "%s: limit %" PRIu64 ", usage %" PRIu64, path, headroom->limit,
			 headroom->usage);
	}
	refusal->limit = headroom->is_own ? headroom->limit : 0;
	refusal->used = headroom->is_own ? headroom->usage : 0;
	refusal->asked = asked;
	return verdict;
}

int gm_exec_check_room(struct gm_exec_job *job, struct gm_exec_share *share,
		       struct gm_refusal *refusal)
{
	const struct gm_exec_charging *charging = &job->exec->charging;
	const char *path = payer_path(job);
	struct gm_cgroup_headroom headroom;
	struct gm_cgroup_memory memory;
	uint64_t promised, absent;

	if (path == NULL || !allocates(job))
		return 0;
	absent = count_absent(job);
	job->needed = absent;
	if (takes_memory(job) && gm_cgroup_memory_read(charging->cgroups, path, &memory) == 0)
		job->oom_kills = memory.oom_kills;
	if (find_room(job, share, path, absent, &promised, &headroom) < 0 ||
	    absent + promised <= headroom.bytes)
		return 0;
	job->needed -= gm_min_u64(job->needed, count_untold(job, absent));
	if (job->needed == 0 || job->needed + promised <= headroom.bytes)
		return 0;
	return refuse(job, GM_NO_RESOURCE, &headroom, job->needed, refusal);
}

bool gm_exec_was_oom_killed(const struct gm_exec_job *job)
{
	const char *path = memory_path(job);
	struct gm_cgroup_memory memory;

	return path != NULL && takes_memory(job) &&
	       gm_cgroup_memory_read(job->exec->charging.cgroups, path, &memory) == 0 &&
	       memory.oom_kills > job->oom_kills;
}

int gm_exec_refuse_hugepages(const struct gm_exec_job *job, struct gm_refusal *refusal)
{
	struct gm_cgroup_headroom headroom;
	const char *path = is_huge(job) && allocates(job) ? payer_path(job) : NULL;
	uint64_t page_size = job->ticket.region->page_size;

	if (path == NULL ||
	    gm_cgroup_hugetlb_headroom(job->exec->charging.cgroups, path, page_size,
				       GM_CGROUP_READS_MAX, &headroom) < 0 ||
	    headroom.bytes >= page_size)
		return 0;
	return refuse(job, GM_NO_RESOURCE, &headroom, job->total - job->done, refusal);
}

int gm_exec_refuse_memory(const struct gm_exec_job *job, enum gm_verdict verdict,
			  struct gm_refusal *refusal)
{
	struct gm_cgroup_headroom headroom;
	const char *path = memory_path(job);

	/* The tightest group is the one whose limit was hit, unless somebody has freed much since.
	 */
	if (gm_cgroup_memory_headroom(job->exec->charging.cgroups, path, 0, GM_CGROUP_READS_MAX,
				      &headroom) < 0)
		headroom = (struct gm_cgroup_headroom){ .bytes = GM_UNLIMITED };
	return refuse(job, verdict, &headroom, job->total - job->done, refusal);
}
