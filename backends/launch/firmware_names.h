/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the platforms' firmware calls its errors: for the VMM, which sees them, and for the daemon,
 * which is told.
 */
#ifndef GM_FIRMWARE_NAMES_H
#define GM_FIRMWARE_NAMES_H

#include <stdint.h>

/* "INVALID_PARAM" and so on; "unknown" for what is in no list. */
const char *gm_firmware_name_sev(uint32_t code);

/* @code: the upper half of the completion status. */
const char *gm_firmware_name_tdx(uint32_t code);

#endif
