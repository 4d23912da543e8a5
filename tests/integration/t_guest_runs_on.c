/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A KVM guest on memory of gmemd runs on while gmemd is killed again and again, and calls of
 * libgmem made meanwhile succeed. The guest does nothing but count; one thread runs it, one watches
 * the counter, one kills, and the test's own makes the calls.
 *
 * $GMEMD_BUILD is the build folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gm_fd.h"
#include "gm_test.h"
#include "gmem.h"

#define KILLS 10
#define CALLS_BETWEEN_KILLS 8
#define PAUSE_MOST_MS 50
#define RAM_SIZE (UINT64_C(16) << 20)
#define CODE 0x1000
#define COUNTER 0x2000

/* The sanitizers' runtime makes calls that no filter of ours knows. */
#ifdef GMEMD_SANITIZED
#define SANDBOX "off"
#else
#define SANDBOX "enforce"
#endif

/* 16-bit: incl (COUNTER); jmp back. */
static const uint8_t guest_code[] = { 0x66, 0xff, 0x06, 0x00, 0x20, 0xeb, 0xf9 };

struct keeper {
	char folder[32];
	char socket[64];
	char log[64];
	pid_t pid;
};

struct vm {
	int vm_fd;
	int vcpu_fd;
	struct kvm_run *run;
	size_t run_size;
	uint8_t *ram;
	pthread_t thread;
	atomic_int tid;
	atomic_bool stop;
	atomic_int error; /* errno, or minus an unexpected exit reason */
};

struct watch {
	const struct vm *vm;
	pthread_t thread;
	atomic_bool stop;
	int schedstat_fd; /* of the vCPU's thread; -1: the kernel has none */
	int stat_fd;	  /* of the host */
	uint64_t longest_us;
	uint64_t starved_us; /* most that was taken off */
	uint64_t samples;
};

struct killer {
	const struct keeper *keeper;
	pthread_t thread;
	atomic_uint calls; /* made so far */
	atomic_uint kills;
	atomic_bool done;
	const char *fault;
};

struct seen {
	unsigned resumed;
	unsigned other;
};

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void nap_ms(long ms)
{
	const struct timespec nap = { .tv_nsec = ms * 1000000 };

	nanosleep(&nap, NULL);
}

/* ---- gmemd under its keeper */

