/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks on fields that both ends make the same way.
 */
#ifndef GM_CHECK_H
#define GM_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

/* 1 to @max bytes of [A-Za-z0-9._:-]: no NUL, no blank, nothing that a log could stumble over. */
bool gm_name_is_valid(const void *data, size_t length, size_t max);

/* The same and '/', for program names. */
bool gm_client_name_is_valid(const void *data, size_t length);

/* Copies a valid name into @buffer of @max + 1 bytes with a NUL; false if it is not one. */
bool gm_name_copy(const ProtobufCBinaryData *name, char *buffer, size_t max);

#endif
