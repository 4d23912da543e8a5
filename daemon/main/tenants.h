/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom this daemon serves, under which policy, and at which sockets.
 */
#ifndef GM_TENANTS_H
#define GM_TENANTS_H

#include "book.h"
#include "closer.h"
#include "listener.h"
#include "log.h"
#include "opts.h"
#include "policy_file.h"
#include "service_manager.h"

#define GM_PARTIES_MAX 257 /* 256 tenants and the operator */
#define GM_DOORS_MAX GM_INHERITED_MAX

/* Longest sentence about what is wrong with the sockets or the policies. */
#define GM_TENANTS_FAULT_MAX 700

struct gm_service;

/* A tenant, or the operator. */
struct gm_party {
	char name[GM_NAME_SIZE];
	bool is_operator;
	bool has_unit;		      /* gmemd@NAME.socket is its own */
	struct gm_policy_view view;   /* as last read; not the operator's */
	struct gm_tenant *tenant;     /* in the books; NULL for the operator */
	struct gm_counters *counters; /* in the books */
	struct gm_closer_account fds; /* that its peers have passed */
	uint32_t n_stuck;	      /* worker processes that do not end, as last seen */
	/* Lines in the log, by kind: what a tenant can cause without end drowns nothing else. */
	struct gm_log_limit lines[GM_NEWS_N_];
};

/* A listening socket. */
struct gm_door {
	struct gm_party *party;
	const char *path; /* made by us, and ours to unlink; NULL: inherited */
	int fd;		  /* -1: not open, or given to @listener */
	bool made;	  /* the file at @path is there */
	struct gm_listener *listener;
	struct gm_service *service;
};

struct gm_tenants {
	const struct gm_opts *opts;
	bool host_has_unit;	    /* gmemd.service is this daemon's */
	struct gm_policy_view host; /* as last read */
	unsigned n_parties;
	struct gm_party parties[GM_PARTIES_MAX];
	unsigned n_doors;
	struct gm_door doors[GM_DOORS_MAX];
};

/*
 * Who comes to which socket, from the options and the inherited sockets, which are taken on
 * success. An inherited socket that is bound to the path of an option is that option's; its file
 * is unlinked by whoever made it. 0; -EADDRNOTAVAIL when there is no socket at all; -EINVAL.
 * @ret_fault: one line.
 */
GM_WARN_UNUSED int gm_tenants_collect(struct gm_tenants *tenants, const struct gm_opts *opts,
				      const struct gm_inherited *inherited, size_t n_inherited,
				      char ret_fault[GM_TENANTS_FAULT_MAX]);

/* Enters the tenants into the books, or applies what was read again. 0 or -errno. */
GM_WARN_UNUSED int gm_tenants_enter(struct gm_tenants *tenants, struct gm_book *book);

/* Makes the sockets that were not inherited. 0, or -errno and @ret_fault. */
GM_WARN_UNUSED int gm_tenants_open(struct gm_tenants *tenants,
				   char ret_fault[GM_TENANTS_FAULT_MAX]);

/* Accepts connections. @ops get the struct gm_door as their arg. 0 or -errno. */
GM_WARN_UNUSED int gm_tenants_serve(struct gm_tenants *tenants, struct gm_event_loop *loop,
				    const struct gm_listener_ops *ops, struct gm_service *service);

void gm_tenants_pause(struct gm_tenants *tenants);

/* Ends all connections, closes all sockets, unlinks those made here, forgets the policies.
 * Idempotent. */
void gm_tenants_close(struct gm_tenants *tenants);

/* How many tenants, the operator not counted. */
unsigned gm_tenants_count(const struct gm_tenants *tenants);

/* The party of a session; NULL @tenant: the operator. May be NULL. */
struct gm_party *gm_tenants_find(struct gm_tenants *tenants, const struct gm_tenant *tenant);

#endif
