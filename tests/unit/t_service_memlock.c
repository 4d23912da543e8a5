/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locked memory: whose limit is raised when, by how much, and that it is lowered again, whatever
 * happens to the domain, the session or the daemon.
 */
#include <errno.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call.h"
#include "gm_fd.h"
#include "resume_case.h"

#define SOFT (8 * GM_MIB)
#define HARD (16 * GM_MIB)

/* The one process that there is, and what it may lock. */
static struct gm_limits limits;
static int limit_error;
static unsigned n_changes;
static void (*on_change)(void);

static int fake_memlock(pid_t pid, const struct gm_limits *want, struct gm_limits *ret_was)
{
	assert_int_equal(pid, getpid());
	if (limit_error != 0 && want != NULL)
		return limit_error;
	*ret_was = limits;
	if (want == NULL)
		return 0;
	limits = *want;
	n_changes++;
	if (on_change != NULL)
		on_change();
	return 0;
}

static void begin(void)
{
	limits = (struct gm_limits){ .soft = SOFT, .hard = HARD };
	limit_error = 0;
	n_changes = 0;
	on_change = NULL;
	resume_memlock = fake_memlock;
	memset(&peer, 0, sizeof(peer));
	memset(&other, 0, sizeof(other));
	resume_start(&rig);
	resume_pid = getpid();
	resume_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	assert_true(resume_pidfd >= 0);
	assert_false(resume_connect(&peer, &rig, rig.rig.acme, KEY));
}

static struct answer ask(struct peer *from, uint64_t domain, uint64_t bytes)
{
	Gmem__MemlockRequest request = GMEM__MEMLOCK_REQUEST__INIT;

	request.has_domain = 1;
	request.domain = domain;
	request.has_bytes = 1;
	request.bytes = bytes;
	return peer_ask(from, GM_MSG_MEMLOCK, &request.base);
}

static void grant(uint64_t domain, uint64_t bytes)
{
	struct answer answer = ask(&peer, domain, bytes);
	const Gmem__MemlockReply *reply = expect_reply(&answer);

	assert_true(reply->limit == limits.soft);
}

static void expect_limits(uint64_t soft, uint64_t hard)
{
	assert_int_equal(limits.soft, soft);
	assert_int_equal(limits.hard, hard);
}

static uint64_t domain_of(Gmem__Lifetime lifetime)
{
	return make_domain(&peer, lifetime, NULL).id;
}

#define BOUND GMEM__LIFETIME__LIFETIME_BOUND
#define PERSISTENT GMEM__LIFETIME__LIFETIME_PERSISTENT

static void the_limit_is_what_it_was_and_the_granted_bytes(void **state)
{
	uint64_t domain;

	(void)state;
	begin();
	domain = domain_of(BOUND);
	grant(domain, GM_MIB);
	/* The hard limit was high enough. */
	expect_limits(SOFT + GM_MIB, HARD);
	grant(domain, 20 * GM_MIB);
	expect_limits(SOFT + 20 * GM_MIB, SOFT + 20 * GM_MIB);
	assert_int_equal(used(GM_RES_MEMLOCK), 20 * GM_MIB);
	grant(domain, 0);
	expect_limits(SOFT, HARD);
	assert_int_equal(used(GM_RES_MEMLOCK), 0);
	stop();
}

static void two_domains_of_one_process_add_up(void **state)
{
	uint64_t a, b;

	(void)state;
	begin();
	a = domain_of(BOUND);
	b = domain_of(BOUND);
	grant(a, 10 * GM_MIB);
	grant(b, 5 * GM_MIB);
	expect_limits(SOFT + 15 * GM_MIB, SOFT + 15 * GM_MIB);
	(void)ask_domain_destroy(&peer, a, NULL);
	expect_limits(SOFT + 5 * GM_MIB, HARD);
	(void)ask_domain_destroy(&peer, b, NULL);
	expect_limits(SOFT, HARD);
	stop();
}

