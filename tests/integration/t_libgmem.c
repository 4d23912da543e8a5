/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libgmem against the real daemon: what a VMM does with it, blocking and in an event loop. The
 * caller runs gmemd and names its sockets in the environment: GMEM_TEST_ACME, a tenant whose
 * regions may have 1 GiB each, and GMEM_TEST_ADMIN.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gm_test.h"
#include "gmem.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MIB (UINT64_C(1) << 20)
#define PATIENCE_MS 10000

struct identity {
	uint64_t domain;
	uint8_t token[GMEM_TOKEN_SIZE];
};

static gmem_client *connect_to(const char *variable)
{
	char why[256] = "";
	const struct gmem_connect_spec spec = { .name = "t_libgmem",
						.ret_error = why,
						.ret_error_size = sizeof(why) };
	gmem_client *client;

	if (gmem_connect(getenv(variable), &spec, &client) < 0)
		fail_msg("%s: %s", variable, why);
	return client;
}

static void must(gmem_client *client, int status)
{
	if (status < 0)
		fail_msg("%s", gmem_error(client)->text);
}

static gmem_region *grant(gmem_client *client, const struct gmem_domain_spec *spec, uint64_t size,
			  gmem_domain **ret_domain)
{
	const struct gmem_region_spec ram = { .size = size, .name = "ram" };
	gmem_region *region;

	must(client, gmem_domain_create(client, spec, ret_domain));
	must(client, gmem_region_create(*ret_domain, &ram, &region));
	return region;
}

static bool kind_is_usable(gmem_client *client, const char *kind)
{
	struct gmem_host_info host;

	must(client, gmem_get_host(client, &host));
	for (uint32_t i = 0; i < host.n_backends; i++)
		if (strcmp(host.backends[i].kind, kind) == 0)
			return host.backends[i].usable;
	return false;
}

static bool wait_readable(gmem_client *client)
{
	struct pollfd ready = { .fd = gmem_client_fd(client), .events = POLLIN };

	return poll(&ready, 1, PATIENCE_MS) == 1;
}

static void ten_lines_give_memory_of_each_kind(void **state)
{
	static const char *const kinds[] = { "memfd", "guest-memfd" };

	(void)state;
	for (size_t i = 0; i < COUNT(kinds); i++) {
		gmem_client *client = connect_to("GMEM_TEST_ACME");
		gmem_domain *domain;
		gmem_region *region;
		struct stat stat;
		char *ram;

		assert_string_equal(gmem_client_tenant(client), "acme");
		if (kind_is_usable(client, kinds[i])) {
			region = grant(client, &(struct gmem_domain_spec){ .kind = kinds[i] },
				       64 * MIB, &domain);
			must(client, gmem_region_map(region, (void **)&ram));
			memset(ram, 0x5a, MIB);
			assert_int_equal(ram[MIB - 1], 0x5a);
			assert_int_equal(ram[MIB], 0);
			assert_int_equal(fstat(gmem_region_fd(region), &stat), 0);
			assert_int_equal(stat.st_size, 64 * MIB);
			assert_true(fcntl(gmem_region_fd(region), F_GETFD) & FD_CLOEXEC);
		}
		gmem_disconnect(client);
	}
}

static void a_refusal_has_the_rule_and_the_numbers(void **state)
{
	gmem_client *client = connect_to("GMEM_TEST_ACME");
	const struct gmem_region_spec huge = { .size = 2048 * MIB };
	const struct gmem_error *error;
	gmem_domain *domain;
	gmem_region *region = NULL;

	(void)state;
	must(client,
	     gmem_domain_create(client, &(struct gmem_domain_spec){ .name = "a" }, &domain));
	assert_int_equal(gmem_region_create(domain, &huge, &region), -GMEM_OVER_LIMIT);
	assert_null(region);
	error = gmem_error(client);
	assert_int_equal(error->status, GMEM_OVER_LIMIT);
	assert_string_equal(error->rule, "RegionMax");
	assert_string_equal(error->object, "tenant acme");
	assert_int_equal(error->limit, 1024 * MIB);
	assert_int_equal(error->asked, 2048 * MIB);
	assert_non_null(strstr(error->text, "2.0G"));
	must(client, gmem_ping(client));
	assert_int_equal(gmem_error(client)->status, 0);
	gmem_disconnect(client);
}

