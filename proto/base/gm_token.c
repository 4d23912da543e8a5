/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_token.h"

#include <stddef.h>

bool gm_token_equal(const struct gm_token *a, const struct gm_token *b)
{
	const volatile uint8_t *x = a->bytes;
	const volatile uint8_t *y = b->bytes;
	uint8_t difference = 0;

	for (size_t i = 0; i < GM_TOKEN_SIZE; i++)
		difference |= (uint8_t)(x[i] ^ y[i]);
	return difference == 0;
}
