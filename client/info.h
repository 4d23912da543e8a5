/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From messages to the structs of gmem.h. Text is cut to its room and made printable.
 */
#ifndef GM_INFO_H
#define GM_INFO_H

#include "gmem.h"
#include "gmem.pb-c.h"

void gm_info_domain(const Gmem__DomainInfo *from, struct gmem_domain_info *to);
void gm_info_region(const Gmem__RegionInfo *from, struct gmem_region_info *to);
void gm_info_session(const Gmem__SessionInfo *from, struct gmem_session_info *to);
void gm_info_account(const Gmem__UsageInfo *from, struct gmem_account_info *to);
void gm_info_metrics(const Gmem__StatsReply *reply, const Gmem__UsageInfo *from,
		     struct gmem_metrics *to);
void gm_info_news(const Gmem__NewsEvent *from, struct gmem_news *to);
void gm_info_host(const Gmem__HostReply *from, struct gmem_host_info *to);

#endif
