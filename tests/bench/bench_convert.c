/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions of private memory through gmemd and libgmem, beside the same calls of KVM made bare:
 * attributes, then the other half freed. The half that is given up has its pages each time. And
 * what another tenant notices of one that does nothing else. Needs software-protected VMs.
 *
 * Conversions are made first and booked then. What they cost the VMM is seen where the daemon has a
 * CPU of its own; what they cost both, where the two share one, which also bounds how often one
 * has to make the other run.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench_client.h"
#include "bench_daemon.h"
#include "bench_place.h"
#include "bench_sides.h"
#include "gm_cleanup.h"
#include "gmem.h"
#include "vm.h"

#define MAX_ONE 3.0
#define MAX_BATCH 1.1
#define MAX_STORM 1.5
#define NS_PER_US 1000.0

#define SIZE (16 * GM_MIB)
#define BATCH 512
/* So many batches after one another have pages of their own, and then all of them go back. */
#define PLACES 4u
#define SW_PROTECTED_VM 1UL
/* What comes after such a pause is reported at once. */
#define ALONE_NS 2000000
/* Of a tenant that may ask 500 times in a second. */
#define GRANTS 120
#define GRANT_PAUSE_NS 5000000

/* Private memory. */
struct halves {
	int vm;
	int shared_fd;
	int private_fd;
	unsigned turn;
	void *address; /* of the floor's */
	gmem_client *client;
	gmem_region *region;
};

#define HALVES_NULL ((struct halves){ .vm = -1, .shared_fd = -1, .private_fd = -1 })

struct stage {
	struct bench_daemon daemon;
	struct halves bare;
	struct halves served;
	bool alone;
	size_t n_ranges;
	struct gmem_range ranges[BATCH];
};

static int open_vm(int *ret_vm)
{
	_gm_close_ int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm;

	if (kvm < 0)
		return -errno;
	vm = ioctl(kvm, KVM_CREATE_VM, SW_PROTECTED_VM);
	if (vm < 0)
		return -errno;
	*ret_vm = vm;
	return 0;
}

/* The newest guest_memfd of this process: libgmem does not show its own. */
static int find_private_half(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	int found = -1;

	while (dir && (entry = readdir(dir)) != NULL) {
		char text[64] = "";
		int fd = atoi(entry->d_name);

		if (readlinkat(dirfd(dir), entry->d_name, text, sizeof(text) - 1) > 0 &&
		    strstr(text, "[kvm-gmem]") && fd > found)
			found = fd;
	}
	if (dir)
		(void)closedir(dir);
	return found;
}

static int open_bare(struct halves *bare)
{
	struct gm_vm_slot slot = { .size = SIZE };
	int r = open_vm(&bare->vm);

	if (r < 0)
		return r;
	bare->shared_fd = memfd_create("bench", MFD_CLOEXEC);
	if (bare->shared_fd < 0 || ftruncate(bare->shared_fd, SIZE) < 0)
		return -errno;
	bare->address = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, bare->shared_fd, 0);
	if (bare->address == MAP_FAILED)
		return -errno;
	r = gm_vm_create_memory(bare->vm, SIZE, 0, &bare->private_fd);
	slot.address = bare->address;
	slot.private_fd = bare->private_fd;
	return r == 0 ? gm_vm_bind(bare->vm, &slot) : r;
}

static int open_served(struct halves *served, const char *socket)
{
	const struct gmem_domain_spec kind = { .kind = "sw-protected" };
	const struct gmem_region_spec spec = { .size = SIZE };
	gmem_domain *domain;
	int r = open_vm(&served->vm);

	if (r < 0)
		return r;
	if (gmem_connect(socket, NULL, &served->client) < 0)
		return -ECONNREFUSED;
	if (gmem_domain_create(served->client, &kind, &domain) < 0 ||
	    gmem_vm_adopt(domain, served->vm) < 0 ||
	    gmem_region_create(domain, &spec, &served->region) < 0 ||
	    gmem_region_bind(served->region, 0) < 0)
		return -EREMOTEIO;
	served->shared_fd = gmem_region_fd(served->region);
	served->private_fd = find_private_half();
	return 0;
}

