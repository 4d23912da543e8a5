/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_msg.h"

#include <errno.h>
#include <string.h>

#include "gmem.pb-c.h"

#define FORMAT(message) &gmem__##message##__descriptor
#define CALL(type, message) \
	[GM_MSG_##type] = { #type, FORMAT(message##_request), FORMAT(message##_reply) }
#define EVENT(type, message) [GM_EVENT_##type] = { #type, NULL, FORMAT(message##_event) }

static const struct gm_msg_format formats[] = {
	CALL(HELLO, hello),
	CALL(PING, ping),
	CALL(DOMAIN_CREATE, domain_create),
	CALL(DOMAIN_ATTACH, domain_attach),
	CALL(DOMAIN_GET, domain_get),
	CALL(DOMAIN_DESTROY, domain_destroy),
	CALL(REGION_CREATE, region_create),
	CALL(REGION_GET, region_get),
	CALL(REGION_DESTROY, region_destroy),
	CALL(REGION_MAP, region_map),
	CALL(ALLOCATE, allocate),
	CALL(DISCARD, discard),
	CALL(CANCEL, cancel),
	CALL(LIST, list),
	CALL(STATS, stats),
	CALL(HOST, host),
	CALL(EVICT, evict),
	CALL(WATCH, watch),
	CALL(POLICY, policy),
	CALL(MEMLOCK, memlock),
	CALL(STEP_MEMORY, step_memory),
	CALL(REGION_BIND, region_bind),
	CALL(CONVERT, convert),
	CALL(STEP_DONE, step_done),
	CALL(LAUNCH_START, launch_start),
	CALL(SOURCE, source),
	CALL(POPULATE, populate),
	CALL(LAUNCH_FINISH, launch_finish),
	CALL(LAUNCH_ABORT, launch_abort),
	CALL(CONVERTED, converted),
	CALL(FD_BOX, fd_box),
	EVENT(PROGRESS, progress),
	EVENT(DOMAIN_GONE, domain_gone),
	EVENT(SHUTDOWN, shutdown),
	EVENT(NEWS, news),
};

/* Repeated fields of requests: a request has no business with more elements. */
#define ELEMENTS_MAX 64

static const struct {
	const ProtobufCMessageDescriptor *message;
	uint32_t field;
	size_t max;
} bounds[] = {
	{ FORMAT(allocate_request), 2, GM_RANGES_MAX },
	{ FORMAT(discard_request), 2, GM_RANGES_MAX },
	{ FORMAT(convert_request), 2, GM_RANGES_MAX },
	{ FORMAT(step_done_request), 5, GM_RANGES_MAX },
	{ FORMAT(converted_request), 4, UINT64_C(2) * GM_CONVERSIONS_MAX },
	{ FORMAT(region_create_request), 6, GM_NUMA_NODES_MAX },
	{ FORMAT(domain_create_request), 4, GM_DEVICES_MAX },
	{ FORMAT(domain_attach_request), 4, GM_DEVICES_MAX },
};

const struct gm_msg_format *gm_msg_format(unsigned type)
{
	if (type >= GM_ARRAY_SIZE(formats) || !formats[type].name)
		return NULL;
	return &formats[type];
}

static size_t msg_elements_max(const ProtobufCMessageDescriptor *message, uint32_t field)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(bounds); i++) {
		if (bounds[i].message == message && bounds[i].field == field)
			return bounds[i].max;
	}
	return ELEMENTS_MAX;
}

static enum gm_msg_fault msg_check(const ProtobufCMessage *message);

static enum gm_msg_fault msg_check_repeated(const ProtobufCMessage *message,
					    const ProtobufCFieldDescriptor *field)
{
	const unsigned char *base = (const unsigned char *)message;
	enum gm_msg_fault fault;
	ProtobufCMessage **elements;
	size_t n;

	memcpy(&n, base + field->quantifier_offset, sizeof(n));
	if (n > msg_elements_max(message->descriptor, field->id))
		return GM_MSG_TOO_MANY;
	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return GM_MSG_GOOD;
	memcpy(&elements, base + field->offset, sizeof(elements));
	for (size_t i = 0; i < n; i++) {
		fault = msg_check(elements[i]);
		if (fault != GM_MSG_GOOD)
			return fault;
	}
	return GM_MSG_GOOD;
}

static enum gm_msg_fault msg_check_field(const ProtobufCMessage *message,
					 const ProtobufCFieldDescriptor *field)
{
	const ProtobufCMessage *inner;

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return msg_check_repeated(message, field);
	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return GM_MSG_GOOD;
	memcpy(&inner, (const unsigned char *)message + field->offset, sizeof(inner));
	return inner ? msg_check(inner) : GM_MSG_GOOD;
}

/* Recursion ends: no message of the schema contains itself (the schema test walks them all). */
static enum gm_msg_fault msg_check(const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *descriptor = message->descriptor;

	if (message->n_unknown_fields)
		return GM_MSG_UNKNOWN_FIELDS;
	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		enum gm_msg_fault fault = msg_check_field(message, &descriptor->fields[i]);

		if (fault != GM_MSG_GOOD)
			return fault;
	}
	return GM_MSG_GOOD;
}

enum gm_msg_fault gm_msg_unpack_answer(const ProtobufCMessageDescriptor *descriptor,
				       const void *body, size_t length, struct gm_arena *arena,
				       ProtobufCMessage **ret_message)
{
	ProtobufCMessage *message;

	message = protobuf_c_message_unpack(descriptor, &arena->allocator, length, body);
	if (!message)
		return GM_MSG_UNDECODABLE;
	*ret_message = message;
	return GM_MSG_GOOD;
}

enum gm_msg_fault gm_msg_unpack_request(const ProtobufCMessageDescriptor *descriptor,
					const void *body, size_t length, struct gm_arena *arena,
					ProtobufCMessage **ret_message)
{
	ProtobufCMessage *message;
	enum gm_msg_fault fault;

	fault = gm_msg_unpack_answer(descriptor, body, length, arena, &message);
	if (fault == GM_MSG_GOOD)
		fault = msg_check(message);
	if (fault == GM_MSG_GOOD)
		*ret_message = message;
	return fault;
}

int gm_msg_pack(const ProtobufCMessage *message, void *buffer, size_t *ret_length)
{
	size_t length = protobuf_c_message_get_packed_size(message);

	if (length > GM_BODY_MAX)
		return -EMSGSIZE;
	*ret_length = protobuf_c_message_pack(message, buffer);
	return 0;
}

const char *gm_msg_fault_text(enum gm_msg_fault fault)
{
	switch (fault) {
	case GM_MSG_GOOD:
		return "good body";
	case GM_MSG_UNDECODABLE:
		return "undecodable body";
	case GM_MSG_UNKNOWN_FIELDS:
		return "unknown fields in the body";
	case GM_MSG_TOO_MANY:
		return "too many elements in a field of the body";
	}
	return "unknown body fault";
}
