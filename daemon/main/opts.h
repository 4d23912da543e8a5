/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line, checked and taken apart. Strings are those of argv.
 */
#ifndef GM_OPTS_H
#define GM_OPTS_H

#include <sys/types.h>

#include "cgroup.h"
#include "gm_num.h"
#include "gm_version.h"
#include "sandbox.h"

#define GM_OPTS_LISTENS_MAX 256
#define GM_OPTS_POLICIES_MAX 256

enum gm_opts_action {
	GM_OPTS_SERVE,
	GM_OPTS_PROBE,
	GM_OPTS_CHECK_POLICY,
	GM_OPTS_HELP,
	GM_OPTS_VERSION,
};

/* NAME=PATH; name "" where there was none. */
struct gm_opts_pair {
	char name[GM_NAME_MAX + 1];
	const char *path;
};

struct gm_opts {
	enum gm_opts_action action;
	unsigned n_listens;
	struct gm_opts_pair listens[GM_OPTS_LISTENS_MAX];
	unsigned n_policies;
	struct gm_opts_pair policies[GM_OPTS_POLICIES_MAX]; /* name "": for every tenant */
	const char *admin_path;				    /* NULL: none */
	const char *check_path;				    /* of GM_OPTS_CHECK_POLICY */
	const char *unit_root;				    /* NULL: the host's own units */
	const char *cgroup_root;			    /* NULL: wherever they are mounted */
	mode_t socket_mode;
	int log_level;
	enum gm_sandbox_mode sandbox;
	uint32_t workers;
	enum gm_charge_mode charge;
	bool keep;
	bool fd_store;		 /* the service manager keeps fds: nothing is lost */
	uint32_t watchdog_ms;	 /* of keep; 0: none */
	uint32_t restart_max_ms; /* of keep */
};

/* 0; or -EINVAL, and *ret_fault is one line that says what is wrong. */
#define GM_OPTS_FAULT_MAX 256
GM_WARN_UNUSED int gm_opts_parse(int argc, char **argv, struct gm_opts *ret_opts,
				 char ret_fault[GM_OPTS_FAULT_MAX]);

/*
 * @argv, which gm_opts_parse has found good, without what is for the keeper: for the daemon that it
 * starts. @ret_argv has room for as many words and the NULL.
 */
void gm_opts_for_kept(int argc, char **argv, char **ret_argv);

/* What --help prints. */
extern const char gm_opts_help[];

#endif
