/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kinds have in common whose pages the platform measures: a shared half that is a memfd, a
 * private half that is a guest_memfd of the VMM's VM, and a launch.
 */
#ifndef GM_MEASURED_H
#define GM_MEASURED_H

#include "backend.h"

struct gm_measured_platform {
	const char *name;   /* "SEV-SNP" */
	const char *wanted; /* what a host has to have */
	unsigned long vm_type;
	uint64_t caps; /* enum gm_backend_cap bits besides those of all such kinds */
	/* Does its device answer? NULL: it has none. As gm_kvm_device_open(). */
	int (*open_device)(int *ret_fd, char *ret_reason, size_t reason_size);
};

/* As gm_backend::open. */
GM_WARN_UNUSED int gm_measured_open(const struct gm_measured_platform *platform,
				    struct gm_backend_state **ret_state,
				    struct gm_probe *ret_probe);

/* The operations of both halves. */
int gm_measured_create(struct gm_backend_state *state, const struct gm_backing *want, int *ret_fd,
		       struct gm_refusal *refusal);
int gm_measured_private_verify(int fd, uint64_t size);
int gm_measured_private_present(int fd, uint64_t offset, uint64_t length, uint64_t page_size,
				uint64_t *ret_bytes);
void gm_measured_close(struct gm_backend_state *state);
int gm_measured_verify(int fd, uint64_t size, uint64_t page_size);
int gm_measured_allocate(int fd, uint64_t offset, uint64_t length);
int gm_measured_discard(int fd, uint64_t offset, uint64_t length, uint64_t page_size);
int gm_measured_present(int fd, uint64_t offset, uint64_t length, uint64_t page_size,
			uint64_t *ret_bytes);

/* Every operation but open: for the struct gm_backend of such a kind. */
#define GM_MEASURED_OPERATIONS                                                                  \
	.close = gm_measured_close, .create = gm_measured_create, .verify = gm_measured_verify, \
	.allocate = gm_measured_allocate, .discard = gm_measured_discard,                       \
	.present = gm_measured_present

#endif