static int note_progress(void *arg, uint64_t done, uint64_t total)
{
	uint64_t *most = arg;

	assert_true(done >= *most && done <= total);
	*most = done;
	return 0;
}

static int sum_shared(void *arg, const struct gmem_page_run *run)
{
	uint64_t *sum = arg;

	if (run->state == GMEM_PAGE_SHARED)
		*sum += run->length;
	return 0;
}

static uint64_t shared_bytes(gmem_client *client, const gmem_region *region)
{
	uint64_t sum = 0;

	must(client, gmem_get_page_map(client, gmem_region_id(region), sum_shared, &sum));
	return sum;
}

static void allocate_and_discard_block_until_done(void **state)
{
	gmem_client *client = connect_to("GMEM_TEST_ACME");
	const struct gmem_range ranges[] = { { 0, MIB }, { 8 * MIB, 4096 } };
	gmem_domain *domain;
	gmem_region *region;
	uint64_t most = 0;
	char *ram;

	(void)state;
	region = grant(client, &(struct gmem_domain_spec){ 0 }, 512 * MIB, &domain);
	must(client, gmem_region_allocate(region, NULL, 0, note_progress, &most));
	assert_int_equal(shared_bytes(client, region), 512 * MIB);
	must(client, gmem_region_map(region, (void **)&ram));
	ram[0] = ram[8 * MIB] = ram[9 * MIB] = 1;
	must(client, gmem_region_discard(region, ranges, COUNT(ranges), NULL, NULL));
	assert_int_equal(shared_bytes(client, region), 511 * MIB - 4096);
	assert_int_equal(ram[0] + ram[8 * MIB], 0);
	assert_int_equal(ram[9 * MIB], 1);
	gmem_disconnect(client);
}

static int cancel_at_once(void *arg, uint64_t done, uint64_t total)
{
	(void)done;
	(void)total;
	++*(unsigned *)arg;
	return 1;
}

static void a_progress_callback_cancels_the_job(void **state)
{
	gmem_client *client = connect_to("GMEM_TEST_ACME");
	gmem_domain *domain;
	gmem_region *region;
	unsigned calls = 0;
	uint64_t done;

	(void)state;
	region = grant(client, &(struct gmem_domain_spec){ 0 }, 1024 * MIB, &domain);
	assert_int_equal(gmem_region_allocate(region, NULL, 0, cancel_at_once, &calls),
			 -GMEM_CANCELLED);
	assert_true(calls > 0);
	done = shared_bytes(client, region);
	assert_true(done < 1024 * MIB);
	must(client, gmem_region_destroy(region));
	gmem_disconnect(client);
}

struct finish {
	unsigned calls;
	int status;
	uint64_t bytes;
	uint64_t most;
};

static int loop_progress(void *arg, uint64_t done, uint64_t total)
{
	struct finish *finish = arg;

	return note_progress(&finish->most, done, total);
}

static void loop_done(void *arg, int status, uint64_t bytes)
{
	struct finish *finish = arg;

	finish->calls++;
	finish->status = status;
	finish->bytes = bytes;
}

static void jobs_in_an_event_loop_end_by_dispatch(void **state)
{
	gmem_client *client = connect_to("GMEM_TEST_ACME");
	struct finish allocated = { 0 }, discarded = { 0 };
	gmem_region *regions[2];
	gmem_domain *domain;

	(void)state;
	for (int i = 0; i < 2; i++)
		regions[i] = grant(client, &(struct gmem_domain_spec){ 0 }, 256 * MIB, &domain);
	assert_int_equal(gmem_dispatch(client), -GMEM_AGAIN);
	must(client,
	     gmem_region_allocate_start(regions[0], NULL, 0,
					&(struct gmem_job_callbacks){ .progress = loop_progress,
								      .done = loop_done,
								      .arg = &allocated }));
	must(client, gmem_region_discard_start(
			     regions[1], NULL, 0,
			     &(struct gmem_job_callbacks){ .done = loop_done, .arg = &discarded }));
	assert_int_equal(allocated.calls + discarded.calls, 0);
	while (allocated.calls == 0 || discarded.calls == 0) {
		assert_true(wait_readable(client));
		assert_true(gmem_dispatch(client) <= 0);
	}
	assert_int_equal(allocated.calls, 1);
	assert_int_equal(allocated.status, 0);
	assert_int_equal(allocated.bytes, 256 * MIB);
	assert_int_equal(discarded.calls, 1);
	assert_int_equal(discarded.status, 0);
	gmem_disconnect(client);
	assert_int_equal(allocated.calls + discarded.calls, 2);
}

