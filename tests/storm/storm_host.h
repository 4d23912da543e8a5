/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gmemd under its keeper, in a folder of its own, with a page of fault points.
 */
#ifndef STORM_HOST_H
#define STORM_HOST_H

#include <sys/types.h>

#include "gm_num.h"

#define STORM_ARGS_MAX 32

struct storm_keeper {
	char folder[64];
	char log[96];
	char faults[96];
	char policy[96];
	pid_t pid;
};

/* Folder and files. 0 or -errno. */
int storm_keeper_prepare(struct storm_keeper *keeper, const char *policy);

/*
 * Starts it: @program with the words of @args, NULL at the end. Its output is appended to the log.
 * 0 or -errno.
 */
int storm_keeper_start(struct storm_keeper *keeper, const char *program, const char *const *args);

/* The keeper's child, or 0 when there is none just now. */
pid_t storm_keeper_child(const struct storm_keeper *keeper);

/* Another child than @last; 0 when there is none in time. */
pid_t storm_keeper_wait_child(const struct storm_keeper *keeper, pid_t last);

/* SIGTERM, and its wait status; -1 when it did not end in time. */
int storm_keeper_stop(struct storm_keeper *keeper);

/*
 * The first line of the log that no storm explains: a daemon that has ended by anything but SIGKILL
 * or its own will, a sanitizer's finding, books that were not empty. False: there is none.
 */
bool storm_keeper_find_fault(const struct storm_keeper *keeper, char *ret_line, size_t size);

/* With the files; @keep_log: but not the log. */
void storm_keeper_clear(struct storm_keeper *keeper, bool keep_log);

#endif
