/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The allow lists as data. A call with several rows is allowed when one of them fits.
 */
#ifndef GM_SECCOMP_RULES_H
#define GM_SECCOMP_RULES_H

#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>

#define GM_SECCOMP_ARGS_MAX 2

struct gm_seccomp_rule {
	const char *name;
	const char *reason;
	int number;   /* for a call younger than libseccomp: the same on every architecture */
	int answer;   /* 0: allowed; else the call fails with this errno and does nothing */
	bool own_pid; /* the first argument is this very process */
	unsigned n_args;
	struct scmp_arg_cmp args[GM_SECCOMP_ARGS_MAX];
};

struct gm_seccomp_list {
	const struct gm_seccomp_rule *rules;
	size_t n_rules;
};

extern const struct gm_seccomp_list gm_seccomp_common;	  /* every process */
extern const struct gm_seccomp_list gm_seccomp_own_abort; /* not the spawner */
extern const struct gm_seccomp_list gm_seccomp_daemon;
extern const struct gm_seccomp_list gm_seccomp_worker; /* the spawner too: filters add up */
extern const struct gm_seccomp_list gm_seccomp_spawner;
extern const struct gm_seccomp_list gm_seccomp_closer; /* one thread of the daemon */

#endif
