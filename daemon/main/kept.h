/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gmemd --keep: makes the listening sockets, and keeps a gmemd that serves them alive.
 */
#ifndef GM_KEPT_H
#define GM_KEPT_H

#include "exit_status.h"
#include "opts.h"

/* @argv: as @opts were parsed from. Ends when the daemon has ended for good, with its status. */
enum gm_exit gm_kept_serve(int argc, char **argv, const struct gm_opts *opts);

#endif
