/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The beginning and the end of a launch, and its sources. Orders are carried out by the kind's
 * steps, which alone know the platform.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "gm_cleanup.h"
#include "gm_fd.h"
#include "gm_verdict.h"
#include "remote.h"

const struct gm_launch_steps *gm_remote_steps(const struct gmem_domain *domain)
{
	const struct gm_launch_steps *steps = gm_launch_steps_find(domain->kind);

	if (!steps)
		(void)gm_fail(domain->client, GMEM_UNSUPPORTED, GM_RULE_LAUNCH_STATE,
			      "Guests of kind %s are not launched: they run as they are "
			      "(launch state).",
			      domain->kind);
	else if (domain->vm_fd < 0)
		(void)gm_fail(domain->client, GMEM_WRONG_STATE, 0,
			      "A launch is that of a VM: adopt one first (gmem_vm_adopt).");
	return domain->vm_fd < 0 ? NULL : steps;
}

struct gm_launch_vm gm_remote_launch_vm(const struct gmem_domain *domain)
{
	return (struct gm_launch_vm){
		.vm_fd = domain->vm_fd,
		.device_fd = domain->device_fd,
		.vcpu_fd = domain->vcpu_fd,
	};
}

static void name_firmware(const struct gm_launch_steps *steps, const struct gm_launch_fault *fault,
			  char *to, size_t size)
{
	to[0] = '\0';
	if (fault->firmware)
		(void)snprintf(to, size, " %s (%#x)", steps->firmware_name(fault->firmware),
			       fault->firmware);
}

int gm_remote_fail_step(struct gmem_client *client, const struct gm_launch_steps *steps,
			const struct gm_launch_fault *fault, int error)
{
	int status = fault->no_room ? GMEM_NO_RESOURCE : GMEM_FAILED;
	const char *why = fault->explanation ? fault->explanation : strerrordesc_np(error);
	char firmware[64];

	if (!fault->request)
		return gm_fail(client, GMEM_INVALID, GM_RULE_FIRMWARE,
			       "No request to the kernel can be made of this (firmware).");
	name_firmware(steps, fault, firmware, sizeof(firmware));
	(void)gm_fail(client, status, GM_RULE_FIRMWARE, "%s:%s %s (firmware, %s).", fault->request,
		      firmware, why ? why : "it failed", strerrorname_np(error));
	client->failure.sys_errno = error;
	client->failure.firmware_error = fault->firmware;
	return gm_client_fail(client, &client->failure);
}

/* Reports a step of the domain, and tells what came of it. */
static int report(struct gmem_client *client, const struct gm_launch_steps *steps,
		  const struct gm_launch_fault *fault, struct gm_report *done, int error)
{
	int r;

	done->error = -error;
	done->firmware_error = fault->firmware;
	r = gm_remote_report(client, done);
	if (error == 0 || client->remote->link.state == GM_LINK_OVER)
		return r;
	return gm_remote_fail_step(client, steps, fault, -error);
}

/* Nobody is left to carry out an order. */
static int report_gone(struct gmem_client *client, struct gm_report *done)
{
	done->error = ECANCELED;
	(void)gm_remote_report_only(client, done);
	return gm_fail(client, GMEM_NO_SUCH_OBJECT, 0,
		       "The domain was destroyed while the daemon was asked about it.");
}

/* ---- start */

int gm_remote_launch_start(struct gmem_domain *domain, const void *parameters, size_t size)
{
	Gmem__LaunchStartRequest request = GMEM__LAUNCH_START_REQUEST__INIT;
	const struct gm_launch_steps *steps = gm_remote_steps(domain);
	struct gmem_client *client = domain->client;
	struct gm_report done = { .domain = domain->id };
	_gm_reply_ struct gm_reply reply = { 0 };
	struct gm_launch_fault fault = { 0 };
	struct gm_launch_vm vm;
	int r;

	if (!steps)
		return -client->failure.status;
	request.has_domain = request.has_parameters = true;
	request.domain = domain->id;
	request.parameters = gm_wire_bytes(parameters, size);
	r = gm_remote_call(client, GM_MSG_LAUNCH_START, &request.base, &reply);
	/* Where the daemon launches the guest there is nothing to be done yet. */
	if (r < 0 || steps->take_over)
		return r;
	r = gm_remote_check_order(client, ((const Gmem__LaunchStartReply *)reply.message)->step,
				  GMEM__STEP_KIND__STEP_LAUNCH_START);
	if (r < 0)
		return r;
	done.step = gm_ordered(GM_MSG_LAUNCH_START, reply.message);
	domain = gm_client_find_domain(client, done.domain);
	if (!domain)
		return report_gone(client, &done);
	if (reply.fds.n_fds != (steps->has_device ? 1 : 0))
		return gm_remote_nonsense(client, "a launch without its device");
	if (steps->has_device) {
		gm_fd_close(domain->device_fd);
		domain->device_fd = gm_fdset_steal(&reply.fds, 0);
	}
	vm = gm_remote_launch_vm(domain);
	r = steps->start(&vm, parameters, size, &fault);
	return report(client, steps, &fault, &done, r);
}

