/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs over the tenant's rate of bytes: they begin later, in order, and can be cancelled meanwhile.
 */
#include <string.h>

#include "exec.h"
#include "fake.h"
#include "fake_crew.h"
#include "gm_test.h"

#define REGION_SIZE (16 * GM_MIB)

/* A loop with one timer, which the test lets go off. */
struct gm_watch {
	gm_watch_fn fn;
	void *arg;
	uint64_t at_ms; /* 0: not set */
};

static struct gm_watch timer;
static uint64_t now;

static int timer_new(void *loop, gm_watch_fn fn, void *arg, struct gm_watch **ret_watch)
{
	(void)loop;
	timer = (struct gm_watch){ .fn = fn, .arg = arg };
	*ret_watch = &timer;
	return 0;
}

static void timer_set(struct gm_watch *watch, uint64_t ms)
{
	watch->at_ms = now + ms;
}

static void watch_free(struct gm_watch *watch)
{
	(void)watch;
}

static uint64_t now_ms(void *loop)
{
	(void)loop;
	return now;
}

static const struct gm_loop_ops loop_ops = {
	.timer_new = timer_new,
	.timer_set = timer_set,
	.watch_free = watch_free,
	.now_ms = now_ms,
};

static void pass(uint64_t ms)
{
	now += ms;
	if (timer.at_ms == 0 || timer.at_ms > now)
		return;
	timer.at_ms = 0;
	timer.fn(timer.arg);
}

static struct gm_book book;
static struct gm_exec exec;
static struct gm_crew_hub *hub;
static struct gm_session *session;
static struct gm_tenant *tenant;

static unsigned n_ends;
static int last_result;

static void on_end(void *arg, int result, const struct gm_refusal *refusal, uint64_t bytes)
{
	(void)arg;
	(void)refusal;
	(void)bytes;
	n_ends++;
	last_result = result;
}

static const struct gm_exec_job_ops job_ops = { .end = on_end };

static struct gm_region *make_region(uint64_t id)
{
	static const struct gm_token token;
	const struct gm_domain_spec wanted = { .name = "", .kind = "fake" };
	const struct gm_region_spec spec = { .name = "",
					     .size = REGION_SIZE,
					     .page_size = GM_PAGE_4K };
	struct gm_domain *domain;
	struct gm_region *region;

	assert_int_equal(gm_book_create_domain(&book, session, &wanted, (struct gm_domain_id){ id },
					       &token, 0, &domain, NULL),
			 0);
	assert_int_equal(gm_book_create_region(&book, domain, &spec, (struct gm_region_id){ id },
					       &region, NULL),
			 0);
	assert_int_equal(gm_exec_make_region(&exec, region, NULL), 0);
	return region;
}

/* A MiB a second. */
static void start(void)
{
	static const struct gm_peer who = { .pid = 1 };
	struct gm_policy policy;

	now = 1000;
	timer = (struct gm_watch){ 0 };
	n_ends = 0;
	assert_non_null(gm_fake_reset());
	gm_book_init(&book);
	gm_policy_defaults(&policy, GM_GIB);
	policy.allocate_rate = GM_MIB;
	assert_int_equal(gm_book_add_tenant(&book, "acme", &policy, &tenant, NULL), 0);
	assert_int_equal(gm_exec_init(&exec, &book), 0);
	assert_int_equal(gm_crew_hub_new((struct gm_loop_ref){ 0 }, NULL, 1, 0, &hub), 0);
	exec.hub = hub;
	exec.loop = (struct gm_loop_ref){ .ops = &loop_ops };
	assert_int_equal(gm_book_open_session(&book, tenant, (struct gm_session_id){ 1 }, &who,
					      &session, NULL),
			 0);
}

static void stop(void)
{
	struct gm_domain *domain;

	while ((domain = gm_book_next_domain(&book, NULL)) != NULL)
		(void)gm_exec_end_domain(&exec, domain);
	gm_book_close_session(&book, session);
	gm_exec_done(&exec);
	gm_crew_hub_free(hub);
	gm_book_done(&book);
}

static struct gm_exec_job *begin(struct gm_region *region, enum gm_page_op op, uint64_t length)
{
	struct gm_range range = { .offset = 0, .length = length };
	struct gm_exec_job *job;

	assert_int_equal(gm_exec_start_job(&exec, session, -1, region, op, &range, 1, &job_ops,
					   NULL, &job, NULL),
			 0);
	return job;
}

static size_t running(void)
{
	return fake_crew_count(hub);
}

