/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a call failed: the storage behind struct gmem_error.
 *
 * A failure holds no pointers but to constants, so it may be copied.
 */
#ifndef GM_FAILURE_H
#define GM_FAILURE_H

#include <stdint.h>

#include "gm_num.h"
#include "gmem.h"
#include "gmem.pb-c.h"

#define GM_FAILURE_OBJECT_SIZE 129
#define GM_FAILURE_TEXT_SIZE 640

struct gm_failure {
	int status;	  /* positive; 0: none */
	const char *rule; /* constant, never NULL unless status is 0 */
	char object[GM_FAILURE_OBJECT_SIZE];
	uint64_t offset;
	uint64_t limit;
	uint64_t used;
	uint64_t asked;
	int sys_errno;
	uint32_t firmware_error;
	char text[GM_FAILURE_TEXT_SIZE];
};

/* Fills @failure from a refusal. 0, or -1 when it is none that the protocol knows. */
GM_WARN_UNUSED int gm_failure_from_wire(struct gm_failure *failure, const Gmem__Status *status);

/* Fills @failure with a sentence. */
void gm_failure_set(struct gm_failure *failure, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

void gm_client_clear(struct gmem_client *client);

/* Makes @failure the client's. Returns the negative status. */
int gm_client_fail(struct gmem_client *client, const struct gm_failure *failure);

/* The same, from a sentence. @rule: an enum gm_rule. */
int gm_fail(struct gmem_client *client, int status, int rule, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
int gm_fail_numbers(struct gmem_client *client, int status, int rule, const char *object,
		    uint64_t limit, uint64_t used, uint64_t asked);

/* A system call failed: @what is the start of the sentence, @error an errno of either sign. */
int gm_fail_errno(struct gmem_client *client, int error, const char *what);

/* Copies at most @size - 1 bytes, with everything unprintable made '?', and a NUL. */
void gm_copy_printable(char *to, size_t size, const void *from, size_t length);

#endif
