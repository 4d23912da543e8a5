/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_arena.h"
#include "gm_cleanup.h"
#include "gm_msg.h"
#include "gmem.h"
#include "info.h"

/* A HOST answer has a handful of backends and pools. */
#define GM_PROBE_ARENA_SIZE ((size_t)256 * 1024)

int gmem_parse_probe(const void *bytes, size_t length, struct gmem_host_info *ret_info)
{
	_gm_cleanup_(gm_arena_done) struct gm_arena arena = { 0 };
	ProtobufCMessage *message;

	if (gm_arena_init(&arena, GM_PROBE_ARENA_SIZE) < 0)
		return -GMEM_SYSTEM;
	if (gm_msg_unpack_answer(&gmem__host_reply__descriptor, bytes, length, &arena, &message) !=
	    GM_MSG_GOOD)
		return -GMEM_PROTOCOL;
	gm_info_host((const Gmem__HostReply *)message, ret_info);
	return 0;
}
