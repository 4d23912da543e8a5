/* SPDX-License-Identifier: Apache-2.0 */
#include "peer_unit.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-login.h>

/* A pidfd is readable from the end of its process on. */
static bool has_ended(int pidfd)
{
	struct pollfd pollfd = { .fd = pidfd, .events = POLLIN };

	return poll(&pollfd, 1, 0) != 0;
}

int gm_peer_unit(pid_t pid, int pidfd, char ret_unit[GM_PEER_UNIT_MAX])
{
	char *unit = NULL;
	int r;

	/* 0 would be ourselves to the library: it is a process that we cannot see. */
	if (pid <= 0)
		return -ESRCH;
	r = sd_pid_get_unit(pid, &unit);
	if (r < 0)
		return r;
	/* Afterwards: as long as the process has not ended, nobody else had its number. */
	if (pidfd >= 0 && has_ended(pidfd))
		r = -ESRCH;
	else
		snprintf(ret_unit, GM_PEER_UNIT_MAX, "%s", unit);
	free(unit);
	return r < 0 ? r : 0;
}
