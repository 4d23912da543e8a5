/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is there room for a job in the control groups of who pays, and what is a tenant told and not told
 * of them? On folders with the files of version 2; real groups are t_who_pays's.
 */
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake.h"
#include "fake_crew.h"
#include "gm_fd.h"
#include "gm_test.h"

#include "exec.h"

#define REGION_SIZE (16 * GM_MIB)

static char top[64];
static struct gm_cgroups cgroups;
static struct gm_book book;
static struct gm_exec exec;
static struct gm_crew_hub *hub;
static struct gm_session *session;
static struct gm_region *region;
static int myself = -1; /* a pidfd */
static uint64_t now;

static uint64_t now_ms(void *loop)
{
	(void)loop;
	return now;
}

/* Time alone: nothing here has to wait. */
static const struct gm_loop_ops loop_ops = { .now_ms = now_ms };

static void on_end(void *arg, int result, const struct gm_refusal *refusal, uint64_t bytes)
{
	(void)arg;
	(void)result;
	(void)refusal;
	(void)bytes;
}

static const struct gm_exec_job_ops job_ops = { .end = on_end };

static void put(const char *file, const char *text)
{
	char path[256];
	FILE *stream;

	snprintf(path, sizeof(path), "%s%s", top, file);
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(path, 0755);
		*slash = '/';
	}
	stream = fopen(path, "we");
	assert_non_null(stream);
	assert_true(fputs(text, stream) >= 0);
	assert_int_equal(fclose(stream), 0);
}

static void put_group(const char *group, const char *limit, const char *usage)
{
	char path[128];

	snprintf(path, sizeof(path), "/fs%s/memory.max", group);
	put(path, limit);
	snprintf(path, sizeof(path), "/fs%s/memory.current", group);
	put(path, usage);
	snprintf(path, sizeof(path), "/fs%s/memory.events", group);
	put(path, "oom_kill 0\n");
}

