/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gm_fd.h"
#include "gm_seccomp.h"

/* sd_listen_fds(3): the first inherited socket. */
#define LISTEN_FDS_START 3

static int std_fds_exist(void)
{
	int fd;

	/* open() gives the lowest free number, so that holes below 3 are filled. */
	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return -errno;
	} while (fd <= STDERR_FILENO);
	gm_fd_close(fd);
	return 0;
}

/* How many sockets were meant for this very process; what is no number counts as none. */
static unsigned listen_fds(void)
{
	const char *pid = getenv("LISTEN_PID");
	const char *n = getenv("LISTEN_FDS");
	long count;

	if (!pid || !n || strtol(pid, NULL, 10) != (long)getpid())
		return 0;
	count = strtol(n, NULL, 10);
	return count > 0 && count < 65536 ? (unsigned)count : 0;
}

static int raise_nofile(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

/*
 * Of the hard limit only: workers that launch guests inherit it, and set a soft one for what they
 * may pin. Without CAP_SYS_RESOURCE it stays, and such launches are refused where it is too low.
 */
static void raise_memlock(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return;
	limit.rlim_max = RLIM_INFINITY;
	(void)setrlimit(RLIMIT_MEMLOCK, &limit);
}

int gm_sandbox_early(void)
{
	int r;

	/* EINVAL: a kernel before 4.3, which has none to clear. */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return -errno;
	(void)umask(077);
	if (close_range(LISTEN_FDS_START + listen_fds(), ~0U, 0) < 0)
		return -errno;
	r = std_fds_exist();
	if (r)
		return r;
	raise_memlock();
	return raise_nofile();
}

/*
 * What the daemon keeps, where it has it: fds that its clients leave unread count against all of
 * root's processes, and over RLIMIT_NOFILE of them nobody is sent any more, unless by somebody with
 * this capability (too_many_unix_fds in net/core/scm.c); and it is what raises a client's limit of
 * locked memory. In the daemon's filter no other call asks for it. Anything else has no reason:
 * memfd_create, KVM_CREATE_GUEST_MEMFD on a VM that is open, hugetlb memfds, mbind and a peer's
 * pidfd are for everybody, and the daemon's own files belong to its own user.
 */
#define DAEMON_CAPABILITY CAP_SYS_RESOURCE

/*
 * What the spawner keeps, where it has it: the files of control groups are root's, or of whom the
 * tenant's groups were delegated to. It opens for writing
 * cgroup.procs, and a worker, before it gives this up, its own oom_score_adj.
 */
#define SPAWNER_CAPABILITY CAP_DAC_OVERRIDE

static bool has_only(int kept)
{
	if (capng_get_caps_process() < 0)
		return false;
	for (int capability = 0; capability <= CAP_LAST_CAP; capability++)
		if (capability != kept &&
		    (capng_have_capability(CAPNG_EFFECTIVE, (unsigned)capability) ||
		     capng_have_capability(CAPNG_PERMITTED, (unsigned)capability) ||
		     capng_have_capability(CAPNG_INHERITABLE, (unsigned)capability)))
			return false;
	return true;
}

static int drop_capabilities(int kept)
{
	if (capng_get_caps_process() < 0)
		return -EPERM;
	/* Without CAP_SETPCAP the bounding set stays; it is about execve, which the filter ends. */
	bool may_drop_bounds = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
	bool keeps = capng_have_capability(CAPNG_EFFECTIVE, (unsigned)kept);

	capng_clear(CAPNG_SELECT_ALL);
	if (keeps && capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, (unsigned)kept) < 0)
		return -EPERM;
	if (may_drop_bounds && capng_apply(CAPNG_SELECT_BOUNDS) < 0)
		return -EPERM;
	if (capng_apply(CAPNG_SELECT_CAPS) < 0 || !has_only(kept))
		return -EPERM;
	return 0;
}

/* A core file or an attached debugger would show tokens and guest memory. */
static int hide_memory(void)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

static int load_filter(enum gm_seccomp_profile profile, enum gm_sandbox_mode mode)
{
	return mode == GM_SANDBOX_OFF ? 0 : gm_seccomp_load(profile, mode == GM_SANDBOX_LOG);
}

static int confine(enum gm_seccomp_profile profile, int capability, enum gm_sandbox_mode mode)
{
	int r;

	r = drop_capabilities(capability);
	if (r)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = hide_memory();
	if (r)
		return r;
	return load_filter(profile, mode);
}

int gm_sandbox_daemon(enum gm_sandbox_mode mode)
{
	return confine(GM_SECCOMP_DAEMON, DAEMON_CAPABILITY, mode);
}

int gm_sandbox_spawner(enum gm_sandbox_mode mode)
{
	return confine(GM_SECCOMP_SPAWNER, SPAWNER_CAPABILITY, mode);
}

/* By itself: libcap-ng looks into /proc and asks for more than a worker's filter allows. */
static int drop_all(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

int gm_sandbox_worker(enum gm_sandbox_mode mode)
{
	int r = drop_all();

	return r ? r : load_filter(GM_SECCOMP_WORKER, mode);
}

int gm_sandbox_closer(enum gm_sandbox_mode mode)
{
	int r = drop_all();

	if (r)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return load_filter(GM_SECCOMP_CLOSER, mode);
}
