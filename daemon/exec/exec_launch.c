/* SPDX-License-Identifier: Apache-2.0 */
#include "exec_launch.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "exec_job.h"
#include "exec_plan.h"
#include "gm_cleanup.h"
#include "gm_fd.h"

static_assert(GM_LAUNCH_BLOB_SIZE == GM_LAUNCH_DIGEST_SIZE, "the books keep the blob");
static_assert(GM_LAUNCH_DIGEST_MAX == GM_MEASUREMENT_MAX, "any digest can be allowed");

const struct gm_launch_rules *gm_exec_launch_rules(const struct gm_exec *exec, const char *kind)
{
	const struct gm_exec_backend *slot = gm_exec_find(exec, kind);

	return slot != NULL && (slot->probe.caps & GM_CAP_LAUNCH) ? slot->backend->launch : NULL;
}

int gm_exec_launch_device(const struct gm_exec *exec, const struct gm_domain *domain, int *ret_fd,
			  struct gm_refusal *refusal)
{
	const struct gm_exec_backend *slot = gm_exec_find(exec, domain->kind);

	/* A domain on record may be of a kind that this daemon has not got. */
	if (slot == NULL || slot->backend->launch == NULL)
		return gm_refuse_text(refusal, GM_UNSUPPORTED, GM_RULE_KIND, "host",
				      "there is no kind %s with launches", domain->kind);
	if (slot->backend->launch->device_name != NULL && slot->launch_fd < 0)
		return gm_refuse_text(refusal, GM_UNSUPPORTED, GM_RULE_DEVICE, "host",
				      "the device %s is not there",
				      slot->backend->launch->device_name);
	*ret_fd = slot->launch_fd;
	return 0;
}

/* ---- sources ---- */

/* NULL, or what is wrong. F_SEAL_FUTURE_WRITE would leave those who have mapped it their way in. */
static const char *find_fault(int fd, struct stat *ret_stat)
{
	const int wanted = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0)
		return "a source is a memfd";
	if ((seals & wanted) != wanted)
		return "a source is sealed against writing, shrinking and growing";
	if (fstat(fd, ret_stat) < 0 || !S_ISREG(ret_stat->st_mode))
		return "a source is a memfd";
	if (ret_stat->st_size <= 0 || !gm_is_aligned((uint64_t)ret_stat->st_size, GM_PAGE_4K))
		return "a source is of whole pages";
	if (ret_stat->st_blocks < ret_stat->st_size / 512)
		return "a source has no holes: all of it is written before it is sealed";
	return NULL;
}

int gm_exec_add_source(struct gm_exec *exec, struct gm_domain *domain, uint64_t id, int fd,
		       uint64_t *ret_size, struct gm_refusal *refusal)
{
	struct stat status = { 0 };
	const char *fault = find_fault(fd, &status);
	int r;

	if (fault != NULL)
		r = gm_refuse_text(refusal, GM_INVALID, GM_RULE_SOURCE, "fd", "%s", fault);
	else
		r = gm_book_add_source(exec->book, domain, id, fd, (uint64_t)status.st_size,
				       &(struct gm_file_id){ status.st_dev, status.st_ino },
				       refusal);
	if (r != 0)
		gm_exec_dispose(exec, domain->tenant, fd);
	else
		*ret_size = (uint64_t)status.st_size;
	return r;
}

void gm_exec_drop_sources(struct gm_exec *exec, struct gm_domain *domain)
{
	int fd;

	while ((fd = gm_book_drop_source(domain)) >= 0)
		gm_exec_dispose(exec, domain->tenant, fd);
}

/* ---- population ---- */

static int refuse_source(const struct gm_population *population, const char *why,
			 struct gm_refusal *refusal)
{
	int verdict = gm_refuse_text(refusal, GM_INVALID, GM_RULE_SOURCE, "source", "%s", why);

	refusal->offset = population->source_offset;
	refusal->asked = population->range.length;
	return verdict;
}

static int check_source(const struct gm_domain *domain, const struct gm_population *population,
			struct gm_refusal *refusal)
{
	const struct gm_source *source = gm_book_find_source(domain, population->source);
	uint64_t end;

	if (population->source == 0)
		return refuse_source(population, "pages of this type come from a source", refusal);
	if (source == NULL)
		return gm_refuse_text(refusal, GM_NO_SUCH_OBJECT, GM_RULE_SOURCE, "source",
				      "the domain has no such source");
	if (!gm_is_aligned(population->source_offset, GM_PAGE_4K))
		return refuse_source(population, "the offset is not a multiple of 4096", refusal);
	if (gm_add_overflows(population->source_offset, population->range.length, &end) ||
	    end > source->size)
		return refuse_source(population, "the source ends before the range does", refusal);
	return 0;
}

