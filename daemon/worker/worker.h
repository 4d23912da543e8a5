/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main function of a worker process: it carries out one order at a time until its channel
 * closes. It owns nothing but the channel and the fd of the job under way.
 */
#ifndef GM_WORKER_H
#define GM_WORKER_H

#include "gm_num.h"

/* A worker's channel has this number, so that a filter can name it. */
#define GM_WORKER_CHANNEL 3

/* Returns the exit status: 0 after EOF. */
int gm_worker_main(int channel);

#endif
