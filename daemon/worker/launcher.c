/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "channel.h"
#include "gm_cleanup.h"

/* A head, 200 regions, 1024 puts, two pages of registers and the parameters are less. */
#define ORDER_MAX (UINT64_C(256) * GM_KIB)

struct received {
	uint8_t *bytes;
	size_t size;
	int fds[GM_LAUNCH_FDS_MAX];
	size_t n_fds;
};

static void received_done(struct received *received)
{
	for (size_t i = 0; i < received->n_fds; i++)
		gm_fd_close(received->fds[i]);
	free(received->bytes);
}

static void take_fds(struct msghdr *message, struct received *received)
{
	const struct cmsghdr *header = CMSG_FIRSTHDR(message);

	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return;
	received->n_fds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(received->fds, CMSG_DATA(header), received->n_fds * sizeof(int));
}

/* It is there already. */
static int receive(int socket, struct received *received)
{
	_gm_free_ struct cmsghdr *control = calloc(1, CMSG_SPACE(sizeof(received->fds)));
	struct iovec iov = { .iov_len = ORDER_MAX };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = CMSG_SPACE(sizeof(received->fds)),
	};
	ssize_t n;

	received->bytes = calloc(1, ORDER_MAX);
	iov.iov_base = received->bytes;
	if (!control || !received->bytes)
		return -ENOMEM;
	n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	take_fds(&message, received);
	if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return -EBADMSG;
	received->size = (size_t)n;
	return 0;
}

/* ---- the plan, as it came ---- */

struct reading {
	const uint8_t *at;
	size_t left;
};

static const void *next(struct reading *reading, size_t n, size_t size)
{
	const void *at = reading->at;

	if (size != 0 && n > reading->left / size)
		return NULL;
	reading->at += n * size;
	reading->left -= n * size;
	return at;
}

struct plan {
	struct gm_launch_head head;
	struct gm_launch_plan plan;
	struct gm_plan_region *regions;
	struct gm_plan_put *puts;
};

static void plan_done(struct plan *plan)
{
	free(plan->regions);
	free(plan->puts);
}

static bool is_inside(uint64_t offset, uint64_t length, uint64_t size)
{
	return length > 0 && offset <= size && length <= size - offset;
}

static int read_regions(struct plan *plan, struct reading *reading, const int *fds)
{
	const struct gm_launch_head *head = &plan->head;
	const uint8_t *sizes = next(reading, head->n_regions, sizeof(uint64_t));

	plan->regions = calloc(head->n_regions + 1UL, sizeof(*plan->regions));
	if (!plan->regions)
		return -ENOMEM;
	if (!sizes)
		return -EBADMSG;
	for (uint32_t i = 0; i < head->n_regions; i++) {
		plan->regions[i].fd = fds[i];
		memcpy(&plan->regions[i].size, sizes + i * sizeof(uint64_t), sizeof(uint64_t));
	}
	return 0;
}

static int read_puts(struct plan *plan, struct reading *reading, const int *sources)
{
	const struct gm_launch_head *head = &plan->head;
	const uint8_t *at = next(reading, head->n_puts, sizeof(struct gm_launch_head_put));

	plan->puts = calloc(head->n_puts + 1UL, sizeof(*plan->puts));
	if (!plan->puts)
		return -ENOMEM;
	if (!at)
		return -EBADMSG;
	for (uint32_t i = 0; i < head->n_puts; i++) {
		struct gm_launch_head_put put;

		memcpy(&put, at + i * sizeof(put), sizeof(put));
		if (put.region >= head->n_regions || put.source >= head->n_sources ||
		    !is_inside(put.offset, put.length, plan->regions[put.region].size))
			return -EBADMSG;
		plan->puts[i] = (struct gm_plan_put){ .region = put.region,
						      .offset = put.offset,
						      .length = put.length,
						      .source = sources[put.source],
						      .source_offset = put.source_offset };
	}
	return 0;
}

static int read_vcpus(struct plan *plan, struct reading *reading, const int *sources)
{
	const struct gm_launch_head *head = &plan->head;
	struct gm_plan_vcpus *vcpus = &plan->plan.vcpus;

	vcpus->count = head->n_vcpus;
	vcpus->n_pages = head->n_vcpu_pages;
	vcpus->source_offset = head->vcpu_offset;
	if (vcpus->count > 0 && vcpus->n_pages == 0)
		return -EBADMSG;
	if (head->vcpu_source != GM_LAUNCH_NO_SOURCE) {
		vcpus->source =
			head->vcpu_source < head->n_sources ? sources[head->vcpu_source] : -1;
		return vcpus->source < 0 ? -EBADMSG : 0;
	}
	vcpus->pages = next(reading, head->n_vcpu_pages, GM_PAGE_4K);
	return vcpus->pages ? 0 : -EBADMSG;
}

