/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 16-byte header of every packet. Pure: bytes in, struct out.
 *
 *   offset size field        (all little-endian)
 *        0    2 magic        0x6d67
 *        2    1 version      protocol version of the sender's message, 1
 *        3    1 fd count     fds in the same packet
 *        4    2 type         enum gm_msg_type
 *        6    2 flags        enum gm_frame_flag
 *        8    4 serial       request: chosen by the client, not 0; answer: the request's; event: 0
 *       12    4 body length  bytes after the header; must be exactly what follows
 */
#ifndef GM_FRAME_H
#define GM_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "gm_num.h"
#include "gm_version.h"

enum gm_msg_type {
	GM_MSG_HELLO = 1,
	GM_MSG_PING = 2,
	GM_MSG_DOMAIN_CREATE = 3,
	GM_MSG_DOMAIN_ATTACH = 4,
	GM_MSG_DOMAIN_GET = 5,
	GM_MSG_DOMAIN_DESTROY = 6,
	GM_MSG_REGION_CREATE = 7,
	GM_MSG_REGION_GET = 8,
	GM_MSG_REGION_DESTROY = 9,
	GM_MSG_REGION_MAP = 10,
	GM_MSG_ALLOCATE = 11,
	GM_MSG_DISCARD = 12,
	GM_MSG_CANCEL = 13,
	GM_MSG_LIST = 14,
	GM_MSG_STATS = 15,
	GM_MSG_HOST = 16,
	GM_MSG_EVICT = 17,
	GM_MSG_WATCH = 18,
	GM_MSG_POLICY = 19,
	GM_MSG_MEMLOCK = 20,
	GM_MSG_STEP_MEMORY = 21,
	GM_MSG_REGION_BIND = 22,
	GM_MSG_CONVERT = 23,
	GM_MSG_STEP_DONE = 24,
	GM_MSG_LAUNCH_START = 25,
	GM_MSG_SOURCE = 26,
	GM_MSG_POPULATE = 27,
	GM_MSG_LAUNCH_FINISH = 28,
	GM_MSG_LAUNCH_ABORT = 29,
	GM_MSG_CONVERTED = 30,
	GM_MSG_FD_BOX = 31,
	GM_MSG_REQUEST_N_,

	GM_EVENT_PROGRESS = 64,
	GM_EVENT_DOMAIN_GONE = 65,
	GM_EVENT_SHUTDOWN = 66,
	GM_EVENT_NEWS = 67,
};

enum gm_frame_flag {
	GM_FRAME_ANSWER = 1 << 0,  /* from daemon to client, serial is the request's */
	GM_FRAME_REFUSED = 1 << 1, /* with ANSWER: the body is a Status */
	GM_FRAME_EVENT = 1 << 2,   /* from daemon to client, serial 0 */
};

#define GM_FRAME_FLAGS_KNOWN (GM_FRAME_ANSWER | GM_FRAME_REFUSED | GM_FRAME_EVENT)

struct gm_frame {
	uint8_t version;
	uint8_t n_fds;
	uint16_t type;
	uint16_t flags;
	uint32_t serial;
	uint32_t body_length;
};

enum gm_frame_fault {
	GM_FRAME_GOOD = 0,
	GM_FRAME_SHORT, /* fewer bytes than a header */
	GM_FRAME_BAD_MAGIC,
	GM_FRAME_BAD_VERSION,
	GM_FRAME_BAD_FLAGS,  /* unknown flag bits */
	GM_FRAME_BAD_FDS,    /* fd count over GM_FDSET_MAX */
	GM_FRAME_BAD_LENGTH, /* body over GM_BODY_MAX, or not what the packet holds */
};

/* Writes exactly GM_FRAME_HEADER_SIZE bytes. */
void gm_frame_encode(const struct gm_frame *frame, uint8_t *bytes);

/* @length: bytes of the whole packet. Sets *ret_frame only when GM_FRAME_GOOD. */
GM_WARN_UNUSED enum gm_frame_fault gm_frame_decode(const uint8_t *bytes, size_t length,
						   struct gm_frame *ret_frame);

/* For the log line; never NULL. */
const char *gm_frame_fault_text(enum gm_frame_fault fault);

#endif
