/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules that the kernel has for launches, each with a VMM that breaks it through libgmem and gmemd:
 * one answer to it, on every version of the kernel, whatever errno that version has for it. The
 * VMM is a hostile or a careless one: what libgmem would not do it does with requests of its own.
 *
 * Each row names the kernel function that has the rule, and the versions where its answer changed.
 */
#ifndef RULES_H
#define RULES_H

#include <gmem.h>
#include <gmem_kinds.h>

#include "abi.h"
#include "gm_num.h"

#define SNP (1U << 0)
#define TDX (1U << 1)
#define BOTH (SNP | TDX)
/* The daemon launches these, and the VMM's VM takes over what came of it. */
#define SEV (1U << 2)
#define SEV_ES (1U << 3)
#define OWN (SEV | SEV_ES)

#define PAGE GM_PAGE_4K
#define N_PAGES 16

/* How far the launch has come, by the rules, when one is broken. */
enum stage {
	ADOPTED, /* there is a VM, and nothing else */
	STARTED,
	MADE, /* a region of N_PAGES at 0, and a source as big; not bound */
	BOUND,
	POPULATED, /* pages 0 to 3, normal */
	FINISHED,
};

struct vmm {
	gmem_client *client;
	unsigned kind;
	gmem_domain *domain;
	gmem_region *region;
	gmem_source *source;
	int vm;
	int vcpu; /* TDX: ready to populate by; SEV-ES: the one that is launched */
};

struct rule {
	const char *name;   /* what the VMM does */
	const char *kernel; /* who forbids it, and how it is answered there */
	enum stage from;
	int (*breach)(struct vmm *vmm); /* what libgmem says */
	unsigned kinds;
	int status;
	const char *rule;
	const char *launch; /* afterwards */
};

extern const struct rule start_rules[];
extern const size_t n_start_rules;
extern const struct rule sev_rules[];
extern const size_t n_sev_rules;
extern const struct rule populate_rules[];
extern const size_t n_populate_rules;
extern const struct rule finish_rules[];
extern const size_t n_finish_rules;

/* ---- what a VMM does by the rules; a failure ends the program */

void vmm_open(struct vmm *vmm, gmem_client *client, unsigned kind, enum stage stage);
void vmm_close(struct vmm *vmm);

const char *vmm_kind_name(unsigned kind);
int vmm_create(unsigned kind); /* a VM of the kind's type */
void vmm_make_region(struct vmm *vmm);
void vmm_add_vcpu(struct vmm *vmm);
int vmm_start(struct vmm *vmm);
/* @n pages from page @first on, from the same pages of the source. */
int vmm_put(struct vmm *vmm, enum gmem_page_type type, uint64_t first, uint64_t n);
int vmm_finish(struct vmm *vmm);

/* ---- and by its own requests; -errno */

int raw(int fd, unsigned long request, void *arg);
int raw_sev(struct vmm *vmm, uint32_t id, void *data);
int raw_tdx(int fd, uint32_t id, uint32_t flags, void *data);
/* One page at page @page, past libgmem and gmemd. */
int raw_put(struct vmm *vmm, uint64_t page);
int raw_share(struct vmm *vmm, uint64_t page);
int raw_remove_slot(struct vmm *vmm);
int raw_allocate(struct vmm *vmm, int mode, uint64_t page);

void must(bool good, const char *what);
void set(const char *setting); /* of the machine */

#endif