static void finish_all(void)
{
	struct gm_crew_job *job;

	while ((job = fake_crew_first(hub)) != NULL)
		fake_crew_finish(job);
}

static void a_job_over_the_rate_begins_when_what_went_before_is_paid_for(void **state)
{
	struct gm_region *region;

	(void)state;
	start();
	region = make_region(2);
	/* The first may be of any size. */
	begin(region, GM_PAGE_OP_ALLOCATE, 4 * GM_MIB);
	assert_int_equal(running(), 1);
	begin(region, GM_PAGE_OP_ALLOCATE, GM_PAGE_4K);
	assert_int_equal(running(), 1);
	pass(2999);
	assert_int_equal(running(), 1);
	pass(2);
	assert_int_equal(running(), 2);
	finish_all();
	assert_int_equal(n_ends, 2);
	assert_int_equal(last_result, 0);
	stop();
}

static void jobs_of_one_domain_keep_their_order(void **state)
{
	struct gm_region *region, *other;

	(void)state;
	start();
	region = make_region(2);
	other = make_region(3);
	begin(region, GM_PAGE_OP_ALLOCATE, 2 * GM_MIB);
	begin(region, GM_PAGE_OP_ALLOCATE, GM_MIB);
	begin(region, GM_PAGE_OP_DISCARD, GM_MIB);
	assert_int_equal(running(), 1);
	/* To give memory back needs no leave, and waits for nobody. */
	begin(other, GM_PAGE_OP_DISCARD, GM_MIB);
	assert_int_equal(running(), 2);
	pass(1001);
	assert_int_equal(running(), 4);
	finish_all();
	assert_int_equal(n_ends, 4);
	stop();
}

static void a_job_that_waits_is_cancelled_at_once_and_told_so_later(void **state)
{
	struct gm_exec_job *job;
	struct gm_region *region;

	(void)state;
	start();
	region = make_region(2);
	begin(region, GM_PAGE_OP_ALLOCATE, 2 * GM_MIB);
	begin(region, GM_PAGE_OP_ALLOCATE, GM_MIB);
	job = begin(region, GM_PAGE_OP_ALLOCATE, GM_MIB);
	gm_exec_cancel_job(job);
	assert_int_equal(n_ends, 0);
	pass(0);
	assert_int_equal(n_ends, 1);
	assert_int_equal(last_result, GM_CANCELLED);
	/* The other one waits as before. */
	assert_int_equal(running(), 1);
	pass(1001);
	assert_int_equal(running(), 2);
	finish_all();
	assert_int_equal(n_ends, 3);
	stop();
}

static void a_domain_ends_with_jobs_that_wait(void **state)
{
	struct gm_region *region;

	(void)state;
	start();
	region = make_region(2);
	begin(region, GM_PAGE_OP_ALLOCATE, 2 * GM_MIB);
	begin(region, GM_PAGE_OP_ALLOCATE, GM_MIB);
	assert_int_equal(gm_exec_end_domain(&exec, region->domain), 2);
	pass(0);
	assert_int_equal(n_ends, 1);
	assert_int_equal(last_result, GM_CANCELLED);
	finish_all();
	assert_int_equal(n_ends, 2);
	assert_int_equal(tenant->account.used[GM_RES_MEMORY], 0);
	assert_int_equal(tenant->account.used[GM_RES_JOBS], 0);
	stop();
}

static void a_higher_rate_helps_those_that_wait(void **state)
{
	struct gm_policy policy;
	struct gm_region *region;

	(void)state;
	start();
	region = make_region(2);
	begin(region, GM_PAGE_OP_ALLOCATE, 4 * GM_MIB);
	begin(region, GM_PAGE_OP_ALLOCATE, GM_MIB);
	policy = tenant->policy;
	policy.allocate_rate = GM_UNLIMITED;
	gm_book_set_policy(tenant, &policy);
	begin(region, GM_PAGE_OP_ALLOCATE, GM_MIB);
	/* At the latest when the time is over that they were told to wait. */
	pass(3001);
	assert_int_equal(running(), 3);
	finish_all();
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_job_over_the_rate_begins_when_what_went_before_is_paid_for),
		gm_test(jobs_of_one_domain_keep_their_order),
		gm_test(a_job_that_waits_is_cancelled_at_once_and_told_so_later),
		gm_test(a_domain_ends_with_jobs_that_wait),
		gm_test(a_higher_rate_helps_those_that_wait),
	};

	return gm_test_run("exec_late", tests, GM_ARRAY_SIZE(tests));
}
