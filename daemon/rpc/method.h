/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of methods: who may call what, when, and within which bounds. The dispatcher checks a
 * packet against its row; only then is the handler called.
 */
#ifndef GM_METHOD_H
#define GM_METHOD_H

#include "gm_frame.h"
#include "model.h"

struct gm_call;

enum gm_method_flag {
	GM_METHOD_MUTATES = 1 << 0, /* changes the books */
	GM_METHOD_ASYNC = 1 << 1,   /* may answer later */
	GM_METHOD_SECRET = 1 << 2,  /* request or answer has a token: wiped after use */
	GM_METHOD_GRANT = 1 << 3,   /* hands memory out: how long it takes is measured */
};

/* Session states as bits. */
#define GM_METHOD_GREETING (1U << GM_SESSION_GREETING)
#define GM_METHOD_OPEN (1U << GM_SESSION_OPEN)

struct gm_method {
	const char *name;
	unsigned states; /* default: none */
	uint8_t since;	 /* first protocol version */
	bool tenant;	 /* may a tenant's session call it? */
	bool admin;	 /* and one of the admin socket? */
	uint32_t body_max;
	unsigned flags;
	/*
	 * Fills the answer, which is initialised. 0, a verdict with the call's refusal filled, or
	 * -errno; a call that is answered later returns 0 with `deferred` set.
	 */
	int (*fn)(struct gm_call *call);
};

/* NULL for a type that is not a request. */
const struct gm_method *gm_method_find(unsigned type);

int gm_handle_hello(struct gm_call *call);
int gm_handle_ping(struct gm_call *call);
int gm_handle_domain_create(struct gm_call *call);
int gm_handle_domain_attach(struct gm_call *call);
int gm_handle_domain_get(struct gm_call *call);
int gm_handle_domain_destroy(struct gm_call *call);
int gm_handle_region_create(struct gm_call *call);
int gm_handle_region_get(struct gm_call *call);
int gm_handle_region_destroy(struct gm_call *call);
int gm_handle_region_map(struct gm_call *call);
int gm_handle_allocate(struct gm_call *call);
int gm_handle_discard(struct gm_call *call);
int gm_handle_cancel(struct gm_call *call);
int gm_handle_list(struct gm_call *call);
int gm_handle_stats(struct gm_call *call);
int gm_handle_host(struct gm_call *call);
int gm_handle_evict(struct gm_call *call);
int gm_handle_watch(struct gm_call *call);
int gm_handle_policy(struct gm_call *call);
int gm_handle_memlock(struct gm_call *call);
int gm_handle_step_memory(struct gm_call *call);
int gm_handle_region_bind(struct gm_call *call);
int gm_handle_convert(struct gm_call *call);
int gm_handle_step_done(struct gm_call *call);
int gm_handle_launch_start(struct gm_call *call);
int gm_handle_source(struct gm_call *call);
int gm_handle_populate(struct gm_call *call);
int gm_handle_launch_finish(struct gm_call *call);
int gm_handle_launch_abort(struct gm_call *call);
int gm_handle_converted(struct gm_call *call);
int gm_handle_fd_box(struct gm_call *call);

#endif