static void become_keeper(const struct keeper *keeper)
{
	const char *build = getenv("GMEMD_BUILD");
	char program[512];
	char listen[128];
	int log = open(keeper->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

	/* A test that fails leaves no daemon behind. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || !build || log < 0 || dup2(log, 1) < 0 ||
	    dup2(log, 2) < 0)
		_exit(126);
	snprintf(program, sizeof(program), "%s/bin/gmemd", build);
	snprintf(listen, sizeof(listen), "test=%s", keeper->socket);
	/* A service manager above would be told of this keeper's states. */
	unsetenv("NOTIFY_SOCKET");
	execl(program, "gmemd", "--keep", "--listen", listen, "--sandbox", SANDBOX, NULL);
	_exit(127);
}

static void show_log(const struct keeper *keeper)
{
	char text[4096];
	int fd = open(keeper->log, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	while (fd >= 0 && (n = read(fd, text, sizeof(text))) > 0)
		fwrite(text, 1, (size_t)n, stderr);
	gm_fd_close(fd);
}

static void keeper_start(struct keeper *keeper)
{
	snprintf(keeper->folder, sizeof(keeper->folder), "/tmp/gmemd-runs-XXXXXX");
	assert_non_null(mkdtemp(keeper->folder));
	snprintf(keeper->socket, sizeof(keeper->socket), "%s/sock", keeper->folder);
	snprintf(keeper->log, sizeof(keeper->log), "%s/log", keeper->folder);
	keeper->pid = fork();
	assert_true(keeper->pid >= 0);
	if (keeper->pid == 0)
		become_keeper(keeper);
}

static void keeper_stop(const struct keeper *keeper)
{
	int status = -1;

	assert_int_equal(kill(keeper->pid, SIGTERM), 0);
	assert_int_equal(waitpid(keeper->pid, &status, 0), keeper->pid);
	if (status != 0)
		show_log(keeper);
	unlink(keeper->log);
	unlink(keeper->socket);
	rmdir(keeper->folder);
	assert_int_equal(status, 0);
}

/* The keeper's child, or 0. */
static pid_t daemon_of(const struct keeper *keeper)
{
	char path[64];
	char text[64] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", keeper->pid, keeper->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	gm_fd_close(fd);
	return (pid_t)strtol(text, NULL, 10);
}

static gmem_client *connect_to(const struct keeper *keeper)
{
	char why[256] = "";
	const struct gmem_connect_spec spec = { .name = "t_guest_runs_on",
						.ret_error = why,
						.ret_error_size = sizeof(why) };
	gmem_client *client = NULL;

	for (int i = 0; i < 500; i++) {
		if (gmem_connect(keeper->socket, &spec, &client) == 0)
			return client;
		nap_ms(10);
	}
	show_log(keeper);
	fail_msg("no client: %s", why);
	return NULL;
}

/* ---- the guest */

static void interrupt(int number)
{
	(void)number;
}

static void *run_vcpu(void *arg)
{
	struct vm *vm = arg;

	atomic_store(&vm->tid, gettid());
	while (!atomic_load(&vm->stop)) {
		if (ioctl(vm->vcpu_fd, KVM_RUN, 0) == 0) {
			atomic_store(&vm->error, -(int)vm->run->exit_reason);
			return NULL;
		}
		if (errno != EINTR) {
			atomic_store(&vm->error, errno);
			return NULL;
		}
	}
	return NULL;
}

static void set_registers(const struct vm *vm)
{
	const struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	struct kvm_sregs sregs;

	assert_int_equal(ioctl(vm->vcpu_fd, KVM_GET_SREGS, &sregs), 0);
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	assert_int_equal(ioctl(vm->vcpu_fd, KVM_SET_SREGS, &sregs), 0);
	assert_int_equal(ioctl(vm->vcpu_fd, KVM_SET_REGS, &regs), 0);
}

static void vm_start(struct vm *vm, int kvm_fd, void *ram)
{
	const struct kvm_userspace_memory_region slot = {
		.memory_size = RAM_SIZE,
		.userspace_addr = (uintptr_t)ram,
	};
	const struct sigaction action = { .sa_handler = interrupt };
	int size;

	*vm = (struct vm){ .ram = ram };
	memcpy(vm->ram + CODE, guest_code, sizeof(guest_code));
	vm->vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
	assert_true(vm->vm_fd >= 0);
	assert_int_equal(ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot), 0);
	assert_int_equal(ioctl(vm->vm_fd, KVM_SET_TSS_ADDR, 0xfffbd000UL), 0);
	vm->vcpu_fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, 0);
	assert_true(vm->vcpu_fd >= 0);
	size = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	assert_true(size > 0);
	vm->run_size = (size_t)size;
	vm->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu_fd, 0);
	assert_true(vm->run != MAP_FAILED);
	set_registers(vm);
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	assert_int_equal(pthread_create(&vm->thread, NULL, run_vcpu, vm), 0);
}

static void vm_stop(struct vm *vm)
{
	atomic_store(&vm->stop, true);
	/* Seen at the next KVM_RUN, should the signal come just before one. */
	vm->run->immediate_exit = 1;
	pthread_kill(vm->thread, SIGUSR1);
	pthread_join(vm->thread, NULL);
	munmap(vm->run, vm->run_size);
	gm_fd_close(vm->vcpu_fd);
	gm_fd_close(vm->vm_fd);
}

static uint32_t counter_of(const struct vm *vm)
{
	return *(const volatile uint32_t *)(const void *)(vm->ram + COUNTER);
}

/* How long the vCPU's thread has been ready to run and had no processor. */
static uint64_t waited_us(const struct watch *watch)
{
	char text[96] = "";
	unsigned long long waited = 0;

	if (pread(watch->schedstat_fd, text, sizeof(text) - 1, 0) > 0)
		(void)sscanf(text, "%*u %llu", &waited);
	return waited / 1000;
}

