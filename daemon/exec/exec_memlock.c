/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RLIMIT_MEMLOCK of clients.
 *
 * prlimit(2) takes a pid, and a pid may be another process's by the time it is used. So the pidfd
 * of the session is looked at before the call and after it: while it shows a living process the pid
 * is that process's. One that ends in between gets its old limits back, whoever it was.
 *
 * The order is: book it, record it, raise the limit, tell; and for the end: lower the limit, take
 * it off the books, record that. Killed in between, gmemd finds a grant on record and a limit that
 * is too low or just right: never one that nobody lowers.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>

#include "exec_memlock.h"

_Static_assert(RLIM_INFINITY == GM_UNLIMITED, "no limit is the same number");

int gm_exec_prlimit_memlock(pid_t pid, const struct gm_limits *want, struct gm_limits *ret_was)
{
	struct rlimit new_limit, old_limit;

	if (want != NULL)
		new_limit = (struct rlimit){ .rlim_cur = want->soft, .rlim_max = want->hard };
	if (prlimit(pid, RLIMIT_MEMLOCK, want != NULL ? &new_limit : NULL, &old_limit) < 0)
		return -errno;
	*ret_was = (struct gm_limits){ .soft = old_limit.rlim_cur, .hard = old_limit.rlim_max };
	return 0;
}

static bool is_alive(const struct gm_exec *exec, const struct gm_session *session)
{
	struct pollfd polled = { .fd = -1, .events = POLLIN };

	if (exec->session_pidfd != NULL)
		polled.fd = exec->session_pidfd(exec->session_pidfd_arg, session);
	return session->peer.pid > 0 && polled.fd >= 0 && poll(&polled, 1, 0) == 0;
}

/* Reads the limits, and sets them where @want is not NULL. 0, -ESRCH, or why not. */
static int use_limits(const struct gm_exec *exec, const struct gm_session *session,
		      const struct gm_limits *want, struct gm_limits *ret_was)
{
	struct gm_limits was, ignored;
	int r;

	if (!is_alive(exec, session))
		return -ESRCH;
	r = exec->memlock(session->peer.pid, want, &was);
	if (r < 0)
		return r;
	if (!is_alive(exec, session)) {
		if (want != NULL)
			(void)exec->memlock(session->peer.pid, &was, &ignored);
		return -ESRCH;
	}
	*ret_was = was;
	return 0;
}

/* A process may have lowered its limits itself: to take back is never to give. */
static int lower(const struct gm_exec *exec, const struct gm_session *session,
		 const struct gm_limits *to)
{
	struct gm_limits want, was;
	int r;

	r = use_limits(exec, session, NULL, &was);
	if (r < 0)
		return r;
	want.soft = gm_min_u64(was.soft, to->soft);
	want.hard = gm_min_u64(was.hard, to->hard);
	if (want.soft == was.soft && want.hard == was.hard)
		return 0;
	return use_limits(exec, session, &want, &was);
}

static int refuse(const struct gm_session *session, int error, struct gm_refusal *refusal)
{
	const char *why = "it has ended, or this kernel cannot tell";

	if (error == -EPERM)
		why = "gmemd needs CAP_SYS_RESOURCE for that";
	else if (error != -ESRCH)
		return error;
	gm_refuse_text(refusal, GM_UNSUPPORTED, GM_RULE_RLIMIT, session->tenant->account.name,
		       "the limit of locked memory of process %d cannot be changed: %s",
		       (int)session->peer.pid, why);
	refusal->sys_errno = (uint32_t)-error;
	return GM_UNSUPPORTED;
}

/* What the process had before anything was granted to it. */
static int find_base(const struct gm_exec *exec, const struct gm_session *session,
		     struct gm_limits *ret_base)
{
	struct gm_memlock sum = gm_book_memlock_of(exec->book, session->peer.pid);

	if (!sum.has_base)
		return use_limits(exec, session, NULL, ret_base);
	*ret_base = sum.base;
	return 0;
}

static int carry_out(struct gm_exec *exec, struct gm_domain *domain, uint64_t before,
		     const struct gm_limits *base, struct gm_limits *ret_now)
{
	struct gm_memlock sum = gm_book_memlock_of(exec->book, domain->session->peer.pid);
	struct gm_limits want, was;
	int r;

	sum.base = *base;
	want = gm_memlock_limits(&sum);
	if (domain->memlock.amount < before)
		r = lower(exec, domain->session, &want);
	else
		r = use_limits(exec, domain->session, &want, &was);
	if (r == 0)
		*ret_now = want;
	return r;
}

int gm_exec_set_memlock(struct gm_exec *exec, struct gm_domain *domain, uint64_t bytes,
			struct gm_limits *ret_now, struct gm_refusal *refusal)
{
	const uint64_t before = domain->memlock.amount;
	struct gm_limits base;
	int r;

	r = find_base(exec, domain->session, &base);
	if (r < 0)
		return refuse(domain->session, r, refusal);
	r = gm_book_set_memlock(domain, bytes, &base, refusal);
	if (r != 0)
		return r;
	/* From here on the next daemon knows what there may be to lower. */
	if (exec->keep_ops != NULL)
		exec->keep_ops->begin(exec->keep_arg);
	r = carry_out(exec, domain, before, &base, ret_now);
	if (r == 0)
		return 0;
	gm_book_force_memlock(domain, before, &base);
	return refuse(domain->session, r, refusal);
}

void gm_exec_end_memlock(struct gm_exec *exec, struct gm_domain *domain)
{
	const struct gm_session *session = domain->session;
	struct gm_memlock sum;
	struct gm_limits want;

	if (domain->memlock.amount == 0)
		return;
	sum = gm_book_memlock_of(exec->book, session->peer.pid);
	sum.granted -= domain->memlock.amount;
	want = gm_memlock_limits(&sum);
	/* With a record, a daemon that stops leaves its grants to the next one. */
	if (!exec->leaves_limits)
		(void)lower(exec, session, &want);
	gm_book_drop_memlock(domain);
}

void gm_exec_end_session_memlock(struct gm_exec *exec, struct gm_session *session)
{
	struct gm_domain *domain;

	TAILQ_FOREACH(domain, &session->domains, session_link)
		gm_exec_end_memlock(exec, domain);
}

void gm_exec_restore_memlock(struct gm_exec *exec)
{
	const struct gm_domain *domain = NULL;

	while ((domain = gm_book_next_domain(exec->book, domain)) != NULL) {
		struct gm_memlock sum;
		struct gm_limits want, was;

		if (domain->memlock.amount == 0)
			continue;
		sum = gm_book_memlock_of(exec->book, domain->session->peer.pid);
		want = gm_memlock_limits(&sum);
		/* More than one domain of a process: the same once more. */
		(void)use_limits(exec, domain->session, &want, &was);
	}
}
