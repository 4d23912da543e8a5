/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What gmemd adds to a launch: 64 MiB in pieces of 2 MiB, whose contents are not measured, beside
 * the same requests to the kernel made bare. Both on the platform model, in turns, in one process.
 *
 * usage: t_launch_overhead SOCKET ROUNDS, with the model preloaded. A line for each round: the
 * milliseconds that it takes bare, with gmemd, and to hash types and addresses of the pages, which
 * is in the second figure and not in the first.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <gmem.h>
#include <gmem_kinds.h>
#include <linux/kvm.h>

#include "gm_launch_digest.h"
#include "launch_steps.h"
#include "vm.h"

#define SIZE (64 * GM_MIB)
#define PIECE (2 * GM_MIB)
#define SNP_VM 4UL

static const struct gmem_snp_start parameters = { .policy = 0x30000, .ghcb_version = 2 };

static void check(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(2);
}

static double now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int open_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, SNP_VM);

	check(vm >= 0, "a VM");
	(void)close(kvm);
	return vm;
}

static int source_fd(void)
{
	int fd = memfd_create("source", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	check(ftruncate(fd, SIZE) == 0 && fallocate(fd, 0, 0, SIZE) == 0 &&
		      fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) == 0,
	      "a source");
	return fd;
}

static double bare(int source)
{
	const struct gm_launch_steps *steps = gm_launch_steps_find("snp");
	struct gm_launch_vm vm = { open_vm(), open("/dev/sev", O_RDONLY | O_CLOEXEC), -1 };
	void *shared = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct gm_vm_slot slot = { .size = SIZE, .address = shared };
	struct gm_launch_progress progress;
	struct gm_launch_fault fault;
	double start;

	check(steps->start(&vm, &parameters, sizeof(parameters), &fault) == 0, "start");
	check(gm_vm_create_memory(vm.vm_fd, SIZE, 0, &slot.private_fd) == 0, "memory");
	check(gm_vm_bind(vm.vm_fd, &slot) == 0, "memslot");
	start = now_ms();
	for (uint64_t at = 0; at < SIZE; at += PIECE) {
		struct gm_launch_pages pages = { GM_STEP_PAGE_UNMEASURED, at, PIECE, NULL };

		pages.source = mmap(NULL, PIECE, PROT_READ, MAP_PRIVATE, source, (off_t)at);
		check(steps->populate(&vm, &pages, &progress, &fault) == 0, "populate");
		(void)munmap(pages.source, PIECE);
	}
	start = now_ms() - start;
	(void)munmap(shared, SIZE);
	(void)close(slot.private_fd);
	(void)close(vm.device_fd);
	(void)close(vm.vm_fd);
	return start;
}

static double served(gmem_client *client, int fd)
{
	const struct gmem_domain_spec kind = { .kind = "snp" };
	const struct gmem_region_spec spec = { .size = SIZE };
	int vm = open_vm();
	gmem_domain *domain;
	gmem_region *region;
	gmem_source *source;
	double start;
	int r;

	r = gmem_domain_create(client, &kind, &domain);
	if (r == 0)
		r = gmem_vm_adopt(domain, vm);
	if (r == 0)
		r = gmem_launch_start(domain, &parameters, sizeof(parameters));
	if (r == 0)
		r = gmem_region_create(domain, &spec, &region);
	if (r == 0)
		r = gmem_region_bind(region, 0);
	if (r == 0)
		r = gmem_source_from_fd(domain, fd, &source);
	start = now_ms();
	for (uint64_t at = 0; at < SIZE && r == 0; at += PIECE)
		r = gmem_region_populate(
			region, &(struct gmem_population){ .offset = at,
							   .length = PIECE,
							   .type = GMEM_PAGE_TYPE_UNMEASURED,
							   .source = source,
							   .source_offset = at });
	start = now_ms() - start;
	check(r == 0, gmem_error(client)->text);
	(void)gmem_domain_destroy(domain);
	(void)close(vm);
	return start;
}

/* What hashing all of it takes, which somebody has to do: types and addresses are measured. */
static double hashed(void)
{
	const struct gm_launch_start snp = { .kind = GM_LAUNCH_SNP };
	struct gm_launch_digest digest;
	double start = now_ms();
	int r = gm_launch_digest_start(&digest, &snp, NULL);

	for (uint64_t at = 0; at < SIZE && r == 0; at += PIECE) {
		const struct gm_launch_range range = { .type = GM_LAUNCH_UNMEASURED,
						       .gpa = at,
						       .length = PIECE };

		r = gm_launch_digest_update(&digest, &range, 1, NULL);
	}
	check(r == 0, "a digest");
	return now_ms() - start;
}

int main(int argc, char *argv[])
{
	size_t rounds = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	gmem_client *client;
	int source;

	check(rounds > 0, "usage: t_launch_overhead SOCKET ROUNDS");
	check(gmem_connect(argv[1], NULL, &client) == 0, "gmemd");
	source = source_fd();
	for (size_t i = 0; i < rounds; i++) {
		double of_bare = bare(source), of_served = served(client, source);

		printf("%.3f %.3f %.3f\n", of_bare, of_served, hashed());
	}
	gmem_disconnect(client);
	return 0;
}
