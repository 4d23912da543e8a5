/* SPDX-License-Identifier: Apache-2.0 */
#include "keep_janitor.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "gm_cleanup.h"

/* The thread calls nothing deep. */
#define STACK_SIZE ((size_t)128 * 1024)

static void *run(void *arg)
{
	const struct gm_keep_janitor *janitor = arg;
	ssize_t n;
	int fd;

	/* A number is written in one piece, and read in one. */
	while ((n = read(janitor->inbox, &fd, sizeof(fd))) != 0)
		if (n == sizeof(fd))
			gm_fd_close(fd);
	return NULL;
}

static int start_thread(struct gm_keep_janitor *janitor)
{
	pthread_attr_t attr;
	int error = pthread_attr_init(&attr);

	if (error)
		return -error;
	error = pthread_attr_setstacksize(&attr, STACK_SIZE);
	if (!error)
		error = pthread_create(&janitor->thread, &attr, run, janitor);
	(void)pthread_attr_destroy(&attr);
	return -error;
}

int gm_keep_janitor_start(struct gm_keep_janitor *janitor)
{
	int ends[2], error;

	*janitor = GM_KEEP_JANITOR_NULL;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	janitor->inbox = ends[0];
	janitor->orders = ends[1];
	/* Only our end: the thread is to wait. */
	error = fcntl(janitor->orders, F_SETFL, O_NONBLOCK) < 0 ? -errno : start_thread(janitor);
	if (error) {
		gm_fd_close(ends[0]);
		gm_fd_close(ends[1]);
		*janitor = GM_KEEP_JANITOR_NULL;
	}
	return error;
}

void gm_keep_janitor_close(const struct gm_keep_janitor *janitor, int fd)
{
	if (janitor->orders < 0 || write(janitor->orders, &fd, sizeof(fd)) != sizeof(fd))
		gm_fd_close(fd);
}

void gm_keep_janitor_stop(struct gm_keep_janitor *janitor)
{
	if (janitor->orders < 0)
		return;
	/* The thread reads what is left, and then the end. */
	gm_fd_close(gm_take_fd(&janitor->orders));
	(void)pthread_join(janitor->thread, NULL);
	gm_fd_close(gm_take_fd(&janitor->inbox));
}
