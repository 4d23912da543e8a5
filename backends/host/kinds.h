/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds, for the table that lists them. Everybody else finds a kind by its name.
 */
#ifndef GM_KINDS_H
#define GM_KINDS_H

#include "backend.h"

extern const struct gm_backend gm_memfd_backend;
extern const struct gm_backend gm_guest_memfd_backend;
extern const struct gm_backend gm_sw_protected_backend;
extern const struct gm_backend gm_sev_backend;
extern const struct gm_backend gm_sev_es_backend;
extern const struct gm_backend gm_snp_backend;
extern const struct gm_backend gm_tdx_backend;

#endif
