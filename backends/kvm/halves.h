/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all kinds with private memory have in common: a shared half that is a memfd, made here, and
 * a private half that is a guest_memfd of the VMM's VM, which nobody can map. Where the kernel
 * converts in place there is the guest_memfd alone, and what is shared of it can be mapped.
 */
#ifndef GM_HALVES_H
#define GM_HALVES_H

#include "backend.h"

/*
 * As gm_backend::open. @probe, which gets @platform, finds out about the private half: 0 whether
 * that is usable or not; it is not called where there are no memfds.
 */
GM_WARN_UNUSED int gm_halves_open(int (*probe)(const void *platform, struct gm_probe *ret_probe),
				  const void *platform, struct gm_backend_state **ret_state,
				  struct gm_probe *ret_probe);

struct gm_halves_trial {
	const char *step; /* where it ended */
	bool in_place;
	int not_in_place; /* -errno: why not */
};

/* Makes a page private on a VM of its own, in place or in two halves. 0 or -errno. */
GM_WARN_UNUSED int gm_halves_try(int kvm_fd, unsigned long vm_type,
				 struct gm_halves_trial *ret_trial);

/* Into @probe: the capability, and what is to be known of it behind the reason that is there. */
void gm_halves_tell(const struct gm_halves_trial *trial, struct gm_probe *probe);

int gm_halves_create(struct gm_backend_state *state, const struct gm_backing *want, int *ret_fd,
		     struct gm_refusal *refusal);
void gm_halves_close(struct gm_backend_state *state);
int gm_halves_verify(int fd, uint64_t size, uint64_t page_size);
int gm_halves_allocate(int fd, uint64_t offset, uint64_t length);
int gm_halves_discard(int fd, uint64_t offset, uint64_t length, uint64_t page_size);
int gm_halves_present(int fd, uint64_t offset, uint64_t length, uint64_t page_size,
		      uint64_t *ret_bytes);
int gm_halves_private_verify(int fd, uint64_t size);
int gm_halves_verify_in_place(int fd, uint64_t size);
int gm_halves_private_present(int fd, uint64_t offset, uint64_t length, uint64_t page_size,
			      uint64_t *ret_bytes);

/* Every operation but open: for the struct gm_backend of such a kind. */
#define GM_HALVES_OPERATIONS                                                              \
	.close = gm_halves_close, .create = gm_halves_create, .verify = gm_halves_verify, \
	.allocate = gm_halves_allocate, .discard = gm_halves_discard, .present = gm_halves_present

#endif
