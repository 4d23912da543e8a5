/* SPDX-License-Identifier: Apache-2.0 */
/* GUIDs as firmware has them in memory: the first three parts are little-endian. */
#ifndef GM_GUID_H
#define GM_GUID_H

#include <stdint.h>

#define GM_GUID_SIZE 16
#define GM_GUID(a, b, c, ...)                                                                  \
	{                                                                                      \
		(uint8_t)(a), (uint8_t)((a) >> 8), (uint8_t)((a) >> 16), (uint8_t)((a) >> 24), \
			(uint8_t)(b), (uint8_t)((b) >> 8), (uint8_t)(c), (uint8_t)((c) >> 8),  \
			__VA_ARGS__                                                            \
	}

#endif
