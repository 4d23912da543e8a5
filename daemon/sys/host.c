/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "gm_cleanup.h"

#define POOL_SIZE 256

/*
 * A grant takes an id and a token: fetching both with every grant would be a tenth of its cost.
 * Nobody else may have a copy: the pool is empty when the spawner is forked, since ids are made
 * for clients only, and a byte is wiped as it is handed out.
 */
static struct {
	size_t left;
	uint8_t bytes[POOL_SIZE];
} pool;

static int random_fill(void *buffer, size_t size)
{
	uint8_t *at = buffer;

	while (size > 0) {
		ssize_t n = getrandom(at, size, 0);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int gm_host_random(void *buffer, size_t size)
{
	int r;

	if (size > sizeof(pool.bytes))
		return random_fill(buffer, size);
	if (size > pool.left) {
		pool.left = 0;
		r = random_fill(pool.bytes, sizeof(pool.bytes));
		if (r)
			return r;
		pool.left = sizeof(pool.bytes);
	}
	pool.left -= size;
	memcpy(buffer, pool.bytes + pool.left, size);
	explicit_bzero(pool.bytes + pool.left, size);
	return 0;
}

/* Reads a small file of /proc whole, with a NUL. Returns its length or -errno. */
static ssize_t read_all(int fd, char *buffer, size_t size)
{
	ssize_t n = pread(fd, buffer, size - 1, 0);

	if (n < 0)
		return -errno;
	buffer[n] = '\0';
	return n;
}

static int find_kib(const char *meminfo, const char *key, uint64_t *ret_bytes)
{
	const char *line = strstr(meminfo, key);
	uint64_t kib;

	if (!line || sscanf(line + strlen(key), ": %" SCNu64 " kB", &kib) != 1)
		return -ENODATA;
	if (gm_mul_overflows(kib, GM_KIB, ret_bytes))
		return -EOVERFLOW;
	return 0;
}

int gm_host_memory(uint64_t *ret_total, uint64_t *ret_available)
{
	_gm_close_ int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	uint64_t total, available;
	char meminfo[4096];
	ssize_t n;
	int r;

	if (fd < 0)
		return -errno;
	n = read_all(fd, meminfo, sizeof(meminfo));
	if (n < 0)
		return (int)n;
	r = find_kib(meminfo, "MemTotal", &total);
	if (r)
		return r;
	r = find_kib(meminfo, "MemAvailable", &available);
	if (r)
		return r;
	*ret_total = total;
	*ret_available = available;
	return 0;
}

uint64_t gm_host_rss_bytes(void)
{
	static int fd = -1;
	uint64_t pages;
	char statm[128];

	if (fd < 0)
		fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read_all(fd, statm, sizeof(statm)) < 0)
		return 0;
	/* Size, then resident, in pages. */
	if (sscanf(statm, "%*u %" SCNu64, &pages) != 1)
		return 0;
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint32_t gm_host_cpus(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	/* Fails on hosts with more CPUs than the set holds: many, then. */
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return CPU_SETSIZE;
	return CPU_COUNT(&set) > 0 ? (uint32_t)CPU_COUNT(&set) : 1;
}

uint64_t gm_host_now_us(void)
{
	struct timespec now;

	/* Cannot fail: the clock exists and the pointer is good. */
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}
