/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record as a process that is killed leaves it: this program's own gm_store_copy_words() and
 * gm_store_set_word() write one word at a time and note each, so that the areas can be taken to
 * the state after any number of words.
 */
#ifndef STORE_KILL_H
#define STORE_KILL_H

#include <stddef.h>
#include <stdint.h>

/* Starts to note words; what was noted before is forgotten. */
void store_kill_start(void);

/* How many words have been written since. */
size_t store_kill_words(void);

/* Takes the areas to the state after the first @n words. They stay noted. */
void store_kill_at(size_t n);

/* How many of the noted words are in the areas now. */
size_t store_kill_now(void);

/*
 * Notes further words apart from those, and takes the areas back to where they were before the
 * further ones; or, with @n, to where they were after the first @n of them.
 */
void store_kill_aside(void);
size_t store_kill_aside_words(void);
void store_kill_aside_at(size_t n);
void store_kill_aside_end(void);

#endif
