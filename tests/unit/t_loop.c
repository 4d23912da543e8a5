/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: what a watch and a timer promise. */
#include "gm_test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gm_cleanup.h"
#include "loop.h"

struct fixture {
	struct gm_event_loop *loop;
	struct gm_loop_ref ref;
	struct gm_watch *end;
	int pair[2];
};

static void on_end(void *arg)
{
	gm_event_loop_stop(arg);
}

static void fixture_init(struct fixture *f)
{
	assert_int_equal(gm_event_loop_new(&f->loop), 0);
	f->ref = gm_event_loop_ref(f->loop);
	assert_int_equal(f->ref.ops->timer_new(f->ref.loop, on_end, f->loop, &f->end), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, f->pair), 0);
}

static void fixture_done(struct fixture *f)
{
	f->ref.ops->watch_free(f->end);
	gm_event_loop_free(f->loop);
	close(f->pair[0]);
	if (f->pair[1] >= 0)
		close(f->pair[1]);
}

static void run_for(struct fixture *f, uint64_t ms)
{
	f->ref.ops->timer_set(f->end, ms);
	assert_int_equal(gm_event_loop_run(f->loop), 0);
}

static void count(void *arg)
{
	(*(unsigned *)arg)++;
}

struct reader {
	int fd;
	unsigned n_calls;
	ssize_t result;
};

static void read_one(void *arg)
{
	struct reader *reader = arg;
	char byte;

	reader->n_calls++;
	reader->result = recv(reader->fd, &byte, 1, MSG_DONTWAIT);
}

static void a_watch_calls_for_each_packet_and_for_the_end(void **state)
{
	struct fixture f;
	struct gm_watch *watch;
	struct reader reader = { .n_calls = 0 };

	(void)state;
	fixture_init(&f);
	reader.fd = f.pair[0];
	assert_int_equal(f.ref.ops->watch_read(f.ref.loop, f.pair[0], read_one, &reader, &watch),
			 0);
	assert_int_equal(send(f.pair[1], "ab", 1, 0), 1);
	assert_int_equal(send(f.pair[1], "cd", 1, 0), 1);
	run_for(&f, 20);
	assert_int_equal(reader.n_calls, 2);
	assert_int_equal(reader.result, 1);

	/* The end stays readable: one call is enough here, many are expected. */
	close(f.pair[1]);
	f.pair[1] = -1;
	run_for(&f, 5);
	assert_true(reader.n_calls > 2);
	assert_int_equal(reader.result, 0);
	f.ref.ops->watch_free(watch);
	fixture_done(&f);
}

struct self_ending {
	struct fixture *f;
	struct gm_watch *own;
	struct gm_watch *other;
	unsigned *n_calls;
};

static void end_both(void *arg)
{
	struct self_ending *s = arg;

	(*s->n_calls)++;
	s->f->ref.ops->watch_free(s->own);
	s->f->ref.ops->watch_free(s->other);
	s->own = NULL;
	s->other = NULL;
}

static void a_watch_may_be_ended_inside_its_own_callback_and_inside_anothers(void **state)
{
	struct fixture f;
	struct self_ending a = { .f = &f }, b = { .f = &f };
	unsigned n_calls = 0;

	(void)state;
	fixture_init(&f);
	a.n_calls = b.n_calls = &n_calls;
	/* Both are readable in the same turn: whoever comes first ends both. */
	assert_int_equal(send(f.pair[0], "x", 1, 0), 1);
	assert_int_equal(send(f.pair[1], "x", 1, 0), 1);
	assert_int_equal(f.ref.ops->watch_read(f.ref.loop, f.pair[0], end_both, &a, &a.own), 0);
	assert_int_equal(f.ref.ops->watch_read(f.ref.loop, f.pair[1], end_both, &b, &b.own), 0);
	a.other = b.own;
	b.other = a.own;
	run_for(&f, 20);
	assert_int_equal(n_calls, 1);
	fixture_done(&f);
}

static void a_timer_fires_once_for_each_time_it_is_set(void **state)
{
	struct fixture f;
	struct gm_watch *timer;
	unsigned n_calls = 0;

	(void)state;
	fixture_init(&f);
	assert_int_equal(f.ref.ops->timer_new(f.ref.loop, count, &n_calls, &timer), 0);
	run_for(&f, 10);
	assert_int_equal(n_calls, 0);
	f.ref.ops->timer_set(timer, 5);
	run_for(&f, 40);
	assert_int_equal(n_calls, 1);
	f.ref.ops->timer_set(timer, 0);
	run_for(&f, 20);
	assert_int_equal(n_calls, 2);
	f.ref.ops->watch_free(timer);
	fixture_done(&f);
}

