/* SPDX-License-Identifier: Apache-2.0 */
/* Alone in its file, so that a program may bring a table of its own. */
#include "kinds.h"

const struct gm_backend *const gm_backends[] = {
	&gm_memfd_backend,  &gm_guest_memfd_backend, &gm_sw_protected_backend, &gm_sev_backend,
	&gm_sev_es_backend, &gm_snp_backend,	     &gm_tdx_backend,	       NULL,
};
