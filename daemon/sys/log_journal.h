/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries for the journal that never wait: sd_journal_sendv() does while the journal's socket is
 * full, and with it would the event loop, for as long as journald hangs. So this speaks the
 * journal's native protocol itself (systemd.io/JOURNAL_NATIVE_PROTOCOL): a datagram of lines
 * "NAME=value".
 */
#ifndef GM_LOG_JOURNAL_H
#define GM_LOG_JOURNAL_H

#include <stddef.h>

#include "gm_num.h"

#define GM_LOG_JOURNAL_SOCKET "/run/systemd/journal/socket"

/* Where entries go from here on. Before the sandbox. @path outlives them. 0 or -errno. */
GM_WARN_UNUSED int gm_log_journal_open(const char *path);

/*
 * One entry: lines, each with its newline and no other. What finds no room is dropped, counted, and
 * told by an entry before the next one that does. -errno: nobody is there to take it.
 */
GM_WARN_UNUSED int gm_log_journal_write(const char *lines, size_t length);

#endif
