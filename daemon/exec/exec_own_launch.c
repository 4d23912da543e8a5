/* SPDX-License-Identifier: Apache-2.0 */
#include "exec_own_launch.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "exec_job.h"
#include "gm_cleanup.h"
#include "gm_fault.h"
#include "launcher.h"

static_assert(GM_LAUNCH_FDS_BASE + GM_OWN_LAUNCH_REGIONS_MAX + GM_LAUNCH_SOURCES_MAX <=
		      GM_LAUNCH_FDS_MAX,
	      "all of a launch fits one message");

/*
 * The platform pins what it encrypts a second time while it does (sev_launch_update_data), beside
 * what is pinned for good: a piece of this size, more than the grant, for the time of a command.
 */
#define LOCK_REST GM_PAGE_2M

int gm_exec_check_parameters(const struct gm_exec *exec, const struct gm_domain *domain,
			     const void *parameters, size_t size, struct gm_refusal *refusal)
{
	const struct gm_launch_rules *rules = gm_exec_launch_rules(exec, domain->kind);

	assert(rules != NULL);
	if (domain->tenant->policy.require_id_block && rules->id_block_size == 0)
		return gm_refuse_text(refusal, GM_DENIED, GM_RULE_REQUIRE_ID_BLOCK,
				      domain->tenant->account.name,
				      "guests of kind %s have no ID block", domain->kind);
	return rules->check_parameters(parameters, size, refusal);
}

/* ---- the order ---- */

/* All of it for one launch; what it points to is its own or lives as long as the call. */
struct order {
	struct gm_launch_order order;
	uint64_t sizes[GM_OWN_LAUNCH_REGIONS_MAX];
	struct gm_launch_head_put *puts;
	uint8_t pages[GM_LAUNCH_MODEL_PAGES * GM_PAGE_4K];
	int fds[GM_LAUNCH_FDS_MAX];
};

static void order_free(struct order **order)
{
	if (*order != NULL)
		free((*order)->puts);
	free(*order);
}

static uint32_t index_of_region(const struct gm_domain *domain, const struct gm_region *region)
{
	uint32_t i = 0;

	while (domain->regions[i] != region)
		i++;
	return i;
}

static uint32_t index_of_source(const struct gm_launch *launch, uint64_t id)
{
	uint32_t i = 0;

	while (launch->sources[i].id != id)
		i++;
	return i;
}

static int fill_puts(const struct gm_domain *domain, struct order *order)
{
	const struct gm_launch *launch = domain->launch;

	order->puts = calloc(launch->n_puts + 1UL, sizeof(*order->puts));
	if (order->puts == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < launch->n_puts; i++) {
		const struct gm_put *put = &launch->puts[i];

		order->puts[i] = (struct gm_launch_head_put){
			.region = index_of_region(domain, put->region),
			.source = index_of_source(launch, put->source),
			.offset = put->offset,
			.length = put->length,
			.source_offset = put->source_offset,
		};
	}
	order->order.puts = order->puts;
	order->order.head.n_puts = launch->n_puts;
	return 0;
}

static int fill_vcpus(const struct gm_domain *domain, const struct gm_launch_rules *rules,
		      const struct gm_launch_vcpus *vcpus, const struct gm_population *population,
		      struct order *order, struct gm_refusal *refusal)
{
	struct gm_launch_head *head = &order->order.head;

	head->n_vcpus = vcpus->how == GM_VCPUS_UNKNOWN ? 0 : vcpus->count;
	head->vcpu_source = GM_LAUNCH_NO_SOURCE;
	if (vcpus->how == GM_VCPUS_PAGES) {
		head->n_vcpu_pages = vcpus->count;
		head->vcpu_source = index_of_source(domain->launch, population->source);
		head->vcpu_offset = population->source_offset;
	}
	if (vcpus->how != GM_VCPUS_MODEL)
		return 0;
	order->order.vcpu_pages = order->pages;
	return rules->model_pages(vcpus, order->pages, &head->n_vcpu_pages, refusal);
}

static void fill_memory(const struct gm_exec *exec, const struct gm_domain *domain,
			struct order *order)
{
	const struct gm_exec_backend *slot = gm_exec_find(exec, domain->kind);
	struct gm_launch_head *head = &order->order.head;
	int *fd = order->fds;

