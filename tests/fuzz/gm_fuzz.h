/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fuzz target defines. An input must leave nothing open and nothing allocated; state that is
 * kept over inputs (an arena) is made in the first call, which the replay program makes with an
 * empty input.
 */
#ifndef GM_FUZZ_H
#define GM_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property of the target does not hold. */
#define gm_fuzz_require(condition) \
	do {                       \
		if (!(condition))  \
			abort();   \
	} while (0)

#endif
