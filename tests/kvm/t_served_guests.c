/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests on private memory from gmemd that are more than one processor and one memslot, that are
 * not alone, or that a policy keeps short: what it refuses is an error for the guest's call, and
 * the guest runs on.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "served.h"

#define SIZE (8 * GM_MIB)
#define PAGE GM_PAGE_4K
#define HUGE GM_PAGE_2M
#define DATA (4 * GM_MIB)
#define SECRET 0x5e
#define PUBLIC 0xb1
#define ROUNDS 100
#define SYS_CACHESTAT 451 /* Linux 6.5 */

static struct served served;

static void assert_call_fails(struct served_guest *guest, uint64_t gpa, uint64_t n_pages, int error)
{
	assert_int_equal((uint32_t)served_call(guest, gpa, n_pages, false), (uint32_t)-error);
}

/* ---- limits ---- */

static void over_shared_max_the_guests_call_fails_and_the_guest_runs_on(void **state)
{
	struct served_guest guest;

	(void)state;
	/* The guest's code has 8 KiB of it. */
	served_start_under(&served, "SharedMax=72K\n");
	served_guest_open(&guest, &served, SIZE);
	served_write(&guest, DATA, SECRET);
	assert_call_fails(&guest, DATA, 17, EPERM);
	assert_int_equal(served_read(&guest, DATA), SECRET);
	assert_int_equal(served_call(&guest, DATA + PAGE, 16, false), 0);
	assert_call_fails(&guest, DATA, 1, EPERM);

	/* What is shared already costs nothing, and what becomes private makes room. */
	served_write(&guest, DATA + PAGE, PUBLIC);
	assert_int_equal(served_call(&guest, DATA + PAGE, 1, false), 0);
	assert_int_equal(served_read(&guest, DATA + PAGE), PUBLIC);
	assert_int_equal(served_call(&guest, DATA + PAGE, 1, true), 0);
	assert_int_equal(served_call(&guest, DATA, 1, false), 0);
	assert_int_equal(served_read(&guest, DATA), 0);
	served_guest_close(&guest);
	served_stop(&served);
}

static void finer_than_the_granularity_the_guests_call_fails_and_the_guest_runs_on(void **state)
{
	struct served_guest guest;

	(void)state;
	served_start_under(&served, "ConversionGranularity=2M\n");
	served.code_size = HUGE;
	served_guest_open(&guest, &served, SIZE);
	served_write(&guest, DATA, SECRET);
	assert_call_fails(&guest, DATA, 1, EINVAL);
	assert_call_fails(&guest, DATA + PAGE, HUGE / PAGE, EINVAL);
	assert_int_equal(served_read(&guest, DATA), SECRET);
	assert_int_equal(served_call(&guest, DATA, HUGE / PAGE, false), 0);
	assert_int_equal(served_read(&guest, DATA), 0);
	served_guest_close(&guest);
	served.code_size = 0;
	served_stop(&served);
}

/* ---- preallocated ---- */

static uint64_t count_allocated(int fd)
{
	struct cachestat_range {
		uint64_t offset, length;
	} range = { 0, SIZE };
	uint64_t found[5] = { 0 };

	assert_return_code(syscall(SYS_CACHESTAT, fd, &range, found, 0), errno);
	return found[0] * PAGE;
}

static void preallocated_memory_is_there_before_the_guest_touches_it(void **state)
{
	struct served_guest guest;

	(void)state;
	served_start_under(&served, "Preallocate=yes\n");
	served_guest_open(&guest, &served, SIZE);
	/* But for the guest's code, which is shared. */
	assert_int_equal(count_allocated(guest.private_fd), SIZE - 2 * PAGE);
	assert_int_equal(served_read(&guest, DATA), 0);
	served_guest_close(&guest);
	served_stop(&served);
}

/* ---- several memslots ---- */

static void a_conversion_over_two_memslots_reaches_both(void **state)
{
	const struct gmem_region_spec spec = { .gpa = SIZE, .size = SIZE };
	struct served_guest guest;
	gmem_region *second;

	(void)state;
	served_start(&served, false);
	served_guest_open(&guest, &served, SIZE);
	assert_int_equal(gmem_region_create(guest.domain, &spec, &second), 0);
	assert_int_equal(gmem_region_bind(second, 1), 0);
	served_write(&guest, SIZE - PAGE, SECRET);
	served_write(&guest, SIZE, SECRET);
	served_write(&guest, SIZE + 2 * PAGE, SECRET);
	assert_int_equal(served_call(&guest, SIZE - 2 * PAGE, 4, false), 0);
	assert_int_equal(served_read(&guest, SIZE - PAGE), 0);
	assert_int_equal(served_read(&guest, SIZE), 0);
	assert_int_equal(served_read(&guest, SIZE + 2 * PAGE), SECRET);

	/* The last address and the first one beyond it are not the same call. */
	assert_call_fails(&guest, 2 * SIZE - PAGE, 2, EINVAL);
	served_write(&guest, 2 * SIZE - PAGE, SECRET);
	assert_int_equal(gmem_region_destroy(second), 0);
	served_write(&guest, SIZE - PAGE, PUBLIC);
	assert_int_equal(guest.vm.shared[SIZE - PAGE], PUBLIC);
	served_guest_close(&guest);
	served_stop(&served);
}

