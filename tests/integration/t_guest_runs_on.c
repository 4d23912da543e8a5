/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A KVM guest on memory of gmemd runs on while gmemd is killed again and again, and calls of
 * libgmem made meanwhile succeed. The guest does nothing but count, and note the longest time
 * between two counts by its own clock; one thread runs it, one watches the counter, one kills, and
 * the test's own makes the calls.
 *
 * Two figures are judged. The raw one is the guest's own: nothing is taken off, so whatever else
 * runs on the host is in it, and gmemd's own use of the processors too. What gmemd does to the
 * guest it does each time, what others do it does not: the raw pause must be short enough in one of
 * a few rounds, unless the host stops a guest for longer while gmemd is left alone for as long. The
 * net one is what remains when the wait for a processor is taken off, and must be short enough in
 * every round: a guest that waits for gmemd and not for a processor would show there.
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
#define PAUSE_MOST_US 50000
#define ROUNDS_MOST 4
#define RAM_SIZE (UINT64_C(16) << 20)
#define CODE 0x1000
#define COUNTER 0x2000
#define LAST 0x2004
#define LONGEST 0x2008

/* The sanitizers' runtime makes calls that no filter of ours knows. */
#ifdef GMEMD_SANITIZED
#define SANDBOX "off"
#else
#define SANDBOX "enforce"
#endif

/* 16-bit. Ticks of the TSC have 32 bits here: a pause of more than a second is one of a second. */
static const uint8_t guest_code[] = {
	0x0f, 0x31,		      /* rdtsc */
	0x66, 0x89, 0xc3,	      /* mov %eax, %ebx */
	0x66, 0x2b, 0x1e, 0x04, 0x20, /* sub (LAST), %ebx */
	0x66, 0xa3, 0x04, 0x20,	      /* mov %eax, (LAST) */
	0x66, 0x3b, 0x1e, 0x08, 0x20, /* cmp (LONGEST), %ebx */
	0x76, 0x05,		      /* jbe over the next */
	0x66, 0x89, 0x1e, 0x08, 0x20, /* mov %ebx, (LONGEST) */
	0x66, 0xff, 0x06, 0x00, 0x20, /* incl (COUNTER) */
	0xeb, 0xdf,		      /* jmp to the beginning */
};

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
	uint64_t net_us;  /* the longest pause without the wait for a processor */
	uint64_t wait_us; /* the longest wait that was taken off */
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

static volatile uint32_t *word_of(const struct vm *vm, unsigned at)
{
	return (volatile uint32_t *)(void *)(vm->ram + at);
}

static uint32_t counter_of(const struct vm *vm)
{
	return *word_of(vm, COUNTER);
}

