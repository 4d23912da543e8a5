/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the cases of a client and a daemon that was killed stand on: one service, a peer with a
 * session key, and room for another peer.
 */
#ifndef RESUME_CASE_H
#define RESUME_CASE_H

#include "resume_rig.h"

#define KEY 0x5a
#define OTHER_KEY 0xa5

extern struct resume_rig rig;
extern struct peer peer;
extern struct peer other;

void start(void);
void stop(void);

/* The daemon is killed and is back; the peer has lost its connection. */
void restart(void);
void restart_and_resume(void);

uint64_t used(enum gm_resource resource);

#endif
