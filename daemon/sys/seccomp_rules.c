/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls without argument tests are cheapest: the kernel keeps a bitmap of those that are always
 * allowed and does not run the filter for them (seccomp_cache_check_allow, since 5.11). The calls
 * of the hot path, epoll_wait, recvmsg and sendmsg, therefore have none.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gm_num.h"
#include "seccomp_rules.h"

/* KVM's numbers, which the headers of older systems lack. */
#define KVM_CHECK_EXTENSION_REQUEST 0xae03U
#define KVM_CREATE_GUEST_MEMFD_REQUEST 0xc040aed4U
#define KVM_SET_MEMORY_ATTRIBUTES2_REQUEST 0xc080aed2U
#define KVM_CREATE_VM_REQUEST 0xae01U
#define KVM_CREATE_VCPU_REQUEST 0xae41U
#define KVM_GET_SREGS_REQUEST 0x8138ae83U
#define KVM_SET_SREGS_REQUEST 0x4138ae84U
#define KVM_SET_REGS_REQUEST 0x4090ae82U
#define KVM_ENCRYPT_OP_REQUEST 0xc008aebaU
#define KVM_PIN_REQUEST 0x8010aebbU

/* Of an int argument the kernel sees the low half only. */
#define INT_MASK UINT64_C(0xffffffff)

#define MASKED(number, mask, value)                                                              \
	{                                                                                        \
		.arg = (number), .op = SCMP_CMP_MASKED_EQ, .datum_a = (mask), .datum_b = (value) \
	}
#define INT(number, value) MASKED(number, INT_MASK, (uint32_t)(value))
#define ZERO(number)                                             \
	{                                                        \
		.arg = (number), .op = SCMP_CMP_EQ, .datum_a = 0 \
	}

#define ALLOW(call, why)                        \
	{                                       \
		.name = (call), .reason = (why) \
	}
#define ALLOW_IF(call, why, test)                                              \
	{                                                                      \
		.name = (call), .reason = (why), .n_args = 1, .args = { test } \
	}
#define ALLOW_IF_BOTH(call, why, test, other)                                         \
	{                                                                             \
		.name = (call), .reason = (why), .n_args = 2, .args = { test, other } \
	}
#define ANSWER(call, why, error)                                   \
	{                                                          \
		.name = (call), .reason = (why), .answer = (error) \
	}

#define LIST(name, rules_) \
	const struct gm_seccomp_list name = { .rules = (rules_), .n_rules = GM_ARRAY_SIZE(rules_) }

/* Nothing that could create, truncate or write: the kernel masks O_ACCMODE to two bits. */
#define OPEN_FLAGS_MASK ((uint64_t)(O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY)))

static const struct gm_seccomp_rule common[] = {
	ALLOW("brk", "malloc"),
	ALLOW_IF("mmap", "malloc, thread stacks, hugepage reservations; never code",
		 MASKED(2, PROT_EXEC, 0)),
	ALLOW_IF("mprotect", "malloc, guard pages; never code", MASKED(2, PROT_EXEC, 0)),
	ALLOW("munmap", "malloc"),
	ALLOW("mremap", "realloc"),
	ALLOW("madvise", "malloc and ended threads give memory back"),
	ALLOW("futex", "locks, joining threads"),
	ALLOW("exit", "the end of a thread"),
	ALLOW("exit_group", "the end"),
	ALLOW("rt_sigreturn", "signal handlers"),
	ALLOW("rt_sigprocmask", "starting threads, abort"),
	ALLOW("rt_sigaction", "signal handlers, abort"),
	ALLOW("getpid", "abort"),
	ALLOW("gettid", "abort"),
	ALLOW("getppid", "has the parent died?"),
	ALLOW("clock_gettime", "where the vdso has no clock"),
	ALLOW("gettimeofday", "where the vdso has no clock"),
	ALLOW("time", "where the vdso has no clock"),
	ALLOW("clock_nanosleep", "waiting"),
	ALLOW("nanosleep", "waiting"),
	ALLOW("restart_syscall", "a wait that a stop signal has interrupted"),
	ALLOW("sched_yield", "locks"),
	ALLOW("close", "fds"),
	ALLOW("recvmsg", "packets and fds"),
	ALLOW("sendmsg", "packets and fds, the journal, the service manager"),
	ALLOW("poll", "sockets"),
	ALLOW("ppoll", "sockets"),
	ALLOW("getrandom", "ids and tokens; glibc's malloc"),
	ALLOW_IF("write", "log lines and last words to stderr", INT(0, STDERR_FILENO)),
	ALLOW_IF("writev", "glibc's last words to stderr", INT(0, STDERR_FILENO)),
	ANSWER("clone3", "glibc goes on with clone, whose flags a filter can see", ENOSYS),
};
LIST(gm_seccomp_common, common);

static const struct gm_seccomp_rule own_abort[] = {
	{ .name = "tgkill", .reason = "abort, of nobody else", .own_pid = true },
};
LIST(gm_seccomp_own_abort, own_abort);

