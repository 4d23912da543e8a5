/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the model share: a machine of each version in turn, and requests as bare as a
 * VMM makes them. Each answers 0, an fd, or -errno.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "abi.h"
#include "gm_platform.h"
#include "gm_test.h"

enum {
	V6_11,
	V6_12,
	V6_16,
	V6_18,
	V7_0,
	V7_2
};

/* Runs @body on a fresh machine of each version from @first on. Nothing may be left behind. */
void on_each_version(int first, void (*body)(int version));

void set(const char *setting);
struct gm_platform_use use(void);

int kvm_open(void);
int vm_create(unsigned long type);
int request(int fd, unsigned long number, void *arg);
int gmem_create(int vm, uint64_t size, uint64_t flags);
int slot_set(int vm, unsigned slot, uint64_t gpa, uint64_t size, int gmem, uint64_t offset);
int attributes_set(int vm, uint64_t gpa, uint64_t size, bool private);
int enable_cap(int vm, unsigned capability, uint64_t arg);

/* *ret_error: what the firmware says; may be NULL. */
int sev_command(int vm, unsigned id, void *data, int sev_fd, uint32_t *ret_error);
int tdx_command(int fd, unsigned id, unsigned flags, void *data);

/* Page-aligned memory with a byte of its own in each page; released by pages_free(). */
uint8_t *pages_new(size_t n_pages);
void pages_free(uint8_t *pages, size_t n_pages);

/* A VM on which a launch is started: one slot from 0, all of it private. */
struct guest {
	int vm;
	int sev;
	int gmem;
	int vcpu;
	uint64_t n_pages;
};

void snp_start(struct guest *guest, uint64_t n_pages);
void td_start(struct guest *guest, uint64_t n_pages);
void sev_start(struct guest *guest, unsigned long type);
void guest_close(struct guest *guest);

/* One SNP_LAUNCH_UPDATE; *update as it comes back. */
int snp_update(const struct guest *guest, struct gp_snp_update *update, uint32_t *ret_error);
int snp_finish(const struct guest *guest, uint32_t *ret_error);
int td_add(const struct guest *guest, struct gp_tdx_region *region, unsigned flags);

#endif
