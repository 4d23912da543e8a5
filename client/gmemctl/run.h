/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gmemctl run: a VMM on memory that outlives it.
 *
 * gmemctl stays as the VMM's parent: its session keeps the domain attached, so it must live as long
 * as the VMM does, and the VMM no longer than it.
 */
#ifndef GMEMCTL_RUN_H
#define GMEMCTL_RUN_H

#include <limits.h>
#include <signal.h>
#include <sys/types.h>

#include "gmemctl.h"

/* ---- run_words.c: the command's words ---- */

struct run_memory {
	int fd;
	uint64_t size;
};

bool run_words_have(char *const *words, const char *key); /* "{mem}" anywhere in them? */

/* @words with {mem}, {fd} and {size} filled in; NULL when out of memory. */
char **run_words_fill(char *const *words, const struct run_memory *memory);
void run_words_free(char **words);

/* ---- run_place.c: where NAME's token is kept, and who runs on it ---- */

/*
 * The lock is taken on an open file that the VMM inherits. It is thus held until gmemctl and the
 * VMM have both ended, in whatever order and however they do.
 */
struct run_place {
	char token[PATH_MAX];
	char lock[PATH_MAX];
	int lock_fd; /* -1: not open */
};

#define RUN_PLACE_NULL        \
	{                     \
		.lock_fd = -1 \
	}

/* @folder NULL: the user's default. Makes it when it is not there. An enum ctl_exit. */
int run_place_open(const struct ctl *ctl, const char *folder, const char *name,
		   struct run_place *place);
void run_place_close(struct run_place *place);

/* 0, -EWOULDBLOCK: somebody has it, or -errno. */
int run_place_lock(const struct run_place *place);
void run_place_note_pid(const struct run_place *place, pid_t pid);
pid_t run_place_pid(const struct run_place *place); /* 0: not known */

/* ---- run_child.c ---- */

/* The signals that are passed on to the VMM, held back until it is there to have them. */
struct run_signals {
	sigset_t taken;
	sigset_t before;
};

int run_signals_hold(struct run_signals *signals);	    /* 0 or -errno */
int run_signals_pending(const struct run_signals *signals); /* one that has come, or 0 */

struct run_child {
	char **words;
	const int *inherited; /* fds that stay open in it, beside the standard ones */
	size_t n_inherited;
};

/* 0 when the command runs, -errno: it could not be executed, and no process is left. */
int run_child_start(const struct run_child *child, const struct run_signals *signals,
		    pid_t *ret_pid);

struct run_session {
	bool gone;	  /* there is no daemon any more */
	const char *lost; /* why the domain is not ours any more; NULL: it is */
};

void run_session_event(void *session, int type, gmem_domain *domain, uint64_t value);

/* Until the VMM has ended. Its exit status, as a shell has it, or CTL_FAILED. */
int run_child_watch(struct ctl *ctl, pid_t pid, const struct run_signals *signals,
		    struct run_session *session);

/* ---- run_domain.c: the memory; each an exit status, CTL_OK when the command may start ---- */

/* Added to the number of the signal that ended it, as shells have it. */
#define RUN_SIGNALLED 128

struct run {
	struct ctl *ctl;
	struct gmem_domain_spec domain_spec;
	struct gmem_region_spec region_spec;
	const char *attach; /* its name, or NULL: domain_spec.name is made */
	const char *folder;
	uint64_t memlock; /* bytes; 0: as it is */
	bool take_over;
	bool allocate;
	char **command;
	struct run_place place;
	struct run_signals signals;
	struct run_session session;
	struct progress progress;
	gmem_domain *domain;
	gmem_region *region;
};

int run_keep(struct run *run);
int run_attach(struct run *run);
void run_undo(struct run *run); /* what run_keep has made */

#endif
