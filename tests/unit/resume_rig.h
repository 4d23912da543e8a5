/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service with a record that can be killed: what a later one finds is what was recorded and what
 * was put into the fd store up to then, and nothing else.
 */
#ifndef RESUME_RIG_H
#define RESUME_RIG_H

#include "record.h"
#include "restore.h"
#include "service_rig.h"

#define RESUME_STORED_MAX 64

struct resume_stored {
	char name[GM_STORED_NAME_SIZE]; /* "" : free */
	int fd;
};

struct resume_rig {
	struct rig rig;
	struct gm_store_area area;
	struct gm_record record;
	struct gm_restore restore; /* of the last start */
	unsigned n_stored;
	struct resume_stored stored[RESUME_STORED_MAX];
	int push_result;
	int remove_result;
};

void resume_start(struct resume_rig *rig);
/* The end of the test: everything goes, the fd store too. */
void resume_stop(struct resume_rig *rig);

/* SIGKILL and a new daemon. Peers of before are forgotten with resume_forget(). */
void resume_restart(struct resume_rig *rig);

/* The daemon of before is gone: nothing of it reaches the record any more. Then start again. */
void resume_kill(struct resume_rig *rig);
void resume_boot(struct resume_rig *rig);

/* A connection of before the kill. */
void resume_forget(struct peer *peer);

/* HELLO with this key (16 times one byte); the answer. */
struct answer resume_hello(struct peer *peer, struct resume_rig *rig, struct gm_tenant *tenant,
			   uint8_t key);
/* The same, which must come through; was the session resumed? */
bool resume_connect(struct peer *peer, struct resume_rig *rig, struct gm_tenant *tenant,
		    uint8_t key);

/* The fd stored under "+r<record>" and its like, or NULL. */
struct resume_stored *resume_find(struct resume_rig *rig, enum gm_stored_kind kind);
unsigned resume_count(const struct resume_rig *rig, enum gm_stored_kind kind);

/* What the peer's channel has for a pidfd; -1 at first. */
extern int resume_pidfd;
/* Of the peers that connect, as the kernel says; 0: the one that every peer has. */
extern pid_t resume_pid;

/* In place of gm_exec::memlock, from the next start on; NULL: as it is. */
extern int (*resume_memlock)(pid_t pid, const struct gm_limits *want, struct gm_limits *ret_was);

/* Fires the watch of a pidfd, as the loop would; or the timer. */
void resume_fire_exits(struct resume_rig *rig);
void resume_fire_timer(struct resume_rig *rig);

#endif
