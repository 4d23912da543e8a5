/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gmem-storm: clients do random operations while gmemd and clients are killed at random, again and
 * again; after each time everything is compared. See storm.h.
 *
 * With sanitizers it is run by hand: gcc leaves the section of fault points without red zones.
 *	cmake -B build/asan -G Ninja -DCMAKE_C_COMPILER=gcc -DGMEMD_TESTS=ON \
 *		-DGMEMD_SANITIZE=address,undefined
 *	ninja -C build/asan gmem-storm && build/asan/tests/gmem-storm --seconds 30 --kills 50
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gm_cleanup.h"
#include "gmem.h"
#include "storm_check.h"
#include "storm_faults.h"
#include "storm_host.h"
#include "storm_private.h"

#define HALT_PATIENCE_US UINT64_C(60000000)
#define RUN_MOST_US 30000
#define FAULT_PATIENCE_US 150000

static const char help[] =
	"Usage: gmem-storm [OPTION]...\n"
	"Kills gmemd and its clients at random, and compares what is there after each time.\n"
	"\n"
	"  --kills N       how often gmemd is killed at least (300)\n"
	"  --seconds S     how long to go on at least (0: until there were enough kills)\n"
	"  --limit S       how long to go on at most (0: no limit), also to hit every fault point\n"
	"  --clients N     4 to 64 (16)\n"
	"  --seed N        of all that is random (from the clock of the world)\n"
	"  --private       the clients are VMMs with private memory\n"
	"  --some-points   not every fault point has to be hit\n"
	"  --gmemd FILE    program with fault points (beside this one: gmemd-faults)\n"
	"  --help\n"
	"\n"
	"Ends with 0 when nothing differed, everything was given back, and every fault point was "
	"hit.\n";

static const char policy[] = "[X-Gmemd]\n"
			     "MemoryMax=100%\n"
			     "RegionMax=100%\n"
			     "DomainsMax=4000\n"
			     "RegionsMax=8000\n"
			     "SessionsMax=2000\n"
			     "JobsMax=1000\n"
			     "MemlockMax=1G\n"
			     "PersistentTTL=infinity\n"
			     "SevEsSlots=64\n"
			     "TdxSlots=64\n";

/* Who the clients are, and how what they have is compared. */
struct game {
	void (*life)(unsigned index);
	bool (*resolve)(unsigned index, pid_t pid);
	bool (*compare)(const struct storm_host *host, unsigned n_sessions, uint64_t *ret_us);
	bool is_private;
};

static const struct game plain = {
	.life = storm_client_run,
	.resolve = storm_resolve,
	.compare = storm_compare,
};

static const struct game private_memory = {
	.life = storm_vmm_run,
	.resolve = storm_world_resolve,
	.compare = storm_world_compare,
	.is_private = true,
};

struct conductor {
	const struct game *game;
	bool some_points;
	uint64_t seed;
	unsigned kills_wanted;
	uint64_t seconds;
	uint64_t limit;
	unsigned n_clients;
	char gmemd[512];

	struct storm_rng rng;
	struct storm_keeper keeper;
	struct storm_host host;
	uint64_t began_us;
	unsigned shots; /* kills of gmemd that were ours */
	unsigned vmm_kills;
	unsigned rounds;
	uint64_t worst_compare_us;
	unsigned dead; /* client that was killed in this round; n_clients: none */
	pid_t dead_pid;
};

/* ---- clients ---- */

static bool start_client(const struct conductor *conductor, unsigned index)
{
	struct storm_client *client = &storm->clients[index];
	pid_t pid;

	atomic_fetch_add(&client->incarnation, 1);
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0)
		conductor->game->life(index);
	if (pid < 0)
		storm_fail("no process for client %u: %s", index, strerror(errno));
	atomic_store(&client->pid, pid);
	return pid > 0;
}

/* One that has ended by itself has failed, and has said why unless it crashed. */
static void look_after_clients(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (unsigned i = 0; i < storm->n_clients; i++)
			if (atomic_load(&storm->clients[i].pid) == pid)
				storm_fail(
					"client %u has ended with status %#x while it was at: %s",
					i, (unsigned)status, storm->clients[i].doing);
}

/* At one of its next requests to KVM; soon it dies in any case. */
static void die_in_a_step(struct conductor *conductor, unsigned index)
{
	uint64_t until_us = storm_now_us() + FAULT_PATIENCE_US;

	atomic_store(&world->die_in[index], 1 + (int)storm_pick(&conductor->rng, 12));
	while (atomic_load(&world->die_in[index]) > 0 && storm_now_us() < until_us)
		storm_nap_us(500);
}

