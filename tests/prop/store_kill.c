/* SPDX-License-Identifier: Apache-2.0 */
#include "store_kill.h"

#include <assert.h>
#include <string.h>

#include "store_words.h"

struct word {
	uint64_t *at;
	uint64_t before;
	uint64_t after;
};

struct journal {
	struct word words[1u << 18];
	size_t n;   /* noted */
	size_t now; /* of them in the areas */
};

static struct journal main_journal;
static struct journal aside_journal;
static struct journal *journal = &main_journal;

void gm_store_set_word(uint64_t *to, uint64_t value)
{
	assert(journal->n < sizeof(journal->words) / sizeof(journal->words[0]));
	journal->words[journal->n++] = (struct word){ to, *to, value };
	journal->now = journal->n;
	*to = value;
}

void gm_store_copy_words(void *to, const void *from, size_t size)
{
	uint64_t *words = to;
	uint64_t value;

	assert(size % sizeof(value) == 0 && (uintptr_t)to % sizeof(value) == 0);
	for (size_t i = 0; i < size / sizeof(value); i++) {
		memcpy(&value, (const char *)from + i * sizeof(value), sizeof(value));
		gm_store_set_word(&words[i], value);
	}
}

static void go_to(struct journal *of, size_t n)
{
	assert(n <= of->n);
	while (of->now > n) {
		of->now--;
		*of->words[of->now].at = of->words[of->now].before;
	}
	while (of->now < n) {
		*of->words[of->now].at = of->words[of->now].after;
		of->now++;
	}
}

void store_kill_start(void)
{
	main_journal.n = 0;
	main_journal.now = 0;
}

size_t store_kill_words(void)
{
	return main_journal.n;
}

void store_kill_at(size_t n)
{
	assert(journal == &main_journal);
	go_to(&main_journal, n);
}

size_t store_kill_now(void)
{
	return main_journal.now;
}

void store_kill_aside(void)
{
	assert(journal == &main_journal);
	journal = &aside_journal;
	aside_journal.n = 0;
	aside_journal.now = 0;
}

size_t store_kill_aside_words(void)
{
	return aside_journal.n;
}

void store_kill_aside_at(size_t n)
{
	assert(journal == &aside_journal);
	go_to(&aside_journal, n);
	aside_journal.n = n;
}

void store_kill_aside_end(void)
{
	store_kill_aside_at(0);
	journal = &main_journal;
}