static bool has_source(const struct gm_launch_rules *rules, enum gm_populate_type type)
{
	return type == GM_POPULATE_VCPU || (rules->sources >> type & 1);
}

/* From the page itself: what the VMM has put there while it was shared. */
static bool is_in_place(const struct gm_domain *domain, const struct gm_population *population)
{
	return (domain->traits & GM_TRAIT_IN_PLACE) && population->type == GM_POPULATE_NORMAL &&
	       population->source == 0;
}

/* The launch could not be finished: nobody knows its digest from then on. */
static int check_in_place(const struct gm_domain *domain, struct gm_refusal *refusal)
{
	const struct gm_tenant *tenant = domain->tenant;
	enum gm_rule rule = GM_RULE_MEASUREMENT_ALLOW;

	if (tenant->policy.n_measurements == 0 && !tenant->policy.require_id_block)
		return 0;
	if (tenant->policy.n_measurements == 0)
		rule = GM_RULE_REQUIRE_ID_BLOCK;
	return gm_refuse_text(refusal, GM_DENIED, rule, tenant->account.name,
			      "what is populated in place cannot be predicted: populate from a "
			      "source");
}

int gm_exec_check_population(const struct gm_exec *exec, const struct gm_domain *domain,
			     const struct gm_population *population, struct gm_refusal *refusal)
{
	const struct gm_launch_rules *rules = gm_exec_launch_rules(exec, domain->kind);

	assert(rules != NULL && (unsigned)population->type < GM_POPULATE_N_);
	if (population->type != GM_POPULATE_VCPU && !(rules->types >> population->type & 1))
		return gm_refuse_text(refusal, GM_INVALID, GM_RULE_FLAGS, "request",
				      "guests of kind %s have no pages of type %d", domain->kind,
				      (int)population->type);
	if (is_in_place(domain, population))
		return check_in_place(domain, refusal);
	if (has_source(rules, population->type))
		return check_source(domain, population, refusal);
	if (population->source != 0)
		return refuse_source(population, "pages of this type come from no source", refusal);
	return 0;
}

enum gm_page_op gm_exec_population_op(const struct gm_domain *domain,
				      const struct gm_population *population)
{
	if (is_in_place(domain, population))
		return GM_PAGE_OP_POPULATE_IN_PLACE;
	switch (population->type) {
	case GM_POPULATE_UNMEASURED:
	case GM_POPULATE_SECRETS:
	case GM_POPULATE_CPUID:
		return GM_PAGE_OP_POPULATE_UNMEASURED;
	case GM_POPULATE_NONE:
	case GM_POPULATE_NORMAL:
	case GM_POPULATE_ZERO:
	case GM_POPULATE_VCPU:
	case GM_POPULATE_N_:
		break;
	}
	return GM_PAGE_OP_POPULATE;
}

static uint64_t tags_wanted(const struct gm_domain *domain, const struct gm_population *population)
{
	const struct gm_trail *trail = domain->launch->trail;
	uint64_t n_pages = population->range.length / GM_PAGE_4K;

	/* Some are of no use: a row has all of its tags, or is not kept. */
	if (trail == NULL || population->type == GM_POPULATE_VCPU || n_pages > gm_trail_room(trail))
		return 0;
	return n_pages;
}

void gm_exec_note_population(const struct gm_region *region, const struct gm_population *population,
			     const struct gm_exec_job *job)
{
	struct gm_trail *trail = region->domain->launch->trail;
	struct gm_trail_row row = { .gpa = region->gpa + population->range.offset,
				    .n_pages = population->range.length / GM_PAGE_4K,
				    .type = population->type };
	bool has_content = population->type == GM_POPULATE_NORMAL;

	if (trail == NULL)
		return;
	if (has_content && job != NULL)
		row.n_tags = (uint32_t)job->digest->n_tags;
	/* Without them the row would look as if its contents were not measured. */
	if (has_content && row.n_tags != row.n_pages)
		row.n_tags = UINT32_MAX;
	gm_trail_set_next(trail, &row, job != NULL ? job->digest->tags : NULL);
}

void gm_exec_note_written(const struct gm_region *region, const struct gm_population *population,
			  const struct gm_exec_job *job)
{
	gm_exec_note_population(region, population, job);
	if (region->domain->launch->trail != NULL)
		gm_trail_book(region->domain->launch->trail);
}