/* What the guest stores is a pause that was, never what it has read here. */
static void forget_longest(const struct vm *vm)
{
	*word_of(vm, LONGEST) = 0;
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

/*
 * How long processors were taken away, where this host is itself a guest. The kernel counts all of
 * them together: a share, because the sum would hide a pause on one behind another.
 */
static uint64_t stolen_us(const struct watch *watch)
{
	char text[128] = "";
	unsigned long long ticks = 0;

	if (pread(watch->stat_fd, text, sizeof(text) - 1, 0) > 0)
		(void)sscanf(text, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &ticks);
	return ticks * (1000000 / (uint64_t)sysconf(_SC_CLK_TCK)) /
	       (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
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

static void note_pause(struct watch *watch, uint64_t pause_us, uint64_t wait_us)
{
	uint64_t own_us = pause_us > wait_us ? pause_us - wait_us : 0;

	if (own_us > watch->net_us)
		watch->net_us = own_us;
	if (pause_us - own_us > watch->wait_us)
		watch->wait_us = pause_us - own_us;
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

/* ---- rounds */

struct pauses {
	uint64_t lasted_us;
	uint64_t raw_us; /* by the guest's clock */
	uint64_t net_us;
	uint64_t wait_us;
	uint64_t samples;
};

struct measure {
	struct watch watch;
	uint64_t began_us;
	uint64_t began_ticks;
};

static void measure_begin(struct measure *measure, const struct vm *vm)
{
	*measure = (struct measure){ .watch = { .vm = vm } };
	open_statistics(&measure->watch);
	forget_longest(vm);
	measure->began_us = now_us();
	measure->began_ticks = __builtin_ia32_rdtsc();
	assert_int_equal(
		pthread_create(&measure->watch.thread, NULL, watch_counter, &measure->watch), 0);
}

static struct pauses measure_end(struct measure *measure)
{
	struct watch *watch = &measure->watch;
	uint64_t ticks, us;

	atomic_store(&watch->stop, true);
	pthread_join(watch->thread, NULL);
	gm_fd_close(watch->schedstat_fd);
	gm_fd_close(watch->stat_fd);
	ticks = __builtin_ia32_rdtsc() - measure->began_ticks;
	us = now_us() - measure->began_us;
	assert_true(watch->samples > 0);
	return (struct pauses){
		.lasted_us = us,
		.raw_us = *word_of(watch->vm, LONGEST) * us / ticks,
		.net_us = watch->net_us,
		.wait_us = watch->wait_us,
		.samples = watch->samples,
	};
}

static void say(const char *when, const struct pauses *pauses)
{
	printf("%s: longest pause %llu us raw (by the guest's clock), %llu us net (without up to "
	       "%llu us of waiting for a processor), %llu looks\n",
	       when, (unsigned long long)pauses->raw_us, (unsigned long long)pauses->net_us,
	       (unsigned long long)pauses->wait_us, (unsigned long long)pauses->samples);
}

/* What the host does to the guest by itself: the longer one looks, the longer is the longest. */
static struct pauses leave_alone(const struct vm *vm, uint64_t us)
{
	struct measure measure;
	struct pauses pauses;

	measure_begin(&measure, vm);
	for (uint64_t i = 0; i <= us / 100000; i++)
		nap_ms(100);
	pauses = measure_end(&measure);
	say("gmemd left alone", &pauses);
	return pauses;
}

static struct pauses kill_and_call(const struct keeper *keeper, gmem_client *client,
				   gmem_domain *domain, const struct vm *vm)
{
	struct killer killer = { .keeper = keeper };
	struct measure measure;
	struct pauses pauses;
	struct seen seen = { 0 };

	gmem_client_on_event(client, see, &seen);
	measure_begin(&measure, vm);
	assert_int_equal(pthread_create(&killer.thread, NULL, kill_daemons, &killer), 0);
	do {
		make_calls(client, domain, &killer);
	} while (!atomic_load(&killer.done));
	make_calls(client, domain, &killer);
	pthread_join(killer.thread, NULL);
	pauses = measure_end(&measure);
	gmem_client_on_event(client, NULL, NULL);

	say("ten deaths", &pauses);
	if (killer.fault)
		fail_msg("%s", killer.fault);
	assert_int_equal(killer.kills, KILLS);
	assert_int_equal(seen.resumed, KILLS);
	assert_int_equal(seen.other, 0);
	assert_true(pauses.net_us <= PAUSE_MOST_US);
	return pauses;
}

static void play_rounds(const struct keeper *keeper, gmem_client *client, gmem_domain *domain,
			const struct vm *vm)
{
	uint64_t quiet_us = 0;

	for (int i = 0; i < ROUNDS_MOST; i++) {
		struct pauses pauses = kill_and_call(keeper, client, domain, vm);

		if (pauses.raw_us <= PAUSE_MOST_US)
			return;
		pauses = leave_alone(vm, pauses.lasted_us);
		quiet_us = pauses.raw_us > quiet_us ? pauses.raw_us : quiet_us;
	}
	if (quiet_us <= PAUSE_MOST_US)
		fail_msg("the guest was stopped for longer in each of %d rounds, and was not while "
			 "gmemd was left alone",
			 ROUNDS_MOST);
	printf("this host is too busy to judge the raw pause: it stops the guest for %llu us "
	       "without gmemd\n",
	       (unsigned long long)quiet_us);
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

	play_rounds(&keeper, client, domain, &vm);

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
