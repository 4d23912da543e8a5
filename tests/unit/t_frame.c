/* SPDX-License-Identifier: Apache-2.0 */
/* The 16-byte header. */
#include "gm_test.h"

#include <string.h>

#include "gm_fdset.h"
#include "gm_frame.h"

static const struct gm_frame example = {
	.version = GM_PROTOCOL_VERSION,
	.n_fds = 2,
	.type = 0x0304,
	.flags = GM_FRAME_ANSWER | GM_FRAME_REFUSED,
	.serial = 0x05060708,
	.body_length = 3,
};

static const uint8_t example_bytes[GM_FRAME_HEADER_SIZE + 3] = {
	0x67, 0x6d, 1, 2, 0x04, 0x03, 3, 0, 0x08, 0x07, 0x06, 0x05, 3, 0, 0, 0, 'x', 'y', 'z',
};

static uint8_t packet[GM_PACKET_MAX + 1];

/* The fault that the example has when @at is set to @value. */
static enum gm_frame_fault fault_with(size_t at, uint8_t value)
{
	struct gm_frame frame;

	memcpy(packet, example_bytes, sizeof(example_bytes));
	packet[at] = value;
	return gm_frame_decode(packet, sizeof(example_bytes), &frame);
}

static void every_field_is_where_the_table_says(void **state)
{
	struct gm_frame frame;
	uint8_t bytes[GM_FRAME_HEADER_SIZE];

	(void)state;
	gm_frame_encode(&example, bytes);
	assert_memory_equal(bytes, example_bytes, sizeof(bytes));
	assert_int_equal(gm_frame_decode(example_bytes, sizeof(example_bytes), &frame),
			 GM_FRAME_GOOD);
	assert_int_equal(frame.version, example.version);
	assert_int_equal(frame.n_fds, example.n_fds);
	assert_int_equal(frame.type, example.type);
	assert_int_equal(frame.flags, example.flags);
	assert_int_equal(frame.serial, example.serial);
	assert_int_equal(frame.body_length, example.body_length);
}

static void fewer_bytes_than_a_header_are_short(void **state)
{
	struct gm_frame frame;

	(void)state;
	for (size_t length = 0; length < GM_FRAME_HEADER_SIZE; length++)
		assert_int_equal(gm_frame_decode(example_bytes, length, &frame), GM_FRAME_SHORT);
}

static void another_magic_is_bad(void **state)
{
	(void)state;
	assert_int_equal(fault_with(0, 0x6d), GM_FRAME_BAD_MAGIC);
	assert_int_equal(fault_with(1, 0x67), GM_FRAME_BAD_MAGIC);
}

static void another_version_is_bad(void **state)
{
	(void)state;
	assert_int_equal(fault_with(2, 0), GM_FRAME_BAD_VERSION);
	assert_int_equal(fault_with(2, GM_PROTOCOL_VERSION + 1), GM_FRAME_BAD_VERSION);
	assert_int_equal(fault_with(2, 255), GM_FRAME_BAD_VERSION);
}

static void each_unknown_flag_is_bad(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 8; bit++) {
		unsigned flag = 1u << bit;

		assert_int_equal(fault_with(6, (uint8_t)flag),
				 flag & GM_FRAME_FLAGS_KNOWN ? GM_FRAME_GOOD : GM_FRAME_BAD_FLAGS);
		assert_int_equal(fault_with(7, (uint8_t)flag), GM_FRAME_BAD_FLAGS);
	}
}

static void more_fds_than_a_message_carries_are_bad(void **state)
{
	(void)state;
	assert_int_equal(fault_with(3, GM_FDSET_MAX), GM_FRAME_GOOD);
	assert_int_equal(fault_with(3, GM_FDSET_MAX + 1), GM_FRAME_BAD_FDS);
	assert_int_equal(fault_with(3, 255), GM_FRAME_BAD_FDS);
}

static void a_length_that_is_not_the_packets_is_bad(void **state)
{
	(void)state;
	assert_int_equal(fault_with(12, 2), GM_FRAME_BAD_LENGTH);
	assert_int_equal(fault_with(12, 4), GM_FRAME_BAD_LENGTH);
	assert_int_equal(fault_with(15, 0x80), GM_FRAME_BAD_LENGTH);
}

static void a_body_may_be_as_long_as_the_maximum_and_no_longer(void **state)
{
	struct gm_frame frame = example;

	(void)state;
	frame.body_length = GM_BODY_MAX;
	gm_frame_encode(&frame, packet);
	assert_int_equal(gm_frame_decode(packet, GM_PACKET_MAX, &frame), GM_FRAME_GOOD);
	frame.body_length = GM_BODY_MAX + 1;
	gm_frame_encode(&frame, packet);
	assert_int_equal(gm_frame_decode(packet, GM_PACKET_MAX + 1, &frame), GM_FRAME_BAD_LENGTH);
}

static void a_bad_header_leaves_the_output_alone(void **state)
{
	struct gm_frame frame = { .serial = 77 };

	(void)state;
	assert_int_equal(gm_frame_decode(packet, 3, &frame), GM_FRAME_SHORT);
	memset(packet, 0, GM_FRAME_HEADER_SIZE);
	assert_int_equal(gm_frame_decode(packet, GM_FRAME_HEADER_SIZE, &frame), GM_FRAME_BAD_MAGIC);
	assert_int_equal(frame.serial, 77);
}

static void every_fault_has_words_of_its_own(void **state)
{
	(void)state;
	for (int i = 0; i <= GM_FRAME_BAD_LENGTH; i++) {
		for (int k = 0; k < i; k++)
			assert_string_not_equal(gm_frame_fault_text((enum gm_frame_fault)i),
						gm_frame_fault_text((enum gm_frame_fault)k));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(every_field_is_where_the_table_says),
		gm_test(fewer_bytes_than_a_header_are_short),
		gm_test(another_magic_is_bad),
		gm_test(another_version_is_bad),
		gm_test(each_unknown_flag_is_bad),
		gm_test(more_fds_than_a_message_carries_are_bad),
		gm_test(a_length_that_is_not_the_packets_is_bad),
		gm_test(a_body_may_be_as_long_as_the_maximum_and_no_longer),
		gm_test(a_bad_header_leaves_the_output_alone),
		gm_test(every_fault_has_words_of_its_own),
	};

	return gm_test_run("frame", tests, GM_ARRAY_SIZE(tests));
}