static void kill_client(struct conductor *conductor)
{
	unsigned index = (unsigned)storm_pick(&conductor->rng, storm->n_clients);
	struct storm_client *client = &storm->clients[index];
	pid_t pid = atomic_load(&client->pid);

	if (conductor->dead < storm->n_clients)
		return;
	if (conductor->game->is_private && storm_chance(&conductor->rng, 70))
		die_in_a_step(conductor, index);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	atomic_store(&client->pid, 0);
	if (conductor->game->is_private)
		atomic_store(&world->die_in[index], 0);
	/* Its session, if it has no domains, is not watched while gmemd is away. */
	atomic_fetch_add(&client->sessions, 1);
	conductor->dead = index;
	conductor->dead_pid = pid;
	conductor->vmm_kills++;
}

static bool all_halted(void)
{
	unsigned round = atomic_load(&storm->round);

	for (unsigned i = 0; i < storm->n_clients; i++)
		if (atomic_load(&storm->clients[i].pid) > 0 &&
		    atomic_load(&storm->clients[i].halted) != round)
			return false;
	return true;
}

static void tell_who_hangs(void)
{
	unsigned round = atomic_load(&storm->round);

	for (unsigned i = 0; i < storm->n_clients; i++)
		if (atomic_load(&storm->clients[i].pid) > 0 &&
		    atomic_load(&storm->clients[i].halted) != round)
			storm_fail("client %u does not come to an end: it is at: %s", i,
				   storm->clients[i].doing);
}

static bool wait_for_halt(void)
{
	uint64_t until_us = storm_now_us() + HALT_PATIENCE_US;

	while (!all_halted() && !atomic_load(&storm->failed)) {
		look_after_clients();
		if (storm_now_us() > until_us)
			tell_who_hangs();
		storm_nap_us(500);
	}
	return !atomic_load(&storm->failed);
}

/* ---- kills ---- */

static unsigned count_kills(const struct conductor *conductor)
{
	return conductor->shots + (unsigned)storm_faults_kills();
}

/* Whichever it is now. */
static void shoot(struct conductor *conductor)
{
	pid_t pid = storm_keeper_wait_child(&conductor->keeper, -1);
	_gm_close_ int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
	struct pollfd polled = { .fd = pidfd, .events = POLLIN };

	/* It may have ended meanwhile, at a fault point. */
	if (pidfd < 0 || storm_keeper_child(&conductor->keeper) != pid ||
	    pidfd_send_signal(pidfd, SIGKILL, NULL, 0) < 0)
		return;
	(void)poll(&polled, 1, 5000);
	conductor->shots++;
}

static void wait_for_faults(void)
{
	uint64_t until_us = storm_now_us() + FAULT_PATIENCE_US;

	while (storm_faults_are_armed() && storm_now_us() < until_us)
		storm_nap_us(500);
}

static void strike_at_fault(struct conductor *conductor)
{
	enum storm_aim aim = storm_faults_arm(&conductor->rng);

	storm_nap_us(storm_pick(&conductor->rng, RUN_MOST_US / 4));
	if (aim != STORM_AIM_WAIT)
		shoot(conductor);
	if (aim == STORM_AIM_KILL_BOTH)
		kill_client(conductor);
	wait_for_faults();
	storm_faults_disarm();
}

static void strike(struct conductor *conductor)
{
	if (conductor->game->is_private && storm_chance(&conductor->rng, 30))
		storm_world_evict(&conductor->rng);
	if (storm_chance(&conductor->rng, 5))
		kill_client(conductor);
	if (storm_chance(&conductor->rng, 60)) {
		strike_at_fault(conductor);
	} else {
		storm_nap_us(storm_pick(&conductor->rng, RUN_MOST_US));
		shoot(conductor);
	}
	if (storm_chance(&conductor->rng, 5))
		kill_client(conductor);
}

/* The daemon that is there now, whoever of them died meanwhile. */
static bool find_daemon(struct conductor *conductor)
{
	conductor->host.daemon = storm_keeper_wait_child(&conductor->keeper, -1);
	if (conductor->host.daemon == 0)
		storm_fail("the keeper does not start gmemd again");
	return conductor->host.daemon > 0;
}

static unsigned count_sessions(void)
{
	unsigned n = 1;

	for (unsigned i = 0; i < storm->n_clients; i++)
		n += 1 + atomic_load(&storm->clients[i].sessions);
	return n;
}

static bool compare(struct conductor *conductor)
{
	uint64_t us;

	if (!conductor->game->compare(&conductor->host, count_sessions(), &us))
		return false;
	conductor->worst_compare_us = gm_max_u64(conductor->worst_compare_us, us);
	return true;
}