/* Some 5 us. */
#define AT_ONCE (16 * GM_PAGE_4K)

bool gm_exec_hash_at_once(const struct gm_region *region, const struct gm_population *population,
			  uint8_t digest[GM_LAUNCH_DIGEST_SIZE], int *ret_result,
			  struct gm_refusal *refusal)
{
	const struct gm_launch_put put = { .type = population->type,
					   .gpa = region->gpa + population->range.offset,
					   .length = population->range.length,
					   .n_threads = 1 };

	if (population->type == GM_POPULATE_NORMAL || population->type == GM_POPULATE_VCPU ||
	    population->range.length > AT_ONCE)
		return false;
	memcpy(digest, region->domain->launch->digest, GM_LAUNCH_DIGEST_SIZE);
	*ret_result = gm_launch_put(digest, &put, refusal);
	return true;
}

int gm_exec_start_hashing(struct gm_exec *exec, struct gm_session *session, int pidfd,
			  struct gm_region *region, const struct gm_population *population,
			  const struct gm_exec_job_ops *ops, void *arg,
			  struct gm_exec_job **ret_job, struct gm_refusal *refusal)
{
	const struct gm_domain *domain = region->domain;
	const struct gm_source *source = gm_book_find_source(domain, population->source);
	struct gm_exec_digest digest = {
		.fd = source != NULL ? source->fd : gm_exec_shared_fd(region),
		.order = { .type = population->type, .has_source = source != NULL },
	};
	const struct gm_range range = { population->source_offset, population->range.length };

	digest.order.max_tags = tags_wanted(domain, population);
	if (population->type != GM_POPULATE_VCPU)
		digest.order.gpa = region->gpa + population->range.offset;
	memcpy(digest.order.state, domain->launch->digest, sizeof(digest.order.state));
	return gm_exec_start_digest(exec, session, pidfd, region, &digest, &range, ops, arg,
				    ret_job, refusal);
}

static bool can_be_read(const uint8_t blob[GM_LAUNCH_BLOB_SIZE])
{
	uint8_t digest[GM_LAUNCH_DIGEST_MAX];
	size_t size;

	return gm_launch_peek(blob, digest, &size, NULL) >= 0;
}

void gm_exec_restore_launch(const struct gm_exec *exec, struct gm_domain *domain)
{
	const struct gm_launch_rules *rules = gm_exec_launch_rules(exec, domain->kind);
	const struct gm_launch *launch = domain->launch;
	uint8_t digest[GM_LAUNCH_DIGEST_SIZE];
	int r;

	if (rules == NULL || launch == NULL || launch->state == GM_LAUNCH_READY ||
	    (can_be_read(launch->digest) && can_be_read(launch->next_digest)))
		return;
	rules->begin(digest);
	r = gm_launch_spoil(digest, "what had been measured when the daemon was started again is "
				    "not on record");
	assert(r == 0);
	gm_book_replace_digest(domain, digest);
}

/* ---- the end ---- */

static int refuse_size(const char *what, size_t wanted, size_t size, struct gm_refusal *refusal)
{
	enum gm_rule rule = what[0] == 'i' ? GM_RULE_REQUIRE_ID_BLOCK : GM_RULE_SIZE;

	gm_refuse_text(refusal, GM_INVALID, rule, "request", "%s is of %zu bytes here, not %zu",
		       what, wanted, size);
	refusal->limit = wanted;
	refusal->asked = size;
	return GM_INVALID;
}

int gm_exec_check_end(const struct gm_exec *exec, const struct gm_domain *domain,
		      const struct gm_launch_end *end, struct gm_refusal *refusal)
{
	const struct gm_launch_rules *rules = gm_exec_launch_rules(exec, domain->kind);
	const struct gm_launch_vcpus *vcpus = &end->vcpus;

	assert(rules != NULL);
	if ((end->id_block_size | end->id_auth_size) != 0 &&
	    end->id_block_size != rules->id_block_size)
		return refuse_size("id_block", rules->id_block_size, end->id_block_size, refusal);
	if ((end->id_block_size | end->id_auth_size) != 0 &&
	    end->id_auth_size != rules->id_auth_size)
		return refuse_size("id_auth", rules->id_auth_size, end->id_auth_size, refusal);
	if (end->host_data_size != 0 && end->host_data_size != rules->host_data_size)
		return refuse_size("host_data", rules->host_data_size, end->host_data_size,
				   refusal);
	if (!rules->measures_vcpus && vcpus->how != GM_VCPUS_UNKNOWN)
		return gm_refuse_text(refusal, GM_INVALID, GM_RULE_FLAGS, "request",
				      "the registers of vCPUs are not measured here");
	if (vcpus->how != GM_VCPUS_UNKNOWN &&
	    (vcpus->count == 0 || vcpus->count > GM_LAUNCH_VCPUS_MAX))
		return gm_refuse_numbers(refusal, GM_INVALID, GM_RULE_SIZE, "request",
					 GM_LAUNCH_VCPUS_MAX, 0, vcpus->count);
	return 0;
}

