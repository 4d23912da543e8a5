/* SPDX-License-Identifier: Apache-2.0 */
#include "huge_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gm_cleanup.h"
#include "mbind.h"

#define GM_POOL_PATH_MAX 128

const char *gm_page_size_name(uint64_t page_size)
{
	switch (page_size) {
	case GM_PAGE_4K:
		return "4K";
	case GM_PAGE_2M:
		return "2M";
	case GM_PAGE_1G:
		return "1G";
	default:
		return "?";
	}
}

/* One decimal number, as sysfs writes it. */
static int read_number(const char *path, uint64_t *ret_number)
{
	_gm_close_ int fd = -1;
	char text[32], *end;
	unsigned long long number;
	ssize_t n;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	errno = 0;
	number = strtoull(text, &end, 10);
	if (end == text || errno)
		return -EIO;
	*ret_number = number;
	return 0;
}

static int read_pool_file(uint64_t page_size, const char *file, uint64_t *ret_number)
{
	char path[GM_POOL_PATH_MAX];

	(void)snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%llukB/%s",
		       (unsigned long long)(page_size / GM_KIB), file);
	return read_number(path, ret_number);
}

int gm_huge_pool_read(uint64_t page_size, struct gm_huge_pool *ret_pool)
{
	struct gm_huge_pool pool;
	int r;

	r = read_pool_file(page_size, "nr_hugepages", &pool.total);
	if (r < 0)
		return r;
	r = read_pool_file(page_size, "free_hugepages", &pool.free);
	if (r < 0)
		return r;
	r = read_pool_file(page_size, "resv_hugepages", &pool.reserved);
	if (r < 0)
		return r;
	*ret_pool = pool;
	return 0;
}

int gm_huge_reserve(int fd, uint64_t offset, uint64_t length, uint64_t nodes)
{
	void *map;
	int r = 0;

	/*
	 * hugetlbfs_file_mmap reserves the range in the inode's own map, which outlives the
	 * mapping (hugetlb_vm_op_close drops private reservations only).
	 */
	map = mmap(NULL, length, PROT_NONE, MAP_SHARED, fd, (off_t)offset);
	if (map == MAP_FAILED)
		return -errno;
	if (nodes)
		r = gm_mbind(map, length, nodes);
	(void)munmap(map, length);
	return r;
}

int gm_huge_refuse(struct gm_refusal *refusal, uint64_t page_size, uint64_t asked)
{
	struct gm_huge_pool pool = { 0 };
	char object[GM_OBJECT_MAX];
	uint64_t used, limit;
	int r;

	/* The refusal stands without its numbers too. */
	r = gm_huge_pool_read(page_size, &pool);
	/* The three are read one after the other: they may not fit together. */
	used = pool.total - gm_min_u64(pool.free, pool.total) + pool.reserved;
	limit = pool.total * page_size;
	used *= page_size;
	(void)snprintf(object, sizeof(object), "pool %s", gm_page_size_name(page_size));
	(void)gm_refuse_numbers(refusal, GM_NO_RESOURCE, GM_RULE_HUGE_PAGES_FREE, object, limit,
				used, asked);
	if (refusal && r == 0 && used <= limit && asked <= limit - used)
		(void)snprintf(refusal->text, sizeof(refusal->text),
			       "the pool has room now, but the reservation was refused: see the "
			       "daemon's hugetlb cgroup and its limit on address space");
	return GM_NO_RESOURCE;
}

/* A node without the pool has none of its pages. */
static uint64_t read_node_file(unsigned node, uint64_t page_size, const char *file)
{
	char path[GM_POOL_PATH_MAX];
	uint64_t number = 0;

	(void)snprintf(path, sizeof(path),
		       "/sys/devices/system/node/node%u/hugepages/hugepages-%llukB/%s", node,
		       (unsigned long long)(page_size / GM_KIB), file);
	return read_number(path, &number) < 0 ? 0 : number;
}

int gm_huge_check_nodes(uint64_t page_size, uint64_t nodes, uint64_t promised, uint64_t asked,
			struct gm_refusal *refusal)
{
	uint64_t total = 0, free_pages = 0;
	char object[GM_OBJECT_MAX];

	for (unsigned node = 0; node < 64; node++) {
		if (!(nodes >> node & 1))
			continue;
		total += read_node_file(node, page_size, "nr_hugepages");
		free_pages += read_node_file(node, page_size, "free_hugepages");
	}
	free_pages -= gm_min_u64(free_pages, promised / page_size);
	if (free_pages >= asked / page_size)
		return 0;
	(void)snprintf(object, sizeof(object), "pool %s on nodes 0x%llx",
		       gm_page_size_name(page_size), (unsigned long long)nodes);
	return gm_refuse_numbers(refusal, GM_NO_RESOURCE, GM_RULE_HUGE_PAGES_FREE, object,
				 total * page_size,
				 (total - gm_min_u64(free_pages, total)) * page_size, asked);
}
