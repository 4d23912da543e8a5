/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "builtin:": the same calls with real memory of this process and no daemon.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "builtin.h"
#include "gm_num.h"
#include "gm_test.h"

#define SIZE (32 * GM_MIB)

static gmem_client *open_client(void)
{
	gmem_client *client = NULL;

	assert_int_equal(gmem_connect("builtin:", NULL, &client), 0);
	return client;
}

static gmem_domain *make_domain(gmem_client *client, const char *kind)
{
	const struct gmem_domain_spec spec = { .kind = kind };
	gmem_domain *domain = NULL;

	if (gmem_domain_create(client, &spec, &domain) == -GMEM_UNSUPPORTED) {
		printf("%s: %s\n", kind, gmem_error(client)->text);
		gmem_disconnect(client);
		skip();
	}
	assert_non_null(domain);
	return domain;
}

static gmem_region *make_region(gmem_domain *domain, uint64_t size)
{
	const struct gmem_region_spec spec = { .size = size };
	gmem_region *region = NULL;

	assert_int_equal(gmem_region_create(domain, &spec, &region), 0);
	return region;
}

static void the_client_says_that_there_is_no_daemon(void **state)
{
	gmem_client *client = open_client();

	(void)state;
	assert_string_equal(gmem_client_tenant(client), "builtin");
	assert_false(gmem_client_is_admin(client));
	assert_int_equal(gmem_ping(client), 0);
	assert_int_equal(gmem_dispatch(client), -GMEM_AGAIN);
	gmem_disconnect(client);
}

struct runs {
	int n;
	struct gmem_page_run run[8];
};

static int see_run(void *arg, const struct gmem_page_run *run)
{
	struct runs *runs = arg;

	assert_true(runs->n < 8);
	runs->run[runs->n++] = *run;
	return 0;
}

static void check_life(const char *kind)
{
	const struct gmem_range middle = { .offset = 8 * GM_MIB, .length = 8 * GM_MIB };
	gmem_client *client = open_client();
	gmem_domain *domain = make_domain(client, kind);
	gmem_region *region = make_region(domain, SIZE);
	struct gmem_region_info info;
	struct runs runs = { 0 };
	void *address;
	char *ram;

	assert_int_equal(fcntl(gmem_region_fd(region), F_GETFD), FD_CLOEXEC);
	assert_int_equal(gmem_region_map(region, &address), 0);
	ram = address;
	assert_int_equal(gmem_region_allocate(region, NULL, 0, NULL, NULL), 0);
	ram[0] = 'a';
	ram[9 * GM_MIB] = 'b';
	assert_int_equal(gmem_region_discard(region, &middle, 1, NULL, NULL), 0);
	assert_int_equal(ram[0], 'a');
	assert_int_equal(ram[9 * GM_MIB], 0);
	assert_int_equal(gmem_get_region(client, gmem_region_id(region), &info), 0);
	assert_int_equal(info.allocated_bytes, SIZE - middle.length);
	assert_int_equal(gmem_get_page_map(client, info.id, see_run, &runs), 0);
	assert_int_equal(runs.n, 3);
	assert_int_equal(runs.run[0].state, GMEM_PAGE_SHARED);
	assert_int_equal(runs.run[1].offset, middle.offset);
	assert_int_equal(runs.run[1].length, middle.length);
	assert_int_equal(runs.run[1].state, GMEM_PAGE_ABSENT);
	assert_int_equal(runs.run[2].offset + runs.run[2].length, SIZE);
	assert_true(ftruncate(gmem_region_fd(region), (off_t)SIZE / 2) < 0);
	assert_int_equal(gmem_region_destroy(region), 0);
	assert_int_equal(gmem_domain_destroy(domain), 0);
	gmem_disconnect(client);
}

static void memfd_memory_lives_allocates_and_discards(void **state)
{
	(void)state;
	check_life("memfd");
}

static void guest_memfd_memory_lives_allocates_and_discards(void **state)
{
	(void)state;
	check_life("guest-memfd");
}

