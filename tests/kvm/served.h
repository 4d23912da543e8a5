/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real gmemd, and guests whose private memory comes from it through libgmem: what the tests of
 * served private memory share. $GMEMD_BUILD is the build folder.
 */
#ifndef SERVED_H
#define SERVED_H

#include <sys/types.h>

#include "gmem.h"
#include "private_vm.h"

struct served {
	pid_t pid; /* of gmemd, or of its keeper */
	char folder[32];
	char socket[64];
	char log[64];
	char policy[64];
	uint64_t code_size; /* of each guest, from 0 on, and shared; 0: 8 KiB */
};

struct served_guest {
	gmem_client *client;
	gmem_domain *domain;
	gmem_region *region;
	struct private_vm vm;
	int private_fd; /* the private half: the library's */
};

/* Ends the program with 77 where there is no such memory or no build folder. */
void served_needed(void);

void served_start(struct served *served, bool keep);
/* Under a policy: the keys of its section. */
void served_start_under(struct served *served, const char *keys);
/* Fails the case when gmemd did not end with empty books. */
void served_stop(struct served *served);
/* SIGKILL to the daemon below its keeper, which starts the next. */
void served_kill(const struct served *served);

/* Bytes that gmemd has handed out. */
uint64_t served_bytes(const struct served *served);

/* A guest with @size bytes from address 0 on; its code is shared. */
void served_guest_open(struct served_guest *guest, const struct served *served, uint64_t size);
void served_guest_close(struct served_guest *guest);

/* The guest asks for a conversion, and gets what libgmem says. Returns what it got. */
uint64_t served_call(struct served_guest *guest, uint64_t gpa, uint64_t n_pages, bool to_private);

/* The case fails unless the guest can do it. */
void served_write(struct served_guest *guest, uint64_t gpa, unsigned char value);
unsigned char served_read(struct served_guest *guest, uint64_t gpa);

#endif