/* How long processors were taken away, where this host is itself a guest. */
static uint64_t stolen_us(const struct watch *watch)
{
	char text[128] = "";
	unsigned long long ticks = 0;

	if (pread(watch->stat_fd, text, sizeof(text) - 1, 0) > 0)
		(void)sscanf(text, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &ticks);
	return ticks * (1000000 / (uint64_t)sysconf(_SC_CLK_TCK));
}

static uint64_t starved_us(const struct watch *watch)
{
	return waited_us(watch) + stolen_us(watch);
}

static void open_statistics(struct watch *watch)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", atomic_load(&watch->vm->tid));
	watch->schedstat_fd = open(path, O_RDONLY | O_CLOEXEC);
	watch->stat_fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
}

/* Other load is not the daemon's: what the thread waited for a processor is taken off. */
static void note_pause(struct watch *watch, uint64_t pause_us, uint64_t wait_us)
{
	uint64_t own_us = pause_us > wait_us ? pause_us - wait_us : 0;

	if (own_us > watch->longest_us)
		watch->longest_us = own_us;
	if (pause_us - own_us > watch->starved_us)
		watch->starved_us = pause_us - own_us;
}

/*
 * A pause is what was seen of it: between the first and the last look at the same number. It is
 * judged when it is over, because the kernel counts a wait for the processor when that ends.
 */
static void *watch_counter(void *arg)
{
	struct watch *watch = arg;
	uint32_t last = counter_of(watch->vm);
	uint64_t waited = starved_us(watch);
	uint64_t since = now_us();
	uint64_t until = since;

	while (!atomic_load(&watch->stop)) {
		uint32_t count;

		nap_ms(1);
		watch->samples++;
		count = counter_of(watch->vm);
		if (count == last) {
			until = now_us();
			continue;
		}
		if (until > since)
			note_pause(watch, until - since, starved_us(watch) - waited);
		last = count;
		waited = starved_us(watch);
		since = until = now_us();
	}
	note_pause(watch, until - since, starved_us(watch) - waited);
	return NULL;
}

/* ---- deaths */

/* Waits until calls have been answered by this daemon. */
static bool wait_for_calls(struct killer *killer, unsigned since)
{
	for (int i = 0; i < 20000; i++) {
		if (atomic_load(&killer->calls) - since >= CALLS_BETWEEN_KILLS)
			return true;
		nap_ms(1);
	}
	killer->fault = "no calls are answered";
	return false;
}

static void *kill_daemons(void *arg)
{
	struct killer *killer = arg;
	pid_t last = 0;

	for (unsigned i = 0; i < KILLS; i++) {
		pid_t pid;

		if (!wait_for_calls(killer, atomic_load(&killer->calls)))
			break;
		pid = daemon_of(killer->keeper);
		if (pid <= 0 || pid == last) {
			killer->fault = "the keeper has no new daemon";
			break;
		}
		/* Anywhere inside a call. */
		usleep((useconds_t)(now_us() % 997));
		kill(pid, SIGKILL);
		last = pid;
		atomic_fetch_add(&killer->kills, 1);
	}
	atomic_store(&killer->done, true);
	return NULL;
}

/* ---- calls */

static void see(void *arg, int type, gmem_domain *domain, uint64_t value)
{
	struct seen *seen = arg;

	(void)domain;
	if (type == GMEM_EVENT_RECONNECTED && value == 1)
		seen->resumed++;
	else
		seen->other++;
}

static int count_regions(void *arg, const struct gmem_region_info *info)
{
	(void)info;
	++*(unsigned *)arg;
	return 0;
}

static void must(gmem_client *client, const char *what, int status)
{
	if (status < 0)
		fail_msg("%s: %s", what, gmem_error(client)->text);
}

