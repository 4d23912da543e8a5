/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conductor compares gmemd with the model, by the admin socket and by what /proc says of its
 * fds. All clients wait meanwhile, or are dead.
 */
#ifndef STORM_CHECK_H
#define STORM_CHECK_H

#include "storm.h"

struct storm_host {
	pid_t keeper;
	pid_t daemon;
	unsigned daemon_fds; /* of each before there was anything */
	unsigned keeper_fds;
};

struct gmem_client;

/* To the admin socket; NULL: the storm has failed. */
struct gmem_client *storm_connect_admin(void);

/* Until a client that was killed has no session with anything in it. False: the storm has failed.
 */
bool storm_wait_for_end(struct gmem_client *client, pid_t pid);

/* What a dead client has left behind: the model takes over what its last requests have done. */
bool storm_resolve(unsigned index, pid_t pid);

/* Until it is the same, for a while: the end of a session may take its time. */
bool storm_compare(const struct storm_host *host, unsigned n_sessions, uint64_t *ret_us);

/* Fds of the process @pid; @ret_memory: those that are memory of regions. */
unsigned storm_count_fds(pid_t pid, unsigned *ret_memory);

#endif
