/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers and their places: into which control groups a worker is put, and what becomes of one that
 * cannot be. The groups are folders with a file "cgroup.procs"; real ones are t_who_pays's.
 */
#include "crew_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gm_fd.h"

static char top[64];
static struct gm_cgroups groups;

static void file_of(const char *group, char path[128])
{
	snprintf(path, 128, "%s%s/cgroup.procs", top, group);
}

static void make_group(const char *group)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s%s", top, group);
	assert_int_equal(mkdir(path, 0700), 0);
	file_of(group, path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	gm_fd_close(fd);
}

static void remove_group(const char *group)
{
	char path[128];

	file_of(group, path);
	(void)unlink(path);
	snprintf(path, sizeof(path), "%s%s", top, group);
	assert_int_equal(rmdir(path), 0);
}

/* Who was put there last, or 0. */
static pid_t put_into(const char *group)
{
	char path[128], text[32] = "";
	int fd;

	file_of(group, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	gm_fd_close(fd);
	return (pid_t)strtol(text, NULL, 10);
}

static void set_up(const struct gm_cgroups *with)
{
	strcpy(top, "/tmp/t_charge.XXXXXX");
	assert_non_null(mkdtemp(top));
	groups = (struct gm_cgroups){ .proc = "/proc", .n_roots = 1 };
	groups.roots[0].controller = "memory";
	snprintf(groups.roots[0].at, sizeof(groups.roots[0].at), "%s", top);
	make_group("/a");
	make_group("/b");
	begin_with(with, 4, 60000);
}

static void tear_down(void)
{
	end();
	remove_group("/a");
	remove_group("/b");
	assert_int_equal(rmdir(top), 0);
}

static struct gm_cgroup_place *place_new(const char *path, bool may_stay)
{
	size_t length = strlen(path) + 1;
	struct gm_cgroup_place *place = malloc(sizeof(*place) + length);

	assert_non_null(place);
	*place = (struct gm_cgroup_place){ .n_users = 1,
					   .may_stay = may_stay,
					   .length = (uint32_t)length };
	memcpy(place->text, path, length);
	return place;
}

/* The caller's place is used up. */
static struct work do_at(struct gm_crew *crew, struct gm_cgroup_place *place)
{
	struct gm_job_order order = order_of("memfd", GM_JOB_ALLOCATE, CHUNK, 2);
	struct work work = { 0 };

	assert_int_equal(gm_crew_submit(crew, &order, memory, place, &job_ops, &work, &work.job),
			 0);
	gm_cgroup_place_drop(place);
	run_until_ended(&work);
	return work;
}

static void a_worker_is_put_into_its_place_before_it_works(void **state)
{
	struct gm_crew *crew;

	(void)state;
	set_up(&groups);
	crew = crew_new();
	assert_int_equal(do_at(crew, place_new("/a", false)).how, GM_JOB_DONE);
	assert_int_equal(put_into("/a"), the_worker());
	assert_int_equal(put_into("/b"), 0);
	gm_crew_free(crew);
	tear_down();
}

static void a_job_of_another_place_gets_another_worker_and_one_of_the_same_does_not(void **state)
{
	struct gm_crew *crew;
	pid_t first;

	(void)state;
	set_up(&groups);
	crew = crew_new();
	assert_int_equal(do_at(crew, place_new("/a", false)).how, GM_JOB_DONE);
	first = the_worker();
	assert_int_equal(do_at(crew, place_new("/a", false)).how, GM_JOB_DONE);
	assert_int_equal(the_worker(), first);
	assert_int_equal(do_at(crew, place_new("/b", false)).how, GM_JOB_DONE);
	run_for(50);
	assert_int_not_equal(the_worker(), first);
	assert_int_equal(put_into("/b"), the_worker());
	/* And back to where nobody is named. */
	assert_int_equal(do_at(crew, NULL).how, GM_JOB_DONE);
	run_for(50);
	assert_int_not_equal(put_into("/b"), the_worker());
	gm_crew_free(crew);
	tear_down();
}

static void a_job_whose_place_has_gone_ends_as_displaced_and_nothing_is_done(void **state)
{
	struct gm_crew *crew;
	struct work work;

	(void)state;
	set_up(&groups);
	crew = crew_new();
	work = do_at(crew, place_new("/gone", false));
	assert_int_equal(work.how, GM_JOB_DISPLACED);
	assert_int_equal(work.error, -ENOENT);
	assert_int_equal(work.bytes, 0);
	assert_int_equal(memory_allocated(memory), 0);
	work = do_at(crew, place_new("/a/../b", false));
	assert_int_equal(work.how, GM_JOB_DISPLACED);
	assert_int_equal(work.error, -EINVAL);
	/* The next one has better luck. */
	assert_int_equal(do_at(crew, place_new("/a", false)).how, GM_JOB_DONE);
	assert_int_equal(gm_crew_hub_displaced(hub), 0);
	gm_crew_free(crew);
	tear_down();
}

static void a_job_that_may_stay_is_done_all_the_same_and_the_hub_knows_why(void **state)
{
	struct gm_crew *crew;

	(void)state;
	set_up(&groups);
	crew = crew_new();
	assert_int_equal(do_at(crew, place_new("/gone", true)).how, GM_JOB_DONE);
	assert_int_equal(gm_crew_hub_displaced(hub), -ENOENT);
	gm_crew_free(crew);
	tear_down();
}

static void a_spawner_without_groups_puts_nobody_anywhere(void **state)
{
	struct gm_crew *crew;
	struct work work;

	(void)state;
	set_up(NULL);
	crew = crew_new();
	work = do_at(crew, place_new("/a", false));
	assert_int_equal(work.how, GM_JOB_DISPLACED);
	assert_int_equal(work.error, -EOPNOTSUPP);
	gm_crew_free(crew);
	tear_down();
}

static void a_crew_that_is_disbanded_leaves_its_place_at_once(void **state)
{
	struct gm_crew *crew;
	pid_t pid;

	(void)state;
	set_up(&groups);
	crew = crew_new();
	gm_crew_disband(crew);
	assert_int_equal(do_at(crew, place_new("/a", false)).how, GM_JOB_DONE);
	gm_crew_disband(crew);
	run_for(50);
	assert_int_equal(workers(&pid, 1), 0);
	assert_int_equal(do_at(crew, place_new("/b", false)).how, GM_JOB_DONE);
	gm_crew_free(crew);
	gm_crew_disband(NULL);
	tear_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_worker_is_put_into_its_place_before_it_works),
		gm_test(a_job_of_another_place_gets_another_worker_and_one_of_the_same_does_not),
		gm_test(a_job_whose_place_has_gone_ends_as_displaced_and_nothing_is_done),
		gm_test(a_job_that_may_stay_is_done_all_the_same_and_the_hub_knows_why),
		gm_test(a_spawner_without_groups_puts_nobody_anywhere),
		gm_test(a_crew_that_is_disbanded_leaves_its_place_at_once),
	};

	return gm_test_run("charge", tests, GM_ARRAY_SIZE(tests));
}
