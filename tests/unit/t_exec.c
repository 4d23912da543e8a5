/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carrying out: regions made and dropped, jobs booked as they really went, domains that end while
 * jobs still hold on to them.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"
#include "fake_crew.h"
#include "gm_test.h"

#include "exec.h"

#define REGION_SIZE (16 * GM_MIB)

static struct gm_book book;
static struct gm_exec exec;
static struct gm_crew_hub *hub;
static struct gm_fake_script *fake;
static struct gm_tenant *tenant;
static struct gm_session *session;
static struct gm_domain *domain;
static struct gm_region *region;

static struct {
	unsigned n_ends;
	int result;
	struct gm_refusal refusal;
	uint64_t bytes;
	uint64_t progress;
} seen;

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	assert_true(done <= total);
	seen.progress = done;
}

static void on_end(void *arg, int result, const struct gm_refusal *refusal, uint64_t bytes)
{
	(void)arg;
	seen.n_ends++;
	seen.result = result;
	seen.refusal = *refusal;
	seen.bytes = bytes;
}

static const struct gm_exec_job_ops job_ops = { .progress = on_progress, .end = on_end };

static void make_objects(void)
{
	static const struct gm_peer who = { .pid = 1 };
	static const struct gm_token token;
	const struct gm_domain_spec wanted = { .name = "vm1", .kind = "fake" };
	const struct gm_region_spec spec = {
		.name = "",
		.size = REGION_SIZE,
		.page_size = GM_PAGE_4K,
	};

	assert_int_equal(gm_book_open_session(&book, tenant, (struct gm_session_id){ 1 }, &who,
					      &session, NULL),
			 0);
	assert_int_equal(gm_book_create_domain(&book, session, &wanted, (struct gm_domain_id){ 2 },
					       &token, 0, &domain, NULL),
			 0);
	assert_int_equal(gm_book_create_region(&book, domain, &spec, (struct gm_region_id){ 3 },
					       &region, NULL),
			 0);
	assert_int_equal(gm_exec_make_region(&exec, region, NULL), 0);
}

static void start(void)
{
	struct gm_policy policy;

	memset(&seen, 0, sizeof(seen));
	fake = gm_fake_reset();
	assert_non_null(fake);
	gm_book_init(&book);
	gm_policy_defaults(&policy, GM_GIB);
	assert_int_equal(gm_book_add_tenant(&book, "acme", &policy, &tenant, NULL), 0);
	assert_int_equal(gm_exec_init(&exec, &book), 0);
	assert_int_equal(gm_crew_hub_new((struct gm_loop_ref){ 0 }, NULL, 1, 0, &hub), 0);
	exec.hub = hub;
	make_objects();
}

static void stop(void)
{
	gm_book_close_session(&book, session);
	gm_exec_done(&exec);
	gm_crew_hub_free(hub);
	gm_book_done(&book);
}

static void end_domain_and_stop(void)
{
	assert_int_equal(gm_exec_end_domain(&exec, domain), 0);
	stop();
}

static struct gm_exec_job *start_job(enum gm_page_op op, uint64_t offset, uint64_t length)
{
	struct gm_range range = { .offset = offset, .length = length };
	struct gm_exec_job *job;

	assert_int_equal(gm_exec_start_job(&exec, session, -1, region, op, &range, 1, &job_ops,
					   NULL, &job, NULL),
			 0);
	return job;
}

static struct gm_crew_job *crew_job(void)
{
	return fake_crew_first(hub);
}

static void expect_state(uint64_t offset, uint64_t length, enum gm_page_state state)
{
	assert_int_equal(gm_page_map_count(&region->map, offset, length, state), length);
}

static void the_memory_is_named_for_the_operator(void **state)
{
	char path[64];
	char name[256];
	ssize_t n;

	(void)state;
	start();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", region->fd);
	n = readlink(path, name, sizeof(name) - 1);
	assert_true(n > 0);
	name[n] = '\0';
	assert_non_null(strstr(name, "acme.vm1.0000000000000003"));
	end_domain_and_stop();
}

