/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Re-attach token: 256 random bits that prove that a VMM may have a domain back.
 * Never logged, never printed, compared in constant time.
 */
#ifndef GM_TOKEN_H
#define GM_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#define GM_TOKEN_SIZE 32

struct gm_token {
	uint8_t bytes[GM_TOKEN_SIZE];
};

/* Time depends on nothing but GM_TOKEN_SIZE. */
bool gm_token_equal(const struct gm_token *a, const struct gm_token *b);

#endif
