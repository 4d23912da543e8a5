/* SPDX-License-Identifier: Apache-2.0 */
#include "store_words.h"

#include <string.h>

void gm_store_copy_words(void *to, const void *from, size_t size)
{
	memcpy(to, from, size);
}

void gm_store_set_word(uint64_t *to, uint64_t value)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(to, value, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}