	*fd++ = exec->kvm_fd;
	*fd++ = slot->launch_fd;
	head->n_regions = domain->n_regions;
	for (uint32_t i = 0; i < domain->n_regions; i++) {
		order->sizes[i] = domain->regions[i]->size;
		*fd++ = domain->regions[i]->fd;
	}
	head->n_sources = domain->launch->n_sources;
	for (uint32_t i = 0; i < head->n_sources; i++)
		*fd++ = domain->launch->sources[i].fd;
	order->order.region_sizes = order->sizes;
	order->order.fds = order->fds;
	order->order.n_fds = (size_t)(fd - order->fds);
	head->lock_bytes = domain->reserved_bytes + LOCK_REST;
}

static void fill_digest(const uint8_t digest[GM_LAUNCH_DIGEST_SIZE], struct gm_launch_head *head)
{
	size_t size = 0;

	if (gm_launch_peek(digest, head->digest, &size, NULL) == 0)
		head->digest_size = (uint32_t)size;
}

static int check_devices(const struct gm_exec *exec, const struct gm_domain *domain,
			 struct gm_refusal *refusal)
{
	int fd;

	if (exec->kvm_fd < 0)
		return gm_refuse_text(refusal, GM_UNSUPPORTED, GM_RULE_DEVICE, "host",
				      "no device kvm: %s", exec->kvm_reason);
	return gm_exec_launch_device(exec, domain, &fd, refusal);
}

static int send_order(const struct gm_exec *exec, const struct gm_domain *domain,
		      const struct gm_launch_vcpus *vcpus, const struct gm_population *population,
		      const uint8_t *digest, int socket, struct gm_refusal *refusal)
{
	const struct gm_launch_rules *rules = gm_exec_launch_rules(exec, domain->kind);
	_gm_cleanup_(order_free) struct order *order = calloc(1, sizeof(*order));
	int r;

	if (order == NULL)
		return -ENOMEM;
	fill_memory(exec, domain, order);
	fill_digest(digest, &order->order.head);
	order->order.parameters = domain->launch->parameters;
	order->order.head.parameters_size = (uint32_t)domain->launch->parameters_size;
	r = fill_puts(domain, order);
	if (r == 0)
		r = fill_vcpus(domain, rules, vcpus, population, order, refusal);
	if (r == 0)
		r = gm_launch_send_order(socket, &order->order);
	return r;
}

/* ---- the job ---- */

static int make_own(struct gm_exec_own **ret_own)
{
	struct gm_exec_own *own = calloc(1, sizeof(*own));
	int fds[2];

	if (own == NULL)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
		free(own);
		return -errno;
	}
	*own = (struct gm_exec_own){ .socket = fds[0], .theirs = fds[1], .vm_fd = -1 };
	*ret_own = own;
	return 0;
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		gm_fd_close(gm_take_fd(fd));
}

void gm_exec_own_free(struct gm_exec_own *own)
{
	if (own == NULL)
		return;
	close_end(&own->vm_fd);
	close_end(&own->theirs);
	close_end(&own->socket);
	free(own);
}

static int begin(struct gm_exec *exec, struct gm_session *session, int pidfd,
		 struct gm_domain *domain, struct gm_exec_own *own,
		 const struct gm_exec_job_ops *ops, void *arg, struct gm_exec_job **ret_job,
		 struct gm_refusal *refusal)
{
	struct gm_job_ticket ticket;
	int r;

	r = gm_book_begin_own_finish(exec->book, session, domain, &ticket, refusal);
	if (r != 0) {
		gm_exec_own_free(own);
		return r;
	}
	r = gm_exec_start_own(exec, &ticket, own, pidfd, ops, arg, ret_job, refusal);
	/* Nothing was launched: the charge for it goes back. */
	if (r != 0)
		(void)gm_book_take_vm(domain);
	return r;
}

int gm_exec_start_own_launch(struct gm_exec *exec, struct gm_session *session, int pidfd,
			     struct gm_domain *domain, const struct gm_launch_vcpus *vcpus,
			     const struct gm_population *population,
			     const uint8_t digest[GM_LAUNCH_DIGEST_SIZE],
			     const struct gm_exec_job_ops *ops, void *arg,
			     struct gm_exec_job **ret_job, struct gm_refusal *refusal)
{
	struct gm_exec_own *own = NULL;
	int r;

	r = check_devices(exec, domain, refusal);
	if (r == 0)
		r = gm_book_check_own_finish(exec->book, domain, refusal);
	if (r == 0)
		r = make_own(&own);
	if (r != 0 || own == NULL)
		return r;
	r = send_order(exec, domain, vcpus, population, digest, own->socket, refusal);
	if (r != 0) {
		gm_exec_own_free(own);
		return r;
	}
	r = begin(exec, session, pidfd, domain, own, ops, arg, ret_job, refusal);
	if (r == 0)
		gm_book_own_finish_begun(domain, digest);
	return r;
}

