/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libgmem and a gmemd that is killed at chosen instants, with fault points, under its keeper.
 *
 * Whoever loses a domain is told, also when gmemd is killed between the change, which is recorded
 * and answered by then, and the event that tells of it. And a client that ends while gmemd is away
 * leaves nothing behind.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GMEMD_FAULTS
#include "gm_fault.h"
#include "gm_test.h"
#include "gmem.h"
#include "storm.h"
#include "storm_host.h"

/* After the answer, before DOMAIN_GONE. */
#define POINT "request: answered"
#define PATIENCE_MS 20000

struct host {
	struct storm_keeper keeper;
	char socket[96];
	char admin[96];
	struct gm_fault_page *faults;
};

struct seen {
	unsigned resumed;
	unsigned other;
	unsigned losses;
	uint64_t why;
	gmem_domain *domain;
};

static struct host host;
static gmem_client *loser, *winner;
static gmem_domain *lost;
static struct seen seen;

static void see(void *arg, int type, gmem_domain *domain, uint64_t value)
{
	struct seen *what = arg;

	if (type == GMEM_EVENT_RECONNECTED && value == 1) {
		what->resumed++;
	} else if (type == GMEM_EVENT_DOMAIN_LOST) {
		what->losses++;
		what->why = value;
		what->domain = domain;
	} else {
		what->other++;
	}
}

static gmem_client *connect_to(const char *path)
{
	char why[256] = "";
	const struct gmem_connect_spec spec = { .name = "t_lib_restart",
						.timeout_ms = PATIENCE_MS,
						.reconnect_ms = PATIENCE_MS,
						.ret_error = why,
						.ret_error_size = sizeof(why) };
	gmem_client *client;

	for (int i = 0; i < 2000; i++) {
		if (gmem_connect(path, &spec, &client) == 0)
			return client;
		storm_nap_us(5000);
	}
	fail_msg("no client: %s", why);
	return NULL;
}

