/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls that each process or thread may make, as an allow list. A call that is not on it
 * kills the process: there is no honest way to make one.
 */
#ifndef GM_SECCOMP_H
#define GM_SECCOMP_H

#include "gm_num.h"

enum gm_seccomp_profile {
	GM_SECCOMP_DAEMON,
	GM_SECCOMP_SPAWNER,
	GM_SECCOMP_WORKER,
	GM_SECCOMP_CLOSER,
	GM_SECCOMP_PROFILE_N_
};

/* Needs no_new_privs. @log_only: what is not on the list is logged by the kernel and allowed. */
GM_WARN_UNUSED int gm_seccomp_load(enum gm_seccomp_profile profile, bool log_only);

#endif
