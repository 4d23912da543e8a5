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
	[GM_SLOT_SEV] = { "sev", "sev", "SevSlots", "SEV guests" },
	[GM_SLOT_ES] = { "sev-es", "sev_es", "SevEsSlots", "SEV-ES and SEV-SNP guests" },
	[GM_SLOT_TDX] = { "tdx", "tdx", "TdxSlots", "TDX guests" },
};

static const char usual_root[] = "/sys/fs/cgroup";

/* Of version 2, and of version 1 by custom. */
static const char *const folders[] = { "", "/misc" };

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

static int read_number(const char *root, const char *folder, const char *file, const char *resource,
		       uint64_t *ret_number)
{
	char path[4096], text[512];
	_gm_close_ int fd = -1;
	ssize_t n;

	if (snprintf(path, sizeof(path), "%s%s/%s", root, folder, file) >= (int)sizeof(path))
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

int gm_slot_read(const char *root, unsigned pool, uint64_t *ret_capacity, uint64_t *ret_current)
{
	const char *resource = gm_slot_pools[pool].resource;
	uint64_t capacity = 0, current = 0;
	int r = -ENOENT;

	if (!root)
		root = usual_root;
	/* The controller is not mounted here or there, or the CPU has not got it. */
	for (size_t i = 0; i < GM_ARRAY_SIZE(folders) && r == -ENOENT; i++) {
		r = read_number(root, folders[i], "misc.capacity", resource, &capacity);
		if (r == 0)
			r = read_number(root, folders[i], "misc.current", resource, &current);
	}
	if (r < 0)
		return r;
	*ret_capacity = capacity;
	*ret_current = current;
	return 0;
}