static void close_halves(struct halves *halves)
{
	if (halves->client) {
		gmem_disconnect(halves->client);
	} else {
		if (halves->address)
			(void)munmap(halves->address, SIZE);
		if (halves->shared_fd >= 0)
			(void)close(halves->shared_fd);
		if (halves->private_fd >= 0)
			(void)close(halves->private_fd);
	}
	if (halves->vm >= 0)
		(void)close(halves->vm);
}

/* ---- conversions */

static bool is_shared(const struct halves *halves)
{
	return halves->turn / PLACES % 2;
}

static int given_up(const struct halves *halves)
{
	return is_shared(halves) ? halves->shared_fd : halves->private_fd;
}

/*
 * The next conversion's turn: every other page from its place on, so that no range is one with the
 * next. All pages that it gives up are there.
 */
static int prepare(struct stage *stage, const struct halves *halves)
{
	const struct timespec pause = { .tv_nsec = ALONE_NS };
	uint64_t first = halves->turn % PLACES * 2 * stage->n_ranges;

	for (size_t i = 0; i < stage->n_ranges; i++) {
		struct gmem_range *range = &stage->ranges[i];

		*range = (struct gmem_range){ (first + 2 * i) * GM_PAGE_4K, GM_PAGE_4K };
		if (fallocate(given_up(halves), FALLOC_FL_KEEP_SIZE, (off_t)range->offset,
			      (off_t)range->length) < 0)
			return -errno;
	}
	if (stage->alone)
		(void)nanosleep(&pause, NULL);
	return 0;
}

static int convert_bare(void *arg, double *ret_ns)
{
	struct stage *stage = arg;
	struct halves *bare = &stage->bare;
	int r = prepare(stage, bare);
	uint64_t start = bench_now();

	for (size_t i = 0; i < stage->n_ranges && r == 0; i++) {
		const struct gmem_range *range = &stage->ranges[i];

		r = gm_vm_set_private(bare->vm, range->offset, range->length, is_shared(bare));
		gm_vm_punch(given_up(bare), range->offset, range->length);
	}
	*ret_ns = (double)(bench_now() - start) / (double)stage->n_ranges;
	bare->turn++;
	return r;
}

static int convert_served(void *arg, double *ret_ns)
{
	struct stage *stage = arg;
	struct halves *served = &stage->served;
	int r = prepare(stage, served);
	uint64_t start = bench_now();

	if (r == 0 &&
	    gmem_region_convert(served->region, stage->ranges, stage->n_ranges,
				is_shared(served) ? GMEM_PAGE_PRIVATE : GMEM_PAGE_SHARED) < 0)
		r = -EREMOTEIO;
	*ret_ns = (double)(bench_now() - start) / (double)stage->n_ranges;
	served->turn++;
	return r;
}

static int measure(struct stage *stage, size_t n_ranges, const char *figure, double limit,
		   unsigned rounds, struct bench_report *rows)
{
	struct bench_side sides[] = {
		{ .once = convert_bare, .arg = stage },
		{ .once = convert_served, .arg = stage },
	};
	unsigned in_a_row = n_ranges == 1 ? 20 : 2 * PLACES;
	int r;

	stage->n_ranges = n_ranges;
	stage->bare.turn = stage->served.turn = 0;
	r = bench_sides(sides, GM_ARRAY_SIZE(sides), n_ranges == 1 ? rounds : (rounds + 2) / 3,
			in_a_row);
	return r == 0 ? bench_sides_report(rows, figure, &sides[1], &sides[0], "us", NS_PER_US,
					   limit)
		      : r;
}

/* ---- a storm */

/* Whose turn it is, in memory that all share; a process that is stopped answers nobody in time. */
enum turn {
	NOBODYS,
	BARE,
	SERVED,
	N_TURNS
};

struct turns {
	_Atomic int turn;
	_Atomic uint64_t n_done[N_TURNS];
};

/* One that gmemd serves keeps two CPUs busy: its own, and gmemd's with its worker's. */
static const enum turn storms[] = { SERVED, BARE, BARE };
#define N_STORMS GM_ARRAY_SIZE(storms)

