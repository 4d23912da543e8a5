/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the log says about peers and their requests, and how often.
 *
 * Whatever a peer can cause without end is rate-limited per tenant and kind of news, so that one
 * tenant can neither fill the disk nor hide what another one does; how many lines were held back
 * is said. Needs gm_report_open first; one per process.
 */
#ifndef GM_REPORT_H
#define GM_REPORT_H

#include "service.h"
#include "tenants.h"

/* Both are borrowed until gm_report_close. */
void gm_report_open(struct gm_tenants *tenants, struct gm_loop_ref loop);
void gm_report_close(void);

/* For struct gm_service_env. */
void gm_report_news(const struct gm_news *news);

/* Called now and then: says what has been held back where no further line came to say it. */
void gm_report_held_back(void);

void gm_report_shortage(struct gm_party *party, int error);

#endif
