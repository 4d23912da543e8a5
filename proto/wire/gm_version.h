/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers that both ends of the socket agree on. PROTOCOL.md explains each.
 */
#ifndef GM_VERSION_H
#define GM_VERSION_H

#define GM_PROTOCOL_VERSION 1

#define GM_FRAME_MAGIC 0x6d67 /* "gm" in memory */
#define GM_FRAME_HEADER_SIZE 16
#define GM_BODY_MAX 65536
#define GM_PACKET_MAX (GM_FRAME_HEADER_SIZE + GM_BODY_MAX)

/* Elements of any repeated field of a request, unless its comment in gmem.proto says less. */
#define GM_RANGES_MAX 1024
#define GM_NUMA_NODES_MAX 64
#define GM_DEVICES_MAX 4
#define GM_NAME_MAX 64
#define GM_CLIENT_NAME_MAX 64
#define GM_PING_MAX 256
#define GM_RUNS_MAX 2048
#define GM_REQUESTS_MAX 256
#define GM_CONVERSIONS_MAX 128

/* HELLO must arrive within this time of the connection. */
#define GM_HELLO_TIMEOUT_MS 5000

#endif