/* ---- sources */

static int hand_in_once(struct gmem_client *client, uint64_t domain, int fd, uint64_t size,
			uint64_t deadline, struct gm_box *box, uint64_t *ret_id)
{
	Gmem__SourceRequest request = GMEM__SOURCE_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	const Gmem__SourceReply *answer;
	struct gm_pending *pending;
	int r;

	r = gm_remote_box(client, domain, fd, deadline, box);
	if (r < 0)
		return r;
	request.has_domain = request.has_box = true;
	request.domain = domain;
	request.box = box->id;
	r = gm_remote_post(client, GM_PENDING_CALL, GM_MSG_SOURCE, &request.base, &pending);
	if (r < 0)
		return r;
	r = gm_remote_finish(client, pending, deadline, &reply);
	if (r < 0)
		return r;
	answer = (const Gmem__SourceReply *)reply.message;
	if (!answer->source || answer->size != size)
		return gm_remote_nonsense(client, "another source than was handed in");
	*ret_id = answer->source;
	return 0;
}

/* Hands @fd in. Touches no handle after the wait. */
static int hand_in(struct gmem_client *client, uint64_t domain, int fd, uint64_t size,
		   uint64_t *ret_id)
{
	uint64_t deadline = gm_deadline(client);
	_gm_close_ int copy = gm_fd_dup(fd);
	struct gm_box box = { 0 };
	int r;

	if (copy < 0)
		return gm_fail_errno(client, copy, "a file descriptor to send");
	do
		r = hand_in_once(client, domain, copy, size, deadline, &box, ret_id);
	while (r < 0 && gm_remote_box_is_gone(client, &box));
	return r;
}

int gm_remote_source_add(struct gmem_domain *domain, struct gmem_source *source)
{
	return hand_in(domain->client, domain->id, source->fd, source->size, &source->id);
}

bool gm_remote_source_is_gone(const struct gmem_client *client)
{
	return client->failure.status == GMEM_NO_SUCH_OBJECT &&
	       strcmp(client->failure.rule, gm_rule_name(GM_RULE_SOURCE)) == 0;
}

static struct gmem_source *find_source(const struct gmem_client *client, uint64_t domain_id,
				       const struct gmem_source *source)
{
	const struct gmem_domain *domain = gm_client_find_domain(client, domain_id);

	return domain ? gm_domain_find_source(domain, source) : NULL;
}

int gm_remote_source_again(struct gmem_client *client, uint64_t domain,
			   const struct gmem_source *source)
{
	struct gmem_source *ours = find_source(client, domain, source);
	uint64_t id = 0;
	int r;

	/* What the daemon said stands. */
	if (!ours)
		return gm_client_fail(client, &client->failure);
	r = hand_in(client, domain, ours->fd, ours->size, &id);
	if (r < 0)
		return r;
	ours = find_source(client, domain, source);
	if (!ours)
		return gm_fail(client, GMEM_NO_SUCH_OBJECT, GM_RULE_SOURCE,
			       "The source was given up while it was handed in again (source).");
	ours->id = id;
	return 0;
}

/* ---- end */

static void fill_vcpus(const struct gmem_vcpus *from, Gmem__Vcpus *to)
{
	gmem__vcpus__init(to);
	to->has_how = to->has_count = true;
	to->how = (Gmem__VcpusHow)from->how;
	to->count = from->count;
	if (from->how == GMEM_VCPUS_MODEL) {
		to->has_vmm = to->has_signature = to->has_entry = to->has_features = true;
		to->vmm = gm_wire_text(from->vmm ? from->vmm : "");
		to->signature = from->signature;
		to->entry = from->entry;
		to->features = from->features;
	} else if (from->how == GMEM_VCPUS_PAGES) {
		to->has_source = to->has_source_offset = true;
		to->source = from->source->id;
		to->source_offset = from->source_offset;
	}
}

static void fill_end(const struct gmem_launch_end *end, Gmem__LaunchFinishRequest *request)
{
	if (end->id_block) {
		request->has_id_block = request->has_id_auth = true;
		request->id_block = gm_wire_bytes(end->id_block, GMEM_ID_BLOCK_SIZE);
		request->id_auth = gm_wire_bytes(end->id_auth, GMEM_ID_AUTH_SIZE);
	}
	if (end->host_data) {
		request->has_host_data = true;
		request->host_data = gm_wire_bytes(end->host_data, GMEM_HOST_DATA_SIZE);
	}
}

