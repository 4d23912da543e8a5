/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fds of one message, as one owned object. What nobody steals is closed with the set.
 */
#ifndef GM_FDSET_H
#define GM_FDSET_H

#include <stddef.h>

#include "gm_num.h"

/* Most fds that one message carries, either direction. */
#define GM_FDSET_MAX 8

struct gm_fdset {
	size_t n_fds;
	int fds[GM_FDSET_MAX];
};

/*
 * Where fds go that nobody wants. Whoever is the last to close a file waits for it, and a peer that
 * passed it can make that long.
 */
struct gm_fd_sink {
	void (*close)(void *arg, int fd); /* takes @fd; NULL: close(2) */
	void *arg;
};

#define GM_FDSET_NULL ((struct gm_fdset){ 0 })

/* Takes @fd on success only. -ENOSPC when full. */
GM_WARN_UNUSED int gm_fdset_add(struct gm_fdset *set, int fd);

/* Borrows the @i-th fd, or -1 if there is none or it was stolen. */
int gm_fdset_peek(const struct gm_fdset *set, size_t i);

/* Hands over the @i-th fd, or -1. */
int gm_fdset_steal(struct gm_fdset *set, size_t i);

/* Moves all fds of @from to @to, which is emptied first. */
void gm_fdset_move(struct gm_fdset *to, struct gm_fdset *from);

/* Closes what is left. Idempotent. */
void gm_fdset_done(struct gm_fdset *set);

/* The same for fds of strangers. */
void gm_fdset_sink(struct gm_fdset *set, const struct gm_fd_sink *sink);
void gm_fd_sink(const struct gm_fd_sink *sink, int fd);

#endif
