/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stored fds, by name, as systemd keeps them: a name may hold several, but no open file twice;
 * removing a name removes all of it.
 *
 * Bounded in number and in what the names take in the environment of the next process, so that it
 * can always be started with all of them.
 */
#ifndef GM_KEEP_FDS_H
#define GM_KEEP_FDS_H

#include "gm_num.h"
#include "keep_janitor.h"

#define GM_KEEP_NAME_MAX 255

struct gm_kept {
	uint32_t hash; /* of @name: a look for one touches no other name */
	int fd;
	char *name;
};

struct gm_keep_fds {
	struct gm_kept *kept;
	size_t n_kept;
	size_t n_room; /* that @kept has */
	size_t max;
	size_t names_length; /* of all names with a separator each, as in LISTEN_FDNAMES */
	size_t names_max;
	int hangups;			       /* epoll: readable while a watched fd has hung up */
	const struct gm_keep_janitor *janitor; /* closes what is removed; NULL: nobody else does */
};

/* 0 or -errno. */
GM_WARN_UNUSED int gm_keep_fds_init(struct gm_keep_fds *fds, size_t max, size_t names_max);

/* Closes everything. */
void gm_keep_fds_done(struct gm_keep_fds *fds);

/* Printable ASCII without ':', 1 to GM_KEEP_NAME_MAX characters. */
bool gm_keep_name_is_valid(const char *name);

/*
 * Takes @fd on success, which is also when the name has that open file already. @watch: drop it
 * when it hangs up. 0, -ENOSPC or -ENOMEM.
 */
GM_WARN_UNUSED int gm_keep_fds_add(struct gm_keep_fds *fds, const char *name, int fd, bool watch);

/* Closes all fds of @name; how many there were. */
size_t gm_keep_fds_remove(struct gm_keep_fds *fds, const char *name);

/* Closes those watched ones that have hung up. */
void gm_keep_fds_drop_hangups(struct gm_keep_fds *fds);

#endif
