/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storm's side of the fault points: which is armed next, and which have been hit.
 */
#ifndef STORM_FAULTS_H
#define STORM_FAULTS_H

#include "storm.h"

/* Makes the file at @path. 0 or -errno. */
int storm_faults_open(const char *path);

/* Points in the steps of private memory are visited by VMMs only, and of others they need not all.
 */
void storm_faults_choose(bool is_private, bool has_launches);

/* How many points the daemon has; 0 before it has said so. */
unsigned storm_faults_count(void);

/* What it takes to have the armed point visited. */
enum storm_aim {
	STORM_AIM_WAIT,	     /* nothing: clients' requests lead there */
	STORM_AIM_KILL,	     /* a start leads there */
	STORM_AIM_KILL_BOTH, /* the start after a client has died while gmemd was away */
};

/* Arms the point that was hit least, at one of its next visits. */
enum storm_aim storm_faults_arm(struct storm_rng *rng);

/* Arms the first of those that are visited by a start without a record only; false: no more. */
bool storm_faults_arm_start(unsigned nth);

bool storm_faults_are_armed(void);
void storm_faults_disarm(void);

unsigned long long storm_faults_kills(void);

/* All that a storm comes by; those of a first start and of a stop are for its end. */
bool storm_faults_were_all_hit(void);

/* A line each, on stdout. The number of those that were never hit. */
unsigned storm_faults_print(void);

#endif
