/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arithmetic on untrusted numbers, and the few generic macros that C lacks.
 */
#ifndef GM_NUM_H
#define GM_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GM_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define GM_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define GM_WARN_UNUSED __attribute__((warn_unused_result))

#define GM_KIB (UINT64_C(1) << 10)
#define GM_MIB (UINT64_C(1) << 20)
#define GM_GIB (UINT64_C(1) << 30)
#define GM_TIB (UINT64_C(1) << 40)

#define GM_PAGE_4K (UINT64_C(4) * GM_KIB)
#define GM_PAGE_2M (UINT64_C(2) * GM_MIB)
#define GM_PAGE_1G GM_GIB

/* x86-64 guest-physical addresses end here: MAXPHYADDR is at most 52 (AMD64 APM volume 2, 5.3). */
#define GM_ADDRESS_END (UINT64_C(1) << 52)

/* Absent limit. */
#define GM_UNLIMITED UINT64_MAX

static inline bool gm_add_overflows(uint64_t a, uint64_t b, uint64_t *ret_sum)
{
	return __builtin_add_overflow(a, b, ret_sum);
}

static inline bool gm_mul_overflows(uint64_t a, uint64_t b, uint64_t *ret_product)
{
	return __builtin_mul_overflow(a, b, ret_product);
}

static inline bool gm_is_power_of_two(uint64_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

/* @align: a power of two. */
static inline bool gm_is_aligned(uint64_t n, uint64_t align)
{
	return (n & (align - 1)) == 0;
}

static inline uint64_t gm_align_down(uint64_t n, uint64_t align)
{
	return n & ~(align - 1);
}

static inline uint64_t gm_min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t gm_max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* A loop: the builtin is a call into libgcc on processors that lack the instruction. */
static inline unsigned gm_count_bits(uint64_t set)
{
	unsigned n = 0;

	for (; set != 0; set &= set - 1)
		n++;
	return n;
}

#endif