static void only_a_region_that_takes_long_to_free_is_freed_by_somebody_else(void **state)
{
	struct gm_region_spec spec = {
		.name = "", .gpa = GM_GIB, .size = GM_PAGE_4K, .page_size = GM_PAGE_4K
	};
	struct gm_region *small;

	(void)state;
	start();
	assert_int_equal(gm_book_create_region(&book, domain, &spec, (struct gm_region_id){ 4 },
					       &small, NULL),
			 0);
	assert_int_equal(gm_exec_make_region(&exec, small, NULL), 0);
	gm_exec_drop_region(&exec, small);
	assert_int_equal(fake_crew_disposed(hub), 0);
	gm_exec_drop_region(&exec, region);
	assert_int_equal(fake_crew_disposed(hub), 1);
	/* Small, but a session can leave many of them behind. */
	spec.size = GM_MIB;
	assert_int_equal(gm_book_create_region(&book, domain, &spec, (struct gm_region_id){ 5 },
					       &small, NULL),
			 0);
	assert_int_equal(gm_exec_make_region(&exec, small, NULL), 0);
	gm_exec_drop_region(&exec, small);
	assert_int_equal(fake_crew_disposed(hub), 2);
	end_domain_and_stop();
}

static void what_is_reported_is_booked_at_once(void **state)
{
	(void)state;
	start();
	start_job(GM_PAGE_OP_ALLOCATE, 0, 4 * GM_MIB);
	fake_crew_report(crew_job(), 0, GM_MIB);
	assert_int_equal(seen.progress, GM_MIB);
	expect_state(0, GM_MIB, GM_PAGE_SHARED);
	expect_state(GM_MIB, REGION_SIZE - GM_MIB, GM_PAGE_ABSENT);
	assert_int_equal(seen.n_ends, 0);
	fake_crew_report(crew_job(), GM_MIB, 3 * GM_MIB);
	fake_crew_end(crew_job(), GM_JOB_DONE, 0);
	assert_int_equal(seen.n_ends, 1);
	assert_int_equal(seen.result, 0);
	end_domain_and_stop();
}

static void a_report_may_reach_over_ranges_that_touch(void **state)
{
	struct gm_range ranges[] = {
		{ .offset = 3 * GM_MIB, .length = GM_MIB },
		{ .offset = GM_MIB, .length = GM_MIB },
		{ .offset = 0, .length = GM_MIB },
	};
	struct gm_exec_job *job;

	(void)state;
	start();
	assert_int_equal(gm_exec_start_job(&exec, session, -1, region, GM_PAGE_OP_ALLOCATE, ranges,
					   3, &job_ops, NULL, &job, NULL),
			 0);
	/* Not over a gap, nor past the end of the last one. */
	fake_crew_lie(crew_job(), GM_MIB, 2 * GM_MIB);
	fake_crew_lie(crew_job(), 3 * GM_MIB, 2 * GM_MIB);
	assert_int_equal(seen.progress, 0);
	fake_crew_report(crew_job(), 0, 2 * GM_MIB);
	assert_int_equal(seen.progress, 2 * GM_MIB);
	fake_crew_report(crew_job(), 3 * GM_MIB, GM_MIB);
	fake_crew_end(crew_job(), GM_JOB_DONE, 0);
	assert_int_equal(seen.result, 0);
	end_domain_and_stop();
}

static void reports_of_what_was_not_asked_for_are_ignored(void **state)
{
	(void)state;
	start();
	start_job(GM_PAGE_OP_ALLOCATE, GM_MIB, GM_MIB);
	fake_crew_lie(crew_job(), 0, GM_MIB);
	fake_crew_lie(crew_job(), GM_MIB, 2 * GM_MIB);
	fake_crew_lie(crew_job(), GM_MIB + 1, 4096);
	fake_crew_lie(crew_job(), UINT64_MAX - 4095, 8192);
	fake_crew_lie(crew_job(), GM_MIB, 0);
	assert_int_equal(region->allocated_bytes, 0);
	assert_int_equal(seen.progress, 0);
	fake_crew_lie(crew_job(), GM_MIB, GM_MIB - 4096);
	fake_crew_lie(crew_job(), GM_MIB, GM_MIB - 4096);
	assert_int_equal(seen.progress, GM_MIB - 4096);
	/* A worker that says it is done and has not said of what is not believed. */
	fake_crew_end(crew_job(), GM_JOB_DONE, 0);
	assert_int_equal(seen.result, -EIO);
	end_domain_and_stop();
}

/* ---- workers that die ---- */

