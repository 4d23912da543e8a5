/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line: id and token in hex. The file is made with mode 0600 and never shown.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tinyvmm.h"

#define LINE_SIZE (16 + 1 + 2 * GMEM_TOKEN_SIZE + 1)

int token_file_write(const char *path, uint64_t id, const uint8_t token[GMEM_TOKEN_SIZE])
{
	char line[LINE_SIZE + 1];
	int n = snprintf(line, sizeof(line), "%016" PRIx64 " ", id);
	ssize_t written;
	int fd;

	for (size_t i = 0; i < GMEM_TOKEN_SIZE; i++)
		n += snprintf(line + n, sizeof(line) - (size_t)n, "%02x", token[i]);
	line[n++] = '\n';
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	written = write(fd, line, (size_t)n);
	if (close(fd) < 0)
		return -errno;
	return written == n ? 0 : -EIO;
}

int token_file_read(const char *path, uint64_t *ret_id, uint8_t ret_token[GMEM_TOKEN_SIZE])
{
	char line[LINE_SIZE + 1] = "";
	uint8_t token[GMEM_TOKEN_SIZE];
	uint64_t id;
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, line, LINE_SIZE);
	(void)close(fd);
	if (n != LINE_SIZE || sscanf(line, "%16" SCNx64, &id) != 1 || line[16] != ' ')
		return -EINVAL;
	for (size_t i = 0; i < GMEM_TOKEN_SIZE; i++)
		if (sscanf(line + 17 + 2 * i, "%2hhx", &token[i]) != 1)
			return -EINVAL;
	*ret_id = id;
	memcpy(ret_token, token, sizeof(token));
	return 0;
}