static void a_job_that_the_client_leaves_behind_ends_as_cancelled(void **state)
{
	gmem_client *client = connect_to("GMEM_TEST_ACME");
	const struct gmem_job_callbacks callbacks = { .done = loop_done,
						      .arg = &(struct finish){ 0 } };
	struct finish *finish = callbacks.arg;
	gmem_domain *domain;
	gmem_region *region;

	(void)state;
	region = grant(client, &(struct gmem_domain_spec){ 0 }, 1024 * MIB, &domain);
	must(client, gmem_region_allocate_start(region, NULL, 0, &callbacks));
	gmem_disconnect(client);
	assert_int_equal(finish->calls, 1);
	assert_int_equal(finish->status, -GMEM_CANCELLED);
}

static uint32_t word_of(uint32_t i)
{
	return i * 2654435761u;
}

/*
 * A VMM that dies: tells who its domain is through the pipe, and waits for the end. It is a process
 * of its own: a cmocka check that fails in it would go on with the other cases.
 */
static void first_vmm(int pipe_end)
{
	const struct gmem_domain_spec spec = { .flags = GMEM_DOMAIN_PERSISTENT, .name = "guest" };
	const struct gmem_region_spec wanted = { .size = 16 * MIB };
	struct identity identity;
	gmem_client *client;
	gmem_domain *domain;
	gmem_region *region;
	uint32_t *ram;

	if (gmem_connect(getenv("GMEM_TEST_ACME"), NULL, &client) < 0 ||
	    gmem_domain_create(client, &spec, &domain) < 0 ||
	    gmem_region_create(domain, &wanted, &region) < 0 ||
	    gmem_region_map(region, (void **)&ram) < 0)
		_exit(1);
	for (uint32_t i = 0; i < 4 * MIB; i++)
		ram[i] = word_of(i);
	identity.domain = gmem_domain_id(domain);
	gmem_domain_token(domain, identity.token);
	if (write(pipe_end, &identity, sizeof(identity)) != sizeof(identity))
		_exit(1);
	for (;;)
		(void)pause();
}

static void wait_until_orphaned(gmem_client *client, uint64_t domain)
{
	struct gmem_domain_info info;

	for (int ms = 0; ms < PATIENCE_MS; ms++) {
		must(client, gmem_get_domain(client, domain, &info));
		if (!info.attached)
			return;
		(void)usleep(1000);
	}
	fail_msg("the domain of a dead VMM is still attached");
}

static void memory_outlives_a_vmm_that_is_killed(void **state)
{
	struct identity identity;
	gmem_client *client;
	gmem_domain *domain;
	uint32_t *ram;
	int ends[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		first_vmm(ends[1]);
	(void)close(ends[1]);
	assert_int_equal(read(ends[0], &identity, sizeof(identity)), sizeof(identity));
	(void)close(ends[0]);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);

	client = connect_to("GMEM_TEST_ACME");
	wait_until_orphaned(client, identity.domain);
	must(client, gmem_domain_attach(client, identity.domain, identity.token, 0, 0, &domain));
	assert_null(gmem_domain_region(domain, 1));
	must(client, gmem_region_map(gmem_domain_region(domain, 0), (void **)&ram));
	for (uint32_t i = 0; i < 4 * MIB; i++)
		if (ram[i] != word_of(i))
			fail_msg("word %u has changed", i);
	must(client, gmem_domain_destroy(domain));
	gmem_disconnect(client);
}

struct seen {
	int type;
	gmem_domain *domain;
};

static void note_event(void *arg, int type, gmem_domain *domain, uint64_t value)
{
	(void)value;
	*(struct seen *)arg = (struct seen){ .type = type, .domain = domain };
}

static void await_event(gmem_client *client, const struct seen *seen)
{
	while (seen->type == 0) {
		assert_true(wait_readable(client));
		assert_int_equal(gmem_dispatch(client), 0);
	}
}

