/* SPDX-License-Identifier: Apache-2.0 */
#include "closer.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "gm_fd.h"

/* To load a filter is the deepest that a thread calls. */
#define STACK_SIZE ((size_t)128 * 1024)

/* How long stopping waits for what is being closed. */
#define STOP_S 1

static void lock(struct gm_closer *closer)
{
	(void)pthread_mutex_lock(&closer->lock);
}

static void unlock(struct gm_closer *closer)
{
	(void)pthread_mutex_unlock(&closer->lock);
}

/* Called with the lock, which is let go of for the close. */
static void close_next(struct gm_closer *closer)
{
	struct gm_closer_account *account = STAILQ_FIRST(&closer->ready);
	struct gm_closer_fd *next = STAILQ_FIRST(&account->queue);

	STAILQ_REMOVE_HEAD(&closer->ready, link);
	STAILQ_REMOVE_HEAD(&account->queue, link);
	account->busy = true;
	unlock(closer);
	gm_fd_close(next->fd);
	lock(closer);
	account->busy = false;
	account->n_fds--;
	account->n_closed++;
	STAILQ_INSERT_TAIL(&closer->spent, next, link);
	if (!STAILQ_EMPTY(&account->queue))
		STAILQ_INSERT_TAIL(&closer->ready, account, link);
}

static void *run(void *arg)
{
	struct gm_closer *closer = arg;
	int error = gm_sandbox_closer(closer->mode);

	lock(closer);
	closer->n_confined++;
	if (error)
		closer->error = error;
	(void)pthread_cond_signal(&closer->confined);
	while (!closer->stopping || !STAILQ_EMPTY(&closer->ready)) {
		if (STAILQ_EMPTY(&closer->ready))
			(void)pthread_cond_wait(&closer->work, &closer->lock);
		else
			close_next(closer);
	}
	unlock(closer);
	return NULL;
}

static int start_threads(struct gm_closer *closer)
{
	pthread_attr_t attr;
	int error = pthread_attr_init(&attr);

	if (error)
		return -error;
	error = pthread_attr_setstacksize(&attr, STACK_SIZE);
	while (!error && closer->n_threads < GM_CLOSER_THREADS) {
		error = pthread_create(&closer->threads[closer->n_threads], &attr, run, closer);
		if (!error)
			closer->n_threads++;
	}
	(void)pthread_attr_destroy(&attr);
	return -error;
}

static int wait_until_confined(struct gm_closer *closer)
{
	int error;

	lock(closer);
	while (closer->n_confined < closer->n_threads)
		(void)pthread_cond_wait(&closer->confined, &closer->lock);
	error = closer->error;
	unlock(closer);
	return error;
}

int gm_closer_start(struct gm_closer *closer, enum gm_sandbox_mode mode)
{
	sigset_t all, before;
	int error;

	*closer = (struct gm_closer){ .mode = mode };
	(void)pthread_mutex_init(&closer->lock, NULL);
	(void)pthread_cond_init(&closer->work, NULL);
	(void)pthread_cond_init(&closer->confined, NULL);
	STAILQ_INIT(&closer->ready);
	STAILQ_INIT(&closer->spent);
	/* Signals are for the loop's thread. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	error = start_threads(closer);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!error)
		error = wait_until_confined(closer);
	if (error)
		gm_closer_stop(closer);
	return error;
}

/* Called with the lock, or when no thread runs. */
static void free_spent(struct gm_closer *closer)
{
	struct gm_closer_fd *spent;

	while ((spent = STAILQ_FIRST(&closer->spent))) {
		STAILQ_REMOVE_HEAD(&closer->spent, link);
		free(spent);
	}
}

/* False: some are stuck, and still use the closer. */
static bool join_all(struct gm_closer *closer)
{
	struct timespec deadline;

	(void)clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += STOP_S;
	for (unsigned i = 0; i < closer->n_threads; i++)
		if (pthread_timedjoin_np(closer->threads[i], NULL, &deadline) != 0)
			return false;
	return true;
}

void gm_closer_stop(struct gm_closer *closer)
{
	if (closer->n_threads == 0)
		return;
	lock(closer);
	closer->stopping = true;
	(void)pthread_cond_broadcast(&closer->work);
	unlock(closer);
	if (!join_all(closer))
		return;
	closer->n_threads = 0;
	free_spent(closer);
	(void)pthread_cond_destroy(&closer->confined);
	(void)pthread_cond_destroy(&closer->work);
	(void)pthread_mutex_destroy(&closer->lock);
}

void gm_closer_open(struct gm_closer *closer, struct gm_closer_account *account)
{
	*account = (struct gm_closer_account){ .closer = closer };
	STAILQ_INIT(&account->queue);
}

void gm_closer_dispose(struct gm_closer_account *account, int fd)
{
	struct gm_closer *closer = account->closer;
	struct gm_closer_fd *next;

	if (fd < 0)
		return;
	next = closer ? malloc(sizeof(*next)) : NULL;
	if (!next) {
		gm_fd_close(fd);
		return;
	}
	next->fd = fd;
	lock(closer);
	free_spent(closer);
	if (STAILQ_EMPTY(&account->queue) && !account->busy)
		STAILQ_INSERT_TAIL(&closer->ready, account, link);
	STAILQ_INSERT_TAIL(&account->queue, next, link);
	account->n_fds++;
	(void)pthread_cond_signal(&closer->work);
	unlock(closer);
}

bool gm_closer_is_full(struct gm_closer_account *account)
{
	struct gm_closer *closer = account->closer;
	bool full;

	if (!closer)
		return false;
	lock(closer);
	full = account->n_fds >= GM_CLOSER_FDS_MAX;
	unlock(closer);
	return full;
}

bool gm_closer_look(struct gm_closer_account *account, unsigned *ret_n_fds)
{
	struct gm_closer *closer = account->closer;
	bool stuck;

	if (!closer)
		return false;
	lock(closer);
	free_spent(closer);
	if (account->n_fds == 0 || account->n_closed != account->seen)
		account->n_idle_looks = 0;
	else if (account->n_idle_looks <= GM_CLOSER_STUCK_LOOKS)
		account->n_idle_looks++;
	account->seen = account->n_closed;
	stuck = account->n_idle_looks == GM_CLOSER_STUCK_LOOKS;
	if (stuck)
		*ret_n_fds = account->n_fds;
	unlock(closer);
	return stuck;
}
