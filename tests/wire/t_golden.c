/* SPDX-License-Identifier: Apache-2.0 */
/*
 * golden.txt holds one packet of each message, its bytes made by another implementation
 * (make_golden.py). The bytes are the protocol: once released they never change.
 */
#include "gm_test.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "gm_fdset.h"
#include "gm_msg.h"
#include "gmem.pb-c.h"
#include "msg_text.h"

#define N_TYPES 256

struct golden {
	char name[32];
	char kind[16];
	unsigned serial;
	unsigned n_fds;
	char text[4096];
	uint8_t bytes[1024];
	size_t length;
};

static unsigned type_of(const char *name)
{
	for (unsigned type = 0; type < N_TYPES; type++) {
		const struct gm_msg_format *format = gm_msg_format(type);

		if (format && strcmp(format->name, name) == 0)
			return type;
	}
	fail_msg("no message type %s", name);
	return 0;
}

static unsigned flags_of(const char *kind)
{
	if (strcmp(kind, "request") == 0)
		return 0;
	if (strcmp(kind, "answer") == 0)
		return GM_FRAME_ANSWER;
	if (strcmp(kind, "refusal") == 0)
		return GM_FRAME_ANSWER | GM_FRAME_REFUSED;
	assert_string_equal(kind, "event");
	return GM_FRAME_EVENT;
}

static const ProtobufCMessageDescriptor *descriptor_of(const struct golden *golden)
{
	const struct gm_msg_format *format = gm_msg_format(type_of(golden->name));

	if (strcmp(golden->kind, "request") == 0)
		return format->request;
	return strcmp(golden->kind, "refusal") == 0 ? &gmem__status__descriptor : format->answer;
}

static void read_hex(struct golden *golden, const char *line)
{
	unsigned byte;
	int n;

	while (sscanf(line, " %2x%n", &byte, &n) == 1) {
		assert_true(golden->length < sizeof(golden->bytes));
		golden->bytes[golden->length++] = (uint8_t)byte;
		line += n;
	}
}

/* Reads the next packet; false at the end of the file. */
static bool golden_next(FILE *file, struct golden *golden)
{
	char line[256];

	memset(golden, 0, sizeof(*golden));
	while (fgets(line, sizeof(line), file)) {
		if (line[0] == '#' || (line[0] == '\n' && !golden->length))
			continue;
		if (line[0] == '\n')
			return true;
		if (line[0] == '=')
			read_hex(golden, line + 1);
		else if (line[0] == ' ')
			strncat(golden->text, line,
				sizeof(golden->text) - strlen(golden->text) - 1);
		else
			assert_int_equal(sscanf(line, "%31s %15s serial=%u fds=%u", golden->name,
						golden->kind, &golden->serial, &golden->n_fds),
					 4);
	}
	return golden->length > 0;
}

static void for_each_golden(void (*fn)(const struct golden *golden))
{
	static struct golden golden;
	FILE *file = fopen(GOLDEN_FILE, "re");
	size_t n = 0;

	assert_non_null(file);
	for (; golden_next(file, &golden); n++)
		fn(&golden);
	fclose(file);
	assert_true(n > 0);
}

static ProtobufCMessage *unpack(const struct golden *golden, struct gm_arena *arena)
{
	const uint8_t *body = golden->bytes + GM_FRAME_HEADER_SIZE;
	size_t length = golden->length - GM_FRAME_HEADER_SIZE;
	ProtobufCMessage *message;

	assert_int_equal(gm_arena_init(arena, GM_MSG_ARENA_SIZE), 0);
	if (strcmp(golden->kind, "request") == 0)
		assert_int_equal(
			gm_msg_unpack_request(descriptor_of(golden), body, length, arena, &message),
			GM_MSG_GOOD);
	else
		assert_int_equal(
			gm_msg_unpack_answer(descriptor_of(golden), body, length, arena, &message),
			GM_MSG_GOOD);
	return message;
}

static void check_header(const struct golden *golden)
{
	struct gm_frame frame;

	assert_int_equal(gm_frame_decode(golden->bytes, golden->length, &frame), GM_FRAME_GOOD);
	assert_int_equal(frame.version, GM_PROTOCOL_VERSION);
	assert_int_equal(frame.type, type_of(golden->name));
	assert_int_equal(frame.flags, flags_of(golden->kind));
	assert_int_equal(frame.serial, golden->serial);
	assert_int_equal(frame.n_fds, golden->n_fds);
	assert_int_equal(frame.body_length, golden->length - GM_FRAME_HEADER_SIZE);
}

static void every_golden_header_decodes_to_its_fields(void **state)
{
	(void)state;
	for_each_golden(check_header);
}

static void check_body(const struct golden *golden)
{
	struct gm_arena arena;
	char text[sizeof(golden->text)] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	assert_non_null(out);
	msg_text_print(out, unpack(golden, &arena), 2);
	fclose(out);
	gm_arena_done(&arena);
	assert_string_equal(text, golden->text);
}

static void every_golden_body_decodes_to_its_fields(void **state)
{
	(void)state;
	for_each_golden(check_body);
}

static void check_encoding(const struct golden *golden)
{
	static uint8_t packet[GM_PACKET_MAX];
	struct gm_frame frame = {
		.version = GM_PROTOCOL_VERSION,
		.n_fds = (uint8_t)golden->n_fds,
		.type = (uint16_t)type_of(golden->name),
		.flags = (uint16_t)flags_of(golden->kind),
		.serial = golden->serial,
	};
	struct gm_arena arena;
	size_t length;

	assert_int_equal(
		gm_msg_pack(unpack(golden, &arena), packet + GM_FRAME_HEADER_SIZE, &length), 0);
	gm_arena_done(&arena);
	frame.body_length = (uint32_t)length;
	gm_frame_encode(&frame, packet);
	assert_int_equal(GM_FRAME_HEADER_SIZE + length, golden->length);
	assert_memory_equal(packet, golden->bytes, golden->length);
}

static void every_golden_packet_is_encoded_byte_for_byte(void **state)
{
	(void)state;
	for_each_golden(check_encoding);
}

static unsigned seen[N_TYPES];

static void note_kind(const struct golden *golden)
{
	seen[type_of(golden->name)] |= 1u << flags_of(golden->kind);
}

static void every_message_has_a_golden_packet(void **state)
{
	(void)state;
	memset(seen, 0, sizeof(seen));
	for_each_golden(note_kind);
	for (unsigned type = 0; type < N_TYPES; type++) {
		const struct gm_msg_format *format = gm_msg_format(type);

		if (!format)
			continue;
		if (format->request) {
			assert_true(seen[type] & 1u << 0);
			assert_true(seen[type] & 1u << GM_FRAME_ANSWER);
		} else {
			assert_true(seen[type] & 1u << GM_FRAME_EVENT);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(every_golden_header_decodes_to_its_fields),
		gm_test(every_golden_body_decodes_to_its_fields),
		gm_test(every_golden_packet_is_encoded_byte_for_byte),
		gm_test(every_message_has_a_golden_packet),
	};

	return gm_test_run("golden", tests, GM_ARRAY_SIZE(tests));
}