static void open_faults(void)
{
	int fd = open(host.keeper.faults, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sizeof(*host.faults)), 0);
	host.faults = mmap(NULL, sizeof(*host.faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	assert_true(host.faults != MAP_FAILED);
}

static unsigned point(void)
{
	unsigned n = atomic_load(&host.faults->n_points);

	for (unsigned i = 0; i < n; i++)
		if (strcmp(host.faults->points[i].name, POINT) == 0)
			return i;
	fail_msg("gmemd has no point \"%s\"", POINT);
	return 0;
}

static void open_host(void)
{
	char program[512];
	char listen[128];
	const char *const args[] = { "gmemd",	  "--keep",  "--restart-max", "0",
				     "--sandbox", "enforce", "--policy",      host.keeper.policy,
				     "--listen",  listen,    "--admin",	      host.admin,
				     NULL };

	assert_int_equal(storm_keeper_prepare(&host.keeper, "[X-Gmemd]\n"), 0);
	snprintf(host.socket, sizeof(host.socket), "%s/sock", host.keeper.folder);
	snprintf(host.admin, sizeof(host.admin), "%s/admin", host.keeper.folder);
	snprintf(listen, sizeof(listen), "test=%s", host.socket);
	snprintf(program, sizeof(program), "%s/tests/gmemd-faults", getenv("GMEMD_BUILD"));
	open_faults();
	assert_int_equal(storm_keeper_start(&host.keeper, program, args), 0);
}

static int close_host(void)
{
	int status = storm_keeper_stop(&host.keeper);

	munmap(host.faults, sizeof(*host.faults));
	storm_keeper_clear(&host.keeper, status != 0);
	return status;
}

/* The loser has a domain, and gmemd dies at the next request that it has answered. */
static void prepare(uint8_t token[GMEM_TOKEN_SIZE], const char *winners_path)
{
	const struct gmem_region_spec spec = { .size = 1 << 20 };
	gmem_region *region;

	seen = (struct seen){ 0 };
	loser = connect_to(host.socket);
	winner = connect_to(winners_path);
	gmem_client_on_event(loser, see, &seen);
	assert_int_equal(
		gmem_domain_create(loser,
				   &(struct gmem_domain_spec){ .flags = GMEM_DOMAIN_PERSISTENT },
				   &lost),
		0);
	assert_int_equal(gmem_region_create(lost, &spec, &region), 0);
	gmem_domain_token(lost, token);
	atomic_store(&host.faults->countdown, 1);
	atomic_store(&host.faults->armed, point() + 1);
}

static void check_told(enum gmem_loss why)
{
	assert_int_equal(atomic_load(&host.faults->points[point()].kills), 1);
	atomic_store(&host.faults->points[point()].kills, 0);
	assert_int_equal(gmem_ping(loser), 0);
	assert_int_equal(seen.resumed, 1);
	assert_int_equal(seen.losses, 1);
	assert_int_equal(seen.why, why);
	assert_ptr_equal(seen.domain, lost);
	assert_int_equal(seen.other, 0);
	gmem_disconnect(loser);
	gmem_disconnect(winner);
}

/* It is not known before gmemd is dead. */
static void wait_for_the_death(void)
{
	for (int i = 0; i < 2000 && atomic_load(&host.faults->points[point()].kills) == 0; i++)
		storm_nap_us(5000);
}

static void a_domain_taken_over_by_a_daemon_that_dies_before_it_tells(void **state)
{
	uint8_t token[GMEM_TOKEN_SIZE];
	gmem_domain *taken;

	(void)state;
	prepare(token, host.socket);
	assert_int_equal(gmem_domain_attach(winner, gmem_domain_id(lost), token,
					    GMEM_ATTACH_TAKE_OVER, 0, &taken),
			 0);
	wait_for_the_death();
	assert_int_equal(gmem_ping(winner), 0);
	check_told(GMEM_LOSS_TAKEN);
}

static void a_domain_taken_over_and_left_before_the_loser_is_back(void **state)
{
	uint8_t token[GMEM_TOKEN_SIZE];
	gmem_domain *taken;

	(void)state;
	prepare(token, host.socket);
	assert_int_equal(gmem_domain_attach(winner, gmem_domain_id(lost), token,
					    GMEM_ATTACH_TAKE_OVER, 0, &taken),
			 0);
	wait_for_the_death();
	assert_int_equal(gmem_ping(winner), 0);
	/* Nobody has it now: it may hold another guest's memory all the same. */
	gmem_disconnect(winner);
	winner = NULL;
	check_told(GMEM_LOSS_TAKEN);
}

static void a_domain_evicted_by_a_daemon_that_dies_before_it_tells(void **state)
{
	uint8_t token[GMEM_TOKEN_SIZE];
	uint64_t bytes;

	(void)state;
	prepare(token, host.admin);
	assert_int_equal(gmem_evict(winner, gmem_domain_id(lost), &bytes), 0);
	wait_for_the_death();
	check_told(GMEM_LOSS_ENDED);
}

static int count_domain(void *arg, const struct gmem_domain_info *info)
{
	(void)info;
	++*(unsigned *)arg;
	return 0;
}

static unsigned count_domains(gmem_client *client)
{
	unsigned n = 0;

	assert_int_equal(gmem_list_domains(client, count_domain, &n), 0);
	return n;
}

/* Dead, and its keeper holds still: no other before wake_keeper. */
static void kill_gmemd(void)
{
	pid_t pid = storm_keeper_wait_child(&host.keeper, 0);
	struct pollfd end = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };

	assert_true(end.fd >= 0);
	assert_int_equal(kill(host.keeper.pid, SIGSTOP), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(poll(&end, 1, 10000), 1);
	close(end.fd);
}

static void check_nothing_is_left(bool notices)
{
	gmem_client *other = connect_to(host.admin);
	gmem_client *client = connect_to(host.socket);
	gmem_domain *domain;
	unsigned before = count_domains(other);

	assert_int_equal(gmem_domain_create(client, &(struct gmem_domain_spec){ 0 }, &domain), 0);
	assert_int_equal(count_domains(other), before + 1);
	kill_gmemd();
	/* Once it has noticed it is between two attempts; else it believes to be connected. */
	for (int i = 0; notices && i < 5; i++) {
		(void)gmem_dispatch(client);
		storm_nap_us(2000);
	}
	gmem_disconnect(client);
	assert_int_equal(kill(host.keeper.pid, SIGCONT), 0);
	/* A session that is waited for would be there for as long as this process lives. */
	for (int i = 0; i < 400 && count_domains(other) > before; i++)
		storm_nap_us(5000);
	assert_int_equal(count_domains(other), before);
	gmem_disconnect(other);
}

static void a_client_that_ends_without_having_noticed_leaves_nothing(void **state)
{
	(void)state;
	check_nothing_is_left(false);
}

static void a_client_that_ends_while_it_tries_to_come_back_leaves_nothing(void **state)
{
	(void)state;
	check_nothing_is_left(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_domain_taken_over_by_a_daemon_that_dies_before_it_tells),
		gm_test(a_domain_taken_over_and_left_before_the_loser_is_back),
		gm_test(a_domain_evicted_by_a_daemon_that_dies_before_it_tells),
		gm_test(a_client_that_ends_without_having_noticed_leaves_nothing),
		gm_test(a_client_that_ends_while_it_tries_to_come_back_leaves_nothing),
	};

	int failed;

	open_host();
	failed = gm_test_run("lib_restart", tests, GM_ARRAY_SIZE(tests));
	if (close_host() != 0) {
		fprintf(stderr, "gmemd did not end well: see %s\n", host.keeper.log);
		return 1;
	}
	return failed;
}