static bool play_round(struct conductor *conductor)
{
	conductor->dead = storm->n_clients;
	atomic_fetch_add(&storm->round, 1);
	atomic_store(&storm->phase, STORM_RUN);
	/* Several at a time, also while gmemd is being started. */
	do {
		strike(conductor);
	} while (storm_chance(&conductor->rng, 40));
	atomic_store(&storm->phase, STORM_HALT);
	if (!wait_for_halt() || !find_daemon(conductor))
		return false;
	if (conductor->dead < storm->n_clients &&
	    !conductor->game->resolve(conductor->dead, conductor->dead_pid))
		return false;
	if (!compare(conductor))
		return false;
	conductor->rounds++;
	return conductor->dead == storm->n_clients || start_client(conductor, conductor->dead);
}

/* ---- begin and end ---- */

/* The platform model makes system calls of its own in whoever runs on it. */
static void run_on_model(const char **args)
{
	static char root[512];

	while (*args)
		args++;
	(void)snprintf(root, sizeof(root), "%s.d", getenv("GM_PLATFORM"));
	args[0] = "--cgroup-root";
	args[1] = root;
	args[2] = "--sandbox";
	args[3] = "off";
	args[4] = NULL;
}

static int start_keeper(struct conductor *conductor)
{
	char listen[STORM_TENANTS][128];
	const char *args[STORM_ARGS_MAX] = {
		"gmemd",   "--keep",	 "--restart-max", "0",	      "--log-level",
		"info",	   "--workers",	 "512",		  "--policy", conductor->keeper.policy,
		"--admin", storm->admin, "--listen",	  listen[0],  "--listen",
		listen[1], NULL
	};

	for (unsigned i = 0; i < STORM_TENANTS; i++)
		(void)snprintf(listen[i], sizeof(listen[i]), "%s=%s", storm_tenant_name(i),
			       storm->sockets[i]);
	if (getenv("GM_PLATFORM"))
		run_on_model(args);
	return storm_keeper_start(&conductor->keeper, conductor->gmemd, args);
}

static void note_kind(const char *kind, bool is_usable)
{
	storm->has_guest_memfd |= is_usable && strcmp(kind, "guest-memfd") == 0;
	if (world)
		world->has_launches |= is_usable && strcmp(kind, "tdx") == 0;
}

/* Which kinds has it? And is it there at all? */
static bool greet(void)
{
	const struct gmem_connect_spec spec = { .name = "storm/conductor" };
	uint64_t until_us = storm_now_us() + UINT64_C(10000000);
	struct gmem_host_info info;
	gmem_client *client;

	while (gmem_connect(storm->admin, &spec, &client) != 0) {
		if (storm_now_us() > until_us) {
			storm_fail("gmemd does not start");
			return false;
		}
		storm_nap_us(2000);
	}
	if (gmem_get_host(client, &info) == 0)
		for (uint32_t i = 0; i < info.n_backends; i++)
			note_kind(info.backends[i].kind, info.backends[i].usable);
	gmem_disconnect(client);
	return true;
}

/* Points of a start without a record, and of a stop: each in a daemon's life of its own. */
static bool visit_ends(struct conductor *conductor)
{
	for (unsigned nth = 0; storm_faults_arm_start(nth); nth++) {
		int status;

		if (start_keeper(conductor) < 0 || !greet())
			return false;
		status = storm_keeper_stop(&conductor->keeper);
		storm_faults_disarm();
		if (status < 0) {
			storm_fail("the keeper did not stop");
			return false;
		}
	}
	return true;
}

static bool begin(struct conductor *conductor)
{
	unsigned memory;
	int r = storm_keeper_prepare(&conductor->keeper, policy);

	if (r == 0)
		r = storm_faults_open(conductor->keeper.faults);
	(void)snprintf(storm->admin, sizeof(storm->admin), "%s/admin", conductor->keeper.folder);
	for (unsigned i = 0; i < STORM_TENANTS; i++)
		(void)snprintf(storm->sockets[i], sizeof(storm->sockets[i]), "%s/%s",
			       conductor->keeper.folder, storm_tenant_name(i));
	if (r == 0)
		r = start_keeper(conductor);
	if (r < 0) {
		storm_fail("cannot start: %s", strerror(-r));
		return false;
	}
	if (!greet())
		return false;
	if (storm_faults_count() == 0) {
		storm_fail("%s has no fault points", conductor->gmemd);
		return false;
	}
	storm_faults_choose(conductor->game->is_private, world && world->has_launches);
	conductor->host.keeper = conductor->keeper.pid;
	conductor->host.daemon = storm_keeper_wait_child(&conductor->keeper, -1);
	conductor->host.daemon_fds = storm_count_fds(conductor->host.daemon, &memory);
	conductor->host.keeper_fds = storm_count_fds(conductor->host.keeper, &memory);
	for (unsigned i = 0; i < STORM_DOMAINS_MAX; i++)
		atomic_store(&storm->domains[i].holder, i < STORM_CLIENTS_MAX * STORM_DOMAINS
								? (int)(i / STORM_DOMAINS)
								: STORM_OFFERED | STORM_NOBODY);
	for (unsigned i = 0; i < storm->n_clients; i++)
		if (!start_client(conductor, i))
			return false;
	return true;
}

