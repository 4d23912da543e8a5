/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The symbols that the model stands behind. What it does not model goes to the system call, which
 * is made here and not through libc: the symbol is ours.
 *
 * Device files are opened by name, requests are known by the fd's file. A program that makes raw
 * system calls, or opens by fopen(), is not seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gm_platform.h"
#include "state.h"

#define EXPORT __attribute__((visibility("default")))

long gp_real_ioctl(int fd, unsigned long request, unsigned long arg)
{
	long r = syscall(SYS_ioctl, fd, request, arg);

	return r < 0 ? -errno : r;
}

static int real_openat(int folder, const char *path, int flags, unsigned mode)
{
	return (int)syscall(SYS_openat, folder, path, flags, mode);
}

/* For the model's own files: under its lock, which the symbol may take. */
int gp_real_open(const char *path, int flags, unsigned mode)
{
	return real_openat(AT_FDCWD, path, flags, mode);
}

static bool is_kvm_request(unsigned long request)
{
	return _IOC_TYPE(request) == KVMIO;
}

/* False: not the model's. */
static bool answer(int fd, unsigned long request, unsigned long arg, long *ret)
{
	bool passed = false;
	uint32_t index;

	gp_lock();
	switch (gp_fd_find(fd, &index)) {
	case GP_FD_KVM:
		*ret = gp_kvm_request(fd, request, arg, &passed);
		break;
	case GP_FD_VM:
		*ret = gp_vm_request(index, request, arg);
		break;
	case GP_FD_VCPU:
		*ret = gp_vcpu_request(index, request, arg);
		break;
	case GP_FD_GMEM:
		*ret = request == GP_SET_ATTRIBUTES2 ? gp_attributes2_set(index, arg) : -ENOTTY;
		break;
	/* Platform commands are no part of a launch. */
	case GP_FD_SEV:
	case GP_FD_OTHER:
	default:
		passed = true;
		break;
	}
	gp_state->n_calls += !passed;
	gp_unlock();
	return !passed;
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	unsigned long arg;
	va_list args;
	long r = 0;

	va_start(args, request);
	arg = va_arg(args, unsigned long);
	va_end(args);
	if (!gp_state || !is_kvm_request(request) || !answer(fd, request, arg, &r))
		r = gp_real_ioctl(fd, request, arg);
	if (r < 0) {
		errno = (int)-r;
		return -1;
	}
	return (int)r;
}

static bool ends_with(const char *text, const char *end)
{
	size_t size = strlen(text), end_size = strlen(end);

	return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

static int open_model(const char *name, int flags)
{
	char path[PATH_MAX + 16];

	(void)snprintf(path, sizeof(path), "%s/%s", gp_folder, name);
	return real_openat(AT_FDCWD, path, flags & ~(O_CREAT | O_EXCL | O_TRUNC), 0);
}

/* The host's own /dev/kvm goes first: its guest_memfd are real ones. */
static int open_any(int folder, const char *path, int flags, unsigned mode)
{
	int fd;

	if (gp_state && strcmp(path, "/dev/sev") == 0)
		return open_model("sev", flags);
	if (gp_state && ends_with(path, "/misc.current")) {
		gp_lock();
		gp_reap();
		gp_unlock();
	}
	fd = real_openat(folder, path, flags, mode);
	if (fd < 0 && errno == ENOENT && gp_state && strcmp(path, "/dev/kvm") == 0)
		return open_model("kvm", flags);
	return fd;
}

static unsigned mode_of(int flags, va_list args)
{
	return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, unsigned) : 0;
}

#define OPEN_BODY(folder, last)                             \
	{                                                   \
		unsigned mode;                              \
		va_list args;                               \
                                                            \
		va_start(args, last);                       \
		mode = mode_of(flags, args);                \
		va_end(args);                               \
		return open_any(folder, path, flags, mode); \
	}

EXPORT int open(const char *path, int flags, ...) OPEN_BODY(AT_FDCWD, flags) EXPORT
	int open64(const char *path, int flags, ...) OPEN_BODY(AT_FDCWD, flags) EXPORT
	int openat(int folder, const char *path, int flags, ...) OPEN_BODY(folder, flags) EXPORT
	int openat64(int folder, const char *path, int flags, ...) OPEN_BODY(folder, flags)

	/* What <bits/fcntl2.h> calls when it cannot see that there is no mode to pass. */
	EXPORT int __open_2(const char *path, int flags);
EXPORT int __open64_2(const char *path, int flags);
EXPORT int __openat_2(int folder, const char *path, int flags);
EXPORT int __openat64_2(int folder, const char *path, int flags);

int __open_2(const char *path, int flags)
{
	return open_any(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
	return open_any(AT_FDCWD, path, flags, 0);
}

int __openat_2(int folder, const char *path, int flags)
{
	return open_any(folder, path, flags, 0);
}

int __openat64_2(int folder, const char *path, int flags)
{
	return open_any(folder, path, flags, 0);
}

/* A hole in a guest_memfd changes what the machine knows of its pages. */
static int allocate(int fd, int mode, off_t offset, off_t length)
{
	int r = (int)syscall(SYS_fallocate, fd, mode, offset, length);
	uint32_t index;

	if (r < 0 || !gp_state || !(mode & FALLOC_FL_PUNCH_HOLE))
		return r;
	gp_lock();
	if (gp_fd_find(fd, &index) == GP_FD_GMEM)
		gp_gmem_punched(index, (uint64_t)offset, (uint64_t)length);
	gp_unlock();
	return r;
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t length)
{
	return allocate(fd, mode, offset, length);
}

EXPORT int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
	return allocate(fd, mode, offset, length);
}

/* Preloaded: onto the machine that the environment names. A wrong name must not pass unseen. */
__attribute__((constructor)) static void attach_at_start(void)
{
	const char *path = getenv("GM_PLATFORM");
	int r = path ? gm_platform_attach(path) : 0;

	gp_is_confined = getenv("GM_PLATFORM_CONFINED") != NULL;

	if (r < 0) {
		(void)fprintf(stderr, "gm-platform: %s: %s\n", path, strerror(-r));
		_exit(127);
	}
}
