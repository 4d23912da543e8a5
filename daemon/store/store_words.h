/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only functions that write into the areas. Between any two of their word stores the process
 * may be killed: everything else in this layer is written for that.
 *
 * A store that has been executed is not lost with the process: the pages are the file's. So it is
 * only the compiler that has to keep the order, which a call into another unit makes it do.
 */
#ifndef GM_STORE_WORDS_H
#define GM_STORE_WORDS_H

#include <stddef.h>
#include <stdint.h>

/* @to and @size: multiples of 8. */
void gm_store_copy_words(void *to, const void *from, size_t size);

/* Comes after every store before it, and before every store after it. */
void gm_store_set_word(uint64_t *to, uint64_t value);

#endif
