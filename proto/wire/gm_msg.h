/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Message type <-> protobuf descriptor, unpacking untrusted bodies within a budget.
 */
#ifndef GM_MSG_H
#define GM_MSG_H

#include <protobuf-c/protobuf-c.h>

#include "gm_arena.h"
#include "gm_frame.h"

/* Room that any request body of GM_BODY_MAX may unpack into; more is a violation. */
#define GM_MSG_ARENA_SIZE 524288

struct gm_msg_format {
	const char *name;			   /* "HELLO" */
	const ProtobufCMessageDescriptor *request; /* NULL for events */
	const ProtobufCMessageDescriptor *answer;  /* events: the event's body */
};

/* NULL for a type that does not exist. */
const struct gm_msg_format *gm_msg_format(unsigned type);

enum gm_msg_fault {
	GM_MSG_GOOD = 0,
	GM_MSG_UNDECODABLE,    /* not a protobuf body, or it needs more than the arena has */
	GM_MSG_UNKNOWN_FIELDS, /* fields this version has not got, at any depth */
	GM_MSG_TOO_MANY,       /* a repeated field over its bound */
};

/* A request from a peer. The message lives in @arena. */
GM_WARN_UNUSED enum gm_msg_fault gm_msg_unpack_request(const ProtobufCMessageDescriptor *descriptor,
						       const void *body, size_t length,
						       struct gm_arena *arena,
						       ProtobufCMessage **ret_message);

/* An answer or event from the daemon: unknown fields are skipped. */
GM_WARN_UNUSED enum gm_msg_fault gm_msg_unpack_answer(const ProtobufCMessageDescriptor *descriptor,
						      const void *body, size_t length,
						      struct gm_arena *arena,
						      ProtobufCMessage **ret_message);

/* Packs into @buffer of GM_BODY_MAX bytes. 0 or -EMSGSIZE. */
GM_WARN_UNUSED int gm_msg_pack(const ProtobufCMessage *message, void *buffer, size_t *ret_length);

const char *gm_msg_fault_text(enum gm_msg_fault fault);

#endif