struct storm {
	struct bench_daemon daemon;
	struct bench_client client;
	uint64_t domain;
	struct turns *turns;
	pid_t pids[N_STORMS];
};

static int convert_in_turn(struct stage *stage, struct turns *turns, enum turn own)
{
	const struct timespec nap = { .tv_nsec = 1000000 };
	double ns;
	int r;

	if (turns->turn != (int)own) {
		(void)nanosleep(&nap, NULL);
		return 0;
	}
	r = own == SERVED ? convert_served(stage, &ns) : convert_bare(stage, &ns);
	turns->n_done[own] += r == 0;
	return r;
}

/* Through gmemd, or of one who needs none. */
static _Noreturn void become_storm(const struct storm *storm, enum turn own)
{
	struct stage stage = { .bare = HALVES_NULL, .served = HALVES_NULL };
	int r;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		_exit(1);
	stage.n_ranges = 16;
	for (size_t i = 0; i < stage.n_ranges; i++)
		stage.ranges[i] = (struct gmem_range){ 2 * i * GM_PAGE_4K, GM_PAGE_4K };
	r = own == SERVED ? open_served(&stage.served, storm->daemon.socket)
			  : open_bare(&stage.bare);
	while (r == 0)
		r = convert_in_turn(&stage, storm->turns, own);
	_exit(1);
}

static int start_storms(struct storm *storm)
{
	for (size_t i = 0; i < N_STORMS; i++) {
		storm->pids[i] = fork();
		if (storm->pids[i] < 0)
			return -errno;
		if (storm->pids[i] == 0)
			become_storm(storm, storms[i]);
	}
	return 0;
}

/* As slow as 99 of 100 grants are. */
static int quiet_p99(void *arg, double *ret_ns)
{
	const struct timespec pause = { .tv_nsec = GRANT_PAUSE_NS };
	struct storm *storm = arg;
	double ns[GRANTS];
	int r = 0;

	for (unsigned i = 0; i < GRANTS && r == 0; i++) {
		uint64_t start = bench_now();
		_gm_close_ int fd = -1;
		uint64_t region;

		r = bench_create_region(&storm->client, storm->domain, 0, GM_PAGE_4K, GM_PAGE_4K,
					&region, &fd);
		ns[i] = (double)(bench_now() - start);
		if (r == 0)
			r = bench_destroy_region(&storm->client, region);
		(void)nanosleep(&pause, NULL);
	}
	/* Sorts them. */
	(void)bench_median(ns, GRANTS);
	*ret_ns = ns[GRANTS * 99 / 100];
	return r;
}

/* One that converts nothing in its turn is no storm. */
static int p99_beside(struct storm *storm, enum turn turn, double *ret_ns)
{
	uint64_t before = storm->turns->n_done[turn];
	int r;

	storm->turns->turn = turn;
	r = quiet_p99(storm, ret_ns);
	storm->turns->turn = NOBODYS;
	return r == 0 && storm->turns->n_done[turn] == before ? -EREMOTEIO : r;
}

static int p99_beside_bare(void *arg, double *ret_ns)
{
	return p99_beside(arg, BARE, ret_ns);
}

static int p99_beside_served(void *arg, double *ret_ns)
{
	return p99_beside(arg, SERVED, ret_ns);
}