static void pages_that_a_lost_worker_allocated_unreported_are_booked(void **state)
{
	(void)state;
	start();
	start_job(GM_PAGE_OP_ALLOCATE, 0, 8 * GM_MIB);
	fake_crew_report(crew_job(), 0, 2 * GM_MIB);
	fake_crew_work(crew_job(), 4 * GM_MIB, GM_MIB + 12 * GM_PAGE_4K);
	fake_crew_end(crew_job(), GM_JOB_WORKER_LOST, SIGSEGV);
	assert_int_equal(seen.result, GM_WORKER_LOST);
	assert_int_equal(seen.refusal.rule, GM_RULE_WORKER);
	assert_non_null(strstr(seen.refusal.text, "signal 11"));
	expect_state(0, 2 * GM_MIB, GM_PAGE_SHARED);
	expect_state(2 * GM_MIB, 2 * GM_MIB, GM_PAGE_ABSENT);
	expect_state(4 * GM_MIB, GM_MIB + 12 * GM_PAGE_4K, GM_PAGE_SHARED);
	expect_state(5 * GM_MIB + 12 * GM_PAGE_4K, 11 * GM_MIB - 12 * GM_PAGE_4K, GM_PAGE_ABSENT);
	assert_int_equal(seen.bytes, 3 * GM_MIB + 12 * GM_PAGE_4K);
	end_domain_and_stop();
}

static void pages_that_a_lost_worker_discarded_unreported_are_booked(void **state)
{
	(void)state;
	start();
	start_job(GM_PAGE_OP_ALLOCATE, 0, 8 * GM_MIB);
	fake_crew_finish(crew_job());
	start_job(GM_PAGE_OP_DISCARD, 0, 4 * GM_MIB);
	fake_crew_work(crew_job(), 3 * GM_PAGE_4K, GM_PAGE_4K);
	fake_crew_end(crew_job(), GM_JOB_WORKER_LOST, SIGKILL);
	assert_int_equal(seen.result, GM_WORKER_LOST);
	assert_int_equal(seen.refusal.rule, GM_RULE_MEMORY_CGROUP);
	expect_state(0, 3 * GM_PAGE_4K, GM_PAGE_SHARED);
	expect_state(3 * GM_PAGE_4K, GM_PAGE_4K, GM_PAGE_ABSENT);
	expect_state(4 * GM_PAGE_4K, 8 * GM_MIB - 4 * GM_PAGE_4K, GM_PAGE_SHARED);
	end_domain_and_stop();
}

static void where_the_kernel_does_not_tell_pages_stay_booked_as_before(void **state)
{
	(void)state;
	start();
	atomic_store(&fake->loses_track, true);
	start_job(GM_PAGE_OP_ALLOCATE, 0, 4 * GM_MIB);
	fake_crew_work(crew_job(), 0, GM_MIB);
	fake_crew_end(crew_job(), GM_JOB_WORKER_LOST, 0x0100);
	assert_int_equal(seen.result, GM_WORKER_LOST);
	assert_non_null(strstr(seen.refusal.text, "exited with status 1"));
	expect_state(0, REGION_SIZE, GM_PAGE_ABSENT);
	end_domain_and_stop();
}

static void a_worker_that_never_came_up_is_reported_with_the_errno(void **state)
{
	(void)state;
	start();
	start_job(GM_PAGE_OP_ALLOCATE, 0, GM_MIB);
	fake_crew_end(crew_job(), GM_JOB_WORKER_LOST, -EAGAIN);
	assert_int_equal(seen.result, GM_WORKER_LOST);
	assert_int_equal(seen.refusal.rule, GM_RULE_WORKER);
	assert_int_equal(seen.refusal.sys_errno, EAGAIN);
	end_domain_and_stop();
}

static void a_worker_killed_after_a_cancel_is_a_cancelled_job(void **state)
{
	struct gm_exec_job *job;

	(void)state;
	start();
	job = start_job(GM_PAGE_OP_ALLOCATE, 0, GM_MIB);
	gm_exec_cancel_job(job);
	gm_exec_cancel_job(job);
	fake_crew_end(crew_job(), GM_JOB_WORKER_LOST, SIGKILL);
	assert_int_equal(seen.result, GM_CANCELLED);
	end_domain_and_stop();
}

