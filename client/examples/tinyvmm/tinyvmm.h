/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tinyvmm: a complete small VMM on libgmem. It has no permission on /dev/kvm and makes no memory:
 * both come from gmemd.
 */
#ifndef TINYVMM_H
#define TINYVMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gmem.h>

/* A file in memory. */
struct image {
	uint8_t *bytes;
	size_t size;
};

struct options {
	const char *address;
	const char *kind;
	const char *name;
	const char *token_file; /* where the domain's id and token are kept; NULL: a bound domain */
	uint64_t size;
	uint64_t ticks; /* stop after so many; 0: never */
	unsigned tick_ms;
	bool attach;
	bool process; /* no KVM: this process plays the guest's part */
	bool allocate;
	bool is_private; /* the kind has private memory */
	/* Kinds with a launch: */
	struct image firmware; /* none: the kind has no launch */
	struct image hashes;   /* what the firmware is to check the kernel by: at most a page */
	struct image id_block; /* none, or both of their sizes */
	struct image id_auth;
	unsigned vcpus;
	uint32_t signature; /* EAX of CPUID leaf 1 */
};

/* Fills @options or ends the program. */
void options_parse(struct options *options, int argc, char **argv);

/* All of a file, at most 64 MiB of it. 0 or -errno; freed with the process. */
int image_read(const char *path, struct image *ret_image);

/* A whole launch, as the options say. What main() returns. */
int launch_run(gmem_client *client, const struct options *options);
/* Whether guests of that kind are launched. */
bool launch_has(const char *kind);

/* Id and token of a domain in a file that only its owner can read. 0 or -errno. */
int token_file_write(const char *path, uint64_t id, const uint8_t token[GMEM_TOKEN_SIZE]);
int token_file_read(const char *path, uint64_t *ret_id, uint8_t ret_token[GMEM_TOKEN_SIZE]);

struct machine {
	void *ram;
	uint64_t ram_size;
	uint64_t ticks;
	unsigned tick_ms;
	gmem_client *client;
	gmem_domain *domain;
	gmem_region *region; /* the RAM */
	int vm_fd;	     /* a VM that has been made already; -1: none */
	bool is_private;     /* the RAM is the VM's alone */
	bool lost;	     /* the memory is no longer this guest's */
	bool alone;	     /* gmemd did not come back */
};

/* Events of @client come to @machine from now on. */
void machine_listen(struct machine *machine, gmem_client *client);

/* Waits for the length of a tick, handling events meanwhile. False when the guest has to stop. */
bool machine_pause(struct machine *machine);

/*
 * Private memory. The first makes the VM, on the KVM behind @kvm_fd, and lets @machine's domain
 * know it; the second gives the VM its RAM, with what the VMM fills in made shared. 0, or -1 and
 * the reason is printed.
 */
int private_open_vm(struct machine *machine, int kvm_fd);
int private_bind(struct machine *machine);
/* What the VMM sees at an address of the guest. */
void private_look(const struct machine *machine, uint64_t gpa);

/*
 * Runs the guest in @machine's memory on the KVM behind @kvm_fd. Returns the guest's exit status,
 * 0 after `ticks` ticks, or -errno.
 */
int vm_run(struct machine *machine, int kvm_fd);

/* The same work done by this process on the same memory, for hosts without KVM. */
int process_guest_run(struct machine *machine);

#endif
