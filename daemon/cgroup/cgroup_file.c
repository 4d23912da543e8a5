/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gm_cleanup.h"

int gm_cgroup_file_read(const char *path, char *buffer, size_t size)
{
	_gm_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	/* A seq_file gives a page at most with one read. */
	while ((n = read(fd, buffer + used, size - used)) != 0) {
		if (n < 0)
			return -errno;
		used += (size_t)n;
		if (used == size)
			return -E2BIG;
	}
	buffer[used] = '\0';
	return 0;
}

static int parse(const char *text, uint64_t *ret_number)
{
	unsigned long long number;
	char *end;

	if (strncmp(text, "max", 3) == 0) {
		*ret_number = GM_UNLIMITED;
		return 0;
	}
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *text < '0' || *text > '9')
		return -EBADMSG;
	*ret_number = number;
	return 0;
}

int gm_cgroup_file_number(const char *path, uint64_t *ret_number)
{
	char text[64] = "";
	int r = gm_cgroup_file_read(path, text, sizeof(text));

	return r < 0 ? r : parse(text, ret_number);
}

uint64_t gm_cgroup_text_key(const char *text, const char *key)
{
	size_t length = strlen(key);

	for (const char *line = text; line != NULL && *line != '\0';) {
		uint64_t number;

		if (strncmp(line, key, length) == 0 && line[length] == ' ' &&
		    parse(line + length + 1, &number) == 0)
			return number;
		line = strchr(line, '\n');
		if (line != NULL)
			line++;
	}
	return 0;
}