static void running_out_of_memory_is_the_hosts_refusal_and_says_how_far_it_came(void **state)
{
	(void)state;
	start();
	start_job(GM_PAGE_OP_ALLOCATE, 0, 4 * GM_MIB);
	fake_crew_report(crew_job(), 0, GM_MIB);
	fake_crew_end(crew_job(), GM_JOB_ERROR, ENOMEM);
	assert_int_equal(seen.result, GM_NO_RESOURCE);
	assert_int_equal(seen.refusal.rule, GM_RULE_MEMORY_CGROUP);
	assert_int_equal(seen.refusal.limit, 4 * GM_MIB);
	assert_int_equal(seen.refusal.used, GM_MIB);
	assert_int_equal(seen.refusal.asked, 3 * GM_MIB);
	assert_int_equal(seen.refusal.sys_errno, ENOMEM);
	end_domain_and_stop();
}

/* ---- ends ---- */

static void a_domain_that_ends_keeps_what_its_jobs_hold_until_they_let_go(void **state)
{
	(void)state;
	start();
	start_job(GM_PAGE_OP_ALLOCATE, 0, GM_MIB);
	start_job(GM_PAGE_OP_ALLOCATE, GM_MIB, GM_MIB);
	assert_int_equal(gm_exec_end_domain(&exec, domain), 2);
	assert_true(fake_crew_is_cancelled(crew_job()));
	assert_int_equal(
		gm_book_find_domain(&book, session, (struct gm_domain_id){ 2 }, &domain, NULL),
		GM_NO_SUCH_OBJECT);
	assert_int_equal(tenant->account.used[GM_RES_MEMORY], REGION_SIZE);
	fake_crew_finish(crew_job());
	assert_int_equal(tenant->account.used[GM_RES_MEMORY], REGION_SIZE);
	fake_crew_finish(crew_job());
	assert_int_equal(tenant->account.used[GM_RES_MEMORY], 0);
	assert_int_equal(seen.n_ends, 2);
	assert_int_equal(gm_crew_hub_workers(hub), 0);
	stop();
}

static void a_domain_has_one_crew_from_its_first_job_to_its_end(void **state)
{
	(void)state;
	start();
	assert_int_equal(gm_crew_hub_workers(hub), 0);
	start_job(GM_PAGE_OP_ALLOCATE, 0, GM_MIB);
	start_job(GM_PAGE_OP_ALLOCATE, GM_MIB, GM_MIB);
	assert_int_equal(gm_crew_hub_workers(hub), 1);
	fake_crew_finish(crew_job());
	fake_crew_finish(crew_job());
	assert_int_equal(gm_crew_hub_workers(hub), 1);
	assert_int_equal(gm_exec_end_domain(&exec, domain), 0);
	assert_int_equal(gm_crew_hub_workers(hub), 0);
	stop();
}

static void a_backend_that_fails_to_open_undoes_the_others(void **state)
{
	(void)state;
	fake = gm_fake_reset();
	assert_non_null(fake);
	gm_fake_fail(&fake->open, 1, -ENFILE);
	gm_book_init(&book);
	assert_int_equal(gm_exec_init(&exec, &book), -ENFILE);
	gm_book_done(&book);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(the_memory_is_named_for_the_operator),
		gm_test(only_a_region_that_takes_long_to_free_is_freed_by_somebody_else),
		gm_test(what_is_reported_is_booked_at_once),
		gm_test(a_report_may_reach_over_ranges_that_touch),
		gm_test(reports_of_what_was_not_asked_for_are_ignored),
		gm_test(pages_that_a_lost_worker_allocated_unreported_are_booked),
		gm_test(pages_that_a_lost_worker_discarded_unreported_are_booked),
		gm_test(where_the_kernel_does_not_tell_pages_stay_booked_as_before),
		gm_test(a_worker_that_never_came_up_is_reported_with_the_errno),
		gm_test(a_worker_killed_after_a_cancel_is_a_cancelled_job),
		gm_test(running_out_of_memory_is_the_hosts_refusal_and_says_how_far_it_came),
		gm_test(a_domain_that_ends_keeps_what_its_jobs_hold_until_they_let_go),
		gm_test(a_domain_has_one_crew_from_its_first_job_to_its_end),
		gm_test(a_backend_that_fails_to_open_undoes_the_others),
	};

	return gm_test_run("exec", tests, GM_ARRAY_SIZE(tests));
}
