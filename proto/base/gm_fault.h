/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault points: places where a test may have the process killed, at any visit that it likes. They
 * are compiled into a program of the tests only (GMEMD_FAULTS); elsewhere they are nothing.
 *
 * The test makes a file of one struct gm_fault_page, zeroed, and names it in $GMEMD_FAULTS_FILE.
 * The process writes the names of all its points there, and counts its visits. `armed` is the
 * number of a point plus one: at the visit that brings `countdown` to 0 the process dies by
 * SIGKILL, having armed `then` instead for whoever comes after it.
 */
#ifndef GM_FAULT_H
#define GM_FAULT_H

#define GM_FAULT_POINTS_MAX 128
#define GM_FAULT_NAME_SIZE 48

#ifdef GMEMD_FAULTS

#include <stdatomic.h>

struct gm_fault_page {
	atomic_uint n_points; /* 0 until a process has written the names */
	atomic_uint armed;    /* 0: none */
	atomic_uint countdown;
	atomic_uint then; /* at its first visit; 0: none */
	struct {
		char name[GM_FAULT_NAME_SIZE];
		atomic_ullong visits;
		atomic_ullong kills;
	} points[GM_FAULT_POINTS_MAX];
};

/* For this process only, not for those that it forks. Without the variable nothing happens. */
void gm_fault_open(void);

void gm_fault_visit(const char *const *point);

/* The names stand one after the other in a section of their own, which the linker puts together. */
#define GM_FAULT_POINT(name)                                                      \
	do {                                                                      \
		static const char *const _gm_point                                \
			__attribute__((section("gm_fault_points"), used)) = name; \
		gm_fault_visit(&_gm_point);                                       \
	} while (0)

#else

#define GM_FAULT_POINT(name) \
	do {                 \
	} while (0)

static inline void gm_fault_open(void)
{
}

#endif

#endif
