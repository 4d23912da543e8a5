/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_fdset.h"

#include <errno.h>

#include "gm_fd.h"

int gm_fdset_add(struct gm_fdset *set, int fd)
{
	if (set->n_fds >= GM_FDSET_MAX)
		return -ENOSPC;
	set->fds[set->n_fds++] = fd;
	return 0;
}

int gm_fdset_peek(const struct gm_fdset *set, size_t i)
{
	return i < set->n_fds ? set->fds[i] : -1;
}

int gm_fdset_steal(struct gm_fdset *set, size_t i)
{
	int fd = gm_fdset_peek(set, i);

	if (fd >= 0)
		set->fds[i] = -1;
	return fd;
}

void gm_fdset_move(struct gm_fdset *to, struct gm_fdset *from)
{
	gm_fdset_done(to);
	*to = *from;
	from->n_fds = 0;
}

void gm_fd_sink(const struct gm_fd_sink *sink, int fd)
{
	if (fd >= 0 && sink->close)
		sink->close(sink->arg, fd);
	else
		gm_fd_close(fd);
}

void gm_fdset_sink(struct gm_fdset *set, const struct gm_fd_sink *sink)
{
	for (size_t i = 0; i < set->n_fds; i++)
		gm_fd_sink(sink, set->fds[i]);
	set->n_fds = 0;
}

void gm_fdset_done(struct gm_fdset *set)
{
	gm_fdset_sink(set, &(struct gm_fd_sink){ 0 });
}
