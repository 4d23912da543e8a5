/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each end means to whoever started gmemd. Documented in gmemd(8).
 */
#ifndef GM_EXIT_STATUS_H
#define GM_EXIT_STATUS_H

enum gm_exit {
	GM_EXIT_OK = 0,
	GM_EXIT_FAILURE = 1,
	GM_EXIT_USAGE = 2,
	GM_EXIT_POLICY = 3,
	GM_EXIT_LISTEN = 4,
	GM_EXIT_SANDBOX = 5,
};

#endif
