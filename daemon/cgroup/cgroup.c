/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cgroup_file.h"
#include "gm_cleanup.h"

/* Lines of mountinfo, overlay file systems with many layers among them. */
#define LINE_MAX_ 16384

#define HUGETLB "hugetlb"

/* What charges a process for memory or CPU time, or says where either may come from. Memory first.
 */
static const char *const wanted[] = { "memory", HUGETLB, "cpu", "cpuacct", "cpuset", "pids" };

/* Is one of @words (separated by one of @separators) @word? */
static bool has_word(const char *words, const char *separators, const char *word)
{
	size_t length = strlen(word);

	while (*words != '\0') {
		size_t n = strcspn(words, separators);

		if (n == length && memcmp(words, word, n) == 0)
			return true;
		words += n;
		words += strspn(words, separators);
	}
	return false;
}

/* The first of them among @words, or NULL. */
static const char *find_wanted(const char *words, const char *separators)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(wanted); i++)
		if (has_word(words, separators, wanted[i]))
			return wanted[i];
	return NULL;
}

/* Octal escapes of blanks and backslashes (seq_path). In place. */
static void unescape(char *text)
{
	char *out = text;

	for (const char *in = text; *in != '\0'; out++) {
		if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' && in[2] <= '7' &&
		    in[3] >= '0' && in[3] <= '7') {
			*out = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
			in += 4;
		} else {
			*out = *in++;
		}
	}
	*out = '\0';
}

struct mount {
	char *root, *at, *type, *options;
};

/* ID PARENT MAJOR:MINOR ROOT AT OPTIONS [TAG]... - TYPE SOURCE SUPER-OPTIONS */
static bool split(char *line, struct mount *ret_mount)
{
	char *fields[5] = { NULL }, *separator, *save = NULL;

	line[strcspn(line, "\n")] = '\0';
	separator = strstr(line, " - ");
	if (separator == NULL)
		return false;
	*separator = '\0';
	for (size_t i = 0; i < GM_ARRAY_SIZE(fields); i++) {
		fields[i] = strtok_r(i == 0 ? line : NULL, " ", &save);
		if (fields[i] == NULL)
			return false;
	}
	ret_mount->root = fields[3];
	ret_mount->at = fields[4];
	ret_mount->type = strtok_r(separator + 3, " ", &save);
	(void)strtok_r(NULL, " ", &save);
	ret_mount->options = strtok_r(NULL, " ", &save);
	if (ret_mount->type == NULL || ret_mount->options == NULL)
		return false;
	unescape(ret_mount->root);
	unescape(ret_mount->at);
	return true;
}

static bool is_known(const struct gm_cgroups *cgroups, const struct gm_cgroup_root *root)
{
	for (unsigned i = 0; i < cgroups->n_roots; i++)
		if (cgroups->roots[i].unified == root->unified &&
		    (root->unified || cgroups->roots[i].controller == root->controller))
			return true;
	return false;
}

static void take_controllers(struct gm_cgroup_root *root, const char *words, const char *separators)
{
	root->controller = find_wanted(words, separators);
	root->has_hugetlb = has_word(words, separators, HUGETLB);
}

static void take_unified_controllers(struct gm_cgroup_root *root)
{
	char path[GM_CGROUP_FILE_PATH_MAX], text[512];

	snprintf(path, sizeof(path), "%s/cgroup.controllers", root->at);
	if (gm_cgroup_file_read(path, text, sizeof(text)) == 0)
		take_controllers(root, text, " \n");
}

static void add(struct gm_cgroups *cgroups, const char *prefix, const struct mount *mount)
{
	struct gm_cgroup_root root = { .unified = strcmp(mount->type, "cgroup2") == 0 };
	const char *from = strcmp(mount->root, "/") == 0 ? "" : mount->root;

	if (cgroups->n_roots == GM_CGROUP_ROOTS_MAX ||
	    (!root.unified && strcmp(mount->type, "cgroup") != 0) ||
	    (size_t)snprintf(root.at, sizeof(root.at), "%s%s", prefix, mount->at) >=
		    sizeof(root.at) ||
	    (size_t)snprintf(root.from, sizeof(root.from), "%s", from) >= sizeof(root.from))
		return;
	if (root.unified)
		take_unified_controllers(&root);
	else
		take_controllers(&root, mount->options, ",");
	if (root.controller != NULL && !is_known(cgroups, &root))
		cgroups->roots[cgroups->n_roots++] = root;
}

/* A controller is in one hierarchy only: version 1 takes it away from version 2. */
static int find_memory(const struct gm_cgroups *cgroups)
{
	for (unsigned i = 0; i < cgroups->n_roots; i++)
		if (strcmp(cgroups->roots[i].controller, wanted[0]) == 0)
			return (int)i;
	return -1;
}

static int find_hugetlb(const struct gm_cgroups *cgroups)
{
	for (unsigned i = 0; i < cgroups->n_roots; i++)
		if (cgroups->roots[i].has_hugetlb)
			return (int)i;
	return -1;
}

static void close_file(FILE **file)
{
	if (*file != NULL)
		(void)fclose(*file);
}

/* Is @path the folder @at, or below it? */
static bool is_in(const char *path, const char *at)
{
	size_t length = strlen(at);

	while (length > 0 && at[length - 1] == '/')
		length--;
	return strncmp(path, at, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

int gm_cgroups_find(const char *prefix, const char *at, struct gm_cgroups *ret_cgroups)
{
	struct gm_cgroups found = { .memory = -1, .hugetlb = -1 };
	_gm_cleanup_(close_file) FILE *file = NULL;
	_gm_free_ char *line = malloc(LINE_MAX_);
	char path[GM_CGROUP_FILE_PATH_MAX];

	if (line == NULL)
		return -ENOMEM;
	if ((size_t)snprintf(found.proc, sizeof(found.proc), "%s/proc", prefix) >=
	    sizeof(found.proc))
		return -ENAMETOOLONG;
	snprintf(path, sizeof(path), "%s/self/mountinfo", found.proc);
	file = fopen(path, "re");
	if (file == NULL)
		return -errno;
	while (fgets(line, LINE_MAX_, file) != NULL) {
		struct mount mount;

		if (split(line, &mount) && (at == NULL || is_in(mount.at, at)))
			add(&found, prefix, &mount);
	}
	found.memory = find_memory(&found);
	found.hugetlb = find_hugetlb(&found);
	*ret_cgroups = found;
	return 0;
}

int gm_cgroup_procs_path(const struct gm_cgroup_root *root, const char *path, char *buffer,
			 size_t size)
{
	if (has_word(path, "/", "..") || (path[0] != '\0' && path[0] != '/'))
		return -EINVAL;
	if ((size_t)snprintf(buffer, size, "%s%s/cgroup.procs", root->at, path) >= size)
		return -ENAMETOOLONG;
	return 0;
}

void gm_cgroup_print(const char *path, char *buffer, size_t size)
{
	size_t length;

	length = (size_t)snprintf(buffer, size, "%s", path[0] != '\0' ? path : "/");
	for (size_t i = 0; i < length && i < size - 1; i++)
		if (buffer[i] < ' ' || buffer[i] == 0x7f)
			buffer[i] = '?';
}
