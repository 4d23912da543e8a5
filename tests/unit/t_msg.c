/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies: what of a peer's bytes becomes a message, and within which bounds. */
#include "gm_test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gm_msg.h"
#include "gmem.pb-c.h"

/* Far above what any body takes, also under sanitizers; far below what an attack needs. */
#define UNPACK_MS_MAX 100

static struct gm_arena arena;
static uint8_t body[GM_BODY_MAX];

/* The body @piece, @n times over. */
static size_t repeat(const void *piece, size_t size, size_t n)
{
	assert_true(n * size <= sizeof(body));
	for (size_t i = 0; i < n; i++)
		memcpy(body + i * size, piece, size);
	return n * size;
}

static enum gm_msg_fault unpack(const ProtobufCMessageDescriptor *descriptor, const void *bytes,
				size_t length, ProtobufCMessage **ret_message)
{
	gm_arena_clear(&arena, true);
	return gm_msg_unpack_request(descriptor, bytes, length, &arena, ret_message);
}

static enum gm_msg_fault fault_of(const ProtobufCMessageDescriptor *descriptor, const void *bytes,
				  size_t length)
{
	ProtobufCMessage *message;

	return unpack(descriptor, bytes, length, &message);
}

static void every_type_has_its_messages_and_others_have_none(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 1000; type++) {
		const struct gm_msg_format *format = gm_msg_format(type);

		if (type >= GM_MSG_HELLO && type < GM_MSG_REQUEST_N_) {
			assert_non_null(format->request);
			assert_non_null(format->answer);
		} else if (type >= GM_EVENT_PROGRESS && type <= GM_EVENT_NEWS) {
			assert_null(format->request);
			assert_non_null(format->answer);
		} else {
			assert_null(format);
		}
	}
	assert_null(gm_msg_format(UINT32_MAX));
}

static void fields_of_a_body_arrive(void **state)
{
	static const uint8_t bytes[] = { 0x09, 1,    0,	   0,	 0,    0,    0,	  0,
					 0x80, 0x12, 0x04, 0x08, 0x80, 0x20, 0x10 };
	static const uint8_t good[] = { 0x09, 1,    0,	  0,	0,    0,    0,	  0,   0x80,
					0x12, 0x06, 0x08, 0x80, 0x20, 0x10, 0x80, 0x40 };
	ProtobufCMessage *message;
	const Gmem__AllocateRequest *request;

	(void)state;
	assert_int_equal(fault_of(&gmem__allocate_request__descriptor, bytes, sizeof(bytes)),
			 GM_MSG_UNDECODABLE);
	assert_int_equal(unpack(&gmem__allocate_request__descriptor, good, sizeof(good), &message),
			 GM_MSG_GOOD);
	request = (const Gmem__AllocateRequest *)message;
	assert_int_equal(request->region, UINT64_C(0x8000000000000001));
	assert_int_equal(request->n_ranges, 1);
	assert_int_equal(request->ranges[0]->offset, 0x1000);
	assert_int_equal(request->ranges[0]->length, 0x2000);
}

static void an_empty_body_is_a_message_of_defaults(void **state)
{
	ProtobufCMessage *message;

	(void)state;
	assert_int_equal(unpack(&gmem__hello_request__descriptor, body, 0, &message), GM_MSG_GOOD);
	assert_false(((const Gmem__HelloRequest *)message)->has_client);
	assert_int_equal(unpack(&gmem__hello_request__descriptor, NULL, 0, &message), GM_MSG_GOOD);
}

static void what_is_not_protobuf_is_undecodable(void **state)
{
	static const struct {
		size_t length;
		uint8_t bytes[12];
	} cases[] = {
		{ 1, { 0x08 } },			       /* number without a value */
		{ 2, { 0x0a, 0x05 } },			       /* bytes past the end */
		{ 5, { 0x12, 0xff, 0xff, 0xff, 0x7f } },       /* length of 2^28 - 1 */
		{ 6, { 0x12, 0xff, 0xff, 0xff, 0xff, 0x0f } }, /* length of 2^32 - 1 */
		{ 2, { 0x00, 0x00 } },			       /* field number 0 */
		{ 1, { 0x0f } },			       /* wire type 7 */
		{ 3, { 0x09, 0x01, 0x02 } },		       /* half a fixed64 */
		{ 12, { 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01 } },
	};

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(cases); i++)
		assert_int_equal(fault_of(&gmem__allocate_request__descriptor, cases[i].bytes,
					  cases[i].length),
				 GM_MSG_UNDECODABLE);
}

