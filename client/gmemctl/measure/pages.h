/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of JSON that describe a launch: as operations (`ops`), as a guest (`fw`), or the MACs of
 * a session (`kind`). gmemctl(1) tells their members.
 */
#ifndef MEASURE_PAGES_H
#define MEASURE_PAGES_H

#include "gm_guest.h"
#include "input.h"

/* Of one object. 64 GiB: what is measured of a guest is a small part of it. */
#define PAGES_MAX (UINT64_C(1) << 24)
#define PAGES_BYTES_MAX (UINT64_C(1) << 30)

struct pages_input {
	enum gm_launch_kind kind; /* SEV takes the objects of SEV-ES too, and the other way round */
	const char *folder; /* of relative file names; where it is not there, the current one */
	unsigned n_threads;
	bool rows;
	bool no_files;	    /* files are not read: for input that nobody answers for */
	uint64_t max_pages; /* 0: PAGES_MAX */
	/* Told of members of an object that are not known, and not looked at. NULL: refused. */
	void (*warn)(const char *object, const char *key);
};

struct pages_result {
	char name[64]; /* "": it has none */
	size_t digest_size;
	uint8_t digest[GM_DIGEST_MAX];
	struct gm_manifest manifest; /* empty without rows, and of MACs */
};

void pages_result_done(struct pages_result *result); /* idempotent */

/* 0, GM_INVALID, GM_UNSUPPORTED or -ENOMEM. @ret_result is to be done in any case. */
int pages_measure(const struct pages_input *input, json_object *object,
		  struct pages_result *ret_result, struct gm_refusal *refusal) GM_WARN_UNUSED;

/* ---- between the files of this: ---- */

/* Every member of @object is one of @keys; others are told to warn, or refused without it. */
int pages_check_keys(json_object *object, const char *const *keys,
		     void (*warn)(const char *object, const char *key), const char *name,
		     struct gm_refusal *refusal) GM_WARN_UNUSED;

/* @name in the input's folder. The caller's to free; NULL when out of memory. */
char *pages_path(const struct pages_input *input, const char *name);

/* pages_op.c: all of `ops` is put into @measure. */
int pages_run_ops(const struct pages_input *input, json_object *ops, struct gm_measure *measure,
		  struct gm_refusal *refusal) GM_WARN_UNUSED;

/* pages_guest.c */
int pages_run_guest(const struct pages_input *input, json_object *object,
		    struct pages_result *result, struct gm_refusal *refusal) GM_WARN_UNUSED;

/* pages_mac.c */
int pages_run_mac(json_object *object, struct pages_result *result,
		  struct gm_refusal *refusal) GM_WARN_UNUSED;

#endif
