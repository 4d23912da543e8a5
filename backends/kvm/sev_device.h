/* SPDX-License-Identifier: Apache-2.0 */
/* /dev/sev, through which the launches of SEV, SEV-ES and SEV-SNP go. */
#ifndef GM_SEV_DEVICE_H
#define GM_SEV_DEVICE_H

#include <stddef.h>

#include "gm_num.h"

/* As gm_launch_rules::open_device. */
GM_WARN_UNUSED int gm_sev_device_open(int *ret_fd, char *ret_reason, size_t reason_size);

#endif
