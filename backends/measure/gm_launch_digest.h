/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digest of a launch, along the launch: each completed operation is put in, in the order in
 * which the firmware got it, and the digest so far can be read at any point.
 *
 * What cannot be known makes the digest unpredictable, with the reason, once and for all: a guess
 * is never given. The struct is plain data without pointers; as bytes it can be recorded, and
 * carried on by another process.
 */
#ifndef GM_LAUNCH_DIGEST_H
#define GM_LAUNCH_DIGEST_H

#include "gm_digest.h"
#include "gm_verdict.h"

/* Its numbers are recorded. */
enum gm_launch_kind {
	GM_LAUNCH_SNP = 1,
	GM_LAUNCH_SEV = 2,
	GM_LAUNCH_SEV_ES = 3,
	GM_LAUNCH_TDX = 4,
	GM_LAUNCH_N_
};

/* The firmware's numbers (PAGE_INFO.PAGE_TYPE), which are also KVM_SEV_SNP_PAGE_TYPE_*. */
enum gm_launch_page {
	GM_LAUNCH_NORMAL = 1,
	GM_LAUNCH_VMSA = 2,
	GM_LAUNCH_ZERO = 3,
	GM_LAUNCH_UNMEASURED = 4,
	GM_LAUNCH_SECRETS = 5,
	GM_LAUNCH_CPUID = 6,
	GM_LAUNCH_PAGE_N_
};

/* INITIAL_VMSA_GPA of arch/x86/kvm/svm/sev.c: where KVM lets every vCPU's VMSA be measured. */
#define GM_LAUNCH_VMSA_GPA UINT64_C(0x0000fffffffff000)

/* A running digest of SEV has no addresses, so neither have its operations. */
#define GM_LAUNCH_BLOCK 16 /* the length of its operations is a multiple of this */

/* One operation, or as much of it as was consumed. */
struct gm_launch_range {
	enum gm_launch_page type;
	uint64_t gpa;
	uint64_t length;
	/* The contents; from @n_bytes on they are zeros. Read only where they are measured. */
	const uint8_t *bytes;
	size_t n_bytes;
	/* SNP only, instead of bytes: SHA-384 of each page. */
	const uint8_t (*digests)[GM_SHA384_SIZE];
	/* What KVM never sets: anything else than zeros is unpredictable. */
	uint8_t vmpl_perms[3];
	bool imi;
};

struct gm_launch_digest {
	enum gm_launch_kind kind;
	bool finished;
	uint8_t gpa_bits;
	uint64_t n_operations;
	uint64_t n_pages;		 /* 4 KiB pages put in; TDX and SNP */
	uint8_t chain[GM_SHA384_SIZE];	 /* SNP */
	struct gm_running_hash running;	 /* the others */
	char unpredictable[GM_TEXT_MAX]; /* why; "": it is predictable */
};

struct gm_launch_start {
	enum gm_launch_kind kind;
	unsigned gpa_bits;   /* of guest-physical addresses; 0: all that the architecture has */
	const uint8_t *seed; /* SNP: a chain that was begun elsewhere; NULL: zeros */
};

const char *gm_launch_kind_name(enum gm_launch_kind kind); /* "snp", "seves", ...; never NULL */
const char *gm_launch_page_name(enum gm_launch_page type); /* "normal", ...; never NULL */
size_t gm_launch_digest_size(enum gm_launch_kind kind);

/* 0 or GM_INVALID. */
int gm_launch_digest_start(struct gm_launch_digest *digest, const struct gm_launch_start *start,
			   struct gm_refusal *refusal) GM_WARN_UNUSED;

/*
 * TDX: NORMAL is a region that is added and extended page by page, UNMEASURED one that is only
 * added. SEV and SEV-ES: NORMAL, and VMSA for the latter. 0, GM_INVALID, GM_WRONG_STATE after
 * finish, -ENOMEM; @digest is unchanged unless it is 0. Hashes of SNP's contents are taken on
 * @n_threads threads.
 */
int gm_launch_digest_update(struct gm_launch_digest *digest, const struct gm_launch_range *range,
			    unsigned n_threads, struct gm_refusal *refusal) GM_WARN_UNUSED;

/* From now on it is not known. The first reason stays. */
void gm_launch_digest_spoil(struct gm_launch_digest *digest, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The digest so far: 0, or GM_UNSUPPORTED with "unpredictable: reason". */
int gm_launch_digest_peek(const struct gm_launch_digest *digest, uint8_t ret_digest[GM_DIGEST_MAX],
			  struct gm_refusal *refusal) GM_WARN_UNUSED;

/* The same, and nothing can be put in any more. A second finish: GM_WRONG_STATE. */
int gm_launch_digest_finish(struct gm_launch_digest *digest, uint8_t ret_digest[GM_DIGEST_MAX],
			    struct gm_refusal *refusal) GM_WARN_UNUSED;

/* ---- gm_launch_state.c: as bytes, of one layout on all hosts ---- */

#define GM_LAUNCH_STATE_SIZE 512

void gm_launch_digest_save(const struct gm_launch_digest *digest,
			   uint8_t ret_bytes[GM_LAUNCH_STATE_SIZE]);

/* -EBADMSG: these are not what save makes. */
int gm_launch_digest_load(const uint8_t bytes[GM_LAUNCH_STATE_SIZE],
			  struct gm_launch_digest *ret_digest) GM_WARN_UNUSED;

#endif
