/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is inside the event loop, for the files of this folder only.
 */
#ifndef GM_LOOP_BASE_H
#define GM_LOOP_BASE_H

#include <event2/event.h>

#include "loop.h"

struct gm_event_loop {
	struct event_base *base;
	/*
	 * GM_PACKET_MAX bytes for the packet in hand. One is enough for all connections: a packet
	 * is dealt with before the next one is received. Pages are touched only by big packets.
	 */
	unsigned char *packet;
	uint64_t turn; /* its number: each serves what was ready when it began */
};

#endif
