/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The caller's memory, as the kernel reaches it: a bad address is EFAULT, and a page that may not
 * be written is not written, whoever asks. The kernel does the copying for us.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "state.h"

/* An address of another address space's, so to say: it is never dereferenced here. */
static struct iovec remote_iov(uint64_t addr, size_t size)
{
	return (struct iovec){ .iov_base = (void *)(uintptr_t)addr, .iov_len = size };
}

int gp_copy_in(void *to, uint64_t from, size_t size)
{
	struct iovec local = { .iov_base = to, .iov_len = size };
	struct iovec remote = remote_iov(from, size);

	if (gp_is_confined) {
		memcpy(to, remote.iov_base, size);
		return 0;
	}
	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size ? 0 : -EFAULT;
}

int gp_copy_out(uint64_t to, const void *from, size_t size)
{
	struct iovec local = { .iov_base = (void *)(uintptr_t)from, .iov_len = size };
	struct iovec remote = remote_iov(to, size);

	if (gp_is_confined) {
		memcpy(remote.iov_base, from, size);
		return 0;
	}
	return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size ? 0 : -EFAULT;
}