/* ---- several processors ---- */

struct processor {
	struct served_guest guest; /* its own processor; all else is the same */
	uint64_t first;		   /* of the pages that it converts */
	uint64_t random;
	pthread_t thread;
};

/* One connection, and one thread in it at a time. */
static pthread_mutex_t client_lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t draw(uint64_t *random, uint64_t n)
{
	*random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*random >> 33) % n;
}

static uint64_t call_in_turn(struct served_guest *guest, uint64_t gpa, bool to_private)
{
	assert_int_equal(private_vm_call(&guest->vm, gpa, 1, to_private), KVM_EXIT_HYPERCALL);
	(void)pthread_mutex_lock(&client_lock);
	(void)gmem_handle_map_gpa_range(guest->domain, guest->vm.run);
	(void)pthread_mutex_unlock(&client_lock);
	assert_int_equal(private_vm_go_on(&guest->vm), KVM_EXIT_HLT);
	return private_vm_call_result(&guest->vm);
}

/* Every second page is its own, so that neighbours are always another processor's. */
static void *convert_own_pages(void *arg)
{
	struct processor *processor = arg;
	bool shared[16] = { false };
	unsigned char held[16] = { 0 };

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t page = draw(&processor->random, GM_ARRAY_SIZE(shared));
		uint64_t gpa = processor->first + 2 * page * PAGE;
		bool to_private = draw(&processor->random, 2);

		assert_int_equal(call_in_turn(&processor->guest, gpa, to_private), 0);
		if (shared[page] == to_private)
			held[page] = 0;
		shared[page] = !to_private;
		assert_int_equal(served_read(&processor->guest, gpa), held[page]);
		held[page] = (unsigned char)(1 + draw(&processor->random, 255));
		served_write(&processor->guest, gpa, held[page]);
		assert_int_equal(processor->guest.vm.shared[gpa], shared[page] ? held[page] : 0);
	}
	return NULL;
}

static void processors_that_convert_at_once_do_not_disturb_each_other(void **state)
{
	struct served_guest guest;
	struct processor processors[2];

	(void)state;
	served_start(&served, false);
	served_guest_open(&guest, &served, SIZE);
	for (unsigned i = 0; i < GM_ARRAY_SIZE(processors); i++) {
		processors[i] =
			(struct processor){ .guest = guest, .first = DATA + i * PAGE, .random = i };
		if (i > 0) {
			processors[i].guest.vm.vcpu_id = i;
			private_vm_boot(&processors[i].guest.vm);
		}
		assert_int_equal(pthread_create(&processors[i].thread, NULL, convert_own_pages,
						&processors[i]),
				 0);
	}
	for (unsigned i = 0; i < GM_ARRAY_SIZE(processors); i++)
		assert_int_equal(pthread_join(processors[i].thread, NULL), 0);
	assert_int_equal(munmap(processors[1].guest.vm.run, guest.vm.run_size), 0);
	assert_int_equal(close(processors[1].guest.vm.vcpu), 0);
	served_guest_close(&guest);
	served_stop(&served);
}

/* ---- several guests ---- */

static pid_t start_guest(unsigned index)
{
	struct processor processor = { .first = DATA, .random = index };
	pid_t pid = fork();

	assert_return_code(pid, errno);
	if (pid > 0)
		return pid;
	served_guest_open(&processor.guest, &served, SIZE);
	(void)convert_own_pages(&processor);
	served_guest_close(&processor.guest);
	_exit(0);
}

/* The last case: what fails in a process of its own ends in that one's report. */
static void guests_that_convert_at_once_have_nothing_of_each_other(void **state)
{
	pid_t pids[2];
	int status;

	(void)state;
	served_start(&served, false);
	for (unsigned i = 0; i < GM_ARRAY_SIZE(pids); i++)
		pids[i] = start_guest(i);
	for (unsigned i = 0; i < GM_ARRAY_SIZE(pids); i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
	assert_int_equal(served_bytes(&served), 0);
	served_stop(&served);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(over_shared_max_the_guests_call_fails_and_the_guest_runs_on),
		gm_test(finer_than_the_granularity_the_guests_call_fails_and_the_guest_runs_on),
		gm_test(preallocated_memory_is_there_before_the_guest_touches_it),
		gm_test(a_conversion_over_two_memslots_reaches_both),
		gm_test(processors_that_convert_at_once_do_not_disturb_each_other),
		gm_test(guests_that_convert_at_once_have_nothing_of_each_other),
	};

	served_needed();
	return gm_test_run("guests on private memory from gmemd", tests, GM_ARRAY_SIZE(tests));
}