static void a_field_of_another_wire_type_is_not_accepted(void **state)
{
	static const uint8_t varint_for_fixed[] = { 0x08, 0x01 };
	static const uint8_t bytes_for_varint[] = { 0x0a, 0x01, 0x01 };

	(void)state;
	assert_int_not_equal(fault_of(&gmem__domain_get_request__descriptor, varint_for_fixed,
				      sizeof(varint_for_fixed)),
			     GM_MSG_GOOD);
	assert_int_not_equal(fault_of(&gmem__cancel_request__descriptor, bytes_for_varint,
				      sizeof(bytes_for_varint)),
			     GM_MSG_GOOD);
}

static void unknown_fields_are_found_at_any_depth(void **state)
{
	static const uint8_t top[] = { 0x18, 0x01 };
	static const uint8_t in_range[] = { 0x12, 0x02, 0x18, 0x01 };
	static const uint8_t in_second_range[] = { 0x12, 0x00, 0x12, 0x02, 0x18, 0x01 };
	static const uint8_t in_single[] = { 0x0a, 0x03, 0x90, 0x03, 0x01 };
	static const uint8_t third_level[] = { 0x0a, 0x04, 0x12, 0x02, 0x20, 0x01 };

	(void)state;
	assert_int_equal(fault_of(&gmem__allocate_request__descriptor, top, sizeof(top)),
			 GM_MSG_UNKNOWN_FIELDS);
	assert_int_equal(fault_of(&gmem__allocate_request__descriptor, in_range, sizeof(in_range)),
			 GM_MSG_UNKNOWN_FIELDS);
	assert_int_equal(fault_of(&gmem__allocate_request__descriptor, in_second_range,
				  sizeof(in_second_range)),
			 GM_MSG_UNKNOWN_FIELDS);
	assert_int_equal(
		fault_of(&gmem__domain_get_reply__descriptor, in_single, sizeof(in_single)),
		GM_MSG_UNKNOWN_FIELDS);
	assert_int_equal(fault_of(&gmem__stats_reply__descriptor, third_level, sizeof(third_level)),
			 GM_MSG_UNKNOWN_FIELDS);
}

static void unknown_fields_of_an_answer_are_skipped(void **state)
{
	static const uint8_t bytes[] = { 0x08, 0x05, 0xf8, 0x07, 0x01 };
	ProtobufCMessage *message;

	(void)state;
	gm_arena_clear(&arena, false);
	assert_int_equal(gm_msg_unpack_answer(&gmem__allocate_reply__descriptor, bytes,
					      sizeof(bytes), &arena, &message),
			 GM_MSG_GOOD);
	assert_int_equal(((const Gmem__AllocateReply *)message)->bytes, 5);
}

static void repeated_fields_of_requests_have_their_bounds(void **state)
{
	static const struct {
		const ProtobufCMessageDescriptor *message;
		size_t size, max;
		uint8_t element[2];
	} cases[] = {
		{ &gmem__allocate_request__descriptor, 2, GM_RANGES_MAX, { 0x12, 0x00 } },
		{ &gmem__discard_request__descriptor, 2, GM_RANGES_MAX, { 0x12, 0x00 } },
		{ &gmem__region_create_request__descriptor, 2, GM_NUMA_NODES_MAX, { 0x30, 0x01 } },
		{ &gmem__domain_create_request__descriptor, 2, GM_DEVICES_MAX, { 0x20, 0x01 } },
		{ &gmem__domain_attach_request__descriptor, 2, GM_DEVICES_MAX, { 0x20, 0x01 } },
		/* Not a request, but the rule for fields that the table does not name. */
		{ &gmem__host_reply__descriptor, 2, 64, { 0x0a, 0x00 } },
	};

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(cases); i++) {
		assert_int_equal(
			fault_of(cases[i].message, body, repeat(cases[i].element, 2, cases[i].max)),
			GM_MSG_GOOD);
		assert_int_equal(fault_of(cases[i].message, body,
					  repeat(cases[i].element, 2, cases[i].max + 1)),
				 GM_MSG_TOO_MANY);
	}
}