static void setting_a_timer_again_replaces_its_time(void **state)
{
	struct fixture f;
	struct gm_watch *timer;
	unsigned n_calls = 0;

	(void)state;
	fixture_init(&f);
	assert_int_equal(f.ref.ops->timer_new(f.ref.loop, count, &n_calls, &timer), 0);
	f.ref.ops->timer_set(timer, 5);
	f.ref.ops->timer_set(timer, UINT64_MAX);
	run_for(&f, 30);
	assert_int_equal(n_calls, 0);
	f.ref.ops->watch_free(timer);
	fixture_done(&f);
}

static void the_clock_of_the_loop_goes_on_and_never_back(void **state)
{
	struct fixture f;
	uint64_t before, after;

	(void)state;
	fixture_init(&f);
	before = f.ref.ops->now_ms(f.ref.loop);
	run_for(&f, 30);
	after = f.ref.ops->now_ms(f.ref.loop);
	assert_true(after >= before + 25);
	assert_true(after < before + 10000);
	fixture_done(&f);
}

static void a_signal_calls_outside_signal_context_each_time(void **state)
{
	struct fixture f;
	struct gm_watch *watch;
	unsigned n_calls = 0;

	(void)state;
	fixture_init(&f);
	assert_int_equal(gm_event_loop_signal(f.loop, SIGUSR1, count, &n_calls, &watch), 0);
	raise(SIGUSR1);
	assert_int_equal(n_calls, 0);
	run_for(&f, 20);
	assert_int_equal(n_calls, 1);
	raise(SIGUSR1);
	run_for(&f, 20);
	assert_int_equal(n_calls, 2);
	f.ref.ops->watch_free(watch);
	fixture_done(&f);
}

static void ending_no_watch_is_allowed(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.ref.ops->watch_free(NULL);
	gm_event_loop_free(NULL);
	fixture_done(&f);
}

static void a_failed_allocation_is_returned(void **state)
{
	struct gm_event_loop *loop = NULL;
	struct fixture f;
	struct gm_watch *watch = NULL;

	(void)state;
	for (long nth = 1; nth <= 2; nth++) {
		gm_test_fail_allocation(nth);
		assert_int_equal(gm_event_loop_new(&loop), -ENOMEM);
		gm_test_fail_allocation(0);
		assert_null(loop);
	}
	fixture_init(&f);
	gm_test_fail_allocation(1);
	assert_int_equal(f.ref.ops->timer_new(f.ref.loop, on_end, f.loop, &watch), -ENOMEM);
	gm_test_fail_allocation(0);
	assert_null(watch);
	fixture_done(&f);
}

/* A child of ours lives in a time namespace where the host has slept for 1000 seconds. */
static bool sleep_with_the_host(void)
{
	static const char offsets[] = "boottime 1000 0";
	_gm_close_ int fd = -1;

	if (unshare(CLONE_NEWTIME) < 0)
		return false;
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, offsets, sizeof(offsets) - 1) == (ssize_t)sizeof(offsets) - 1;
}

static uint64_t monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void the_time_in_which_the_host_was_suspended_counts(void **state)
{
	uint64_t before, slept_ms;
	struct fixture f;
	int status;
	pid_t child;

	(void)state;
	fixture_init(&f);
	before = f.ref.ops->now_ms(f.ref.loop) - monotonic_ms();
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (!sleep_with_the_host())
			_exit(77);
		/* The namespace is for children. */
		child = fork();
		if (child == 0) {
			slept_ms = f.ref.ops->now_ms(f.ref.loop) - monotonic_ms() - before;
			_exit(slept_ms >= 999000 && slept_ms <= 1001000 ? 0 : 1);
		}
		_exit(waitpid(child, &status, 0) == child && status == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	fixture_done(&f);
	if (WEXITSTATUS(status) == 77) {
		print_message("no time namespace can be made here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_watch_calls_for_each_packet_and_for_the_end),
		gm_test(a_watch_may_be_ended_inside_its_own_callback_and_inside_anothers),
		gm_test(a_timer_fires_once_for_each_time_it_is_set),
		gm_test(setting_a_timer_again_replaces_its_time),
		gm_test(the_clock_of_the_loop_goes_on_and_never_back),
		gm_test(a_signal_calls_outside_signal_context_each_time),
		gm_test(ending_no_watch_is_allowed),
		gm_test(a_failed_allocation_is_returned),
		gm_test(the_time_in_which_the_host_was_suspended_counts),
	};

	return gm_test_run("loop", tests, GM_ARRAY_SIZE(tests));
}