static bool wait_for_end_of(unsigned index)
{
	struct storm_client *client = &storm->clients[index];
	uint64_t until_us = storm_now_us() + HALT_PATIENCE_US;
	pid_t pid = atomic_load(&client->pid);
	int status = -1;

	while (storm_now_us() < until_us && !atomic_load(&storm->failed)) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			atomic_store(&client->pid, 0);
			if (status != 0)
				storm_fail("client %u has ended with status %#x", index,
					   (unsigned)status);
			return status == 0;
		}
		storm_nap_us(1000);
	}
	storm_fail("client %u does not end: it is at: %s", index, client->doing);
	return false;
}

/* A daemon that crashes comes back as one that was killed does. */
static bool has_died_of_us_alone(const struct conductor *conductor)
{
	char line[STORM_FAULT_MAX];

	if (!storm_keeper_find_fault(&conductor->keeper, line, sizeof(line)))
		return true;
	storm_fail("%s", line);
	return false;
}

/* Everything is given back: then the daemon's own books must be empty, or it ends with an error. */
static bool end(struct conductor *conductor)
{
	int status;

	atomic_store(&storm->phase, STORM_END);
	for (unsigned i = 0; i < storm->n_clients; i++)
		if (!wait_for_end_of(i))
			return false;
	if (!compare(conductor))
		return false;
	status = storm_keeper_stop(&conductor->keeper);
	if (status != 0) {
		storm_fail("the keeper has ended with status %#x", (unsigned)status);
		return false;
	}
	if (!conductor->game->is_private && !visit_ends(conductor))
		return false;
	return has_died_of_us_alone(conductor);
}

static void progress(const struct conductor *conductor)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%5" PRIu64 " s: kills %u, at fault points %llu, clients %u \r",
			(storm_now_us() - conductor->began_us) / 1000000, count_kills(conductor),
			storm_faults_kills(), conductor->vmm_kills);
}

static bool is_over(const struct conductor *conductor)
{
	uint64_t seconds = (storm_now_us() - conductor->began_us) / 1000000;

	if (conductor->limit > 0 && seconds >= conductor->limit)
		return true;
	/* On a slow host a point may need more tries than there were. */
	return count_kills(conductor) >= conductor->kills_wanted && seconds >= conductor->seconds &&
	       (conductor->some_points || storm_faults_were_all_hit());
}

static bool play(struct conductor *conductor)
{
	conductor->began_us = storm_now_us();
	if (!begin(conductor))
		return false;
	while (!is_over(conductor)) {
		progress(conductor);
		look_after_clients();
		if (atomic_load(&storm->failed) || !play_round(conductor))
			return false;
	}
	return end(conductor);
}

static void report(const struct conductor *conductor)
{
	unsigned long long requests = 0, answers = 0, resumed = 0, repeated = 0;
	unsigned long long told = 0, late = 0;

	for (unsigned i = 0; i < storm->n_clients; i++) {
		requests += atomic_load(&storm->clients[i].requests);
		answers += atomic_load(&storm->clients[i].answers);
		resumed += atomic_load(&storm->clients[i].resumed);
		repeated += atomic_load(&storm->clients[i].repeated);
		told += atomic_load(&storm->clients[i].told);
		late += atomic_load(&storm->clients[i].late);
	}
	if (world)
		printf("conversions         %llu, evictions %u, launches finished %llu\n",
		       atomic_load(&world->conversions), atomic_load(&world->n_evicted),
		       atomic_load(&world->launches));
	printf("kills of gmemd      %u (%llu at fault points)\n"
	       "kills of clients    %u\n"
	       "comparisons         %u (the longest until all was the same: %" PRIu64 " ms)\n"
	       "requests            %llu, answers %llu\n"
	       "sessions resumed    %llu, requests repeated (raw clients) %llu\n"
	       "losers told         %llu (by libgmem), %llu of them after a return\n"
	       "time                %" PRIu64 " s\n",
	       count_kills(conductor), storm_faults_kills(), conductor->vmm_kills,
	       conductor->rounds, conductor->worst_compare_us / 1000, requests, answers, resumed,
	       repeated, told, late, (storm_now_us() - conductor->began_us) / 1000000);
}

