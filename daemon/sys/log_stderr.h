/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines to stderr that never wait. A pipe that nobody empties would stop the event loop, and every
 * guest that needs it with it.
 */
#ifndef GM_LOG_STDERR_H
#define GM_LOG_STDERR_H

#include <stddef.h>

/*
 * Replaces fd 2 by a file description of this process alone that does not block. O_NONBLOCK on the
 * inherited one would be there for the shell and for other programs, too. Before the sandbox.
 */
void gm_log_stderr_open(void);

/*
 * @line: at most PIPE_BUF bytes with its newline: it is written whole or not at all.
 * Only read, but an iovec has no const.
 */
void gm_log_stderr_write(char *line, size_t length);

#endif