/* What a VMM may ask for beside its guest: something of each kind. */
static void make_calls(gmem_client *client, gmem_domain *domain, struct killer *killer)
{
	const struct gmem_region_spec spec = { .gpa = UINT64_C(1) << 32, .size = 1 << 20 };
	gmem_region *region = NULL;
	unsigned n = 0;

	must(client, "create", gmem_region_create(domain, &spec, &region));
	atomic_fetch_add(&killer->calls, 1);
	must(client, "allocate", gmem_region_allocate(region, NULL, 0, NULL, NULL));
	atomic_fetch_add(&killer->calls, 1);
	must(client, "list", gmem_list_regions(client, gmem_domain_id(domain), count_regions, &n));
	assert_int_equal(n, 2);
	atomic_fetch_add(&killer->calls, 1);
	must(client, "destroy", gmem_region_destroy(region));
	atomic_fetch_add(&killer->calls, 1);
	must(client, "ping", gmem_ping(client));
	atomic_fetch_add(&killer->calls, 1);
}

static void kill_and_call(const struct keeper *keeper, gmem_client *client, gmem_domain *domain,
			  const struct vm *vm)
{
	struct killer killer = { .keeper = keeper };
	struct watch watch = { .vm = vm };
	struct seen seen = { 0 };

	gmem_client_on_event(client, see, &seen);
	open_statistics(&watch);
	assert_int_equal(pthread_create(&watch.thread, NULL, watch_counter, &watch), 0);
	assert_int_equal(pthread_create(&killer.thread, NULL, kill_daemons, &killer), 0);
	do {
		make_calls(client, domain, &killer);
	} while (!atomic_load(&killer.done));
	make_calls(client, domain, &killer);
	pthread_join(killer.thread, NULL);
	atomic_store(&watch.stop, true);
	pthread_join(watch.thread, NULL);
	gm_fd_close(watch.schedstat_fd);
	gm_fd_close(watch.stat_fd);
	gmem_client_on_event(client, NULL, NULL);

	printf("%u deaths, %u calls, %llu looks at the counter, longest pause %llu us, longest "
	       "wait "
	       "for a processor %llu us\n",
	       killer.kills, killer.calls, (unsigned long long)watch.samples,
	       (unsigned long long)watch.longest_us, (unsigned long long)watch.starved_us);
	if (killer.fault)
		fail_msg("%s", killer.fault);
	assert_int_equal(killer.kills, KILLS);
	assert_int_equal(seen.resumed, KILLS);
	assert_int_equal(seen.other, 0);
	assert_true(watch.samples > 0);
	assert_true(watch.longest_us <= PAUSE_MOST_MS * 1000);
}

static void a_guest_runs_on_and_calls_succeed_while_gmemd_dies(void **state)
{
	const struct gmem_domain_spec spec = { .kind = "memfd", .devices = GMEM_DEVICE_KVM };
	struct keeper keeper = { 0 };
	gmem_client *client;
	gmem_domain *domain;
	gmem_region *region;
	uint32_t count;
	struct vm vm;
	void *ram;

	(void)state;
	keeper_start(&keeper);
	client = connect_to(&keeper);
	must(client, "domain", gmem_domain_create(client, &spec, &domain));
	must(client, "region",
	     gmem_region_create(domain, &(struct gmem_region_spec){ .size = RAM_SIZE }, &region));
	must(client, "map", gmem_region_map(region, &ram));
	vm_start(&vm, gmem_domain_device_fd(domain, GMEM_DEVICE_KVM), ram);
	/* The guest counts before its pauses are. */
	for (int i = 0; i < 5000 && counter_of(&vm) == 0; i++)
		nap_ms(1);
	count = counter_of(&vm);

	kill_and_call(&keeper, client, domain, &vm);

	assert_int_equal(atomic_load(&vm.error), 0);
	assert_true(counter_of(&vm) != count);
	vm_stop(&vm);
	gmem_disconnect(client);
	keeper_stop(&keeper);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_guest_runs_on_and_calls_succeed_while_gmemd_dies),
	};

	if (access("/dev/kvm", R_OK | W_OK) < 0)
		gm_test_skip_all("/dev/kvm cannot be opened");
	if (geteuid() != 0)
		gm_test_skip_all("gmemd opens /dev/kvm as root, and drops its rights itself");
#ifndef __x86_64__
	gm_test_skip_all("the guest's code is for x86");
#endif
	return gm_test_run("guest_runs_on", tests, sizeof(tests) / sizeof(tests[0]));
}
