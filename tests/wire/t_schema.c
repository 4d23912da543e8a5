/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the decoder relies on and the compiler cannot see: the shape of the schema, its numbers, and
 * the enums that the layers below the wire repeat.
 */
#include "gm_test.h"

#include <stdbool.h>
#include <string.h>

#include "gm_msg.h"
#include "gm_verdict.h"
#include "gmem.pb-c.h"
#include "page_state.h"

/* protobuf-c unpacks recursively and has no limit of its own. */
#define DEPTH_MAX 3
#define N_TYPES 256

#define SAME(ours, theirs) static_assert((int)(ours) == (int)(theirs), #ours " is " #theirs)
#define SAME_PAGE(name) SAME(GM_PAGE_##name, GMEM__PAGE_STATE__PAGE_##name)

SAME_PAGE(ABSENT);
SAME_PAGE(SHARED);
SAME_PAGE(PRIVATE);
SAME_PAGE(MEASURED);
SAME_PAGE(UNMEASURED);
SAME_PAGE(LOST);

static void neither_side_has_a_number_that_the_other_lacks(void **state)
{
	(void)state;
	assert_int_equal(gmem__code__descriptor.n_values, GM_VERDICT_N_);
	assert_int_equal(gmem__rule__descriptor.n_values, GM_RULE_N_);
	assert_int_equal(gmem__page_state__descriptor.n_values, GM_PAGE_STATE_N_);
}

static void for_each_message(void (*fn)(const ProtobufCMessageDescriptor *message))
{
	for (unsigned type = 0; type < N_TYPES; type++) {
		const struct gm_msg_format *format = gm_msg_format(type);

		if (!format)
			continue;
		if (format->request)
			fn(format->request);
		fn(format->answer);
	}
	fn(&gmem__status__descriptor);
}

/* A cycle would be infinitely deep. */
static void check_depth(const ProtobufCMessageDescriptor *message, unsigned depth)
{
	if (depth > DEPTH_MAX)
		fail_msg("%s is more than %d deep", message->name, DEPTH_MAX);
	for (unsigned i = 0; i < message->n_fields; i++) {
		if (message->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
			check_depth(message->fields[i].descriptor, depth + 1);
	}
}

static void check_depth_from_top(const ProtobufCMessageDescriptor *message)
{
	check_depth(message, 1);
}

static void no_message_contains_itself_or_nests_deeply(void **state)
{
	(void)state;
	for_each_message(check_depth_from_top);
}

/* Those that the schema may use: no floats, nothing signed, and no strings. */
static const char *type_name(ProtobufCType type)
{
	switch ((int)type) {
	case PROTOBUF_C_TYPE_UINT32:
		return "uint32";
	case PROTOBUF_C_TYPE_UINT64:
		return "uint64";
	case PROTOBUF_C_TYPE_FIXED64:
		return "fixed64";
	case PROTOBUF_C_TYPE_BOOL:
		return "bool";
	case PROTOBUF_C_TYPE_ENUM:
		return "enum";
	case PROTOBUF_C_TYPE_BYTES:
		return "bytes";
	case PROTOBUF_C_TYPE_MESSAGE:
		return "message";
	default:
		return NULL;
	}
}

static void check_fields(const ProtobufCMessageDescriptor *message)
{
	for (unsigned i = 0; i < message->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->fields[i];

		if (field->label == PROTOBUF_C_LABEL_REQUIRED)
			fail_msg("%s.%s is required", message->name, field->name);
		if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
			fail_msg("%s.%s is in a oneof", message->name, field->name);
		/* A string with a NUL in it is shorter in C than on the wire. */
		if (!type_name(field->type))
			fail_msg("%s.%s has type %d", message->name, field->name, field->type);
		if (field->type == PROTOBUF_C_TYPE_MESSAGE)
			check_fields(field->descriptor);
	}
}

static void no_field_is_required_or_a_string(void **state)
{
	(void)state;
	for_each_message(check_fields);
}

static FILE *numbers;

static void expect_line(const char *line)
{
	char golden[256];

	if (!fgets(golden, sizeof(golden), numbers))
		fail_msg("%s is not in " NUMBERS_FILE, line);
	golden[strcspn(golden, "\n")] = '\0';
	assert_string_equal(line, golden);
}

static void expect_message(const ProtobufCMessageDescriptor *message)
{
	char line[256];

	for (unsigned i = 0; i < message->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->fields[i];

		snprintf(line, sizeof(line), "%s %u %s %s%s", message->short_name, field->id,
			 field->name, field->label == PROTOBUF_C_LABEL_REPEATED ? "repeated " : "",
			 type_name(field->type));
		expect_line(line);
		if (field->type == PROTOBUF_C_TYPE_MESSAGE)
			expect_message(field->descriptor);
	}
}

static void expect_enum(const ProtobufCEnumDescriptor *descriptor)
{
	char line[256];

	for (unsigned i = 0; i < descriptor->n_values; i++) {
		snprintf(line, sizeof(line), "%s %d %s", descriptor->short_name,
			 descriptor->values[i].value, descriptor->values[i].name);
		expect_line(line);
	}
}

static void field_and_enum_numbers_are_those_on_file(void **state)
{
	char line[256];

	(void)state;
	numbers = fopen(NUMBERS_FILE, "re");
	assert_non_null(numbers);
	for_each_message(expect_message);
	expect_enum(&gmem__code__descriptor);
	expect_enum(&gmem__rule__descriptor);
	expect_enum(&gmem__device__descriptor);
	expect_enum(&gmem__lifetime__descriptor);
	expect_enum(&gmem__page_state__descriptor);
	expect_enum(&gmem__list_what__descriptor);
	expect_enum(&gmem__farewell__descriptor);
	expect_enum(&gmem__news_kind__descriptor);
	expect_enum(&gmem__step_kind__descriptor);
	expect_enum(&gmem__launch_state__descriptor);
	expect_enum(&gmem__page_type__descriptor);
	expect_enum(&gmem__vcpus_how__descriptor);
	assert_null(fgets(line, sizeof(line), numbers));
	fclose(numbers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(neither_side_has_a_number_that_the_other_lacks),
		gm_test(no_message_contains_itself_or_nests_deeply),
		gm_test(no_field_is_required_or_a_string),
		gm_test(field_and_enum_numbers_are_those_on_file),
	};

	return gm_test_run("schema", tests, GM_ARRAY_SIZE(tests));
}
