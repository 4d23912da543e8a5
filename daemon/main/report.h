/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the log says about peers and their requests, and how often.
 *
 * Whatever a peer can cause without end is rate-limited per party, so that one tenant can neither
 * fill the disk nor hide what another one does. Needs gm_report_open first; one per process.
 */
#ifndef GM_REPORT_H
#define GM_REPORT_H

#include "service.h"
#include "tenants.h"

/* Both are borrowed until gm_report_close. */
void gm_report_open(struct gm_tenants *tenants, struct gm_loop_ref loop);
void gm_report_close(void);

/* For struct gm_service_env. */
void gm_report_refusal(const struct gm_session *session, const char *verb, int verdict,
		       const struct gm_refusal *refusal);
void gm_report_failure(const struct gm_session *session, const char *verb, int error);
void gm_report_event(const struct gm_session *session, const struct gm_domain *domain,
		     const char *what);

/* A peer was cut off. */
void gm_report_violation(struct gm_party *party, const struct gm_conn_peer *peer,
			 const char *fault);
/* A peer was not let in: verdict or -errno. */
void gm_report_turned_away(struct gm_party *party, const struct gm_conn_peer *peer, int result);
void gm_report_shortage(struct gm_party *party, int error);

#endif
