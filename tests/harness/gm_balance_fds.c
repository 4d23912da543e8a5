/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gm_balance.h"

#define FDS_MAX 65536

static bool before[FDS_MAX];
static bool now[FDS_MAX];

static void fds_look(bool *open_fds)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	if (!dir) {
		perror("/proc/self/fd");
		abort();
	}
	memset(open_fds, 0, FDS_MAX * sizeof(*open_fds));
	while ((entry = readdir(dir))) {
		char *end;
		long fd = strtol(entry->d_name, &end, 10);

		if (end == entry->d_name || *end || fd < 0 || fd >= FDS_MAX)
			continue;
		if (fd != dirfd(dir))
			open_fds[fd] = true;
	}
	closedir(dir);
}

void gm_balance_open_fds(void)
{
	fds_look(before);
}

static void fds_print(size_t fd)
{
	char path[64];
	char target[PATH_MAX];
	ssize_t length;

	if (!now[fd]) {
		fprintf(stderr, "fd %zu was open before the case and is not after it\n", fd);
		return;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%zu", fd);
	length = readlink(path, target, sizeof(target) - 1);
	target[length < 0 ? 0 : length] = '\0';
	fprintf(stderr, "fd %zu was left open: %s\n", fd, target);
}

size_t gm_balance_close_fds(void)
{
	size_t n = 0;

	fds_look(now);
	for (size_t fd = 0; fd < FDS_MAX; fd++) {
		if (before[fd] == now[fd])
			continue;
		fds_print(fd);
		n++;
	}
	return n;
}