void gm_exec_own_read(struct gm_exec_job *job)
{
	struct gm_exec_own *own = job->own;

	own->has_result = gm_launch_read_result(own->socket, &own->result, &own->vm_fd) == 0;
}

/* @error: of the worker's report, positive. */
int gm_exec_own_conclude(const struct gm_exec_job *job, int error, struct gm_refusal *refusal)
{
	const struct gm_domain *domain = job->ticket.region->domain;
	const struct gm_launch_rules *rules = gm_exec_launch_rules(job->exec, domain->kind);
	const struct gm_launch_result *result = &job->own->result;
	const char *tenant = domain->tenant->account.name;
	const char *request = result->request[0] != '\0' ? result->request : "the launcher";
	const char *why = strerrordesc_np(error);
	enum gm_verdict verdict = GM_FAILED;
	enum gm_rule rule = GM_RULE_FIRMWARE;

	if (!job->own->has_result)
		return -error;
	if (result->reason[0] != '\0')
		why = result->reason;
	if (result->no_room || error == ENOMEM)
		verdict = GM_NO_RESOURCE;
	if (error == ENOMEM)
		rule = result->no_lock ? GM_RULE_RLIMIT : GM_RULE_MEMORY_CGROUP;
	if (result->firmware != 0)
		gm_refuse_text(refusal, verdict, rule, tenant, "%s: firmware error %s (%#x)",
			       request, rules->firmware_name(result->firmware), result->firmware);
	else
		gm_refuse_text(refusal, verdict, rule, tenant, "%s: %s", request,
			       why != NULL ? why : "it failed");
	refusal->sys_errno = (uint32_t)error;
	refusal->firmware_error = result->firmware;
	if (result->no_lock)
		refusal->asked = domain->reserved_bytes;
	return verdict;
}

bool gm_exec_was_compared(const struct gm_exec_job *job)
{
	return job->own->has_result && job->own->result.digest_was_compared;
}

int gm_exec_take_launched(struct gm_exec *exec, struct gm_exec_job *job, struct gm_domain *domain,
			  const struct gm_step_spec *spec, struct gm_refusal *refusal)
{
	const struct gm_launch_rules *rules = gm_exec_launch_rules(exec, domain->kind);
	struct gm_exec_own *own = job->own;
	int r = 0;

	/* The worker may have been taken over by what it has mapped. */
	if (own->vm_fd < 0 || !rules->is_vm(own->vm_fd))
		return -EPROTO;
	if (exec->keep_ops != NULL)
		r = exec->keep_ops->keep_vm(exec->keep_arg, domain, own->vm_fd, refusal);
	if (r != 0)
		return r;
	GM_FAULT_POINT("launch: in the fd store");
	gm_book_launched(domain, gm_take_fd(&own->vm_fd), spec);
	return 0;
}

void gm_exec_stop_own_launch(struct gm_exec *exec, const struct gm_domain *domain)
{
	struct gm_exec_job *job;

	TAILQ_FOREACH(job, &exec->jobs, link)
		if (job->own != NULL && job->ticket.region->domain == domain)
			gm_exec_cancel_job(job);
}

/* ---- after a restart ---- */

static const char *doubt_vm(const struct gm_exec *exec, const struct gm_domain *domain, int vm_fd)
{
	const struct gm_launch_rules *rules = gm_exec_launch_rules(exec, domain->kind);

	if (domain->launch->step_id == 0)
		return "its launch was under way when the daemon was started again";
	if (vm_fd < 0 || rules == NULL || !rules->is_vm(vm_fd))
		return "what had been launched was lost when the daemon was started again";
	return NULL;
}

static bool is_under_way(const struct gm_domain *domain)
{
	enum gm_launch_state state = gm_domain_launch_state(domain);

	return state > GM_LAUNCH_READY && state <= GM_LAUNCH_FINISHING;
}

const char *gm_exec_restore_own_launch(const struct gm_exec *exec, struct gm_domain *domain,
				       int vm_fd)
{
	struct gm_launch_failure failure = { 0 };
	const char *doubt;

	if (!gm_domain_is_launched_here(domain) || !is_under_way(domain))
		return NULL;
	doubt = doubt_vm(exec, domain, vm_fd);
	if (doubt == NULL) {
		gm_book_restore_vm(domain, vm_fd);
		return NULL;
	}
	snprintf(failure.text, sizeof(failure.text), "%s", doubt);
	gm_book_fail_launch(domain, &failure);
	return doubt;
}