static int read_plan(struct plan *plan, const struct received *received)
{
	struct reading reading = { received->bytes, received->size };
	const void *head = next(&reading, 1, sizeof(plan->head));
	const int *fds = received->fds + GM_LAUNCH_FDS_BASE;
	int r;

	if (!head)
		return -EBADMSG;
	memcpy(&plan->head, head, sizeof(plan->head));
	if (received->n_fds !=
		    GM_LAUNCH_FDS_BASE + (uint64_t)plan->head.n_regions + plan->head.n_sources ||
	    plan->head.digest_size > sizeof(plan->head.digest))
		return -EBADMSG;
	r = read_regions(plan, &reading, fds);
	if (r == 0)
		r = read_puts(plan, &reading, fds + plan->head.n_regions);
	if (r == 0)
		r = read_vcpus(plan, &reading, fds + plan->head.n_regions);
	if (r < 0)
		return r;
	plan->plan.parameters = next(&reading, plan->head.parameters_size, 1);
	if (!plan->plan.parameters || reading.left != 0)
		return -EBADMSG;
	plan->plan.parameters_size = plan->head.parameters_size;
	plan->plan.kvm_fd = received->fds[0];
	plan->plan.device_fd = received->fds[1];
	plan->plan.regions = plan->regions;
	plan->plan.n_regions = plan->head.n_regions;
	plan->plan.puts = plan->puts;
	plan->plan.n_puts = plan->head.n_puts;
	plan->plan.digest = plan->head.digest_size > 0 ? plan->head.digest : NULL;
	plan->plan.digest_size = plan->head.digest_size;
	return 0;
}

/* ---- carrying it out ---- */

/*
 * No more than was granted, though the hard limit, which came with the process, may be higher.
 * Where that is too low the platform's own answer is better than any here.
 */
static void limit_locking(uint64_t bytes)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return;
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	(void)setrlimit(RLIMIT_MEMLOCK, &limit);
}

static int carry_out(int socket, const struct gm_backend *backend, const struct gm_work_sink *sink,
		     struct gm_launch_outcome *outcome)
{
	_gm_cleanup_(received_done) struct received received = { 0 };
	_gm_cleanup_(plan_done) struct plan plan = { 0 };
	int r;

	*outcome = (struct gm_launch_outcome){ .vm_fd = -1 };
	if (!backend->launch || !backend->launch->carry_out)
		return -EOPNOTSUPP;
	r = receive(socket, &received);
	if (r == 0)
		r = read_plan(&plan, &received);
	if (r < 0)
		return r;
	plan.plan.is_stopped = sink->is_stopped;
	plan.plan.arg = sink->arg;
	limit_locking(plan.head.lock_bytes);
	return backend->launch->carry_out(&plan.plan, outcome);
}

static int tell(int socket, int error, struct gm_launch_outcome *outcome)
{
	struct gm_launch_result result = {
		.error = error,
		.digest_was_compared = outcome->digest_was_compared,
		.no_room = outcome->no_room,
		.no_lock = outcome->no_lock,
		.firmware = outcome->firmware,
	};
	_gm_close_ int vm = gm_take_fd(&outcome->vm_fd);

	(void)snprintf(result.request, sizeof(result.request), "%s", outcome->request);
	(void)snprintf(result.reason, sizeof(result.reason), "%s", outcome->reason);
	return gm_channel_send(socket, &result, sizeof(result), vm, MSG_DONTWAIT);
}

int gm_launch_run(const struct gm_job_order *order, int socket, const struct gm_backend *backend,
		  const struct gm_work_sink *sink)
{
	struct gm_job_report report = { .job = order->job, .last = true };
	struct gm_launch_outcome outcome;
	int r;

	report.error = carry_out(socket, backend, sink, &outcome);
	r = tell(socket, report.error, &outcome);
	if (report.error == 0)
		report.error = r;
	if (report.error == 0) {
		report.n_done = 1;
		report.done[0] = order->ranges[0];
	}
	gm_fd_close(socket);
	return sink->report(sink->arg, &report);
}
