/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The malloc family as the test program sees it (linked with --wrap). Live pointers are kept in
 * a table of their own, not in a header before each block: a block that libc allocated may be freed
 * here, and is simply not known.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "gm_balance.h"
#include "gm_test.h"

/* GM_WRAP(ret, name, parameters): the two names that the linker makes of one. */
#define GM_WRAP(ret, name, ...)         \
	ret __real_##name(__VA_ARGS__); \
	ret __wrap_##name(__VA_ARGS__)

GM_WRAP(void *, malloc, size_t size);
GM_WRAP(void *, calloc, size_t n, size_t size);
GM_WRAP(void *, realloc, void *old, size_t size);
GM_WRAP(void *, reallocarray, void *old, size_t n, size_t size);
GM_WRAP(void, free, void *block);
GM_WRAP(void *, aligned_alloc, size_t align, size_t size);
GM_WRAP(int, posix_memalign, void **ret_block, size_t align, size_t size);
GM_WRAP(char *, strdup, const char *text);
GM_WRAP(char *, strndup, const char *text, size_t max);
GM_WRAP(int, vasprintf, char **ret_text, const char *format, va_list args)
__attribute__((format(printf, 2, 0)));
int __wrap_asprintf(char **ret_text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What _FORTIFY_SOURCE makes of the two. */
int __wrap___vasprintf_chk(char **ret_text, int flag, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));
int __wrap___asprintf_chk(char **ret_text, int flag, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* One lock for all: a test program is not in a hurry. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long fail_nth;

void gm_test_fail_allocation(long nth)
{
	pthread_mutex_lock(&lock);
	fail_nth = nth;
	pthread_mutex_unlock(&lock);
}

/* Is this the allocation that was asked to fail? */
static bool heap_fails(void)
{
	bool fails = false;

	pthread_mutex_lock(&lock);
	if (fail_nth > 0)
		fails = --fail_nth == 0;
	pthread_mutex_unlock(&lock);
	if (fails)
		errno = ENOMEM;
	return fails;
}

#ifdef GMEMD_SANITIZED

static void live_add(void *block, size_t size)
{
	(void)block;
	(void)size;
}

static bool live_remove(void *block)
{
	(void)block;
	return true;
}

void gm_balance_open_heap(void)
{
}

size_t gm_balance_close_heap(void)
{
	return 0;
}

#else

#define LIVE_SLOTS_LOG2 22
#define LIVE_SLOTS (UINT64_C(1) << LIVE_SLOTS_LOG2)
#define LIVE_PRINT_MAX 8

/* A slot keeps its address for ever: most come back, and no probe sequence ever breaks. */
struct gm_live {
	uintptr_t block; /* 0: never used */
	size_t size;
	uint64_t nth; /* 0: not live */
};

static struct gm_live *live;
static size_t n_used; /* slots with an address */
static uint64_t n_made;
static uint64_t made_before; /* n_made as the case began */
static uint64_t n_live;	     /* blocks made in this case and not freed */

static struct gm_live *live_slot(uintptr_t block)
{
	uint64_t hash = (block >> 4) * UINT64_C(0x9e3779b97f4a7c15);
	size_t i = (size_t)(hash >> (64 - LIVE_SLOTS_LOG2));

	while (live[i].block && live[i].block != block)
		i = (i + 1) % LIVE_SLOTS;
	return &live[i];
}

/* Not from the heap that is being watched; its pages come as they are used. */
static void live_prepare(void)
{
	if (live)
		return;
	live = mmap(NULL, LIVE_SLOTS * sizeof(*live), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (live == MAP_FAILED) {
		perror("mmap of the live set");
		abort();
	}
}

static void live_add(void *block, size_t size)
{
	struct gm_live *slot;

	if (!block)
		return;
	pthread_mutex_lock(&lock);
	live_prepare();
	slot = live_slot((uintptr_t)block);
	if (!slot->block && ++n_used > LIVE_SLOTS / 4 * 3) {
		fprintf(stderr, "test harness: more blocks than the live set can hold\n");
		abort();
	}
	/* Still live: libc freed it, for instance a buffer given to getline(). */
	if (slot->nth <= made_before)
		n_live++;
	*slot = (struct gm_live){ (uintptr_t)block, size, ++n_made };
	pthread_mutex_unlock(&lock);
}

/* False: not one that was seen being made. */
static bool live_remove(void *block)
{
	struct gm_live *slot;
	bool known = false;

	if (!block)
		return false;
	pthread_mutex_lock(&lock);
	if (live) {
		slot = live_slot((uintptr_t)block);
		known = slot->nth != 0;
		if (slot->nth > made_before)
			n_live--;
		if (known)
			slot->nth = 0;
	}
	pthread_mutex_unlock(&lock);
	return known;
}

void gm_balance_open_heap(void)
{
	pthread_mutex_lock(&lock);
	made_before = n_made;
	n_live = 0;
	pthread_mutex_unlock(&lock);
}

static void live_print(void)
{
	size_t n = 0;

	for (size_t i = 0; i < LIVE_SLOTS && n < LIVE_PRINT_MAX; i++) {
		if (live[i].nth <= made_before)
			continue;
		n++;
		fprintf(stderr, "%zu bytes were not freed: allocation %llu of the case\n",
			live[i].size, (unsigned long long)(live[i].nth - made_before));
	}
	if (n_live > n)
		fprintf(stderr, "%llu blocks in all\n", (unsigned long long)n_live);
}

size_t gm_balance_close_heap(void)
{
	size_t n;

	pthread_mutex_lock(&lock);
	n = n_live;
	if (n)
		live_print();
	pthread_mutex_unlock(&lock);
	return n;
}

#endif

static void *heap_made(void *block, size_t size)
{
	live_add(block, size);
	return block;
}

void *__wrap_malloc(size_t size)
{
	return heap_fails() ? NULL : heap_made(__real_malloc(size), size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return heap_fails() ? NULL : heap_made(__real_calloc(n, size), n * size);
}

void *__wrap_realloc(void *old, size_t size)
{
	void *block;
	bool known;

	if (heap_fails())
		return NULL;
	known = live_remove(old) || !old;
	block = __real_realloc(old, size);
	if (known)
		live_add(!block && size ? old : block, size);
	return block;
}

void *__wrap_reallocarray(void *old, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return __wrap_realloc(old, bytes);
}

void __wrap_free(void *block)
{
	live_remove(block);
	__real_free(block);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return heap_fails() ? NULL : heap_made(__real_aligned_alloc(align, size), size);
}

int __wrap_posix_memalign(void **ret_block, size_t align, size_t size)
{
	int r;

	if (heap_fails())
		return ENOMEM;
	r = __real_posix_memalign(ret_block, align, size);
	if (r == 0)
		live_add(*ret_block, size);
	return r;
}

char *__wrap_strdup(const char *text)
{
	return heap_fails() ? NULL : heap_made(__real_strdup(text), strlen(text) + 1);
}

char *__wrap_strndup(const char *text, size_t max)
{
	return heap_fails() ? NULL : heap_made(__real_strndup(text, max), strnlen(text, max) + 1);
}

int __wrap_vasprintf(char **ret_text, const char *format, va_list args)
{
	int length;

	if (heap_fails())
		return -1;
	length = __real_vasprintf(ret_text, format, args);
	if (length >= 0)
		live_add(*ret_text, (size_t)length + 1);
	return length;
}

int __wrap_asprintf(char **ret_text, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = __wrap_vasprintf(ret_text, format, args);
	va_end(args);
	return length;
}

int __wrap___vasprintf_chk(char **ret_text, int flag, const char *format, va_list args)
{
	(void)flag;
	return __wrap_vasprintf(ret_text, format, args);
}

int __wrap___asprintf_chk(char **ret_text, int flag, const char *format, ...)
{
	va_list args;
	int length;

	(void)flag;
	va_start(args, format);
	length = __wrap_vasprintf(ret_text, format, args);
	va_end(args);
	return length;
}
