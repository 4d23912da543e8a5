/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte chooses a message type, the rest is its body, as a request and as an answer. What
 * is accepted packs again, and unpacks again; nothing outgrows the arena.
 */
#include "gm_fuzz.h"
#include "gm_msg.h"

static struct gm_arena arena;

static void msg_repack(const ProtobufCMessage *message)
{
	static uint8_t packed[GM_BODY_MAX];
	const ProtobufCMessageDescriptor *descriptor = message->descriptor;
	ProtobufCMessage *again;
	size_t length;

	/* Default values and long varints may make it longer than what came. */
	if (gm_msg_pack(message, packed, &length) != 0)
		return;
	gm_fuzz_require(length <= sizeof(packed));
	gm_arena_clear(&arena, true);
	gm_fuzz_require(gm_msg_unpack_request(descriptor, packed, length, &arena, &again) ==
			GM_MSG_GOOD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct gm_msg_format *format;
	ProtobufCMessage *message;

	if (!arena.memory)
		gm_fuzz_require(gm_arena_init(&arena, GM_MSG_ARENA_SIZE) == 0);
	if (size < 1 || size > 1 + GM_BODY_MAX)
		return 0;
	format = gm_msg_format(data[0]);
	if (!format)
		return 0;
	gm_arena_clear(&arena, true);
	gm_fuzz_require(gm_msg_fault_text(
		gm_msg_unpack_answer(format->answer, data + 1, size - 1, &arena, &message)));
	gm_arena_clear(&arena, true);
	if (format->request && gm_msg_unpack_request(format->request, data + 1, size - 1, &arena,
						     &message) == GM_MSG_GOOD)
		msg_repack(message);
	return 0;
}
