/* SPDX-License-Identifier: Apache-2.0 */
#include "t_keep_child.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fd_store.h"
#include "gm_fd.h"
#include "service_manager.h"

#ifndef KVM_CREATE_GUEST_MEMFD
#define KVM_CREATE_GUEST_MEMFD 0xc040aed4U
#endif

#define FILES_MAX 64

/* In the memfd "+state": what the lives tell each other. */
struct diary {
	uint32_t life; /* 1: the first */
	uint32_t n_files;
	pid_t left;
	struct {
		uint32_t record;
		struct gm_fd_identity identity;
	} files[FILES_MAX];
};

static struct gm_inherited_fds inherited;
static struct gm_fd_store store;
static struct diary *diary;

static void bad(int line) __attribute__((noreturn));

static void bad(int line)
{
	gm_notify_status("bad: line %d of t_keep_child.c in life %u", line,
			 diary ? diary->life : 0);
	_exit(T_KEEP_CHILD_BAD);
}

#define EXPECT(condition)              \
	do {                           \
		if (!(condition))      \
			bad(__LINE__); \
	} while (0)

static void die(void) __attribute__((noreturn));

static void die(void)
{
	(void)raise(SIGKILL);
	_exit(T_KEEP_CHILD_BAD);
}

static int find_state(void)
{
	for (size_t i = 0; i < inherited.n_stored; i++)
		if (inherited.stored[i].kind == GM_STORED_STATE)
			return inherited.stored[i].fd;
	return -1;
}

/* Opens the diary, a new one in the first life. */
static void begin(void)
{
	int fd;

	EXPECT(gm_inherited_take(&inherited) == 0);
	EXPECT(gm_fd_store_open(&store) == 0);
	fd = find_state();
	if (fd < 0) {
		fd = memfd_create("diary", MFD_CLOEXEC);
		EXPECT(fd >= 0 && ftruncate(fd, sizeof(*diary)) == 0);
		EXPECT(gm_fd_store_push(&store, "+state", fd) == 0);
	}
	diary = mmap(NULL, sizeof(*diary), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	EXPECT(diary != MAP_FAILED);
	diary->life++;
}

static int memory(void)
{
	int fd = memfd_create("region", MFD_CLOEXEC);

	EXPECT(fd >= 0);
	return fd;
}

/* -1 where there is no KVM, or one without it. */
static int guest_memory(void)
{
	struct {
		uint64_t size, flags, reserved[6];
	} request = { .size = 1 << 20 };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);

	return vm < 0 ? -1 : ioctl(vm, KVM_CREATE_GUEST_MEMFD, &request);
}

/* Stores @fd under the name of @record and remembers it. */
static void push(uint32_t record, int fd)
{
	char name[GM_STORED_NAME_SIZE];

	gm_stored_name(GM_STORED_REGION, record, name);
	EXPECT(diary->n_files < FILES_MAX);
	EXPECT(gm_fd_store_push(&store, name, fd) == 0);
	diary->files[diary->n_files].record = record;
	EXPECT(gm_fd_identify(fd, &diary->files[diary->n_files].identity) == 0);
	diary->n_files++;
}

static void forget(uint32_t record)
{
	char name[GM_STORED_NAME_SIZE];
	uint32_t n = 0;

	gm_stored_name(GM_STORED_REGION, record, name);
	EXPECT(gm_fd_store_remove(&store, name) == 0);
	for (uint32_t i = 0; i < diary->n_files; i++)
		if (diary->files[i].record != record)
			diary->files[n++] = diary->files[i];
	diary->n_files = n;
}

static bool is_remembered(const struct gm_stored *stored)
{
	struct gm_fd_identity identity;

	EXPECT(gm_fd_identify(stored->fd, &identity) == 0);
	for (uint32_t i = 0; i < diary->n_files; i++)
		if (diary->files[i].record == stored->record &&
		    diary->files[i].identity.inode == identity.inode &&
		    diary->files[i].identity.device == identity.device)
			return true;
	return false;
}

/* Everything in the diary is there, and nothing else. */
static void expect_all_back(void)
{
	size_t n_regions = 0;

	for (size_t i = 0; i < inherited.n_stored; i++) {
		if (inherited.stored[i].kind == GM_STORED_STATE)
			continue;
		EXPECT(inherited.stored[i].kind == GM_STORED_REGION);
		EXPECT(is_remembered(&inherited.stored[i]));
		EXPECT(fcntl(inherited.stored[i].fd, F_GETFD) == FD_CLOEXEC);
		n_regions++;
	}
	EXPECT(n_regions == diary->n_files);
}

/* ---- scenarios ---- */

/* Three lives; each dies right after its last push. */
static void everything_comes_back(void)
{
	int guest;

	expect_all_back();
	if (diary->life == 1) {
		push(1, memory());
		guest = guest_memory();
		if (guest >= 0)
			push(2, guest);
		push(3, memory());
		push(3, memory());
		die();
	}
	if (diary->life == 2) {
		push(4, memory());
		forget(3);
		push(5, memory());
		die();
	}
}

/* The numbers of the keeper's fds get gaps, and more of them each time. */
static void gaps_are_filled(void)
{
	expect_all_back();
	if (diary->life > 4)
		return;
	for (uint32_t i = 0; i < 12; i++)
		push(diary->life * 100 + i, memory());
	for (uint32_t i = 0; i < 12; i += 3)
		forget(diary->life * 100 + i);
	die();
}

