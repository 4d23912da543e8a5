/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_frame.h"

#include <assert.h>

#include "gm_fdset.h"

enum {
	AT_MAGIC = 0,
	AT_VERSION = 2,
	AT_N_FDS = 3,
	AT_TYPE = 4,
	AT_FLAGS = 6,
	AT_SERIAL = 8,
	AT_BODY_LENGTH = 12,
};
static_assert(AT_BODY_LENGTH + sizeof(uint32_t) == GM_FRAME_HEADER_SIZE, "the header is full");

static void put_u16(uint8_t *bytes, uint16_t n)
{
	bytes[0] = (uint8_t)n;
	bytes[1] = (uint8_t)(n >> 8);
}

static void put_u32(uint8_t *bytes, uint32_t n)
{
	put_u16(bytes, (uint16_t)n);
	put_u16(bytes + 2, (uint16_t)(n >> 16));
}

static uint16_t get_u16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static uint32_t get_u32(const uint8_t *bytes)
{
	return get_u16(bytes) | (uint32_t)get_u16(bytes + 2) << 16;
}

void gm_frame_encode(const struct gm_frame *frame, uint8_t *bytes)
{
	put_u16(bytes + AT_MAGIC, GM_FRAME_MAGIC);
	bytes[AT_VERSION] = frame->version;
	bytes[AT_N_FDS] = frame->n_fds;
	put_u16(bytes + AT_TYPE, frame->type);
	put_u16(bytes + AT_FLAGS, frame->flags);
	put_u32(bytes + AT_SERIAL, frame->serial);
	put_u32(bytes + AT_BODY_LENGTH, frame->body_length);
}

enum gm_frame_fault gm_frame_decode(const uint8_t *bytes, size_t length, struct gm_frame *ret_frame)
{
	struct gm_frame frame;

	if (length < GM_FRAME_HEADER_SIZE)
		return GM_FRAME_SHORT;
	if (get_u16(bytes + AT_MAGIC) != GM_FRAME_MAGIC)
		return GM_FRAME_BAD_MAGIC;
	frame = (struct gm_frame){
		.version = bytes[AT_VERSION],
		.n_fds = bytes[AT_N_FDS],
		.type = get_u16(bytes + AT_TYPE),
		.flags = get_u16(bytes + AT_FLAGS),
		.serial = get_u32(bytes + AT_SERIAL),
		.body_length = get_u32(bytes + AT_BODY_LENGTH),
	};
	if (frame.version != GM_PROTOCOL_VERSION)
		return GM_FRAME_BAD_VERSION;
	if (frame.flags & ~GM_FRAME_FLAGS_KNOWN)
		return GM_FRAME_BAD_FLAGS;
	if (frame.n_fds > GM_FDSET_MAX)
		return GM_FRAME_BAD_FDS;
	if (frame.body_length > GM_BODY_MAX || frame.body_length != length - GM_FRAME_HEADER_SIZE)
		return GM_FRAME_BAD_LENGTH;
	*ret_frame = frame;
	return GM_FRAME_GOOD;
}

const char *gm_frame_fault_text(enum gm_frame_fault fault)
{
	switch (fault) {
	case GM_FRAME_GOOD:
		return "good frame";
	case GM_FRAME_SHORT:
		return "packet is shorter than a header";
	case GM_FRAME_BAD_MAGIC:
		return "bad magic";
	case GM_FRAME_BAD_VERSION:
		return "bad protocol version";
	case GM_FRAME_BAD_FLAGS:
		return "unknown flags";
	case GM_FRAME_BAD_FDS:
		return "fd count over the maximum";
	case GM_FRAME_BAD_LENGTH:
		return "body length is not that of the packet";
	}
	return "unknown frame fault";
}
