/* SPDX-License-Identifier: Apache-2.0 */
#include "slot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gm_cleanup.h"

/* One SNP guest takes an id of the second pool, as an SEV-ES guest does (sev_asid_new). */
const struct gm_slot_pool gm_slot_pools[GM_SLOTS_N] = {
	{ "sev", "sev", "SevSlots", "SEV guests" },
	{ "sev-es", "sev_es", "SevEsSlots", "SEV-ES and SEV-SNP guests" },
	{ "tdx", "tdx", "TdxSlots", "TDX guests" },
};

/* Version 2 of the cgroups, and where version 1 is mounted by custom. */
static const char *const folders[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/misc" };

int gm_slot_find(const char *name)
{
	for (int i = 0; i < GM_SLOTS_N; i++)
		if (strcmp(gm_slot_pools[i].name, name) == 0)
			return i;
	return -1;
}

/* The number behind @resource in a file of lines "NAME NUMBER". "max" is no number. */
static int find_number(const char *text, const char *resource, uint64_t *ret_number)
{
	size_t length = strlen(resource);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, resource, length) == 0 && line[length] == ' ') {
			char *end;
			unsigned long long number = strtoull(line + length + 1, &end, 10);

			if (end == line + length + 1)
				return -EIO;
			*ret_number = number;
			return 0;
		}
	}
	return -ENOENT;
}

static int read_number(const char *folder, const char *file, const char *resource,
		       uint64_t *ret_number)
{
	char path[256], text[512];
	_gm_close_ int fd = -1;
	ssize_t n;

	if (snprintf(path, sizeof(path), "%s/%s", folder, file) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return find_number(text, resource, ret_number);
}

int gm_slot_read(const char *folder, unsigned pool, uint64_t *ret_capacity, uint64_t *ret_current)
{
	const char *resource = gm_slot_pools[pool].resource;
	uint64_t capacity = 0, current = 0;
	int r = -ENOENT;

	if (!folder) {
		for (size_t i = 0; i < GM_ARRAY_SIZE(folders) && r == -ENOENT; i++)
			r = gm_slot_read(folders[i], pool, ret_capacity, ret_current);
		return r;
	}
	r = read_number(folder, "misc.capacity", resource, &capacity);
	/* The controller is not mounted, or the CPU has not got it. */
	if (r == 0)
		r = read_number(folder, "misc.current", resource, &current);
	if (r < 0)
		return r;
	*ret_capacity = capacity;
	*ret_current = current;
	return 0;
}
