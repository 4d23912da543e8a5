/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroups.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cgroup.h"
#include "gm_fd.h"

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? write(fd, text, strlen(text)) : -1;
	int saved = errno;

	gm_fd_close(fd);
	errno = saved;
	return n == (ssize_t)strlen(text);
}

/* "" where it cannot be read. */
static void get(const struct group *group, const char *name, char *text, size_t size)
{
	char path[320];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", group->path, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, text, size - 1) : -1;
	gm_fd_close(fd);
	text[n > 0 ? n : 0] = '\0';
}

static bool turn_on(const struct gm_cgroup_root *root, const char *controller)
{
	char path[320], text[32];

	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", root->at);
	snprintf(text, sizeof(text), "+%s", controller);
	return put(path, text);
}

static bool make_in(struct group *group, const struct gm_cgroup_root *root, const char *name)
{
	group->v2 = root->unified;
	snprintf(group->path, sizeof(group->path), "%.128s/%s.%d", root->at, name, (int)getpid());
	return mkdir(group->path, 0755) == 0;
}

bool group_make(struct group *group, const char *controller, const char *name)
{
	struct gm_cgroups cgroups;

	if (gm_cgroups_find("", /* at= */ NULL, &cgroups) < 0)
		return false;
	for (unsigned i = 0; i < cgroups.n_roots; i++) {
		const struct gm_cgroup_root *root = &cgroups.roots[i];

		if (root->unified ? turn_on(root, controller)
				  : strcmp(root->controller, controller) == 0)
			return make_in(group, root, name);
	}
	return false;
}

bool group_remove(const struct group *group)
{
	const struct timespec nap = { .tv_nsec = 10000000 };

	for (int i = 0; i < 200; i++) {
		if (rmdir(group->path) == 0)
			return true;
		nanosleep(&nap, NULL);
	}
	return false;
}

bool group_write(const struct group *group, const char *v1, const char *v2, uint64_t value)
{
	char path[320], text[32];

	snprintf(path, sizeof(path), "%s/%s", group->path, group->v2 ? v2 : v1);
	snprintf(text, sizeof(text), "%" PRIu64, value);
	return put(path, text);
}

bool group_add(const struct group *group, pid_t pid)
{
	return group_write(group, "cgroup.procs", "cgroup.procs", (uint64_t)pid);
}

/* How many processes there are, and whether @pid is one. */
static unsigned look(const struct group *group, pid_t pid, bool *ret_has)
{
	char text[4096];
	unsigned n = 0;
	char *at = text;

	*ret_has = false;
	get(group, "cgroup.procs", text, sizeof(text));
	while (*at != '\0') {
		*ret_has = *ret_has || strtol(at, &at, 10) == (long)pid;
		at += strcspn(at, "\n");
		at += *at == '\n';
		n++;
	}
	return n;
}

bool group_has(const struct group *group, pid_t pid)
{
	bool has;

	(void)look(group, pid, &has);
	return has;
}

unsigned group_count(const struct group *group)
{
	bool has;

	return look(group, 0, &has);
}

uint64_t group_number(const struct group *group, const char *v1, const char *v2)
{
	const char *name = group->v2 ? v2 : v1;
	char text[64] = "";

	if (name != NULL)
		get(group, name, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

uint64_t group_usage(const struct group *group)
{
	return group_number(group, "memory.usage_in_bytes", "memory.current");
}

uint64_t group_peak(const struct group *group)
{
	return group_number(group, "memory.max_usage_in_bytes", "memory.peak");
}

uint64_t group_oom_kills(const struct group *group)
{
	char text[512];
	const char *line;

	get(group, group->v2 ? "memory.events" : "memory.oom_control", text, sizeof(text));
	line = strstr(text, "oom_kill ");
	return line != NULL ? strtoull(line + strlen("oom_kill "), NULL, 10) : 0;
}

bool group_limit(const struct group *group, uint64_t bytes)
{
	return group_write(group, "memory.limit_in_bytes", "memory.max", bytes);
}
