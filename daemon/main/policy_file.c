/* SPDX-License-Identifier: Apache-2.0 */
#include "policy_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "gm_cleanup.h"
#include "gm_fd.h"
#include "log.h"

/* Non-blocking, so that a FIFO in its place cannot hold the daemon up. */
static int open_regular(const char *path)
{
	_gm_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -ENOTSUP;
	return gm_take_fd(&fd);
}

static int read_policy(const char *path, char *text, size_t *ret_length)
{
	_gm_close_ int fd = open_regular(path);
	size_t length;
	int r;

	if (fd < 0)
		return fd;
	r = gm_fd_read_all(fd, text, GM_UNIT_TEXT_MAX + 1, &length);
	if (r < 0)
		return r;
	if (length > GM_UNIT_TEXT_MAX)
		return -EFBIG;
	*ret_length = length;
	return 0;
}

static int apply(const char *path, char *text, uint64_t host_memory, struct gm_policy_view *view,
		 char *ret_fault)
{
	struct gm_conf_text one = { .path = path, .text = text };
	struct gm_unit_fault fault;
	size_t at;
	int error = text ? read_policy(path, text, &one.length) : -ENOMEM;

	if (error) {
		snprintf(ret_fault, GM_POLICY_FAULT_MAX, "%.255s: %s", path, gm_strerror(-error));
		return -EINVAL;
	}
	error = gm_conf_apply(GM_CONF_TENANT, &one, 1, /* place= */ NULL, host_memory,
			      &view->policy, &view->sources, &at, &fault);
	if (error <= 0)
		return error;
	snprintf(ret_fault, GM_POLICY_FAULT_MAX, "%.255s:%u: %s%s%s", path, fault.line, fault.key,
		 fault.key[0] ? ": " : "", fault.reason);
	return -EINVAL;
}

int gm_policy_file_apply(const char *path, uint64_t host_memory, struct gm_policy_view *view,
			 char ret_fault[GM_POLICY_FAULT_MAX])
{
	char *text = malloc(GM_UNIT_TEXT_MAX + 1);
	int error = apply(path, text, host_memory, view, ret_fault);

	free(text);
	return error;
}