/* A child of its own, that does not end with its parent; by itself only long after the test. */
static void what_it_leaves_ends_first(void)
{
	if (diary->life == 1) {
		pid_t pid = fork();

		EXPECT(pid >= 0);
		if (pid == 0) {
			(void)alarm(30);
			(void)pause();
			_exit(T_KEEP_CHILD_BAD);
		}
		diary->left = pid;
		die();
	}
	EXPECT(kill(diary->left, 0) < 0 && errno == ESRCH);
}

static void same_file_is_stored_once(void)
{
	int fd = memory(), copy = dup(fd);

	if (diary->life == 2) {
		expect_all_back();
		return;
	}
	push(1, fd);
	EXPECT(gm_fd_store_push(&store, "+r1", copy) == 0);
	die();
}

/* Far more than there is room for. Another death after it shows that nothing else has suffered. */
static void flood(void)
{
	char name[GM_STORED_NAME_SIZE];

	if (diary->life == 1) {
		for (uint32_t i = 0; i < 2 * store.max; i++) {
			gm_stored_name(GM_STORED_REGION, i, name);
			EXPECT(gm_fd_store_push(&store, name, memory()) == 0);
			/* What is stored counts, not what is open here. */
			gm_inherited_done(&inherited);
			EXPECT(close_range(64, ~0U, 0) == 0);
		}
		die();
	}
	EXPECT(store.max > 0 && inherited.n_stored == store.max);
	if (diary->life == 2)
		die();
}

/* A message from another process of the same user, with all it takes. */
static void others_are_not_believed(void)
{
	int status;
	pid_t pid;

	if (diary->life == 2) {
		EXPECT(inherited.n_stored == 1);
		return;
	}
	pid = fork();
	EXPECT(pid >= 0);
	if (pid == 0) {
		gm_notify_status("forged");
		_exit(gm_fd_store_push(&store, "+r1", memory()) ||
		      gm_fd_store_remove(&store, "+state"));
	}
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
	die();
}

static void say_much_and_die(void)
{
	expect_all_back();
	if (diary->life == 2)
		return;
	(void)kill(getppid(), SIGSTOP);
	/* Long after the first: the keeper has read that one. */
	usleep(50 * 1000);
	for (uint32_t i = 0; i < FILES_MAX; i++)
		push(i, memory());
	for (unsigned i = 0; i < 200; i++)
		EXPECT(gm_fd_store_remove(&store, "+rffff") == 0);
	forget(0);
	die();
}

static void hang(void)
{
	if (diary->life == 2)
		return;
	EXPECT(gm_watchdog_interval_ms() == 250);
	gm_notify_ready();
	/* Heard of for longer than the limit: only silence counts. */
	for (int i = 0; i < 6; i++) {
		usleep(100 * 1000);
		gm_notify_watchdog();
	}
	(void)raise(SIGSTOP);
}

static void say_all(void)
{
	gm_notify_status("three domains");
	gm_notify_ready();
	gm_notify_stopping();
}

static void on_term(int signo)
{
	_exit(signo == SIGTERM ? 7 : 8);
}

static void wait_for_term(void)
{
	(void)signal(SIGTERM, on_term);
	(void)signal(SIGHUP, on_term);
	gm_notify_ready();
	for (;;)
		pause();
}

static void end_with_two(void)
{
	_exit(2);
}

/* 0 + 10 + 20 + 40 ms of waiting in all. */
static void fail_four_times(void)
{
	if (diary->life <= 4)
		_exit(1);
}

static void find_the_socket(void)
{
	char byte;
	int client;

	EXPECT(inherited.n_sockets == 1);
	EXPECT(strcmp(inherited.sockets[0].name, "acme:1") == 0);
	if (diary->life == 1)
		die();
	/* It has waited through a death. */
	client = accept(inherited.sockets[0].fd, NULL, NULL);
	EXPECT(client >= 0 && read(client, &byte, 1) == 1 && byte == 'x');
}

static void live_under_a_keeper(void)
{
	sigset_t blocked;

	EXPECT(strcmp(getenv("GMEMD_KEEPER"), "1") == 0);
	EXPECT(!getenv("WATCHDOG_USEC") && !getenv("WATCHDOG_PID"));
	EXPECT(gm_watchdog_interval_ms() == 0);
	EXPECT(sigprocmask(SIG_BLOCK, NULL, &blocked) == 0);
	EXPECT(!sigismember(&blocked, SIGTERM) && !sigismember(&blocked, SIGHUP));
	EXPECT(getpgrp() == getpid());
	/* What it has open beside the diary, the store and the three first. */
	EXPECT(fcntl(find_state() < 0 ? 5 : 6, F_GETFD) < 0);
}

void t_keep_child(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} scenarios[] = {
		{ "everything_comes_back", everything_comes_back },
		{ "gaps_are_filled", gaps_are_filled },
		{ "what_it_leaves_ends_first", what_it_leaves_ends_first },
		{ "same_file_is_stored_once", same_file_is_stored_once },
		{ "flood", flood },
		{ "others_are_not_believed", others_are_not_believed },
		{ "say_much_and_die", say_much_and_die },
		{ "hang", hang },
		{ "say_all", say_all },
		{ "wait_for_term", wait_for_term },
		{ "end_with_two", end_with_two },
		{ "fail_four_times", fail_four_times },
		{ "find_the_socket", find_the_socket },
		{ "live_under_a_keeper", live_under_a_keeper },
	};

	if (argc != 3 || strcmp(argv[1], "child") != 0)
		return;
	begin();
	for (size_t i = 0; i < GM_ARRAY_SIZE(scenarios); i++) {
		if (strcmp(scenarios[i].name, argv[2]) == 0) {
			scenarios[i].run();
			_exit(0);
		}
	}
	bad(__LINE__);
}
