/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any message as protobuf text format, as far as the golden packets use it.
 */
#ifndef MSG_TEXT_H
#define MSG_TEXT_H

#include <protobuf-c/protobuf-c.h>
#include <stdio.h>

/* Every field that is set, in order of its number, @indent blanks deep. */
void msg_text_print(FILE *out, const ProtobufCMessage *message, int indent);

#endif
