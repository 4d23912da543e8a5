/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small questions to the host: random bytes, memory, own size.
 */
#ifndef GM_HOST_H
#define GM_HOST_H

#include "gm_num.h"

/* From the kernel's generator, through a small wiped pool; 0 or -errno. */
GM_WARN_UNUSED int gm_host_random(void *buffer, size_t size);

/* Bytes of RAM, and bytes available now (MemAvailable). 0 or -errno. */
GM_WARN_UNUSED int gm_host_memory(uint64_t *ret_total, uint64_t *ret_available);

/* Resident bytes of this process; keeps /proc/self/statm open from the first call on. */
uint64_t gm_host_rss_bytes(void);

/* CPUs that this process may use, at least 1. */
uint32_t gm_host_cpus(void);

/* CLOCK_MONOTONIC in microseconds. */
uint64_t gm_host_now_us(void);

#endif