static int conclude(struct conductor *conductor, bool good)
{
	if (good && count_kills(conductor) < conductor->kills_wanted) {
		storm_fail("only %u kills of %u in %" PRIu64 " s", count_kills(conductor),
			   conductor->kills_wanted, conductor->limit);
		good = false;
	}
	report(conductor);
	if (storm_faults_print() > 0 && good && !conductor->some_points) {
		storm_fail("a fault point was never hit");
		good = false;
	}
	for (unsigned i = 0; i < storm->n_clients; i++)
		if (atomic_load(&storm->clients[i].pid) > 0)
			(void)kill(atomic_load(&storm->clients[i].pid), SIGKILL);
	(void)storm_keeper_stop(&conductor->keeper);
	storm_keeper_clear(&conductor->keeper, !good);
	if (good)
		return 0;
	if (conductor->dead < storm->n_clients)
		printf("client %u (process %d) was killed in this round\n", conductor->dead,
		       (int)conductor->dead_pid);
	printf("FAILED: seed %" PRIu64 ", kill %u, round %u: %s\n"
	       "the daemon's log: %s\n",
	       conductor->seed, count_kills(conductor), conductor->rounds, storm->fault,
	       conductor->keeper.log);
	return 1;
}

/* ---- the command line ---- */

static bool parse_number(const char *text, uint64_t *ret_number)
{
	char *end;

	errno = 0;
	*ret_number = strtoull(text, &end, 0);
	return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0';
}

static bool parse(struct conductor *conductor, int argc, char **argv)
{
	static const struct option options[] = { { "kills", required_argument, NULL, 'k' },
						 { "seconds", required_argument, NULL, 's' },
						 { "limit", required_argument, NULL, 'l' },
						 { "clients", required_argument, NULL, 'c' },
						 { "seed", required_argument, NULL, 'r' },
						 { "private", no_argument, NULL, 'p' },
						 { "some-points", no_argument, NULL, 'S' },
						 { "gmemd", required_argument, NULL, 'g' },
						 { "help", no_argument, NULL, 'h' },
						 { NULL, 0, NULL, 0 } };
	uint64_t number = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == '?')
			return false;
		if (option == 'h') {
			fputs(help, stdout);
			exit(0);
		}
		if (option == 'p') {
			conductor->game = &private_memory;
			continue;
		}
		if (option == 'S') {
			conductor->some_points = true;
			continue;
		}
		if (option == 'g') {
			(void)snprintf(conductor->gmemd, sizeof(conductor->gmemd), "%s", optarg);
			continue;
		}
		if (!parse_number(optarg, &number))
			return false;
		if (option == 'k')
			conductor->kills_wanted = (unsigned)number;
		else if (option == 's')
			conductor->seconds = number;
		else if (option == 'l')
			conductor->limit = number;
		else if (option == 'c')
			conductor->n_clients = (unsigned)number;
		else
			conductor->seed = number;
	}
	return optind == argc && conductor->n_clients >= 4 &&
	       conductor->n_clients <= STORM_CLIENTS_MAX;
}

static void find_gmemd(struct conductor *conductor)
{
	ssize_t length =
		readlink("/proc/self/exe", conductor->gmemd, sizeof(conductor->gmemd) - 32);
	char *slash;

	conductor->gmemd[length > 0 ? length : 0] = '\0';
	slash = strrchr(conductor->gmemd, '/');
	if (slash)
		(void)snprintf(slash + 1, 32, "gmemd-faults");
}

int main(int argc, char **argv)
{
	static struct conductor conductor = { .game = &plain,
					      .kills_wanted = 300,
					      .n_clients = 16 };

	find_gmemd(&conductor);
	if (getrandom(&conductor.seed, sizeof(conductor.seed), 0) < 0)
		return 1;
	conductor.seed >>= 32;
	if (!parse(&conductor, argc, argv)) {
		fputs("gmem-storm: what is that? See --help\n", stderr);
		return 2;
	}
	storm = mmap(NULL, sizeof(*storm), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (storm == MAP_FAILED || (conductor.game->is_private && !storm_world_make()))
		return 1;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	storm->seed = conductor.rng.state = conductor.seed;
	storm->n_clients = conductor.n_clients;
	printf("seed %" PRIu64 "\n", conductor.seed);
	return conclude(&conductor, play(&conductor));
}
