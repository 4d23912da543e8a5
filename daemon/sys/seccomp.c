/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_seccomp.h"

#include <errno.h>
#include <unistd.h>

#include "gm_cleanup.h"
#include "seccomp_rules.h"

#define LISTS_MAX 4

static const struct gm_seccomp_list *const profiles[GM_SECCOMP_PROFILE_N_][LISTS_MAX] = {
	[GM_SECCOMP_DAEMON] = { &gm_seccomp_common, &gm_seccomp_own_abort, &gm_seccomp_daemon },
	[GM_SECCOMP_SPAWNER] = { &gm_seccomp_common, &gm_seccomp_worker, &gm_seccomp_spawner },
	[GM_SECCOMP_CLOSER] = { &gm_seccomp_own_abort, &gm_seccomp_closer },
	[GM_SECCOMP_WORKER] = { &gm_seccomp_common, &gm_seccomp_own_abort, &gm_seccomp_worker },
};

static void release(scmp_filter_ctx *filter)
{
	if (*filter)
		seccomp_release(*filter);
}

static int add_rule(scmp_filter_ctx filter, const struct gm_seccomp_rule *rule)
{
	uint32_t action = rule->answer ? SCMP_ACT_ERRNO((uint32_t)rule->answer) : SCMP_ACT_ALLOW;
	struct scmp_arg_cmp own_pid = { .op = SCMP_CMP_EQ, .datum_a = (uint64_t)getpid() };
	int number = seccomp_syscall_resolve_name(rule->name);
	int r;

	if (number == __NR_SCMP_ERROR && rule->number)
		number = rule->number;
	/* A younger call than this libseccomp: the kernel or glibc here has no use for it. */
	if (number == __NR_SCMP_ERROR)
		return 0;
	if (rule->own_pid)
		r = seccomp_rule_add_array(filter, action, number, 1, &own_pid);
	else
		r = seccomp_rule_add_array(filter, action, number, rule->n_args, rule->args);
	/* A call that this architecture has not got. */
	return r == -EDOM ? 0 : r;
}

static int add_list(scmp_filter_ctx filter, const struct gm_seccomp_list *list)
{
	int r;

	for (size_t i = 0; i < list->n_rules; i++) {
		r = add_rule(filter, &list->rules[i]);
		if (r)
			return r;
	}
	return 0;
}

static int set_attributes(scmp_filter_ctx filter)
{
	static const struct {
		enum scmp_filter_attr attribute;
		uint32_t value;
	} attributes[] = {
		{ SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS },
		/* Set by the sandbox already. */
		{ SCMP_FLTATR_CTL_NNP, 0 },
		/* A binary tree: what is not in the kernel's bitmap is found in few steps. */
		{ SCMP_FLTATR_CTL_OPTIMIZE, 2 },
		/* Errors of the kernel as they are. */
		{ SCMP_FLTATR_API_SYSRAWRC, 1 },
	};
	int r;

	for (size_t i = 0; i < GM_ARRAY_SIZE(attributes); i++) {
		r = seccomp_attr_set(filter, attributes[i].attribute, attributes[i].value);
		if (r)
			return r;
	}
	return 0;
}

int gm_seccomp_load(enum gm_seccomp_profile profile, bool log_only)
{
	_gm_cleanup_(release) scmp_filter_ctx filter =
		seccomp_init(log_only ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS);
	int r;

	if (!filter)
		return -ENOMEM;
	r = set_attributes(filter);
	for (size_t i = 0; r == 0 && i < LISTS_MAX && profiles[profile][i]; i++)
		r = add_list(filter, profiles[profile][i]);
	return r ? r : seccomp_load(filter);
}
