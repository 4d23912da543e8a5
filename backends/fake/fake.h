/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kind "fake": real 4K memory that fails, dawdles and forgets as a test tells it to. Its larger
 * pages are a pretence over 4K ones.
 *
 * A program that uses anything of this file has the fake in gm_backends[], behind the real kinds.
 * The script is in memory shared with children: what is written before or after a fork holds for
 * workers too, and an "nth call" is counted over all processes.
 */
#ifndef GM_FAKE_H
#define GM_FAKE_H

#include <stdatomic.h>

#include "backend.h"

/* The @nth call from when it was written (1: the next one) answers @result; 0: none. */
struct gm_fake_failure {
	_Atomic uint64_t nth;
	_Atomic int result; /* -errno; for create also a positive verdict */
};

struct gm_fake_script {
	struct gm_fake_failure open;
	struct gm_fake_failure create;
	struct gm_fake_failure allocate;
	struct gm_fake_failure discard;
	struct gm_fake_failure convert;	     /* -EAGAIN: the first page of the range is held */
	_Atomic bool unusable;		     /* open says so */
	_Atomic uint64_t missing_page_sizes; /* create: the pool of this size is empty */
	_Atomic uint64_t slow_us_per_mib;    /* allocate and discard */
	_Atomic bool loses_track;	     /* present: -EOPNOTSUPP */
	_Atomic bool is_launched;	     /* the same, and its guests are launched */
	_Atomic bool is_private;	     /* probe: it has private memory; before open */
	_Atomic bool is_in_place;	     /* that is converted in place; before open */
	_Atomic uint64_t n_converts;	     /* calls so far, for tests to read */
	_Atomic uint64_t n_allocates;	     /* calls so far, for tests to read */
	_Atomic uint64_t n_discards;
};

/* 4K, 2M and 1G. */
extern const struct gm_backend gm_fake_backend;

/* A private half, as a VMM would make it. An fd or -errno. */
int gm_fake_make_half(uint64_t size);

/* The script, cleared: everything works again. Call it before a fork. NULL: out of memory. */
struct gm_fake_script *gm_fake_reset(void);

/* Have the @nth call from now on answer @result. */
void gm_fake_fail(struct gm_fake_failure *failure, uint64_t nth, int result);

#endif
