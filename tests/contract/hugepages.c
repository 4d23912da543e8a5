/* SPDX-License-Identifier: Apache-2.0 */
#include "hugepages.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend.h"
#include "gm_fd.h"

static struct pool {
	uint64_t page_size;
	uint64_t before;
	bool exists;
} pools[] = { { .page_size = GM_PAGE_2M }, { .page_size = GM_PAGE_1G } };

static int lock_fd = -1;
static int alive_fd = -1;
static pid_t guardian;

static int set_pool(uint64_t page_size, uint64_t n_pages)
{
	char path[96];
	FILE *file;
	int r = 0;

	(void)snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages",
		       (unsigned long long)(page_size / GM_KIB));
	file = fopen(path, "we");
	if (!file)
		return -errno;
	if (fprintf(file, "%llu\n", (unsigned long long)n_pages) < 0)
		r = -EIO;
	if (fclose(file) != 0)
		r = -errno;
	return r;
}

static void restore_pools(void)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(pools); i++) {
		if (pools[i].exists)
			(void)set_pool(pools[i].page_size, pools[i].before);
	}
}

static void guard(int dead_fd)
{
	char byte;

	/* Whoever kills the test's process group must not kill the repair. */
	(void)setsid();
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	while (read(dead_fd, &byte, 1) < 0 && errno == EINTR)
		continue;
	restore_pools();
	_exit(0);
}

int hugepages_open(void)
{
	int ends[2];

	/* The lock is of the open file: the guardian shares it and holds it to the last. */
	lock_fd = open("/proc/sys/vm/nr_hugepages", O_RDWR | O_CLOEXEC);
	if (lock_fd < 0)
		return -errno;
	if (flock(lock_fd, LOCK_EX) < 0)
		return -errno;
	for (size_t i = 0; i < GM_ARRAY_SIZE(pools); i++) {
		struct gm_huge_pool now;

		pools[i].exists = gm_huge_pool_read(pools[i].page_size, &now) == 0;
		if (pools[i].exists)
			pools[i].before = now.total;
	}
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	guardian = fork();
	if (guardian == 0) {
		(void)close(ends[1]);
		guard(ends[0]);
	}
	(void)close(ends[0]);
	alive_fd = ends[1];
	return guardian < 0 ? -errno : 0;
}

uint64_t hugepages_want(uint64_t page_size, uint64_t n_pages)
{
	struct gm_huge_pool now;

	if (gm_huge_pool_read(page_size, &now) < 0)
		return 0;
	if (guardian > 0 && now.free - now.reserved < n_pages) {
		(void)set_pool(page_size, now.total + n_pages - (now.free - now.reserved));
		if (gm_huge_pool_read(page_size, &now) < 0)
			return 0;
	}
	return now.free - now.reserved;
}

void hugepages_close(void)
{
	gm_fd_close(alive_fd);
	alive_fd = -1;
	if (guardian > 0)
		(void)waitpid(guardian, NULL, 0);
	guardian = 0;
	gm_fd_close(lock_fd);
	lock_fd = -1;
}
