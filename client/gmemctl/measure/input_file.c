/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gm_cleanup.h"
#include "input.h"

#define FIRST_READ ((size_t)64 * GM_KIB)

static int refuse_errno(struct gm_refusal *refusal, const char *path)
{
	return input_refuse(refusal, path, "%s", strerror(errno));
}

/* What the file says that it has is only where reading begins: it may be a pipe, or be growing. */
static size_t first_size(int fd, uint64_t max)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 0)
		return FIRST_READ;
	return gm_min_u64((uint64_t)st.st_size, max) + 2;
}

static int grow(struct input_bytes *bytes, size_t *room)
{
	size_t more = *room * 2;
	uint8_t *grown = realloc(bytes->bytes, more);

	if (!grown)
		return -ENOMEM;
	bytes->bytes = grown;
	*room = more;
	return 0;
}

/* A firmware in small pages costs as much time in faults as its hashes take. */
static uint8_t *allocate(size_t size)
{
	void *bytes = NULL;

	if (size < GM_PAGE_2M)
		return malloc(size);
	if (posix_memalign(&bytes, GM_PAGE_2M, size) != 0)
		return NULL;
	(void)madvise(bytes, size, MADV_HUGEPAGE);
	return bytes;
}

static int read_all(int fd, const char *path, uint64_t max, struct input_bytes *bytes,
		    struct gm_refusal *refusal)
{
	size_t room = first_size(fd, max);
	ssize_t n = 1;
	int r;

	bytes->bytes = allocate(room);
	if (!bytes->bytes)
		return -ENOMEM;
	while (n != 0) {
		r = bytes->size + 1 >= room ? grow(bytes, &room) : 0;
		if (r < 0)
			return r;
		n = read(fd, bytes->bytes + bytes->size, room - 1 - bytes->size);
		if (n < 0 && errno != EINTR)
			return refuse_errno(refusal, path);
		if (n > 0)
			bytes->size += (size_t)n;
		if (bytes->size > max)
			return input_refuse(refusal, path, "is over %llu bytes",
					    (unsigned long long)max);
	}
	/* Never part of the contents: for readers of text. */
	bytes->bytes[bytes->size] = '\0';
	return 0;
}

int input_read(const char *path, uint64_t max, struct input_bytes *ret_bytes,
	       struct gm_refusal *refusal)
{
	bool is_stdin = strcmp(path, "-") == 0;
	_gm_close_ int fd = is_stdin ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	struct input_bytes bytes = { 0 };
	int r;

	*ret_bytes = bytes;
	if (!is_stdin && fd < 0)
		return refuse_errno(refusal, path);
	r = read_all(is_stdin ? STDIN_FILENO : fd, is_stdin ? "standard input" : path, max, &bytes,
		     refusal);
	if (r == 0)
		*ret_bytes = bytes;
	else
		input_bytes_done(&bytes);
	return r;
}

static int check_range(int fd, const char *path, const struct input_range *range, size_t *ret_size,
		       struct gm_refusal *refusal)
{
	uint64_t size, length;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return refuse_errno(refusal, path);
	if (!S_ISREG(st.st_mode))
		return input_refuse(refusal, path, "is no regular file");
	size = (uint64_t)st.st_size;
	if (range->offset > size)
		return input_refuse(refusal, path, "has %llu bytes: none at %llu",
				    (unsigned long long)size, (unsigned long long)range->offset);
	length = range->length == INPUT_ALL ? size - range->offset : range->length;
	if (length > size - range->offset)
		return input_refuse(refusal, path, "has %llu bytes, not %llu at %llu",
				    (unsigned long long)size, (unsigned long long)length,
				    (unsigned long long)range->offset);
	if (length > range->max)
		return input_refuse(refusal, path, "%llu bytes are too many, at most %llu",
				    (unsigned long long)length, (unsigned long long)range->max);
	*ret_size = length;
	return 0;
}

int input_read_range(const char *path, const struct input_range *range,
		     struct input_bytes *ret_bytes, struct gm_refusal *refusal)
{
	/* Non-blocking: a fifo would wait for a writer before it can be refused. */
	_gm_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_gm_free_ uint8_t *bytes = NULL;
	size_t size = 0, done = 0;
	ssize_t n = 1;
	int r;

	*ret_bytes = (struct input_bytes){ 0 };
	if (fd < 0)
		return refuse_errno(refusal, path);
	r = check_range(fd, path, range, &size, refusal);
	if (r != 0)
		return r;
	bytes = malloc(size + 1);
	if (!bytes)
		return -ENOMEM;
	while (done < size && n != 0) {
		n = pread(fd, bytes + done, size - done, (off_t)(range->offset + done));
		if (n < 0 && errno != EINTR)
			return refuse_errno(refusal, path);
		if (n > 0)
			done += (size_t)n;
	}
	if (done < size)
		return input_refuse(refusal, path, "became shorter while it was read");
	*ret_bytes = (struct input_bytes){ gm_take_ptr(&bytes), size };
	return 0;
}
