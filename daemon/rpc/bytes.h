/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GM_BYTES_H
#define GM_BYTES_H

#include <string.h>

#include <protobuf-c/protobuf-c.h>

/* Text as a field. It is borrowed, and must outlive the packing of the message. */
static inline ProtobufCBinaryData gm_bytes(const char *text)
{
	/* protobuf-c only reads what it packs; its type does not say so. */
	union {
		const char *text;
		uint8_t *bytes;
	} field = { .text = text };

	return (ProtobufCBinaryData){ .len = strlen(text), .data = field.bytes };
}

#endif
