/* SPDX-License-Identifier: Apache-2.0 */
#include "method.h"

#include <assert.h>

/* Room for a few ids, numbers and flags, with varints of any legal length. */
#define BODY_IDS 128
/* The same with names, which may be too long or ill-formed: that is refused, not cut off. */
#define BODY_NAMES 4096
/* A payload of GM_PING_MAX bytes, its tag and its length. */
#define BODY_PING (GM_PING_MAX + 3)
/* Two varints for each conversion, of any legal length. */
#define BODY_CONVERTED (BODY_IDS + 20 * GM_CONVERSIONS_MAX)

static const struct gm_method methods[GM_MSG_REQUEST_N_] = {
	[GM_MSG_HELLO] = {
		.name = "HELLO", .since = 1, .states = GM_METHOD_GREETING,
		.tenant = true, .admin = true, .body_max = BODY_NAMES,
		.flags = GM_METHOD_MUTATES | GM_METHOD_SECRET, .fn = gm_handle_hello,
	},
	[GM_MSG_PING] = {
		.name = "PING", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .admin = true, .body_max = BODY_PING,
		.fn = gm_handle_ping,
	},
	[GM_MSG_DOMAIN_CREATE] = {
		.name = "DOMAIN_CREATE", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = BODY_NAMES,
		.flags = GM_METHOD_MUTATES | GM_METHOD_SECRET, .fn = gm_handle_domain_create,
	},
	[GM_MSG_DOMAIN_ATTACH] = {
		.name = "DOMAIN_ATTACH", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = BODY_NAMES,
		.flags = GM_METHOD_MUTATES | GM_METHOD_SECRET, .fn = gm_handle_domain_attach,
	},
	[GM_MSG_DOMAIN_GET] = {
		.name = "DOMAIN_GET", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .admin = true, .body_max = BODY_IDS,
		.fn = gm_handle_domain_get,
	},
	[GM_MSG_DOMAIN_DESTROY] = {
		.name = "DOMAIN_DESTROY", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = BODY_NAMES,
		.flags = GM_METHOD_MUTATES | GM_METHOD_SECRET, .fn = gm_handle_domain_destroy,
	},
	[GM_MSG_REGION_CREATE] = {
		.name = "REGION_CREATE", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = BODY_NAMES,
		.flags = GM_METHOD_MUTATES | GM_METHOD_GRANT, .fn = gm_handle_region_create,
	},
	[GM_MSG_REGION_GET] = {
		.name = "REGION_GET", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .admin = true, .body_max = BODY_IDS,
		.fn = gm_handle_region_get,
	},
	[GM_MSG_REGION_DESTROY] = {
		.name = "REGION_DESTROY", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = BODY_IDS,
		.flags = GM_METHOD_MUTATES, .fn = gm_handle_region_destroy,
	},
	[GM_MSG_REGION_MAP] = {
		.name = "REGION_MAP", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .admin = true, .body_max = BODY_IDS,
		.fn = gm_handle_region_map,
	},
	[GM_MSG_ALLOCATE] = {
		.name = "ALLOCATE", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = GM_BODY_MAX,
		.flags = GM_METHOD_MUTATES | GM_METHOD_ASYNC, .fn = gm_handle_allocate,
	},
	[GM_MSG_DISCARD] = {
		.name = "DISCARD", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = GM_BODY_MAX,
		.flags = GM_METHOD_MUTATES | GM_METHOD_ASYNC, .fn = gm_handle_discard,
	},
	[GM_MSG_CANCEL] = {
		.name = "CANCEL", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = BODY_IDS,
		.flags = GM_METHOD_MUTATES, .fn = gm_handle_cancel,
	},
	[GM_MSG_LIST] = {
		.name = "LIST", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .admin = true, .body_max = BODY_NAMES,
		.fn = gm_handle_list,
	},
	[GM_MSG_STATS] = {
		.name = "STATS", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .admin = true, .body_max = BODY_NAMES,
		.fn = gm_handle_stats,
	},
	[GM_MSG_HOST] = {
		.name = "HOST", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .admin = true, .body_max = BODY_IDS,
		.fn = gm_handle_host,
	},
	[GM_MSG_EVICT] = {
		.name = "EVICT", .since = 1, .states = GM_METHOD_OPEN,
		.admin = true, .body_max = BODY_IDS,
		.flags = GM_METHOD_MUTATES, .fn = gm_handle_evict,
	},
	[GM_MSG_WATCH] = {
		.name = "WATCH", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .admin = true, .body_max = BODY_IDS,
		.fn = gm_handle_watch,
	},
	[GM_MSG_POLICY] = {
		.name = "POLICY", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .admin = true, .body_max = BODY_NAMES,
		.fn = gm_handle_policy,
	},
	[GM_MSG_MEMLOCK] = {
		.name = "MEMLOCK", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = BODY_IDS,
		.flags = GM_METHOD_MUTATES, .fn = gm_handle_memlock,
	},
	[GM_MSG_STEP_MEMORY] = {
		.name = "STEP_MEMORY", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = BODY_IDS,
		.flags = GM_METHOD_MUTATES | GM_METHOD_ASYNC, .fn = gm_handle_step_memory,
	},
	[GM_MSG_REGION_BIND] = {
		.name = "REGION_BIND", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = BODY_IDS,
		.flags = GM_METHOD_MUTATES, .fn = gm_handle_region_bind,
	},
	[GM_MSG_CONVERT] = {
		.name = "CONVERT", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = GM_BODY_MAX,
		.flags = GM_METHOD_MUTATES | GM_METHOD_ASYNC, .fn = gm_handle_convert,
	},
	[GM_MSG_STEP_DONE] = {
		.name = "STEP_DONE", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = GM_BODY_MAX,
		.flags = GM_METHOD_MUTATES | GM_METHOD_ASYNC, .fn = gm_handle_step_done,
	},
	[GM_MSG_LAUNCH_START] = {
		.name = "LAUNCH_START", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = GM_BODY_MAX,
		.flags = GM_METHOD_MUTATES, .fn = gm_handle_launch_start,
	},
	[GM_MSG_SOURCE] = {
		.name = "SOURCE", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = BODY_IDS,
		.flags = GM_METHOD_MUTATES | GM_METHOD_ASYNC, .fn = gm_handle_source,
	},
	[GM_MSG_POPULATE] = {
		.name = "POPULATE", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = BODY_IDS,
		.flags = GM_METHOD_MUTATES | GM_METHOD_ASYNC, .fn = gm_handle_populate,
	},
	[GM_MSG_LAUNCH_FINISH] = {
		.name = "LAUNCH_FINISH", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = GM_BODY_MAX,
		.flags = GM_METHOD_MUTATES | GM_METHOD_ASYNC, .fn = gm_handle_launch_finish,
	},
	[GM_MSG_LAUNCH_ABORT] = {
		.name = "LAUNCH_ABORT", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = BODY_IDS,
		.flags = GM_METHOD_MUTATES, .fn = gm_handle_launch_abort,
	},
	[GM_MSG_CONVERTED] = {
		.name = "CONVERTED", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = BODY_CONVERTED,
		.flags = GM_METHOD_MUTATES | GM_METHOD_ASYNC, .fn = gm_handle_converted,
	},
	[GM_MSG_FD_BOX] = {
		.name = "FD_BOX", .since = 1, .states = GM_METHOD_OPEN,
		.tenant = true, .body_max = BODY_IDS,
		.flags = GM_METHOD_ASYNC, .fn = gm_handle_fd_box,
	},
};

/* Types are dense from HELLO on, so a new one fails here until it has its row (and its golden). */
_Static_assert(GM_MSG_HELLO == 1 && GM_MSG_REQUEST_N_ == 32,
	       "every request has a row in the table");

const struct gm_method *gm_method_find(unsigned type)
{
	if (type == 0 || type >= GM_MSG_REQUEST_N_)
		return NULL;
	assert(methods[type].fn != NULL);
	return &methods[type];
}
