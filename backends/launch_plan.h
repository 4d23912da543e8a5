/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A launch that the daemon carries out itself, all of it in one worker process: on a VM of the
 * worker's own, over the domain's memory, which the platform encrypts where it lies. What is left
 * of it is that VM, whose protected state the VMM's own VM takes over.
 *
 * fds are borrowed. Memory of the domain may be written by its VMM at any time: what is put in
 * comes from sealed files, and goes to the platform at once.
 */
#ifndef GM_LAUNCH_PLAN_H
#define GM_LAUNCH_PLAN_H

#include <sys/types.h>

#include "launch_rules.h"

/* Memory of the domain: it is pinned, all of it. */
struct gm_plan_region {
	int fd;
	uint64_t size;
};

/* Whole pages of a source into a region, in the order in which they are measured. */
struct gm_plan_put {
	uint32_t region;
	uint64_t offset;
	uint64_t length;
	int source;
	uint64_t source_offset;
};

/* Registers of vCPUs, a page each; those from the last page on are like that one. */
struct gm_plan_vcpus {
	uint32_t count; /* 0: the platform does not measure them, none is made */
	uint32_t n_pages;
	const uint8_t *pages; /* @n_pages of them; NULL: they are in @source */
	int source;
	uint64_t source_offset;
};

struct gm_launch_plan {
	int kvm_fd;
	int device_fd; /* of the platform */
	const void *parameters;
	size_t parameters_size;
	const struct gm_plan_region *regions;
	size_t n_regions;
	const struct gm_plan_put *puts;
	size_t n_puts;
	struct gm_plan_vcpus vcpus;
	const uint8_t *digest; /* that it is to have; NULL: not known */
	size_t digest_size;
	/* Asked between pieces of some milliseconds: -ECANCELED then. */
	bool (*is_stopped)(void *arg);
	void *arg;
};

#define GM_LAUNCH_REQUEST_SIZE 32
#define GM_LAUNCH_REASON_SIZE 120

/* What came of it. */
struct gm_launch_outcome {
	int vm_fd;		  /* that the caller owns; -1 after a failure */
	bool digest_was_compared; /* the platform has told the digest that it has, and it is that */
	bool no_room;		  /* the host has none for another guest */
	bool no_lock;		  /* not as much memory may be pinned */
	uint32_t firmware;	  /* its error; 0: it was not the firmware */
	char request[GM_LAUNCH_REQUEST_SIZE]; /* the one that failed; "" */
	char reason[GM_LAUNCH_REASON_SIZE];   /* in words; "": nothing but the errno */
};

#endif