static int ask_to_finish(struct gmem_client *client, uint64_t domain,
			 const struct gmem_launch_end *end, struct gm_reply *reply)
{
	Gmem__LaunchFinishRequest request = GMEM__LAUNCH_FINISH_REQUEST__INIT;
	struct gm_pending *pending;
	Gmem__Vcpus vcpus;
	int r;

	request.has_domain = true;
	request.domain = domain;
	request.vcpus = &vcpus;
	fill_vcpus(&end->vcpus, &vcpus);
	fill_end(end, &request);
	/* Pages of vCPUs are hashed before the answer. */
	r = gm_remote_post(client, GM_PENDING_CALL, GM_MSG_LAUNCH_FINISH, &request.base, &pending);
	return r < 0 ? r : gm_remote_finish(client, pending, GM_NO_DEADLINE, reply);
}

/* As for a population: the source of the vCPUs may be forgotten more than once. */
static int ask_and_hand_in(struct gmem_client *client, uint64_t domain,
			   const struct gmem_launch_end *end, struct gm_reply *reply)
{
	int r = ask_to_finish(client, domain, end, reply);

	for (int i = 0; i < GM_SOURCE_TRIES && r < 0; i++) {
		if (end->vcpus.how != GMEM_VCPUS_PAGES || !gm_remote_source_is_gone(client))
			return r;
		r = gm_remote_source_again(client, domain, end->vcpus.source);
		if (r == 0)
			r = ask_to_finish(client, domain, end, reply);
	}
	return r;
}

static struct gm_launch_end end_of(const struct gmem_launch_end *end)
{
	return (struct gm_launch_end){
		.id_block = end->id_block,
		.id_auth = end->id_auth,
		.host_data = end->host_data,
	};
}

/* The order, and how it is carried out: 0 or -errno. */
static int carry_out(const struct gm_launch_vm *vm, const struct gm_launch_steps *steps,
		     const struct gmem_launch_end *end, struct gm_fdset *fds,
		     struct gm_launch_fault *fault)
{
	const struct gm_launch_end what = end_of(end);

	if (steps->take_over)
		return steps->take_over(vm, gm_fdset_peek(fds, 0), fault);
	return steps->finish(vm, &what, fault);
}

static int check_finish(struct gmem_client *client, const struct gm_launch_steps *steps,
			const struct gm_reply *reply)
{
	const Gmem__LaunchFinishReply *answer = (const Gmem__LaunchFinishReply *)reply->message;

	if (reply->fds.n_fds != (steps->take_over ? 1 : 0))
		return gm_remote_nonsense(client, "the end of a launch without what was launched");
	return gm_remote_check_order(client, answer->step,
				     steps->take_over ? GMEM__STEP_KIND__STEP_MOVE
						      : GMEM__STEP_KIND__STEP_LAUNCH_FINISH);
}

int gm_remote_launch_finish(struct gmem_domain *domain, const struct gmem_launch_end *end)
{
	const struct gm_launch_steps *steps = gm_remote_steps(domain);
	struct gmem_client *client = domain->client;
	struct gm_report done = { .domain = domain->id };
	_gm_reply_ struct gm_reply reply = { 0 };
	struct gm_launch_fault fault = { 0 };
	struct gm_launch_vm vm;
	int r;

	if (!steps)
		return -client->failure.status;
	r = ask_and_hand_in(client, done.domain, end, &reply);
	if (r != 0)
		return r;
	r = check_finish(client, steps, &reply);
	if (r < 0)
		return r;
	done.step = gm_ordered(GM_MSG_LAUNCH_FINISH, reply.message);
	domain = gm_client_find_domain(client, done.domain);
	if (!domain)
		return report_gone(client, &done);
	vm = gm_remote_launch_vm(domain);
	r = carry_out(&vm, steps, end, &reply.fds, &fault);
	/* As long as this process has it, it keeps the hardware's slot. */
	gm_fdset_done(&reply.fds);
	r = report(client, steps, &fault, &done, r);
	domain = gm_client_find_domain(client, done.domain);
	if (r == 0 && domain)
		gm_domain_end_launch(domain);
	return r;
}

int gm_remote_launch_abort(struct gmem_domain *domain)
{
	Gmem__LaunchAbortRequest request = GMEM__LAUNCH_ABORT_REQUEST__INIT;
	struct gmem_client *client = domain->client;
	_gm_reply_ struct gm_reply reply = { 0 };
	uint64_t id = domain->id;
	int r;

	request.has_domain = true;
	request.domain = id;
	r = gm_remote_call(client, GM_MSG_LAUNCH_ABORT, &request.base, &reply);
	domain = gm_client_find_domain(client, id);
	if (r == 0 && domain)
		gm_domain_end_launch(domain);
	return r;
}
