/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "builtin.h"
#include "gm_cleanup.h"
#include "gm_fd.h"

/* A short file of /proc or /sys. 0 or -errno. */
static int read_text(const char *path, char *text, size_t size)
{
	_gm_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return 0;
}

static int read_pool_number(uint64_t page_size, const char *file, uint64_t *ret_number)
{
	char path[96];
	char text[32];
	int r;

	(void)snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/%s",
		       page_size / 1024, file);
	r = read_text(path, text, sizeof(text));
	if (r == 0)
		*ret_number = strtoull(text, NULL, 10);
	return r;
}

int gm_builtin_pool_read(uint64_t page_size, struct gmem_pool_info *ret_pool)
{
	struct gmem_pool_info pool = { .page_size = page_size };
	int r;

	r = read_pool_number(page_size, "nr_hugepages", &pool.total);
	if (r == 0)
		r = read_pool_number(page_size, "free_hugepages", &pool.free);
	if (r == 0)
		r = read_pool_number(page_size, "resv_hugepages", &pool.reserved);
	if (r == 0)
		*ret_pool = pool;
	return r;
}

/* "MemTotal:  123 kB" */
static uint64_t meminfo(const char *text, const char *name)
{
	const char *line = strstr(text, name);

	return line ? strtoull(line + strlen(name), NULL, 10) * 1024 : 0;
}

static void read_memory(struct gmem_host_info *info)
{
	char text[4096];

	if (read_text("/proc/meminfo", text, sizeof(text)) < 0)
		return;
	info->memory_total = meminfo(text, "MemTotal:");
	info->memory_available = meminfo(text, "MemAvailable:");
}

/* "0-3,8": the kernel's list format. */
static uint64_t parse_nodes(const char *text)
{
	uint64_t mask = 0;

	while (*text >= '0' && *text <= '9') {
		char *end;
		unsigned long first = strtoul(text, &end, 10);
		unsigned long last = *end == '-' ? strtoul(end + 1, &end, 10) : first;

		for (unsigned long node = first; node <= last && node < 64; node++)
			mask |= UINT64_C(1) << node;
		text = *end == ',' ? end + 1 : end;
	}
	return mask;
}

static void read_nodes(struct gmem_host_info *info)
{
	char text[256] = "";

	if (read_text("/sys/devices/system/node/online", text, sizeof(text)) == 0)
		info->numa_nodes = parse_nodes(text);
}

static void probe_memfd(struct gmem_host_info *info)
{
	struct gmem_backend_info *backend = &info->backends[info->n_backends++];

	*backend = (struct gmem_backend_info){
		.kind = "memfd",
		.usable = 1,
		.page_sizes = GM_PAGE_4K,
		.capabilities = "mappable sealed numa",
		.reason = "made in this process",
	};
	for (uint32_t i = 0; i < info->n_pools; i++)
		backend->page_sizes |= info->pools[i].page_size;
}

static void probe_guest_memfd(const struct gmem_client *client, struct gmem_host_info *info)
{
	struct gmem_backend_info *backend = &info->backends[info->n_backends++];
	const char *why = "made in this process, on a VM of its own";
	_gm_close_ int fd = -1;

	*backend = (struct gmem_backend_info){
		.kind = "guest-memfd",
		.page_sizes = GM_PAGE_4K,
		.capabilities = "mappable",
	};
	backend->usable =
		client->builtin->carrier_fd >= 0 || gm_builtin_carrier_open(&fd, &why) == 0;
	(void)snprintf(backend->reason, sizeof(backend->reason), "%s", why);
}

static void probe_kvm(struct gmem_host_info *info)
{
	_gm_close_ int fd = -1;
	int r = gm_builtin_kvm_open(&fd);

	info->kvm = r == 0;
	(void)snprintf(info->kvm_reason, sizeof(info->kvm_reason), "%s",
		       r == 0 ? "/dev/kvm can be opened" : strerrordesc_np(-r));
}

int gm_builtin_get_host(struct gmem_client *client, struct gmem_host_info *ret_info)
{
	static const uint64_t sizes[] = { GM_PAGE_2M, GM_PAGE_1G };
	struct gmem_host_info info = { 0 };
	struct utsname name;

	for (size_t i = 0; i < GM_ARRAY_SIZE(sizes); i++)
		if (gm_builtin_pool_read(sizes[i], &info.pools[info.n_pools]) == 0)
			info.n_pools++;
	probe_memfd(&info);
	probe_guest_memfd(client, &info);
	probe_kvm(&info);
	read_memory(&info);
	read_nodes(&info);
	if (uname(&name) == 0)
		(void)snprintf(info.kernel, sizeof(info.kernel), "%.60s %.60s", name.sysname,
			       name.release);
	*ret_info = info;
	return 0;
}
