/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One kind of memory at one page size: what a case of the contract is run against.
 */
#ifndef SUBJECT_H
#define SUBJECT_H

#include "backend.h"
#include "gm_test.h"

struct subject {
	const struct gm_backend *backend;
	struct gm_backend_state *state;
	struct gm_probe probe;
	uint64_t page_size;
	uint64_t n_pages; /* of a region in a case: at least 2 */
	char name[32];	  /* "memfd 2M" */
	bool short_of_pages;
};

/* Which subjects a case is for. */
enum subject_filter {
	FOR_ALL,
	FOR_SEALED,
	FOR_HUGE,
	FOR_NUMA,
};

struct contract_case {
	const char *name;
	CMUnitTestFunction run;
	enum subject_filter filter;
};

/* NULL-named last. */
extern const struct contract_case create_cases[];
extern const struct contract_case fd_cases[];
extern const struct contract_case range_cases[];
extern const struct contract_case huge_cases[];

/* First line of each case: the subject, unless the host has no pages for it (then it skips). */
struct subject *subject_of(void **state);

uint64_t subject_size(const struct subject *subject);

/* A region that the caller closes; the case fails when it cannot be made. */
int subject_create(const struct subject *subject);
int subject_create_pages(const struct subject *subject, uint64_t n_pages);

/* Bytes present, or UINT64_MAX where the backend does not tell. */
uint64_t subject_present(const struct subject *subject, int fd, uint64_t page, uint64_t n_pages);

/* The whole of @fd, read and write. */
unsigned char *map_all(int fd, uint64_t size);
void unmap_all(unsigned char *map, uint64_t size);

/* Marks and checks a page at its first and last byte. */
void page_stamp(unsigned char *map, uint64_t page_size, uint64_t page, unsigned char value);
bool page_has(const unsigned char *map, uint64_t page_size, uint64_t page, unsigned char value);

/* A byte in each 4 KiB. */
bool page_is_zero(const unsigned char *map, uint64_t page_size, uint64_t page);

/* Runs @fn in a child, as @uid if we are root. Its exit status, or minus what killed it. */
int in_child(unsigned uid, int (*fn)(void *arg), void *arg);

#endif
