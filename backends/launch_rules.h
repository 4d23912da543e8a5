/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the launch of a kind is like, and the digest that its platform will have: for whoever
 * decides about launches and does not care on which platform.
 *
 * A digest along the way is a block of bytes, which a worker or the next daemon can carry on.
 */
#ifndef GM_LAUNCH_RULES_H
#define GM_LAUNCH_RULES_H

#include <stddef.h>

#include "gm_num.h"
#include "gm_verdict.h"

#define GM_LAUNCH_BLOB_SIZE 512
#define GM_LAUNCH_DIGEST_MAX 48
#define GM_LAUNCH_VCPUS_MAX 4096

/* Numbers are those of PageType in gmem.proto, but for the last. */
enum gm_populate_type {
	GM_POPULATE_NONE,
	GM_POPULATE_NORMAL,
	GM_POPULATE_ZERO,
	GM_POPULATE_UNMEASURED,
	GM_POPULATE_SECRETS,
	GM_POPULATE_CPUID,
	GM_POPULATE_VCPU, /* one page each of a vCPU's registers, wherever the platform puts them */
	GM_POPULATE_N_
};

enum gm_vcpus_how {
	GM_VCPUS_UNKNOWN,
	GM_VCPUS_MODEL,
	GM_VCPUS_PAGES, /* put in already, as GM_POPULATE_VCPU */
	GM_VCPUS_HOW_N_
};

struct gm_launch_vcpus {
	enum gm_vcpus_how how;
	uint32_t count;
	const char *vmm; /* from here on: GM_VCPUS_MODEL */
	uint32_t signature;
	uint64_t entry;
	uint64_t features;
};

struct gm_launch_plan;
struct gm_launch_outcome;

struct gm_launch_rules {
	unsigned slot;	  /* pool that a guest needs one of */
	unsigned types;	  /* bits: 1 << enum gm_populate_type */
	unsigned sources; /* of these, those that are populated from a source */
	size_t parameters_max;
	size_t id_block_size; /* 0: the platform has none */
	size_t id_auth_size;
	size_t host_data_size;
	bool measures_vcpus;
	const char *device_name; /* through which its commands go; NULL: none */
	/* Opens it: 0 and an fd, O_RDONLY, that the caller owns; or -errno, *ret_reason set. */
	int (*open_device)(int *ret_fd, char *ret_reason, size_t reason_size);
	/* The digest of a launch without operations. */
	void (*begin)(uint8_t ret_blob[GM_LAUNCH_BLOB_SIZE]);
	/*
	 * With what the platform adds at the end: nothing can be put in any more. 0 also where the
	 * digest cannot be known; GM_INVALID (GM_RULE_FLAGS, GM_RULE_SIZE) for @vcpus; -errno.
	 */
	int (*finish)(uint8_t blob[GM_LAUNCH_BLOB_SIZE], const struct gm_launch_vcpus *vcpus,
		      struct gm_refusal *refusal);
	/* The digest that an ID block of the right size asks for. */
	const uint8_t *(*id_block_digest)(const uint8_t *id_block);
	/*
	 * Tags of the registers' pages of the first vCPU and of every other, where @vcpus tells
	 * enough (GM_VCPUS_MODEL). 0 or a verdict. NULL: the platform does not measure them.
	 */
	int (*vcpu_tags)(const struct gm_launch_vcpus *vcpus, uint64_t ret_tags[2]);
	/* "INVALID_PARAM" for what the firmware may say, "unknown" for what nobody knows. */
	const char *(*firmware_name)(uint32_t code);

	/* ---- with GM_CAP_DAEMON_LAUNCHES ---- */

	/* Are these parameters of a launch? 0 or GM_INVALID. */
	int (*check_parameters)(const void *parameters, size_t size, struct gm_refusal *refusal);
	/*
	 * Pages of registers for the vCPUs of GM_VCPUS_MODEL, at most GM_LAUNCH_MODEL_PAGES, as
	 * struct gm_plan_vcpus has them. 0 or GM_INVALID.
	 */
	int (*model_pages)(const struct gm_launch_vcpus *vcpus, uint8_t *ret_pages, uint32_t *ret_n,
			   struct gm_refusal *refusal);
	/* In a worker. 0 or -errno with *ret_outcome filled in any case. See launch_plan.h. */
	int (*carry_out)(const struct gm_launch_plan *plan, struct gm_launch_outcome *ret_outcome);
	/* Is @fd a VM that another process has made? */
	bool (*is_vm)(int fd);
};

#define GM_LAUNCH_MODEL_PAGES 2

/* ---- digests of any kind ---- */

/* What a page is told by where it is looked for among others: the first 16 digits of its digest. */
static inline uint64_t gm_launch_tag(const uint8_t *digest)
{
	uint64_t tag = 0;

	for (unsigned i = 0; i < sizeof(tag); i++)
		tag = tag << 8 | digest[i];
	return tag;
}

struct gm_launch_put {
	enum gm_populate_type type;
	uint64_t gpa;
	uint64_t length;
	const uint8_t
		*bytes; /* @length of them; not looked at where the contents are not measured */
	unsigned n_threads;
	/*
	 * Of the first @max_tags pages of @bytes their tags, gm_launch_tag() of SHA-384; NULL:
	 * nobody wants them. Of what is not measured there are none.
	 */
	uint64_t *ret_tags;
	size_t max_tags;
};

/* 0; a verdict; -EBADMSG: @blob is none; -ENOMEM. @blob is unchanged unless it is 0. */
GM_WARN_UNUSED int gm_launch_put(uint8_t blob[GM_LAUNCH_BLOB_SIZE], const struct gm_launch_put *put,
				 struct gm_refusal *refusal);

/* From now on the digest is not known, because of @reason. 0 or -EBADMSG. */
GM_WARN_UNUSED int gm_launch_spoil(uint8_t blob[GM_LAUNCH_BLOB_SIZE], const char *reason);

/*
 * The digest so far: 0, or GM_UNSUPPORTED with "unpredictable: REASON" in the text; -EBADMSG.
 */
GM_WARN_UNUSED int gm_launch_peek(const uint8_t blob[GM_LAUNCH_BLOB_SIZE],
				  uint8_t ret_digest[GM_LAUNCH_DIGEST_MAX], size_t *ret_size,
				  struct gm_refusal *refusal);

#endif
