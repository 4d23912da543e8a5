/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers and their places: into which control groups a worker is put, and what becomes of one that
 * cannot be. The groups are folders with a file "cgroup.procs"; real ones are t_who_pays's.
 */
#include "crew_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

/* @text: a path for each root, each with its NUL. */
static struct gm_cgroup_place *place_with(const char *text, size_t length, bool may_stay)
{
	struct gm_cgroup_place *place = malloc(sizeof(*place) + length);

	assert_non_null(place);
	*place = (struct gm_cgroup_place){ .n_users = 1,
					   .may_stay = may_stay,
					   .length = (uint32_t)length };
	memcpy(place->text, text, length);
	return place;
}

static struct gm_cgroup_place *place_new(const char *path, bool may_stay)
{
	return place_with(path, strlen(path) + 1, may_stay);
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

/* Version 1: a root for each of @n controllers, all with the group "/a". */
static void set_up_roots(const char *const *controllers, unsigned n)
{
	char path[128];

	strcpy(top, "/tmp/t_charge.XXXXXX");
	assert_non_null(mkdtemp(top));
	groups = (struct gm_cgroups){ .proc = "/proc", .n_roots = n };
	for (unsigned i = 0; i < n; i++) {
		groups.roots[i].controller = controllers[i];
		snprintf(groups.roots[i].at, sizeof(groups.roots[i].at), "%s/%s", top,
			 controllers[i]);
		assert_int_equal(mkdir(groups.roots[i].at, 0700), 0);
		snprintf(path, sizeof(path), "/%s/a", controllers[i]);
		make_group(path);
	}
	begin_with(&groups, 4, 60000);
}

static void tear_down_roots(void)
{
	char path[128];

	end();
	for (unsigned i = 0; i < groups.n_roots; i++) {
		snprintf(path, sizeof(path), "/%s/a", groups.roots[i].controller);
		remove_group(path);
		assert_int_equal(rmdir(groups.roots[i].at), 0);
	}
	assert_int_equal(rmdir(top), 0);
}

static void who_cannot_be_settled_is_not_where_cpu_time_is_rationed(void **state)
{
	static const char *const controllers[] = { "cpu", "memory" };
	static const char paths[] = "/a\0/gone";
	struct gm_crew *crew;

	(void)state;
	set_up_roots(controllers, GM_ARRAY_SIZE(controllers));
	crew = crew_new();
	assert_int_equal(do_at(crew, place_with(paths, sizeof(paths), false)).how,
			 GM_JOB_DISPLACED);
	assert_int_equal(put_into("/cpu/a"), 0);
	gm_crew_free(crew);
	tear_down_roots();
}

/*
 * Holds on to the first child that the spawner moves: nobody else can reap a process whose tracer
 * has not heard of its end, as nobody can one that gets no CPU time to end with.
 */
struct holder {
	pthread_t thread;
	int told, stop; /* FIFOs, both ends; a write to @stop goes on when it is read from */
	pid_t pid;
	int error;
	bool done;
	pthread_mutex_t lock;
	pthread_cond_t changed;
};

static void *hold(void *arg)
{
	struct holder *holder = arg;
	char text[4096] = "";

	if (read(holder->told, text, sizeof(text) - 1) < 0)
		holder->error = errno;
	holder->pid = (pid_t)strtol(text, NULL, 10);
	if (ptrace(PTRACE_SEIZE, holder->pid, NULL, NULL) < 0)
		holder->error = errno;
	/* The spawner goes on, to the group that is not there. */
	(void)!read(holder->stop, text, sizeof(text));
	(void)pthread_mutex_lock(&holder->lock);
	while (!holder->done)
		(void)pthread_cond_wait(&holder->changed, &holder->lock);
	(void)pthread_mutex_unlock(&holder->lock);
	(void)waitpid(holder->pid, NULL, __WALL);
	return NULL;
}

static int make_fifo(const char *group)
{
	char path[128];
	int fd;

	file_of(group, path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void fill(int fifo)
{
	static const char page[4096];
	int flags = fcntl(fifo, F_GETFL);

	assert_int_equal(fcntl(fifo, F_SETFL, flags | O_NONBLOCK), 0);
	while (write(fifo, page, sizeof(page)) > 0)
		;
	assert_int_equal(fcntl(fifo, F_SETFL, flags), 0);
}

static void a_child_that_does_not_come_to_its_end_stops_nobody(void **state)
{
	static const char *const controllers[] = { "memory", "cpuacct", "cpuset" };
	static const char paths[] = "/a\0/a\0/gone";
	struct holder holder = { .lock = PTHREAD_MUTEX_INITIALIZER,
				 .changed = PTHREAD_COND_INITIALIZER };
	struct gm_crew *crew;
	struct work work;

	(void)state;
	set_up_roots(controllers, GM_ARRAY_SIZE(controllers));
	holder.told = make_fifo("/memory/a");
	holder.stop = make_fifo("/cpuacct/a");
	fill(holder.stop);
	assert_int_equal(pthread_create(&holder.thread, NULL, hold, &holder), 0);
	crew = crew_new();
	work = do_at(crew, place_with(paths, sizeof(paths), false));
	assert_int_equal(work.how, GM_JOB_DISPLACED);
	assert_int_equal(work.error, -ENOENT);
	assert_int_equal(holder.error, 0);
	/* It is still there, and others get workers. */
	assert_int_equal(kill(holder.pid, 0), 0);
	assert_int_equal(do_at(crew, NULL).how, GM_JOB_DONE);
	(void)pthread_mutex_lock(&holder.lock);
	holder.done = true;
	(void)pthread_cond_signal(&holder.changed);
	(void)pthread_mutex_unlock(&holder.lock);
	assert_int_equal(pthread_join(holder.thread, NULL), 0);
	gm_fd_close(holder.told);
	gm_fd_close(holder.stop);
	gm_crew_free(crew);
	tear_down_roots();
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
		gm_test(who_cannot_be_settled_is_not_where_cpu_time_is_rationed),
		gm_test(a_child_that_does_not_come_to_its_end_stops_nobody),
	};

	return gm_test_run("charge", tests, GM_ARRAY_SIZE(tests));
}
