/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joins the transport to the service: a connection's user is a link, a link's channel is a
 * connection.
 */
#ifndef GM_BRIDGE_H
#define GM_BRIDGE_H

#include "listener.h"

/* For gm_listener_new; arg is a struct gm_door. */
extern const struct gm_listener_ops gm_bridge_ops;

#endif
