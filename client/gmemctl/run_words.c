/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

#define VALUE_SIZE 32
#define N_KEYS 3

struct value {
	const char *key;
	char text[VALUE_SIZE];
};

bool run_words_have(char *const *words, const char *key)
{
	for (; *words; words++)
		if (strstr(*words, key))
			return true;
	return false;
}

static const struct value *value_at(const char *at, const struct value values[N_KEYS])
{
	for (int i = 0; i < N_KEYS; i++)
		if (strncmp(at, values[i].key, strlen(values[i].key)) == 0)
			return &values[i];
	return NULL;
}

/* Writes to @ret_word, unless it is NULL; returns the length. */
static size_t fill(const char *word, const struct value values[N_KEYS], char *ret_word)
{
	size_t length = 0;

	while (*word) {
		const struct value *value = value_at(word, values);
		const char *text = value ? value->text : word;
		size_t n = value ? strlen(value->text) : 1;

		if (ret_word)
			memcpy(ret_word + length, text, n);
		length += n;
		word += value ? strlen(value->key) : 1;
	}
	return length;
}

char **run_words_fill(char *const *words, const struct run_memory *memory)
{
	struct value values[N_KEYS] = { { .key = "{mem}" },
					{ .key = "{fd}" },
					{ .key = "{size}" } };
	size_t n = 0;
	char **filled;

	(void)snprintf(values[0].text, VALUE_SIZE, "/proc/self/fd/%d", memory->fd);
	(void)snprintf(values[1].text, VALUE_SIZE, "%d", memory->fd);
	(void)snprintf(values[2].text, VALUE_SIZE, "%" PRIu64, memory->size);
	while (words[n])
		n++;
	filled = calloc(n + 1, sizeof(*filled));
	for (size_t i = 0; filled && i < n; i++) {
		filled[i] = calloc(1, fill(words[i], values, NULL) + 1);
		if (!filled[i]) {
			run_words_free(filled);
			return NULL;
		}
		(void)fill(words[i], values, filled[i]);
	}
	return filled;
}

void run_words_free(char **words)
{
	for (size_t i = 0; words && words[i]; i++)
		free(words[i]);
	free(words);
}
