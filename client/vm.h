/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the library asks of the program's VM: the steps of private memory, and the exits that ask
 * for a conversion. The only file of the library that speaks to a VM.
 */
#ifndef GM_CLIENT_VM_H
#define GM_CLIENT_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "gm_num.h"

struct kvm_run;

/* A memslot with both halves of a region, or with the one file that is both. */
struct gm_vm_slot {
	uint32_t slot;
	uint64_t gpa;
	uint64_t size;
	const void *address; /* of the shared half */
	int private_fd;
	bool in_place;
};

/* What a guest asked for with KVM_HC_MAP_GPA_RANGE. */
struct gm_vm_map {
	uint64_t gpa;
	uint64_t n_pages;
	bool to_private;
};

/* Those that return a number: 0, or -errno with no effect. */

/* Whether the fd is a VM at all. */
GM_WARN_UNUSED int gm_vm_check(int vm_fd);
/* Whether it is one with private memory, in two halves. */
bool gm_vm_has_private(int vm_fd);
/* Whether @memory_fd, which is new and private, is one's that is converted in place. */
bool gm_vm_is_in_place(int memory_fd);
GM_WARN_UNUSED int gm_vm_create_memory(int vm_fd, uint64_t size, uint64_t flags, int *ret_fd);
int gm_vm_set_private(int vm_fd, uint64_t gpa, uint64_t size, bool is_private);
/* The memslot, and all of it private, which in place it is from the start. */
GM_WARN_UNUSED int gm_vm_bind(int vm_fd, const struct gm_vm_slot *slot);
/* Undoes it; the VM may be gone already. */
void gm_vm_unbind(int vm_fd, const struct gm_vm_slot *slot);
/* All pages of the private half, whatever time that takes. */
GM_WARN_UNUSED int gm_vm_allocate(int fd, uint64_t size);
/* Gives the pages of a half back. Where that fails, the daemon finds them there and does it. */
void gm_vm_punch(int fd, uint64_t offset, uint64_t length);

/* The exit's details; false when it is another exit. */
bool gm_vm_read_fault(const struct kvm_run *run, uint64_t *ret_gpa, uint64_t *ret_size,
		      bool *ret_private);
bool gm_vm_read_map(const struct kvm_run *run, struct gm_vm_map *ret_map);
/* What the guest gets from its hypercall: 0, or a status of the library. */
void gm_vm_answer_map(struct kvm_run *run, int status);

#endif