/* As the kernel counts them; SEEK_DATA does not show what was allocated and never written. */
static uint64_t bytes_in_use(const gmem_region *region)
{
	struct stat st;

	assert_int_equal(fstat(gmem_region_fd(region), &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void memfd_memory_is_really_allocated_and_really_given_back(void **state)
{
	const struct gmem_range range = { .offset = GM_MIB, .length = 2 * GM_MIB };
	gmem_client *client = open_client();
	gmem_region *region = make_region(make_domain(client, "memfd"), SIZE);

	(void)state;
	assert_int_equal(gmem_region_allocate(region, &range, 1, NULL, NULL), 0);
	assert_int_equal(bytes_in_use(region), range.length);
	assert_int_equal(gmem_region_discard(region, NULL, 0, NULL, NULL), 0);
	assert_int_equal(bytes_in_use(region), 0);
	gmem_disconnect(client);
}

static int try_region(gmem_domain *domain, uint64_t gpa, uint64_t size, uint64_t page_size)
{
	const struct gmem_region_spec spec = { .gpa = gpa, .size = size, .page_size = page_size };
	gmem_region *region = NULL;
	int r = gmem_region_create(domain, &spec, &region);

	assert_true((r == 0) == (region != NULL));
	return r;
}

static void wrong_regions_are_refused_with_the_rule(void **state)
{
	static const struct {
		uint64_t gpa;
		uint64_t size;
		uint64_t page_size;
		int status;
		const char *rule;
	} wrong[] = {
		{ 0, 0, 0, -GMEM_INVALID, "size" },
		{ 0, 4097, 0, -GMEM_INVALID, "size" },
		{ 1, 4096, 0, -GMEM_INVALID, "offset" },
		{ 0, 4096, 8192, -GMEM_INVALID, "page-size" },
		{ UINT64_C(1) << 52, 4096, 0, -GMEM_INVALID, "overflow" },
		{ UINT64_MAX - 4095, 8192, 0, -GMEM_INVALID, "overflow" },
		{ 0x101000, 4096, 0, -GMEM_EXISTS, "address" },
	};
	gmem_client *client = open_client();
	gmem_domain *domain = make_domain(client, "memfd");

	(void)state;
	assert_int_equal(try_region(domain, 0x100000, GM_MIB, 0), 0);
	for (size_t i = 0; i < GM_ARRAY_SIZE(wrong); i++) {
		assert_int_equal(
			try_region(domain, wrong[i].gpa, wrong[i].size, wrong[i].page_size),
			wrong[i].status);
		assert_string_equal(gmem_error(client)->rule, wrong[i].rule);
	}
	assert_int_equal(try_region(domain, 0x200000, 4096, 0), 0);
	assert_int_equal(try_region(domain, 0, 0x100000, 0), 0);
	gmem_disconnect(client);
}

static void wrong_ranges_are_refused_with_the_rule(void **state)
{
	static const struct {
		struct gmem_range range[2];
		size_t n;
		const char *rule;
	} wrong[] = {
		{ { { 0, 0 } }, 1, "size" },
		{ { { 0, 100 } }, 1, "size" },
		{ { { 100, 4096 } }, 1, "offset" },
		{ { { SIZE, 4096 } }, 1, "range" },
		{ { { 4096, SIZE } }, 1, "range" },
		{ { { UINT64_MAX - 4095, 8192 } }, 1, "overflow" },
		{ { { 4096, 8192 }, { 0, 8192 } }, 2, "ranges" },
	};
	gmem_client *client = open_client();
	gmem_region *region = make_region(make_domain(client, "memfd"), SIZE);
	struct gmem_region_info info;

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(wrong); i++) {
		assert_int_equal(
			gmem_region_allocate(region, wrong[i].range, wrong[i].n, NULL, NULL),
			-GMEM_INVALID);
		assert_string_equal(gmem_error(client)->rule, wrong[i].rule);
	}
	assert_int_equal(gmem_get_region(client, gmem_region_id(region), &info), 0);
	assert_int_equal(info.allocated_bytes, 0);
	gmem_disconnect(client);
}

struct job {
	gmem_client *client;
	gmem_region *region;
	int n_progress;
	int cancel_at;
	int n_done;
	int status;
	uint64_t bytes;
	int error_status;
};

static int progress(void *arg, uint64_t done, uint64_t total)
{
	struct job *job = arg;

	assert_true(done < total);
	return ++job->n_progress == job->cancel_at;
}

static void done(void *arg, int status, uint64_t bytes)
{
	struct job *job = arg;

	job->n_done++;
	job->status = status;
	job->bytes = bytes;
	job->error_status = gmem_error(job->client)->status;
}

static void a_cancelled_job_keeps_what_it_did(void **state)
{
	gmem_client *client = open_client();
	gmem_region *region = make_region(make_domain(client, "memfd"), SIZE);
	struct gmem_region_info info;
	struct job job = { .cancel_at = 2 };

	(void)state;
	assert_int_equal(gmem_region_allocate(region, NULL, 0, progress, &job), -GMEM_CANCELLED);
	assert_int_equal(gmem_get_region(client, gmem_region_id(region), &info), 0);
	assert_int_equal(info.allocated_bytes, 2 * GM_CHUNK);
	gmem_disconnect(client);
}

static int is_readable(const gmem_client *client)
{
	struct pollfd readable = { .fd = gmem_client_fd(client), .events = POLLIN };

	return poll(&readable, 1, 0);
}

static void a_started_job_runs_a_chunk_at_each_dispatch(void **state)
{
	gmem_client *client = open_client();
	gmem_region *region = make_region(make_domain(client, "memfd"), SIZE);
	struct job job = { .client = client };
	const struct gmem_job_callbacks callbacks = { progress, done, &job };
	int turns = 0;

	(void)state;
	assert_false(is_readable(client));
	assert_int_equal(gmem_region_allocate_start(region, NULL, 0, &callbacks), 0);
	assert_int_equal(job.n_done, 0);
	while (is_readable(client)) {
		assert_int_equal(gmem_dispatch(client), 0);
		turns++;
	}
	assert_int_equal(turns, SIZE / GM_CHUNK);
	assert_int_equal(job.n_progress, turns - 1);
	assert_int_equal(job.n_done, 1);
	assert_int_equal(job.status, 0);
	assert_int_equal(job.bytes, SIZE);
	assert_int_equal(gmem_dispatch(client), -GMEM_AGAIN);
	gmem_disconnect(client);
}

static void a_started_job_ends_with_its_region(void **state)
{
	gmem_client *client = open_client();
	gmem_region *region = make_region(make_domain(client, "memfd"), SIZE);
	struct job job = { .client = client };
	const struct gmem_job_callbacks callbacks = { progress, done, &job };

	(void)state;
	assert_int_equal(gmem_region_allocate_start(region, NULL, 0, &callbacks), 0);
	assert_int_equal(gmem_dispatch(client), 0);
	assert_int_equal(gmem_region_destroy(region), 0);
	assert_int_equal(gmem_dispatch(client), 0);
	assert_int_equal(job.n_done, 1);
	assert_int_equal(job.status, -GMEM_CANCELLED);
	assert_int_equal(job.error_status, GMEM_CANCELLED);
	assert_int_equal(job.bytes, GM_CHUNK);
	gmem_disconnect(client);
}

static void disconnecting_cancels_each_job_exactly_once(void **state)
{
	gmem_client *client = open_client();
	gmem_region *region = make_region(make_domain(client, "memfd"), SIZE);
	struct job job = { .client = client };
	const struct gmem_job_callbacks callbacks = { progress, done, &job };

	(void)state;
	assert_int_equal(gmem_region_allocate_start(region, NULL, 0, &callbacks), 0);
	assert_int_equal(gmem_region_discard_start(region, NULL, 0, &callbacks), 0);
	gmem_disconnect(client);
	assert_int_equal(job.n_done, 2);
	assert_int_equal(job.status, -GMEM_CANCELLED);
}

static int destroy_region(void *arg, uint64_t done_bytes, uint64_t total)
{
	struct job *job = arg;

	(void)done_bytes;
	(void)total;
	assert_int_equal(gmem_region_destroy(job->region), 0);
	return 0;
}

static void a_region_destroyed_in_its_own_progress_ends_the_blocking_job(void **state)
{
	gmem_client *client = open_client();
	struct job job = { .client = client };

	(void)state;
	job.region = make_region(make_domain(client, "memfd"), SIZE);
	assert_int_equal(gmem_region_allocate(job.region, NULL, 0, destroy_region, &job),
			 -GMEM_CANCELLED);
	gmem_disconnect(client);
}

static void nothing_survives_so_persistence_and_attaching_are_unsupported(void **state)
{
	const struct gmem_domain_spec spec = { .flags = GMEM_DOMAIN_PERSISTENT };
	const uint8_t token[GMEM_TOKEN_SIZE] = { 0 };
	gmem_client *client = open_client();
	gmem_domain *domain = NULL;

	(void)state;
	assert_int_equal(gmem_domain_create(client, &spec, &domain), -GMEM_UNSUPPORTED);
	assert_int_equal(gmem_domain_attach(client, 1, token, 0, 0, &domain), -GMEM_UNSUPPORTED);
	assert_int_equal(gmem_domain_destroy_id(client, 1, token), -GMEM_NO_SUCH_OBJECT);
	assert_int_equal(gmem_evict(client, 1, NULL), -GMEM_DENIED);
	assert_int_equal(
		gmem_domain_create(client, &(struct gmem_domain_spec){ .kind = "gold" }, &domain),
		-GMEM_UNSUPPORTED);
	assert_non_null(strstr(gmem_error(client)->text, "gold"));
	assert_null(domain);
	gmem_disconnect(client);
}

static int count_domain(void *arg, const struct gmem_domain_info *info)
{
	assert_true(info->attached);
	assert_int_equal(info->owner_pid, getpid());
	++*(int *)arg;
	return 0;
}

static int destroy_listed(void *arg, const struct gmem_domain_info *info)
{
	gmem_client *client = arg;

	return gmem_domain_destroy(gm_client_find_domain(client, info->id));
}

static int check_account(void *arg, const struct gmem_account_info *info)
{
	assert_string_equal(info->name, "builtin");
	assert_int_equal(info->usage[0].used, *(uint64_t *)arg);
	return 0;
}

static void the_books_are_kept_and_names_are_unique(void **state)
{
	const struct gmem_domain_spec named = { .name = "vm" };
	gmem_client *client = open_client();
	gmem_domain *domain;
	uint64_t bytes = SIZE;
	int n = 0;

	(void)state;
	assert_int_equal(gmem_domain_create(client, &named, &domain), 0);
	assert_int_equal(gmem_domain_create(client, &named, &domain), -GMEM_EXISTS);
	(void)make_region(domain, SIZE);
	(void)make_domain(client, "memfd");
	assert_int_equal(gmem_list_domains(client, count_domain, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(gmem_list_accounts(client, check_account, &bytes), 0);
	assert_int_equal(gmem_list_domains(client, destroy_listed, client), 0);
	n = 0;
	bytes = 0;
	assert_int_equal(gmem_list_domains(client, count_domain, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(gmem_list_accounts(client, check_account, &bytes), 0);
	gmem_disconnect(client);
}

static void the_host_is_described_with_reasons(void **state)
{
	gmem_client *client = open_client();
	struct gmem_host_info info;

	(void)state;
	assert_int_equal(gmem_get_host(client, &info), 0);
	assert_int_equal(info.n_backends, 2);
	assert_string_equal(info.backends[0].kind, "memfd");
	assert_true(info.backends[0].usable);
	assert_string_equal(info.backends[1].kind, "guest-memfd");
	assert_true(strlen(info.backends[1].reason) > 0);
	assert_true(strlen(info.kvm_reason) > 0);
	assert_true(info.memory_total > info.memory_available);
	assert_true(info.memory_available > 0);
	assert_true(info.numa_nodes & 1);
	gmem_disconnect(client);
}

static void more_hugepages_than_the_pool_has_are_refused_with_the_numbers(void **state)
{
	const struct gmem_region_spec spec = { .size = 4 * GM_TIB, .page_size = GM_PAGE_2M };
	gmem_client *client = open_client();
	gmem_domain *domain = make_domain(client, "memfd");
	struct gmem_pool_info pool;
	gmem_region *region = NULL;

	(void)state;
	if (gm_builtin_pool_read(GM_PAGE_2M, &pool) < 0) {
		printf("this host has no hugepages of 2 MiB\n");
		gmem_disconnect(client);
		skip();
	}
	assert_int_equal(gmem_region_create(domain, &spec, &region), -GMEM_NO_RESOURCE);
	assert_string_equal(gmem_error(client)->rule, "huge-pages-free");
	assert_int_equal(gmem_error(client)->asked, 4 * GM_TIB / GM_PAGE_2M);
	gmem_disconnect(client);
}

static bool set_pool(int fd, uint64_t pages)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)pages);

	return pwrite(fd, text, (size_t)n, 0) == n;
}

static void hugepages_are_taken_at_the_regions_birth_and_again_after_a_discard(void **state)
{
	const struct gmem_region_spec spec = { .size = 2 * GM_PAGE_2M, .page_size = GM_PAGE_2M };
	int fd = open("/proc/sys/vm/nr_hugepages", O_RDWR | O_CLOEXEC);
	struct gmem_pool_info before;
	struct gmem_pool_info after;
	gmem_region *region = NULL;
	gmem_client *client;
	gmem_domain *domain;

	(void)state;
	if (fd < 0 || flock(fd, LOCK_EX) < 0 || gm_builtin_pool_read(GM_PAGE_2M, &before) < 0 ||
	    !set_pool(fd, before.total + 4)) {
		printf("no permission to reserve hugepages\n");
		if (fd >= 0)
			close(fd);
		skip();
	}
	client = open_client();
	domain = make_domain(client, "memfd");
	assert_int_equal(gm_builtin_pool_read(GM_PAGE_2M, &before), 0);
	assert_int_equal(gmem_region_create(domain, &spec, &region), 0);
	assert_int_equal(gm_builtin_pool_read(GM_PAGE_2M, &after), 0);
	assert_int_equal(after.reserved, before.reserved + 2);
	assert_int_equal(gmem_region_allocate(region, NULL, 0, NULL, NULL), 0);
	assert_int_equal(gm_builtin_pool_read(GM_PAGE_2M, &after), 0);
	assert_int_equal(after.free, before.free - 2);
	assert_int_equal(gmem_region_discard(region, NULL, 0, NULL, NULL), 0);
	assert_int_equal(gm_builtin_pool_read(GM_PAGE_2M, &after), 0);
	assert_int_equal(after.free, before.free);
	assert_int_equal(after.reserved, before.reserved + 2);
	gmem_disconnect(client);
	assert_int_equal(gm_builtin_pool_read(GM_PAGE_2M, &after), 0);
	assert_int_equal(after.reserved, before.reserved);
	assert_true(set_pool(fd, before.total - 4));
	close(fd);
}

/* ---- the record of what was allocated */

#define N_PAGES 64

static void the_record_equals_a_naive_bitmap(void **state)
{
	struct gm_builtin_memory *memory = calloc(1, sizeof(*memory));
	struct gm_test_rng rng = { 0 };
	bool naive[N_PAGES] = { false };

	(void)state;
	assert_non_null(memory);
	for (int turn = 0; turn < 100000; turn++) {
		uint64_t first = gm_test_random_below(&rng, N_PAGES);
		uint64_t n = 1 + gm_test_random_below(&rng, N_PAGES - first);
		bool add = gm_test_random(&rng) & 1;
		bool recorded[N_PAGES] = { false };
		uint64_t bytes = 0;

		n = add || n < 4 ? n : 4;
		assert_int_equal(add ? gm_extents_add(memory, first, n)
				     : gm_extents_remove(memory, first, n),
				 0);
		for (uint64_t i = first; i < first + n; i++)
			naive[i] = add;
		for (size_t i = 0; i < memory->n_extents; i++) {
			const struct gm_extent *extent = &memory->extents[i];

			assert_true(extent->length > 0);
			/* Sorted, and with a gap before each. */
			assert_true(i == 0 ||
				    extent->offset > extent[-1].offset + extent[-1].length);
			for (uint64_t p = 0; p < extent->length; p++)
				recorded[extent->offset + p] = true;
			bytes += extent->length;
		}
		assert_memory_equal(recorded, naive, sizeof(naive));
		assert_int_equal(gm_extents_bytes(memory), bytes);
	}
	gm_builtin_memory_free(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(the_client_says_that_there_is_no_daemon),
		gm_test(memfd_memory_lives_allocates_and_discards),
		gm_test(guest_memfd_memory_lives_allocates_and_discards),
		gm_test(memfd_memory_is_really_allocated_and_really_given_back),
		gm_test(wrong_regions_are_refused_with_the_rule),
		gm_test(wrong_ranges_are_refused_with_the_rule),
		gm_test(a_cancelled_job_keeps_what_it_did),
		gm_test(a_started_job_runs_a_chunk_at_each_dispatch),
		gm_test(a_started_job_ends_with_its_region),
		gm_test(disconnecting_cancels_each_job_exactly_once),
		gm_test(a_region_destroyed_in_its_own_progress_ends_the_blocking_job),
		gm_test(nothing_survives_so_persistence_and_attaching_are_unsupported),
		gm_test(the_books_are_kept_and_names_are_unique),
		gm_test(the_host_is_described_with_reasons),
		gm_test(more_hugepages_than_the_pool_has_are_refused_with_the_numbers),
		gm_test(hugepages_are_taken_at_the_regions_birth_and_again_after_a_discard),
		gm_test(the_record_equals_a_naive_bitmap),
	};

	return gm_test_run("client_builtin", tests, GM_ARRAY_SIZE(tests));
}