static int open_storm(struct storm *storm, const struct bench_options *options)
{
	int r = bench_daemon_start(options, -1, false, &storm->daemon);

	if (r == 0)
		r = bench_client_open(&storm->client, storm->daemon.neighbour);
	if (r == 0)
		r = bench_create_domain(&storm->client, "memfd", &storm->domain);
	if (r < 0)
		return r;
	storm->turns = mmap(NULL, sizeof(*storm->turns), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (storm->turns == MAP_FAILED)
		return -errno;
	return start_storms(storm);
}

static int close_storm(struct storm *storm)
{
	for (size_t i = 0; i < N_STORMS; i++) {
		if (storm->pids[i] <= 0)
			continue;
		(void)kill(storm->pids[i], SIGKILL);
		(void)waitpid(storm->pids[i], NULL, 0);
	}
	bench_client_close(&storm->client);
	return bench_daemon_stop(&storm->daemon);
}

/*
 * The storm itself has a right to the host's CPUs: what the same conversions cost the neighbour
 * when nobody serves them is a row of its own.
 */
static int measure_storm(const struct bench_options *options, struct bench_report *rows)
{
	struct storm storm = { .daemon = BENCH_DAEMON_NULL, .client = BENCH_CLIENT_NULL };
	struct bench_side sides[] = {
		{ .once = quiet_p99, .arg = &storm },
		{ .once = p99_beside_bare, .arg = &storm },
		{ .once = p99_beside_served, .arg = &storm },
	};
	int r = open_storm(&storm, options), ended;

	if (r == 0)
		r = bench_sides(sides, GM_ARRAY_SIZE(sides), options->quick ? 3 : 9, 1);
	ended = close_storm(&storm);
	if (r == 0)
		r = ended;
	if (r == 0)
		r = bench_sides_report(rows, "grant p99 beside two storms without gmemd", &sides[1],
				       &sides[0], "us", NS_PER_US, BENCH_NO_LIMIT);
	return r == 0 ? bench_sides_report(rows, "grant p99 beside a storm of conversions",
					   &sides[2], &sides[0], "us", NS_PER_US, MAX_STORM)
		      : r;
}

static int skip_all(struct bench_report *rows, int r)
{
	char why[128];

	(void)snprintf(why, sizeof(why), "no software-protected VM: %s", strerror(-r));
	return bench_report_skip(rows, "conversions of private memory", why);
}

/* The program on the first CPU, the daemon there too or on another. */
static int open_stage(const struct bench_options *options, struct stage *stage, bool together)
{
	int r = bench_daemon_start(options, bench_cpu(!together), false, &stage->daemon);

	if (r == 0)
		r = open_bare(&stage->bare);
	if (r == 0)
		r = open_served(&stage->served, stage->daemon.socket);
	return r == 0 ? bench_pin(0, bench_cpu(0)) : r;
}

static int close_stage(struct stage *stage)
{
	(void)bench_pin(0, -1);
	close_halves(&stage->served);
	close_halves(&stage->bare);
	return bench_daemon_stop(&stage->daemon);
}

static int measure_together(struct stage *stage, unsigned rounds, struct bench_report *rows)
{
	int r = measure(stage, 1, "conversion of a page, p50, same CPU", MAX_ONE, rounds, rows);

	if (r < 0)
		return r;
	bench_report_decides(rows);
	return measure(stage, BATCH, "conversion of 512 pages, each, p50, same CPU", BENCH_NO_LIMIT,
		       rounds, rows);
}

static int measure_apart(struct stage *stage, unsigned rounds, struct bench_report *rows)
{
	int r = measure(stage, BATCH, "conversion of 512 pages, each, p50", MAX_BATCH, rounds,
			rows);

	if (r < 0)
		return r;
	stage->alone = true;
	return measure(stage, 1, "conversion of a page by itself, p50", BENCH_NO_LIMIT, rounds,
		       rows);
}

static int measure_conversions(const struct bench_options *options, struct bench_report *rows,
			       bool together)
{
	static struct stage stage;
	unsigned rounds = options->quick ? 10 : 50;
	int ended, r;

	stage = (struct stage){ .daemon = BENCH_DAEMON_NULL,
				.bare = HALVES_NULL,
				.served = HALVES_NULL };
	r = open_stage(options, &stage, together);
	if (r == 0)
		r = together ? measure_together(&stage, rounds, rows)
			     : measure_apart(&stage, rounds, rows);
	ended = close_stage(&stage);
	return r == 0 ? ended : r;
}

int bench_convert(const struct bench_options *options, struct bench_report *rows)
{
	_gm_close_ int vm = -1;
	int r = open_vm(&vm);

	if (r < 0)
		return skip_all(rows, r);
	r = measure_conversions(options, rows, true);
	if (r == 0 && bench_n_cpus() > 1)
		r = measure_conversions(options, rows, false);
	return r == 0 ? measure_storm(options, rows) : r;
}
