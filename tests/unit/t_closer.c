/* SPDX-License-Identifier: Apache-2.0 */
/* Fds of strangers: a close that does not come back keeps nobody waiting but its own tenant. */
#include "gm_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "closer.h"
#include "gm_fd.h"

#define TENANTS 4

static struct gm_closer closer;
static struct gm_closer_account accounts[TENANTS];

/* Fds whose close waits, as that of a file on FUSE waits for the file's server. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t change = PTHREAD_COND_INITIALIZER;
static bool sticky[1024];
static bool let_go;
static unsigned n_stuck, n_closed;

void __real_gm_fd_close(int fd);
void __wrap_gm_fd_close(int fd);

void __wrap_gm_fd_close(int fd)
{
	pthread_mutex_lock(&lock);
	if (fd >= 0 && sticky[fd]) {
		n_stuck++;
		pthread_cond_broadcast(&change);
		while (!let_go)
			pthread_cond_wait(&change, &lock);
		n_stuck--;
		sticky[fd] = false;
	}
	pthread_mutex_unlock(&lock);
	__real_gm_fd_close(fd);
	pthread_mutex_lock(&lock);
	n_closed++;
	pthread_cond_broadcast(&change);
	pthread_mutex_unlock(&lock);
}

static int new_fd(bool sticks)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_in_range(fd, 3, GM_ARRAY_SIZE(sticky) - 1);
	pthread_mutex_lock(&lock);
	sticky[fd] = sticks;
	pthread_mutex_unlock(&lock);
	return fd;
}

/* Within a few seconds, or the test fails. */
static void wait_for(const unsigned *counter, unsigned value)
{
	struct timespec deadline;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += 10;
	pthread_mutex_lock(&lock);
	while (*counter != value && r == 0)
		r = pthread_cond_timedwait(&change, &lock, &deadline);
	pthread_mutex_unlock(&lock);
	assert_int_equal(r, 0);
}

static void begin(void)
{
	let_go = false;
	n_stuck = n_closed = 0;
	assert_int_equal(gm_closer_start(&closer, GM_SANDBOX_OFF), 0);
	for (unsigned i = 0; i < TENANTS; i++)
		gm_closer_open(&closer, &accounts[i]);
}

static void end(void)
{
	pthread_mutex_lock(&lock);
	let_go = true;
	pthread_cond_broadcast(&change);
	pthread_mutex_unlock(&lock);
	gm_closer_stop(&closer);
}

static void a_disposed_fd_is_closed_by_another_thread(void **state)
{
	int fd;

	(void)state;
	begin();
	fd = new_fd(false);
	gm_closer_dispose(&accounts[0], fd);
	wait_for(&n_closed, 1);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	end();
}

static void what_waits_is_closed_before_the_closer_stops(void **state)
{
	(void)state;
	begin();
	for (unsigned i = 0; i < 40; i++)
		gm_closer_dispose(&accounts[i % TENANTS], new_fd(false));
	end();
	assert_int_equal(n_closed, 40);
}

static void a_close_that_hangs_keeps_only_its_own_tenant_waiting(void **state)
{
	(void)state;
	begin();
	for (unsigned i = 0; i < 2 * GM_CLOSER_THREADS; i++)
		gm_closer_dispose(&accounts[0], new_fd(true));
	wait_for(&n_stuck, 1);
	for (unsigned i = 0; i < 10; i++)
		gm_closer_dispose(&accounts[1], new_fd(false));
	wait_for(&n_closed, 10);
	/* However many it has passed, it has one thread. */
	wait_for(&n_stuck, 1);
	end();
	assert_int_equal(n_closed, 10 + 2 * GM_CLOSER_THREADS);
}

static void a_tenant_is_full_until_some_of_its_fds_are_closed(void **state)
{
	(void)state;
	begin();
	for (unsigned i = 0; i < GM_CLOSER_FDS_MAX; i++) {
		assert_false(gm_closer_is_full(&accounts[0]));
		gm_closer_dispose(&accounts[0], new_fd(true));
	}
	assert_true(gm_closer_is_full(&accounts[0]));
	assert_false(gm_closer_is_full(&accounts[1]));
	wait_for(&n_stuck, 1);
	end();
	assert_int_equal(n_closed, GM_CLOSER_FDS_MAX);
}

static void a_stuck_tenant_is_told_once(void **state)
{
	unsigned n_fds = 0;

	(void)state;
	begin();
	gm_closer_dispose(&accounts[0], new_fd(true));
	gm_closer_dispose(&accounts[0], new_fd(false));
	wait_for(&n_stuck, 1);
	for (unsigned i = 1; i < GM_CLOSER_STUCK_LOOKS; i++)
		assert_false(gm_closer_look(&accounts[0], &n_fds));
	assert_true(gm_closer_look(&accounts[0], &n_fds));
	assert_int_equal(n_fds, 2);
	for (unsigned i = 0; i < 2 * GM_CLOSER_STUCK_LOOKS; i++) {
		assert_false(gm_closer_look(&accounts[0], &n_fds));
		assert_false(gm_closer_look(&accounts[1], &n_fds));
	}
	end();
}

static void one_that_goes_on_closing_is_not_stuck(void **state)
{
	unsigned n_fds;

	(void)state;
	begin();
	for (unsigned i = 1; i <= 3 * GM_CLOSER_STUCK_LOOKS; i++) {
		gm_closer_dispose(&accounts[0], new_fd(false));
		wait_for(&n_closed, i);
		assert_false(gm_closer_look(&accounts[0], &n_fds));
	}
	end();
}

static void without_a_closer_fds_are_closed_at_once(void **state)
{
	struct gm_closer_account none = { .closer = NULL };
	int fd = new_fd(false);

	(void)state;
	gm_closer_dispose(&none, fd);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_false(gm_closer_is_full(&none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_disposed_fd_is_closed_by_another_thread),
		gm_test(what_waits_is_closed_before_the_closer_stops),
		gm_test(a_close_that_hangs_keeps_only_its_own_tenant_waiting),
		gm_test(a_tenant_is_full_until_some_of_its_fds_are_closed),
		gm_test(a_stuck_tenant_is_told_once),
		gm_test(one_that_goes_on_closing_is_not_stuck),
		gm_test(without_a_closer_fds_are_closed_at_once),
	};

	return gm_test_run("closer", tests, GM_ARRAY_SIZE(tests));
}
