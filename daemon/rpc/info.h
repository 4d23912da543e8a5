/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of the books as messages. What is filled in borrows names from the objects: pack it
 * before they change.
 */
#ifndef GM_INFO_H
#define GM_INFO_H

#include "call.h"

void gm_info_domain(struct gm_call *call, const struct gm_domain *domain, Gmem__DomainInfo *info);

/* Who pays for an attached domain, where that is known. 0 or -ENOMEM. */
GM_WARN_UNUSED int gm_info_observed(struct gm_call *call, const struct gm_domain *domain,
				    Gmem__DomainInfo *info);
/* The digest of its launch so far, or why it is not known. 0 or -ENOMEM. */
GM_WARN_UNUSED int gm_info_launch(struct gm_call *call, const struct gm_domain *domain,
				  Gmem__DomainInfo *info);
/* The sum over a tenant's control groups, where that is known. 0 or -ENOMEM. */
GM_WARN_UNUSED int gm_info_tenant_observed(struct gm_call *call, const struct gm_tenant *tenant,
					   Gmem__UsageInfo *info);

/* These allocate what repeats in the call's arena: 0 or -ENOMEM. */
GM_WARN_UNUSED int gm_info_region(struct gm_call *call, const struct gm_region *region,
				  Gmem__RegionInfo *info);
GM_WARN_UNUSED int gm_info_tenant(struct gm_call *call, const struct gm_tenant *tenant,
				  Gmem__UsageInfo *info);
/* The host's account; its counters are the sums over all tenants and the admin sessions. */
GM_WARN_UNUSED int gm_info_host(struct gm_call *call, Gmem__UsageInfo *info);

/* The counts and histograms of a tenant, or of all and the host when @tenant is NULL. */
GM_WARN_UNUSED int gm_info_counters(struct gm_call *call, const struct gm_tenant *tenant,
				    Gmem__UsageInfo *info);

void gm_info_session(struct gm_call *call, const struct gm_link *link, Gmem__SessionInfo *info);

#endif