static void make_objects(void)
{
	static const struct gm_token token;
	const struct gm_peer who = { .pid = getpid() };
	const struct gm_domain_spec wanted = { .name = "", .kind = "fake" };
	const struct gm_region_spec spec = { .name = "",
					     .size = REGION_SIZE,
					     .page_size = GM_PAGE_4K };
	struct gm_tenant *tenant;
	struct gm_domain *domain;
	struct gm_policy policy;

	gm_policy_defaults(&policy, GM_GIB);
	assert_int_equal(gm_book_add_tenant(&book, "acme", &policy, &tenant, NULL), 0);
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

/* This process is in "/shared/vm". */
static void start(void)
{
	char path[32];

	strcpy(top, "/tmp/t_exec_room.XXXXXX");
	assert_non_null(mkdtemp(top));
	cgroups = (struct gm_cgroups){ .n_roots = 1, .memory = 0 };
	cgroups.roots[0].unified = true;
	cgroups.roots[0].controller = "memory";
	snprintf(cgroups.proc, sizeof(cgroups.proc), "%s/proc", top);
	snprintf(cgroups.roots[0].at, sizeof(cgroups.roots[0].at), "%s/fs", top);
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)getpid());
	put(path, "0::/shared/vm\n");
	myself = pidfd_open(getpid(), 0);
	assert_true(myself >= 0);
	now = 1000;
	assert_non_null(gm_fake_reset());
	gm_book_init(&book);
	assert_int_equal(gm_exec_init(&exec, &book), 0);
	assert_int_equal(gm_crew_hub_new((struct gm_loop_ref){ 0 }, NULL, 4, 0, &hub), 0);
	exec.hub = hub;
	exec.loop.ops = &loop_ops;
	exec.charging.mode = GM_CHARGE_VMM;
	exec.charging.cgroups = &cgroups;
	make_objects();
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	(void)stat;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void stop(void)
{
	assert_int_equal(gm_exec_end_domain(&exec, region->domain), 0);
	gm_book_close_session(&book, session);
	gm_exec_done(&exec);
	gm_crew_hub_free(hub);
	gm_book_done(&book);
	gm_fd_close(myself);
	(void)nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A job that begins is cancelled at once. */
static int try(struct gm_refusal *refusal)
{
	struct gm_range range = { .length = REGION_SIZE };
	struct gm_exec_job *job;
	int r = gm_exec_start_job(&exec, session, myself, region, GM_PAGE_OP_ALLOCATE, &range, 1,
				  &job_ops, NULL, &job, refusal);

	if (r == 0) {
		gm_exec_cancel_job(job);
		fake_crew_finish(fake_crew_first(hub));
	}
	return r;
}

static void of_its_own_group_a_tenant_is_told_all(void **state)
{
	struct gm_exec_observed seen;
	struct gm_refusal refusal = { 0 };

	(void)state;
	start();
	put_group("/shared", "max\n", "4000000\n");
	put_group("/shared/vm", "2000000\n", "1000000\n");
	assert_int_equal(try(&refusal), GM_NO_RESOURCE);
	assert_int_equal(refusal.rule, GM_RULE_MEMORY_CGROUP);
	assert_string_equal(refusal.text, "out of memory in cgroup /shared/vm: limit 2000000, "
					  "usage 1000000, asked 16777216");
	assert_int_equal(refusal.limit, 2000000);
	assert_int_equal(refusal.used, 1000000);
	assert_int_equal(gm_exec_observe(&exec, &session->peer, myself, &seen), 0);
	assert_true(seen.has_figures);
	assert_int_equal(seen.usage, 1000000);
	assert_int_equal(seen.limit, 2000000);
	stop();
}

static void of_a_group_that_others_are_in_it_is_told_no_figure(void **state)
{
	struct gm_refusal refusal = { 0 };

	(void)state;
	start();
	put_group("/shared", "5000000\n", "4000000\n");
	put_group("/shared/vm", "max\n", "1000000\n");
	assert_int_equal(try(&refusal), GM_NO_RESOURCE);
	assert_int_equal(refusal.rule, GM_RULE_MEMORY_CGROUP);
	assert_string_equal(refusal.text,
			    "out of memory in a cgroup above /shared/vm: asked 16777216");
	assert_int_equal(refusal.limit, 0);
	assert_int_equal(refusal.used, 0);
	assert_int_equal(refusal.asked, REGION_SIZE);
	/* The operator is. */
	assert_string_equal(refusal.unsaid, "/shared: limit 5000000, usage 4000000");
	stop();
}

static void a_group_without_the_controller_shows_nothing_of_the_one_above(void **state)
{
	struct gm_exec_observed seen;
	struct gm_refusal refusal = { 0 };

	(void)state;
	start();
	put_group("/shared", "5000000\n", "4000000\n");
	put("/fs/shared/vm/cgroup.type", "domain\n");
	assert_int_equal(gm_exec_observe(&exec, &session->peer, myself, &seen), 0);
	assert_string_equal(seen.cgroup, "/shared/vm");
	assert_false(seen.has_figures);
	assert_int_equal(seen.usage, 0);
	assert_int_equal(try(&refusal), GM_NO_RESOURCE);
	assert_int_equal(refusal.limit, 0);
	stop();
}

static void who_has_looked_too_often_gets_the_nearest_group_only(void **state)
{
	struct gm_refusal refusal;
	unsigned n = 0;

	(void)state;
	start();
	put_group("/shared", "5000000\n", "4000000\n");
	put_group("/shared/vm", "100000000\n", "1000000\n");
	/* Each look has its price: in no time at all there are only so many. */
	while (n < 5000 && try(&refusal) == GM_NO_RESOURCE)
		n++;
	assert_in_range(n, 100, 4999);
	/* And a limit of its own holds all the same. */
	put_group("/shared/vm", "2000000\n", "1000000\n");
	assert_int_equal(try(&refusal), GM_NO_RESOURCE);
	assert_int_equal(refusal.limit, 2000000);
	put_group("/shared/vm", "100000000\n", "1000000\n");
	assert_int_equal(try(&refusal), 0);
	now += 1000;
	assert_int_equal(try(&refusal), GM_NO_RESOURCE);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(of_its_own_group_a_tenant_is_told_all),
		gm_test(of_a_group_that_others_are_in_it_is_told_no_figure),
		gm_test(a_group_without_the_controller_shows_nothing_of_the_one_above),
		gm_test(who_has_looked_too_often_gets_the_nearest_group_only),
	};

	return gm_test_run("exec_room", tests, GM_ARRAY_SIZE(tests));
}