static void over_the_policy_is_refused_and_nothing_is_changed(void **state)
{
	struct answer answer;
	uint64_t domain;

	(void)state;
	begin();
	domain = domain_of(BOUND);
	grant(domain, GM_MIB);
	answer = ask(&peer, domain, 65 * GM_MIB);
	expect_refusal(&answer, GM_OVER_LIMIT, GM_RULE_MEMLOCK_MAX);
	expect_numbers(&answer, 64 * GM_MIB, 0, 65 * GM_MIB);
	expect_limits(SOFT + GM_MIB, HARD);
	assert_int_equal(used(GM_RES_MEMLOCK), GM_MIB);
	stop();
}

static void a_daemon_that_may_not_says_so_and_charges_nothing(void **state)
{
	struct answer answer;
	uint64_t domain;

	(void)state;
	begin();
	domain = domain_of(BOUND);
	limit_error = -EPERM;
	answer = ask(&peer, domain, GM_MIB);
	expect_refusal(&answer, GM_UNSUPPORTED, GM_RULE_RLIMIT);
	expect_text(&answer, "CAP_SYS_RESOURCE");
	assert_int_equal(used(GM_RES_MEMLOCK), 0);
	stop();
}

static int pidfd_of_the_dead(void)
{
	pid_t pid = fork();
	int fd;

	if (pid == 0)
		_exit(0);
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	assert_true(fd >= 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return fd;
}

static void the_limits_of_a_process_that_has_gone_are_nobodys_to_change(void **state)
{
	struct answer answer;
	uint64_t domain;

	(void)state;
	begin();
	domain = domain_of(BOUND);
	gm_fd_close(resume_pidfd);
	resume_pidfd = pidfd_of_the_dead();
	answer = ask(&peer, domain, GM_MIB);
	expect_refusal(&answer, GM_UNSUPPORTED, GM_RULE_RLIMIT);
	assert_int_equal(n_changes, 0);
	assert_int_equal(used(GM_RES_MEMLOCK), 0);
	stop();
}

/* Its pid may be somebody else's at once. */
static void die(void)
{
	on_change = NULL;
	gm_fd_close(resume_pidfd);
	resume_pidfd = pidfd_of_the_dead();
}

static void who_has_the_pid_of_a_process_that_ends_meanwhile_keeps_his_limits(void **state)
{
	struct answer answer;
	uint64_t domain;

	(void)state;
	begin();
	domain = domain_of(BOUND);
	on_change = die;
	answer = ask(&peer, domain, GM_MIB);
	expect_refusal(&answer, GM_UNSUPPORTED, GM_RULE_RLIMIT);
	expect_limits(SOFT, HARD);
	assert_int_equal(used(GM_RES_MEMLOCK), 0);
	stop();
}

static void a_connection_that_ends_takes_its_grants_along(void **state)
{
	(void)state;
	begin();
	grant(domain_of(BOUND), GM_MIB);
	grant(domain_of(PERSISTENT), GM_MIB);
	peer_close(&peer);
	peer.link = NULL;
	expect_limits(SOFT, HARD);
	assert_int_equal(used(GM_RES_MEMLOCK), 0);
	stop();
}

static void who_loses_the_domain_loses_the_grant(void **state)
{
	struct made_domain domain;
	struct answer answer;

	(void)state;
	begin();
	domain = make_domain(&peer, PERSISTENT, NULL);
	grant(domain.id, GM_MIB);
	assert_false(resume_connect(&other, &rig, rig.rig.acme, OTHER_KEY));
	answer = ask_attach(&other, domain.id, domain.token, false);
	expect_refusal(&answer, GM_BUSY, GM_RULE_ATTACHED);
	expect_limits(SOFT + GM_MIB, HARD);
	answer = ask_attach(&other, domain.id, domain.token, true);
	expect_reply(&answer);
	expect_limits(SOFT, HARD);
	assert_int_equal(used(GM_RES_MEMLOCK), 0);
	peer_close(&other);
	stop();
}

static void a_limit_that_the_process_has_lowered_itself_is_not_raised_by_the_end(void **state)
{
	uint64_t domain;

	(void)state;
	begin();
	domain = domain_of(BOUND);
	grant(domain, GM_MIB);
	limits = (struct gm_limits){ .soft = 4096, .hard = HARD };
	(void)ask_domain_destroy(&peer, domain, NULL);
	expect_limits(4096, HARD);
	stop();
}

static void after_a_restart_the_grant_is_charged_and_the_limit_is_right(void **state)
{
	uint64_t domain;

	(void)state;
	begin();
	domain = domain_of(BOUND);
	grant(domain, 20 * GM_MIB);
	resume_kill(&rig);
	resume_forget(&peer);
	/* A daemon that stops leaves what it has granted; and as if it had not come that far: */
	expect_limits(SOFT + 20 * GM_MIB, SOFT + 20 * GM_MIB);
	limits = (struct gm_limits){ .soft = SOFT, .hard = HARD };
	resume_restart(&rig);
	assert_int_equal(used(GM_RES_MEMLOCK), 20 * GM_MIB);
	expect_limits(SOFT + 20 * GM_MIB, SOFT + 20 * GM_MIB);
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	(void)ask_domain_destroy(&peer, domain, NULL);
	expect_limits(SOFT, HARD);
	stop();
}

static void a_session_that_nobody_can_resume_has_its_limit_lowered_after_a_restart(void **state)
{
	struct made_domain domain;
	struct answer answer;

	(void)state;
	begin();
	/* Its own connection has no key. */
	peer_connect(&other, &rig.rig, rig.rig.acme);
	other.link->ops = peer.link->ops;
	other.link->session->peer.pid = getpid();
	gm_mark_dirty(&rig.rig.book.marks, &other.link->session->mark);
	domain = make_domain(&other, BOUND, NULL);
	answer = ask(&other, domain.id, GM_MIB);
	expect_reply(&answer);
	expect_limits(SOFT + GM_MIB, HARD);
	resume_kill(&rig);
	resume_forget(&other);
	resume_forget(&peer);
	resume_restart(&rig);
	expect_limits(SOFT, HARD);
	assert_int_equal(used(GM_RES_MEMLOCK), 0);
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	stop();
}

static void another_process_that_resumes_has_no_grant(void **state)
{
	(void)state;
	begin();
	grant(domain_of(PERSISTENT), GM_MIB);
	resume_kill(&rig);
	resume_forget(&peer);
	resume_restart(&rig);
	resume_pid = getppid();
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	assert_int_equal(used(GM_RES_MEMLOCK), 0);
	expect_limits(SOFT, HARD);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(the_limit_is_what_it_was_and_the_granted_bytes),
		gm_test(two_domains_of_one_process_add_up),
		gm_test(over_the_policy_is_refused_and_nothing_is_changed),
		gm_test(a_daemon_that_may_not_says_so_and_charges_nothing),
		gm_test(the_limits_of_a_process_that_has_gone_are_nobodys_to_change),
		gm_test(who_has_the_pid_of_a_process_that_ends_meanwhile_keeps_his_limits),
		gm_test(a_connection_that_ends_takes_its_grants_along),
		gm_test(who_loses_the_domain_loses_the_grant),
		gm_test(a_limit_that_the_process_has_lowered_itself_is_not_raised_by_the_end),
		gm_test(after_a_restart_the_grant_is_charged_and_the_limit_is_right),
		gm_test(a_session_that_nobody_can_resume_has_its_limit_lowered_after_a_restart),
		gm_test(another_process_that_resumes_has_no_grant),
	};

	return gm_test_run("service_memlock", tests, GM_ARRAY_SIZE(tests));
}