static const struct gm_seccomp_rule daemon_rules[] = {
	/* Guest memory. No fallocate: that is for workers. */
	ALLOW("memfd_create", "kind memfd; long journal entries"),
	ALLOW("ftruncate", "the size of a memfd"),
	ALLOW_IF("ioctl", "kind guest-memfd: a new one", INT(1, KVM_CREATE_GUEST_MEMFD_REQUEST)),
	ALLOW_IF("ioctl", "kind guest-memfd: what KVM can do", INT(1, KVM_CHECK_EXTENSION_REQUEST)),
	{ .name = "ioctl",
	  .reason = "is it a terminal? Asked by stdio",
	  .answer = ENOTTY,
	  .n_args = 1,
	  .args = { INT(1, TCGETS) } },
	ALLOW("mbind", "NUMA nodes of a memfd"),
	ALLOW("get_mempolicy", "NUMA nodes that the daemon may use"),
	{ .name = "cachestat", .reason = "which pages are there", .number = 451 },
	ALLOW("fstat", "identity and size of an fd"),
	ALLOW("newfstatat", "fstat, as glibc makes it"),
	ALLOW("statx", "fstat, as newer libraries make it"),
	ALLOW("fstatfs", "the kind of an fd"),
	ALLOW("statfs", "which hierarchy of cgroups a client's unit is in"),
	ALLOW("readlink", "the kind of an fd"),
	ALLOW("readlinkat", "the kind of an fd"),

	/* Fds. */
	ALLOW_IF("fcntl", "copies of fds", INT(1, F_DUPFD_CLOEXEC)),
	ALLOW_IF("fcntl", "close-on-exec of a guest_memfd", INT(1, F_GETFD)),
	ALLOW_IF("fcntl", "close-on-exec of a guest_memfd", INT(1, F_SETFD)),
	ALLOW_IF("fcntl", "sockets that do not block", INT(1, F_GETFL)),
	ALLOW_IF("fcntl", "sockets that do not block", INT(1, F_SETFL)),
	ALLOW_IF("fcntl", "the fixed size of a memfd", INT(1, F_ADD_SEALS)),
	ALLOW_IF("fcntl", "the fixed size of a memfd", INT(1, F_GET_SEALS)),

	/* Sockets. */
	ALLOW("accept4", "clients"),
	ALLOW("getsockopt", "who a client is, its pidfd"),
	ALLOW_IF("setsockopt", "buffer sizes", INT(1, SOL_SOCKET)),
	ALLOW("getsockname", "what an inherited socket is"),
	ALLOW("shutdown", "ends of connections and of the spawner"),
	ALLOW_IF("socketpair", "channels of workers", INT(0, AF_UNIX)),
	ALLOW_IF_BOTH("socket", "the service manager, the journal", INT(0, AF_UNIX),
		      MASKED(1, 0xf, SOCK_DGRAM)),
	/* Without buffers for a datagram (ENOBUFS) libsystemd passes a memfd with the entry. */
	ALLOW("writev", "entries of the journal in a memfd"),
	ALLOW_IF("prctl", "entries of the journal in a memfd", INT(0, PR_GET_NAME)),
	ALLOW("connect", "the service manager, the journal: on the sockets above"),

	/* The loop. */
	ALLOW("epoll_wait", "libevent"),
	ALLOW("epoll_pwait", "libevent where there is no epoll_wait"),
	ALLOW("epoll_pwait2", "newer libevent"),
	ALLOW("epoll_ctl", "libevent"),

	/* Processes: none is made, none is signalled. */
	ALLOW("pidfd_open", "a client's end, where there is no SO_PEERPIDFD"),
	ALLOW("wait4", "the spawner"),
	ALLOW("waitid", "the spawner"),

	/* Files, for reading. */
	ALLOW_IF("openat", "policies on reload, /proc, hugepage pools",
		 MASKED(2, OPEN_FLAGS_MASK, 0)),
	ALLOW("read", "the same"),
	ALLOW("pread64", "the same"),
	ALLOW("getdents64", "directories of policies"),
	ALLOW("access", "is there a journal?"),
	ALLOW("faccessat", "is there a journal?"),
	ALLOW("unlink", "its own listening sockets at the end; a path is nothing a filter sees"),
	ALLOW("unlinkat", "the same where there is no unlink"),

	/* Questions. */
	ALLOW("getuid", "libsystemd asks"),
	ALLOW("geteuid", "libsystemd asks"),
	ALLOW("getgid", "libsystemd asks"),
	ALLOW("getegid", "libsystemd asks"),
	ALLOW("sched_getaffinity", "CPUs for the threads of jobs"),
	ALLOW("uname", "reasons that name the kernel"),
	ALLOW("sysinfo", "glibc asks for the size of memory"),
	ALLOW_IF_BOTH("prlimit64", "reading own limits", INT(0, 0), ZERO(2)),
	ALLOW_IF("prlimit64", "how much memory a client may lock", INT(1, RLIMIT_MEMLOCK)),
};
LIST(gm_seccomp_daemon, daemon_rules);

