/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_backends.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int memfd_allocate(int fd, uint64_t offset, uint64_t length)
{
	int r;

	do
		r = fallocate(fd, 0, (off_t)offset, (off_t)length);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static int memfd_discard(int fd, uint64_t offset, uint64_t length, uint64_t page_size)
{
	(void)page_size;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		      (off_t)length) < 0)
		return -errno;
	return 0;
}

static int slow_allocate(int fd, uint64_t offset, uint64_t length)
{
	const struct timespec pause = { .tv_nsec = SLOW_CHUNK_MS * 1000000L };

	(void)length;
	(void)nanosleep(&pause, NULL);
	/* One page of the chunk is enough to be seen. */
	return memfd_allocate(fd, offset, GM_PAGE_4K);
}

static int failing_allocate(int fd, uint64_t offset, uint64_t length)
{
	return offset + length > FAILING_FROM ? -ENOSPC : memfd_allocate(fd, offset, length);
}

static const struct gm_backend backends[] = {
	{ .kind = "memfd", .allocate = memfd_allocate, .discard = memfd_discard },
	{ .kind = "slow", .allocate = slow_allocate, .discard = memfd_discard },
	{ .kind = "failing", .allocate = failing_allocate, .discard = memfd_discard },
};

const struct gm_backend *gm_backend_find(const char *kind)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(backends); i++)
		if (strcmp(backends[i].kind, kind) == 0)
			return &backends[i];
	return NULL;
}

struct gm_job_order order_of(const char *kind, enum gm_job_verb verb, uint64_t length,
			     uint32_t n_threads)
{
	struct gm_job_order order = {
		.job = 7,
		.verb = verb,
		.n_threads = n_threads,
		.n_ranges = 1,
		.page_size = GM_PAGE_4K,
		.ranges = { { .offset = 0, .length = length } },
	};

	assert(strlen(kind) < sizeof(order.kind));
	strcpy(order.kind, kind);
	return order;
}

int memory_new(uint64_t size)
{
	int fd = memfd_create("worker-test", MFD_CLOEXEC);

	assert(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	return fd;
}

uint64_t memory_allocated(int fd)
{
	struct stat st;

	assert(fstat(fd, &st) == 0);
	return (uint64_t)st.st_blocks * 512;
}
