/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "gmemctl.h"

#define LINE_SIZE (16 + 1 + 2 * GMEM_TOKEN_SIZE + 1)

static void hex_of(const uint8_t *bytes, size_t n, char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static int bytes_of(const char *text, size_t n, uint8_t *bytes)
{
	for (size_t i = 0; i < n; i++) {
		int high = digit_of(text[2 * i]), low = digit_of(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

/* A whole new file or none. One that is there already may hold another domain's only token. */
int token_save(const char *path, uint64_t id, const uint8_t token[GMEM_TOKEN_SIZE])
{
	char line[LINE_SIZE], draft[4096];
	uint8_t id_bytes[8];
	ssize_t written;
	int fd, r;

	if ((size_t)snprintf(draft, sizeof(draft), "%s.new", path) >= sizeof(draft))
		return -ENAMETOOLONG;
	for (int i = 0; i < 8; i++)
		id_bytes[i] = (uint8_t)(id >> (56 - 8 * i));
	hex_of(id_bytes, 8, line);
	line[16] = ' ';
	hex_of(token, GMEM_TOKEN_SIZE, line + 17);
	line[LINE_SIZE - 1] = '\n';
	fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	written = write(fd, line, sizeof(line));
	explicit_bzero(line, sizeof(line));
	r = written == (ssize_t)sizeof(line) ? 0 : -EIO;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && link(draft, path) < 0)
		r = -errno;
	(void)unlink(draft);
	return r;
}

int token_load(const char *path, uint64_t *ret_id, uint8_t ret_token[GMEM_TOKEN_SIZE])
{
	uint8_t id_bytes[8], token[GMEM_TOKEN_SIZE];
	char line[LINE_SIZE + 1];
	uint64_t id = 0;
	ssize_t n;
	int fd, r;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, line, sizeof(line));
	r = n < 0 ? -errno : 0;
	(void)close(fd);
	if (r < 0)
		return r;
	if (n != LINE_SIZE || line[16] != ' ' || bytes_of(line, 8, id_bytes) < 0 ||
	    bytes_of(line + 17, GMEM_TOKEN_SIZE, token) < 0)
		return -EINVAL;
	for (int i = 0; i < 8; i++)
		id = id << 8 | id_bytes[i];
	*ret_id = id;
	memcpy(ret_token, token, sizeof(token));
	explicit_bzero(line, sizeof(line));
	explicit_bzero(token, sizeof(token));
	return 0;
}
