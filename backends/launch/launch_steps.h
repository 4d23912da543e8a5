/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a launch, done: what only the address space of the VMM can ask of KVM. Linked into
 * libgmem; the daemon orders steps and does none. One table of requests a kind, so that whoever
 * carries out an order need not know the platform.
 *
 * The kernel does a request in part, or not now: each of these goes on until all is done or cannot
 * be. What cannot be done is not tried in another way: a page that goes in twice is measured twice.
 */
#ifndef GM_LAUNCH_STEPS_H
#define GM_LAUNCH_STEPS_H

#include "gm_num.h"

/* fds of the VMM; -1: it has none. */
struct gm_launch_vm {
	int vm_fd;
	int device_fd; /* the platform's device, to stay open under this number to the end */
	int vcpu_fd;   /* the first, where the kernel populates by one */
};

/* What came of a failure. */
struct gm_launch_fault {
	const char *request;	 /* "SNP_LAUNCH_UPDATE" */
	uint32_t firmware;	 /* 0: it was not the firmware */
	bool no_room;		 /* the host has none for another guest */
	const char *explanation; /* NULL: nothing but the errno */
};

/* The numbers are those of PageType in gmem.proto. */
enum gm_step_page {
	GM_STEP_PAGE_NORMAL = 1,
	GM_STEP_PAGE_ZERO = 2,
	GM_STEP_PAGE_UNMEASURED = 3,
	GM_STEP_PAGE_SECRETS = 4,
	GM_STEP_PAGE_CPUID = 5,
};

struct gm_launch_pages {
	enum gm_step_page type;
	uint64_t gpa;
	uint64_t length;
	/*
	 * @length bytes, page aligned; NULL: none. CPUID values have to be writable: the firmware
	 * corrects them there, and the kernel pins them for writing since 7.2.
	 */
	void *source;
};

struct gm_launch_progress {
	uint64_t bytes; /* from the start that are in for good */
	bool corrected; /* CPUID values are not those that were asked for: @source has them */
};

struct gm_launch_end {
	const uint8_t *id_block; /* 96 bytes, with id_auth of 4096; or NULL, as the next */
	const uint8_t *id_auth;
	const uint8_t *host_data; /* 32 bytes */
};

#define GM_LAUNCH_ID_BLOCK_SIZE 96
#define GM_LAUNCH_ID_AUTH_SIZE 4096
#define GM_LAUNCH_HOST_DATA_SIZE 32

/* All return 0, or -errno with *ret_fault. -EINVAL without a request: @parameters are malformed. */
struct gm_launch_steps {
	const char *kind;
	bool has_device;
	bool has_vcpu; /* to populate by */

	int (*start)(const struct gm_launch_vm *vm, const void *parameters, size_t size,
		     struct gm_launch_fault *ret_fault);
	/* Also after a failure *ret_progress tells how far it came. */
	int (*populate)(const struct gm_launch_vm *vm, const struct gm_launch_pages *pages,
			struct gm_launch_progress *ret_progress, struct gm_launch_fault *ret_fault);
	int (*finish)(const struct gm_launch_vm *vm, const struct gm_launch_end *end,
		      struct gm_launch_fault *ret_fault);

	/*
	 * Kinds that the daemon launches have this one and none of the above: the VM takes over
	 * what @from_fd, a VM of the daemon's, has been launched with.
	 */
	int (*take_over)(const struct gm_launch_vm *vm, int from_fd,
			 struct gm_launch_fault *ret_fault);

	/* "INVALID_PARAM" for gm_launch_fault::firmware, "unknown" for what it does not know. */
	const char *(*firmware_name)(uint32_t code);
};

/* NULL for a kind without a launch. */
const struct gm_launch_steps *gm_launch_steps_find(const char *kind);

#endif
