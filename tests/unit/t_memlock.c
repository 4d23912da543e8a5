/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locked memory as the kernel sees it: a process without CAP_IPC_LOCK locks as much as it was
 * granted and not a page more, and again only as much as before when the grant has ended.
 *
 * Raising a hard limit takes CAP_SYS_RESOURCE: that part is skipped where it is not to be had.
 */
#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec_memlock.h"
#include "fake.h"
#include "gm_fd.h"
#include "gm_test.h"

#define PAGE ((size_t)4096)
#define SOFT (16 * PAGE)
#define HARD (64 * PAGE)

/* The process whose limits are changed: locks as many pages as it is told, and tells the errno. */
static struct {
	pid_t pid;
	int pidfd;
	int orders[2];
	int answers[2];
} child;

static void drop_capability(unsigned capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		_exit(3);
	data[capability / 32].effective &= ~(1u << capability % 32);
	data[capability / 32].permitted &= ~(1u << capability % 32);
	data[capability / 32].inheritable &= ~(1u << capability % 32);
	if (syscall(SYS_capset, &header, data) < 0)
		_exit(3);
}

static void be_the_child(void)
{
	size_t n_pages;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	drop_capability(CAP_IPC_LOCK);
	while (read(child.orders[0], &n_pages, sizeof(n_pages)) == (ssize_t)sizeof(n_pages)) {
		void *at = mmap(NULL, n_pages * PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		int error = at == MAP_FAILED ? 1000 : 0;

		/* Not mlock(), which sanitizers replace by one that does nothing. */
		if (error == 0 && syscall(SYS_mlock, at, n_pages * PAGE) < 0)
			error = errno;
		if (at != MAP_FAILED)
			(void)munmap(at, n_pages * PAGE);
		if (write(child.answers[1], &error, sizeof(error)) != (ssize_t)sizeof(error))
			break;
	}
	_exit(0);
}

static int lock_pages(size_t n_pages)
{
	int error;

	assert_int_equal(write(child.orders[1], &n_pages, sizeof(n_pages)), sizeof(n_pages));
	assert_int_equal(read(child.answers[0], &error, sizeof(error)), sizeof(error));
	return error;
}

/* Exactly @bytes, and what the limit says is what the kernel does. */
static void expect_lockable(size_t bytes)
{
	assert_int_equal(lock_pages(bytes / PAGE), 0);
	assert_int_equal(lock_pages(bytes / PAGE + 1), ENOMEM);
}

static void child_start(void)
{
	const struct rlimit limit = { .rlim_cur = SOFT, .rlim_max = HARD };

	assert_int_equal(pipe(child.orders), 0);
	assert_int_equal(pipe(child.answers), 0);
	child.pid = fork();
	assert_true(child.pid >= 0);
	if (child.pid == 0)
		be_the_child();
	child.pidfd = (int)syscall(SYS_pidfd_open, child.pid, 0);
	assert_true(child.pidfd >= 0);
	assert_int_equal(prlimit(child.pid, RLIMIT_MEMLOCK, &limit, NULL), 0);
}

static void child_stop(void)
{
	assert_int_equal(kill(child.pid, SIGKILL), 0);
	assert_int_equal(waitpid(child.pid, NULL, 0), child.pid);
	for (unsigned i = 0; i < 2; i++) {
		gm_fd_close(child.orders[i]);
		gm_fd_close(child.answers[i]);
	}
	gm_fd_close(child.pidfd);
}

static struct gm_book book;
static struct gm_exec exec;
static struct gm_session *session;
static struct gm_domain *domain;

static int pidfd_of(void *arg, const struct gm_session *of)
{
	(void)arg;
	(void)of;
	return child.pidfd;
}

static void begin(void)
{
	static const struct gm_token token;
	const struct gm_domain_spec wanted = { .name = "vm1", .kind = "fake" };
	struct gm_policy policy;
	struct gm_tenant *tenant;
	struct gm_peer who;

	child_start();
	who = (struct gm_peer){ .pid = child.pid };
	assert_non_null(gm_fake_reset());
	gm_book_init(&book);
	gm_policy_defaults(&policy, GM_GIB);
	policy.memlock_max = GM_MIB;
	assert_int_equal(gm_book_add_tenant(&book, "acme", &policy, &tenant, NULL), 0);
	assert_int_equal(gm_exec_init(&exec, &book), 0);
	exec.session_pidfd = pidfd_of;
	assert_int_equal(gm_book_open_session(&book, tenant, (struct gm_session_id){ 1 }, &who,
					      &session, NULL),
			 0);
	assert_int_equal(gm_book_create_domain(&book, session, &wanted, (struct gm_domain_id){ 2 },
					       &token, 0, &domain, NULL),
			 0);
}

static void end(void)
{
	gm_book_close_session(&book, session);
	gm_exec_done(&exec);
	gm_book_done(&book);
	child_stop();
}

static void it_locks_up_to_the_limit_and_one_page_more_is_enomem(void **state)
{
	struct gm_limits now;

	(void)state;
	begin();
	expect_lockable(SOFT);
	assert_int_equal(gm_exec_set_memlock(&exec, domain, 8 * PAGE, &now, NULL), 0);
	assert_int_equal(now.soft, SOFT + 8 * PAGE);
	expect_lockable(SOFT + 8 * PAGE);
	(void)gm_exec_end_domain(&exec, domain);
	expect_lockable(SOFT);
	end();
}

static void a_grant_over_the_hard_limit_raises_that_too(void **state)
{
	struct gm_refusal refusal;
	struct rlimit limit;
	struct gm_limits now;
	int r;

	(void)state;
	begin();
	r = gm_exec_set_memlock(&exec, domain, GM_MIB, &now, &refusal);
	if (r == GM_UNSUPPORTED && refusal.sys_errno == EPERM) {
		/* Refused as a whole: nothing is charged, and nothing can be locked. */
		assert_int_equal(refusal.rule, GM_RULE_RLIMIT);
		assert_int_equal(domain->memlock.amount, 0);
		expect_lockable(SOFT);
		(void)gm_exec_end_domain(&exec, domain);
		end();
		printf("no CAP_SYS_RESOURCE here\n");
		skip();
	}
	assert_int_equal(r, 0);
	expect_lockable(SOFT + GM_MIB);
	(void)gm_exec_end_domain(&exec, domain);
	expect_lockable(SOFT);
	assert_int_equal(prlimit(child.pid, RLIMIT_MEMLOCK, NULL, &limit), 0);
	assert_int_equal(limit.rlim_max, HARD);
	end();
}

static void a_process_that_has_died_is_refused(void **state)
{
	struct gm_refusal refusal;
	struct gm_limits now;

	(void)state;
	begin();
	assert_int_equal(kill(child.pid, SIGKILL), 0);
	assert_int_equal(poll(&(struct pollfd){ .fd = child.pidfd, .events = POLLIN }, 1, 5000), 1);
	assert_int_equal(gm_exec_set_memlock(&exec, domain, PAGE, &now, &refusal), GM_UNSUPPORTED);
	assert_int_equal(refusal.rule, GM_RULE_RLIMIT);
	assert_int_equal(refusal.sys_errno, ESRCH);
	(void)gm_exec_end_domain(&exec, domain);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(it_locks_up_to_the_limit_and_one_page_more_is_enomem),
		gm_test(a_grant_over_the_hard_limit_raises_that_too),
		gm_test(a_process_that_has_died_is_refused),
	};

	return gm_test_run("memlock", tests, GM_ARRAY_SIZE(tests));
}