static const struct gm_seccomp_rule worker_rules[] = {
	ALLOW("fallocate", "the work"),
	ALLOW_IF("ioctl", "conversions in place", INT(1, KVM_SET_MEMORY_ATTRIBUTES2_REQUEST)),
	ALLOW("mbind", "hugepage reservations on nodes"),
	ALLOW("set_mempolicy", "the nodes of a job"),
	ALLOW_IF("clone", "threads; never a process", MASKED(0, CLONE_THREAD, CLONE_THREAD)),
	ALLOW("set_robust_list", "starting threads"),
	ALLOW("rseq", "starting threads"),

	/* The fd of a stranger. */
	ALLOW("readlink", "what it is"),
	ALLOW("readlinkat", "what it is"),
	ALLOW_IF("fcntl", "what it is", INT(1, F_GETFL)),
	ALLOW_IF("fcntl", "what it is", INT(1, F_GET_SEALS)),

	/* Launches that the daemon carries out itself, on fds of the job. */
	ALLOW_IF("ioctl", "a launch: a VM", INT(1, KVM_CREATE_VM_REQUEST)),
	ALLOW_IF("ioctl", "a launch: the platform's commands", INT(1, KVM_ENCRYPT_OP_REQUEST)),
	ALLOW_IF("ioctl", "a launch: memory stays where it is", INT(1, KVM_PIN_REQUEST)),
	ALLOW_IF("ioctl", "a launch: vCPUs", INT(1, KVM_CREATE_VCPU_REQUEST)),
	ALLOW_IF("ioctl", "a launch: registers", INT(1, KVM_GET_SREGS_REQUEST)),
	ALLOW_IF("ioctl", "a launch: registers", INT(1, KVM_SET_SREGS_REQUEST)),
	ALLOW_IF("ioctl", "a launch: registers", INT(1, KVM_SET_REGS_REQUEST)),
	ALLOW_IF_BOTH("prlimit64", "a launch: what it may pin", INT(0, 0), INT(1, RLIMIT_MEMLOCK)),
};
LIST(gm_seccomp_worker, worker_rules);

/* What glibc's fork gives to clone. */
#define FORK_FLAGS (CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | SIGCHLD)

static const struct gm_seccomp_rule spawner_rules[] = {
	ALLOW_IF("clone", "workers: fork and nothing else", INT(0, FORK_FLAGS)),
	ALLOW("wait4", "workers that have ended"),
	ALLOW_IF("kill", "workers that do not answer", INT(1, SIGKILL)),
	ALLOW_IF("tgkill", "abort, of workers too", INT(2, SIGABRT)),
	ALLOW("read", "the signalfd"),
	ALLOW("pipe2", "a worker waits until it is in its control groups"),
	ALLOW_IF("openat", "its own control groups", MASKED(2, OPEN_FLAGS_MASK, 0)),
	ALLOW_IF("openat", "cgroup.procs of a worker's place",
		 MASKED(2, OPEN_FLAGS_MASK, O_WRONLY)),
	ALLOW("write", "cgroup.procs of a worker's place, its oom_score_adj"),

	/* What a new worker does before its own filter. */
	ALLOW_IF("prctl", "the name of a worker", INT(0, PR_SET_NAME)),
	ALLOW_IF("prctl", "workers die with the spawner", INT(0, PR_SET_PDEATHSIG)),
	ALLOW_IF("prctl", "workers are non-dumpable", INT(0, PR_SET_DUMPABLE)),
	ALLOW_IF_BOTH("setpgid", "a worker whose end nobody waits for", INT(0, 0), INT(1, 0)),
	ALLOW("dup3", "a worker's channel gets its number"),
	ALLOW_IF("fcntl", "a worker's channel gets its number", INT(1, F_SETFD)),
	ALLOW("close_range", "a worker has nothing else"),
	ALLOW("capset", "a worker gives up what the spawner keeps"),
	ALLOW("seccomp", "the worker's filter"),
};
LIST(gm_seccomp_spawner, spawner_rules);

static const struct gm_seccomp_rule closer_rules[] = {
	ALLOW("close", "the work"),
	ALLOW("futex", "waiting for work"),
	ALLOW("munmap", "the end of a thread; what loading the filter has used"),
	ALLOW("madvise", "the end of a thread"),
	ALLOW("mprotect", "what loading the filter has used"),
	ALLOW("brk", "what loading the filter has used"),
	ALLOW("rt_sigprocmask", "the end of a thread, abort"),
	ALLOW("rt_sigaction", "abort"),
	ALLOW("rt_sigreturn", "signal handlers"),
	ALLOW("getpid", "abort"),
	ALLOW("gettid", "abort"),
	ALLOW("restart_syscall", "a wait that a stop signal has interrupted"),
	ALLOW("exit", "the end of a thread"),
	ALLOW("exit_group", "the end"),
};
LIST(gm_seccomp_closer, closer_rules);
