/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backends for the tests of the workers, which call gm_backend_find: "memfd" does it really,
 * "slow" takes SLOW_CHUNK_MS for each call, "failing" answers -ENOSPC from FAILING_FROM on.
 */
#ifndef WORKER_BACKENDS_H
#define WORKER_BACKENDS_H

#include "backend.h"
#include "job.h"

#define SLOW_CHUNK_MS 20
#define CHUNK (UINT64_C(16) * GM_MIB)
#define FAILING_FROM (4 * CHUNK)

/* A zeroed order for the ranges [0, @length) of @kind. */
struct gm_job_order order_of(const char *kind, enum gm_job_verb verb, uint64_t length,
			     uint32_t n_threads);

/* A memfd of @size bytes. */
int memory_new(uint64_t size);
/* Bytes allocated in it. */
uint64_t memory_allocated(int fd);

#endif
