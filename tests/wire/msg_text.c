/* SPDX-License-Identifier: Apache-2.0 */
#include "msg_text.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void print_bytes(FILE *out, const ProtobufCBinaryData *bytes)
{
	fputc('"', out);
	for (size_t i = 0; i < bytes->len; i++) {
		unsigned char c = bytes->data[i];

		if (strchr("\"'\\", c) && c)
			fprintf(out, "\\%c", c);
		else if (isprint(c))
			fputc(c, out);
		else
			fprintf(out, "\\%03o", c);
	}
	fputc('"', out);
}

static void print_enum(FILE *out, const ProtobufCEnumDescriptor *descriptor, int number)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(descriptor, number);

	if (value)
		fputs(value->name, out);
	else
		fprintf(out, "%d", number);
}

static size_t element_size(ProtobufCType type)
{
	switch ((int)type) {
	case PROTOBUF_C_TYPE_ENUM:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_BOOL:
		return 4;
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 8;
	}
}

static void print_message(FILE *out, const char *name, const ProtobufCMessage *inner, int indent)
{
	fprintf(out, "%*s%s {\n", indent, "", name);
	msg_text_print(out, inner, indent + 2);
	fprintf(out, "%*s}\n", indent, "");
}

static void print_value(FILE *out, const ProtobufCFieldDescriptor *field, const void *at,
			int indent)
{
	if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
		print_message(out, field->name, *(const ProtobufCMessage *const *)at, indent);
		return;
	}
	fprintf(out, "%*s%s: ", indent, "", field->name);
	switch ((int)field->type) {
	case PROTOBUF_C_TYPE_ENUM:
		print_enum(out, field->descriptor, *(const int *)at);
		break;
	case PROTOBUF_C_TYPE_UINT32:
		fprintf(out, "%" PRIu32, *(const uint32_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		fprintf(out, "%" PRIu64, *(const uint64_t *)at);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		fputs(*(const protobuf_c_boolean *)at ? "true" : "false", out);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		print_bytes(out, at);
		break;
	default:
		/* The schema test refuses other types. */
		abort();
	}
	fputc('\n', out);
}

static bool field_is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	const char *base = (const char *)message;

	assert(field->label == PROTOBUF_C_LABEL_OPTIONAL);
	if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(const void *const *)(const void *)(base + field->offset);
	return *(const protobuf_c_boolean *)(const void *)(base + field->quantifier_offset);
}

void msg_text_print(FILE *out, const ProtobufCMessage *message, int indent)
{
	const char *base = (const char *)message;

	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		const void *at = base + field->offset;
		size_t n;

		if (field->label != PROTOBUF_C_LABEL_REPEATED) {
			if (field_is_set(message, field))
				print_value(out, field, at, indent);
			continue;
		}
		memcpy(&n, base + field->quantifier_offset, sizeof(n));
		for (size_t k = 0; k < n; k++)
			print_value(out, field,
				    *(const char *const *)at + k * element_size(field->type),
				    indent);
	}
}
