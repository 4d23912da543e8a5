/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job that launches a guest. Its one fd is a socket of its own (SOCK_SEQPACKET), in which gmemd
 * has put the plan and all fds that it is about before the worker gets it; what came of it goes
 * back the same way before the job's last report: the VM, or why there is none.
 *
 * gmemd sends struct gm_launch_head, the arrays that follow it, and the fds: kvm, the device, those
 * of the regions, those of the sources. The worker sends struct gm_launch_result, and after a
 * success one fd.
 */
#ifndef GM_LAUNCHER_H
#define GM_LAUNCHER_H

#include "launch_plan.h"
#include "work.h"

/* As the kernel's SCM_MAX_FD. */
#define GM_LAUNCH_FDS_MAX 253
#define GM_LAUNCH_FDS_BASE 2 /* kvm and the device, before regions and sources */
#define GM_LAUNCH_NO_SOURCE UINT32_MAX

/* Followed by: sizes of regions, puts, pages of vCPUs, parameters. */
struct gm_launch_head {
	uint32_t n_regions;
	uint32_t n_sources;
	uint32_t n_puts;
	uint32_t n_vcpus;
	uint32_t n_vcpu_pages;
	uint32_t vcpu_source; /* GM_LAUNCH_NO_SOURCE: the pages follow */
	uint32_t parameters_size;
	uint32_t digest_size; /* 0: it is not known */
	uint64_t vcpu_offset;
	uint64_t lock_bytes; /* that the worker may lock */
	uint8_t digest[GM_LAUNCH_DIGEST_MAX];
};

struct gm_launch_head_put {
	uint32_t region;
	uint32_t source;
	uint64_t offset;
	uint64_t length;
	uint64_t source_offset;
};

struct gm_launch_result {
	int32_t error; /* 0 or -errno */
	uint32_t digest_was_compared;
	uint32_t no_room;
	uint32_t no_lock;
	uint32_t firmware;
	char request[GM_LAUNCH_REQUEST_SIZE];
	char reason[GM_LAUNCH_REASON_SIZE];
};

/* What gmemd sends. */
struct gm_launch_order {
	struct gm_launch_head head;
	const uint64_t *region_sizes;
	const struct gm_launch_head_put *puts;
	const uint8_t *vcpu_pages; /* NULL with a source */
	const void *parameters;
	const int *fds; /* in the order above */
	size_t n_fds;
};

/* Into the socket, without waiting. 0 or -errno; -EMSGSIZE, -ENOBUFS: it does not fit. */
GM_WARN_UNUSED int gm_launch_send_order(int socket, const struct gm_launch_order *order);

/* What is there: 0, -ENODATA where the worker has said nothing, -EPROTO for nonsense. */
GM_WARN_UNUSED int gm_launch_read_result(int socket, struct gm_launch_result *ret_result,
					 int *ret_vm);

/* As gm_work_run(), of GM_JOB_LAUNCH; @socket is closed before the last report goes out. */
GM_WARN_UNUSED int gm_launch_run(const struct gm_job_order *order, int socket,
				 const struct gm_backend *backend, const struct gm_work_sink *sink);

#endif