static void print_hex(const uint8_t *bytes, size_t n, char *text)
{
	for (size_t i = 0; i < n; i++)
		(void)sprintf(text + 2 * i, "%02x", bytes[i]);
}

/* @known: 0, or a refusal that has the reason. */
static int check_policy(const struct gm_tenant *tenant, bool has_id_block, int known,
			const uint8_t *digest, size_t size, const struct gm_refusal *why,
			const struct gm_plan_launch *launch, struct gm_refusal *refusal)
{
	const struct gm_policy *policy = &tenant->policy;
	char difference[GM_PLAN_TEXT_MAX];
	char text[2 * GM_LAUNCH_DIGEST_MAX + 1] = "";

	if (policy->require_id_block && !has_id_block)
		return gm_refuse_text(refusal, GM_DENIED, GM_RULE_REQUIRE_ID_BLOCK,
				      tenant->account.name, "the launch has no ID block");
	if (policy->n_measurements == 0)
		return 0;
	if (known != 0)
		return gm_refuse_text(refusal, GM_DENIED, GM_RULE_MEASUREMENT_ALLOW,
				      tenant->account.name, "%s", why->text);
	if (gm_policy_allows_measurement(policy, digest, size))
		return 0;
	print_hex(digest, size, text);
	if (gm_plan_explain(policy, launch, difference))
		return gm_refuse_text(refusal, GM_DENIED, GM_RULE_MEASUREMENT_ALLOW,
				      tenant->account.name, "the measurement would be %.16s...: %s",
				      text, difference);
	return gm_refuse_text(refusal, GM_DENIED, GM_RULE_MEASUREMENT_ALLOW, tenant->account.name,
			      "the measurement would be %s, which is not allowed", text);
}

static int check_id_block(const struct gm_launch_rules *rules, const struct gm_launch_end *end,
			  bool required, int known, const uint8_t *digest, size_t size,
			  const struct gm_refusal *why, struct gm_refusal *refusal)
{
	char text[2 * GM_LAUNCH_DIGEST_MAX + 1];

	if (end->id_block == NULL)
		return 0;
	if (known != 0)
		return !required ? 0
				 : gm_refuse_text(refusal, GM_DENIED, GM_RULE_REQUIRE_ID_BLOCK,
						  "domain", "%s", why->text);
	if (memcmp(rules->id_block_digest(end->id_block), digest, size) == 0)
		return 0;
	print_hex(digest, size, text);
	return gm_refuse_text(refusal, GM_INVALID, GM_RULE_REQUIRE_ID_BLOCK, "request",
			      "the ID block is for another launch: this one will be %s", text);
}

int gm_exec_predict(const struct gm_exec *exec, const struct gm_domain *domain,
		    const struct gm_launch_end *end, uint8_t digest[GM_LAUNCH_DIGEST_SIZE],
		    struct gm_refusal *refusal)
{
	const struct gm_launch_rules *rules = gm_exec_launch_rules(exec, domain->kind);
	const struct gm_tenant *tenant = domain->tenant;
	struct gm_plan_launch launch = { .trail = domain->launch->trail, .vcpus = &end->vcpus };
	struct gm_refusal why = { 0 };
	uint8_t bytes[GM_LAUNCH_DIGEST_MAX];
	uint64_t tags[2];
	size_t size = 0;
	int known, r;

	if (tenant->policy.launch_plans[0] != '\0' && rules->vcpu_tags != NULL &&
	    end->vcpus.how == GM_VCPUS_MODEL && rules->vcpu_tags(&end->vcpus, tags) == 0)
		launch.vcpu_tags = tags;

	r = rules->finish(digest, &end->vcpus, refusal);
	if (r != 0)
		return r;
	known = gm_launch_peek(digest, bytes, &size, &why);
	if (known < 0)
		return known;
	r = check_policy(tenant, end->id_block != NULL, known, bytes, size, &why, &launch, refusal);
	if (r == 0)
		r = check_id_block(rules, end, tenant->policy.require_id_block, known, bytes, size,
				   &why, refusal);
	return r;
}