static void who_loses_a_domain_is_told_by_dispatch(void **state)
{
	gmem_client *loser = connect_to("GMEM_TEST_ACME"), *winner = connect_to("GMEM_TEST_ACME");
	uint8_t token[GMEM_TOKEN_SIZE];
	gmem_domain *lost, *won;
	struct seen seen = { 0 };

	(void)state;
	(void)grant(loser, &(struct gmem_domain_spec){ 0 }, MIB, &lost);
	gmem_domain_token(lost, token);
	gmem_client_on_event(loser, note_event, &seen);
	assert_int_equal(gmem_domain_attach(winner, gmem_domain_id(lost), token, 0, 0, &won),
			 -GMEM_BUSY);
	must(winner, gmem_domain_attach(winner, gmem_domain_id(lost), token, GMEM_ATTACH_TAKE_OVER,
					0, &won));
	await_event(loser, &seen);
	assert_int_equal(seen.type, GMEM_EVENT_DOMAIN_TAKEN_OVER);
	assert_ptr_equal(seen.domain, lost);
	gmem_disconnect(loser);
	gmem_disconnect(winner);
}

static void an_evicted_vmm_is_told_and_the_admin_socket_gives_no_memory(void **state)
{
	gmem_client *client = connect_to("GMEM_TEST_ACME"), *admin = connect_to("GMEM_TEST_ADMIN");
	struct gmem_domain_info info;
	struct seen seen = { 0 };
	gmem_domain *domain;
	uint64_t bytes;

	(void)state;
	(void)grant(client, &(struct gmem_domain_spec){ .name = "guest" }, 8 * MIB, &domain);
	gmem_client_on_event(client, note_event, &seen);
	assert_true(gmem_client_is_admin(admin));
	must(admin, gmem_get_domain(admin, gmem_domain_id(domain), &info));
	assert_string_equal(info.tenant, "acme");
	assert_int_equal(info.reserved_bytes, 8 * MIB);
	assert_int_equal(info.owner_pid, getpid());
	assert_int_equal(gmem_evict(client, info.id, &bytes), -GMEM_DENIED);
	must(admin, gmem_evict(admin, info.id, &bytes));
	assert_int_equal(bytes, 8 * MIB);
	await_event(client, &seen);
	assert_int_equal(seen.type, GMEM_EVENT_DOMAIN_EVICTED);
	assert_int_equal(gmem_domain_create(admin, &(struct gmem_domain_spec){ 0 }, &domain),
			 -GMEM_DENIED);
	gmem_disconnect(client);
	gmem_disconnect(admin);
}

static void a_vmm_gets_dev_kvm_from_the_daemon(void **state)
{
	gmem_client *client = connect_to("GMEM_TEST_ACME");
	struct gmem_host_info host;
	gmem_domain *domain;
	char path[64], target[64] = "";

	(void)state;
	must(client, gmem_get_host(client, &host));
	if (!host.kvm) {
		print_message("no KVM: %s\n", host.kvm_reason);
		gmem_disconnect(client);
		skip();
	}
	must(client,
	     gmem_domain_create(client, &(struct gmem_domain_spec){ .devices = GMEM_DEVICE_KVM },
				&domain));
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d",
		       gmem_domain_device_fd(domain, GMEM_DEVICE_KVM));
	assert_true(readlink(path, target, sizeof(target) - 1) > 0);
	assert_string_equal(target, "/dev/kvm");
	gmem_disconnect(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(ten_lines_give_memory_of_each_kind),
		gm_test(a_refusal_has_the_rule_and_the_numbers),
		gm_test(allocate_and_discard_block_until_done),
		gm_test(a_progress_callback_cancels_the_job),
		gm_test(jobs_in_an_event_loop_end_by_dispatch),
		gm_test(a_job_that_the_client_leaves_behind_ends_as_cancelled),
		gm_test(memory_outlives_a_vmm_that_is_killed),
		gm_test(who_loses_a_domain_is_told_by_dispatch),
		gm_test(an_evicted_vmm_is_told_and_the_admin_socket_gives_no_memory),
		gm_test(a_vmm_gets_dev_kvm_from_the_daemon),
	};

	if (!getenv("GMEM_TEST_ACME") || !getenv("GMEM_TEST_ADMIN"))
		gm_test_skip_all("GMEM_TEST_ACME and GMEM_TEST_ADMIN name no sockets");
	return gm_test_run("libgmem on a daemon", tests, COUNT(tests));
}