static void packed_elements_count_too(void **state)
{
	(void)state;
	memset(body, 1, sizeof(body));
	body[0] = 0x32;
	body[1] = GM_NUMA_NODES_MAX;
	assert_int_equal(fault_of(&gmem__region_create_request__descriptor, body, 2 + 64),
			 GM_MSG_GOOD);
	body[1]++;
	assert_int_equal(fault_of(&gmem__region_create_request__descriptor, body, 2 + 65),
			 GM_MSG_TOO_MANY);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void a_full_hostile_body_is_cheap_to_turn_down(void **state)
{
	static const struct {
		const ProtobufCMessageDescriptor *message;
		size_t size;
		uint8_t piece[4];
	} cases[] = {
		{ &gmem__allocate_request__descriptor, 2, { 0x12, 0x00 } },
		{ &gmem__allocate_request__descriptor, 4, { 0x12, 0x02, 0x18, 0x01 } },
		{ &gmem__allocate_request__descriptor, 2, { 0x18, 0x01 } },
		{ &gmem__allocate_request__descriptor, 2, { 0x1a, 0x00 } },
		{ &gmem__region_create_request__descriptor, 2, { 0x30, 0x01 } },
		{ &gmem__region_create_request__descriptor, 4, { 0x32, 0x02, 0x01, 0x01 } },
	};

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(cases); i++) {
		size_t length = repeat(cases[i].piece, cases[i].size, GM_BODY_MAX / cases[i].size);
		uint64_t start = now_ms();

		assert_int_not_equal(fault_of(cases[i].message, body, length), GM_MSG_GOOD);
		assert_in_range(now_ms() - start, 0, UNPACK_MS_MAX);
		assert_true(arena.used <= GM_MSG_ARENA_SIZE);
	}
}

static void the_largest_legal_request_fits_the_arena(void **state)
{
	Gmem__AllocateRequest request = GMEM__ALLOCATE_REQUEST__INIT;
	static Gmem__Range ranges[GM_RANGES_MAX];
	static Gmem__Range *pointers[GM_RANGES_MAX];
	ProtobufCMessage *message;
	size_t length;

	(void)state;
	for (size_t i = 0; i < GM_RANGES_MAX; i++) {
		gmem__range__init(&ranges[i]);
		ranges[i].has_offset = ranges[i].has_length = 1;
		ranges[i].offset = ranges[i].length = UINT64_MAX;
		pointers[i] = &ranges[i];
	}
	request.n_ranges = GM_RANGES_MAX;
	request.ranges = pointers;
	assert_int_equal(gm_msg_pack(&request.base, body, &length), 0);
	assert_int_equal(unpack(&gmem__allocate_request__descriptor, body, length, &message),
			 GM_MSG_GOOD);
	/* Room for the answer that is built in the same arena. */
	assert_true(arena.used <= GM_MSG_ARENA_SIZE / 2);
}

static void a_message_that_does_not_fit_the_arena_is_undecodable(void **state)
{
	struct gm_arena small;
	ProtobufCMessage *message;
	size_t length = repeat("\x12", 2, 100);

	(void)state;
	assert_int_equal(gm_arena_init(&small, 1024), 0);
	assert_int_equal(gm_msg_unpack_request(&gmem__allocate_request__descriptor, body, length,
					       &small, &message),
			 GM_MSG_UNDECODABLE);
	gm_arena_done(&small);
}

static void a_body_is_packed_up_to_the_maximum_and_no_further(void **state)
{
	static uint8_t payload[GM_BODY_MAX];
	Gmem__PingRequest ping = GMEM__PING_REQUEST__INIT;
	size_t length;

	(void)state;
	/* One byte of tag, three of length. */
	ping.has_payload = 1;
	ping.payload = (ProtobufCBinaryData){ .len = GM_BODY_MAX - 4, .data = payload };
	assert_int_equal(gm_msg_pack(&ping.base, body, &length), 0);
	assert_int_equal(length, GM_BODY_MAX);
	ping.payload.len++;
	assert_int_equal(gm_msg_pack(&ping.base, body, &length), -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(every_type_has_its_messages_and_others_have_none),
		gm_test(fields_of_a_body_arrive),
		gm_test(an_empty_body_is_a_message_of_defaults),
		gm_test(what_is_not_protobuf_is_undecodable),
		gm_test(a_field_of_another_wire_type_is_not_accepted),
		gm_test(unknown_fields_are_found_at_any_depth),
		gm_test(unknown_fields_of_an_answer_are_skipped),
		gm_test(repeated_fields_of_requests_have_their_bounds),
		gm_test(packed_elements_count_too),
		gm_test(a_full_hostile_body_is_cheap_to_turn_down),
		gm_test(the_largest_legal_request_fits_the_arena),
		gm_test(a_message_that_does_not_fit_the_arena_is_undecodable),
		gm_test(a_body_is_packed_up_to_the_maximum_and_no_further),
	};
	int result;

	if (gm_arena_init(&arena, GM_MSG_ARENA_SIZE) < 0)
		return EXIT_FAILURE;
	result = gm_test_run("msg", tests, GM_ARRAY_SIZE(tests));
	gm_arena_done(&arena);
	return result;
}
