/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fd of a stranger: looked at in this process, which has nothing else, so that nobody but it
 * waits for a file that does not let go of who has it. close(2) of a file on FUSE asks its server
 * each time (flush, from filp_close), and the server need not answer.
 */
#ifndef GM_RECEIVE_H
#define GM_RECEIVE_H

#include "gm_num.h"

/*
 * Carries out job number @job, a GM_JOB_RECEIVE: from @box, one fd, to @channel. Closes nothing:
 * the process ends when this has returned.
 */
void gm_receive_run(uint64_t job, int box, int channel);

#endif
