/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Privileges, dropped in stages. Each stage is a function with what it should and must not do;
 * each is called once, in this order.
 */
#ifndef GM_SANDBOX_H
#define GM_SANDBOX_H

#include "gm_num.h"

enum gm_sandbox_mode {
	GM_SANDBOX_ENFORCE, /* default: a call outside the list kills the process */
	GM_SANDBOX_LOG,	    /* development: it is logged by the kernel and allowed */
	GM_SANDBOX_OFF,	    /* only for sanitizer builds and strace */
};

/*
 * First thing in main. Should: clear ambient capabilities, set umask 077, close every fd above 2
 * but the LISTEN_FDS ones, make fds 0-2 exist, raise RLIMIT_NOFILE to its hard limit.
 * Must not: need any privilege.
 */
GM_WARN_UNUSED int gm_sandbox_early(void);

/*
 * Once devices and sockets are open and the spawner runs. Should: drop every capability but those
 * with a named reason, clear the bounding set, set no_new_privs and non-dumpable, load the
 * daemon's filter. Must not: be undone.
 */
GM_WARN_UNUSED int gm_sandbox_daemon(enum gm_sandbox_mode mode);

/*
 * Should: do the same for the spawner, whose filter lets it fork, put each worker into control
 * groups and give it a filter of its own.
 * Must not: leave anything that a worker does not need to become one.
 */
GM_WARN_UNUSED int gm_sandbox_spawner(enum gm_sandbox_mode mode);

/*
 * In a process that a confined spawner has forked, from which it has everything but the filter.
 * Should: drop the capability that the spawner keeps, leave it threads, its channel and the memory
 * of the job. Must not: need any file.
 */
GM_WARN_UNUSED int gm_sandbox_worker(enum gm_sandbox_mode mode);

/*
 * In a thread that the daemon has started before it confines itself.
 * Should: give up every capability, of this thread alone, and leave it the closing of fds.
 * Must not: allocate afterwards.
 */
GM_WARN_UNUSED int gm_sandbox_closer(enum gm_sandbox_mode mode);

#endif
